"""The price of Skellam noise: in closed form, and by comparison with a Gaussian.

Guarantees: both bounds hold for Skellam noise of the stated variance or more; the
comparison holds for a whole list of releases that were planned beforehand, and every
number in it errs upwards.

Does not give: the price of the Gaussian twin (``fedpref.core.accounting`` puts the two
together), or exactness below float64 (label: idealised numerics).
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import comb, exp, inf, log, log1p

from fedpref.core.closeness import Draws, closeness
from fedpref.core.events import (
    GaussianSum,
    PoissonGaussianSum,
    PoissonSkellamSum,
    SkellamSum,
)

_LARGEST_SPREAD = 0.5


# The closed form


def divergence(order: int, square: float, l1: float, variance: float) -> float:
    """Rényi divergence of order a between Skellam noise and its shift, unsampled.

    Agarwal, Kairouz and Liu (2021), as ``accounting.md`` section 2 states it:
    a D2^2/(2V) + min{((2a - 1) D2^2 + 6 D1)/(4 V^2), 3 D1/(2V)}.

    Args:
        order: An integer >= 2.
        square: Squared Euclidean sensitivity D2^2, in squared steps.
        l1: Sensitivity D1 in sums of absolute values, in steps.
        variance: V, in squared steps.

    >>> divergence(2, 4.0, 4.0, 8.0)  # 2*4/16 + min(36/256, 12/16)
    0.640625
    """
    more = ((2 * order - 1) * square + 6 * l1) / (4 * variance**2)
    return order * square / (2 * variance) + min(more, 3 * l1 / (2 * variance))


def sampled_divergence(
    order: int, rate: float, divergence: Callable[[int], float]
) -> float:
    """Rényi divergence of any mechanism whose units take part by secret coins.

    Zhu and Wang (2019), theorem 5.

    Args:
        order: An integer a >= 2.
        rate: Chance q that a unit takes part, in (0, 1]; at 1 nothing is gained.
        divergence: That of the mechanism without coins, at integer orders up to a.
    """
    if rate >= 1:
        return divergence(order)
    yes, no = log(rate), log1p(-rate)
    terms = [(order - 1) * no + log1p((order - 1) * rate)]
    for part in range(2, order + 1):
        ways = log(comb(order, part) * (1 if part == 2 else 3))
        inside = (part - 1) * divergence(part)
        terms.append(ways + (order - part) * no + part * yes + inside)
    largest = max(terms)
    total = largest + log(sum(exp(term - largest) for term in terms))
    return max(0.0, total) / (order - 1) * (1 + 2.0**-40)


# The comparison


def twin(event: SkellamSum | PoissonSkellamSum) -> GaussianSum | PoissonGaussianSum:
    """The rounded Gaussian that stands in for the Skellam noise of ``event``.

    Rounding adds at most a twelfth of a squared step to a Gaussian's variance.

    >>> from fedpref.core.types import Relation, Unit
    >>> one = SkellamSum(Unit.USER, Relation.ZERO_OUT, 4, 4, Fraction(100), 3)
    >>> twin(one).variance
    Fraction(1199, 12)
    """
    variance = event.variance - Fraction(1, 12)
    square, size = event.sensitivity_squared, event.coordinates
    if isinstance(event, PoissonSkellamSum):
        rate = event.sampling_prob
        return PoissonGaussianSum(
            event.unit, event.relation, rate, square, variance, size
        )
    return GaussianSum(event.unit, event.relation, square, variance, size)


def draws(releases: Sequence[tuple[SkellamSum | PoissonSkellamSum, int]]) -> Draws:
    """What ``releases`` draw together, sorted."""
    total: dict[Fraction, int] = {}
    for event, count in releases:
        drawn = count * event.coordinates
        total[event.variance] = total.get(event.variance, 0) + drawn
    return tuple(sorted(total.items()))


def price(noises: Draws, twin_epsilon: Callable[[float], float], delta: float) -> float:
    """Epsilon of a list at ``delta``, from that of its Gaussian twin.

    eps = eps_G + 2 e0 at delta = e^e0 delta_G + slack (1 + e^(eps_G + e0)).

    Args:
        noises: The Skellam noise of the whole list.
        twin_epsilon: Epsilon of the list with every Skellam replaced by its ``twin``.
        delta: Above 0 and below 1.

    Returns:
        Infinite where the two laws are too far apart for this bound.
    """
    coarse = twin_epsilon(delta / 2)
    if not coarse < 600:
        return inf
    # 1.3 slacks of it, times 1 + e^(eps_G + e0), stay below a hundredth of delta
    close = closeness(noises, delta / (250 * (1 + exp(coarse + _LARGEST_SPREAD))))
    if close.spread > _LARGEST_SPREAD:
        return inf
    paid = close.slack * (1 + exp(coarse + close.spread))
    rest = (delta - paid) * exp(-close.spread) * (1 - 2.0**-50)
    if rest < delta / 2:
        return inf
    return (twin_epsilon(rest) + 2 * close.spread) * (1 + 2.0**-50)
