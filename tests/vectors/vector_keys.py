"""Vectors of keys and masks."""

from vector_case import Case, refused
from vector_cohort import made

from fedpref.secagg.crypto import KeyPair

RID = made("rid")
P25519, P521 = 2**255 - 19, 2**521 - 1


def cases():
    yield from agreements()
    yield from masks()


# --- keys -----------------------------------------------------------------------------


def agree(name, what, origin, other, purpose="mask", own=None, expect=None, rid=RID):
    given = {
        "own": (own or made("own")).hex(),
        "other": other.hex(),
        "rid": rid.hex(),
        "purpose": purpose,
    }
    return Case(f"keys/{name}", "agree", what, origin, given, expect or {})


def agreements():
    other = KeyPair.from_seed(made("other")).public
    top = other[:31] + bytes([other[31] | 128])
    page = "docs/protocol.md, Flow: m_ij and e_ij"
    copied = "docs/protocol.md, Copied keys: a bad device shows an honest point again"
    rfc = "secret of RFC 7748, section 5.2, test vector "
    yield agree("mask", "The key of a mask", page, other)
    yield agree("enc", "The key that shares are sealed under", page, other, "enc")
    yield agree("other_round", "Another round: another key", page, other, rid=made("2"))
    yield agree(
        "rfc7748_first",
        "X25519 by a published vector, then HKDF",
        rfc + "1",
        bytes.fromhex(
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"
        ),
        own=bytes.fromhex(
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"
        ),
    )
    yield agree(
        "rfc7748_second",
        "X25519 by a published vector whose point has its top bit set, then HKDF",
        rfc + "2",
        bytes.fromhex(
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"
        ),
        own=bytes.fromhex(
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"
        ),
    )
    yield agree(
        "copied_top_bit",
        "The point of keys/mask.json in other bytes: the same X25519 secret, not the "
        "same key, or the masks of the two would cancel",
        copied,
        top,
    )
    yield agree(
        "copied_plus_p",
        "The base point as 9 + p: accepted, and its key is of its own bytes",
        copied,
        (P25519 + 9).to_bytes(32, "little"),
    )
    eighth = (
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    )
    low = {
        "zero": 0,
        "one": 1,
        "minus_one": P25519 - 1,
        "p": P25519,
        "p_plus_one": P25519 + 1,
        "order_eight": eighth[0],
        "order_eight_other": eighth[1],
        "zero_top_bit": 1 << 255,
    }
    for name, value in low.items():
        yield agree(
            f"bad_low_order_{name}",
            "A point of low order, with which every secret is zero",
            "docs/protocol.md, leg 1 check 6 and leg 2 check 4; RFC 7748, section 6.1",
            value.to_bytes(32, "little"),
            "enc" if name in ("zero", "p") else "mask",
            expect=refused("key", "of low order"),
        )


# --- masks ----------------------------------------------------------------------------


def masks():
    keys = [made("mask", i).hex() for i in range(4)]
    values = [0, 1, -1, 2**15 - 1, -(2**15), 12345, -12345]
    for bits in (16, 24, 32):
        given = {"add": keys[:2], "subtract": keys[2:], "values": values}
        yield Case(
            f"masks/words_{bits}",
            "mask",
            f"Two masks added and two subtracted, words of {bits} bits",
            "docs/protocol.md, Flow: y_i; docs/guarantees/mask.md",
            given | {"word_bits": bits},
        )
    yield Case(
        "masks/cancel",
        "mask",
        "What one device adds and another one subtracts cancels",
        "docs/guarantees/mask.md, postcondition 1",
        {"add": keys, "subtract": keys[::-1], "values": values, "word_bits": 24},
        {"centred": values},
    )
    yield Case(
        "masks/nist_zero_counter",
        "mask",
        "The first block of a mask is AES-256 of a block of zeros",
        "NIST AESAVS, KeySbox known answer test for 256 bits, first key: ciphertext "
        "46f2fb342d6f0ab477476fc501242c5f",
        {
            "add": ["c47b0294dbbbee0fec4757f22ffeee3587ca4730c3d33b691df38bab076bc558"],
            "subtract": [],
            "values": [0, 0, 0, 0],
            "word_bits": 32,
        },
        {"packed": "46f2fb342d6f0ab477476fc501242c5f"},
    )
    yield Case(
        "masks/nist_ctr",
        "keystream",
        "AES-256 in counter mode, four blocks. The package always begins at counter 0",
        "NIST SP 800-38A, F.5.5 CTR-AES256.Encrypt",
        {
            "key": "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "counter": "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "plaintext": "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8"
            "e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
        },
        {
            "ciphertext": "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990caca"
            "f5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
        },
        ("plain",),
    )
