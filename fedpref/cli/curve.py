"""What own answers add, for a terminal: one table and one plot of 80 columns.

Guarantees: the numbers are those of ``report.json``; a model keeps its mark in the
table and in the plot, so that neither needs colour. Does not show every interval.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fedpref.report.schema import PersonalCurve

WIDTH, HEIGHT = 64, 13  # characters of the plot without its axes
MOST = 7  # columns of k that fit beside the names
MARKS = "ox+#@%"
BEST = "*"


def show(console: "Console", curve: "PersonalCurve") -> None:
    """Print the curve."""
    from fedpref.report import personal

    console.print(_table(curve))
    for line in plot(curve):
        console.print(line, highlight=False, markup=False, no_wrap=True)
    for told in (personal.heading(curve), personal.detail(curve)):
        if told:
            console.print(told, highlight=False, markup=False)
    for told in personal.behind(curve):
        console.print(told, highlight=False, markup=False)


def marks(curve: "PersonalCurve") -> dict[str, str]:
    """A character for every model."""
    rest = [name for name in curve.models if name != curve.best]
    found = {name: MARKS[i % len(MARKS)] for i, name in enumerate(rest)}
    return {name: found.get(name, BEST) for name in curve.models}


def shown(ks: Sequence[int], most: int = MOST) -> list[int]:
    """At most so many of k, the first and the last among them.

    >>> shown([0, 1, 2, 4, 8, 16, 32, 64], 4)
    [0, 2, 8, 64]
    """
    if len(ks) <= most:
        return list(ks)
    return [ks[i * (len(ks) - 1) // (most - 1)] for i in range(most)]


def _table(curve: "PersonalCurve") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    people = "1 person" if curve.users == 1 else f"{curve.users:,} people"
    table = Table(
        title=f"pairs after k own answers, {people} (simulation only)",
        title_justify="left",
        width=80,
    )
    table.add_column("k")
    ks = shown(curve.k)
    for k in ks:
        table.add_column(str(k), justify="right", no_wrap=True)
    for name, mark in marks(curve).items():
        cells = [f"{curve.cell(name, k).accuracy:.1%}" for k in ks]
        table.add_row(escape(f"{mark} {name}"), *cells)
    return table


def plot(curve: "PersonalCurve") -> list[str]:
    """Accuracy against k, a mark a model, the best one on top.

    Returns:
        Lines of at most 80 characters.
    """
    from fedpref.report.figures import axis

    values = [cell.accuracy for row in curve.models.values() for cell in row.values()]
    y = axis(min(values), max(values), steps=4)
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]

    def places(name: str) -> list[tuple[int, int]]:
        return [
            (_row(y.at(curve.cell(name, k).accuracy)), _column(curve.k, k))
            for k in curve.k
        ]

    for name, mark in sorted(marks(curve).items(), key=lambda pair: pair[1] == BEST):
        _thread(grid, places(name), mark)
    labels = {_row(y.at(value)): f"{label} %" for value, label in y.ticks}
    rows = [
        f"{labels.get(number, ''):>7} |{''.join(cells)}".rstrip()
        for number, cells in enumerate(grid)
    ]
    return [*rows, f"{'':7} +{'-' * WIDTH}", _under(curve.k)]


def _row(percent: float) -> int:
    """The row of the grid so far from its bottom."""
    return round((HEIGHT - 1) * (1 - percent / 100))


def _column(ks: Sequence[int], k: int) -> int:
    low, high = ks[0], ks[-1]
    return round((WIDTH - 1) * (k - low) / (high - low)) if high > low else WIDTH // 2


def _thread(grid: list[list[str]], places: list[tuple[int, int]], mark: str) -> None:
    """Draw dots between places where nothing is yet, and the mark on each."""
    for (row, column), (to_row, to_column) in pairwise(places):
        for at in range(column + 1, to_column):
            share = (at - column) / (to_column - column)
            height = round(row + share * (to_row - row))
            if grid[height][at] == " ":
                grid[height][at] = "."
    for row, column in places:
        grid[row][column] = mark


def _under(ks: Sequence[int]) -> str:
    """The line below the plot: each k where it lies, if there is room for it."""
    line = f"{'k':>7}  "
    for k in ks:
        start = 9 + _column(ks, k)
        if start >= len(line) + (k != ks[0]):
            line = line.ljust(start) + str(k)
    return line
