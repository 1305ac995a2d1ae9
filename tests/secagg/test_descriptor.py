"""What one round is: every field is bound, and the numbers hold what they must."""

from dataclasses import fields, replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.errors import MessageError, PlanError
from fedpref.secagg import wire
from fedpref.secagg.descriptor import Descriptor, Terms, read_descriptor

GOOD = Terms(4, 5, 1, 10, 24)
ROUND = Descriptor(
    *(b"t" * 32, 3, b"m" * 32, b"p" * 32, b"r" * 32, b"s" * 32),
    *(17, b"h" * 32, 999, GOOD, (1, 2, 3, 5, 8, 13)),
)


def test_layout_is_as_documented() -> None:
    assert ROUND.content == b"".join(
        (
            b"t" * 32 + b"m" * 32 + b"p" * 32 + b"r" * 32 + b"s" * 32,
            (3).to_bytes(4, "little"),
            (17).to_bytes(8, "little"),
            b"h" * 32,
            (999).to_bytes(8, "little"),
            b"".join(number.to_bytes(4, "little") for number in (4, 5, 1, 10)),
            bytes([24]),
            bytes(4),
            b"".join(number.to_bytes(4, "little") for number in (6, 1, 2, 3, 5, 8, 13)),
        )
    )
    assert ROUND.rid == sha256(ROUND.content).digest()
    reader = wire.Reader(ROUND.content, 0, "DESCRIPTOR")
    assert read_descriptor(reader) == ROUND
    reader.end()


def test_every_field_changes_the_round_id() -> None:
    others = {ROUND.rid}
    for field in fields(Descriptor):
        value = getattr(ROUND, field.name)
        if isinstance(value, bytes):
            others.add(replace(ROUND, **{field.name: b"?" * 32}).rid)
        elif isinstance(value, int):
            others.add(replace(ROUND, **{field.name: value + 1}).rid)
    for field in fields(Terms):
        terms = replace(GOOD, **{field.name: getattr(GOOD, field.name) + 1})
        others.add(replace(ROUND, terms=terms).rid)
    others.add(replace(ROUND, cohort=(1, 2, 3, 5, 8, 14)).rid)
    assert len(others) == 1 + len(fields(Descriptor)) - 1 + len(fields(Terms))


def test_a_round_about_a_model() -> None:
    assert ROUND.for_model(b"bytes").model == wire.fingerprint(b"bytes")


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"threshold": 3}, "threshold = 3, must be >= 4 for 6 devices, 1 of them bad"),
        ({"colluders": 4}, "threshold = 4, must be > colluders = 4"),
        ({"colluders": 2}, "must be >= 5 for 6 devices, 2 of them bad"),
        ({"min_survivors": 3}, "min_survivors = 3, must be >= threshold = 4"),
        ({"min_survivors": 0}, "min_survivors = 0, must be >= 1"),
        ({"min_survivors": 7}, "must be >= 1 and <= 6"),
        ({"word_bits": 8}, "word_bits = 8"),
        ({"coordinates": 0}, "coordinates = 0"),
        ({"coordinates": 2**28 + 1}, "must be <= 2"),
        ({"neighbours": 6}, "neighbours = 6, must be < 6"),
        ({"neighbours": 5}, "threshold = 4, must be > neighbours = 5"),
    ],
)
def test_terms_that_cannot_hold(change, needle) -> None:
    terms = replace(GOOD, **change)
    with pytest.raises(PlanError, match=needle):
        terms.check(6)
    content = replace(ROUND, terms=terms).content
    with pytest.raises(MessageError, match=needle):
        read_descriptor(wire.Reader(content, 0, "DESCRIPTOR"))


def test_all_problems_come_at_once() -> None:
    with pytest.raises(PlanError, match=r"word_bits .*coordinates .*threshold"):
        Terms(1, 1, 1, 0, 8).check(4)


def test_too_many_for_the_complete_graph() -> None:
    with pytest.raises(PlanError, match="clients = 3001"):
        Terms(3000, 3000, 0, 1, 24).check(3001)
    Terms(2999, 3000, 0, 1, 24).check(3000)
    Terms(100, 3000, 0, 1, 24, neighbours=99).check(3001)


@given(*(st.integers(0, 9) for _ in range(4)))
def test_what_is_accepted_keeps_every_binding_inequality(t, least, bad, n) -> None:
    try:
        Terms(t, least, bad, 5, 24).check(n)
    except PlanError:
        assert not (2 * t > n + bad and t > bad and t <= least <= n and least >= 1)
    else:
        assert 2 * t > n + bad
        assert t > bad
        assert t <= least <= n


def test_a_round_number_of_zero() -> None:
    content = replace(ROUND, round=0).content
    with pytest.raises(MessageError, match="round = 0"):
        read_descriptor(wire.Reader(content, 0, "DESCRIPTOR"))
