"""Where the marks of the report's figures go.

Guarantees: pure geometry, the same for the same numbers; horizontal positions are in
percent of the plot, so that a figure fits any width while its text keeps its size.
Does not draw: the templates do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedpref.report.schema import Baseline, Bin, Heldout
from fedpref.report.verdict import THIS_RUN
from fedpref.report.words import interval, percent


@dataclass(frozen=True)
class Axis:
    """A linear axis; ``ticks`` are values, a label each."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def at(self, value: float) -> float:
        """Position of ``value`` in percent from the low end, kept inside."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 3)


def axis(low: float, high: float, *, steps: int = 5, fractions: bool = True) -> Axis:
    """An axis over at least ``[low, high]`` that begins and ends on round numbers.

    >>> axis(0.5, 0.731, steps=5).ticks[-1]
    (0.75, '75')
    """
    if high <= low:
        high = low + (0.01 if fractions else 1.0)
    raw = (high - low) / steps
    unit = 10.0 ** math.floor(math.log10(raw))
    step = min(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    values = [round(k * step, 10) for k in range(first, last + 1)]
    labels = [f"{100 * v:.6g}" if fractions else f"{v:.6g}" for v in values]
    return Axis(values[0], values[-1], tuple(zip(values, labels, strict=True)))


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a mark with its interval."""

    name: str
    note: str
    kind: str  # "run", "private" or "open"
    x: float
    low: float
    high: float
    value: str
    interval: str


@dataclass(frozen=True)
class Comparison:
    """The run and its baselines on one set of held-out answers."""

    title: str
    axis: Axis
    rows: tuple[Row, ...]
    chance: float
    run: float | None  # where the run itself lies, if it was tested on these answers


def comparisons(
    heldout: Heldout, baselines: dict[str, Baseline], *, note: str, seeded: bool
) -> list[Comparison]:
    """One comparison for all answers, and one for each subset of them.

    Args:
        heldout: the run itself.
        baselines: what it is compared with.
        note: what was trained, in a few words.
        seeded: whether the noise came from a seed, which makes no noise private.
    """
    ends = [*heldout.ci95, *(e for b in baselines.values() for e in b.ci95)]
    scale = axis(min(0.5, *ends), max(0.55, *ends), steps=8)
    subsets = list(dict.fromkeys(b.subset for b in baselines.values() if b.subset))

    def row(name: str, note: str, kind: str, of: Heldout | Baseline) -> Row:
        low, high = of.ci95
        return Row(
            name=name,
            note=note,
            kind=kind,
            x=scale.at(of.accuracy),
            low=scale.at(low),
            high=scale.at(high),
            value=percent(of.accuracy),
            interval=interval(of.ci95),
        )

    def group(title: str, subset: str | None) -> Comparison:
        rows = [
            row(name, b.note, _kind(name, b, seeded), b)
            for name, b in baselines.items()
            if b.subset == subset
        ]
        if subset is None:
            rows.insert(0, row("This run", note, "run", heldout))
        run = scale.at(heldout.accuracy) if subset is None else None
        return Comparison(title, scale, tuple(rows), scale.at(0.5), run)

    people = f"All held-out answers, {heldout.users:,} people"
    return [
        group(people, None),
        *(group(f"Only {subset} of each person", subset) for subset in subsets),
    ]


def _kind(name: str, baseline: Baseline, seeded: bool) -> str:
    if name.startswith(THIS_RUN) or baseline.note == THIS_RUN:
        return "run"
    undone = seeded and baseline.epsilon != 0
    return "private" if baseline.private and not undone else "open"


@dataclass(frozen=True)
class Line:
    """A curve over rounds; ``points`` are (x, y, label) with both in percent."""

    x: Axis
    y: Axis
    points: tuple[tuple[float, float, str], ...]
    path: str
    target: float | None = None

    @property
    def dots(self) -> bool:
        """Whether there are few enough points to mark each."""
        return len(self.points) <= 30


