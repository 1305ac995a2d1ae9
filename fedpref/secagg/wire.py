"""Canonical bytes of protocol messages: one header, fixed-width fields, no slack.

    offset  bytes  field
    0       2      magic "FP"
    2       1      version (1)
    3       1      kind (``Kind``)
    4       32     round id: SHA-256 of the round's descriptor
    36      ...    body

Numbers are little-endian. A list is its length (4 bytes) and its entries.

Guarantees: a length is compared with the bytes that are there before anything is
allocated; what is left over is refused; every message has one byte form. Does not give:
authenticity, which the signatures inside the bodies give.
"""

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from hashlib import blake2b
from itertools import pairwise
from typing import TypeVar

from fedpref.errors import MessageError

T = TypeVar("T")
Bytes = bytes | memoryview

MAGIC, VERSION = b"FP", 1
HASH = 32
KEY = 32
SIGNATURE = 64
HEADER = struct.Struct("<2sBB32s")


class Kind(IntEnum):
    """Which message; downward (server to device) ones are even."""

    DESCRIPTOR = 16
    ADVERT = 17
    ADVERTS = 18
    SHARES = 19
    DELIVERY = 20
    UPLOAD = 21
    SURVIVORS = 22
    AGREEMENT = 23
    AGREEMENTS = 24
    REVEAL = 25
    TOMBSTONES = 26


def message(kind: Kind, rid: bytes, *body: Bytes) -> bytes:
    """A whole message; long fields are copied once."""
    return b"".join((HEADER.pack(MAGIC, VERSION, kind, rid), *body))


def kind_of(data: bytes) -> Kind:
    """The kind of the message in ``data``.

    Raises:
        MessageError: It is not a message of this version.
    """
    if len(data) < HEADER.size:
        raise MessageError(f"message: {len(data)} bytes, must be >= {HEADER.size}")
    magic, version, kind, _ = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise MessageError(f"message: not a fedpref message of version {VERSION}")
    try:
        return Kind(kind)
    except ValueError:
        raise MessageError(f"message: kind = {kind} is unknown") from None


def body(data: bytes, kind: Kind, rid: bytes | None = None) -> "Reader":
    """A reader behind the header of a message of this kind and round.

    Raises:
        MessageError: It is of another kind or round.
    """
    found = kind_of(data)
    if found is not kind:
        raise MessageError(f"message: kind = {found.name}, must be {kind.name}")
    if rid is not None and data[4 : HEADER.size] != rid:
        raise MessageError(f"{kind.name}: belongs to another round")
    return Reader(data, HEADER.size, kind.name)


class Reader:
    """Reads fields one after the other; every failure is a ``MessageError``."""

    def __init__(self, data: bytes, offset: int, name: str):
        self._data = data
        self._offset = offset
        self._name = name

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        return self._data[self._skip(size) : self._offset]

    def view(self, size: int) -> memoryview:
        """The next ``size`` bytes where they are; for long fields."""
        return memoryview(self._data)[self._skip(size) : self._offset]

    def number(self, size: int = 4) -> int:
        """The next unsigned integer."""
        return int.from_bytes(self.take(size), "little")

    def many(self, read: Callable[["Reader"], T], *, least: int) -> list[T]:
        """A list; ``least`` is the fewest bytes that an entry takes."""
        count = self.number()
        if count * least > len(self._data) - self._offset:
            raise MessageError(f"{self._name}: a list of {count} does not fit in it")
        return [read(self) for _ in range(count)]

    def ids(self) -> tuple[int, ...]:
        """A list of device numbers from 1, rising."""
        count = self.number()
        found = struct.unpack_from(f"<{count}I", self._data, self._skip(4 * count))
        if found and found[0] < 1:
            raise MessageError(f"{self._name}: device numbers start at 1")
        if any(a >= b for a, b in pairwise(found)):
            raise MessageError(f"{self._name}: device numbers must rise")
        return found

    def _skip(self, size: int) -> int:
        """Go on by ``size`` bytes, which must be there; returns where it was."""
        start, end = self._offset, self._offset + size
        if end > len(self._data):
            raise MessageError(f"{self._name}: {len(self._data)} bytes are too few")
        self._offset = end
        return start

    def end(self) -> None:
        """Everything must have been read."""
        if self._offset != len(self._data):
            left = len(self._data) - self._offset
            raise MessageError(f"{self._name}: {left} bytes too many")


def fingerprint(data: Bytes) -> bytes:
    """BLAKE2b-256 of something long: a model or a vector, 32 bytes.

    About twice as fast as SHA-256 in software, where it is most of a device's hashing.
    """
    return blake2b(data, digest_size=HASH).digest()


def number(value: int, size: int = 4) -> bytes:
    """An unsigned integer."""
    return value.to_bytes(size, "little")


def ids(values: Sequence[int]) -> bytes:
    """A list of device numbers."""
    return number(len(values)) + struct.pack(f"<{len(values)}I", *values)


def many(entries: Sequence[bytes]) -> bytes:
    """A list of encoded entries."""
    return number(len(entries)) + b"".join(entries)
