"""``fedpref objectives``: what can be trained, from which records, and how privately.

The command, its JSON and the tables of docs/objectives.md are made from the same rows.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

TAKES = {
    "choice": "a choice among texts",
    "pair": "a choice between two texts",
    "thumb": "thumbs up or down",
    "labels": "pairs with labels for two or more objectives",
}
COUPLED = {
    "none": "nothing",
    "user": "own records",
    "released": "last release",
    "batch": "the batch",
}


def objectives(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show every objective: records, source, bound, coupling, and use with noise."""
    if as_json:
        typer.echo(json.dumps(list(rows()), indent=2))
    else:
        _show(list(rows()))


def rows() -> Iterator[dict[str, Any]]:
    """One row an objective, by name; the fields are those of docs/formats.md."""
    from fedpref import objectives as found

    for name in found.names():
        said = found.about(name)
        hyper = {
            key: {"default": default, "range": said.ranges[key].words}
            for key, default in found.hyper_parameters(name).items()
        }
        yield {
            "name": name,
            "takes": str(said.takes),
            "trains": str(said.trains),
            "source": said.source,
            "bounded": said.bounded,
            "bound": said.bound,
            "coupling": str(said.coupling),
            "private": said.private,
            "safe": list(said.safe),
            "hyper": hyper,
        }


def markdown() -> str:
    """The tables of docs/objectives.md."""
    lines = [
        "| objective | takes | trains | source | bound | coupled with | with noise "
        "| instead |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows():
        bound = f"`{row['bound']}`" if row["bounded"] else "none"
        instead = ", ".join(f"`{name}`" for name in row["safe"])
        cells = (row["takes"], row["trains"], row["source"], bound)
        more = (COUPLED[row["coupling"]], row["private"], instead)
        lines.append(f"| `{row['name']}` | {' | '.join([*cells, *more])} |")
    lines += ["", "| objective | keyword | default | may be |", "|---|---|---|---|"]
    lines += [
        f"| `{row['name']}` | `{key}` | `{hyper['default']}` | {hyper['range']} |"
        for row in rows()
        for key, hyper in row["hyper"].items()
    ]
    return "\n".join(lines) + "\n"


def _show(found: list[dict[str, Any]]) -> None:
    """A line of facts and a line of source each; at most 80 columns."""
    head = ("objective", "takes", "bounded", "coupled with", "with noise")
    for trains in ("reward", "policy"):
        typer.echo(f"For a {trains} model\n\n{_line(head)}")
        for row in found:
            if row["trains"] == trains:
                bounded = "yes" if row["bounded"] else "no"
                facts = (row["takes"], bounded, COUPLED[row["coupling"]])
                typer.echo(_line((row["name"], *facts, row["private"])))
                typer.echo(f"    {row['source']}")
                if row["safe"]:
                    typer.echo(f"    instead: {', '.join(row['safe'])}")
        typer.echo("")
    for takes, words in TAKES.items():
        typer.echo(f"{takes:8}{words}")
    typer.echo("Bounds as formulas, and keywords: --json, or docs/objectives.md")


def _line(cells: tuple[str, ...]) -> str:
    return "".join(f"{cell:15}" for cell in cells).rstrip()
