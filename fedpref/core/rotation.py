"""Spread a vector evenly over its coordinates by a public random rotation.

Guarantees: rows keep their Euclidean norm and come back to within 1e-12 of their norm;
row i depends on row i alone. Over the random signs each rotated coordinate is
sub-Gaussian with variance norm**2 / length, so that sums fit into fewer bits.

Does not give: privacy. The signs are public, and the rotation is undone by anybody.
"""

from functools import lru_cache
from math import sqrt

import numpy as np

from fedpref.core.entropy import uniform_words
from fedpref.core.types import BoundedRows, Float

_RADIX = 32  # Hadamard matrices of this order are multiplied at a time


def padded_size(coordinates: int) -> int:
    """The smallest power of two that is at least ``coordinates``.

    >>> [padded_size(n) for n in (1, 5, 8)]
    [1, 8, 8]
    """
    if coordinates < 1:
        raise ValueError(f"coordinates = {coordinates}, must be at least 1")
    return 1 << (coordinates - 1).bit_length()


def rotate(units: BoundedRows, *, seed: bytes) -> BoundedRows:
    """H D x / sqrt(d) for each row: signs D from the seed, Walsh-Hadamard matrix H.

    Args:
        units: Clipped rows, ``[units, coordinates]``; padded with zeros to length d,
            the next power of two.
        seed: 32 public bytes, the same for everybody, chosen apart from the data.

    Returns:
        Rotated rows, ``[units, d]``, of the same norms and so with the same bound.

    >>> rows = BoundedRows(np.array([[3.0, 0.0, 4.0]]), 5.0, 0)
    >>> rotated = rotate(rows, seed=bytes(32))
    >>> rotated.rows.shape, float(np.square(rotated.rows).sum().round(9))
    ((1, 4), 25.0)
    """
    coordinates = units.rows.shape[1]
    size = padded_size(coordinates)
    rows = np.zeros((len(units.rows), size))
    rows[:, :coordinates] = units.rows
    rows *= _signs(size, seed)
    for index, row in enumerate(rows):
        rows[index] = _walsh_hadamard(row)
    return BoundedRows(rows, units.bound, units.zeroed)


def rotate_back(vector: Float, *, coordinates: int, seed: bytes) -> Float:
    """The vector that :func:`rotate` made ``vector`` of, ``[coordinates]``.

    Raises:
        ValueError: ``vector`` has not the padded length of ``coordinates``.
    """
    size = padded_size(coordinates)
    if vector.shape != (size,):
        raise ValueError(f"vector has shape {vector.shape}, not ({size},)")
    # H / sqrt(d) is symmetric and orthogonal, so it is its own inverse.
    return (_walsh_hadamard(vector) * _signs(size, seed))[:coordinates]


def _signs(size: int, seed: bytes) -> Float:
    """Plus and minus one, ``[size]``, from the bits of the seed's keystream."""
    words = uniform_words(-(-size // 64), key=seed)
    # Everybody must get the same signs, whatever the byte order of the machine.
    octets = words.astype("<u8", copy=False).view(np.uint8)
    bits = np.unpackbits(octets)[:size]
    return 1.0 - 2.0 * bits.astype(np.float64)


def _walsh_hadamard(vector: Float) -> Float:
    """H vector / sqrt(d) in Sylvester's order, as products with small matrices."""
    size = vector.size
    result: Float = vector
    inner = 1  # length of the axes that are done, behind the present one
    while inner < size:
        order = min(_RADIX, size // inner)
        matrix = _hadamard(order)
        if inner == 1:
            result = (result.reshape(-1, order) @ matrix).reshape(-1)
        else:
            blocks = result.reshape(-1, order, inner)
            result = np.matmul(matrix, blocks).reshape(-1)
        inner *= order
    return result / sqrt(size)


@lru_cache(maxsize=8)
def _hadamard(order: int) -> Float:
    matrix: Float = np.ones((1, 1))
    while len(matrix) < order:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix
