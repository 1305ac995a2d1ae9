"""The price of a list of releases: epsilon at delta, by PLD and by RDP.

Guarantees: both accountants compose the *whole* list and the smaller total is
returned (never a minimum an event); an event without a bound is refused; approximations
err on the side of a larger epsilon; what the noise sampler cannot reach is taken off
delta.

Does not give: a price for choices made after seeing earlier releases. The list must be
fixed before the first release (docs/guarantees/accounting.md).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, exp, inf, isfinite, log
from typing import Any

from fedpref.core.events import Event, GaussianSum, NonPrivate
from fedpref.core.noise import tail_mass
from fedpref.errors import PlanError, UnsupportedEvent

Multipliers = tuple[tuple[float, int], ...]
"""Noise multipliers with the number of releases at each."""

_PLD_INTERVAL = 1e-4
_LARGEST_MULTIPLIER = 1e5
_RELATIVE_PRECISION = 1e-5


@dataclass(frozen=True)
class Spent:
    """An epsilon and the accountant that gave it (``None`` where it is infinite)."""

    epsilon: float
    accountant: str | None


def epsilon(events: Sequence[Event], delta: float) -> Spent:
    """Smallest epsilon that we can prove for all ``events`` together at ``delta``.

    Args:
        events: Releases on the same people, all about one unit and one relation.
        delta: Between 0 and 1.

    Returns:
        The smaller of the PLD and the RDP total.

    Raises:
        UnsupportedEvent: An event for which we have no bound, or events of different
            units or relations, which are never added.

    >>> from fedpref.core.types import Relation, Unit
    >>> one = GaussianSum(Unit.USER, Relation.ZERO_OUT, 1, Fraction(81), 16)
    >>> round(epsilon([one] * 9, 1e-5).epsilon, 2)  # as one release with sigma 3
    1.27
    """
    if len({(event.unit, event.relation) for event in events}) > 1:
        raise UnsupportedEvent("events of different units or relations are never added")
    if not events:
        return Spent(0.0, None)
    if any(isinstance(event, NonPrivate) for event in events):
        return Spent(inf, None)
    gaussians = [event for event in events if isinstance(event, GaussianSum)]
    if len(gaussians) != len(events):
        other = next(e for e in events if not isinstance(e, GaussianSum | NonPrivate))
        raise UnsupportedEvent(f"event = {type(other).__name__}: no bound is known")
    missing = sum(tail_mass(event.coordinates) for event in gaussians)
    multipliers = Counter(event.noise_multiplier for event in gaussians)
    return _gaussian_total(tuple(sorted(multipliers.items())), delta, missing)


@lru_cache(
    maxsize=4096
)  # a pure function; calibration and progress ask again and again
def _gaussian_total(multipliers: Multipliers, delta: float, missing: float) -> Spent:
    totals = [
        Spent(_without_tail(accountant(multipliers), delta, missing), name)
        for name, accountant in (("pld", _pld), ("rdp", _rdp))
    ]
    return min(totals, key=lambda spent: spent.epsilon)


def _without_tail(
    ideal: Callable[[float], float], delta: float, missing: float
) -> float:
    """Epsilon of the real sampler, at distance ``missing`` from the ideal one.

    A mechanism within total variation t of an (e, d) one is (e, d + (1 + exp(e)) t);
    solved for d by starting from an e that is too large.
    """
    coarse = ideal(delta / 2)
    if not isfinite(coarse) or coarse > 700:
        return coarse if missing == 0 else inf
    rest = delta - (1 + exp(coarse)) * missing
    return ideal(rest) if rest >= delta / 2 else inf


def _pld(multipliers: Multipliers) -> Callable[[float], float]:
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=_PLD_INTERVAL)
    return _compose(accountant, multipliers)


def _rdp(multipliers: Multipliers) -> Callable[[float], float]:
    from dp_accounting.rdp import RdpAccountant

    return _compose(RdpAccountant(), multipliers)


def _compose(accountant: Any, multipliers: Multipliers) -> Callable[[float], float]:
    """Zero-out and add/remove cost the same for an unsampled Gaussian."""
    import dp_accounting

    for multiplier, count in multipliers:
        accountant.compose(dp_accounting.GaussianDpEvent(multiplier), count)
    return lambda delta: float(accountant.get_epsilon(delta))


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
