"""Who is held out depends on the id alone, and both sides must have somebody."""

import hashlib
import subprocess
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.core.types import Record
from fedpref.data import partition
from fedpref.data.dataset import Rating
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


# --- a cap on what one person gives -------------------------------------------------


def series(user, count, choice=0):
    return [Record(user, f"q{n}", ("x", "y"), choice=choice) for n in range(count)]


def test_a_cap_keeps_the_order_and_cuts_only_who_has_more():
    records = [*series("a", 30), *series("b", 3), *series("a", 2)]
    kept = partition.cap(records, 5)
    assert Counter(record.user for record in kept) == {"a": 5, "b": 3}
    place = {id(record): n for n, record in enumerate(records)}
    places = [place[id(record)] for record in kept]
    assert places == sorted(places)
    assert partition.cap(records, 1000) == tuple(records)


def test_the_cap_looks_at_questions_never_at_answers():
    yes = [r.prompt for r in partition.cap(series("a", 50), 10)]
    no = [r.prompt for r in partition.cap(series("a", 50, choice=1), 10)]
    other = [r.prompt for r in partition.cap(series("b", 50), 10)]
    turned = [r.prompt for r in partition.cap(series("a", 50)[::-1], 10)]
    assert yes == no == turned[::-1]
    assert yes != other


def test_every_record_is_kept_as_often_as_any_other():
    people = [f"p{n}" for n in range(2000)]
    kept = Counter(
        record.prompt for p in people for record in partition.cap(series(p, 4), 1)
    )
    assert all(430 < count < 570 for count in kept.values())  # 500 expected, sd 19


def test_a_cap_of_ratings():
    ratings = [Rating("a", f"t{n}", float(n)) for n in range(20)]
    kept = partition.cap_ratings(ratings, 4)
    assert len(kept) == 4
    assert [r.text for r in kept] == [r.text for r in ratings if r in kept]
    other = [Rating("a", f"t{n}", 0.0) for n in range(20)]
    assert [r.text for r in partition.cap_ratings(other, 4)] == [r.text for r in kept]


@pytest.mark.parametrize("salt", partition.SALTS)
def test_each_salt_holds_out_about_one_in_five(salt):
    held = [n for n in range(5000) if partition.is_heldout(f"u{n}", salt)]
    assert 900 < len(held) < 1100
    digest = int(hashlib.sha256(f"{salt}:u{held[0]}".encode()).hexdigest(), 16)
    assert digest % 5 == 0


def test_the_salts():
    assert partition.SALTS[0] == "heldout-v1"
    assert partition.SALTS[1:] == (
        "split-1",
        "split-2",
        "split-3",
        "split-4",
        "split-5",
    )
