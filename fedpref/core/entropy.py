"""Where randomness comes from: a key of 32 bytes for each named purpose, then AES-CTR.

Guarantees: ``OsEntropy`` hands out a fresh key from the operating system each time it
is asked; a key is used whole, as an AES-256 key, never folded or truncated. Words of
different lanes of one key never come from the same block of the cipher.

Does not give: privacy under ``SeededEntropy``. Whoever knows the seed can subtract the
noise. Only a simulation may be seeded, and it is then marked *not private*.
"""

import hashlib
import os
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

_ZEROS = bytes(1 << 18)  # one piece of plain text, small enough for a core's cache


@dataclass(frozen=True)
class OsEntropy:
    """The operating system's generator: the only source outside simulations."""

    @property
    def private(self) -> bool:
        """Whether noise drawn from this source protects anybody."""
        return True

    def key(self, purpose: str) -> bytes:
        """A fresh key of 32 bytes; ``purpose`` does not influence it."""
        return os.urandom(32)


@dataclass(frozen=True, repr=False)
class SeededEntropy:
    """Keys that depend on a seed and a purpose alone: reproducible, never private."""

    seed: int

    @property
    def private(self) -> bool:
        """Whether noise drawn from this source protects anybody."""
        return False

    def key(self, purpose: str) -> bytes:
        """The key of ``purpose`` under this seed, 32 bytes.

        >>> SeededEntropy(7).key("noise/1") == SeededEntropy(7).key("noise/1")
        True
        >>> SeededEntropy(7).key("noise/1") == SeededEntropy(7).key("noise/2")
        False
        """
        return hashlib.sha256(
            f"fedpref-seeded-v1\0{self.seed}\0{purpose}".encode()
        ).digest()


Entropy = OsEntropy | SeededEntropy


def uniform_words(count: int, *, key: bytes, lane: int = 0) -> NDArray[np.uint64]:
    """The first ``count`` 64-bit words of one lane of the AES-256-CTR keystream.

    The cipher's counter starts at ``lane * 2**64``, so lanes of one key do not overlap
    and each may be as long as it likes.

    Args:
        count: Number of words.
        key: 32 bytes, used for one purpose only.
        lane: Which part of the keystream, 0 to 2**64 - 1.

    Returns:
        Words read little-endian, ``[count]``.

    Raises:
        ValueError: ``key`` is not 32 bytes long.
        OverflowError: There is no such lane.

    >>> long = uniform_words(3, key=bytes(32), lane=1)
    >>> bool((long[:2] == uniform_words(2, key=bytes(32), lane=1)).all())
    True
    """
    if len(key) != 32:
        raise ValueError(f"len(key) = {len(key)}, must be 32 bytes")
    start = lane.to_bytes(8, "big") + bytes(8)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(start)).encryptor()
    stream = bytearray(8 * count)
    out = memoryview(stream)
    for done in range(0, len(out), len(_ZEROS)):
        piece = out[done : done + len(_ZEROS)]
        encryptor.update_into(_ZEROS[: len(piece)], piece)
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64, copy=False)
