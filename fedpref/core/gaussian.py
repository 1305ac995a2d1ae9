"""The exact price of Gaussian noise that is not sampled.

Guarantees: the epsilon is that of the Gaussian mechanism (Balle and Wang 2018, theorem
8), rounded up: never below it, and above it by less than one part in a million. Does
not give: anything about a sampled release, or exactness below float64 (label:
idealised numerics).

Needs neither SciPy nor dp_accounting, whose import would be most of what reading a
ledger takes.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import erfc, exp, inf, log, pi, sqrt

from fedpref.core.events import GaussianSum
from fedpref.errors import PlanError

_SLACK = 2.0**-40  # more than float64 loses in either term
_LARGEST = 2**20
_FAR = 36.0  # further out the tail is not a normal number any more


def mu_squared(counts: Sequence[tuple[GaussianSum, int]]) -> Fraction:
    """Squared sensitivity over variance, summed: the exact size of all releases.

    They compose to one Gaussian of that size (Dong, Roth and Su 2022, corollary 3.3).
    """
    squares = (n * event.sensitivity_squared / event.variance for event, n in counts)
    return sum(squares, Fraction(0))


def gaussian_epsilon(mu_squared: Fraction, delta: float) -> float:
    """Exact epsilon of one Gaussian of that size, rounded up.

    Balle and Wang (2018), theorem 8, solved for epsilon.

    Args:
        mu_squared: Squared ratio of sensitivity and standard deviation, >= 0.
        delta: Between 0 and 1; what the sampler's range costs must be taken off before.

    Returns:
        Epsilon; infinite from a size of 2**20 on, which is no protection.

    Raises:
        PlanError: Arguments outside these ranges.

    >>> round(gaussian_epsilon(Fraction(1, 9), 1e-5), 2)
    1.27
    """
    if not mu_squared >= 0 or not 0 < delta < 1:
        raise PlanError(
            f"mu_squared = {float(mu_squared):g}, must be >= 0; delta = {delta}, must "
            "lie between 0 and 1"
        )
    if mu_squared == 0:
        return 0.0
    if mu_squared >= _LARGEST:
        return inf
    mu = sqrt(mu_squared) * (1 + 2.0**-50)
    low, high = 0.0, mu * mu / 2 + mu * sqrt(2 * log(1 / delta))
    if _spent(mu, low) <= delta:
        return 0.0
    while _spent(mu, high) > delta:
        low, high = high, 2 * high
    while high - low > 2.0**-44 * high:  # delta at high is never above the given one
        middle = (low + high) / 2
        if _spent(mu, middle) <= delta:
            high = middle
        else:
            low = middle
    return high


def _spent(mu: float, epsilon: float) -> float:
    """The delta that belongs to ``epsilon``, rounded up."""
    above = _upper_tail(epsilon / mu - mu / 2)
    far = epsilon / mu + mu / 2
    if far < _FAR:
        below = exp(epsilon + log(_upper_tail(far)))
    else:  # Gordon (1941): a lower bound of the tail
        below = exp(epsilon - far * far / 2) / sqrt(2 * pi) * far / (1 + far * far)
    return above * (1 + _SLACK) - below * (1 - _SLACK)


def _upper_tail(x: float) -> float:
    """Chance that a standard normal number exceeds ``x``."""
    return erfc(x / sqrt(2)) / 2
