"""The server's half of the protocol: from one leg's replies to the next leg's requests.

Each function takes the state and an iterable of (device, reply) and returns the new
state with what to send next; ``unmask`` returns the sum. The caller decides how long a
leg waits by ending the iterable.

Guarantees: a reply that is malformed, not signed by its device, late or a second one is
left out, named, and changes nothing; with fewer than ``min_survivors`` devices in a
leg, or fewer than t holders of some secret, the round ends before any share is asked
for. Does not give: privacy from this server beyond what the devices themselves check.
"""

from dataclasses import replace
from hashlib import sha256

import numpy as np

from fedpref.core import commitments
from fedpref.core.mask import unpack
from fedpref.errors import MessageError, TooFewSurvivors
from fedpref.secagg import legs, sizes, wire
from fedpref.secagg.crypto import (
    ADVERT,
    DESCRIPTOR,
    SHARES,
    TOMBSTONE,
    UPLOAD,
    VIEW,
    Signer,
    Work,
    check_order,
)
from fedpref.secagg.descriptor import Descriptor
from fedpref.secagg.gathering import (
    Replies,
    Requests,
    Round,
    by_dealer,
    collect,
    enough,
    enough_holders,
    without_repeated_keys,
)
from fedpref.secagg.graph import holders_of
from fedpref.secagg.legs import NO_TOMBSTONE, Advert, Dealing, Opening, Parcel
from fedpref.secagg.roster import Roster
from fedpref.secagg.unmasking import unmask
from fedpref.secagg.wire import HASH, Kind

__all__ = [
    "Replies",
    "Requests",
    "Round",
    "advertised",
    "agreed",
    "ask_for_shares",
    "dealt",
    "invite",
    "tombstones",
    "unmask",
    "uploaded",
]


def invite(
    descriptor: Descriptor,
    roster: Roster,
    model: bytes,
    *,
    signer: Signer,
    since: int,
    row_hashes: tuple[bytes, ...],
) -> tuple[Round, Requests]:
    """Leg 0: the signed descriptor and the model, to the whole cohort.

    Args:
        descriptor: The round; its model digest must be that of ``model``.
        roster: Whose keys the replies are checked with.
        model: float64 little-endian, ``8 * coordinates`` bytes.
        signer: The server's key.
        since: Number of the ledger row after which ``row_hashes`` begin.
        row_hashes: SHA-256 of each row up to the descriptor's head.
    """
    signature = signer.sign(DESCRIPTOR, descriptor.content)
    opening = Opening(descriptor, signature, model, since, row_hashes)
    request = opening.encode()
    return Round(descriptor, roster), dict.fromkeys(descriptor.cohort, request)


def advertised(state: Round, replies: Replies, work: Work) -> tuple[Round, Requests]:
    """Leg 1: everybody's verified keys, to everybody who sent one.

    Raises:
        TooFewSurvivors: Fewer than ``min_survivors`` did.
    """
    rid, cohort = state.descriptor.rid, set(state.descriptor.cohort)

    def read(who: int, reply: bytes) -> Advert:
        sizes.check(reply, Kind.ADVERT, state.terms, state.clients)
        advert = legs.decode_advert(reply, rid)
        if advert.id != who:
            raise MessageError("ADVERT: of another device")
        content = rid + advert.content
        work.verify(state.roster.key(who), ADVERT, content, advert.signature)
        ours = [n for n in advert.outgoing if n in cohort and n != who]
        if len(ours) != state.terms.neighbours or len(advert.outgoing) != len(ours):
            raise MessageError("ADVERT: bad neighbours")
        for key in (advert.encrypt, advert.mask):
            check_order(key)
        return advert

    found, refused = collect(replies, cohort, read)
    adverts = without_repeated_keys(found)
    repeated = sorted(found.keys() - adverts.keys())
    refused += tuple(
        f"device {who}: ADVERT: a public key is used twice" for who in repeated
    )
    enough(state, len(adverts), "advertised")
    request = legs.encode_adverts(rid, list(adverts.values()))
    digest, refused = sha256(request).digest(), state.refused + refused
    after = replace(state, adverts=adverts, adverts_hash=digest, refused=refused)
    return after, dict.fromkeys(adverts, request)


