"""Leg 0: the invitations that a device turns down, each for its own reason."""

from dataclasses import replace
from fractions import Fraction
from hashlib import sha256

import numpy as np
import pytest

from fedpref.core.device import DeviceBook
from fedpref.errors import BudgetError, IntegrityError, MessageError
from fedpref.secagg import server
from fedpref.secagg.admission import follow
from fedpref.secagg.crypto import Signer
from fedpref.secagg.descriptor import Terms
from fedpref.secagg.legs import Opening
from fedpref.secagg.member import Device

STRANGER = Signer.from_seed(b"x" * 32)


def invite(cohort, /, since=0, rows=(), signer=None, model=None, **change):
    _, requests = server.invite(
        cohort.descriptor(**change),
        cohort.roster,
        cohort.model_bytes if model is None else model,
        signer=signer or cohort.server,
        since=since,
        row_hashes=tuple(rows),
    )
    return requests[min(requests)]


def test_a_good_invitation_is_accepted(make_cohort) -> None:
    cohort = make_cohort(4)
    cohort.accepts(1, invite(cohort))
    assert cohort.devices[1].book.last == 1
    assert cohort.devices[1].book.charged == 0


def test_what_the_owner_did_not_agree_to(make_cohort) -> None:
    cohort = make_cohort(4)
    for name in ("task", "plan", "roster", "server"):
        request = invite(cohort, **{name: b"?" * 32})
        cohort.refuses(1, request, f"{name} is not the one agreed to", MessageError)


def test_not_signed_by_the_pinned_server(make_cohort) -> None:
    cohort = make_cohort(4)
    cohort.refuses(1, invite(cohort, signer=STRANGER), "signature of descriptor")


def test_every_flipped_bit_is_refused(make_cohort, flip) -> None:
    cohort = make_cohort(3)
    request = invite(cohort, rows=(), since=0)
    for bit in range(0, 8 * len(request), 5):
        cohort.refuses(1, flip(request, bit), ".", IntegrityError)


def test_another_model_than_the_descriptor_names(make_cohort) -> None:
    cohort = make_cohort(4)
    other = np.ones(cohort.coordinates).astype("<f8").tobytes()
    cohort.refuses(1, invite(cohort, model=other), "model is not the one agreed to")
    cohort.refuses(1, invite(cohort, model=other + bytes(8)), "MB|bytes|list")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_that_is_not_finite(make_cohort, value) -> None:
    cohort = make_cohort(4)
    cohort.model[2] = value
    cohort.refuses(1, invite(cohort), "model is not finite")


def test_expired(make_cohort) -> None:
    cohort = make_cohort(4)
    cohort.refuses(1, invite(cohort, expiry=1_000), "expired, expiry = 1000")
    cohort.refuses(1, invite(cohort), "expired", now=2_000)
    cohort.roster = replace(cohort.roster, expiry=1_000)
    cohort.refuses(1, invite(cohort), "expired")


def test_a_round_number_that_was_seen(make_cohort) -> None:
    cohort = make_cohort(4)
    cohort.accepts(1, invite(cohort, round_=5))
    for number in (5, 4, 1):
        request = invite(cohort, round_=number, expiry=1_999)
        cohort.refuses(1, request, f"DESCRIPTOR: round = {number}, must be > 5")


def test_not_in_the_cohort(make_cohort) -> None:
    cohort = make_cohort(7)
    request = invite(cohort, cohort=(1, 2, 3, 4, 5, 6))
    cohort.refuses(7, request, "not in the cohort")


def test_strangers_and_crowds_in_the_cohort(make_cohort) -> None:
    cohort = make_cohort(6)
    request = invite(cohort, cohort=(1, 2, 3, 4, 5, 6, 99))
    cohort.refuses(1, request, "device 99 is not on the roster")
    entries = tuple(replace(e, organisation=e.id % 2) for e in cohort.roster.entries)
    cohort.roster = replace(cohort.roster, entries=entries, most=2)
    cohort.refuses(1, invite(cohort), "organisation . has 3 members")
    cohort.roster = replace(cohort.roster, most=3)
    cohort.accepts(1, invite(cohort))


@pytest.mark.parametrize(
    ("terms", "needle"),
    [
        (Terms(7, 7, 1, 5, 24), "colluders = 1, must be >= 2"),
        (Terms(7, 7, 2, 5, 24), "min_survivors = 7, must be >= 8"),
        (Terms(8, 8, 3, 5, 24), "min_survivors - colluders = 5, must be >= 6"),
        (Terms(7, 8, 2, 6, 24), "coordinates, word_bits, neighbours = 6, 24, 0"),
        (Terms(7, 8, 2, 5, 16), "= 5, 16, 0, must be 5, 24, 0"),
        (Terms(7, 8, 2, 5, 24, 3), "= 5, 24, 3, must be 5, 24, 0"),
        (Terms(1, 8, 0, 5, 24), "threshold = 1, must be >= 6 for 10 devices"),
    ],
)
def test_terms_below_the_devices_floor(make_cohort, terms, needle) -> None:
    cohort = make_cohort(10, colluders=2, t=7, min_survivors=8)
    cohort.accepts(2, invite(cohort))
    cohort.model = np.zeros(terms.coordinates)
    cohort.refuses(1, invite(cohort, terms=terms), needle)


