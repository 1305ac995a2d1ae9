"""Second moments as vectors whose norm is bounded by that of what they are made of.

Guarantees: ``|svec(b)| = |b|**2`` exactly in real numbers, so a person whose offset has
at most the norm c moves a sum of second moments by at most c**2 (``accounting.md``
section 8); ``unsvec`` undoes ``svec`` and its result is symmetric.

Does not give: the bound itself, which ``shorten`` makes; noise, which the plan adds; or
a matrix that is positive semi-definite, since noise may leave it with negative
eigenvalues.
"""

from math import isqrt, sqrt

import numpy as np

from fedpref.core.types import Float
from fedpref.errors import InputError

_ROOT = sqrt(2.0)


def shorten(offset: Float, norm: float) -> Float:
    """``offset`` with at most the given norm, in the same direction; float64 ``[D]``.

    An offset that is not finite becomes zero.

    >>> shorten(np.array([3.0, 4.0]), 1.0).round(9).tolist()
    [0.6, 0.8]
    """
    if not norm > 0:
        raise InputError(f"norm = {norm}, must be positive")
    values = np.asarray(offset, dtype=np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(largest):
        return np.zeros_like(values)
    if largest == 0:
        return values.copy()
    scaled = values / largest  # so that no square overflows
    length = largest * float(np.linalg.norm(scaled))
    return values if length <= norm else scaled * (norm / np.linalg.norm(scaled))


def svec(offset: Float) -> Float:
    """The upper triangle of ``b b'``, off-diagonals times sqrt 2; ``[D (D + 1) / 2]``.

    Row by row: b_1 b_1, sqrt 2 b_1 b_2, ..., b_2 b_2, ...

    >>> svec(np.array([1.0, 2.0])).round(6).tolist()
    [1.0, 2.828427, 4.0]
    """
    values = np.asarray(offset, dtype=np.float64)
    row, column = np.triu_indices(len(values))
    weights = np.where(row == column, 1.0, _ROOT)
    return np.asarray(values[row] * values[column] * weights)


def unsvec(vector: Float) -> Float:
    """The symmetric matrix ``[D, D]`` whose upper triangle ``vector`` is.

    Raises:
        InputError: Its length is not that of a triangle.

    >>> unsvec(svec(np.array([1.0, 2.0]))).round(9).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    size = (isqrt(8 * len(vector) + 1) - 1) // 2
    if size * (size + 1) // 2 != len(vector):
        raise InputError(f"numbers = {len(vector)}, must be D (D + 1) / 2 for some D")
    row, column = np.triu_indices(size)
    values = np.where(row == column, vector, np.asarray(vector) / _ROOT)
    matrix = np.zeros((size, size))
    matrix[row, column] = values
    matrix[column, row] = values
    return matrix
