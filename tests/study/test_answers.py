from types import SimpleNamespace

import numpy as np
import pytest

from fedpref.core.types import Record
from fedpref.errors import InputError
from fedpref.study.answers import (
    Kind,
    disagreements,
    from_ratings,
    from_records,
    only,
    reveal,
    with_features,
)

KS = (0, 1, 3)


def lengths(texts):
    return np.array([[float(len(text))] for text in texts])


def pair(user, options=("x", "long"), choice=0, **more):
    return Record(user, "", options, choice=choice, **more)


def rated(text, score):
    return SimpleNamespace(text=text, score=score)


def test_flattens_in_order_with_a_row_a_text():
    people = {
        "a": [pair("a", ("x", "yy", "zzz"), 2), pair("a", ("zzz", "x"), 0)],
        "b": [],
        "c": [pair("c", ("yy", "w"), 1)],
    }
    found = from_records(people, lengths)
    assert found.kind is Kind.CHOICE
    assert found.features.tolist() == [[1], [2], [3], [1]]
    assert found.text.tolist() == [0, 1, 2, 2, 0, 1, 3]
    assert found.start.tolist() == [0, 3, 5]
    assert found.chosen.tolist() == [2, 3, 6]
    assert found.user.tolist() == [0, 0, 2]
    assert found.people == ("a", "b", "c")
    assert found.size.tolist() == [3, 2, 2]
    assert found.column.tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert found.owner.tolist() == [0, 0, 0, 0, 0, 2, 2]
    assert found.counts.tolist() == [2, 0, 1]


def test_the_prompt_is_part_of_the_text():
    record = Record("a", "Which?", ("x", "y"), choice=0)
    seen = []
    from_records({"a": [record]}, lambda texts: (seen.extend(texts), lengths(texts))[1])
    assert seen == ["Which?\nx", "Which?\ny"]


def test_ratings_get_a_level():
    people = {"a": [rated("x", 0), rated("yy", 100)], "b": [rated("x", 75.0)]}
    found = from_ratings(people, lengths)
    assert found.kind is Kind.RATING
    assert found.value.tolist() == [-1, 1, 0.5]
    assert found.features.tolist() == [[1, 1], [2, 1]]
    assert found.text.tolist() == [0, 1, 0]
    assert found.chosen.tolist() == found.start.tolist() == [0, 1, 2]


@pytest.mark.parametrize("score", [-1, 100.5, np.nan, np.inf])
def test_refuses_a_score_out_of_range(score):
    with pytest.raises(InputError, match="1 of 2 scores are not in 0 to 100"):
        from_ratings({"a": [rated("x", 5), rated("y", score)]}, lengths)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "answers = 0"),
        ([Record("a", "", ("x",), label=True)], "1 of 1 records are not a choice"),
        ([pair("a", ("x",), 0)], "2 or more"),
        ([pair("a", id="q1"), pair("a", id="q1")], "1 of 2 records repeat an id"),
    ],
)
def test_refuses_what_is_no_set_of_choices(records, message):
    with pytest.raises(InputError, match=message):
        from_records({"a": records}, lengths)


def test_two_people_may_have_the_same_ids():
    people = {name: [pair(name, id="q1")] for name in "ab"}
    assert len(from_records(people, lengths).start) == 2


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lambda texts: np.zeros(len(texts)), "one row a text"),
        (lambda texts: np.zeros((1, 2)), "one row a text"),
        (lambda texts: np.full((len(texts), 1), np.nan), "2 of 2 texts"),
    ],
)
def test_refuses_features_of_another_shape(features, message):
    with pytest.raises(InputError, match=message):
        from_records({"a": [pair("a")]}, features)


def test_shows_no_contents(choosers):
    made = choosers(2).answers
    assert repr(made) == "Answers(choice, people=2, records=12, contents hidden)"
    draw = reveal(made, KS, rng=np.random.default_rng(0))
    assert repr(draw) == "Revealed(k=[0, 1, 3], short=0, contents hidden)"


def menus(answers):
    """Each record as (who, texts, chosen text, value), to compare as sets."""
    return [
        (
            int(user),
            tuple(answers.text[begin : begin + size].tolist()),
            int(answers.text[chosen]),
            float(value),
        )
        for user, begin, size, chosen, value in zip(
            answers.user,
            answers.start,
            answers.size,
            answers.chosen,
            answers.value,
            strict=True,
        )
    ]