def line(
    values: Sequence[tuple[int, float]],
    labels: Sequence[str],
    *,
    fractions: bool,
    floor: float,
    target: float | None = None,
) -> Line:
    """The curve of ``values``, pairs of (round, value), from ``floor`` up."""
    heights = [value for _, value in values] + ([target] if target else [])
    y = axis(min(floor, *heights), max(heights), steps=4, fractions=fractions)
    x = _rounds_axis(values[-1][0])
    points = tuple(
        (x.at(number), round(100 - y.at(value), 3), label)
        for (number, value), label in zip(values, labels, strict=True)
    )
    path = "M" + "L".join(f"{a:g},{b:g}" for a, b, _ in points)
    goal = None if target is None else round(100 - y.at(target), 3)
    return Line(x, y, points, path, goal)


def _rounds_axis(last: int) -> Axis:
    """Rounds 1 to ``last`` with at most six whole numbers on it."""
    step = next(
        m * 10**e for e in range(9) for m in (1, 2, 5) if (last - 1) / (m * 10**e) <= 5
    )
    ticks = sorted({1, last, *range(step, last - step // 2, step)})
    return Axis(
        low=1 if last > 1 else 0.5,
        high=last if last > 1 else 1.5,
        ticks=tuple((float(t), f"{t:,}") for t in ticks),
    )


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram, in percent; ``y`` is its top."""

    x: float
    width: float
    y: float
    count: int
    label: str


@dataclass(frozen=True)
class Histogram:
    """How many people have which accuracy."""

    x: Axis
    y: Axis
    bars: tuple[Bar, ...]
    mean: float


def histogram(per_user: Sequence[float], mean: float) -> Histogram:
    """People by pair accuracy, in steps of ten points (five from 200 people on)."""
    bins = 10 if len(per_user) < 200 else 20
    counts = [0] * bins
    for accuracy in per_user:
        counts[min(bins - 1, math.floor(accuracy * bins + 1e-9))] += 1
    ticks = tuple((k / 5, f"{20 * k}") for k in range(6))
    x, y = Axis(0.0, 1.0, ticks), _counts_axis(max(counts))
    bars = tuple(
        Bar(
            x=round(100 * k / bins, 3),
            width=round(100 / bins, 3),
            y=round(100 - y.at(count), 3),
            count=count,
            label=f"{100 * k // bins}–{100 * (k + 1) // bins}",
        )
        for k, count in enumerate(counts)
    )
    return Histogram(x, y, bars, x.at(mean))


def _counts_axis(most: int) -> Axis:
    """An axis from 0 with whole ticks."""
    step = next(
        m * 10**e for e in range(9) for m in (1, 2, 5) if most / (m * 10**e) <= 4
    )
    top = max(1, math.ceil(most / step)) * step
    return Axis(0.0, top, tuple((float(t), f"{t:,}") for t in range(0, top + 1, step)))


@dataclass(frozen=True)
class Dot:
    """A bin of the reliability diagram; ``radius`` in pixels grows with its pairs."""

    x: float
    y: float
    radius: float
    label: str


def reliability(bins: Sequence[Bin]) -> tuple[Axis, Axis, tuple[Dot, ...]]:
    """Confidence against accuracy, both axes, a dot for every bin that has pairs."""
    ticks = tuple((k / 10, f"{10 * k}") for k in range(5, 11))
    x = Axis(0.5, 1.0, ticks)
    seen = [b for b in bins if b.confidence is not None and b.accuracy is not None]
    lowest = min((b.accuracy for b in seen if b.accuracy is not None), default=0.5)
    y = x if lowest >= 0.5 else axis(lowest, 1.0)
    most = max((b.count for b in seen), default=1)
    dots = tuple(
        Dot(
            x=x.at(b.confidence or 0.0),
            y=round(100 - y.at(b.accuracy or 0.0), 3),
            radius=round(3 + 7 * math.sqrt(b.count / most), 2),
            label=f"{b.count:,} pairs: confidence {percent(b.confidence or 0.0)}, "
            f"right {percent(b.accuracy or 0.0)}",
        )
        for b in seen
    )
    return x, y, dots
