"""Gaussian noise on the grid, sized from the sum that it protects.

Guarantees: the standard deviation is the noise multiplier times the sensitivity that
the sum carries, rounded up to whole steps; the noise comes from AES-256-CTR under the
given key; adding rounded noise to an integer sum is rounding the sum of both, so the
release is a post-processing of the Gaussian mechanism.

Does not give: exactness below float64. Box-Muller on 128-bit radii has a tail that
ends at 13.3 standard deviations (``tail_mass`` hands what lies beyond to delta) and
rounds in float64 (label: idealised numerics).
"""

from fractions import Fraction
from math import isqrt

import numpy as np

from fedpref.core.entropy import uniform_words
from fedpref.core.types import BoundedSum, Float, Integer


def stddev_steps(sensitivity_squared: int, noise_multiplier: Fraction) -> int:
    """Smallest whole number of steps that is at least multiplier times sensitivity.

    >>> stddev_steps(100, Fraction(3, 2)), stddev_steps(101, Fraction(3, 2))
    (15, 16)
    """
    square = noise_multiplier * noise_multiplier * sensitivity_squared
    whole = -(-square.numerator // square.denominator)
    root = isqrt(whole)
    return root + (root * root < whole)


def add_gaussian(
    bounded: BoundedSum, noise_multiplier: Fraction, *, key: bytes
) -> Integer:
    """The sum plus rounded Gaussian noise, int64 ``[coordinates]``.

    Args:
        bounded: The sum and the bound on one unit's part in it.
        noise_multiplier: Standard deviation over sensitivity, > 0.
        key: 32 bytes, used for this release only.

    Returns:
        Noisy sum in grid steps.

    Raises:
        ValueError: The multiplier is not positive.
    """
    if noise_multiplier <= 0:
        raise ValueError(f"noise_multiplier = {noise_multiplier}, must be > 0")
    stddev = stddev_steps(bounded.sensitivity_squared, noise_multiplier)
    noise = np.rint(stddev * standard_normal(bounded.total.size, key=key))
    return bounded.total + noise.astype(np.int64)


def standard_normal(count: int, *, key: bytes) -> Float:
    """Standard normal numbers by Box and Muller (1958), ``[count]``."""
    half = (count + 1) // 2
    high, low, turn = (
        uniform_words(3 * half, key=key).astype(np.float64).reshape(3, half)
    )
    uniform = (high + (low + 0.5) * 2.0**-64) * 2.0**-64
    radius = np.sqrt(-2.0 * np.log(np.minimum(uniform, 1.0)))
    angle = (2.0 * np.pi * 2.0**-64) * turn
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def tail_mass(coordinates: int) -> float:
    """Probability that an ideal draw of so many coordinates leaves the sampler's range.

    The radius of a pair exceeds sqrt(2 ln 2**128) with probability 2**-128; one pair a
    coordinate is counted, which is twice as many as there are.
    """
    return coordinates * 2.0**-128
