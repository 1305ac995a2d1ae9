"""The cryptography of docs/protocol.md, a second time and plainly.

Hashes and HMAC are Python's; AES and Ed25519 are the library's. X25519 is there twice:
the library's, and ``ladder``, which is RFC 7748 in integers and is used where single
keys are derived. Imports nothing from the package under test.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from plain_bytes import Cursor, Refused, list_of, number

LABEL = b"fedpref/secagg/1/"
PRIME = 2**521 - 1
P25519 = 2**255 - 19


def sha256(data):
    return hashlib.sha256(data).digest()


def blake(data):
    return hashlib.blake2b(data, digest_size=32).digest()


# --- signatures -----------------------------------------------------------------------


def sign(seed, label, content):
    text = LABEL + label.encode() + b"\x00" + content
    return Ed25519PrivateKey.from_private_bytes(seed).sign(text)


def verify(key, label, content, signature):
    text = LABEL + label.encode() + b"\x00" + content
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        raise Refused("signature") from None


# --- agreement ------------------------------------------------------------------------


def public(seed):
    return X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def exchange(seed, other):
    try:
        private = X25519PrivateKey.from_private_bytes(seed)
        return private.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError:
        raise Refused("key") from None


def ladder(seed, other):
    """X25519 of RFC 7748, section 5, in integers."""
    scalar = bytearray(seed)
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    k = int.from_bytes(scalar, "little")
    u = (int.from_bytes(other, "little") & (2**255 - 1)) % P25519
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for place in range(254, -1, -1):
        bit = k >> place & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb = a * a, b * b
        e = aa - bb
        da, cb = d * a % P25519, c * b % P25519
        x3, z3 = (da + cb) ** 2 % P25519, u * (da - cb) ** 2 % P25519
        x2, z2 = aa * bb % P25519, e * (aa + 121665 * e) % P25519
    if swap:
        x2, x3, z2, z3 = x3, x2, z3, z2
    secret = x2 * pow(z2, P25519 - 2, P25519) % P25519
    if secret == 0:
        raise Refused("key")
    return secret.to_bytes(32, "little")


def agree(seed, other, rid, purpose, exchange=exchange):
    """The key of a pair for ``mask`` or ``enc``: HKDF-SHA256, one block of output."""
    first, second = sorted([public(seed), other])
    extracted = hmac.new(rid, exchange(seed, other), hashlib.sha256).digest()
    info = LABEL + purpose.encode() + first + second
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


# --- masks ----------------------------------------------------------------------------


def keystream(key, count, counter=0):
    """AES-256 in counter mode."""
    cipher = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(16, "big")))
    return cipher.encryptor().update(bytes(count))


def mask(key, coordinates):
    stream = keystream(key, 4 * coordinates)
    return [
        int.from_bytes(stream[4 * i : 4 * i + 4], "little") for i in range(coordinates)
    ]


def masked(values, add, subtract, word_bits):
    """Integers with masks on, modulo 2**word_bits."""
    total = list(values)
    for sign_, keys in ((1, add), (-1, subtract)):
        for key in keys:
            for place, word in enumerate(mask(key, len(total))):
                total[place] += sign_ * word
    return [value % 2**word_bits for value in total]


def pack(words, word_bits):
    return b"".join(number(word, word_bits // 8) for word in words)


def unpack(data, word_bits):
    cursor, found = Cursor(data), []
    while cursor.at < len(data):
        found.append(cursor.number(word_bits // 8))
    return found


def centred(words, word_bits):
    half = 2 ** (word_bits - 1)
    return [w - 2**word_bits if w >= half else w for w in words]


# --- sealing --------------------------------------------------------------------------


def seal(key, rid, dealer, holder, content):
    where = rid + number(dealer, 8) + number(holder, 8)
    return AESGCM(key).encrypt(number(1) + number(dealer, 8), content, where)


def unseal(key, rid, dealer, holder, sealed):
    where = rid + number(dealer, 8) + number(holder, 8)
    try:
        return AESGCM(key).decrypt(number(1) + number(dealer, 8), sealed, where)
    except InvalidTag:
        raise Refused("seal") from None


# --- shares ---------------------------------------------------------------------------


def point(holder):
    if not 1 <= holder < 2**32:
        raise Refused("holder")
    return (holder + 1) // 2 if holder % 2 else -(holder // 2)


def coefficients(key, secrets, threshold):
    """By secret, c_1 to c_{t-1}, drawn in turn for all secrets."""
    wanted, found, blocks = secrets * (threshold - 1), [], 0
    while len(found) < wanted:
        blocks += wanted + 1
        stream, found = keystream(key, 72 * blocks), []
        for place in range(blocks):
            value = int.from_bytes(stream[72 * place : 72 * place + 72], "little")
            if value % 2**521 != PRIME:
                found.append(value % 2**521)
    return [found[place:wanted:secrets] for place in range(secrets)]


def share(secret, factors, holder):
    total, power = int.from_bytes(secret, "little"), 1
    for factor in factors:
        power *= point(holder)
        total += factor * power
    return (total % PRIME).to_bytes(66, "little")


def weights(holders):
    """Lagrange at zero."""
    points = [point(holder) for holder in holders]
    if len(set(points)) != len(points):
        raise Refused("holder")
    found = []
    for mine in points:
        top, bottom = 1, 1
        for other in points:
            if other != mine:
                top = top * other % PRIME
                bottom = bottom * (other - mine) % PRIME
        found.append(top * pow(bottom, -1, PRIME) % PRIME)
    return found


def join(shares, threshold):
    """The secret behind ``{holder: share}``."""
    if threshold < 1 or len(shares) < threshold:
        raise Refused("few")
    holders = sorted(shares)[:threshold]
    values = []
    for holder in holders:
        value = int.from_bytes(shares[holder], "little")
        if len(shares[holder]) != 66 or value >= PRIME:
            raise Refused("field")
        values.append(value)
    total = 0
    for weight, value in zip(weights(holders), values, strict=True):
        total = (total + weight * value) % PRIME
    if total >= 2**256:
        raise Refused("secret")
    return total.to_bytes(32, "little")


# --- commitments ----------------------------------------------------------------------


def digest(rid, dealer, holder, place, content):
    where = number(dealer) + number(holder) + number(place, 1)
    return sha256(b"\x02" + rid + where + content)


def leaf(first, second):
    return sha256(b"\x00" + first + second)


def top(count, node):
    return sha256(b"\x03" + number(count) + node)


def tree(leaves):
    """The root, and for each leaf its siblings from the bottom to the top."""
    paths = [[] for _ in leaves]
    level = [(node, [place]) for place, node in enumerate(leaves)]
    while len(level) > 1:
        above = []
        for place in range(0, len(level) - 1, 2):
            (left, under_left), (right, under_right) = level[place : place + 2]
            for leaf_ in under_left:
                paths[leaf_].append(right)
            for leaf_ in under_right:
                paths[leaf_].append(left)
            node = sha256(b"\x01" + left + right)
            above.append((node, under_left + under_right))
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return top(len(leaves), level[0][0]), paths


def check_path(root, node, index, path, count):
    if not 0 <= index < count or any(len(p) != 32 for p in [node, *path]):
        raise Refused("path")
    left, width = list(path), count
    while width > 1:
        alone = width % 2 == 1 and index == width - 1
        if not alone:
            if not left:
                raise Refused("path")
            other = left.pop(0)
            pair = other + node if index % 2 else node + other
            node = sha256(b"\x01" + pair)
        index, width = index // 2, (width + 1) // 2
    if left or top(count, node) != root:
        raise Refused("path")


# --- ledger and roster ----------------------------------------------------------------


def follow(head, rows):
    for row in rows:
        head = sha256(head + row)
    return head


def read_roster(content):
    """Expiry, the most of one organisation, and ``{number: (key, organisation)}``."""
    cursor = Cursor(content)
    expiry, most = cursor.number(8), cursor.number()
    listed = cursor.list_of(lambda c: (c.number(), c.take(32), c.number()))
    cursor.end()
    numbers = [entry[0] for entry in listed]
    if numbers != sorted(set(numbers)) or 0 in numbers:
        raise Refused("bytes")
    if len({key for _, key, _ in listed}) != len(listed):
        raise Refused("repeated_key")
    return {
        "digest": sha256(content),
        "expiry": expiry,
        "most": most,
        "members": {device: (key, org) for device, key, org in listed},
    }


def verified_roster(data, authority, server, now):
    if authority == server:
        raise Refused("pinned")
    verify(authority, "roster", data[:-64], data[-64:])
    found = read_roster(data[:-64])
    if found["expiry"] <= now:
        raise Refused("expired")
    return found


def write_roster(expiry, most, listed):
    entries = [number(i) + key + number(org) for i, key, org in listed]
    return number(expiry, 8) + number(most) + list_of(entries)
