"""Who may take part, and whose word that is."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.errors import MessageError
from fedpref.secagg import roster
from fedpref.secagg.crypto import ROSTER, Signer, Work
from fedpref.secagg.roster import Entry, Roster

AUTHORITY = Signer.from_seed(b"a" * 32)
SERVER = Signer.from_seed(b"s" * 32)
STRANGER = Signer.from_seed(b"x" * 32)
LISTED = Roster(
    (Entry(1, b"k" * 32, 5), Entry(4, b"l" * 32, 5), Entry(9, b"m" * 32, 6)), 2_000, 1
)


def check(data, now=1_000):
    return roster.verified(
        data,
        authority=AUTHORITY.public,
        server=SERVER.public,
        now=now,
        work=Work(),
    )


def test_there_and_back() -> None:
    data = roster.sign(LISTED, AUTHORITY)
    assert check(data) == LISTED
    assert check(data, now=1_999).digest == LISTED.digest
    assert data[:12] == (2_000).to_bytes(8, "little") + (1).to_bytes(4, "little")
    assert len(data) == 8 + 4 + 4 + 3 * 40 + 64


def test_expired() -> None:
    data = roster.sign(LISTED, AUTHORITY)
    with pytest.raises(MessageError, match="expired, expiry = 2000"):
        check(data, now=2_000)


def test_of_another_authority() -> None:
    with pytest.raises(MessageError, match="signature of roster"):
        check(roster.sign(LISTED, STRANGER))
    with pytest.raises(MessageError, match="signature of roster"):
        check(LISTED.content + AUTHORITY.sign(b"descriptor", LISTED.content))


def test_the_authority_is_not_the_server() -> None:
    data = roster.sign(LISTED, SERVER)
    with pytest.raises(MessageError, match="the authority's key is the server's"):
        roster.verified(
            data,
            authority=SERVER.public,
            server=SERVER.public,
            now=1_000,
            work=Work(),
        )


def test_every_flipped_bit_is_noticed(flip) -> None:
    data = roster.sign(LISTED, AUTHORITY)
    for bit in range(0, 8 * len(data), 11):
        with pytest.raises(MessageError):
            check(flip(data, bit))


@given(st.binary(max_size=200))
def test_no_bytes_crash_it_even_if_the_authority_signed_them(content) -> None:
    for data in (content, content + AUTHORITY.sign(ROSTER, content)):
        try:
            found = check(data)
        except MessageError:
            continue
        assert found.content == content


@pytest.mark.parametrize(
    ("entries", "needle"),
    [
        ((Entry(1, b"k" * 32, 5), Entry(1, b"l" * 32, 5)), "must rise"),
        ((Entry(2, b"k" * 32, 5), Entry(1, b"l" * 32, 5)), "must rise"),
        ((Entry(0, b"k" * 32, 5),), "must rise from 1"),
        ((Entry(1, b"k" * 32, 5), Entry(2, b"k" * 32, 5)), "key is listed twice"),
    ],
)
def test_nobody_is_listed_twice(entries, needle) -> None:
    with pytest.raises(MessageError, match=needle):
        check(roster.sign(replace(LISTED, entries=entries), AUTHORITY))


def test_too_many_members(monkeypatch) -> None:
    monkeypatch.setattr(roster, "_MOST_MEMBERS", 2)
    with pytest.raises(MessageError, match="3 members"):
        check(roster.sign(LISTED, AUTHORITY))


def test_cohorts() -> None:
    LISTED.check_cohort([1, 9])
    LISTED.check_cohort([])
    with pytest.raises(MessageError, match="organisation 5 has 2 members"):
        LISTED.check_cohort([1, 4, 9])
    with pytest.raises(MessageError, match="device 2 is not on the roster"):
        LISTED.check_cohort([1, 2])
    replace(LISTED, most=2).check_cohort([1, 4, 9])


def test_the_digest_covers_every_field() -> None:
    first = LISTED.entries[0]
    others = [
        replace(LISTED, expiry=2_001),
        replace(LISTED, most=2),
        replace(LISTED, entries=LISTED.entries[1:]),
        replace(LISTED, entries=(replace(first, organisation=6), *LISTED.entries[1:])),
        replace(LISTED, entries=(replace(first, key=b"z" * 32), *LISTED.entries[1:])),
    ]
    assert len({other.digest for other in (LISTED, *others)}) == 6
