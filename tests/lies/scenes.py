"""Cohorts at each leg, and requests bent as a lying server would bend them."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from fedpref.core import commitments
from fedpref.core.mask import apply_masks, centred, unpack
from fedpref.secagg import legs, server, wire
from fedpref.secagg.crypto import ADVERT, MASK, TOMBSTONE, KeyPair, SharedWork, Work
from fedpref.secagg.gathering import Round
from fedpref.secagg.legs import Advert, Parcel
from tests.secagg.conftest import Cohort

VICTIM, FRIEND = 1, 7
"""A device that is lied to, and one that works for the server."""


def seven(**change) -> Cohort:
    """Seven devices, one of which may be bad: t = 5 of them open a secret."""
    return cohort(7, **({"colluders": 1, "t": 5, "min_survivors": 5} | change))


def cohort(n: int, coordinates: int = 5, **change) -> Cohort:
    """``n`` devices with vectors of their own."""
    vectors = np.random.default_rng(n).integers(-1000, 1000, (n, coordinates))
    return Cohort(vectors, **({"work": SharedWork()} | change))


def invitation(told: Cohort, /, since=0, rows=(), signer=None, model=None, **change):
    """An invitation that the server signs, whatever is in it."""
    _, requests = server.invite(
        told.descriptor(**change),
        told.roster,
        told.model_bytes if model is None else model,
        signer=signer or told.server,
        since=since,
        row_hashes=tuple(rows),
    )
    return next(iter(requests.values()))


def flip(data: bytes, bit: int) -> bytes:
    """``data`` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def signed(told: Cohort, rid: bytes, advert: Advert) -> Advert:
    """``advert`` with a signature of the device that it names."""
    signature = told.signers[advert.id].sign(ADVERT, rid + advert.content)
    return replace(advert, signature=signature)


def adverts(state: Round, *others: Advert, without: Iterable[int] = ()) -> bytes:
    """The request of leg 1 with these adverts in place of their devices' own."""
    found = dict(state.adverts) | {advert.id: advert for advert in others}
    kept = [found[i] for i in sorted(found) if i not in without]
    return legs.encode_adverts(state.descriptor.rid, kept)


def opened(request: bytes) -> tuple[tuple[int, ...], dict[int, Parcel]]:
    """Dealers and parcels of a delivery."""
    dealers, parcels = legs.decode_delivery(request, request[4:36])
    return dealers, {parcel.dealer: parcel for parcel in parcels}


def delivery(request: bytes, dealers, parcels: Mapping[int, Parcel]) -> bytes:
    """The delivery with other dealers or parcels."""
    found = [parcels[who] for who in sorted(parcels)]
    return legs.encode_delivery(request[4:36], wire.ids(dealers), found)


def delivered(rid: bytes, dealings: Mapping[int, bytes]) -> dict[int, bytes]:
    """Deliveries from these replies of leg 1, made without checking any of them."""
    dealers = sorted(dealings)
    parcels: dict[int, list[Parcel]] = {who: [] for who in dealers}
    for who in dealers:
        dealing = legs.decode_dealing(dealings[who], rid)
        leaves = [commitments.leaf(*pair) for pair in dealing.digests]
        _, paths = commitments.tree(leaves)
        others = [i for i in dealers if i != who]
        for holder, sealed in zip(others, dealing.sealed, strict=True):
            path = paths[dealers.index(holder)]
            parcels[holder].append(
                Parcel(who, dealing.root, dealing.signature, sealed, path)
            )
    return {
        who: legs.encode_delivery(rid, wire.ids(dealers), parcels[who])
        for who in dealers
    }


def missing(told: Cohort, upload: bytes) -> tuple[int, ...]:
    """Whose shares the device says that it lacks."""
    size = told.coordinates * told.word_bits // 8
    return legs.decode_upload(upload, upload[4:36], size=size).missing


def buried(told: Cohort, rid: bytes, signers: Iterable[int], about=None) -> bytes:
    """A certificate of tombstones by ``signers``."""
    about = rid if about is None else about
    found = tuple((i, told.signers[i].sign(TOMBSTONE, about)) for i in signers)
    return legs.encode_tombstones(rid, found)


def left_out(told: Cohort, victim: int) -> Round:
    """Everybody uploads; the server says that the victim has not. At leg 3."""
    state, requests = told.reach(2)
    replies = [reply for reply in told.send(requests) if reply[0] != victim]
    return server.uploaded(state, replies, told.work)[0]


def survivors(state: Round, *who: int) -> bytes:
    """The request of leg 3 with this list."""
    return legs.encode_survivors(state.descriptor.rid, who)


@lru_cache(maxsize=4)
def hashes(count: int) -> tuple[bytes, ...]:
    """Hashes of ledger rows; what the rows say does not matter here."""
    return tuple(wire.fingerprint(bytes([i])) for i in range(count))


def stripped(told: Cohort, state: Round, who: int, upload: bytes, seed, mask_key):
    """The contribution of ``who``, from its upload and both of its secrets."""
    rid, size = state.descriptor.rid, told.coordinates * told.word_bits // 8
    words = unpack(
        legs.decode_upload(upload, rid, size=size).words,
        told.word_bits,
        told.coordinates,
    )
    added, subtracted = [seed], []
    for other in state.dealers:
        if other != who:
            pair = Work().agree(
                KeyPair.from_seed(mask_key), state.adverts[other].mask, rid, MASK
            )
            (added if other < who else subtracted).append(pair)
    apply_masks(words, add=subtracted, subtract=added)
    return centred(words, told.word_bits)
