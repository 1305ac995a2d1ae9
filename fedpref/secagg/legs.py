"""The messages of the five legs and their bytes.

    leg  server to device                     device to server
    0    DESCRIPTOR  the round and its model  ADVERT     fresh keys, signed
    1    ADVERTS     all of them: U0          SHARES     one sealed pair a neighbour
    2    DELIVERY    shares from each of U1   UPLOAD     the masked vector
    3    SURVIVORS   whose uploads came: U2   AGREEMENT  a signature on U0, U1 and U2
    4    AGREEMENTS  t of these signatures    REVEAL     one share a member of U1

Field by field: docs/protocol.md. Guarantees and header: ``fedpref.secagg.wire``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct

from fedpref.errors import MessageError
from fedpref.secagg import wire
from fedpref.secagg.descriptor import Descriptor, read_descriptor
from fedpref.secagg.wire import HASH, KEY, SIGNATURE, Kind, Reader

SHARE = 66
SEALED = 2 * SHARE + 16
NO_TOMBSTONE = bytes(HASH + SIGNATURE)
_PARCEL = Struct(f"<I{HASH}s{SIGNATURE}s{SEALED}sB")
_ENTRY = Struct(f"<I{SHARE}s")
PARCEL_BYTES = _PARCEL.size
"""Of a parcel, without the steps of its path."""


@dataclass(frozen=True, repr=False)
class Opening:
    """Leg 0, downward: the signed descriptor, the model, and the ledger's rows.

    ``row_hashes`` are those of the rows after number ``since``. A model that was read
    is a view of the message.
    """

    descriptor: Descriptor
    signature: bytes
    model: wire.Bytes
    since: int
    row_hashes: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Bytes of the message."""
        return wire.message(
            Kind.DESCRIPTOR,
            self.descriptor.rid,
            self.descriptor.content,
            self.signature,
            self.model,
            wire.number(self.since, 8),
            wire.many(self.row_hashes),
        )

    @classmethod
    def decode(cls, data: bytes) -> "Opening":
        """The message in ``data``; MessageError if it is none."""
        reader = wire.body(data, Kind.DESCRIPTOR)
        descriptor = read_descriptor(reader)
        signature = reader.take(SIGNATURE)
        model = reader.view(8 * descriptor.terms.coordinates)
        since = reader.number(8)
        hashes = reader.many(lambda r: r.take(HASH), least=HASH)
        reader.end()
        if data[4 : wire.HEADER.size] != descriptor.rid:
            raise MessageError("DESCRIPTOR: the round id is not that of its content")
        return cls(descriptor, signature, model, since, tuple(hashes))


@dataclass(frozen=True, slots=True)
class Advert:
    """Leg 0, upward: a device's keys for this round.

    ``commitment`` is SHA-256 of round id and mask seed. ``tombstone`` is the id of an
    earlier round that the device gave up, with its signature, or zeros.
    """

    id: int
    encrypt: bytes
    mask: bytes
    commitment: bytes
    tombstone: bytes
    outgoing: tuple[int, ...]
    signature: bytes = b""

    @property
    def content(self) -> bytes:
        """What is signed, after the round id."""
        return b"".join(
            (
                wire.number(self.id),
                *(self.encrypt, self.mask, self.commitment, self.tombstone),
                wire.ids(self.outgoing),
            )
        )

    def encode(self, rid: bytes) -> bytes:
        """Bytes of the message."""
        return wire.message(Kind.ADVERT, rid, self.content, self.signature)


def decode_advert(data: bytes, rid: bytes) -> Advert:
    """The advert in ``data``; MessageError if it is none."""
    reader = wire.body(data, Kind.ADVERT, rid)
    advert = _advert(reader)
    reader.end()
    return advert


def _advert(reader: Reader) -> Advert:
    return Advert(
        reader.number(),
        *(reader.take(KEY), reader.take(KEY), reader.take(HASH)),
        reader.take(len(NO_TOMBSTONE)),
        reader.ids(),
        reader.take(SIGNATURE),
    )


def encode_adverts(rid: bytes, adverts: Sequence[Advert]) -> bytes:
    """Leg 1, downward: every advert, in the order of device numbers."""
    return wire.message(
        Kind.ADVERTS, rid, wire.many([a.content + a.signature for a in adverts])
    )


