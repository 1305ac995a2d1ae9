"""Leg 0 on a device: whether a round may be joined at all.

Guarantees: a round is joined only if the pinned server signed it, it is about the task
and plan that the owner agreed to, its number is new, its cohort is on the roster, its
terms are within the device's own limits, the model is the one in the descriptor, and
the server's ledger extends what the device has seen, recomputed row by row. Does not
give: the plan's price; ``fedpref.floor`` checks it once for the whole task.
"""

from collections.abc import Iterable
from hashlib import sha256

import numpy as np

from fedpref.errors import MessageError
from fedpref.secagg import wire
from fedpref.secagg.crypto import DESCRIPTOR, Work
from fedpref.secagg.legs import Opening
from fedpref.secagg.member import Device, Member


def admit(
    request: bytes, state: Device, member: Member, work: Work, now: int
) -> tuple[Opening, bytes]:
    """The opening in ``request``, and the server's ledger head, to be remembered.

    Raises:
        MessageError: The first check that fails.
    """
    opening = Opening.decode(request)
    descriptor = opening.descriptor
    work.verify(member.server, DESCRIPTOR, descriptor.content, opening.signature)
    pinned = {
        "server": (descriptor.server, member.server),
        "task": (descriptor.task, member.task),
        "plan": (descriptor.plan, member.plan),
        "roster": (descriptor.roster, member.roster.digest),
        "model": (descriptor.model, work.once(request, lambda: _digest(opening))),
    }
    for name, (found, wanted) in pinned.items():
        if found != wanted:
            raise MessageError(f"DESCRIPTOR: {name} is not the one agreed to")
    descriptor.check_expiry(now)
    if descriptor.round <= state.book.last:
        raise MessageError(
            f"DESCRIPTOR: round = {descriptor.round}, must be > {state.book.last}"
        )
    if member.id not in descriptor.cohort:
        raise MessageError("DESCRIPTOR: this device is not in the cohort")
    member.roster.check_cohort(descriptor.cohort)
    limits = member.limits(descriptor.round)
    if problems := limits.problems(descriptor.terms, len(descriptor.cohort)):
        raise MessageError("DESCRIPTOR: " + "; ".join(problems))
    if not np.isfinite(np.frombuffer(opening.model, "<f8")).all():
        raise MessageError("DESCRIPTOR: the model is not finite")
    return opening, _extended(opening, state)


def follow(head: bytes, row_hashes: Iterable[bytes]) -> bytes:
    """The ledger's head after these rows: h_n = SHA-256(h_{n-1} || SHA-256(row_n))."""
    for row_hash in row_hashes:
        head = sha256(head + row_hash).digest()
    return head


def _extended(opening: Opening, state: Device) -> bytes:
    descriptor = opening.descriptor
    known = state.ledger_seq - opening.since
    reached = opening.since + len(opening.row_hashes)
    if known < 0 or reached != descriptor.ledger_seq:
        raise MessageError(
            f"DESCRIPTOR: rows {opening.since} to {reached} of the ledger were sent, "
            f"must reach from {state.ledger_seq} to {descriptor.ledger_seq}"
        )
    head = follow(state.ledger_head, opening.row_hashes[known:])
    if known > len(opening.row_hashes) or head != descriptor.ledger_head:
        raise MessageError(
            "DESCRIPTOR: the server's ledger does not extend what this device has "
            "seen of it; an older or another ledger was put in its place"
        )
    return head


def _digest(opening: Opening) -> bytes:
    return wire.fingerprint(opening.model)
