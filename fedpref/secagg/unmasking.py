"""After leg 4: from the shares that were handed out to the sum.

Guarantees: a share that its dealer did not commit to is left out with all that its
holder sent; each secret is opened by t shares and compared with what its dealer
advertised; a dealer for whom this fails is named and nothing comes out. Does not give:
a sum that is worth anything if a survivor uploaded rubbish.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256

import numpy as np

from fedpref.core import commitments, shares
from fedpref.core.mask import Words, apply_masks
from fedpref.errors import IntegrityError, MessageError, TooFewSurvivors
from fedpref.secagg import legs, sizes
from fedpref.secagg.crypto import MASK, REVEAL, KeyPair, Work
from fedpref.secagg.gathering import Replies, Round, collect
from fedpref.secagg.graph import holders_of
from fedpref.secagg.wire import Kind


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
        sizes.check(reply, Kind.REVEAL, state.terms, state.clients)
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

    _, refused = collect(replies, survivors, read)
    assert state.masked is not None  # leg 3 came before
    add, subtract = _masks_left(state, held, places, refused, work)
    total = state.masked.copy()
    apply_masks(total, add=add, subtract=subtract)
    if state.terms.word_bits < 32:
        total &= np.uint32(2**state.terms.word_bits - 1)
    return replace(state, refused=state.refused + refused), total


def _masks_left(
    state: Round,
    held: Mapping[int, Mapping[int, bytes]],
    holders: Mapping[int, Iterable[int]],
    refused: tuple[str, ...],
    work: Work,
) -> tuple[list[bytes], list[bytes]]:
    """Keys of the masks to add to the sum, and of those to subtract."""
    rid, survivors = state.descriptor.rid, set(state.survivors)
    add: list[bytes] = []
    subtract: list[bytes] = []
    for dealer in state.dealers:
        secret = _opened(state, dealer, held[dealer], refused)
        if dealer in survivors:
            if sha256(rid + secret).digest() != state.adverts[dealer].commitment:
                raise IntegrityError(f"device {dealer}: dealt another mask seed")
            subtract.append(secret)
        else:
            _pair_masks(state, dealer, secret, holders[dealer], add, subtract, work)
    return add, subtract


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
