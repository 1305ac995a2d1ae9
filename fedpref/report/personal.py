"""What a few own answers add: the curve of a run as a figure and in sentences.

Guarantees: every sentence follows from the numbers of ``evaluation.json``; "beats"
needs a paired interval above zero, and a model that is behind another is said to be.
Does not generalise: it is about this data, one split and one draw of the noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fedpref.report.figures import Axis, axis
from fedpref.report.run import Run
from fedpref.report.schema import PersonalCurve, PersonalGain
from fedpref.report.words import NBSP, interval, percent, points

USUAL = 4  # the k that is spoken of, where it was measured
OTHERS = ("first", "second", "third")  # styles of the models that are not the best
APART = 6.5  # least distance of two labels on the axis, in percent of its width
ROOM = 0.04  # beyond the least and the largest k, as part of the axis
DODGE = 5.0  # pixels between the marks of two models at the same k

SIMULATION_ONLY = (
    "Simulation only: the answers of held-out people were read directly for this. In a "
    "deployment own answers never leave their device, and nobody sees this curve."
)


@dataclass(frozen=True)
class Point:
    """One model at one k, in percent; ``y`` counts from the top."""

    x: float
    y: float
    low: float
    high: float
    label: str


@dataclass(frozen=True)
class Series:
    """One model: a line with marks in its style, moved aside by some pixels."""

    name: str
    style: str
    aside: float
    points: tuple[Point, ...]
    path: str


@dataclass(frozen=True)
class Curve:
    """Accuracy against k, a line a model; the best one is drawn last."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]


def styles(curve: PersonalCurve) -> dict[str, str]:
    """A style for every model, the same in figure, legend and table."""
    rest = [name for name in curve.models if name != curve.best]
    found = {name: OTHERS[i % len(OTHERS)] for i, name in enumerate(rest)}
    return {name: found.get(name, "best") for name in curve.models}


def figure(curve: PersonalCurve) -> Curve:
    """The curve as a drawing."""
    cells = [cell for row in curve.models.values() for cell in row.values()]
    ends = [end for cell in cells for end in cell.ci95]
    y = axis(min(0.5, *ends), max(0.55, *ends), steps=5)
    x = _axis_of_k(curve.k)
    middle = (len(curve.models) - 1) / 2
    series = [
        _series(curve, name, style, DODGE * (place - middle), x, y)
        for place, (name, style) in enumerate(styles(curve).items())
    ]
    return Curve(x, y, tuple(sorted(series, key=lambda s: s.style == "best")))


def _series(
    curve: PersonalCurve, name: str, style: str, aside: float, x: Axis, y: Axis
) -> Series:
    found = []
    for k in curve.k:
        cell = curve.cell(name, k)
        label = f"{name}, k = {k}: {percent(cell.accuracy)} ({interval(cell.ci95)})"
        top, high, low = (
            round(100 - y.at(v), 3) for v in (cell.accuracy, cell.ci95[1], cell.ci95[0])
        )
        found.append(Point(x.at(k), top, low, high, label))
    path = "M" + "L".join(f"{point.x:g},{point.y:g}" for point in found)
    return Series(name, style, aside, tuple(found), path)


def _axis_of_k(ks: Sequence[int]) -> Axis:
    """From the least to the largest k; a label that would touch the next is left out.

    There is room at both ends for marks that were moved aside.

    >>> [label for _, label in _axis_of_k((0, 1, 2, 4, 64)).ticks]
    ['0', '64']
    """
    low, high = ks[0], ks[-1]
    if low == high:
        return Axis(low - 0.5, low + 0.5, ((float(low), str(low)),))
    kept = [high]
    for k in reversed(ks[:-1]):
        if 100 * (kept[-1] - k) / (high - low) >= APART and (
            k == low or 100 * (k - low) / (high - low) >= APART
        ):
            kept.append(k)
    ticks = tuple((float(k), f"{k:,}") for k in reversed(kept))
    room = ROOM * (high - low)
    return Axis(low - room, high + room, ticks)


