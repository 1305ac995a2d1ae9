from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.metrics import log_loss as sk_log_loss

from fedpref.core.types import Record
from fedpref.errors import InputError
from fedpref.study.answers import from_ratings, from_records, only
from fedpref.study.likelihood import chances, utilities
from fedpref.study.measure import (
    NOT_GIVEN,
    OTHERS,
    bootstrap,
    by_group,
    macro_f1,
    measure,
)
from fedpref.study.models import Shared
from fedpref.study.predictive import certain

WEIGHTS = np.array([0.8, -0.5, 0.3, 0.1, 0.1])


def by_hand():
    """Two people: a chooses among three and two, b among two."""
    menu, pair = ("x", "y", "z"), ("x", "y")
    people = {
        "a": [Record("a", "", menu, choice=1), Record("a", "", pair, choice=0)],
        "b": [Record("b", "", pair, choice=1)],
    }
    asked = from_records(people, lambda texts: np.zeros((len(texts), 1)))
    utility = np.array([2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    return asked, utility


def test_choices_by_hand():
    asked, utility = by_hand()
    chance = chances(asked, utility)
    found = measure(asked, certain(utility, chance))
    # pairs: y over x wrong, y over z right, x over y right, tie
    assert found.wins.tolist() == [2.0, 0.5]
    assert found.asked.tolist() == [3, 1]
    assert found.accuracy == found.pair_accuracy == pytest.approx(2.5 / 4)
    # menus: wrong, right, tie of two
    assert found.choice_accuracy == pytest.approx(1.5 / 3)
    # chosen columns 1, 0, 1; best columns 0, 0, 0 (the first of the tie)
    assert found.macro_f1 == pytest.approx((0.5 + 0) / 2)
    gaps = np.array([-1.0, 1.0, 1.0, 0.0])
    assert found.log_loss == pytest.approx(np.log1p(np.exp(-gaps)).mean())
    # three pairs share the bin of confidence .731, of which two are right
    sure = 1 / (1 + np.exp(-1))
    assert found.ece == pytest.approx((abs(3 * sure - 2) + 0.0) / 4)
    assert found.records == 3
    assert found.users == 2
    assert found.per_user == pytest.approx([2 / 3, 1 / 2])
    assert found.spread["sd"] == pytest.approx(1 / 12)
    assert found.spread["p50"] == pytest.approx(7 / 12)
    assert found.worst_decile == pytest.approx(1 / 2)


def test_ranking_is_by_utility_and_log_loss_by_probability():
    asked, utility = by_hand()
    flat = chances(asked, 0 * utility)
    found = measure(asked, certain(utility, flat))
    assert found.accuracy == pytest.approx(2.5 / 4)
    assert found.log_loss == pytest.approx(np.log(2))


def test_ratings_against_sklearn(raters):
    asked = raters(15, answers=10).answers
    found_by = Shared(WEIGHTS, 0.4).predict(asked, asked)
    found = measure(asked, found_by)
    truth, yes = asked.value > 0, found_by.probability
    assert found.accuracy == pytest.approx(((yes > 0.5) == truth).mean())
    assert found.macro_f1 == pytest.approx(f1_score(truth, yes > 0.5, average="macro"))
    assert found.log_loss == pytest.approx(sk_log_loss(truth, yes))
    assert found.choice_accuracy is None
    sure = np.maximum(yes, 1 - yes)
    place = np.minimum((sure - 0.5) * 20, 9).astype(int)
    right = (yes > 0.5) == truth
    gaps = [abs((sure - right)[place == b].sum()) for b in range(10)]
    assert found.ece == pytest.approx(sum(gaps) / len(sure))
    wins = pairs = 0.0
    for i in range(len(truth)):
        for j in range(len(truth)):
            apart = 50 * (asked.value[i] - asked.value[j]) >= 10
            if asked.user[i] == asked.user[j] and apart:
                wins += found_by.utility[i] > found_by.utility[j]
                pairs += 1
    assert found.pair_accuracy == pytest.approx(wins / pairs)


def test_the_middle_is_no_approval_and_close_ratings_are_no_pair():
    scores = {"x": 50, "y": 59.9}
    people = {"a": [SimpleNamespace(text=t, score=s) for t, s in scores.items()]}
    asked = from_ratings(people, lambda texts: np.zeros((len(texts), 1)))
    utility = np.array([-0.1, 0.1])
    found = measure(asked, certain(utility, np.array([0.4, 0.6])))
    assert found.accuracy == 1.0
    assert found.pair_accuracy is None


def test_macro_f1_against_sklearn():
    rng = np.random.default_rng(0)
    for classes in (2, 3, 5):
        truth, guess = rng.integers(0, classes, size=(2, 60))
        expected = f1_score(truth, guess, average="macro")
        assert macro_f1(truth, guess) == pytest.approx(expected)
    truth = np.array([0, 0, 0])
    expected = f1_score(truth, truth + 1, average="macro", zero_division=0)
    assert macro_f1(truth, truth + 1) == expected == 0


def test_log_loss_of_pairs_against_sklearn(choosers):
    asked = choosers(options=(2, 2)).answers
    predicted = Shared(WEIGHTS[:4]).predict(asked, asked)
    first = asked.chosen == asked.start
    expected = sk_log_loss(first, predicted.probability[::2])
    assert measure(asked, predicted).log_loss == pytest.approx(expected)


def test_people_who_were_asked_nothing_do_not_count(choosers):
    answers = choosers(10).answers
    asked = only(answers, (answers.user != 2) & (answers.user != 9))
    predicted = Shared(WEIGHTS[:4]).predict(answers, asked)
    found = measure(asked, predicted)
    assert found.users == 8
    assert found.wins.shape == found.asked.shape == (10,)
    assert found.asked[[2, 9]].tolist() == [0, 0]
    assert len(found.per_user) == 8
    low, high = found.ci95
    assert low <= found.accuracy <= high


def test_the_worst_tenth_is_rounded_up(choosers):
    asked = choosers(21).answers
    found = measure(asked, Shared(WEIGHTS[:4]).predict(asked, asked))
    lowest = np.sort(found.wins / found.asked)[:3]
    assert found.worst_decile == pytest.approx(lowest.mean())


def test_the_interval_is_over_people():
    # 40 people, each right always or never: pairs would give a far narrower one
    wins = np.repeat([0.0, 50.0], 20)
    low, high = bootstrap(wins, np.full(40, 50))
    sd = 0.5 / np.sqrt(40)
    assert low == pytest.approx(0.5 - 1.96 * sd, abs=0.03)
    assert high == pytest.approx(0.5 + 1.96 * sd, abs=0.03)


def test_groups_merge_small_ones():
    people = tuple(f"p{n}" for n in range(20))
    wins, asked = np.arange(20.0), np.full(20, 20)
    asked[19] = wins[19] = 0  # was asked nothing
    values = {
        f"p{n}": {"city": "big" if n < 10 else f"town {n % 2}"} for n in range(16)
    }
    values["p0"]["gender"] = "1"
    found = by_group(wins, asked, people, values)
    # 6 people of two towns, 3 each; 3 of whom nothing is known
    assert sorted(found) == ["city", "gender"]
    assert {name: group.users for name, group in found["city"].items()} == {
        "big": 10,
        OTHERS: 9,
    }
    assert found["city"]["big"].accuracy == pytest.approx(45 / 200)
    low, high = found["city"]["big"].ci95
    assert low < 45 / 200 < high
    # one person alone: counted, not measured
    alone = found["gender"][OTHERS]
    assert (alone.users, alone.accuracy, alone.ci95) == (1, None, None)
    assert found["gender"][NOT_GIVEN].users == 18
    assert alone.to_json() == {"accuracy": None, "ci95": None, "users": 1}


def test_groups_of_a_measurement(choosers):
    asked = choosers(12).answers
    found = measure(asked, Shared(WEIGHTS[:4]).predict(asked, asked))
    values = {name: {"all": "yes"} for name in asked.people}
    group = found.groups(values)["all"]["yes"]
    assert group.accuracy == pytest.approx(found.accuracy)
    assert group.ci95 == pytest.approx(found.ci95)


def test_json_names_nobody(choosers):
    asked = choosers(12).answers
    whole = measure(asked, Shared(WEIGHTS[:4]).predict(asked, asked)).to_json()
    assert set(whole) == {
        "accuracy",
        "ci95",
        "choice_accuracy",
        "pair_accuracy",
        "macro_f1",
        "log_loss",
        "ece",
        "per_user",
        "worst_decile",
        "users",
        "records",
    }
    assert "person" not in str(whole)


def test_an_impossible_answer_has_a_finite_loss():
    asked, utility = by_hand()
    chance = np.where(np.arange(7) == asked.chosen[asked.record], 0.0, 1.0)
    assert np.isfinite(measure(asked, certain(utility, chance)).log_loss)


def test_refuses_what_does_not_fit(choosers):
    asked = choosers(4).answers
    predicted = Shared(WEIGHTS[:4]).predict(asked, asked)
    nothing = only(asked, np.zeros(len(asked.start), dtype=bool))
    with pytest.raises(InputError, match="options asked"):
        measure(nothing, predicted)
    half = only(asked, np.arange(len(asked.start)) % 2 == 0)
    with pytest.raises(InputError, match="options asked"):
        measure(half, predicted)


def test_better_utilities_measure_better(choosers):
    made = choosers(40, answers=10)
    right = utilities(made.answers, made.weights)
    wrong = certain(-right, chances(made.answers, -right))
    good = certain(right, chances(made.answers, right))
    better, worse = measure(made.answers, good), measure(made.answers, wrong)
    assert better.accuracy > 0.6 > 0.4 > worse.accuracy
    assert better.accuracy + worse.accuracy == pytest.approx(1)
    assert better.log_loss < worse.log_loss
