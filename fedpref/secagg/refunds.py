"""Certificates that give a spent round back to a device: R1 and R2.

R1: at least t members signed one list of survivors that lacks the device. R2: at least
n + C - t + 1 members signed a tombstone, so fewer than t honest ones and colluders
together can still release. Both hold on the complete graph only.

Guarantees: anything less is refused; a server's word, an expiry or silence refunds
nothing. Does not give: certificates; members hand them over because they sign lists and
tombstones anyway.
"""

from dataclasses import replace

from fedpref.core import device
from fedpref.core.device import Evidence
from fedpref.errors import MessageError
from fedpref.secagg import legs, wire
from fedpref.secagg.crypto import TOMBSTONE, VIEW, Work
from fedpref.secagg.member import Awaiting, Device, Member
from fedpref.secagg.wire import Kind


def refunded(
    request: bytes, state: Device, member: Member, work: Work
) -> Device | None:
    """The state after a certificate; ``None`` if the request is none for this device.

    A certificate for a round that was refunded before gives the state as it is: the
    acknowledgement may have been lost, and there is nothing left to give.

    Raises:
        MessageError: It is a certificate, but not enough.
    """
    rid = request[4 : wire.HEADER.size]
    awaiting, buries = state.awaiting.get(rid), wire.kind_of(request) is Kind.TOMBSTONES
    done = any(e.rid == rid and e.refund is not None for e in state.book.rounds)
    if awaiting is None and not done:
        if buries:
            raise MessageError("TOMBSTONES: no spent round is open that they bury")
        return None
    if buries:
        signatures = legs.decode_tombstones(request, rid)
        if awaiting is not None:
            _check_tombstones(signatures, rid, awaiting, member, work)
    else:
        agreements = legs.decode_agreements(request, rid)
        if member.id in agreements.view.survivors:
            return None
        if awaiting is not None:
            _check_without_me(agreements, rid, awaiting, member, work)
    if awaiting is None:
        return state
    evidence = Evidence.TOMBSTONES if buries else Evidence.AGREED_WITHOUT_ME
    waiting = {key: value for key, value in state.awaiting.items() if key != rid}
    book = device.refund(state.book, rid, evidence)
    session = state.session
    if session is not None and session.rid == rid:
        session = replace(session, secrets=None)  # the round is buried
    return replace(state, book=book, awaiting=waiting, session=session)


def _check_without_me(
    agreements: legs.Agreements,
    rid: bytes,
    awaiting: Awaiting,
    member: Member,
    work: Work,
) -> None:
    _complete(awaiting)
    content = rid + agreements.view.content
    voters = set(agreements.view.survivors) & set(awaiting.cohort)
    wanted = awaiting.terms.threshold
    valid = _valid(agreements.signatures, VIEW, content, voters, member, work)
    if valid < wanted:
        raise MessageError(f"AGREEMENTS: {valid} signatures, must be >= {wanted}")


def _check_tombstones(
    signatures: legs.Signatures,
    rid: bytes,
    awaiting: Awaiting,
    member: Member,
    work: Work,
) -> None:
    _complete(awaiting)
    terms, clients = awaiting.terms, len(awaiting.cohort)
    wanted = clients + terms.colluders - terms.threshold + 1
    cohort = set(awaiting.cohort)
    valid = _valid(signatures, TOMBSTONE, rid, cohort, member, work)
    if valid < wanted:
        raise MessageError(f"TOMBSTONES: {valid} signatures, must be >= {wanted}")


def _valid(
    signatures: legs.Signatures,
    label: bytes,
    content: bytes,
    voters: set[int],
    member: Member,
    work: Work,
) -> int:
    """How many distinct voters signed; any signature that is wrong refuses them all."""
    ours = [(who, signature) for who, signature in signatures if who in voters]
    for who, signature in ours:
        work.verify(member.roster.key(who), label, content, signature)
    return len(ours)


def _complete(awaiting: Awaiting) -> None:
    if awaiting.terms.neighbours:
        raise MessageError("a certificate refunds on the complete graph only")
