"""The privacy ledger: what has been promised about whom, as a chain of rows.

A row says that a cap was opened for a unit, that a sealed plan was reserved against it,
or what became of a round of that plan:

    RESERVED -> UNMASKING -> RELEASED
        \\-> ABORTED

Guarantees: a plan that does not fit under the cap is refused before any row is written;
a round moves along the arrows only, once; epsilons are derived from the events in the
rows, never stored; rows of different units never meet; the chain of heads makes any
change of an earlier row visible to whoever remembers one.

Does not give: durability (``fedpref.store.ledger``), or a defence against somebody who
rewrites the whole chain and the memory of every head.

Pure: rows in, verdict out. No I/O, no clock.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, TypeVar

from fedpref.core.rows import (
    GENESIS,
    Cap,
    Kind,
    Reservation,
    Row,
    cap_from,
    cap_json,
    link,
    next_row,
    reservation_from,
    reservation_json,
)
from fedpref.core.types import Adversary, Unit
from fedpref.errors import BudgetError, FedprefError, InputError, IntegrityError

T = TypeVar("T")


@dataclass(frozen=True)
class Account:
    """A reserved plan and how far its rounds have come, one after the other.

    Rounds 1 to ``charged`` were unmasked, or aborted when it was too late for a refund.
    ``unmasking`` is the digest of what the last of them is about to release, until it
    is released; ``released`` is the last round that was.
    """

    reservation: Reservation
    charged: int = 0
    released: int = 0
    unmasking: str | None = None
    refunded: int = 0


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

    def claimed(self, unit: Unit, adversary: Adversary) -> float:
        """Total over all sealed plans, whole: later plans add by epsilon."""
        return sum(a.reservation.epsilon(adversary) for a in self.of(unit))

    def spent(self, unit: Unit, adversary: Adversary) -> float:
        """Total over the rounds that were charged so far."""
        return sum(a.reservation.epsilon(adversary, a.charged) for a in self.of(unit))

    def delta(self, unit: Unit) -> float:
        """Sum of the deltas of all sealed plans."""
        return sum(a.reservation.delta for a in self.of(unit))

    def left(self, unit: Unit, adversary: Adversary) -> float:
        """What the cap leaves for later plans; the cap binds one adversary only."""
        cap = self.caps[unit].epsilon
        return inf if cap == inf else cap - self.claimed(unit, adversary)


def open_cap(book: Book, cap: Cap) -> Row:
    """The row that opens ``cap``.

    Raises:
        InputError: One is open for this unit, the numbers make no sense, or the ledger
            belongs to another population or window.
    """
    if cap.unit in book.caps:
        raise InputError(f"a cap for unit = {cap.unit} is open already")
    if not cap.epsilon > 0 or not 0 < cap.delta < 1:
        raise InputError(
            f"cap = {cap.epsilon}, delta = {cap.delta}: must be > 0, and delta below 1"
        )
    for other in book.caps.values():
        if (other.population, other.window) != (cap.population, cap.window):
            raise InputError("one ledger is for one population and one window")
    return _next(book, Kind.OPENED, cap_json(cap))


def check_cap(book: Book, cap: Cap) -> None:
    """Compare what a run expects with the cap that is open.

    Raises:
        InputError: They differ; the message says in what.
    """
    found = book.caps.get(cap.unit)
    if found is None:
        raise InputError(f"the ledger has no cap for unit = {cap.unit}")
    differ = [
        f"{name} = {_shown(found, name)} in the ledger, {_shown(cap, name)} here"
        for name in ("population", "window", "relation", "against", "epsilon", "delta")
        if getattr(found, name) != getattr(cap, name)
    ]
    if differ:
        raise InputError("this is another ledger: " + "; ".join(differ))


def _shown(cap: Cap, name: str) -> str:
    value = getattr(cap, name)
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def reserve(book: Book, plan: Reservation) -> Row:
    """The row that reserves a sealed plan, whole, before anybody is invited.

    Raises:
        BudgetError: It does not fit under the cap.
        InputError: Its run is reserved already, or no cap is open for its unit.
    """
    row, cap = _reservation_row(book, plan), book.caps[plan.unit]
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
    return row


def unmask(book: Book, run: str, round_: int, digest: str) -> Row:
    """The row that charges a round; it precedes anything that could be revealed.

    Args:
        book: The state so far.
        run: A reserved run.
        round_: The one after the last that was charged, within the plan.
        digest: Of what is about to be released; a resumed round must match it.

    Raises:
        IntegrityError: The round is not the next one, or the last one is still open.
    """
    _check_next(book, run, round_)
    return _next(book, Kind.UNMASKING, _round_json(run, round_, digest))


def release(book: Book, run: str, round_: int, digest: str) -> Row:
    """The row that says what came out of the round that is being unmasked.

    Raises:
        IntegrityError: The round is not between charge and release.
    """
    account = _account(book, run)
    if account.unmasking is None or round_ != account.charged:
        raise IntegrityError(f"run {run}: round {round_} is not being unmasked")
    return _next(book, Kind.RELEASED, _round_json(run, round_, digest))


def abort(book: Book, run: str, round_: int, *, refund: bool) -> Row:
    """The row that gives a round up.

    Args:
        book: The state so far.
        run: A reserved run.
        round_: The next round, not charged yet.
        refund: True only if nothing can have been learned: nothing was unmasked and,
            in modes without masks, no upload was received. The round may then be tried
            again; otherwise it counts as charged.

    Raises:
        IntegrityError: The round was unmasked: that is never refunded.
    """
    _check_next(book, run, round_)
    body = {"run": run, "round": round_, "refund": refund}
    return _next(book, Kind.ABORTED, body)


_MALFORMED = (
    *(KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError),
    FedprefError,
)


def replay(rows: Iterable[Row], book: Book | None = None) -> Book:
    """The state after ``rows``, every link and every step of them checked.

    A plan that was reserved stays reserved, whatever it costs by today's accountant;
    ``left`` may then be negative, and nothing further fits.

    Raises:
        IntegrityError: A row was changed, left out, moved, or is not a legal step.
    """
    book = Book() if book is None else book
    for row in rows:
        if row.seq != book.seq + 1 or row.head != link(book.head, row):
            raise IntegrityError(f"ledger row {row.seq}: the chain is broken here")
        try:
            book = _apply(book, row)
        except _MALFORMED as error:
            raise IntegrityError(
                f"ledger row {row.seq}: not a legal row, {error}"
            ) from error
    return book


def _apply(book: Book, row: Row) -> Book:
    """One step; the same rules as when the row was made, checked again."""
    body = json.loads(row.body)
    caps, accounts = dict(book.caps), dict(book.accounts)
    if row.kind is Kind.OPENED:
        cap = cap_from(body)
        _same(open_cap(book, cap), row)
        caps[cap.unit] = cap
    elif row.kind is Kind.RESERVED:
        plan = reservation_from(body)
        _same(_reservation_row(book, plan), row)
        accounts[plan.run] = Account(plan)
    else:
        account = _account(book, body["run"])
        accounts[body["run"]] = _step(book, account, row, body)
    return Book(row.seq, row.head, caps, accounts)


def _reservation_row(book: Book, plan: Reservation) -> Row:
    """The row of a reservation, whether or not it fits.

    Whether it fits was decided when it was made. Deciding again would make a ledger
    unreadable as soon as an accountant prices a last digit higher.
    """
    if plan.run in book.accounts:
        raise InputError(f"run {plan.run} is reserved already")
    cap = book.caps.get(plan.unit)
    if cap is None or cap.relation is not plan.relation:
        raise InputError(f"no cap is open for unit = {plan.unit}, {plan.relation}")
    return _next(book, Kind.RESERVED, reservation_json(plan))


def _step(book: Book, account: Account, row: Row, body: Mapping[str, Any]) -> Account:
    run, number = body["run"], _typed(body, "round", int)
    if row.kind is Kind.ABORTED:
        refund = _typed(body, "refund", bool)
    else:
        digest = _typed(body, "digest", str)
    if row.kind is Kind.UNMASKING:
        _same(unmask(book, run, number, digest), row)
        return replace(account, charged=number, unmasking=digest)
    if row.kind is Kind.RELEASED:
        _same(release(book, run, number, digest), row)
        return replace(account, unmasking=None, released=number)
    _same(abort(book, run, number, refund=refund), row)
    if refund:
        return replace(account, refunded=account.refunded + 1)
    return replace(account, charged=number)


def _typed(body: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """A field of exactly this type: in JSON, true is not 1 and 1.0 is not 1."""
    value = body[name]
    if type(value) is not kind:
        raise TypeError(f"{name} is of another type")
    return value


def _same(made: Row, found: Row) -> None:
    if made != found:
        raise ValueError("not canonical")


def _account(book: Book, run: str) -> Account:
    if run not in book.accounts:
        raise IntegrityError(f"run {run} was never reserved")
    return book.accounts[run]


def _check_next(book: Book, run: str, round_: int) -> None:
    account = _account(book, run)
    if account.unmasking is not None:
        raise IntegrityError(f"run {run}: round {account.charged} is still unmasking")
    if round_ != account.charged + 1:
        raise IntegrityError(
            f"run {run}: round {round_} is not the next one, {account.charged} charged"
        )
    if round_ > account.reservation.rounds:
        raise IntegrityError(f"run {run}: round {round_} is not in the sealed plan")


def _next(book: Book, kind: Kind, body: Mapping[str, Any]) -> Row:
    return next_row(book.seq, book.head, kind, body)


def _round_json(run: str, round_: int, digest: str) -> dict[str, Any]:
    return {"run": run, "round": round_, "digest": digest}
