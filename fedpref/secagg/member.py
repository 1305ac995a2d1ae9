"""What a device is and insists on, and what it remembers between messages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil

from fedpref.core.device import DeviceBook
from fedpref.secagg.crypto import KeyPair, Signer
from fedpref.secagg.descriptor import Terms
from fedpref.secagg.legs import Advert, Opening, View
from fedpref.secagg.roster import Roster
from fedpref.secagg.wire import HASH, Kind

GENESIS = bytes(HASH)


@dataclass(frozen=True)
class Limits:
    """What a device accepts, from its own plan and its owner's floor.

    Args:
        colluders: Share of a cohort that may be bad; a round must allow for as many.
        contributors: Fewest honest shares of noise in a sum: survivors less colluders.
        min_survivors: Fewest uploads in a sum.
        coordinates: Length of the vector.
        word_bits: Size of a masked word.
        neighbours: As in the terms; 0 accepts the complete graph only.
    """

    colluders: Fraction
    contributors: int
    min_survivors: int
    coordinates: int
    word_bits: int
    neighbours: int = 0

    def problems(self, terms: Terms, clients: int) -> list[str]:
        """What is wrong with a round's terms, in words."""
        least = ceil(self.colluders * clients)
        wanted = (self.coordinates, self.word_bits, self.neighbours)
        found = []
        if terms.colluders < least:
            found.append(f"colluders = {terms.colluders}, must be >= {least}")
        if terms.min_survivors < self.min_survivors:
            found.append(
                f"min_survivors = {terms.min_survivors}, must be >= "
                f"{self.min_survivors}"
            )
        if terms.min_survivors - terms.colluders < self.contributors:
            found.append(
                f"min_survivors - colluders = {terms.min_survivors - terms.colluders}, "
                f"must be >= {self.contributors}, for which the noise is sized"
            )
        if (terms.coordinates, terms.word_bits, terms.neighbours) != wanted:
            found.append(
                "coordinates, word_bits, neighbours = "
                f"{terms.coordinates}, {terms.word_bits}, {terms.neighbours}, must be "
                f"{wanted[0]}, {wanted[1]}, {wanted[2]}"
            )
        return found


@dataclass(frozen=True, repr=False)
class Member:
    """One device's identity, what it has pinned, and its limits.

    ``task`` and ``plan`` are the digests of what its owner agreed to; ``limits`` takes
    the number of a request and raises MessageError if the plan has no such one.
    """

    id: int
    signer: Signer
    roster: Roster
    server: bytes
    task: bytes
    plan: bytes
    limits: Callable[[int], Limits]


@dataclass(frozen=True, repr=False)
class Secrets:
    """A device's keys of one round; ``pairs`` are the sealing keys by neighbour."""

    encrypt: KeyPair
    mask: KeyPair
    seed: bytes
    pairs: Mapping[int, bytes] = field(default_factory=dict)
    shares: Mapping[int, tuple[bytes, ...]] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Session:
    """An open round. ``secrets`` is ``None`` once the round is closed.

    ``replies`` holds, by kind of request, the digest of the request and the reply.
    """

    opening: Opening
    secrets: Secrets | None
    adverts: Mapping[int, Advert] = field(default_factory=dict)
    adverts_hash: bytes = b""
    dealers: tuple[int, ...] = ()
    view: View | None = None
    replies: Mapping[Kind, tuple[bytes, bytes]] = field(default_factory=dict)

    @property
    def rid(self) -> bytes:
        """The round id."""
        return self.opening.descriptor.rid

    @property
    def terms(self) -> Terms:
        """The round's numbers."""
        return self.opening.descriptor.terms


@dataclass(frozen=True)
class Awaiting:
    """A spent round that no release has closed: what a refund would be checked by."""

    cohort: tuple[int, ...]
    terms: Terms


@dataclass(frozen=True, repr=False)
class Device:
    """Everything that a device remembers; the ledger head is the last one it saw."""

    book: DeviceBook
    ledger_seq: int = 0
    ledger_head: bytes = GENESIS
    session: Session | None = None
    awaiting: Mapping[bytes, Awaiting] = field(default_factory=dict)
