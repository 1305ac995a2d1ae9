"""The price of a list of releases: epsilon at delta, by PLD and by RDP.

Guarantees: each accountant composes the *whole* list and the smallest total is
returned (never a minimum an event); an event without a bound is refused; approximations
err on the side of a larger epsilon; what the noise sampler cannot reach is taken off
delta.

Does not give: a price for choices made after seeing earlier releases. The list must be
fixed before the first release, or one of the currencies at the end be used, of which
the cap is (docs/guarantees/accounting.md).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, exp, inf, isfinite, log, log1p, sqrt

from fedpref.core import composition
from fedpref.core.composition import Counts, Gaussian, Mechanism, Response
from fedpref.core.events import (
    Event,
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    RandomisedResponse,
)
from fedpref.core.noise import tail_mass
from fedpref.errors import PlanError, UnsupportedEvent

INTERVAL = 1e-4
"""Grid of the privacy loss distributions; a coarser one is faster and prices higher."""

_LARGEST_MULTIPLIER = 1e5
_RELATIVE_PRECISION = 1e-5
_LARGEST_BY_PLD = 200.0


@dataclass(frozen=True)
class Spent:
    """An epsilon and the accountant that gave it (``None`` where it is infinite)."""

    epsilon: float
    accountant: str | None


def epsilon(events: Sequence[Event], delta: float) -> Spent:
    """:func:`epsilon_of` for a list in which every release stands for itself."""
    return epsilon_of(tuple(Counter(events).items()), delta)


def epsilon_of(
    counts: Sequence[tuple[Event, int]], delta: float, *, interval: float = INTERVAL
) -> Spent:
    """Smallest epsilon that we can prove for all releases together at ``delta``.

    Args:
        counts: Releases on the same people with how often each happened, all about one
            unit and one relation.
        delta: At least 0 and below 1. At 0 only randomised response has a price.
        interval: Grid of the privacy loss distributions; 1e-3 is ten times as fast.

    Returns:
        The smallest of the totals by PLD, by RDP and, where nothing but randomised
        response happened, by adding the epsilons (``pure``).

    Raises:
        UnsupportedEvent: An event for which we have no bound, or events of different
            units or relations, which are never added.
        PlanError: A count, delta or interval that makes no sense.

    >>> from fedpref.core.types import Relation, Unit
    >>> one = GaussianSum(Unit.USER, Relation.ZERO_OUT, 1, Fraction(81), 16)
    >>> round(epsilon_of([(one, 9)], 1e-5).epsilon, 2)  # as one with sigma 3
    1.27
    """
    if not 0 <= delta < 1 or not 0 < interval <= 0.01:
        raise PlanError(
            f"delta = {delta}, must be >= 0 and < 1; interval = {interval}, must be "
            "> 0 and <= 0.01"
        )
    happened = _checked(counts)
    if not happened:
        return Spent(0.0, None)
    if any(isinstance(event, NonPrivate) for event, _ in happened):
        return Spent(inf, None)
    missing = sum(
        count * tail_mass(event.coordinates)
        for event, count in happened
        if not isinstance(event, RandomisedResponse)
    )
    return _total(_mechanisms(happened), delta, missing, interval, _pure(happened))


def forget() -> None:
    """Empty every cache; prices stay the same."""
    _total.cache_clear()
    composition.forget()


def _checked(counts: Sequence[tuple[Event, int]]) -> list[tuple[Event, int]]:
    """Those that happened at least once, if they may be added at all."""
    for event, count in counts:
        if not isinstance(event, Event):
            raise UnsupportedEvent(f"event = {type(event).__name__}: no bound is known")
        if type(count) is not int or count < 0:
            raise PlanError(f"count = {count!r}, must be a whole number >= 0")
    happened = [(event, count) for event, count in counts if count]
    if len({(event.unit, event.relation) for event, _ in happened}) > 1:
        raise UnsupportedEvent("events of different units or relations are never added")
    return happened


def _mechanisms(happened: Sequence[tuple[Event, int]]) -> Counts:
    """What bounds each event, in floats on the side of a larger epsilon."""
    total: Counter[Mechanism] = Counter()
    for event, count in happened:
        total[_mechanism(event)] += count
    gaussians = sorted((m, n) for m, n in total.items() if isinstance(m, Gaussian))
    responses = sorted((m, n) for m, n in total.items() if isinstance(m, Response))
    return (*gaussians, *responses)


def _mechanism(event: Event) -> Mechanism:
    if isinstance(event, GaussianSum):
        return Gaussian(1.0, event.noise_multiplier)
    if isinstance(event, PoissonGaussianSum):
        return Gaussian(event.sampling_rate, event.noise_multiplier)
    if isinstance(event, RandomisedResponse):
        return Response(event.options, event.uniform)
    raise UnsupportedEvent(f"event = {type(event).__name__}: no bound is known")


def _pure(happened: Sequence[tuple[Event, int]]) -> float:
    """Sum of the epsilons, which needs no delta; infinite where some event has none."""
    parts = [
        count * event.epsilon if isinstance(event, RandomisedResponse) else inf
        for event, count in happened
    ]
    return sum(parts) * (1 + len(parts) * 2.0**-50)


# pure; calibration and progress ask again and again
@lru_cache(maxsize=4096)
def _total(
    counts: Counts, delta: float, missing: float, interval: float, pure: float
) -> Spent:
    curve = composition.rdp(counts)
    by_rdp = _without_tail(curve, delta, missing)
    totals = [Spent(pure, "pure"), Spent(by_rdp, "rdp")]
    if min(pure, curve(delta)) <= _LARGEST_BY_PLD:  # the grid would fill the memory
        curve = composition.pld(counts, interval)
        totals.append(Spent(_without_tail(curve, delta, missing), "pld"))
    best = min(totals, key=lambda spent: spent.epsilon)
    return best if isfinite(best.epsilon) else Spent(inf, None)


def _without_tail(
    ideal: Callable[[float], float], delta: float, missing: float
) -> float:
    """Epsilon of the real sampler, at distance ``missing`` from the ideal one.

    A mechanism within total variation t of an (e, d) one is (e, d + (1 + exp(e)) t);
    solved for d by starting from an e that is too large.
    """
    if missing == 0:
        return ideal(delta)
    coarse = ideal(delta / 2)
    if not isfinite(coarse) or coarse > 700:
        return inf
    rest = delta - (1 + exp(coarse)) * missing
    return ideal(rest) if rest >= delta / 2 else inf


def calibrate(
    price: Callable[[Fraction], Spent], target_epsilon: float, *, start: float
) -> tuple[Fraction, Spent]:
    """Smallest noise multiplier (to 1e-5 of itself) whose price is within the target.

    Args:
        price: Epsilon of the whole plan at a noise multiplier; falls as it grows.
        target_epsilon: What the plan may cost, > 0.
        start: Where to begin looking; about the square root of the rounds, since
            small multipliers are slow to price.

    Returns:
        The multiplier, always on the private side, and its price.

    Raises:
        PlanError: Multipliers beyond 1e5 would be needed.
    """
    from scipy.optimize import brentq

    def excess(log_multiplier: float) -> float:
        cost = price(Fraction(exp(log_multiplier))).epsilon
        return log(min(max(cost, 1e-9), 1e9) / target_epsilon)

    low, high = start / 8, start
    while excess(log(high)) > 0:
        low, high = high, high * 8
        if high > _LARGEST_MULTIPLIER:
            raise PlanError(
                f"target_epsilon = {target_epsilon:g} cannot be reached: at a noise "
                f"multiplier of {low:g} the plan still costs "
                f"{price(Fraction(low)).epsilon:.3g}; raise target_epsilon or plan "
                "fewer rounds"
            )
    while excess(log(low)) <= 0:
        low, high = low / 8, low
    root = exp(brentq(excess, log(low), log(high), xtol=_RELATIVE_PRECISION / 4))
    multiplier = _on_short_grid(root)
    while (spent := price(multiplier)).epsilon > target_epsilon:
        multiplier = _on_short_grid(float(multiplier) * (1 + _RELATIVE_PRECISION))
    return multiplier, spent


def _on_short_grid(multiplier: float) -> Fraction:
    """Rounded up to a fraction short enough to read in a plan."""
    bits = 2**20
    return Fraction(ceil(multiplier * bits), bits)


# Currencies for choices that depend on earlier releases


def gaussian_mu_squared(counts: Sequence[tuple[Event, int]]) -> Fraction:
    """Sum of sensitivity squared over variance: the exact size of all releases.

    May be added up while later releases are chosen in the light of earlier ones, as
    long as the sum stays below a cap that was fixed before the first (Smith and
    Thakurta 2022). ``gaussian_epsilon`` is the price of the cap.

    Raises:
        UnsupportedEvent: Another event than an unsampled Gaussian sum, or events of
            different units or relations.

    >>> from fedpref.core.types import Relation, Unit
    >>> one = GaussianSum(Unit.USER, Relation.ZERO_OUT, 1, Fraction(81), 16)
    >>> gaussian_mu_squared([(one, 9)])
    Fraction(1, 9)
    """
    total = Fraction(0)
    for event, count in _checked(counts):
        if not isinstance(event, GaussianSum):
            raise UnsupportedEvent(
                f"event = {type(event).__name__}: only unsampled Gaussian sums add up "
                "by their squares; open the cap in Rényi divergence (rdp_at)"
            )
        total += count * event.sensitivity_squared / event.variance
    return total


def gaussian_epsilon(mu_squared: Fraction, delta: float) -> float:
    """Exact epsilon of one Gaussian of that size, rounded up.

    Balle and Wang (2018), theorem 8, solved for epsilon.

    Args:
        mu_squared: Squared ratio of sensitivity and standard deviation, >= 0.
        delta: Between 0 and 1; what the sampler's range costs must be taken off before.

    Raises:
        PlanError: Arguments outside these ranges.

    >>> round(gaussian_epsilon(Fraction(1, 9), 1e-5), 2)
    1.27
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr, ndtr

    if not 0 <= mu_squared < 2**20 or not 0 < delta < 1:
        raise PlanError(
            f"mu_squared = {float(mu_squared):g}, must lie in [0, 2**20); "
            f"delta = {delta}, in (0, 1)"
        )
    if mu_squared == 0:
        return 0.0
    mu = sqrt(mu_squared) * (1 + 2.0**-50)

    def excess(value: float) -> float:
        above = ndtr(mu / 2 - value / mu)
        below = exp(value + log_ndtr(-mu / 2 - value / mu))
        return float(above - below) / delta - 1

    high = mu * mu / 2 + mu * sqrt(2 * log(1 / delta)) + 1e-9
    if excess(0.0) <= -1e-9:
        return 0.0
    root = brentq(excess, 0.0, high, xtol=1e-12) if excess(0.0) > 0 else 0.0
    step = 1e-10
    while excess(root) > -1e-9:  # a margin for what floats lose in the difference
        root, step = root * (1 + step) + 1e-12, 2 * step
    return float(root)


