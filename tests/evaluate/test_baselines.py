import json
import math

import numpy as np
import pytest

from fedpref.core.types import Record
from fedpref.errors import InputError
from fedpref.evaluate import (
    attributes,
    central,
    evaluate,
    flatten,
    own_answers,
    position,
    untrained,
)


def test_untrained_is_chance(survey):
    _, heldout, _, _ = survey
    found = untrained(heldout)
    assert found.evaluation.accuracy == 0.5
    assert found.evaluation.ci95 == (0.5, 0.5)
    sizes = [len(r.options) for own in heldout.values() for r in own]
    expected = np.mean([1 / size for size in sizes])
    assert found.evaluation.choice_accuracy == pytest.approx(expected)
    assert (found.private, found.epsilon) == (True, 0.0)


def test_position_learns_columns_for_each_size():
    def menu(user, size, choice, turn):
        options = tuple(f"{user}{turn}{i}" for i in range(size))
        return Record(user, "", options, choice=choice)

    # of three options the last is taken twice of three times; of two, always the first
    train = {
        "a": (menu("a", 3, 2, 0), menu("a", 3, 2, 1), menu("a", 3, 0, 2)),
        "b": (menu("b", 2, 0, 3),),
    }
    heldout = {
        "c": (menu("c", 3, 2, 0), menu("c", 2, 1, 1), menu("c", 4, 0, 2)),
    }
    found = position(train, heldout)
    # right on both pairs of three, wrong on the pair of two, ties on four options
    assert found.evaluation.accuracy == pytest.approx((2 + 0 + 1.5) / 6)
    assert found.evaluation.choice_accuracy == pytest.approx((1 + 0 + 1 / 4) / 3)
    shares = np.log(np.array([2, 1, 3]) / 6)  # one pseudo-count a column
    gap = np.array([shares[2] - shares[0], shares[2] - shares[1], math.log(1 / 2)])
    nats = [*np.log1p(np.exp(-gap)), *[math.log(2)] * 3]
    assert found.evaluation.log_loss == pytest.approx(np.mean(nats))
    assert (found.private, found.epsilon) == (False, math.inf)


def test_central_reaches_what_the_true_weights_reach(survey):
    train, heldout, features, weights = survey
    found = central(features, train, heldout)
    best = evaluate(lambda texts: features(texts) @ weights, heldout)
    assert found.evaluation.accuracy > 0.7
    assert found.evaluation.accuracy == pytest.approx(best.accuracy, abs=0.03)
    assert found.evaluation.log_loss == pytest.approx(best.log_loss, abs=0.05)


def test_attributes_are_one_hot(survey):
    train, heldout, _, _ = survey
    rows = {f"text {i}": {"which": str(i)} for i in range(12)}
    # one attribute value a text is one free score a text
    identity = central(
        lambda texts: np.eye(12)[[int(t.split()[-1]) for t in texts]], train, heldout
    )
    found = attributes(rows, train, heldout)
    assert found.evaluation.wins.tolist() == identity.evaluation.wins.tolist()
    assert found.evaluation.log_loss == pytest.approx(identity.evaluation.log_loss)
    same = attributes({text: {"which": "same"} for text in rows}, train, heldout)
    assert same.evaluation.accuracy == 0.5


def test_attributes_need_every_text(survey):
    train, heldout, _, _ = survey
    rows = {f"text {i}": {"which": str(i)} for i in range(10)}
    with pytest.raises(InputError, match="2 of 12 texts have no row"):
        attributes(rows, train, heldout)


def test_own_answers_learn_from_the_first_and_are_tested_on_the_rest():
    # everybody has a taste of their own, and changes it for the ninth answer on
    def person(user, late):
        early = [Record(user, "", ("x", "y"), choice=int(user == "b"))] * 8
        return (*early, *[Record(user, "", ("x", "y"), choice=late)] * 2)

    heldout = {"a": person("a", 0), "b": person("b", 1), "few": person("a", 0)[:8]}

    def features(texts):
        return np.array([[1.0] if text == "x" else [0.0] for text in texts])

    found = own_answers(features, lambda texts: features(texts)[:, 0], heldout)
    assert found.left_out == 1
    assert found.own.evaluation.per_user.tolist() == [1.0, 1.0]
    assert found.pooled.per_user.tolist() == [1.0, 0.0]
    assert found.difference.difference == -0.5
    assert found.own.evaluation.records == found.pooled.records == 4
    assert found.own.subset == "answers 9 and later"
    turned = {"a": person("a", 1), "b": person("b", 0)}
    late = own_answers(features, lambda texts: np.zeros(len(texts)), turned)
    assert late.own.evaluation.accuracy == 0.0  # the rest was never fitted on


def test_own_answers_know_the_prior():
    heldout = {"a": (Record("a", "", ("x", "y"), choice=0),) * 9}

    def features(texts):
        return np.array([[1.0] if text == "x" else [0.0] for text in texts])

    found = own_answers(features, lambda texts: np.zeros(len(texts)), heldout)
    # the weight solves 8 sigmoid(-w) = w / 2.5^2
    gap = np.logaddexp(0, -np.linspace(0, 10, 100001))
    grid = np.linspace(0, 10, 100001)
    best = grid[np.argmin(8 * gap + grid**2 / (2 * 2.5**2))]
    assert found.own.evaluation.log_loss == pytest.approx(
        math.log1p(math.exp(-best)), abs=1e-4
    )


def test_own_answers_ask_for_features_once(survey):
    _, heldout, features, weights = survey
    calls = []

    def counted(texts):
        calls.append(len(texts))
        return features(texts)

    own_answers(counted, lambda texts: features(texts) @ weights, heldout)
    assert calls == [12]


def test_own_answers_of_people_with_few_answers(survey):
    train = {user: own[:8] for user, own in survey[0].items()}
    with pytest.raises(InputError, match="more than 8 answers"):
        own_answers(survey[2], lambda texts: np.zeros(len(texts)), train)


def test_json_writes_infinity_as_a_string(survey):
    train, heldout, features, _ = survey
    found = central(features, train, heldout).to_json()
    assert found["epsilon"] == "inf"
    json.dumps(found, allow_nan=False)
    assert untrained(heldout).to_json()["epsilon"] == 0.0
    assert set(found) >= {"accuracy", "ci95", "choice_accuracy", "note", "private"}


def test_flatten_keeps_every_option(survey):
    train = survey[0]
    menus = flatten(train)
    shown = [t for own in train.values() for r in own for t in r.texts]
    assert [menus.texts[i] for i in menus.text] == shown
