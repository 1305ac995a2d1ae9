"""Who is held out depends on the id alone, and both sides must have somebody."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.core.types import Record
from fedpref.data import partition
from fedpref.errors import InputError

TRAIN, HELD = ["ada", "dan", "edda"], ["ben", "cleo"]


def record(user, option="x"):
    return Record(user, "", (option, option + "!"), choice=0)


def test_the_rule_against_the_sha256sum_tool():
    for user in [*TRAIN, *HELD, "é", "361"]:
        text = f"heldout-v1:{user}".encode()
        out = subprocess.run(["sha256sum"], input=text, capture_output=True, check=True)
        held = int(out.stdout.split()[0], 16) % 5 == 0
        assert partition.is_heldout(user) is held


def test_another_salt_is_another_split():
    users = [str(n) for n in range(200)]
    first = [partition.is_heldout(user) for user in users]
    second = [partition.is_heldout(user, "other") for user in users]
    assert first != second
    assert 20 < sum(first) < 60


@given(st.lists(st.sampled_from([*TRAIN, *HELD]), min_size=1))
def test_every_record_lands_once_in_order_of_first_appearance(users):
    records = [record(user, str(n)) for n, user in enumerate(users)]
    grouped = partition.by_user(records)
    assert list(grouped) == list(dict.fromkeys(users))
    for user, rows in grouped.items():
        assert rows == tuple(r for r in records if r.user == user)
    if set(users) & set(HELD) and set(users) & set(TRAIN):
        split = partition.split(records)
        assert {**split.train, **split.heldout} == grouped
        assert set(split.train) <= set(TRAIN)
        assert set(split.heldout) <= set(HELD)


@pytest.mark.parametrize(
    ("users", "reason"),
    [
        ([], "users = 0, at least 2"),
        (["ada", "ada"], "users = 1, at least 2"),
        (TRAIN, "held-out users = 0 of 3"),
        (HELD, "training users = 0 of 2"),
    ],
)
def test_a_side_without_people_is_an_error_with_a_next_step(users, reason):
    with pytest.raises(InputError, match=reason) as caught:
        partition.split([record(user) for user in users])
    assert "add records of more people" in str(caught.value)
    assert not any(user in str(caught.value) for user in users)


def test_repr_shows_no_ids():
    split = partition.split([record("ada"), record("ben")])
    assert repr(split) == "Split(train=1 users, heldout=1)"


def asked(prompt, choice=0, options=("x", "y")):
    return Record("a", prompt, options, choice=choice)


@pytest.mark.parametrize(
    ("questions", "held"), [(0, 0), (1, 0), (2, 1), (9, 1), (10, 2), (31, 6)]
)
def test_one_question_in_five_is_held_back(questions, held):
    records = [asked(f"question {n}") for n in range(questions)]
    kept, back = partition.hold_back(records)
    assert (len(kept), len(back)) == (questions - held, held)
    assert sorted(r.prompt for r in kept + back) == sorted(r.prompt for r in records)


def test_what_was_answered_has_no_say_in_what_is_held_back():
    records = [asked(f"question {n}") for n in range(12)]
    turned = [asked(f"question {n}", choice=1) for n in reversed(range(12))]
    first, second = (partition.hold_back(own)[1] for own in (records, turned))
    assert {r.prompt for r in first} == {r.prompt for r in second}


def test_a_question_that_was_asked_twice_is_on_one_side():
    records = [asked(f"question {n % 6}", choice=n % 2) for n in range(24)]
    swapped = [asked(r.prompt, r.choice, ("y", "x")) for r in records]
    kept, back = partition.hold_back(records + swapped)
    assert not {r.prompt for r in kept} & {r.prompt for r in back}
    assert len(back) == 8