def decode_adverts(data: bytes, rid: bytes) -> tuple[Advert, ...]:
    """The adverts in ``data``; MessageError if they are malformed or unordered."""
    reader = wire.body(data, Kind.ADVERTS, rid)
    least = 8 + 2 * KEY + HASH + len(NO_TOMBSTONE) + SIGNATURE
    adverts = tuple(reader.many(_advert, least=least))
    reader.end()
    if any(a.id >= b.id for a, b in pairwise(adverts)):
        raise MessageError("ADVERTS: device numbers must rise")
    return adverts


@dataclass(frozen=True, repr=False)
class Dealing:
    """Leg 1, upward: what a dealer hands to each holder of its secrets.

    ``root`` commits to all shares and is signed with the adverts' hash. ``digests``
    are of every holder's two shares, the dealer's own included, in rising order;
    ``sealed`` leaves the dealer out.
    """

    root: bytes
    signature: bytes
    digests: tuple[tuple[bytes, bytes], ...]
    sealed: tuple[bytes, ...]

    def encode(self, rid: bytes) -> bytes:
        """Bytes of the message."""
        return wire.message(
            Kind.SHARES,
            rid,
            self.root + self.signature,
            wire.many([seed + key for seed, key in self.digests]),
            wire.many(self.sealed),
        )


def decode_dealing(data: bytes, rid: bytes) -> Dealing:
    """The dealing in ``data``; MessageError if it is none."""
    reader = wire.body(data, Kind.SHARES, rid)
    root, signature = reader.take(HASH), reader.take(SIGNATURE)
    digests = reader.many(lambda r: _halves(r.take(2 * HASH)), least=2 * HASH)
    sealed = reader.many(lambda r: r.take(SEALED), least=SEALED)
    reader.end()
    return Dealing(root, signature, tuple(digests), tuple(sealed))


def _halves(pair: bytes) -> tuple[bytes, bytes]:
    return pair[:HASH], pair[HASH:]


@dataclass(frozen=True, repr=False, slots=True)
class Parcel:
    """One dealer's shares on their way to one holder, with their place in the tree."""

    dealer: int
    root: bytes
    signature: bytes
    sealed: bytes
    path: tuple[bytes, ...]


def encode_delivery(rid: bytes, dealers: bytes, parcels: Sequence[Parcel]) -> bytes:
    """Leg 2, downward: who dealt (``wire.ids`` of U1), and what they dealt to one."""
    return wire.message(
        Kind.DELIVERY,
        rid,
        dealers,
        wire.many(
            [
                _PARCEL.pack(p.dealer, p.root, p.signature, p.sealed, len(p.path))
                + b"".join(p.path)
                for p in parcels
            ]
        ),
    )


def decode_delivery(
    data: bytes, rid: bytes
) -> tuple[tuple[int, ...], tuple[Parcel, ...]]:
    """U1 and the parcels in ``data``; MessageError if it is malformed."""
    reader = wire.body(data, Kind.DELIVERY, rid)
    dealers = reader.ids()
    parcels = reader.many(_parcel, least=PARCEL_BYTES)
    reader.end()
    if any(a.dealer >= b.dealer for a, b in pairwise(parcels)):
        raise MessageError("DELIVERY: device numbers must rise")
    return dealers, tuple(parcels)


def _parcel(reader: Reader) -> Parcel:
    dealer, root, signature, sealed, steps = _PARCEL.unpack(reader.take(PARCEL_BYTES))
    path = tuple(reader.take(HASH) for _ in range(steps))
    return Parcel(dealer, root, signature, sealed, path)


@dataclass(frozen=True, repr=False)
class Upload:
    """Leg 2, upward: the masked words, and a signature.

    ``dealers`` is SHA-256 of U1 as encoded; ``missing`` are those of U1 of whom this
    device should hold shares and does not, because none came or they did not verify.
    """

    dealers: bytes
    missing: tuple[int, ...]
    words: wire.Bytes
    signature: bytes = b""

    @property
    def content(self) -> bytes:
        """What is signed, after the round id."""
        return self.dealers + wire.ids(self.missing) + wire.fingerprint(self.words)

    def encode(self, rid: bytes) -> bytes:
        """Bytes of the message."""
        fields = (self.dealers, wire.ids(self.missing), self.signature, self.words)
        return wire.message(Kind.UPLOAD, rid, *fields)


def decode_upload(data: bytes, rid: bytes, *, size: int) -> Upload:
    """The upload in ``data``, whose vector must be ``size`` bytes long."""
    reader = wire.body(data, Kind.UPLOAD, rid)
    dealers, missing = reader.take(HASH), reader.ids()
    signature, words = reader.take(SIGNATURE), reader.view(size)
    reader.end()
    return Upload(dealers, missing, words, signature)


