"""A round between its charge and its opening, as bytes that outlive the server.

    16 bytes  magic and version
    ...       descriptor
    4 + ...   length and bytes of ``ADVERTS``: U0
    ...       U1
    4 + ...   of each of U1, length and bytes of its ``SHARES`` without ciphertexts
    4 + ...   length and bytes of ``AGREEMENTS``: U2, and the request of leg 4
    4 each    the masked sum, a word a coordinate

A server that finds one after a crash sends the same request for shares again. Devices
answer the same bytes, so the same sum comes out, and nothing more is spent.

Guarantees: a record has one byte form; every part of it is checked when it is read,
against the digest that the round was charged under or by its dealer's or voter's
signature; a bit that was changed anywhere is an ``IntegrityError``. Does not give:
durability, which is the journal's; nor who complained in leg 2, which only legs 2 and 3
ask. It holds no secret: every part was on the wire, but for the sum of what was.
"""

from hashlib import sha256

import numpy as np

from fedpref.core import commitments
from fedpref.errors import IntegrityError, MessageError
from fedpref.secagg import legs, wire
from fedpref.secagg.crypto import SHARES, VIEW, Work
from fedpref.secagg.descriptor import read_descriptor
from fedpref.secagg.gathering import Round
from fedpref.secagg.graph import holders_of
from fedpref.secagg.legs import Dealing
from fedpref.secagg.roster import Roster
from fedpref.secagg.wire import Reader

_MAGIC = b"fedpref record 1"


def digest(state: Round) -> bytes:
    """SHA-256 of the round, who is in the sum, and the masked sum: what is charged."""
    assert state.masked is not None  # leg 3 came before
    content = state.view.content + state.masked.astype("<u4").tobytes()
    return sha256(state.descriptor.rid + content).digest()


def write(state: Round) -> bytes:
    """The record of a round that t members have agreed on."""
    assert state.masked is not None  # leg 3 came before
    rid = state.descriptor.rid
    agreements = legs.Agreements(state.view, state.signatures).encode(rid)
    dealings = (
        Dealing(d.root, d.signature, d.digests, ()).encode(rid)
        for d in state.dealings.values()
    )
    return b"".join(
        (
            _MAGIC + state.descriptor.content,
            _long(legs.encode_adverts(rid, list(state.adverts.values()))),
            wire.ids(state.dealers),
            *map(_long, dealings),
            _long(agreements),
            state.masked.astype("<u4").tobytes(),
        )
    )


def read(data: bytes, *, charged: bytes, roster: Roster, work: Work) -> Round:
    """The round in ``data``, ready for leg 4.

    Args:
        data: From :func:`write`.
        charged: The :func:`digest` that the ledger has.
        roster: The one that the round was begun with.
        work: Verifies its signatures.

    Raises:
        IntegrityError: Anything is not as it was written.
    """
    try:
        return _read(data, charged, roster, work)
    except MessageError as error:
        raise IntegrityError(
            f"record of a charged round: damaged, or of another one: {error}; the "
            "round stays charged, start a new run"
        ) from None


def _read(data: bytes, charged: bytes, roster: Roster, work: Work) -> Round:
    reader = Reader(data, 0, "RECORD")
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise MessageError("RECORD: not one of this version")
    descriptor = read_descriptor(reader)
    rid, terms = descriptor.rid, descriptor.terms
    if descriptor.roster != roster.digest:
        raise MessageError("RECORD: begun with another roster")
    message = _part(reader)
    adverts = {advert.id: advert for advert in legs.decode_adverts(message, rid)}
    dealers, adverts_hash = reader.ids(), sha256(message).digest()
    if not adverts.keys() >= set(dealers):
        raise MessageError("RECORD: a dealer has not advertised")
    dealings = {}
    for dealer in dealers:
        dealing = legs.decode_dealing(_part(reader), rid)
        holders = holders_of(dealer, adverts, terms.neighbours)
        _check_dealing(dealing, len(holders))
        content = rid + adverts_hash + dealing.root
        work.verify(roster.key(dealer), SHARES, content, dealing.signature)
        dealings[dealer] = dealing
    agreements = legs.decode_agreements(_part(reader), rid)
    content = rid + agreements.view.content
    for voter, signature in agreements.signatures:
        work.verify(roster.key(voter), VIEW, content, signature)
    words = reader.view(4 * terms.coordinates)
    reader.end()
    state = Round(
        descriptor,
        roster,
        adverts=adverts,
        adverts_hash=adverts_hash,
        dealings=dealings,
        survivors=agreements.view.survivors,
        masked=np.frombuffer(words, "<u4").astype(np.uint32),
        signatures=agreements.signatures,
    )
    if agreements.view != state.view or digest(state) != charged:
        raise MessageError("RECORD: not what was charged")
    return state


def _check_dealing(dealing: Dealing, holders: int) -> None:
    """The root, which the dealer signed, is that of the digests."""
    if len(dealing.digests) != holders or dealing.sealed:
        raise MessageError("RECORD: not one pair of digests for each holder")
    root, _ = commitments.tree([commitments.leaf(*d) for d in dealing.digests])
    if root != dealing.root:
        raise MessageError("RECORD: the root is not that of the digests")


def _long(message: bytes) -> bytes:
    return wire.number(len(message)) + message


def _part(reader: Reader) -> bytes:
    return reader.take(reader.number())
