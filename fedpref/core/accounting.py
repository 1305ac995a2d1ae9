"""The price of a list of releases: epsilon at delta, by PLD and by RDP.

Guarantees: each accountant composes the *whole* list and the smallest total is
returned (never a minimum an event); an event without a bound is refused; approximations
err on the side of a larger epsilon; what the noise sampler cannot reach is taken off
delta.

Does not give: a price for choices made after seeing earlier releases. The list must be
fixed before the first release; ``fedpref.core.currencies`` is for when it was not.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, exp, inf, isfinite, log

from fedpref.core import composition
from fedpref.core.composition import Counts, Gaussian, Mechanism, Response, Skellam
from fedpref.core.events import (
    Event,
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    PoissonSkellamSum,
    RandomisedResponse,
    SkellamSum,
)
from fedpref.core.gaussian import gaussian_epsilon, mu_squared
from fedpref.core.noise import sampler_error, tail_mass
from fedpref.core.skellam import draws, twin
from fedpref.core.skellam import price as skellam_price
from fedpref.errors import PlanError, UnsupportedEvent

INTERVAL = 1e-4
"""Grid of the privacy loss distributions; a coarser one is faster and prices higher."""

MOST_SHARES = 2**20
"""Devices that add a share of noise to one sum, at most."""

SKELLAMS = (SkellamSum, PoissonSkellamSum)

_UP = 1 + 2.0**-50
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
        Where nothing but unsampled Gaussian sums happened the exact epsilon
        (``exact``). Otherwise the smallest of the totals by PLD, by RDP and, where
        nothing but randomised response happened, by adding the epsilons (``pure``).
        With Skellam noise in the list: the smaller of the totals by RDP (``rdp``) and
        by comparison with Gaussian noise, which is priced in one of these ways
        (``comparison+exact``, ``comparison+pld``, ``comparison+rdp``).

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
    happened = checked(counts)
    if not happened:
        return Spent(0.0, None)
    if any(isinstance(event, NonPrivate) for event, _ in happened):
        return Spent(inf, None)
    if any(isinstance(event, SKELLAMS) for event, _ in happened):
        return _with_skellam(tuple(happened), delta, interval)
    return _without_skellam(happened, delta, interval, unreachable(happened))


def forget() -> None:
    """Empty every cache; prices stay the same."""
    _exact.cache_clear()
    _total.cache_clear()
    _with_skellam.cache_clear()
    composition.forget()


def checked(counts: Sequence[tuple[Event, int]]) -> list[tuple[Event, int]]:
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


def unreachable(counts: Sequence[tuple[Event, int]]) -> float:
    """Total variation between the releases and those of ideal noise and coins.

    A release of Skellam noise has at most ``MOST_SHARES`` shares, each by a sampler
    with an error of its own. Secret coins may be off by 2**-64 a release together, and
    so may what a cohort's size gives away of them.
    """
    missing = 0.0
    for event, count in counts:
        if isinstance(event, SKELLAMS):
            missing += count * MOST_SHARES * sampler_error(event.coordinates)
        elif not isinstance(event, RandomisedResponse | NonPrivate):
            missing += count * tail_mass(event.coordinates)
        if isinstance(event, PoissonGaussianSum | PoissonSkellamSum):
            missing += count * 2.0**-64
    return missing


def mechanisms(happened: Sequence[tuple[Event, int]]) -> Counts:
    """What bounds each event, in floats on the side of a larger epsilon."""
    total: Counter[Mechanism] = Counter()
    for event, count in happened:
        total[_mechanism(event)] += count
    gaussians = sorted((m, n) for m, n in total.items() if isinstance(m, Gaussian))
    responses = sorted((m, n) for m, n in total.items() if isinstance(m, Response))
    shares = sorted((m, n) for m, n in total.items() if isinstance(m, Skellam))
    return (*gaussians, *responses, *shares)


def _mechanism(event: Event) -> Mechanism:
    if isinstance(event, GaussianSum):
        return Gaussian(1.0, event.noise_multiplier)
    if isinstance(event, PoissonGaussianSum):
        return Gaussian(event.sampling_rate, event.noise_multiplier)
    if isinstance(event, RandomisedResponse):
        return Response(event.options, event.uniform)
    if isinstance(event, SKELLAMS):
        rate = event.sampling_rate if isinstance(event, PoissonSkellamSum) else 1.0
        square = event.sensitivity_squared * _UP
        return Skellam(rate, square, event.sensitivity_l1 * _UP, event.variance / _UP)
    raise UnsupportedEvent(f"event = {type(event).__name__}: no bound is known")


def _pure(happened: Sequence[tuple[Event, int]]) -> float:
    """Sum of the epsilons, which needs no delta; infinite where some event has none."""
    parts = [
        count * event.epsilon if isinstance(event, RandomisedResponse) else inf
        for event, count in happened
    ]
    return sum(parts) * (1 + len(parts) * 2.0**-50)


@lru_cache(maxsize=4096)
def _with_skellam(
    happened: tuple[tuple[Event, int], ...], delta: float, interval: float
) -> Spent:
    """The smaller total: RDP, or the comparison of the whole list with its twin."""
    if delta == 0:
        return Spent(inf, None)
    missing = unreachable(happened)
    by_rdp = _without_tail(composition.rdp(mechanisms(happened)), delta, missing)
    noises = draws([(e, n) for e, n in happened if isinstance(e, SKELLAMS)])
    others = Counter[Event]()
    for event, count in happened:
        others[twin(event) if isinstance(event, SKELLAMS) else event] += count
    ideal = tuple(others.items())

    def twin_price(delta: float) -> Spent:
        return _without_skellam(ideal, delta, interval, 0.0)

    def compared(delta: float) -> float:
        return skellam_price(noises, lambda rest: twin_price(rest).epsilon, delta)

    by_comparison = _without_tail(compared, delta, missing)
    if by_comparison <= by_rdp and isfinite(by_comparison):
        return Spent(by_comparison, f"comparison+{twin_price(delta / 2).accountant}")
    return Spent(by_rdp, "rdp") if isfinite(by_rdp) else Spent(inf, None)


def _without_skellam(
    happened: Sequence[tuple[Event, int]],
    delta: float,
    interval: float,
    missing: float,
) -> Spent:
    plain = tuple((e, count) for e, count in happened if isinstance(e, GaussianSum))
    if len(plain) == len(happened):
        return _exact(plain, delta, missing)
    return _total(mechanisms(happened), delta, missing, interval, _pure(happened))


@lru_cache(maxsize=4096)
def _exact(
    counts: tuple[tuple[GaussianSum, int], ...], delta: float, missing: float
) -> Spent:
    """Unsampled Gaussians compose to one, whose epsilon is known exactly."""
    if delta == 0:
        return Spent(inf, None)
    size = mu_squared(counts)
    total = _without_tail(lambda rest: gaussian_epsilon(size, rest), delta, missing)
    return Spent(total, "exact") if isfinite(total) else Spent(inf, None)


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
