"""The privacy ledger: what has been promised about whom, as a chain of rows.

A row says that a cap was opened for a unit, that a sealed plan was reserved against it,
or what became of a round of that plan:

    RESERVED -> UNMASKING -> RELEASED
        \\-> ABORTED

or that the plan ended before its last round (CLOSED). A plan has parts, releases of one
kind each; what is left of a part may be skipped, never a round in its middle.

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
from dataclasses import replace
from math import isfinite
from typing import Any, TypeVar

from fedpref.core.book import Account, Book, check_fit, room
from fedpref.core.rows import (
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
from fedpref.errors import FedprefError, InputError, IntegrityError

T = TypeVar("T")


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
    if cap.currency.adaptive and not (isfinite(cap.epsilon) and room(cap) > 0):
        raise InputError(
            f"cap = {cap.epsilon}, delta = {cap.delta}: leave no room in currency = "
            f"{cap.currency}; it needs a finite cap, a larger one for a small order"
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
    here, there = cap_json(cap), cap_json(found)
    differ = [
        f"{name} = {there[name]} in the ledger, {here[name]} here"
        for name in here
        if there[name] != here[name]
    ]
    if differ:
        raise InputError("this is another ledger: " + "; ".join(differ))


def reserve(book: Book, plan: Reservation) -> Row:
    """The row that reserves a sealed plan, whole, before anybody is invited.

    Raises:
        BudgetError: It does not fit under the cap.
        InputError: Its run is reserved already, no cap is open for its unit, or the
            ledger holds plans with a seed and this one has none, or the other way
            round.
        UnsupportedEvent: The cap's currency has no bound for its events.
    """
    row = _reservation_row(book, plan)
    check_fit(book, plan)
    return row


def unmask(book: Book, run: str, round_: int, digest: str) -> Row:
    """The row that charges a round; it precedes anything that could be revealed.

    Args:
        book: The state so far.
        run: A reserved run.
        round_: The one after the last that was charged, or the first of a later part
            of the plan; what lies between is skipped for good and stays reserved.
        digest: Of what is about to be released; a resumed round must match it.

    Raises:
        IntegrityError: The round may not follow, or the last one is still open.
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
        round_: One that may follow, as for ``unmask``; or, without a refund, the one
            that was unmasked and whose sum can no longer be opened.
        refund: True only if nothing can have been learned: nothing was unmasked and,
            in modes without masks, no upload was received. The round may then be tried
            again; otherwise it counts as charged.

    Raises:
        IntegrityError: The round was unmasked: that is never refunded.
    """
    account = _account(book, run)
    lost = account.unmasking is not None and round_ == account.charged
    if refund or not lost:
        _check_next(book, run, round_)
    body = {"run": run, "round": round_, "refund": refund}
    return _next(book, Kind.ABORTED, body)


def close(book: Book, run: str) -> Row:
    """The row that ends a plan before its last round.

    In an adaptive currency the rounds that were not charged are free again, skipped
    ones too. With sealed plans nothing is: whether to stop may have been decided by
    what was seen.

    Raises:
        IntegrityError: The run was never reserved, is closed already, has charged every
            round, or has one that was unmasked and not released.
    """
    account = _account(book, run)
    _check_open(account, run)
    if sum(account.used) == account.reservation.rounds:
        raise IntegrityError(f"run {run}: every round is charged, nothing to close")
    return _next(book, Kind.CLOSED, {"run": run})


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
        accounts[plan.run] = Account(plan, used=(0,) * len(plan.parts))
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
    if any(a.reservation.seeded != plan.seeded for a in book.accounts.values()):
        here, there = ("a", "no") if plan.seeded else ("no", "a")
        raise InputError(
            f"this run has {here} seed and the runs in the ledger have {there} seed; "
            "noise from a seed protects nobody, so they are never added: name another "
            "--ledger"
        )
    cap = book.caps.get(plan.unit)
    if cap is None or cap.relation is not plan.relation:
        raise InputError(f"no cap is open for unit = {plan.unit}, {plan.relation}")
    return _next(book, Kind.RESERVED, reservation_json(plan))


def _step(book: Book, account: Account, row: Row, body: Mapping[str, Any]) -> Account:
    run = body["run"]
    if row.kind is Kind.CLOSED:
        _same(close(book, run), row)
        return replace(account, closed=True)
    number = _typed(body, "round", int)
    if row.kind is Kind.ABORTED:
        refund = _typed(body, "refund", bool)
    else:
        digest = _typed(body, "digest", str)
    if row.kind is Kind.UNMASKING:
        _same(unmask(book, run, number, digest), row)
        return replace(account.with_charge(number), unmasking=digest)
    if row.kind is Kind.RELEASED:
        _same(release(book, run, number, digest), row)
        return replace(account, unmasking=None, released=number, output=digest)
    _same(abort(book, run, number, refund=refund), row)
    if refund:
        return replace(account, refunded=account.refunded + 1)
    if account.unmasking is not None:
        return replace(account, unmasking=None)
    return account.with_charge(number)


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
    _check_open(account, run)
    if not account.may_follow(round_):
        raise IntegrityError(
            f"run {run}: round {round_} may not follow, the last one charged is "
            f"{account.charged} of {account.reservation.rounds}; it must be the next "
            "one, or the first of a later part of the sealed plan"
        )


def _check_open(account: Account, run: str) -> None:
    if account.unmasking is not None:
        raise IntegrityError(f"run {run}: round {account.charged} is still unmasking")
    if account.closed:
        raise IntegrityError(f"run {run}: closed after round {account.charged}")


def _next(book: Book, kind: Kind, body: Mapping[str, Any]) -> Row:
    return next_row(book.seq, book.head, kind, body)


def _round_json(run: str, round_: int, digest: str) -> dict[str, Any]:
    return {"run": run, "round": round_, "digest": digest}
