"""A device's own ledger: what it has sent, and what it has promised never to send.

    RESERVED --- spend ---> SPENT --- agree --- release ---> RELEASED
        \\                     \\
         `---- bury ------------`---- bury ---> TOMBSTONE

Guarantees: *sent is spent*: a round counts from before the first byte of its upload
leaves, whatever a server says later, and is refunded only on evidence signed by other
members; a tombstone and a release exclude each other, both ways; a round has one
upload, one signature on one list of survivors, and one release; round numbers rise; a
new round begins only after the one before is closed; a round that would exceed the
device's own limit is refused.

Does not give: durability; whoever calls makes the returned book durable before the
message leaves. Pure, no clock, no I/O.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from fedpref.errors import BudgetError, IntegrityError


class Evidence(StrEnum):
    """Why a round that was spent has not reached anybody."""

    AGREED_WITHOUT_ME = "R1"  # t members signed a list of survivors that lacks me
    TOMBSTONES = "R2"  # so many members buried the round that t cannot be found


@dataclass(frozen=True)
class DeviceRound:
    """One round as this device has lived it; digests are of what it sent or signed."""

    number: int
    rid: bytes
    upload: bytes | None = None
    view: bytes | None = None
    release: bytes | None = None
    buried: bool = False
    refund: Evidence | None = None

    @property
    def counts(self) -> bool:
        """Whether it is charged: spent and not refunded."""
        return self.upload is not None and self.refund is None

    @property
    def closed(self) -> bool:
        """Whether it can go no further."""
        return self.buried or self.release is not None


@dataclass(frozen=True)
class DeviceBook:
    """All rounds of one task; ``limit`` is how many may be charged.

    >>> book = reserve(DeviceBook(limit=1), 1, b"first")
    >>> book = spend(book, b"first", b"digest of the upload")
    >>> book.charged
    1
    >>> reserve(bury(book, b"first"), 2, b"second")
    Traceback (most recent call last):
    fedpref.errors.BudgetError: rounds = 2, must be <= 1: this device's budget is spent
    """

    limit: int
    rounds: tuple[DeviceRound, ...] = ()

    @property
    def charged(self) -> int:
        """Rounds that count against the limit."""
        return sum(entry.counts for entry in self.rounds)

    @property
    def last(self) -> int:
        """Number of the newest round."""
        return self.rounds[-1].number if self.rounds else 0

    def find(self, rid: bytes) -> DeviceRound:
        """The round with this id.

        Raises:
            IntegrityError: It was never reserved here.
        """
        for entry in reversed(self.rounds):
            if entry.rid == rid:
                return entry
        raise IntegrityError("device ledger: this round was never reserved")


def reserve(book: DeviceBook, number: int, rid: bytes) -> DeviceBook:
    """Set a round aside before its first reply.

    Raises:
        IntegrityError: The number is not above the last, or the last is still open.
        BudgetError: It would exceed the limit.
    """
    if number <= book.last:
        raise IntegrityError(
            f"device ledger: round = {number}, must be > {book.last}, the last one seen"
        )
    if book.rounds and not book.rounds[-1].closed:
        raise IntegrityError(f"device ledger: round {book.last} is still open")
    if book.charged + 1 > book.limit:
        raise BudgetError(
            f"rounds = {book.charged + 1}, must be <= {book.limit}: this device's "
            "budget is spent"
        )
    return replace(book, rounds=(*book.rounds, DeviceRound(number, rid)))


def spend(book: DeviceBook, rid: bytes, upload: bytes) -> DeviceBook:
    """Charge the round, before the upload with this digest leaves.

    The same bytes again are free.

    Raises:
        IntegrityError: Another upload was sent, or the round is closed.
    """
    entry = book.find(rid)
    _once(entry.upload, upload, "upload")
    _open(entry)
    return _put(book, replace(entry, upload=upload))


def agree(book: DeviceBook, rid: bytes, view: bytes) -> DeviceBook:
    """Note the one list of survivors that is signed, before the signature leaves.

    Raises:
        IntegrityError: Another list was signed, nothing was sent, or it is closed.
    """
    entry = book.find(rid)
    _once(entry.view, view, "list of survivors")
    if entry.upload is None:
        raise IntegrityError("device ledger: nothing was uploaded in this round")
    _open(entry)
    return _put(book, replace(entry, view=view))


def release(book: DeviceBook, rid: bytes, choice: bytes) -> DeviceBook:
    """Note which shares are handed out, before they leave.

    Raises:
        IntegrityError: Others were handed out, no list was signed, or it is buried.
    """
    entry = book.find(rid)
    _once(entry.release, choice, "set of shares")
    if entry.view is None:
        raise IntegrityError("device ledger: no list of survivors was signed")
    if entry.buried:
        raise IntegrityError("device ledger: the round is buried; it releases nothing")
    return _put(book, replace(entry, release=choice))


def bury(book: DeviceBook, rid: bytes) -> DeviceBook:
    """Promise never to release anything for this round, before saying so.

    Raises:
        IntegrityError: Shares were handed out already.
    """
    entry = book.find(rid)
    if entry.release is not None:
        raise IntegrityError("device ledger: shares were released; no tombstone")
    return _put(book, replace(entry, buried=True))


def refund(book: DeviceBook, rid: bytes, evidence: Evidence) -> DeviceBook:
    """Give a spent round back; the caller has verified the evidence.

    Raises:
        IntegrityError: Nothing was spent in it, or this device released shares for a
            list of survivors, which then had it in.
    """
    entry = book.find(rid)
    if entry.upload is None:
        raise IntegrityError("device ledger: nothing was spent in this round")
    if entry.release is not None:
        raise IntegrityError("device ledger: shares were released; no refund")
    return _put(book, replace(entry, refund=evidence, buried=True))


def _once(found: bytes | None, wanted: bytes, name: str) -> None:
    if found is not None and found != wanted:
        raise IntegrityError(f"device ledger: another {name} was sent in this round")


def _open(entry: DeviceRound) -> None:
    if entry.closed:
        raise IntegrityError("device ledger: the round is closed")


def _put(book: DeviceBook, entry: DeviceRound) -> DeviceBook:
    rounds = tuple(entry if e.rid == entry.rid else e for e in book.rounds)
    return replace(book, rounds=rounds)
