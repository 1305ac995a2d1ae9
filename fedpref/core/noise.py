"""Integer noise in grid steps: Gaussian for a trusted aggregator, shares for devices.

Guarantees: all noise comes from AES-256-CTR under the given key. Gaussian noise is
sized from the sum that it protects, rounded up to whole steps, and rounding it is a
post-processing. Skellam shares have the given variance exactly, up to
``sampler_error``, and add up: the sum of shares is Skellam of the summed variance.

Does not give: exactness below float64 for the Gaussian. Box-Muller on 128-bit radii has
a tail that ends at 13.3 standard deviations (``tail_mass`` hands what lies beyond to
delta) and rounds in float64 (label: idealised numerics). Sums of discrete Gaussians are
not discrete Gaussian: that law is for cross-checks, and no plan uses it.
"""

from fractions import Fraction
from math import isqrt

import numpy as np

from fedpref.core.entropy import uniform_words
from fedpref.core.laws import DISTANCE, draw, gaussian_table, skellam_table
from fedpref.core.types import BoundedSum, Float, Integer

# A float64 of 14 standard deviations then still has digits below the point. Beyond, the
# last digits of the sum would come out bare.
_MOST_STDDEV = 2**46


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
        ValueError: The multiplier is not positive, or the noise would have more than
            2**46 steps, too many for float64 to reach the last one.
    """
    if noise_multiplier <= 0:
        raise ValueError(f"noise_multiplier = {noise_multiplier}, must be > 0")
    stddev = stddev_steps(bounded.sensitivity_squared, noise_multiplier)
    if stddev > _MOST_STDDEV:
        raise ValueError(
            f"stddev = {float(stddev):.4g} steps, must be <= 2**46; take a coarser "
            "grid or a smaller noise_multiplier"
        )
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


def skellam(count: int, variance: int, *, key: bytes) -> Integer:
    """One share of noise: symmetric Skellam numbers, int64 ``[count]``.

    Args:
        count: Number of coordinates.
        variance: Of each, in squared steps; a whole number from 1 to 2**24.
        key: 32 bytes, used for this share only.

    Raises:
        ValueError: The variance is out of range.

    >>> share = skellam(100_000, 25, key=bytes(32))
    >>> 24.5 < float(share.var()) < 25.5
    True
    """
    return draw(skellam_table(variance), count, key=key)


def discrete_gaussian(count: int, variance: int, *, key: bytes) -> Integer:
    """Discrete Gaussian numbers, int64 ``[count]``: to check against, not to plan with.

    Canonne, Kamath and Steinke (2020). Their sum over devices is not of the same law.

    Args:
        count: Number of coordinates.
        variance: The law's parameter in squared steps, from 1 to 2**24; the variance
            itself is at most this.
        key: 32 bytes, used for these numbers only.

    Raises:
        ValueError: The variance is out of range.
    """
    return draw(gaussian_table(variance), count, key=key)


def sampler_error(coordinates: int) -> float:
    """Total variation distance of one share from the ideal law, at most.

    Covers the rounding of the table's thresholds, its weights and where it ends, for
    every variance. A release of several shares pays it once for each.

    >>> sampler_error(10**6) < 1e-26
    True
    """
    return coordinates * DISTANCE
