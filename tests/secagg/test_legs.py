"""Every message: there and back, and nothing but that."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.errors import MessageError
from fedpref.secagg import legs, wire
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.wire import Kind

RID = bytes(range(32))
SIZE = 12


def byte(count):
    return st.binary(min_size=count, max_size=count)


def rising(least=0, most=6):
    numbers = st.integers(1, 2**32 - 1)
    return st.sets(numbers, min_size=least, max_size=most).map(
        lambda found: tuple(sorted(found))
    )


def lists(entry, most=4):
    return st.lists(entry, max_size=most).map(tuple)


def by_number(value):
    numbers = st.integers(1, 2**32 - 1)
    return st.dictionaries(numbers, value, max_size=4).map(
        lambda found: tuple(sorted(found.items()))
    )


@st.composite
def openings(draw):
    cohort = draw(rising(3))
    least = (len(cohort) + 1) // 2 + 1
    t = draw(st.integers(least, max(least, len(cohort))))
    terms = Terms(t, max(t, len(cohort)), 0, draw(st.integers(1, 3)), 24)
    if terms.min_survivors > len(cohort):
        terms = Terms(len(cohort), len(cohort), 0, terms.coordinates, 24)
    descriptor = Descriptor(
        *(draw(byte(32)), draw(st.integers(1, 2**32 - 1))),
        *(draw(byte(32)), draw(byte(32)), draw(byte(32)), draw(byte(32))),
        *(draw(st.integers(0, 2**64 - 1)), draw(byte(32))),
        *(draw(st.integers(0, 2**64 - 1)), terms, cohort),
    )
    model = draw(byte(8 * terms.coordinates))
    since = draw(st.integers(0, 2**64 - 1))
    return legs.Opening(descriptor, draw(byte(64)), model, since, draw(lists(byte(32))))


NUMBER = st.integers(0, 2**32 - 1)
ADVERT = st.builds(legs.Advert, NUMBER, *(byte(32),) * 3, byte(96), rising(), byte(64))
ADVERTS = st.dictionaries(NUMBER, ADVERT, max_size=3).map(
    lambda found: tuple(
        replace(advert, id=who) for who, advert in sorted(found.items())
    )
)
DEALING = st.builds(
    legs.Dealing,
    *(byte(32), byte(64), lists(st.tuples(byte(32), byte(32)))),
    lists(byte(legs.SEALED)),
)
PARCELS = by_number(
    st.tuples(byte(32), byte(64), byte(legs.SEALED), lists(byte(32)))
).map(lambda found: tuple(legs.Parcel(who, *rest) for who, rest in found))
DELIVERY = st.tuples(rising(), PARCELS)
UPLOAD = st.builds(legs.Upload, byte(32), rising(), byte(SIZE), byte(64))
VIEW = st.builds(legs.View, byte(32), byte(32), rising())
AGREEMENTS = st.builds(legs.Agreements, VIEW, by_number(byte(64)))
REVEAL = st.builds(legs.Reveal, by_number(byte(legs.SHARE)), byte(64))

MESSAGES = {
    Kind.DESCRIPTOR: (openings(), lambda m: m.encode(), legs.Opening.decode),
    Kind.ADVERT: (
        ADVERT,
        lambda m: m.encode(RID),
        lambda data: legs.decode_advert(data, RID),
    ),
    Kind.ADVERTS: (
        ADVERTS,
        lambda m: legs.encode_adverts(RID, m),
        lambda data: legs.decode_adverts(data, RID),
    ),
    Kind.SHARES: (
        DEALING,
        lambda m: m.encode(RID),
        lambda data: legs.decode_dealing(data, RID),
    ),
    Kind.DELIVERY: (
        DELIVERY,
        lambda m: legs.encode_delivery(RID, wire.ids(m[0]), m[1]),
        lambda data: legs.decode_delivery(data, RID),
    ),
    Kind.UPLOAD: (
        UPLOAD,
        lambda m: m.encode(RID),
        lambda data: legs.decode_upload(data, RID, size=SIZE),
    ),
    Kind.SURVIVORS: (
        rising(),
        lambda m: legs.encode_survivors(RID, m),
        lambda data: legs.decode_survivors(data, RID),
    ),
    Kind.AGREEMENT: (
        byte(64),
        lambda m: legs.encode_agreement(RID, m),
        lambda data: legs.decode_agreement(data, RID),
    ),
    Kind.AGREEMENTS: (
        AGREEMENTS,
        lambda m: m.encode(RID),
        lambda data: legs.decode_agreements(data, RID),
    ),
    Kind.REVEAL: (
        REVEAL,
        lambda m: m.encode(RID),
        lambda data: legs.decode_reveal(data, RID),
    ),
    Kind.TOMBSTONES: (
        by_number(byte(64)),
        lambda m: legs.encode_tombstones(RID, m),
        lambda data: legs.decode_tombstones(data, RID),
    ),
}


def test_every_kind_is_here() -> None:
    assert set(MESSAGES) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
@given(data=st.data())
@settings(max_examples=40)
def test_what_was_encoded_is_decoded(kind, data) -> None:
    values, encode, decode = MESSAGES[kind]
    value = data.draw(values)
    encoded = encode(value)
    assert wire.kind_of(encoded) is kind
    assert decode(encoded) == value


@pytest.mark.parametrize("kind", Kind)
@given(data=st.data())
@settings(max_examples=80)
def test_a_changed_message_is_refused_or_is_another_message(kind, data) -> None:
    """Bits turned, pieces cut out or put in: what decodes is its own one byte form."""
    values, encode, decode = MESSAGES[kind]
    bent = bytearray(encode(data.draw(values)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(bent)))
        removed = data.draw(st.integers(0, 8))
        bent[place : place + removed] = data.draw(st.binary(max_size=8))
    try:
        value = decode(bytes(bent))
    except MessageError:
        return
    assert encode(value) == bytes(bent)


@pytest.mark.parametrize("kind", Kind)
@given(tail=st.binary(max_size=300))
def test_no_bytes_do_anything_but_decode_or_be_refused(kind, tail) -> None:
    _, encode, decode = MESSAGES[kind]
    for data in (tail, wire.message(kind, RID, tail)):
        try:
            value = decode(data)
        except MessageError:
            continue
        assert encode(value) == data


@cache
def example(kind):
    found = []

    @given(MESSAGES[kind][0])
    @settings(max_examples=1, database=None)
    def draw(value):
        found.append(value)

    draw()
    return MESSAGES[kind][1](found[0])


@pytest.mark.parametrize("kind", Kind)
def test_neither_too_short_nor_too_long(kind) -> None:
    data, decode = example(kind), MESSAGES[kind][2]
    for cut in range(len(data)):
        with pytest.raises(MessageError):
            decode(data[:cut])
    with pytest.raises(MessageError, match=r"bytes too many|does not fit|too few"):
        decode(data + b"\0")


@pytest.mark.parametrize("kind", Kind)
def test_of_another_kind_round_or_version(kind) -> None:
    data, decode = example(kind), MESSAGES[kind][2]
    other = Kind.ADVERT if kind is not Kind.ADVERT else Kind.UPLOAD
    with pytest.raises(MessageError, match=f"kind = {other.name}"):
        decode(data[:3] + bytes([other]) + data[4:])
    with pytest.raises(MessageError, match="kind = 99 is unknown"):
        decode(data[:3] + bytes([99]) + data[4:])
    with pytest.raises(MessageError, match="version 1"):
        decode(data[:2] + b"\2" + data[3:])
    with pytest.raises(MessageError, match="not a fedpref message"):
        decode(b"XX" + data[2:])
    with pytest.raises(MessageError, match=r"another round|not that of its content"):
        decode(data[:4] + bytes(32) + data[36:])


@pytest.mark.parametrize(
    ("kind", "needle"),
    [
        (Kind.ADVERTS, "does not fit"),
        (Kind.SHARES, "too few"),
        (Kind.DELIVERY, "too few"),
        (Kind.SURVIVORS, "too few"),
        (Kind.REVEAL, "does not fit"),
        (Kind.TOMBSTONES, "does not fit"),
    ],
)
def test_a_huge_list_is_refused_before_it_is_made(kind, needle) -> None:
    data = wire.message(kind, RID, b"\xff" * 4 + bytes(40))
    with pytest.raises(MessageError, match=needle):
        MESSAGES[kind][2](data)


@pytest.mark.parametrize("numbers", [(2, 2), (3, 1)])
def test_lists_that_do_not_rise_are_refused(numbers) -> None:
    signatures = tuple((who, bytes(64)) for who in numbers)
    view = legs.View(bytes(32), bytes(32), (1,))
    shares = tuple((who, bytes(66)) for who in numbers)
    adverts = [
        legs.Advert(who, *(bytes(32),) * 3, bytes(96), (), bytes(64)) for who in numbers
    ]
    parcels = [legs.Parcel(who, RID, bytes(64), bytes(148), ()) for who in numbers]
    for kind, data in (
        (Kind.ADVERTS, legs.encode_adverts(RID, adverts)),
        (Kind.DELIVERY, legs.encode_delivery(RID, wire.ids(numbers), [])),
        (Kind.DELIVERY, legs.encode_delivery(RID, wire.ids([1]), parcels)),
        (Kind.UPLOAD, legs.Upload(RID, numbers, bytes(12)).encode(RID)),
        (Kind.SURVIVORS, legs.encode_survivors(RID, numbers)),
        (Kind.AGREEMENTS, legs.Agreements(view, signatures).encode(RID)),
        (Kind.REVEAL, legs.Reveal(shares, bytes(64)).encode(RID)),
        (Kind.TOMBSTONES, legs.encode_tombstones(RID, signatures)),
    ):
        with pytest.raises(MessageError, match="must rise"):
            MESSAGES[kind][2](data)


def test_device_numbers_start_at_one() -> None:
    with pytest.raises(MessageError, match="start at 1"):
        legs.decode_survivors(legs.encode_survivors(RID, (0, 1)), RID)


def test_layouts_are_as_documented() -> None:
    """docs/protocol.md, by offsets."""
    assert example(Kind.SURVIVORS)[:4] == b"FP\x01\x16"
    assert legs.encode_survivors(RID, (1, 258)) == (
        b"FP\x01\x16" + RID + bytes([2, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0])
    )
    advert = legs.Advert(7, b"e" * 32, b"m" * 32, b"c" * 32, b"t" * 96, (9,), b"s" * 64)
    assert (
        advert.encode(RID)[36:]
        == (bytes([7, 0, 0, 0]) + b"e" * 32 + b"m" * 32 + b"c" * 32 + b"t" * 96)
        + bytes([1, 0, 0, 0, 9, 0, 0, 0])
        + b"s" * 64
    )
    upload = legs.Upload(b"d" * 32, (3,), b"w" * 12, b"s" * 64)
    listed = bytes([1, 0, 0, 0, 3, 0, 0, 0])
    assert upload.encode(RID)[36:] == (b"d" * 32 + listed + b"s" * 64 + b"w" * 12)
    reveal = legs.Reveal(((3, b"x" * 66),), b"s" * 64)
    assert reveal.encode(RID)[36:] == (
        bytes([1, 0, 0, 0, 3, 0, 0, 0]) + b"x" * 66 + b"s" * 64
    )
    dealing = legs.Dealing(b"r" * 32, b"s" * 64, ((b"a" * 32, b"b" * 32),), ())
    assert dealing.encode(RID)[36:] == (
        b"r" * 32 + b"s" * 64 + bytes([1, 0, 0, 0]) + b"a" * 32 + b"b" * 32 + bytes(4)
    )
    parcel = legs.Parcel(2, b"r" * 32, b"s" * 64, b"z" * 148, (b"p" * 32,))
    assert legs.encode_delivery(RID, wire.ids([2]), [parcel])[36:] == (
        bytes([1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])
        + (b"r" * 32 + b"s" * 64 + b"z" * 148 + b"\1" + b"p" * 32)
    )


def test_shares_and_vectors_do_not_print() -> None:
    for shown in (
        repr(legs.Upload(b"d" * 32, (), b"w" * 12, b"s" * 64)),
        repr(legs.Reveal(((3, b"x" * 66),))),
        repr(legs.Parcel(2, b"r" * 32, b"s" * 64, b"z" * 148, ())),
        repr(legs.Dealing(b"r" * 32, b"s" * 64, (), (b"z" * 148,))),
    ):
        assert not any(text in shown for text in ("www", "xxx", "zzz"))
