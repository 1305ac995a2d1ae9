"""Who may take part: a list of identities signed by an authority that is no server.

Guarantees: a roster that the pinned authority did not sign, that has expired, or that
names a device or a key twice is refused, and so is an authority that has the server's
key; no organisation can have more than ``most`` of its members in a cohort. Does not
give: that the authority checks identities well. If the server's operator holds the
authority's key, another one, as well, the epsilon against the server assumes an honest
roster.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from fedpref.errors import MessageError
from fedpref.secagg import wire
from fedpref.secagg.crypto import ROSTER, Signer, Work

_MOST_MEMBERS = 2**20


@dataclass(frozen=True)
class Entry:
    """One identity: its number from 1, its key, and the organisation that vouches."""

    id: int
    key: bytes
    organisation: int


@dataclass(frozen=True)
class Roster:
    """Identities in rising order; ``expiry`` in seconds since 1970.

    ``most`` is the largest number of members of one organisation in a cohort.
    """

    entries: tuple[Entry, ...]
    expiry: int
    most: int

    @cached_property
    def content(self) -> bytes:
        """Canonical bytes."""
        return (
            wire.number(self.expiry, 8)
            + wire.number(self.most)
            + wire.many(
                [
                    wire.number(e.id) + e.key + wire.number(e.organisation)
                    for e in self.entries
                ]
            )
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the content; descriptors carry it."""
        return sha256(self.content).digest()

    @cached_property
    def by_id(self) -> dict[int, Entry]:
        """Entries by number."""
        return {entry.id: entry for entry in self.entries}

    def key(self, member: int) -> bytes:
        """The verifying key of a member.

        Raises:
            MessageError: It is not on the roster.
        """
        entry = self.by_id.get(member)
        if entry is None:
            raise MessageError(f"device {member} is not on the roster")
        return entry.key

    def check_expiry(self, now: int) -> None:
        """Refuse to rely on these keys any longer; ``now`` in seconds since 1970.

        Raises:
            MessageError: The roster has expired.
        """
        if self.expiry <= now:
            raise MessageError(
                f"ROSTER: expired, expiry = {self.expiry}; ask for a new one"
            )

    def check_cohort(self, cohort: Sequence[int]) -> None:
        """Every member of a cohort is listed, and no organisation fills it.

        Raises:
            MessageError: Otherwise.
        """
        for member in cohort:
            self.key(member)
        sizes = Counter(self.by_id[member].organisation for member in cohort)
        ((organisation, size),) = sizes.most_common(1) or [(0, 0)]
        if size > self.most:
            raise MessageError(
                f"cohort: organisation {organisation} has {size} members in it, must "
                f"be <= {self.most}"
            )


def sign(roster: Roster, authority: Signer) -> bytes:
    """The roster as the authority hands it out."""
    return roster.content + authority.sign(ROSTER, roster.content)


def verified(
    data: bytes, *, authority: bytes, server: bytes, now: int, work: Work
) -> Roster:
    """The roster in ``data``.

    Args:
        data: What :func:`sign` made.
        authority: The pinned key of the authority, 32 bytes.
        server: The pinned key of the server, which must be another one.
        now: The device's own clock, seconds since 1970.
        work: Does the verification.

    Raises:
        MessageError: It is malformed, expired or not signed by the authority, or the
            authority is the server.
    """
    if authority == server:
        raise MessageError(
            "ROSTER: the authority's key is the server's, must be another one; ask "
            "whoever vouches for the devices for a key of their own"
        )
    content, signature = data[: -wire.SIGNATURE], data[-wire.SIGNATURE :]
    work.verify(authority, ROSTER, content, signature)
    reader = wire.Reader(content, 0, "ROSTER")
    expiry, most = reader.number(8), reader.number()
    entries = reader.many(_entry, least=8 + wire.KEY)
    reader.end()
    roster = Roster(tuple(entries), expiry, most)
    roster.check_expiry(now)
    numbers = [entry.id for entry in entries]
    if numbers != sorted(set(numbers)) or (numbers and numbers[0] < 1):
        raise MessageError("ROSTER: device numbers must rise from 1")
    if len({entry.key for entry in entries}) != len(entries):
        raise MessageError("ROSTER: a key is listed twice")
    if len(entries) > _MOST_MEMBERS:
        raise MessageError(f"ROSTER: {len(entries)} members, must be <= 2**20")
    return roster


def _entry(reader: wire.Reader) -> Entry:
    return Entry(reader.number(), reader.take(wire.KEY), reader.number())