@pytest.mark.parametrize("kind", ["choosers", "raters"])
def test_only_keeps_whole_records_of_the_same_people(kind, request):
    answers = request.getfixturevalue(kind)().answers
    keep = np.random.default_rng(0).random(len(answers.start)) < 0.4
    part = only(answers, keep)
    whole = menus(answers)
    assert menus(part) == [menu for menu, kept in zip(whole, keep, strict=True) if kept]
    assert part.people == answers.people
    nothing = only(answers, np.zeros(len(keep), dtype=bool))
    assert len(nothing.start) == len(nothing.text) == 0
    assert nothing.counts.tolist() == [0] * len(answers.people)


def test_the_same_is_asked_for_every_k_and_never_revealed(choosers):
    answers = choosers(8, answers=7).answers
    draw = reveal(answers, KS, rng=np.random.default_rng(3))
    for k in KS:
        assert draw[k].counts.tolist() == [k] * 8
    assert draw.asked.counts.tolist() == [4] * 8
    assert set(menus(draw[1])) <= set(menus(draw[3]))
    together = sorted(menus(draw.asked) + menus(draw[3]))
    assert together == sorted(menus(answers))
    assert draw.short == 0


def test_last_bounds_what_is_asked(choosers):
    answers = choosers(8, answers=7).answers
    whole = reveal(answers, KS, rng=np.random.default_rng(3))
    part = reveal(answers, KS, last=2, rng=np.random.default_rng(3))
    assert part.asked.counts.tolist() == [2] * 8
    assert set(menus(part.asked)) <= set(menus(whole.asked))
    assert menus(part[3]) == menus(whole[3])


def test_people_with_too_few_answers_are_counted():
    people = {"a": [pair("a")] * 3, "b": [pair("b")] * 4, "c": []}
    draw = reveal(from_records(people, lengths), KS, rng=np.random.default_rng(0))
    assert draw.short == 2
    assert draw.asked.counts.tolist() == [0, 1, 0]
    assert draw[1].counts.tolist() == [0, 1, 0]
    assert draw.asked.people == ("a", "b", "c")


def test_orders_are_uniform():
    own = [("x", f"t{i}") for i in range(3)]
    people = {str(n): [pair(str(n), texts, 1) for texts in own] for n in range(3000)}
    answers = from_records(people, lambda texts: np.zeros((len(texts), 1)))
    draw = reveal(answers, [2], rng=np.random.default_rng(0))
    asked = np.unique(draw.asked.text[draw.asked.chosen], return_counts=True)[1]
    # each of the three is last for about a third: 4 standard deviations are 103
    assert np.abs(asked - 1000).max() < 104


@pytest.mark.parametrize(("ks", "last"), [((), None), ((-1,), None), ((1,), 0)])
def test_refuses_senseless_numbers(choosers, ks, last):
    with pytest.raises(InputError, match="give at least one k"):
        reveal(choosers().answers, ks, last=last, rng=np.random.default_rng(0))


def test_refuses_when_nothing_is_left_to_ask(choosers):
    with pytest.raises(InputError, match="nobody has more than 6 answers"):
        reveal(choosers(answers=6).answers, [6], rng=np.random.default_rng(0))


def test_other_features_for_the_same_draw(choosers):
    answers = choosers().answers
    draw = reveal(answers, KS, rng=np.random.default_rng(0))
    other = np.eye(len(answers.features))
    seen = with_features(draw, other)
    assert seen.asked.features is other
    assert all(seen[k].features is other for k in KS)
    assert menus(seen.asked) == menus(draw.asked)
    with pytest.raises(InputError, match="rows for"):
        with_features(draw, other[1:])


def test_disagreements_ignore_the_order_of_options():
    people = {
        "a": [pair("a", ("x", "y"), 0), pair("a", ("y", "x"), 0)],  # x, then y
        "b": [pair("b", ("x", "y"), 0), pair("b", ("y", "x"), 1)],  # x both times
        "c": [],
    }
    assert disagreements(from_records(people, lengths)).tolist() == [1, 0, 0]
    people = {"a": [rated("x", 5), rated("x", 6)], "b": [rated("x", 5), rated("y", 6)]}
    assert disagreements(from_ratings(people, lengths)).tolist() == [1, 0]
