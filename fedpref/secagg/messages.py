"""The wire messages of one round: versioned, size-capped, never pickled.

Layout (little-endian):

    offset  bytes  field
    0       2      magic "FP"
    2       1      version (1)
    3       1      kind: 1 invitation, 2 contribution
    4       4      round, from 1
    8       32     SHA-256 of the sealed plan
    40      4      coordinates n
    44      8 n    values: float64 (invitation: the model) or int64 (contribution)

Guarantees: a decoder checks magic, version, kind and the exact length against the
expected number of coordinates before it allocates anything; what it returns has passed
every check. Does not give: authenticity or secrecy; those come with signatures and
masks.
"""

import struct
from dataclasses import dataclass

import numpy as np

from fedpref.core.types import Float, Integer
from fedpref.errors import MessageError

_HEADER = struct.Struct("<2sBBI32sI")
_MAGIC, _VERSION = b"FP", 1
INVITATION, CONTRIBUTION = 1, 2


@dataclass(frozen=True, repr=False)
class Invitation:
    """Server to device: the round, its plan, and the model to answer on."""

    round: int
    plan: bytes
    model: Float


@dataclass(frozen=True, repr=False)
class Contribution:
    """Device to server: one clipped and rounded update, in grid steps."""

    round: int
    plan: bytes
    update: Integer


def size_of(coordinates: int) -> int:
    """Bytes of either message; both carry 8 a coordinate.

    >>> size_of(2)
    60
    """
    return _HEADER.size + 8 * coordinates


def encode_invitation(message: Invitation) -> bytes:
    """Bytes of an invitation."""
    body = np.ascontiguousarray(message.model, dtype="<f8").tobytes()
    return _header(INVITATION, message.round, message.plan, message.model.size) + body


def encode_contribution(message: Contribution) -> bytes:
    """Bytes of a contribution."""
    body = np.ascontiguousarray(message.update, dtype="<i8").tobytes()
    return (
        _header(CONTRIBUTION, message.round, message.plan, message.update.size) + body
    )


def decode_invitation(data: bytes, *, plan: bytes, coordinates: int) -> Invitation:
    """The invitation in ``data``.

    Args:
        data: Bytes from the network.
        plan: Digest of the plan that the receiver has agreed to.
        coordinates: Length of its model vector.

    Raises:
        MessageError: Anything is not as expected, or the model is not finite.
    """
    round_ = _check(data, INVITATION, plan, coordinates)
    model = np.frombuffer(data, "<f8", offset=_HEADER.size).astype(np.float64)
    if not np.isfinite(model).all():
        raise MessageError("invitation: the model is not finite")
    return Invitation(round_, plan, model)


def decode_contribution(data: bytes, *, plan: bytes, coordinates: int) -> Contribution:
    """The contribution in ``data``; arguments and errors as for an invitation."""
    round_ = _check(data, CONTRIBUTION, plan, coordinates)
    update = np.frombuffer(data, "<i8", offset=_HEADER.size).astype(np.int64)
    return Contribution(round_, plan, update)


def _header(kind: int, round_: int, plan: bytes, coordinates: int) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, kind, round_, plan, coordinates)


def _check(data: bytes, kind: int, plan: bytes, coordinates: int) -> int:
    """The round number, once everything else in the header is as it must be."""
    expected = size_of(coordinates)
    if len(data) != expected:
        raise MessageError(f"message: {len(data)} bytes, must be {expected}")
    magic, version, found, round_, digest, count = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise MessageError(f"message: not a fedpref message of version {_VERSION}")
    if found != kind:
        raise MessageError(f"message: kind = {found}, must be {kind}")
    if digest != plan:
        raise MessageError("message: belongs to another privacy plan")
    if count != coordinates:
        raise MessageError(f"message: coordinates = {count}, must be {coordinates}")
    if round_ < 1:
        raise MessageError(f"message: round = {round_}, must be >= 1")
    return int(round_)