def spoken_of(curve: PersonalCurve) -> int | None:
    """The k nearest to 4 at which there is any own answer."""
    asked = [k for k in curve.k if k > 0]
    return min(asked, key=lambda k: (abs(k - USUAL), k)) if asked else None


def heading(curve: PersonalCurve) -> str | None:
    """Whether own answers and learning together paid; None without own answers."""
    k = spoken_of(curve)
    if k is None:
        return None
    own, common = (
        (_outcome(curve.gain_over_own[str(k)]), "own answers alone"),
        (_outcome(curve.gain_over_common[str(k)]), "the common model"),
    )
    if own[0] == common[0]:
        told = f"{own[0]} {own[1]} and {common[1]}"
    else:
        told = f"{own[0]} {own[1]} and {common[0]} {common[1]}"
    return f"With {_answers(k)} the adapted model {told}."


def _outcome(gain: PersonalGain) -> str:
    low, high = gain.ci95
    if low > 0:
        return "beats"
    return "loses to" if high < 0 else "does not clearly beat"


def detail(curve: PersonalCurve) -> str | None:
    """The gains at the k that is spoken of, with their intervals."""
    k = spoken_of(curve)
    if k is None:
        return None
    cell = curve.cell(curve.best, k)
    return (
        f"It ranks {percent(cell.accuracy)} of pairs right: "
        f"{gain_words(curve.gain_over_own[str(k)])} against own answers alone and "
        f"{gain_words(curve.gain_over_common[str(k)])} against the common model."
    )


def gain_words(gain: PersonalGain) -> str:
    """A paired difference with its interval."""
    low, high = gain.ci95
    return (
        f"{points(gain.value)} points (95{NBSP}% interval over people {points(low)} to "
        f"{points(high)})"
    )


def behind(curve: PersonalCurve) -> list[str]:
    """Which models are ahead of the adapted one, and at which k."""
    found = []
    for name in curve.models:
        lead = {
            k: curve.cell(name, k).accuracy - curve.cell(curve.best, k).accuracy
            for k in curve.k
        }
        ahead = [k for k in curve.k if name != curve.best and lead[k] > 1e-12]
        if ahead:
            most = points(max(lead.values())).removeprefix("+")
            where = f"k{NBSP}={NBSP}{_listed(ahead)}"
            found.append(f"It is behind “{name}” at {where}, by {most} points at most.")
    return found


def about(run: Run, curve: PersonalCurve) -> list[str]:
    """Who and what the curve is about, and what it costs."""
    draws = f"{curve.draws} random orders" if curve.draws > 1 else "1 random order"
    lines = [
        f"Each of {_people(curve.users)} reveals k answers, in {draws}; the answers to "
        "predict are the same for every k."
    ]
    if curve.short:
        few = f"{_people(curve.short)} with {max(curve.k):,} answers or fewer"
        verb = "is" if curve.short == 1 else "are"
        lines.append(f"Not in the curve {verb} {few}.")
    return [*lines, _prior(run, curve), SIMULATION_ONLY]


def _prior(run: Run, curve: PersonalCurve) -> str:
    free = "own answers cost no epsilon, since they stay where they are"
    if curve.released_prior:
        return (
            "How far an own model may lie from the common one is the released second "
            f"moment of people's offsets, which is part of the total epsilon; {free}."
        )
    why = "released none" if run.plan.moment is None else "could not use a released one"
    return (
        "How far an own model may lie from the common one is a public constant: this "
        f"run {why}; {free}."
    )


def _people(count: int) -> str:
    return f"{count:,} held-out {'person' if count == 1 else 'people'}"


def _answers(k: int) -> str:
    return f"{k:,} own answer{'' if k == 1 else 's'}"


def _listed(values: Sequence[int]) -> str:
    """Numbers in a sentence.

    >>> _listed([4]), _listed([4, 6, 8])
    ('4', '4, 6 and 8')
    """
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last
