"""Masks of the secure sum: AES-256-CTR keystreams, added modulo a power of two.

A mask is the keystream of one 32-byte key, read as little-endian 32-bit words and added
to (or subtracted from) a vector modulo 2**32. For words of 16 or 24 bits the low bits
are kept: 2**16 and 2**24 divide 2**32, so adding and cutting can be swapped.

Guarantees: the whole key goes into the cipher; what one device adds and another one
subtracts cancels exactly, in any order; packed words are as long as they must be or
refused before anything is allocated. Does not give: secrecy when a key serves twice, or
when no key of the vector is unknown to the reader.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedpref.core.types import Integer
from fedpref.errors import MessageError

Words = NDArray[np.uint32]

WORD_BITS = (16, 24, 32)
# Measured: with 128 KiB the words and the keystream stay in the second-level cache
# while every key passes over them; 64 KiB and less pays for calls.
_CHUNK_BYTES = 1 << 17
_ZEROS = bytes(_CHUNK_BYTES)
_START = modes.CTR(bytes(16))
_BLOCK_BYTES = 16


def apply_masks(
    words: Words, *, add: Iterable[bytes] = (), subtract: Iterable[bytes] = ()
) -> None:
    """Add and subtract the masks of some keys, in place and modulo 2**32.

    Args:
        words: The vector, ``[coordinates]``; changed in place.
        add: Keys of 32 bytes whose masks are added. A key masks one vector, once.
        subtract: Keys of 32 bytes whose masks are subtracted.

    Raises:
        ValueError: A key is not 32 bytes long, or ``words`` is not a plain vector of
            32-bit words; nothing has been changed.

    >>> vector = np.array([1, 2, 2**32 - 1], np.uint32)
    >>> apply_masks(vector, add=[bytes(32)])
    >>> apply_masks(vector, subtract=[bytes(32)])
    >>> vector.tolist()
    [1, 2, 4294967295]
    """
    if words.dtype != np.uint32 or words.ndim != 1:
        raise ValueError(
            f"words has dtype {words.dtype} and {words.ndim} axes, must be uint32 and 1"
        )
    streams: list[tuple[Callable[..., Any], Any]] = []
    streams += [(_expand(key), np.add) for key in add]
    streams += [(_expand(key), np.subtract) for key in subtract]
    buffer = np.empty(_CHUNK_BYTES + _BLOCK_BYTES, np.uint8)
    keystream = buffer[:_CHUNK_BYTES].view("<u4")
    step = keystream.size
    for start in range(0, words.size, step):
        chunk = words[start : start + step]
        zeros = _ZEROS if chunk.size == step else bytes(4 * chunk.size)
        mask = keystream[: chunk.size]
        for expand, operation in streams:
            expand(zeros, buffer)
            operation(chunk, mask, out=chunk)


def to_words(values: Integer, bits: int) -> Words:
    """Integers modulo ``2**bits``, ``[coordinates]``.

    >>> to_words(np.array([-1, 5]), 24).tolist()
    [16777215, 5]
    """
    _check_bits(bits)
    words = values.astype(np.uint32)  # from int64: modulo 2**32
    words &= np.uint32(2**bits - 1)
    return words


def centred(words: Words, bits: int) -> Integer:
    """The integers in ``[-2**(bits-1), 2**(bits-1))`` that the low ``bits`` stand for.

    >>> centred(np.array([16777215, 5, 2**23], np.uint32), 24).tolist()
    [-1, 5, -8388608]
    """
    _check_bits(bits)
    spare = np.uint32(32 - bits)
    lifted = (words << spare).view(np.int32)  # the sign bit is now the top bit
    lifted >>= np.int32(spare)
    return lifted.astype(np.int64)


def pack(words: Words, bits: int) -> memoryview:
    """The low ``bits`` of each word, little-endian, ``bits / 8`` bytes a word.

    A view, so that a long vector is not copied again before it is sent.

    >>> pack(np.array([0x01020304, 5], np.uint32), 24).hex()
    '040302050000'
    """
    _check_bits(bits)
    if bits == 16:
        return words.astype("<u2").view(np.uint8).data
    octets = words.astype("<u4", order="C", copy=bits == 32).view(np.uint8)
    if bits == 32:
        return octets.data
    packed = np.empty(3 * words.size, np.uint8)
    for place in range(3):
        packed[place::3] = octets[place::4]
    return packed.data


def unpack(data: bytes | memoryview, bits: int, count: int) -> Words:
    """The words that :func:`pack` packed.

    Args:
        data: Bytes from the network.
        bits: Size of a word: 16, 24 or 32.
        count: How many words there must be.

    Raises:
        MessageError: ``data`` has another length.

    >>> unpack(bytes.fromhex("040302050000"), 24, 2).tolist()
    [131844, 5]
    """
    _check_bits(bits)
    expected = count * bits // 8
    if len(data) != expected:
        raise MessageError(
            f"masked vector: {len(data)} bytes, must be {expected} for {count} words "
            f"of {bits} bits"
        )
    if bits != 24:
        return np.frombuffer(data, f"<u{bits // 8}").astype(np.uint32)
    words = np.empty(count, np.uint32)
    # Words of four bytes, three apart: each also reads the first byte of the next one.
    wide = np.ndarray((max(0, count - 1),), "<u4", data, strides=(3,))
    np.bitwise_and(wide, np.uint32(2**24 - 1), out=words[:-1])
    words[-1:] = int.from_bytes(data[-3:], "little")
    return words


def _expand(key: bytes) -> Callable[..., Any]:
    """Writes the next bytes of the key's stream, one call after the other."""
    if len(key) != 32:
        raise ValueError(f"len(key) = {len(key)}, must be 32 bytes")
    return Cipher(algorithms.AES(key), _START).encryptor().update_into


def _check_bits(bits: int) -> None:
    if bits not in WORD_BITS:
        raise ValueError(f"bits = {bits}, must be one of {WORD_BITS}")
