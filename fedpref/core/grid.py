"""Round clipped units to a public grid and sum them as integers.

Guarantees: rounding is toward zero, so no coordinate grows and the integer norm of a
unit is at most its clip in steps; that is checked in integers for every unit, and a
unit that fails becomes zero. Integer addition is exact and independent of the order.

Does not give: secrecy; the sum is not noised yet (``fedpref.core.noise``).
"""

import numpy as np

from fedpref.core.types import BoundedRows, BoundedSum, Float, Grid, Integer

_HUGE = 2.0**62


def sum_on_grid(units: BoundedRows, grid: Grid) -> BoundedSum:
    """Truncate each unit to ``grid`` and add them up.

    Args:
        units: Clipped rows, ``[units, coordinates]``; their bound is the sensitivity.
        grid: The plan's grid.

    Returns:
        The integer sum with its zero-out sensitivity.

    >>> half = BoundedRows(np.array([[0.6, -0.6]]), 1.0, 0)
    >>> sum_on_grid(half, Grid(-1)).total.tolist()
    [1, -1]
    """
    limit = grid.sensitivity_squared(units.bound)
    real = np.trunc(np.ldexp(units.rows, -grid.exponent))
    # Larger ones would not fit an integer; they are beyond any limit all the same.
    steps = np.clip(real, -_HUGE, _HUGE).astype(np.int64)
    for row in steps:
        if squared_norm(row) > limit:
            row[:] = 0  # fail closed: a unit that is not within its bound adds nothing
    return BoundedSum(steps.sum(axis=0, dtype=np.int64), limit, grid)


def squared_norm(row: Integer) -> int:
    """Exact squared Euclidean norm of an integer vector.

    >>> squared_norm(np.array([3 * 2**40, 4 * 2**40])) == 25 * 2**80
    True
    """
    # Not abs(): in int64 the absolute value of -2**63 is itself.
    largest = max(int(row.max(initial=0)), -int(row.min(initial=0)))
    if largest * largest * max(1, row.size) < 2**63:
        return int(np.dot(row, row))
    return sum(int(x) * int(x) for x in row)


def to_reals(total: Integer, grid: Grid) -> Float:
    """Back from steps to model units; exact for entries below 2**53.

    >>> to_reals(np.array([3, -4]), Grid(-1)).tolist()
    [1.5, -2.0]
    """
    return np.ldexp(total.astype(np.float64), grid.exponent)
