"""What one round is: the text that the server signs and every mask is derived from.

The round id is SHA-256 of the descriptor's bytes. Masks are salted with it, so devices
that were shown different descriptors (another model, cohort or plan) have masks that do
not cancel: their sum is noise to everybody.

Guarantees: one byte form; the thresholds keep what the protocol rests on, recomputed
from the cohort by whoever reads it. Does not give: a judgement on the plan behind the
digest; ``fedpref.floor`` makes the device's.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from fedpref.errors import MessageError, PlanError
from fedpref.secagg import wire
from fedpref.secagg.neighbours import MOST_ON_REQUEST, least_threshold
from fedpref.secagg.wire import HASH, KEY

WORD_BITS = (16, 24, 32)
_MOST_COORDINATES = 2**28


@dataclass(frozen=True)
class Terms:
    """Numbers that decide what the sum can hide and survive.

    Args:
        threshold: Shares that open a secret, t.
        min_survivors: Fewest uploads that are summed.
        colluders: Bad identities allowed for, C.
        coordinates: Length of the vector.
        word_bits: Size of a masked word.
        neighbours: Outgoing neighbours a device draws; 0 means the complete graph.
    """

    threshold: int
    min_survivors: int
    colluders: int
    coordinates: int
    word_bits: int
    neighbours: int = 0

    def check(self, clients: int) -> None:
        """Refuse numbers that the protocol does not stand on, for a cohort of n.

        On the complete graph ``2 t > n + C`` leaves no two survivor lists with t
        holders each, ``t > C`` leaves nothing for the colluders alone, and
        ``t <= min_survivors`` lets every allowed dropout pattern be opened.

        Raises:
            PlanError: All that is wrong, at once.
        """
        t, c = self.threshold, self.colluders
        problems = []
        if not 1 <= self.min_survivors <= clients:
            problems.append(
                f"min_survivors = {self.min_survivors}, must be >= 1 and <= {clients}"
            )
        if self.word_bits not in WORD_BITS:
            problems.append(f"word_bits = {self.word_bits}, must be one of {WORD_BITS}")
        if not 1 <= self.coordinates <= _MOST_COORDINATES:
            problems.append(f"coordinates = {self.coordinates}, must be <= 2**28")
        if t <= c:
            problems.append(f"threshold = {t}, must be > colluders = {c}")
        if not self.neighbours:
            problems += self._complete(clients)
        elif not 1 <= self.neighbours < clients:
            problems.append(f"neighbours = {self.neighbours}, must be < {clients}")
        elif t <= self.neighbours:  # about as many again draw this device
            problems.append(
                f"threshold = {t}, must be > neighbours = {self.neighbours}"
            )
        if problems:
            raise PlanError("the round cannot be summed: " + "; ".join(problems))

    def _complete(self, clients: int) -> list[str]:
        problems = []
        if clients > MOST_ON_REQUEST:
            problems.append(
                f"clients = {clients}, must be <= {MOST_ON_REQUEST} on the complete "
                "graph"
            )
        if 2 * self.threshold <= clients + self.colluders:
            problems.append(
                f"threshold = {self.threshold}, must be >= "
                f"{least_threshold(clients, self.colluders)} for {clients} devices, "
                f"{self.colluders} of them bad"
            )
        if self.min_survivors < self.threshold:
            problems.append(
                f"min_survivors = {self.min_survivors}, must be >= threshold = "
                f"{self.threshold}"
            )
        return problems


@dataclass(frozen=True)
class Descriptor:
    """One round.

    ``task``, ``plan`` and ``roster`` are SHA-256 digests, ``model`` is that of
    ``wire.fingerprint``; ``server`` is the server's verifying key; ``ledger_seq`` and
    ``ledger_head`` say where the server's ledger stands; ``expiry`` is in seconds since
    1970; ``cohort`` rises.
    """

    task: bytes
    round: int
    model: bytes
    plan: bytes
    roster: bytes
    server: bytes
    ledger_seq: int
    ledger_head: bytes
    expiry: int
    terms: Terms
    cohort: tuple[int, ...]

    @cached_property
    def content(self) -> bytes:
        """Canonical bytes."""
        t = self.terms
        numbers = (t.threshold, t.min_survivors, t.colluders, t.coordinates)
        return b"".join(
            (
                *(self.task, self.model, self.plan, self.roster, self.server),
                wire.number(self.round),
                wire.number(self.ledger_seq, 8),
                self.ledger_head,
                wire.number(self.expiry, 8),
                *(wire.number(value) for value in numbers),
                wire.number(t.word_bits, 1),
                wire.number(t.neighbours),
                wire.ids(self.cohort),
            )
        )

    @cached_property
    def rid(self) -> bytes:
        """The round id."""
        return sha256(self.content).digest()

    def check_expiry(self, now: int) -> None:
        """Refuse a round whose time is over; ``now`` in seconds since 1970.

        Raises:
            MessageError: It is.
        """
        if self.expiry <= now:
            raise MessageError(f"DESCRIPTOR: expired, expiry = {self.expiry}")

    def for_model(self, model: bytes) -> "Descriptor":
        """The same round about these model bytes."""
        return replace(self, model=wire.fingerprint(model))


def read_descriptor(reader: wire.Reader) -> Descriptor:
    """The descriptor at the reader's place.

    Raises:
        MessageError: It is malformed, or its terms cannot hold.
    """
    task, model, plan, roster = (reader.take(HASH) for _ in range(4))
    server = reader.take(KEY)
    round_, seq = reader.number(), reader.number(8)
    head, expiry = reader.take(HASH), reader.number(8)
    threshold, survivors, colluders, coordinates = (reader.number() for _ in range(4))
    bits, neighbours = reader.number(1), reader.number()
    cohort = reader.ids()
    terms = Terms(threshold, survivors, colluders, coordinates, bits, neighbours)
    try:
        terms.check(len(cohort))
    except PlanError as error:
        raise MessageError(f"DESCRIPTOR: {error}") from None
    if round_ < 1:
        raise MessageError("DESCRIPTOR: round = 0, must be >= 1")
    return Descriptor(
        *(task, round_, model, plan, roster, server),
        *(seq, head, expiry, terms, cohort),
    )
