"""A device's half of the protocol: ``answer`` takes a request and returns the reply.

Guarantees: nothing is answered that the device has not checked itself; each kind of
request is answered once a round, and the same bytes again get the same bytes back; the
device's ledger is handed to ``save`` before a reply leaves that depends on it; of any
other device it hands out one kind of share, once; nothing in a reply's size or timing
depends on what ``contribute`` returned.

Does not give: a bound on the contribution, nor its noise; the caller's ``contribute``
gives both and never raises (``fedpref.rounds.client``). No clock, no I/O of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np

from fedpref.core import commitments, device, shares
from fedpref.core.entropy import OsEntropy
from fedpref.core.mask import apply_masks, pack, to_words
from fedpref.core.types import Float, Integer
from fedpref.errors import IntegrityError, MessageError
from fedpref.secagg import legs, wire
from fedpref.secagg.admission import admit
from fedpref.secagg.checks import check_votes, checked_adverts, opened
from fedpref.secagg.crypto import (
    ADVERT,
    ENCRYPT,
    MASK,
    REVEAL,
    SHARES,
    TOMBSTONE,
    UPLOAD,
    VIEW,
    KeyPair,
    Work,
    seal,
)
from fedpref.secagg.graph import holders_of
from fedpref.secagg.legs import NO_TOMBSTONE, Advert, View
from fedpref.secagg.member import Awaiting, Device, Member, Secrets, Session
from fedpref.secagg.neighbours import draw_neighbours
from fedpref.secagg.refunds import refunded
from fedpref.secagg.sizes import check_request
from fedpref.secagg.wire import Kind

Contribute = Callable[[int, Float], Integer]
"""Round number and model to the noisy integer vector ``[coordinates]``; no raising."""

Save = Callable[[Device], None]
"""Makes the state durable before it returns."""

ACKNOWLEDGED = b""


@dataclass(frozen=True, repr=False)
class Surroundings:
    """What a device needs from outside: its clock's reading and its effects.

    ``now`` is in seconds since 1970. ``entropy`` is always the operating system's:
    masks cancel, so no result depends on it, and no seed can reach it.
    """

    member: Member
    contribute: Contribute
    save: Save
    work: Work
    now: int
    entropy: OsEntropy = field(default_factory=OsEntropy)


def answer(request: bytes, state: Device, around: Surroundings) -> tuple[bytes, Device]:
    """Reply to ``request``, and what to remember.

    Raises:
        MessageError: The request is refused; the message says which check failed and is
            for the owner, never for the network.
        BudgetError: The device's own budget is spent.
        IntegrityError: The request contradicts what the device has promised.
    """
    kind = wire.kind_of(request)
    check_request(request, kind, state, around.member)
    digest = _fingerprint(kind, request)
    session, rid = state.session, request[4 : wire.HEADER.size]
    if session is not None and rid == session.rid and kind in session.replies:
        asked, reply = session.replies[kind]
        if asked == digest:
            return reply, state
        raise MessageError(f"{kind.name}: another one was answered in this round")
    around.member.roster.check_expiry(around.now)
    if kind in (Kind.AGREEMENTS, Kind.TOMBSTONES):
        after = refunded(request, state, around.member, around.work)
        if after is not None:
            if after is not state:
                around.save(after)
            return ACKNOWLEDGED, after
    if kind is Kind.DESCRIPTOR:
        reply, after = _join(request, state, around)
    elif session is None or session.secrets is None or kind not in _LEGS:
        raise MessageError(f"{kind.name}: no round is open that it could belong to")
    else:
        session.opening.descriptor.check_expiry(around.now)
        reply, after = _LEGS[kind](request, state, session, around)
    after = _remember(kind, digest, reply, after)
    around.save(after)  # before the reply leaves
    return reply, after


def _fingerprint(kind: Kind, request: bytes) -> bytes:
    """What tells requests of one kind apart; a descriptor names itself by its hash.

    The long model behind it is then hashed once, where it is checked against it.
    """
    if kind is Kind.DESCRIPTOR:
        return request[4 : wire.HEADER.size]
    return sha256(request).digest()


def close(state: Device, member: Member, save: Save) -> tuple[bytes, Device]:
    """Give up the open round: a tombstone, signed once it is durable.

    Returns:
        Round id and signature, or zeros where nothing is open or it was released.
    """
    tombstone, after = _closed(state, member)
    save(after)
    return tombstone, after


def _closed(state: Device, member: Member) -> tuple[bytes, Device]:
    """As :func:`close`, before it is durable; the ledger says what is open."""
    after = replace(state, session=None)
    last = state.book.rounds[-1] if state.book.rounds else None
    if last is None or last.release is not None:
        return NO_TOMBSTONE, after
    signature = member.signer.sign(TOMBSTONE, last.rid)
    return last.rid + signature, replace(after, book=device.bury(state.book, last.rid))


def _remember(kind: Kind, digest: bytes, reply: bytes, state: Device) -> Device:
    """Keep the reply, for the same request again."""
    assert state.session is not None
    replies = {**state.session.replies, kind: (digest, reply)}
    return replace(state, session=replace(state.session, replies=replies))


def _join(request: bytes, state: Device, around: Surroundings) -> tuple[bytes, Device]:
    """Leg 0: check the round, reserve it, and advertise fresh keys."""
    member = around.member
    opening, head = admit(request, state, member, around.work, around.now)
    descriptor = opening.descriptor
    tombstone, state = _closed(state, member)  # durable with the rest, before it leaves
    key = around.entropy.key
    secrets = Secrets(
        KeyPair.from_seed(key("encrypt")), KeyPair.from_seed(key("mask")), key("seed")
    )
    advert = Advert(
        id=member.id,
        encrypt=secrets.encrypt.public,
        mask=secrets.mask.public,
        commitment=sha256(descriptor.rid + secrets.seed).digest(),
        tombstone=tombstone,
        outgoing=draw_neighbours(
            member.id, descriptor.cohort, descriptor.terms.neighbours, key=key("graph")
        ),
    )
    signature = member.signer.sign(ADVERT, descriptor.rid + advert.content)
    advert = replace(advert, signature=signature)
    after = replace(
        state,
        book=device.reserve(state.book, descriptor.round, descriptor.rid),
        ledger_seq=descriptor.ledger_seq,
        ledger_head=head,
        session=Session(opening, secrets),
    )
    return advert.encode(descriptor.rid), after


def _share(
    request: bytes, state: Device, session: Session, around: Surroundings
) -> tuple[bytes, Device]:
    """Leg 1: check everybody's keys; deal shares of one's own two secrets."""
    rid, member, secrets = session.rid, around.member, _secrets(session)
    digest = sha256(request).digest()
    adverts = around.work.once(
        (ADVERT, digest), lambda: checked_adverts(request, session, member, around.work)
    )
    own = adverts.get(member.id)
    if own is None or own.encode(rid) != session.replies[Kind.DESCRIPTOR][1]:
        raise MessageError("ADVERTS: this device's own entry is missing or changed")
    holders = holders_of(member.id, adverts, session.terms.neighbours)
    if not session.terms.threshold <= len(holders) < 2 * session.terms.threshold:
        # the complete graph keeps this by its terms, drawn neighbours by luck
        raise MessageError(
            f"ADVERTS: {len(holders)} holders of this device's shares, must be >= "
            f"{session.terms.threshold} and < {2 * session.terms.threshold}"
        )
    dealt = shares.split(
        (secrets.seed, secrets.mask.seed),
        holders,
        session.terms.threshold,
        key=around.entropy.key("shares"),
    )
    digests = tuple(
        commitments.digests(rid, member.id, who, dealt[who]) for who in holders
    )
    root, _ = commitments.tree([commitments.leaf(*pair) for pair in digests])
    pairs, sealed = {}, []
    for holder in holders:
        if holder != member.id:
            theirs = adverts[holder].encrypt
            key = around.work.agree(secrets.encrypt, theirs, rid, ENCRYPT)
            pairs[holder] = key
            sealed.append(seal(key, rid, member.id, holder, b"".join(dealt[holder])))
    signature = member.signer.sign(SHARES, rid + digest + root)
    reply = legs.Dealing(root, signature, digests, tuple(sealed)).encode(rid)
    kept = replace(secrets, pairs=pairs, shares={member.id: dealt[member.id]})
    after = replace(session, secrets=kept, adverts=adverts, adverts_hash=digest)
    return reply, replace(state, session=after)


def _upload(
    request: bytes, state: Device, session: Session, around: Surroundings
) -> tuple[bytes, Device]:
    """Leg 2: open the shares, then contribute, mask, and spend."""
    rid, member, secrets = session.rid, around.member, _secrets(session)
    if not session.adverts:
        raise MessageError("DELIVERY: no adverts were answered in this round")
    dealers, parcels = legs.decode_delivery(request, rid)
    if len(dealers) < session.terms.min_survivors or member.id not in dealers:
        raise MessageError(
            f"DELIVERY: {len(dealers)} dealers, must be >= "
            f"{session.terms.min_survivors} and include this device"
        )
    if not session.adverts.keys() >= set(dealers):
        raise MessageError("DELIVERY: a dealer has not advertised")
    neighbours = _neighbours(member, session, dealers)
    wanted, held = set(neighbours), dict(secrets.shares)
    for parcel in parcels:
        if parcel.dealer in wanted and parcel.dealer not in held:
            key = secrets.pairs[parcel.dealer]
            pair = opened(parcel, key, session, member, around.work)
            if pair is not None:
                held[parcel.dealer] = pair
    if len(held) < session.terms.threshold:
        raise MessageError(
            f"DELIVERY: shares of {len(held)} devices verify, must be >= "
            f"{session.terms.threshold}"
        )
    missing = tuple(other for other in neighbours if other not in held)
    words = _masked(session, around, neighbours)
    upload = legs.Upload(sha256(wire.ids(dealers)).digest(), missing, words)
    content = rid + upload.content
    signature = member.signer.sign(UPLOAD, content)
    reply = replace(upload, signature=signature).encode(rid)
    book = device.spend(state.book, rid, sha256(content + signature).digest())
    kept = replace(secrets, shares=held)
    after = replace(session, secrets=kept, dealers=dealers)
    awaiting = Awaiting(session.opening.descriptor.cohort, session.terms)
    waiting = {**state.awaiting, rid: awaiting}
    return reply, replace(state, book=book, session=after, awaiting=waiting)


def _masked(
    session: Session, around: Surroundings, neighbours: tuple[int, ...]
) -> memoryview:
    """The contribution under this round's masks, packed.

    The last check comes before ``contribute``: a device that charges its owner's book
    there must not be told from others by being asked again.
    """
    opening, terms, secrets = session.opening, session.terms, _secrets(session)
    add: list[bytes] = [secrets.seed]
    subtract: list[bytes] = []
    for other in neighbours:
        theirs = session.adverts[other].mask
        key = around.work.agree(secrets.mask, theirs, session.rid, MASK)
        (add if other < around.member.id else subtract).append(key)
    model = np.frombuffer(opening.model, "<f8").astype(np.float64)
    values = around.contribute(opening.descriptor.round, model)
    if values.shape != (terms.coordinates,) or values.dtype != np.int64:
        raise IntegrityError(
            f"contribution: {values.dtype} of shape {values.shape}, must be int64 of "
            f"shape ({terms.coordinates},)"
        )
    words = to_words(values, terms.word_bits)
    apply_masks(words, add=add, subtract=subtract)
    return pack(words, terms.word_bits)


def _agree(
    request: bytes, state: Device, session: Session, around: Surroundings
) -> tuple[bytes, Device]:
    """Leg 3: sign the one list of survivors."""
    rid, member = session.rid, around.member
    survivors = legs.decode_survivors(request, rid)
    if member.id not in survivors or not set(session.dealers) >= set(survivors):
        raise MessageError("SURVIVORS: must include this device, and dealers only")
    if len(survivors) < session.terms.min_survivors:
        raise MessageError(
            f"SURVIVORS: {len(survivors)}, must be >= {session.terms.min_survivors}"
        )
    dealers_hash = sha256(wire.ids(session.dealers)).digest()
    view = View(session.adverts_hash, dealers_hash, survivors)
    book = device.agree(state.book, rid, sha256(view.content).digest())
    reply = legs.encode_agreement(rid, member.signer.sign(VIEW, rid + view.content))
    return reply, replace(state, book=book, session=replace(session, view=view))


def _reveal(
    request: bytes, state: Device, session: Session, around: Surroundings
) -> tuple[bytes, Device]:
    """Leg 4: with t signatures on one's own view, hand out one share of each dealer."""
    rid, member, secrets = session.rid, around.member, _secrets(session)
    agreements = legs.decode_agreements(request, rid)
    if session.view is None or agreements.view != session.view:
        raise MessageError("AGREEMENTS: not the list of survivors signed here")
    survivors = set(session.view.survivors)
    voters = survivors & {member.id, *_neighbours(member, session, session.dealers)}
    check_votes(agreements, voters, session, member, around.work)
    shares_ = tuple(
        (dealer, secrets.shares[dealer][0 if dealer in survivors else 1])
        for dealer in session.dealers
        if dealer in secrets.shares
    )
    reveal = legs.Reveal(shares_)
    book = device.release(state.book, rid, sha256(reveal.content).digest())
    waiting = {key: value for key, value in state.awaiting.items() if key != rid}
    closed = replace(session, secrets=None)
    content = rid + sha256(reveal.content).digest()
    signature = member.signer.sign(REVEAL, content)
    reply = replace(reveal, signature=signature).encode(rid)
    return reply, replace(state, book=book, session=closed, awaiting=waiting)


def _neighbours(
    member: Member, session: Session, dealers: tuple[int, ...]
) -> tuple[int, ...]:
    """Those among the dealers with whom this device shares masks and secrets."""
    around = holders_of(member.id, session.adverts, session.terms.neighbours)
    known = set(dealers)
    return tuple(other for other in around if other in known and other != member.id)


def _secrets(session: Session) -> Secrets:
    if session.secrets is None:
        raise MessageError("the round is closed")
    return session.secrets


_LEGS = {
    Kind.ADVERTS: _share,
    Kind.DELIVERY: _upload,
    Kind.SURVIVORS: _agree,
    Kind.AGREEMENTS: _reveal,
}
