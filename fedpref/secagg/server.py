"""The server's half of the protocol: from one leg's replies to the next leg's requests.

Each function takes the state and an iterable of (device, reply) and returns the new
state with what to send next; ``unmask`` returns the sum. The caller decides how long a
leg waits by ending the iterable.

Guarantees: a reply that is malformed, not signed by its device, late or a second one is
left out and changes nothing; with fewer than ``min_survivors`` devices in a leg, or
fewer than t shares of a secret, the round aborts and nothing is unmasked; a dealer of
whom too few survivors hold shares ends the round before any share is asked for; a share
that its dealer did not commit to is left out; whoever was left out is named; what comes
out equals the sum of the survivors' vectors modulo 2**word_bits.

Does not give: privacy from this server beyond what the devices themselves check.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TypeVar

import numpy as np

from fedpref.core import commitments, shares
from fedpref.core.mask import Words, apply_masks, unpack
from fedpref.errors import IntegrityError, MessageError, TooFewSurvivors
from fedpref.secagg import legs, wire
from fedpref.secagg.crypto import (
    ADVERT,
    DESCRIPTOR,
    MASK,
    REVEAL,
    SHARES,
    TOMBSTONE,
    UPLOAD,
    VIEW,
    KeyPair,
    Signer,
    Work,
    check_order,
)
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.graph import holders_of
from fedpref.secagg.legs import NO_TOMBSTONE, Advert, Dealing, Opening, Parcel, View
from fedpref.secagg.roster import Roster
from fedpref.secagg.wire import HASH

T = TypeVar("T")
Replies = Iterable[tuple[int, bytes]]
Requests = Mapping[int, bytes]


@dataclass(frozen=True, repr=False)
class Round:
    """What the server knows of a round so far.

    ``missing`` has, by dealer, the survivors who hold no share of it; ``refused`` says
    who was left out or complained, and why.
    """

    descriptor: Descriptor
    roster: Roster
    adverts: Mapping[int, Advert] = field(default_factory=dict)
    adverts_hash: bytes = b""
    dealings: Mapping[int, Dealing] = field(default_factory=dict)
    survivors: tuple[int, ...] = ()
    masked: Words | None = None
    missing: Mapping[int, frozenset[int]] = field(default_factory=dict)
    signatures: legs.Signatures = ()
    refused: tuple[str, ...] = ()

    @property
    def terms(self) -> Terms:
        """The round's numbers."""
        return self.descriptor.terms

    @property
    def dealers(self) -> tuple[int, ...]:
        """U1, rising."""
        return tuple(sorted(self.dealings))

    @property
    def view(self) -> View:
        """What the members agree on."""
        dealers = sha256(wire.ids(self.dealers)).digest()
        return View(self.adverts_hash, dealers, self.survivors)


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

    found, refused = _collect(replies, cohort, read)
    adverts = _without_repeated_keys(found)
    _enough(state, len(adverts), "advertised")
    request = legs.encode_adverts(rid, list(adverts.values()))
    after = replace(
        state,
        adverts=adverts,
        adverts_hash=sha256(request).digest(),
        refused=state.refused + refused,
    )
    return after, dict.fromkeys(adverts, request)


def dealt(state: Round, replies: Replies, work: Work) -> tuple[Round, Requests]:
    """Leg 2: to each dealer what the others dealt to it.

    Raises:
        TooFewSurvivors: Fewer than ``min_survivors`` dealt.
    """
    rid, terms = state.descriptor.rid, state.terms
    paths: dict[int, list[tuple[bytes, ...]]] = {}

    def read(who: int, reply: bytes) -> Dealing:
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

    found, refused = _collect(replies, set(state.adverts), read)
    _enough(state, len(found), "dealt shares")
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

    found, refused = _collect(replies, set(state.dealings), read)
    _enough(state, len(found), "uploaded")
    survivors = tuple(sorted(found))
    missing = {
        dealer: frozenset(who for who in survivors if dealer in found[who])
        for dealer in sorted({dealer for some in found.values() for dealer in some})
    }
    complaints = tuple(
        f"device {who}: holds no share of device {dealer}"
        for dealer, holders in missing.items()
        for who in sorted(holders)
    )
    after = replace(
        state,
        survivors=survivors,
        masked=total,
        missing=missing,
        refused=state.refused + refused + complaints,
    )
    _enough_holders(after, found.keys(), "uploaded")
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
        signature = legs.decode_agreement(reply, rid)
        work.verify(state.roster.key(who), VIEW, rid + content, signature)
        return signature

    found, refused = _collect(replies, set(state.survivors), read)
    if len(found) < state.terms.threshold:
        raise TooFewSurvivors(
            f"survivors who agreed = {len(found)}, must be >= {state.terms.threshold}; "
            "nothing was unmasked"
        )
    _enough_holders(state, found.keys(), "agreed")
    signatures = tuple(sorted(found.items()))
    request = legs.Agreements(state.view, signatures).encode(rid)
    after = replace(state, signatures=signatures, refused=state.refused + refused)
    return after, dict.fromkeys(state.dealers, request)


