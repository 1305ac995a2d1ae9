"""Clip each unit's row to a bound that then travels with the rows.

Guarantees: every returned row has Euclidean norm at most ``bound``; a row that is not
finite becomes zero; row i depends on row i alone.

Does not give: anything about rows that mix several units. Folding records into units
happens before (``fedpref.models.gradients``); a preference pair is one record.
"""

import numpy as np
from numpy.typing import NDArray

from fedpref.core.types import BoundedRows, Float

# Rounding in the norm and in the product below is of relative size 1e-13 even for 1e8
# coordinates; the margin keeps the exact norm below the bound all the same.
_MARGIN = 1.0 - 2.0**-40


def clip_units(rows: Float, bound: float) -> BoundedRows:
    """Scale each row down to norm ``bound`` where it is longer.

    Args:
        rows: One gradient a unit, ``[units, coordinates]``.
        bound: Largest norm allowed, finite and > 0.

    Returns:
        The clipped rows with their bound.

    Raises:
        ValueError: ``bound`` is not positive and finite, or ``rows`` is not a matrix.

    >>> clip_units(np.array([[3.0, 4.0], [0.3, 0.4], [np.nan, 1.0]]), 1.0).rows.round(6)
    array([[0.6, 0.8],
           [0.3, 0.4],
           [0. , 0. ]])
    """
    if not (np.isfinite(bound) and bound > 0):
        raise ValueError(f"bound = {bound}, must be finite and > 0")
    if rows.ndim != 2:
        raise ValueError(f"rows.ndim = {rows.ndim}, must be 2: [units, coordinates]")
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(rows), axis=1)
    safe = np.where(finite[:, None], rows, 0.0).astype(np.float64)
    # Working in multiples of the largest entry keeps huge rows from overflowing and
    # the factor of tiny bounds from losing digits.
    largest = np.abs(safe).max(axis=1, initial=0.0)[:, None]
    shape = safe / np.where(largest > 0, largest, 1.0)
    length = np.sqrt(np.square(shape).sum(axis=1, keepdims=True))
    with np.errstate(over="ignore"):
        too_long = largest > 0
        too_long &= length > bound * _MARGIN / np.where(too_long, largest, 1.0)
    scaled = shape * (bound * _MARGIN / np.where(too_long, length, 1.0))
    rows = np.where(too_long, scaled, safe)
    return BoundedRows(rows, bound, int((~finite).sum()))
