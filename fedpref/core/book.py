"""What the rows of a ledger add up to: promised, spent and left.

Guarantees: every number is derived from events; totals of different units never meet;
what a plan that was closed early gives back, it gives back in an adaptive currency
only, and never a round that was charged. Does not decide which row may follow
(``fedpref.core.ledger``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf

from fedpref.core import currencies
from fedpref.core.events import Event
from fedpref.core.rows import GENESIS, Cap, Reservation
from fedpref.core.types import Adversary, Unit
from fedpref.errors import BudgetError

Counts = Sequence[tuple[Event, int]]
Used = Sequence[int]


@dataclass(frozen=True)
class Account:
    """A reserved plan and how far its rounds have come, one after the other.

    ``used`` says how many rounds of each part were charged: unmasked, or aborted when
    it was too late for a refund. ``charged`` is the number of the last of them; what it
    has passed without a charge was skipped and is never used. ``unmasking`` is the
    digest of what that round is about to release, until it is released; ``released`` is
    the last round that was, ``output`` the digest of what came out of it. After
    ``closed`` there is no further round.
    """

    reservation: Reservation
    used: tuple[int, ...]
    charged: int = 0
    released: int = 0
    unmasking: str | None = None
    refunded: int = 0
    closed: bool = False
    output: str | None = None

    @property
    def skipped(self) -> int:
        """Rounds that were passed without a charge."""
        return self.charged - sum(self.used)

    def may_follow(self, number: int) -> bool:
        """Whether ``number`` is the next round, or the first one of a later part."""
        plan = self.reservation
        if number == self.charged + 1:
            return number <= plan.rounds
        return number > self.charged and number in plan.firsts

    def with_charge(self, number: int) -> "Account":
        """After the charge of a round that may follow."""
        used = list(self.used)
        used[self.reservation.position(number)] += 1
        return replace(self, charged=number, used=tuple(used))


@dataclass(frozen=True)
class Book:
    """The state that the rows add up to."""

    seq: int = 0
    head: bytes = GENESIS
    caps: Mapping[Unit, Cap] = field(default_factory=dict)
    accounts: Mapping[str, Account] = field(default_factory=dict)

    def of(self, unit: Unit) -> list[Account]:
        """Every plan about ``unit``, in the order of reservation."""
        return [a for a in self.accounts.values() if a.reservation.unit is unit]

    def held(self, account: Account) -> tuple[int, ...]:
        """Rounds of each part that count against the cap, happened or not."""
        adaptive = self.caps[account.reservation.unit].currency.adaptive
        early = account.closed and adaptive
        parts = account.reservation.parts
        return account.used if early else tuple(part.rounds for part in parts)

    def claimed(self, unit: Unit, adversary: Adversary) -> float:
        """Price of all sealed plans, whole."""
        return self._total(unit, adversary, [(a, self.held(a)) for a in self.of(unit)])

    def spent(self, unit: Unit, adversary: Adversary) -> float:
        """Price of the rounds that were charged so far."""
        return self._total(unit, adversary, [(a, a.used) for a in self.of(unit)])

    def promised(self, unit: Unit, adversary: Adversary) -> float:
        """What may be claimed: in an adaptive currency the cap, which was fixed."""
        claimed, cap = self.claimed(unit, adversary), self.caps[unit]
        return cap.epsilon if cap.currency.adaptive and 0 < claimed < inf else claimed

    def delta(self, unit: Unit) -> float:
        """Delta of all plans together."""
        deltas = [account.reservation.delta for account in self.of(unit)]
        if deltas and self.caps[unit].currency.adaptive:
            return self.caps[unit].delta
        return sum(deltas)

    def left(self, unit: Unit, adversary: Adversary) -> float:
        """What the cap leaves for one later plan, as an epsilon at the cap's delta.

        The cap binds one adversary only.
        """
        cap = self.caps[unit]
        if not cap.currency.adaptive:
            left = cap.epsilon - self.claimed(unit, adversary)
            return inf if cap.epsilon == inf else left
        rest = room(cap) - taken(cap, self.counts(unit))
        return currencies.price(cap.currency, max(0.0, rest), cap.delta)

    def counts(self, unit: Unit) -> Counts:
        """Every event against the cap's adversary, with the rounds that are held."""
        held = [(a, self.held(a)) for a in self.of(unit)]
        return _flat(held, self.caps[unit].against)

    def _total(
        self, unit: Unit, who: Adversary, rounds: Sequence[tuple[Account, Used]]
    ) -> float:
        cap = self.caps.get(unit)
        if cap is None or not cap.currency.adaptive:
            return sum(a.reservation.epsilon(who, used) for a, used in rounds)
        if who is not cap.against and who is Adversary.SERVER:
            # Nothing bounds in advance what choices by results show to the server.
            return inf if any(any(used) for _, used in rounds) else 0.0
        counts = _flat(rounds, cap.against)
        return currencies.price(cap.currency, taken(cap, counts), cap.delta)


def _flat(rounds: Sequence[tuple[Account, Used]], who: Adversary) -> Counts:
    """The events of several plans in one list."""
    return [pair for a, used in rounds for pair in a.reservation.counts(who, used)]


def room(cap: Cap) -> float:
    """The largest sum under a cap in an adaptive currency."""
    return currencies.limit(cap.currency, cap.epsilon, cap.delta)


def taken(cap: Cap, counts: Counts) -> float:
    """What ``counts`` take of :func:`room`, rounded up."""
    total = currencies.size(cap.currency, counts)
    return _up(total) if isinstance(total, Fraction) else total


def _up(exact: Fraction) -> float:
    return float(exact) * (1 + 2.0**-52)


def check_fit(book: Book, plan: Reservation) -> None:
    """Whether ``plan`` fits under the cap of its unit.

    Raises:
        BudgetError: It does not.
        UnsupportedEvent: The currency of the cap has no bound for its events.
    """
    if book.caps[plan.unit].currency.adaptive:
        _check_size(book, plan)
    else:
        _check_epsilon(book, plan)


def _check_epsilon(book: Book, plan: Reservation) -> None:
    cap = book.caps[plan.unit]
    claimed, wanted = book.claimed(plan.unit, cap.against), plan.epsilon(cap.against)
    if claimed + wanted > cap.epsilon:
        raise BudgetError(
            f"epsilon = {wanted:.4g} against the {cap.against} does not fit: of the "
            f"cap {cap.epsilon:g}, {claimed:.4g} is reserved and "
            f"{max(0.0, cap.epsilon - claimed):.4g} is left"
        )
    deltas = book.delta(plan.unit)
    if deltas + plan.delta > cap.delta:
        raise BudgetError(
            f"delta = {plan.delta:g} does not fit: of the cap {cap.delta:g}, "
            f"{deltas:g} is reserved"
        )


def _check_size(book: Book, plan: Reservation) -> None:
    cap, before = book.caps[plan.unit], book.counts(plan.unit)
    together = [*before, *plan.counts(cap.against)]
    had, total, most = taken(cap, before), taken(cap, together), room(cap)
    if total > most:
        raise BudgetError(
            f"{cap.currency} = {total - had:.4g} against the {cap.against} does not "
            f"fit: of the cap {most:.4g} (epsilon {cap.epsilon:g} at delta "
            f"{cap.delta:g}), {had:.4g} is reserved and {max(0.0, most - had):.4g} is "
            "left"
        )
    if not currencies.tails_fit(together, cap.epsilon, cap.delta):
        raise BudgetError(
            "coordinates: with so many the range of the noise sampler does not fit "
            f"into delta = {cap.delta:g}; train fewer parameters"
        )