def dealt(state: Round, replies: Replies, work: Work) -> tuple[Round, Requests]:
    """Leg 2: to each dealer what the others dealt to it.

    Raises:
        TooFewSurvivors: Fewer than ``min_survivors`` dealt.
    """
    rid, terms = state.descriptor.rid, state.terms
    paths: dict[int, list[tuple[bytes, ...]]] = {}

    def read(who: int, reply: bytes) -> Dealing:
        sizes.check(reply, Kind.SHARES, terms, state.clients)
        dealing = legs.decode_dealing(reply, rid)
        holders = holders_of(who, state.adverts, terms.neighbours)
        if (len(dealing.digests), len(dealing.sealed) + 1) != (len(holders),) * 2:
            raise MessageError("SHARES: not one for each holder")
        root, own = commitments.tree([commitments.leaf(*d) for d in dealing.digests])
        if root != dealing.root:
            raise MessageError("SHARES: the root is not that of the digests")
        content = rid + state.adverts_hash + root
        work.verify(state.roster.key(who), SHARES, content, dealing.signature)
        paths[who] = own
        return dealing

    found, refused = collect(replies, set(state.adverts), read)
    enough(state, len(found), "dealt shares")
    after = replace(state, dealings=found, refused=state.refused + refused)
    dealers = wire.ids(after.dealers)
    parcels: dict[int, list[Parcel]] = {who: [] for who in found}
    for dealer in after.dealers:
        dealing = found[dealer]
        holders = holders_of(dealer, state.adverts, terms.neighbours)
        others = [who for who in holders if who != dealer]
        place = {who: index for index, who in enumerate(holders)}
        for sealed, holder in zip(dealing.sealed, others, strict=True):
            if holder in parcels:
                path = paths[dealer][place[holder]]
                parcels[holder].append(
                    Parcel(dealer, dealing.root, dealing.signature, sealed, path)
                )
    return after, {
        who: legs.encode_delivery(rid, dealers, own) for who, own in parcels.items()
    }


def uploaded(state: Round, replies: Replies, work: Work) -> tuple[Round, Requests]:
    """Leg 3: whose uploads are in the sum, to those devices.

    Uploads are added as they come and not kept.

    Raises:
        TooFewSurvivors: Fewer than ``min_survivors`` uploaded, or fewer than t of them
            hold a share of some dealer, which is named.
    """
    rid, terms = state.descriptor.rid, state.terms
    size = terms.coordinates * terms.word_bits // 8
    total = np.zeros(terms.coordinates, np.uint32)
    dealers = sha256(wire.ids(state.dealers)).digest()

    def read(who: int, reply: bytes) -> tuple[int, ...]:
        sizes.check(reply, Kind.UPLOAD, terms, state.clients)
        upload = legs.decode_upload(reply, rid, size=size)
        if upload.dealers != dealers:
            raise MessageError("UPLOAD: masked for other dealers")
        if upload.missing:
            around = set(holders_of(who, state.adverts, terms.neighbours)) - {who}
            if not set(upload.missing) <= around & state.dealings.keys():
                raise MessageError("UPLOAD: misses a share that is not for it")
        content = rid + upload.content
        work.verify(state.roster.key(who), UPLOAD, content, upload.signature)
        words = unpack(upload.words, terms.word_bits, terms.coordinates)
        np.add(total, words, out=total)
        return upload.missing

    found, refused = collect(replies, set(state.dealings), read)
    enough(state, len(found), "uploaded")
    survivors = tuple(sorted(found))
    missing, complaints = by_dealer(found)
    after = replace(
        state,
        survivors=survivors,
        masked=total,
        missing=missing,
        refused=state.refused + refused + complaints,
    )
    enough_holders(after, found.keys(), "uploaded")
    request = legs.encode_survivors(rid, survivors)
    return after, dict.fromkeys(survivors, request)


def agreed(state: Round, replies: Replies, work: Work) -> tuple[Round, Requests]:
    """Leg 4: everybody's signatures on the survivors, to all dealers.

    Dealers who are not among the survivors get them as a certificate (R1).

    Raises:
        TooFewSurvivors: Fewer than t agreed.
    """
    rid, content = state.descriptor.rid, state.view.content

    def read(who: int, reply: bytes) -> bytes:
        sizes.check(reply, Kind.AGREEMENT, state.terms, state.clients)
        signature = legs.decode_agreement(reply, rid)
        work.verify(state.roster.key(who), VIEW, rid + content, signature)
        return signature

    found, refused = collect(replies, set(state.survivors), read)
    if len(found) < state.terms.threshold:
        raise TooFewSurvivors(
            f"survivors who agreed = {len(found)}, must be >= {state.terms.threshold}; "
            "nothing was unmasked"
        )
    enough_holders(state, found.keys(), "agreed")
    signatures = tuple(sorted(found.items()))
    after = replace(state, signatures=signatures, refused=state.refused + refused)
    return after, ask_for_shares(after)


def ask_for_shares(state: Round) -> Requests:
    """The requests of leg 4; after a restart they are the same bytes again."""
    agreements = legs.Agreements(state.view, state.signatures)
    return dict.fromkeys(state.dealers, agreements.encode(state.descriptor.rid))


def tombstones(state: Round, work: Work) -> dict[bytes, bytes]:
    """By round id, the certificate that its advertised tombstones make (R2)."""
    found: dict[bytes, list[tuple[int, bytes]]] = {}
    for who, advert in state.adverts.items():
        if advert.tombstone != NO_TOMBSTONE:
            rid, signature = advert.tombstone[:HASH], advert.tombstone[HASH:]
            try:
                work.verify(state.roster.key(who), TOMBSTONE, rid, signature)
            except MessageError:
                continue
            found.setdefault(rid, []).append((who, signature))
    return {
        rid: legs.encode_tombstones(rid, tuple(sorted(signatures)))
        for rid, signatures in found.items()
    }
