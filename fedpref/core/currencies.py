"""Currencies: in what the plans under one cap add up, fixed when the cap is opened.

Sealed plans add by epsilon and delta. In the two adaptive currencies what is added up
may be added up while later releases are chosen in the light of earlier ones.

Guarantees: as long as the sum stays below ``limit``, which is fixed before the first
release, all releases together are (epsilon, delta)-private. Does not give: a price of
the sum that was reached. It is the cap that is claimed (docs/guarantees/currencies.md).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import exp, inf, isfinite, log, log1p

from fedpref.core import composition
from fedpref.core.accounting import checked, mechanisms, unreachable
from fedpref.core.events import Event, GaussianSum, NonPrivate
from fedpref.core.gaussian import gaussian_epsilon, mu_squared
from fedpref.errors import InputError, PlanError, UnsupportedEvent

TAIL_SHARE = 2.0**-34
"""Of the delta of an adaptive cap, for what the noise sampler cannot reach."""


_ORDER = re.compile("[2-9]|[1-9][0-9]{1,3}")


class Sum(StrEnum):
    """What is added up."""

    SEALED = "sealed"
    GAUSSIAN = "gaussian"
    RDP = "rdp"


@dataclass(frozen=True)
class Currency:
    """In what plans add up; written ``sealed``, ``gaussian`` or ``rdp:ORDER``.

    >>> str(Currency.parse("rdp:16")), Currency.parse("sealed").adaptive
    ('rdp:16', False)
    """

    sum: Sum
    order: int | None = None

    def __post_init__(self) -> None:
        if (self.sum is Sum.RDP) != (self.order is not None):
            raise PlanError("an order belongs to rdp and to nothing else")
        if self.order is not None:
            _check_order(self.order)

    @classmethod
    def parse(cls, text: str) -> "Currency":
        """The currency of that name.

        Raises:
            InputError: There is none.
        """
        name, _, order = text.partition(":")
        found = None
        if name == Sum.RDP and _ORDER.fullmatch(order):
            found = cls(Sum.RDP, int(order))
        elif text in (Sum.SEALED, Sum.GAUSSIAN):
            found = cls(Sum(text))
        if found is None:
            raise InputError(
                f"currency = '{text}', must be sealed, gaussian or rdp:ORDER with a "
                "whole ORDER from 2 to 9999, as in rdp:16"
            )
        return found

    @property
    def adaptive(self) -> bool:
        """Whether rounds that never happened may be given back."""
        return self.sum is not Sum.SEALED

    def __str__(self) -> str:
        return self.sum.value if self.order is None else f"{self.sum}:{self.order}"


SEALED = Currency(Sum.SEALED)


def size(currency: Currency, counts: Sequence[tuple[Event, int]]) -> Fraction | float:
    """What ``counts`` take of a cap in an adaptive currency; infinite without noise.

    Raises:
        UnsupportedEvent: The currency has no bound for an event.
    """
    if any(count and isinstance(event, NonPrivate) for event, count in counts):
        return inf
    if currency.order is not None:
        return rdp_at(counts, currency.order)
    return gaussian_mu_squared(counts)


def price(currency: Currency, total: Fraction | float, delta: float) -> float:
    """Epsilon of a sum in an adaptive currency, at the whole ``delta`` of its cap."""
    if not total:
        return 0.0
    if not isfinite(total):
        return inf
    rest = delta * (1 - TAIL_SHARE)
    if currency.order is not None:
        return rdp_epsilon(float(total), currency.order, rest)
    return gaussian_epsilon(Fraction(total), rest)


@lru_cache(maxsize=64)
def limit(currency: Currency, epsilon: float, delta: float) -> float:
    """The largest sum that costs at most ``epsilon`` at ``delta``, rounded down.

    Zero where the currency cannot express so little.
    """
    low, high = 0.0, 1.0
    if price(currency, 2.0**-60, delta) > epsilon:
        return low
    while price(currency, high, delta) <= epsilon:
        low, high = high, 2 * high
    while high - low > 2.0**-48 * high:
        middle = (low + high) / 2
        if price(currency, middle, delta) <= epsilon:
            low = middle
        else:
            high = middle
    return low


def tails_fit(
    counts: Sequence[tuple[Event, int]], epsilon: float, delta: float
) -> bool:
    """Whether what the noise sampler cannot reach stays within its share of delta."""
    share = delta * TAIL_SHARE
    return epsilon < 700 and (1 + exp(epsilon)) * unreachable(counts) <= share


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
    plain = []
    for event, count in checked(counts):
        if not isinstance(event, GaussianSum):
            raise UnsupportedEvent(
                f"event = {type(event).__name__}: only unsampled Gaussian sums add up "
                "by their squares; open the cap in Rényi divergence (rdp_at)"
            )
        plain.append((event, count))
    return mu_squared(plain)


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
    _check_order(order)
    happened = checked(counts)
    if any(isinstance(event, NonPrivate) for event, _ in happened):
        return inf
    total = composition.rdp_total(mechanisms(happened), (float(order),))
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


def _check_order(order: int) -> None:
    if type(order) is not int or order < 2:
        raise PlanError(f"order = {order!r}, must be an integer >= 2")
