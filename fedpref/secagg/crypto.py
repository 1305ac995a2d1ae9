"""The cryptography that the protocol uses, all of it from pyca/cryptography.

Ed25519 signatures, X25519 agreement, HKDF-SHA256, AES-256-GCM. Every derived key is
salted with the round id, so that it serves one round only; agreed keys also name both
public keys. Without that a bad device could advertise a second encoding of somebody's
point, or that point plus one of low order: its masks would be the other's and cancel
them, so that the sum of the rest came out.

Guarantees: a signature that does not verify, a key of low order and a ciphertext that
was changed raise ``MessageError``; a signed text begins with a label of its own, so no
signature can be taken for another one. Does not give: erasure of keys from memory,
which Python cannot promise.
"""

import struct
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedpref.errors import MessageError

_LABEL = b"fedpref/secagg/1/"
ENCRYPT, MASK = b"enc", b"mask"
"""Purposes of agreed keys."""
ROSTER, DESCRIPTOR, ADVERT, SHARES = b"roster", b"descriptor", b"advert", b"shares"
UPLOAD, VIEW, REVEAL, TOMBSTONE = b"upload", b"view", b"reveal", b"tombstone"
"""What a signature is about."""


@dataclass(frozen=True, repr=False)
class KeyPair:
    """An X25519 key for one round."""

    private: X25519PrivateKey
    public: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> "KeyPair":
        """The key whose private half is these 32 bytes."""
        private = X25519PrivateKey.from_private_bytes(seed)
        return cls(private, private.public_key().public_bytes_raw())

    @property
    def seed(self) -> bytes:
        """The private half, 32 bytes."""
        return self.private.private_bytes_raw()


@dataclass(frozen=True, repr=False)
class Signer:
    """A long-term Ed25519 key."""

    private: Ed25519PrivateKey

    @classmethod
    def from_seed(cls, seed: bytes) -> "Signer":
        """The key whose private half is these 32 bytes."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public(self) -> bytes:
        """What others verify with, 32 bytes."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, label: bytes, content: bytes) -> bytes:
        """Signature of ``content`` under ``label``, 64 bytes."""
        return self.private.sign(_text(label, content))


class Work:
    """Verification and agreement, done anew each time."""

    def verify(
        self, public: bytes, label: bytes, content: bytes, signature: bytes
    ) -> None:
        """Check a signature.

        Raises:
            MessageError: It is not of this key, label and content.
        """
        try:
            key = Ed25519PublicKey.from_public_bytes(public)
            key.verify(signature, _text(label, content))
        except (InvalidSignature, ValueError):
            raise MessageError(f"signature of {label.decode()} is not valid") from None

    def agree(self, own: KeyPair, other: bytes, rid: bytes, label: bytes) -> bytes:
        """The key of 32 bytes that two parties share for one round and purpose.

        Raises:
            MessageError: The other's key is no key, or of low order.
        """
        first, second = sorted((own.public, other))
        return derive(_exchange(own, other), rid, label + first + second)

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The result of a pure computation that is named by all its inputs."""
        return compute()


@dataclass(frozen=True, repr=False)
class SharedWork(Work):
    """Remembers results of one round, for many simulated devices in one process.

    Every result is what :class:`Work` would give: a signature is verified once instead
    of once a device, and of the two ends of a pair only one agrees.
    """

    _known: dict[Hashable, Any] = field(default_factory=dict)

    def verify(
        self, public: bytes, label: bytes, content: bytes, signature: bytes
    ) -> None:
        """As :meth:`Work.verify`; failures are not remembered."""
        key = (public, label, content, signature)
        if key not in self._known:
            super().verify(public, label, content, signature)
            self._known[key] = True

    def agree(self, own: KeyPair, other: bytes, rid: bytes, label: bytes) -> bytes:
        """As :meth:`Work.agree`."""
        pair = (min(own.public, other), max(own.public, other), rid, label)
        # the first of the two computes, the second takes: nothing piles up
        found = self._known.pop(pair, None)
        if found is None:
            found = self._known[pair] = super().agree(own, other, rid, label)
        return bytes(found)

    def once(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """As :meth:`Work.once`."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def begin(self, rid: bytes) -> None:
        """Forget everything, unless this is the round that is under way."""
        if self._known.get("rid") != rid:
            self._known.clear()
            self._known["rid"] = rid


def derive(secret: bytes, rid: bytes, label: bytes) -> bytes:
    """HKDF-SHA256 of ``secret`` with the round id as salt, 32 bytes."""
    return HKDF(
        algorithm=hashes.SHA256(), length=32, salt=rid, info=_LABEL + label
    ).derive(secret)


def seal(key: bytes, rid: bytes, dealer: int, holder: int, content: bytes) -> bytes:
    """AES-256-GCM under a key of this round and pair; the nonce names the direction."""
    nonce, where = _direction(rid, dealer, holder)
    return AESGCM(key).encrypt(nonce, content, where)


def unseal(key: bytes, rid: bytes, dealer: int, holder: int, sealed: bytes) -> bytes:
    """What :func:`seal` sealed.

    Raises:
        MessageError: The ciphertext was changed, or is of another round or direction.
    """
    nonce, where = _direction(rid, dealer, holder)
    try:
        return AESGCM(key).decrypt(nonce, sealed, where)
    except InvalidTag:
        raise MessageError(f"shares of device {dealer}: cannot be opened") from None


def check_order(public: bytes) -> None:
    """Refuse a point of low order, with which every agreement gives zero.

    Raises:
        MessageError: It is one, or no key at all.
    """
    _exchange(_ANY, public)


def _direction(rid: bytes, dealer: int, holder: int) -> tuple[bytes, bytes]:
    return struct.pack("<IQ", 1, dealer), rid + struct.pack("<QQ", dealer, holder)


def _exchange(own: KeyPair, other: bytes) -> bytes:
    try:
        return own.private.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:  # an all-zero secret: the point is of low order
        raise MessageError("a device's public key is of low order") from None


_ANY = KeyPair.from_seed(bytes(range(32)))  # whose scalar does not matter


def _text(label: bytes, content: bytes) -> bytes:
    return _LABEL + label + b"\0" + content