def encode_survivors(rid: bytes, survivors: Sequence[int]) -> bytes:
    """Leg 3, downward: U2."""
    return wire.message(Kind.SURVIVORS, rid, wire.ids(survivors))


def decode_survivors(data: bytes, rid: bytes) -> tuple[int, ...]:
    """U2; MessageError if it is malformed."""
    reader = wire.body(data, Kind.SURVIVORS, rid)
    survivors = reader.ids()
    reader.end()
    return survivors


def encode_agreement(rid: bytes, signature: bytes) -> bytes:
    """Leg 3, upward."""
    return wire.message(Kind.AGREEMENT, rid, signature)


def decode_agreement(data: bytes, rid: bytes) -> bytes:
    """The signature in ``data``; MessageError if it is malformed."""
    reader = wire.body(data, Kind.AGREEMENT, rid)
    signature = reader.take(SIGNATURE)
    reader.end()
    return signature


@dataclass(frozen=True)
class View:
    """What a member signs in leg 3: the adverts' hash, the dealers' hash, and U2."""

    adverts: bytes
    dealers: bytes
    survivors: tuple[int, ...]

    @property
    def content(self) -> bytes:
        """What is signed, after the round id."""
        return self.adverts + self.dealers + wire.ids(self.survivors)


Signatures = tuple[tuple[int, bytes], ...]
"""Signatures by device number."""


@dataclass(frozen=True)
class Agreements:
    """Leg 4, downward: one view and members' signatures on it."""

    view: View
    signatures: Signatures

    def encode(self, rid: bytes) -> bytes:
        """Bytes of the message."""
        content = self.view.content, _signatures(self.signatures)
        return wire.message(Kind.AGREEMENTS, rid, *content)


def decode_agreements(data: bytes, rid: bytes) -> Agreements:
    """The agreements in ``data``; MessageError if they are malformed."""
    reader = wire.body(data, Kind.AGREEMENTS, rid)
    view = View(reader.take(HASH), reader.take(HASH), reader.ids())
    signatures = _read_signatures(reader)
    reader.end()
    return Agreements(view, signatures)


@dataclass(frozen=True, repr=False)
class Reveal:
    """Leg 4, upward: of each member of U1 one share, in rising order.

    Of a survivor it is a share of its mask seed, of the others one of their mask key;
    never both. A dealer whose shares never verified here is left out.
    """

    shares: tuple[tuple[int, bytes], ...]
    signature: bytes = b""

    @property
    def content(self) -> bytes:
        """What is signed, after the round id."""
        return wire.many([_ENTRY.pack(dealer, s) for dealer, s in self.shares])

    def encode(self, rid: bytes) -> bytes:
        """Bytes of the message."""
        return wire.message(Kind.REVEAL, rid, self.content, self.signature)


def decode_reveal(data: bytes, rid: bytes) -> Reveal:
    """The reveal in ``data``; MessageError if it is malformed."""
    reader = wire.body(data, Kind.REVEAL, rid)
    shares = reader.many(_entry, least=_ENTRY.size)
    signature = reader.take(SIGNATURE)
    reader.end()
    if any(a[0] >= b[0] for a, b in pairwise(shares)):
        raise MessageError("REVEAL: device numbers must rise")
    return Reveal(tuple(shares), signature)


def _entry(reader: Reader) -> tuple[int, bytes]:
    dealer, share = _ENTRY.unpack(reader.take(_ENTRY.size))
    return dealer, share


def encode_tombstones(rid: bytes, signatures: Signatures) -> bytes:
    """Members' promises to release nothing for round ``rid``."""
    return wire.message(Kind.TOMBSTONES, rid, _signatures(signatures))


def decode_tombstones(data: bytes, rid: bytes) -> Signatures:
    """The promises in ``data``; MessageError if they are malformed."""
    reader = wire.body(data, Kind.TOMBSTONES, rid)
    signatures = _read_signatures(reader)
    reader.end()
    return signatures


def _signatures(signatures: Signatures) -> bytes:
    return wire.many([wire.number(who) + s for who, s in signatures])


def _read_signatures(reader: Reader) -> Signatures:
    found = reader.many(lambda r: (r.number(), r.take(SIGNATURE)), least=4 + SIGNATURE)
    if any(a[0] >= b[0] for a, b in pairwise(found)):
        raise MessageError("signatures: device numbers must rise")
    return tuple(found)
