"""The curves as pictures: accuracy against k by model and epsilon, and by group.

Guarantees: what is drawn is what the JSON says, intervals included; the same numbers
give the same SVG, without a date. Does not need a screen.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fedpref.errors import OutputError

_STYLE = {
    "svg.hashsalt": "fedpref",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9.0,
}
_MARKS = "osD^v<>Pp"


def draw(found: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """Write the pictures of a result, each as PNG and SVG; their paths.

    Args:
        found: From ``fedpref.study.curves.curve``.
        folder: Made where missing.

    Raises:
        OutputError: The folder cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    paths: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context(_STYLE):
            for name, figure in _figures(found, Figure):
                figure.tight_layout()
                for kind, extra in (("png", {}), ("svg", {"Date": None})):
                    path = folder / f"{name}.{kind}"
                    figure.savefig(path, dpi=150, metadata=extra)
                    paths.append(path)
    except OSError as error:
        raise OutputError(
            f"folder = {folder}: {error.strerror or error}; give --out a folder that "
            "can be written"
        ) from error
    return tuple(paths)


def _figures(found: Mapping[str, Any], new: Any) -> Iterator[tuple[str, Any]]:
    epsilons = sorted({e for by in found["models"].values() for e in by}, key=float)
    figure = new(figsize=(4.6 * len(epsilons) + 1.4, 4.2))
    axes = figure.subplots(1, len(epsilons), sharey=True, squeeze=False)[0]
    for axis, epsilon in zip(axes, epsilons, strict=True):
        _panel(axis, found, epsilon)
    axes[0].set_ylabel(found["measure"].split(":")[0] + ", % right")
    axes[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    yield "curve", figure
    for name in _groupings(found):
        yield f"group-{name}", _by_group(found, name, epsilons, new)


def _panel(axis: Any, found: Mapping[str, Any], epsilon: str) -> None:
    """All models at one epsilon."""
    for number, (name, by) in enumerate(found["models"].items()):
        if epsilon in by:
            entries = by[epsilon]
            _line(axis, entries, name, number, len(found["models"]))
    _finish(axis, found, f"total epsilon {epsilon}" if epsilon != "inf" else "no noise")


def _line(
    axis: Any, entries: Mapping[str, Any], label: str, number: int, of: int
) -> None:
    """One line with intervals; marks are moved apart so that intervals stay visible."""
    places = list(range(len(entries)))
    moved = [place + 0.5 * (number / max(1, of - 1) - 0.5) for place in places]
    values = [100 * entry["accuracy"] for entry in entries.values()]
    ends = [[100 * end for end in entry["ci95"]] for entry in entries.values()]
    below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
    above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
    axis.errorbar(
        moved,
        values,
        yerr=[[max(0.0, gap) for gap in below], [max(0.0, gap) for gap in above]],
        label=label,
        marker=_MARKS[number % len(_MARKS)],
        markersize=4,
        linewidth=1.2,
        elinewidth=0.7,
    )


def _finish(axis: Any, found: Mapping[str, Any], title: str) -> None:
    axis.set_title(f"{found['set']}: {title}")
    axis.set_xticks(range(len(found["k"])), [str(k) for k in found["k"]])
    axis.set_xlabel("own answers revealed to the own device, k")


def _groupings(found: Mapping[str, Any]) -> list[str]:
    cells = (
        c for by in found["models"].values() for ks in by.values() for c in ks.values()
    )
    return sorted({name for one in cells for name in one["groups"]})


def _by_group(
    found: Mapping[str, Any], name: str, epsilons: list[str], new: Any
) -> Any:
    """One model at the smallest epsilon, a line for each value of the group."""
    model = next(m for m in (*_PREFERRED, *found["models"]) if m in found["models"])
    epsilon = next(e for e in epsilons if e in found["models"][model])
    entries = found["models"][model][epsilon]
    values = sorted(
        {v for one in entries.values() for v in one["groups"].get(name, {})}
    )
    figure = new(figsize=(6.4, 4.2))
    axis = figure.subplots()
    for number, value in enumerate(values):
        rows = {k: one["groups"][name].get(value) for k, one in entries.items()}
        shown = {k: row for k, row in rows.items() if row and row["ci95"]}
        if len(shown) == len(entries):
            users = next(iter(shown.values()))["users"]
            _line(axis, shown, f"{value} ({users})", number, len(values))
    _finish(axis, found, f"{model}, epsilon {epsilon}, by {name}")
    axis.set_ylabel("% right")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return figure


_PREFERRED = ("eb_moment", "eb_public", "attributes")
