"""Pairs within a person: the margin, and positions that say nothing."""

from hypothesis import given
from hypothesis import strategies as st

from fedpref.data import ratings
from fedpref.data.dataset import Rating


def rated(user, *scores):
    return [Rating(user, text, score) for text, score in scores]


def test_pairs_stay_within_a_person_and_keep_the_margin():
    given = rated("a", ("x", 50.0), ("y", 60.0), ("z", 59.0)) + rated("b", ("x", 0.0))
    records, dropped = ratings.pairs(given)
    (record,) = records
    assert record.user == "a"
    assert record.options[record.choice] == "y"
    assert set(record.options) == {"x", "y"}
    assert dropped == {"pairs of ratings less than 10 points apart": 2}


def test_two_ratings_of_one_text_make_no_pair_and_are_said():
    given = rated("a", ("x", 0.0), ("x", 90.0)) + rated("b", ("x", 5.0), ("x", 5.0))
    records, dropped = ratings.pairs(given)
    assert records == ()
    assert dropped == {"pairs of ratings of the same text": 2}
    assert ratings.repeats(given) == (
        "2 people rated a text more than once (2 texts, 1 of them with another score); "
        "all ratings are used"
    )
    assert ratings.repeats(given[:1]) == ""


@given(st.lists(st.integers(0, 100), min_size=2, max_size=8))
def test_against_all_pairs_by_hand(scores):
    records, dropped = ratings.pairs(
        rated("a", *((f"t{n}", float(s)) for n, s in enumerate(scores)))
    )
    expected = {
        (f"t{i}", f"t{j}")
        for i, one in enumerate(scores)
        for j, other in enumerate(scores)
        if one - other >= 10
    }
    found = {(r.options[r.choice], r.options[1 - r.choice]) for r in records}
    assert found == expected
    assert len(records) == len(expected)
    count = len(scores) * (len(scores) - 1) // 2
    assert sum(dropped.values()) == count - len(expected)


def test_the_position_does_not_depend_on_the_scores():
    up, _ = ratings.pairs(rated("a", ("x", 0.0), ("y", 90.0)))
    down, _ = ratings.pairs(rated("a", ("x", 90.0), ("y", 0.0)))
    assert up[0].options == down[0].options
    assert up[0].choice != down[0].choice
    people = [f"p{n}" for n in range(200)]
    every = [r for p in people for r in rated(p, ("x", 0.0), ("y", 90.0))]
    records, _ = ratings.pairs(every)
    assert 70 <= sum(record.choice for record in records) <= 130


def test_ratings_do_not_show():
    assert "secret" not in repr(Rating("secret", "secret", 1.0))