def unmask(state: Round, replies: Replies, work: Work) -> tuple[Round, Words]:
    """The sum of the survivors' vectors, modulo 2**word_bits, ``[coordinates]``.

    The state that comes with it says whose shares were left out, and why.

    Raises:
        TooFewSurvivors: Fewer than t shares of some secret came.
        IntegrityError: A dealer's shares do not open to what it advertised.
    """
    rid, survivors = state.descriptor.rid, set(state.survivors)
    held: dict[int, dict[int, bytes]] = {dealer: {} for dealer in state.dealings}
    places = {
        dealer: {
            who: index
            for index, who in enumerate(
                holders_of(dealer, state.adverts, state.terms.neighbours)
            )
        }
        for dealer in state.dealings
    }

    def read(who: int, reply: bytes) -> bool:
        reveal = legs.decode_reveal(reply, rid)
        content = rid + sha256(reveal.content).digest()
        work.verify(state.roster.key(who), REVEAL, content, reveal.signature)
        for dealer, share in reveal.shares:  # all of them, before any counts
            which = 0 if dealer in survivors else 1
            place = places.get(dealer, {}).get(who)
            if place is None:
                raise MessageError(f"REVEAL: no share of device {dealer} is held")
            digest = commitments.digest(rid, dealer, who, which, share)
            if digest != state.dealings[dealer].digests[place][which]:
                raise MessageError(f"REVEAL: the share of device {dealer} is wrong")
        for dealer, share in reveal.shares:
            held[dealer][who] = share
        return True

    _, refused = _collect(replies, survivors, read)
    assert state.masked is not None  # leg 3 came before
    add: list[bytes] = []
    subtract: list[bytes] = []
    for dealer in state.dealers:
        secret = _opened(state, dealer, held[dealer], refused)
        if dealer in survivors:
            if sha256(rid + secret).digest() != state.adverts[dealer].commitment:
                raise IntegrityError(f"device {dealer}: dealt another mask seed")
            subtract.append(secret)
        else:
            _pair_masks(state, dealer, secret, places[dealer], add, subtract, work)
    total = state.masked.copy()
    apply_masks(total, add=add, subtract=subtract)
    if state.terms.word_bits < 32:
        total &= np.uint32(2**state.terms.word_bits - 1)
    return replace(state, refused=state.refused + refused), total


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


def _collect(
    replies: Replies, expected: set[int], read: Callable[[int, bytes], T]
) -> tuple[dict[int, T], tuple[str, ...]]:
    """The first good reply of each expected device, and why others were left out."""
    found: dict[int, T] = {}
    refused = []
    for who, reply in replies:
        if who not in expected or who in found:
            continue
        try:
            found[who] = read(who, reply)
        except (IntegrityError, ValueError) as error:
            refused.append(f"device {who}: {error}")
    return dict(sorted(found.items())), tuple(refused)


def _without_repeated_keys(adverts: Mapping[int, Advert]) -> dict[int, Advert]:
    """Whoever shares a key with somebody else is left out, both of them."""
    uses: dict[bytes, int] = {}
    for advert in adverts.values():
        for key in (advert.encrypt, advert.mask):
            uses[key] = uses.get(key, 0) + 1
    return {
        who: advert
        for who, advert in adverts.items()
        if uses[advert.encrypt] == uses[advert.mask] == 1
    }


def _enough(state: Round, count: int, what: str) -> None:
    if count < state.terms.min_survivors:
        raise TooFewSurvivors(
            f"devices that {what} = {count}, must be >= {state.terms.min_survivors}; "
            "nothing was unmasked"
        )


def _enough_holders(state: Round, willing: Collection[int], what: str) -> None:
    """Every dealer's secret can still be opened, or the round ends while none is."""
    terms = state.terms
    for dealer in state.dealers:
        count, missing = len(willing), state.missing.get(dealer, frozenset())
        if terms.neighbours or missing:
            holders = holders_of(dealer, state.adverts, terms.neighbours)
            count = sum(who in willing and who not in missing for who in holders)
        if count < terms.threshold:
            raise TooFewSurvivors(
                f"holders of shares of device {dealer} who {what} = {count}, must be "
                f">= {terms.threshold}; nothing was unmasked"
                + _fault(dealer, len(missing), terms.colluders)
            )


def _fault(dealer: int, complaints: int, colluders: int) -> str:
    """Who is to blame, as far as it can be told: up to C holders may be lying."""
    if not complaints:
        return ""
    text = f"; {complaints} devices say that device {dealer} dealt them no good share"
    if complaints > colluders:
        return text + "; leave it out"
    return text + f"; no more than the {colluders} who may be lying"


def _opened(
    state: Round, dealer: int, held: Mapping[int, bytes], refused: tuple[str, ...]
) -> bytes:
    threshold = state.terms.threshold
    if len(held) < threshold:
        raise TooFewSurvivors(
            f"shares of device {dealer} = {len(held)}, must be >= {threshold}; nothing "
            "was unmasked" + "".join(f"; {why}" for why in refused[:3])
        )
    try:
        return shares.join(held, threshold)
    except IntegrityError as error:
        raise IntegrityError(f"device {dealer}: dealt bad shares: {error}") from None


def _pair_masks(
    state: Round,
    dealer: int,
    secret: bytes,
    neighbours: Iterable[int],
    add: list[bytes],
    subtract: list[bytes],
    work: Work,
) -> None:
    """What the survivors put on for a dealer who did not upload, taken off again."""
    keys = KeyPair.from_seed(secret)
    if keys.public != state.adverts[dealer].mask:
        raise IntegrityError(f"device {dealer}: dealt another mask key")
    for other in set(neighbours) & set(state.survivors):
        theirs = state.adverts[other].mask
        key = work.agree(keys, theirs, state.descriptor.rid, MASK)
        (subtract if dealer < other else add).append(key)
