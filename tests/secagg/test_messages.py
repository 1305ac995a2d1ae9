import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.errors import MessageError
from fedpref.secagg.messages import (
    Contribution,
    Invitation,
    decode_contribution,
    decode_invitation,
    encode_contribution,
    encode_invitation,
)

PLAN = bytes(range(32))
KNOWN = {"plan": PLAN, "coordinates": 3}
INVITATION = encode_invitation(Invitation(7, PLAN, np.array([0.5, -1.0, 2.0])))
CONTRIBUTION = encode_contribution(Contribution(7, PLAN, np.array([1, -2, 2**40])))


def test_layout_is_as_documented() -> None:
    assert INVITATION[:4] == b"FP\x01\x01"
    assert INVITATION[4:8] == (7).to_bytes(4, "little")
    assert INVITATION[8:40] == PLAN
    assert INVITATION[40:44] == (3).to_bytes(4, "little")
    assert INVITATION[44:] == np.array([0.5, -1.0, 2.0], "<f8").tobytes()
    assert CONTRIBUTION[:4] == b"FP\x01\x02"
    assert CONTRIBUTION[44:] == np.array([1, -2, 2**40], "<i8").tobytes()


def test_what_was_encoded_is_decoded() -> None:
    invitation = decode_invitation(INVITATION, **KNOWN)
    assert invitation.round == 7
    assert invitation.model.tolist() == [0.5, -1.0, 2.0]
    contribution = decode_contribution(CONTRIBUTION, **KNOWN)
    assert contribution.round == 7
    assert contribution.update.tolist() == [1, -2, 2**40]


def changed(offset: int, value: bytes) -> bytes:
    return INVITATION[:offset] + value + INVITATION[offset + len(value) :]


@pytest.mark.parametrize(
    ("data", "needle"),
    [
        (b"", "0 bytes, must be 68"),
        (INVITATION[:-1], "67 bytes"),
        (INVITATION + b"\0", "69 bytes"),
        (changed(0, b"XX"), "not a fedpref message"),
        (changed(2, b"\x02"), "not a fedpref message of version 1"),
        (CONTRIBUTION, "kind = 2, must be 1"),
        (changed(4, bytes(4)), "round = 0"),
        (changed(8, b"\xff"), "another privacy plan"),
        (changed(40, b"\x04"), "coordinates = 4"),
        (changed(44, np.array([np.nan], "<f8").tobytes()), "not finite"),
        (changed(44, np.array([np.inf], "<f8").tobytes()), "not finite"),
    ],
)
def test_refuses(data, needle) -> None:
    with pytest.raises(MessageError, match=needle):
        decode_invitation(data, **KNOWN)


@given(st.binary(max_size=80))
def test_no_bytes_do_anything_but_decode_or_be_refused(data) -> None:
    for decode in (decode_invitation, decode_contribution):
        try:
            decode(data, **KNOWN)
        except MessageError:
            continue


@given(st.integers(0, len(INVITATION) * 8 - 1))
def test_a_flipped_bit_of_the_header_never_passes_unseen(bit) -> None:
    data = bytearray(INVITATION)
    data[bit // 8] ^= 1 << (bit % 8)
    try:
        seen = decode_invitation(bytes(data), **KNOWN)
    except MessageError:
        return
    assert encode_invitation(seen) == bytes(data)


def test_contents_do_not_print() -> None:
    shown = repr(decode_contribution(CONTRIBUTION, **KNOWN))
    assert str(2**40) not in shown
