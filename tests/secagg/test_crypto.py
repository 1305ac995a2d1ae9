"""Keys, signatures and sealing: what is changed is refused."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedpref.errors import MessageError
from fedpref.secagg import crypto
from fedpref.secagg.crypto import (
    ENCRYPT,
    MASK,
    TOMBSTONE,
    VIEW,
    KeyPair,
    SharedWork,
    Signer,
    Work,
    check_order,
    seal,
    unseal,
)

RID, OTHER = bytes(32), b"r" * 32
ONE, TWO = KeyPair.from_seed(b"1" * 32), KeyPair.from_seed(b"2" * 32)
SIGNER = Signer.from_seed(b"s" * 32)
P = 2**255 - 19

LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (P - 1).to_bytes(32, "little"),
    P.to_bytes(32, "little"),
    (P + 1).to_bytes(32, "little"),
]


@pytest.mark.parametrize("work", [Work(), SharedWork()])
def test_two_ends_agree_on_one_key(work) -> None:
    """By hand: HKDF of the X25519 secret; label and both keys are in the info."""
    one, two = sorted((ONE.public, TWO.public))
    secret = ONE.private.exchange(X25519PublicKey.from_public_bytes(TWO.public))
    expected = HKDF(
        hashes.SHA256(), 32, RID, b"fedpref/secagg/1/mask" + one + two
    ).derive(secret)
    assert work.agree(ONE, TWO.public, RID, MASK) == expected
    assert work.agree(TWO, ONE.public, RID, MASK) == expected
    assert work.agree(TWO, ONE.public, RID, MASK) == expected


def test_keys_differ_by_round_and_purpose() -> None:
    keys = {
        Work().agree(ONE, TWO.public, rid, label)
        for rid in (RID, OTHER)
        for label in (MASK, ENCRYPT)
    }
    assert len(keys) == 4


@pytest.mark.parametrize("public", LOW_ORDER)
def test_points_of_low_order_are_refused(public) -> None:
    with pytest.raises(MessageError, match="low order"):
        Work().agree(ONE, public, RID, MASK)
    with pytest.raises(MessageError, match="low order"):
        check_order(public)


def test_a_good_key_passes() -> None:
    check_order(ONE.public)


def times(point, scalar):
    """Affine points of Curve25519, v**2 = u**3 + 486662 u**2 + u; None is zero."""
    total = None
    for bit in bin(scalar)[2:]:
        total = plus(total, total)
        if bit == "1":
            total = plus(total, point)
    return total


def plus(a, b):
    if a is None or b is None:
        return a or b
    (u, v), (x, y) = a, b
    if u == x:
        if (v + y) % P == 0:
            return None
        slope = (3 * u * u + 2 * 486662 * u + 1) * pow(2 * v, -1, P)
    else:
        slope = (y - v) * pow(x - u, -1, P)
    w = (slope * slope - 486662 - u - x) % P
    return w, (slope * (u - w) - v) % P


def lifted(u):
    square = (u**3 + 486662 * u * u + u) % P
    root = pow(square, (P + 3) // 8, P)
    if root * root % P != square:
        root = root * pow(2, (P - 1) // 4, P) % P
    assert root * root % P == square
    return u, root


def twins(public):
    """Other bytes with which everybody gets the same X25519 secret."""
    found = [bytes([*public[:31], public[31] | 128])]  # the top bit is not read
    low = lifted(int.from_bytes(LOW_ORDER[2], "little"))  # of order 8
    point = lifted(int.from_bytes(public, "little"))
    for times_low in range(1, 8):
        u, _ = plus(point, times(low, times_low))
        found.append(u.to_bytes(32, "little"))
    return found


def test_a_copied_key_does_not_give_the_same_masks() -> None:
    """Else a bad device could cancel the masks between two honest ones."""
    secret = ONE.private.exchange(X25519PublicKey.from_public_bytes(TWO.public))
    keys = {Work().agree(ONE, TWO.public, RID, MASK)}
    for twin in twins(TWO.public):
        assert twin != TWO.public
        theirs = X25519PublicKey.from_public_bytes(twin)
        assert ONE.private.exchange(theirs) == secret  # the attack would work
        keys.add(Work().agree(ONE, twin, RID, MASK))
    assert len(keys) == 9


def test_sealed_content_opens_for_its_round_pair_and_direction_only() -> None:
    key = Work().agree(ONE, TWO.public, RID, ENCRYPT)
    sealed = seal(key, RID, 1, 2, b"content")
    assert unseal(key, RID, 1, 2, sealed) == b"content"
    wrong = [
        (key, OTHER, 1, 2, sealed),
        (key, RID, 2, 1, sealed),
        (key, RID, 1, 3, sealed),
        (bytes(32), RID, 1, 2, sealed),
        (key, RID, 1, 2, sealed[:-1]),
        (key, RID, 1, 2, sealed[:-1] + bytes([sealed[-1] ^ 1])),
        (key, RID, 1, 2, bytes([sealed[0] ^ 1]) + sealed[1:]),
    ]
    for arguments in wrong:
        with pytest.raises(MessageError, match="shares of device"):
            unseal(*arguments)


def test_directions_have_nonces_of_their_own() -> None:
    """One key serves both directions of a pair, so a nonce must not serve twice."""
    nonces = {crypto._direction(RID, dealer, 9)[0] for dealer in range(1, 100)}
    assert len(nonces) == 99
    assert {len(nonce) for nonce in nonces} == {12}


@pytest.mark.parametrize("work", [Work(), SharedWork()])
def test_signatures(work, flip) -> None:
    signature = SIGNER.sign(VIEW, b"text")
    for _ in range(2):
        work.verify(SIGNER.public, VIEW, b"text", signature)
    stranger = Signer.from_seed(b"t" * 32).public
    for arguments in [
        (SIGNER.public, TOMBSTONE, b"text", signature),
        (SIGNER.public, VIEW, b"texts", signature),
        (SIGNER.public, VIEW, b"text", signature[:-1]),
        (SIGNER.public, VIEW, b"text", b""),
        (stranger, VIEW, b"text", signature),
        (b"short", VIEW, b"text", signature),
        *((SIGNER.public, VIEW, b"text", flip(signature, i)) for i in range(0, 512, 7)),
    ]:
        with pytest.raises(MessageError, match="is not valid"):
            work.verify(*arguments)


def test_no_label_can_be_taken_for_another() -> None:
    labels = [
        *(crypto.ROSTER, crypto.DESCRIPTOR, crypto.ADVERT, crypto.SHARES),
        *(crypto.UPLOAD, crypto.VIEW, crypto.REVEAL, crypto.TOMBSTONE),
    ]
    assert len(set(labels)) == 8
    assert not any(b"\0" in label for label in labels)


def test_shared_work_computes_once_and_forgets() -> None:
    work, calls = SharedWork(), []
    for _ in range(3):
        assert work.once(b"name", lambda: calls.append(1) or 7) == 7
    assert len(calls) == 1
    work.begin(b"another round")
    work.once(b"name", lambda: calls.append(1) or 7)
    assert len(calls) == 2
    plain = Work()
    for _ in range(2):
        plain.once(b"name", lambda: calls.append(1))
    assert len(calls) == 4


def test_shared_work_does_not_remember_failures() -> None:
    work = SharedWork()

    def fails():
        raise MessageError("no")

    for _ in range(2):
        with pytest.raises(MessageError):
            work.once(b"name", fails)


def test_keys_do_not_print() -> None:
    for shown, seed in ((repr(ONE), b"1"), (repr(SIGNER), b"s")):
        assert seed.decode() * 8 not in shown
        assert "private" not in shown
    private = X25519PrivateKey.from_private_bytes(b"1" * 32)
    assert ONE.seed == b"1" * 32 == private.private_bytes_raw()