def test_a_shrunken_cohort(make_cohort) -> None:
    """The floor is a number of people, whatever the cohort is."""
    cohort = make_cohort(10, t=8, min_survivors=8)
    small = invite(cohort, cohort=(1, 2, 3), terms=Terms(3, 3, 0, 5, 24))
    cohort.refuses(1, small, "min_survivors = 3, must be >= 8")


def test_colluders_are_a_share_of_the_cohort_rounded_up(make_cohort) -> None:
    cohort = make_cohort(10, colluders=2, t=7, min_survivors=8)
    limits = replace(cohort.member(1).limits(1), colluders=Fraction(21, 100))
    member = cohort.member(1, limits=lambda round_: limits)
    cohort.refuses(1, invite(cohort), "colluders = 2, must be >= 3", member=member)


ROWS = [sha256(bytes([i])).digest() for i in range(6)]


def head(count):
    return follow(bytes(32), ROWS[:count])


def test_the_chain_by_hand() -> None:
    one = sha256(bytes(32) + ROWS[0]).digest()
    assert head(1) == one
    assert head(2) == sha256(one + ROWS[1]).digest()


def at(cohort, seq):
    cohort.devices[1] = Device(DeviceBook(9), seq, head(seq))
    return cohort


@pytest.mark.parametrize("seq", [0, 3, 6])
@pytest.mark.parametrize("since", [0, 3])
def test_a_ledger_that_extends_what_was_seen(make_cohort, seq, since) -> None:
    cohort = at(make_cohort(4), seq)
    rows = ROWS[since:6]
    request = invite(cohort, since, rows, ledger_seq=6, ledger_head=head(6))
    if since > seq:
        cohort.refuses(1, request, "must reach from 0 to 6")
    else:
        cohort.accepts(1, request)
        device = cohort.devices[1]
        assert (device.ledger_seq, device.ledger_head) == (6, head(6))


def test_a_ledger_that_does_not(make_cohort) -> None:
    cohort = at(make_cohort(4), 4)
    other = [*ROWS[:3], b"?" * 32, *ROWS[4:]]
    forked = follow(bytes(32), other)
    cases = [
        # rolled back, with all its rows and with none
        (invite(cohort, 0, ROWS[:3], ledger_seq=3, ledger_head=head(3)), "extend"),
        (invite(cohort, 3, [], ledger_seq=3, ledger_head=head(3)), "extend"),
        # rolled back, under the head that the device knows
        (invite(cohort, 3, [], ledger_seq=3, ledger_head=head(4)), "extend"),
        # another row in the past, shown or not
        (invite(cohort, 0, other, ledger_seq=6, ledger_head=forked), "extend"),
        (invite(cohort, 4, other[4:], ledger_seq=6, ledger_head=forked), "extend"),
        # fewer or more rows than the number says, or none
        (invite(cohort, 4, ROWS[4:5], ledger_seq=6, ledger_head=head(6)), "reach"),
        (invite(cohort, 4, [], ledger_seq=6, ledger_head=head(6)), "must reach"),
        (invite(cohort, 4, ROWS[4:], ledger_seq=5, ledger_head=head(6)), "reach"),
        # the right number of rows, the wrong head
        (invite(cohort, 4, ROWS[4:], ledger_seq=6, ledger_head=head(5)), "extend"),
        (invite(cohort, 4, [], ledger_seq=4, ledger_head=head(3)), "extend"),
        # rows in another order
        (
            invite(cohort, 4, ROWS[:3:-1], ledger_seq=6, ledger_head=head(6)),
            "extend",
        ),
    ]
    for request, needle in cases:
        cohort.refuses(1, request, needle, MessageError)
    cohort.accepts(1, invite(cohort, 4, [], ledger_seq=4, ledger_head=head(4)))


def test_a_spent_budget_refuses_and_leaves_the_open_round_open(make_cohort) -> None:
    """Nothing is buried for a round that is not joined."""
    cohort = make_cohort(4, limit=1)
    _, requests = cohort.reach(3)
    cohort.refuses(1, invite(cohort, round_=2), "budget is spent", BudgetError)
    cohort.accepts(1, requests[1])


def test_an_opening_says_nothing_when_printed(make_cohort) -> None:
    cohort = make_cohort(3)
    assert "model" not in repr(Opening.decode(invite(cohort)))
