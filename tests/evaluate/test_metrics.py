import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.core.types import Record
from fedpref.errors import InputError
from fedpref.evaluate import Evaluation, difference, evaluate, flatten, measure

HAND = {
    "ann": (
        Record("ann", "", ("p", "q", "r"), choice=0),
        Record("ann", "", ("q", "s"), choice=0),
    ),
    "bob": (Record("bob", "", ("p", "s", "q"), choice=1),),
}
HAND_SCORES = {"p": 2.0, "q": 1.0, "r": 2.0, "s": 0.0}


def hand_score(texts):
    return np.array([HAND_SCORES[text] for text in texts])


def slow(scores, people):
    """The definitions, one pair after another, in plain Python."""
    won, nats, sure, choices = [], [], [], []
    for records in people.values():
        for record in records:
            values = [scores[text] for text in record.texts]
            best = [i for i, v in enumerate(values) if v == max(values)]
            choices.append((record.choice in best) / len(best))
            for i, value in enumerate(values):
                if i != record.choice:
                    gap = values[record.choice] - value
                    won.append(0.5 if gap == 0 else float(gap > 0))
                    p = 1 / (1 + math.exp(-gap))
                    nats.append(-math.log(p))
                    sure.append(max(p, 1 - p))
    ece = 0.0
    for k in range(10):
        low, high = 0.5 + k / 20, 0.5 + (k + 1) / 20
        inside = [i for i, c in enumerate(sure) if low <= c < high or c == high == 1]
        ece += abs(sum(won[i] - sure[i] for i in inside))
    n = len(won)
    mean = [sum(values) / len(values) for values in (won, choices, nats)]
    return [*mean, ece / n]


def test_hand_arithmetic():
    found = evaluate(hand_score, HAND)
    # ann: p>q won, p=r tie, q>s won; bob: s<p lost, s<q lost
    assert found.accuracy == 2.5 / 5
    assert found.per_user.tolist() == [2.5 / 3, 0.0]
    # ann's first menu is a tie for the best of two, her second is right, bob's wrong
    assert found.choice_accuracy == pytest.approx((0.5 + 1 + 0) / 3)
    nats = [math.log1p(math.exp(-gap)) for gap in (1, 0, 1, -2, -1)]
    assert found.log_loss == pytest.approx(sum(nats) / 5)
    one, two = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-2))
    # bins: {0.5: a tie}, {.731: right, right, wrong}, {.881: wrong}
    expected = (0 + abs(2 - 3 * one) + abs(0 - two)) / 5
    assert found.ece == pytest.approx(expected)
    assert [b.count for b in found.bins] == [1, 0, 0, 0, 3, 0, 0, 1, 0, 0]


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_against_the_definitions(seed):
    rng = np.random.default_rng(seed)
    # a few whole scores make ties common; thirds put pairs on no bin edge
    scores = {f"t{i}": float(rng.integers(-3, 4)) * 1.3 for i in range(8)}
    people = {}
    for user in "abc":
        menus = []
        for _ in range(rng.integers(1, 6)):
            offered = rng.choice(8, size=rng.integers(2, 6), replace=False)
            options = tuple(f"t{i}" for i in offered)
            menus.append(
                Record(user, "", options, choice=int(rng.integers(len(options))))
            )
        people[user] = menus
    found = evaluate(lambda texts: np.array([scores[t] for t in texts]), people)
    got = [found.accuracy, found.choice_accuracy, found.log_loss, found.ece]
    assert got == pytest.approx(slow(scores, people), abs=1e-12)


def test_each_text_is_scored_once():
    asked = []

    def score(texts):
        asked.append(list(texts))
        return hand_score(texts)

    evaluate(score, HAND)
    assert asked == [["p", "q", "r", "s"]]


def test_a_prompt_is_part_of_the_text():
    people = {"a": (Record("a", "ask", ("x", "y"), choice=0),)}
    assert flatten(people).texts == ("ask\nx", "ask\ny")


def test_last_bits_do_not_break_a_tie():
    people = {"a": (Record("a", "", ("x", "y"), choice=0),)}
    menus = flatten(people)
    found = measure(menus, np.array([0.1 + 0.2, 0.3]))
    assert (found.accuracy, found.choice_accuracy) == (0.5, 0.5)


