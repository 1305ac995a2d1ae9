"""Round clipped units to a public grid and sum them as integers.

Guarantees: every unit's integer vector has a squared norm of at most the limit that
the sum carries; that is checked in integers for every unit. Two ways of rounding:
toward zero (``sum_on_grid``, a trusted aggregator), and at random, redrawn while the
norm is too large (``sum_rounded``, noise from the devices). A unit of zeros stays one.
Integer addition is exact and independent of the order.

Does not give: secrecy; the sum is not noised yet (``fedpref.core.noise``). Nor the
same running time for all data: whether a row is drawn again depends on its norm.
"""

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from fedpref.core.entropy import uniform_words
from fedpref.core.types import BoundedRows, BoundedSum, Float, Grid, Integer

REDRAWS = 64
_HUGE = 2.0**62


def sum_on_grid(units: BoundedRows, grid: Grid) -> BoundedSum:
    """Truncate each unit to ``grid`` and add them up.

    Args:
        units: Clipped rows, ``[units, coordinates]``; their bound is the sensitivity.
        grid: The plan's grid; its step is a power of two.

    Returns:
        The integer sum with its zero-out sensitivity.

    >>> half = BoundedRows(np.array([[0.6, -0.6]]), 1.0, 0)
    >>> sum_on_grid(half, Grid(0.5)).total.tolist()
    [1, -1]
    """
    limit = grid.sensitivity_squared(units.bound)
    steps = _truncated(units.rows / grid.step)
    for row in steps:
        if squared_norm(row) > limit:
            row[:] = 0  # fail closed: a unit that is not within its bound adds nothing
    return BoundedSum(steps.sum(axis=0, dtype=np.int64), limit, grid)


def largest_square(steps: int, coordinates: int) -> int:
    """Largest squared integer norm that a unit may have after random rounding.

    floor(D2**2) with D2 of Kairouz, Liu and Steinke (2021) for conditional rounding, at
    beta = exp(-1/2): steps**2 + d/4 + steps + sqrt(d)/2, in exact arithmetic. Their
    other bound, (steps + sqrt(d))**2, is larger for every argument.

    Args:
        steps: Grid steps in a clip, >= 1.
        coordinates: Length d of the vector that is rounded, >= 1.

    Raises:
        ValueError: An argument below 1.

    >>> largest_square(10, 16)  # 100 + 4 + 10 + 2
    116
    """
    if steps < 1 or coordinates < 1:
        raise ValueError(
            f"steps = {steps}, coordinates = {coordinates}, must both be at least 1"
        )
    return steps * steps + steps + (coordinates + isqrt(4 * coordinates)) // 4


def round_units(units: BoundedRows, grid: Grid, limit: int, *, key: bytes) -> Integer:
    """Round each unit at random to ``grid``, within a bound on its integer norm.

    A coordinate goes to one of its two neighbours with the chances that keep its mean
    (to 2**-31 of a step). A row whose squared norm exceeds ``limit`` is drawn again, at
    most ``REDRAWS`` times, and then truncated toward zero.

    Args:
        units: Clipped rows, ``[units, coordinates]``.
        grid: The plan's grid; its step is the clip over a whole number of steps.
        limit: Largest squared norm allowed, from :func:`largest_square`.
        key: 32 bytes, used for this rounding only. Row i depends on row i, i and key.

    Returns:
        Grid steps, int64 ``[units, coordinates]``.

    Raises:
        ValueError: A row is not finite, which ``clip_units`` rules out.

    >>> whole = BoundedRows(np.array([[2.0, -1.0], [0.0, 0.0]]), 3.0, 0)
    >>> round_units(whole, Grid(0.5), 40, key=bytes(32)).tolist()
    [[4, -2], [0, 0]]
    """
    finite = np.isfinite(units.rows).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"row {int(np.argmin(finite))} is not finite; clip_units makes such rows 0"
        )
    rounded = np.empty(units.rows.shape, np.int64)
    for index, row in enumerate(units.rows):
        rounded[index] = _round_row(row / grid.step, limit, index, key)
    return rounded


def sum_rounded(
    units: BoundedRows,
    grid: Grid,
    limit: int,
    *,
    key: bytes,
    heads: NDArray[np.bool_] | None = None,
) -> BoundedSum:
    """The sum of :func:`round_units` over units, with its zero-out sensitivity.

    ``heads [units]`` says which units count, all of them without it. They are all
    rounded first: how often a row is drawn again must not tell of a coin.
    """
    rounded = round_units(units, grid, limit, key=key)
    if heads is not None:
        rounded *= heads[:, None]
    return BoundedSum(rounded.sum(axis=0, dtype=np.int64), limit, grid)


def squared_norm(row: Integer) -> int:
    """Exact squared Euclidean norm of an integer vector.

    >>> squared_norm(np.array([3 * 2**40, 4 * 2**40])) == 25 * 2**80
    True
    """
    row = row.astype(np.int64, copy=False)  # a narrower dot product would wrap
    # Not abs(): in int64 the absolute value of -2**63 is itself.
    largest = max(int(row.max(initial=0)), -int(row.min(initial=0)))
    if largest * largest * max(1, row.size) < 2**63:
        return int(np.dot(row, row))
    return sum(int(x) * int(x) for x in row)


def to_reals(total: Integer, grid: Grid) -> Float:
    """Back from steps to model units: one multiplication a coordinate.

    Exact for entries below 2**53 where the step is a power of two.

    >>> to_reals(np.array([3, -4]), Grid(0.5)).tolist()
    [1.5, -2.0]
    """
    return total.astype(np.float64) * grid.step


def _round_row(steps: Float, limit: int, index: int, key: bytes) -> Integer:
    """One row, in steps, rounded within ``limit``; its randomness is its own."""
    for attempt in range(1 + REDRAWS):
        words = uniform_words(
            (steps.size + 1) // 2, key=key, lane=(index << 8) | attempt
        )
        drawn = words.view(np.uint32)[: steps.size] * 2.0**-32
        drawn += steps
        rounded = _integers(np.floor(drawn, out=drawn))
        if squared_norm(rounded) <= limit:
            return rounded
    # Neither accepting nor aborting: either would depend on the data.
    rounded = _truncated(steps)
    if squared_norm(rounded) > limit:
        rounded[:] = 0  # fail closed, as above: this row broke its bound
    return rounded


def _truncated(steps: Float) -> Integer:
    return _integers(np.trunc(steps))


def _integers(whole: Float) -> Integer:
    # Larger ones would not fit an integer; they are beyond any limit all the same.
    return np.clip(whole, -_HUGE, _HUGE, out=whole).astype(np.int64)