def rdp_at(counts: Sequence[tuple[Event, int]], order: int) -> float:
    """Rényi divergence of all releases at one order, which was fixed in advance.

    May be added up while anything about later releases is chosen in the light of
    earlier ones, as long as the sum stays below a cap fixed before the first (Feldman
    and Zrnic 2021). ``rdp_epsilon`` is the price of the cap.

    Args:
        counts: As for ``epsilon_of``.
        order: An integer >= 2. To use m orders, split delta among them.

    Raises:
        UnsupportedEvent: As for ``epsilon_of``.
        PlanError: The order is no integer >= 2.
    """
    if type(order) is not int or order < 2:
        raise PlanError(f"order = {order!r}, must be an integer >= 2")
    happened = _checked(counts)
    if any(isinstance(event, NonPrivate) for event, _ in happened):
        return inf
    total = composition.rdp_total(_mechanisms(happened), (float(order),))
    return float(total[0]) * (1 + 2.0**-40)


def rdp_epsilon(rdp: float, order: int, delta: float) -> float:
    """Epsilon of a mechanism with that Rényi divergence at ``order``.

    Canonne, Kamath and Steinke (2020), proposition 12.

    >>> round(rdp_epsilon(0.5, 10, 1e-5), 3)
    1.418
    """
    if type(order) is not int or order < 2 or not 0 < delta < 1 or not rdp >= 0:
        raise PlanError(
            f"order = {order!r}, delta = {delta}, rdp = {rdp}: out of range"
        )
    if not isfinite(rdp):
        return inf
    extra = log1p(-1 / order) - log(delta * order) / (order - 1)
    return max(0.0, rdp + extra + 2.0**-40)