def test_interval_is_the_bootstrap_over_people():
    rng = np.random.default_rng(3)
    people, gaps = {}, {}
    for i in range(40):
        right = rng.random() < 0.7  # a person is right always or never
        gaps |= {f"{i}+": 1.0 if right else -1.0, f"{i}-": 0.0}
        menu = Record(str(i), "", (f"{i}+", f"{i}-"), choice=0)
        people[str(i)] = (menu,) * int(rng.integers(1, 9))
    found = evaluate(lambda texts: np.array([gaps[t] for t in texts]), people)
    draws = []
    for _ in range(4000):
        who = rng.integers(0, 40, size=40)
        draws.append(found.wins[who].sum() / found.pairs[who].sum())
    assert found.ci95 == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.02)
    pairs = int(found.pairs.sum())
    spread = math.sqrt(found.accuracy * (1 - found.accuracy) / pairs)
    # resampling pairs would give an interval less than half as wide
    assert found.ci95[1] - found.ci95[0] > 2 * 1.96 * spread * 1.5


def test_resampling_is_seeded(survey):
    _, heldout, features, weights = survey

    def score(texts):
        return features(texts) @ weights

    first, again = (evaluate(score, heldout, seed=5) for _ in range(2))
    assert first == again
    assert first.ci95 != evaluate(score, heldout, seed=6).ci95


def test_many_people_in_several_blocks():
    # 3,000 people do not fit into one block of resamples; the normal law is the oracle
    menu = (Record("", "", ("x", "y"), choice=0),)
    turned = (Record("", "", ("x", "y"), choice=1),)
    people = {str(i): menu if i % 4 else turned for i in range(3000)}
    found = evaluate(lambda texts: np.array([t == "x" for t in texts]), people)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 3000)
    expected = (0.75 - half, 0.75 + half)
    assert found.ci95 == pytest.approx(expected, abs=0.002)


def test_json_says_nobodys_name_and_survives_json():
    found = evaluate(hand_score, HAND)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert "ann" not in text
    assert json.loads(text)["per_user"] == sorted(found.per_user.tolist())
    assert json.loads(text)["users"] == 2
    assert "per_user" not in repr(found)
    assert "ann" not in repr(found)
    assert "ann" not in repr(flatten(HAND))


def test_difference_is_paired():
    good = evaluate(hand_score, HAND)
    bad = evaluate(lambda texts: -hand_score(texts), HAND)
    found = difference(good, bad)
    assert found.difference == pytest.approx(good.accuracy - bad.accuracy)
    same = difference(good, good)
    assert (same.difference, same.ci95) == (0.0, (0.0, 0.0))
    assert found.to_json("a", "b")["a"] == "a"


def test_difference_of_paired_people_is_tighter_than_two_intervals(survey):
    _, heldout, features, weights = survey
    a = evaluate(lambda texts: features(texts) @ weights, heldout)
    b = evaluate(lambda texts: features(texts) @ (weights + 0.05), heldout)
    found = difference(a, b)
    assert found.ci95[0] <= found.difference <= found.ci95[1]
    assert found.ci95[1] - found.ci95[0] < (a.ci95[1] - a.ci95[0]) / 2


def test_difference_refuses_other_people():
    one = evaluate(hand_score, HAND)
    other = {"eve": HAND["ann"], "bob": HAND["bob"]}
    with pytest.raises(InputError, match="differ in who"):
        difference(one, evaluate(hand_score, other))


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({}, "people = 0"),
        ({"a": ()}, "people = 0"),
        (
            {"secret": (Record("secret", "", ("x",), label=True),)},
            "1 of 1 records have",
        ),
        ({"secret": (Record("secret", "", ("x",), choice=0),)}, "fewer than 2"),
    ],
)
def test_unusable_people(people, message):
    with pytest.raises(InputError, match=message) as caught:
        evaluate(hand_score, people)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda texts: np.full(len(texts), np.nan), "4 of 4 texts"),
        (lambda texts: np.zeros(2), "2 rows for 4 texts"),
        (lambda texts: np.zeros((len(texts), 2)), "one number"),
    ],
)
def test_unusable_scores(score, message):
    with pytest.raises(InputError, match=message):
        evaluate(score, HAND)


def test_people_without_answers_are_left_out():
    found = evaluate(hand_score, {**HAND, "silent": ()})
    assert isinstance(found, Evaluation)
    assert len(found.per_user) == 2
