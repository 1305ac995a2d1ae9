import sys

import numpy as np
import pytest

from fedpref.errors import InputError, SetupError
from fedpref.study import boosting
from fedpref.study.answers import Kind, reveal
from fedpref.study.boosting import fit_boosted, summary
from fedpref.study.measure import measure

KS = [0, 4]


@pytest.fixture
def fitted(request):
    def make(kind):
        train = request.getfixturevalue(kind)(60, seed=1, answers=10).answers
        draw = reveal(train, KS, rng=np.random.default_rng(0))
        return fit_boosted([draw], KS, seed=0)

    return make


def test_summary_by_hand(choosers, raters, halves):
    answers = choosers(3, answers=4).answers
    revealed, _ = halves(answers, 2)
    rows = revealed.features[revealed.text]
    expected = np.zeros((3, 4))
    ends = [*revealed.start[1:], len(rows)]
    for number, (begin, end) in enumerate(zip(revealed.start, ends, strict=True)):
        gap = rows[revealed.chosen[number]] - rows[begin:end].mean(axis=0)
        expected[revealed.user[number]] += gap / 2
    found = summary(revealed)
    assert found[:, :4] == pytest.approx(expected)
    assert found[:, 4:] == pytest.approx(np.tile([0, np.log(3)], (3, 1)))
    none, _ = halves(answers, 0)
    assert not summary(none).any()
    rated, _ = halves(raters(1).answers, 2)
    own = summary(rated)[0]
    product = rated.value @ rated.features[rated.text] / 2
    assert own[:-2] == pytest.approx(product)
    assert own[-2] == pytest.approx(rated.value.mean())


@pytest.mark.parametrize("kind", ["choosers", "raters"])
def test_predicts_better_than_chance_and_with_own_answers(kind, fitted, request):
    model = fitted(kind)
    test = request.getfixturevalue(kind)(60, seed=2, answers=10).answers
    draw = reveal(test, KS, rng=np.random.default_rng(0))
    found = model.predict(draw[4], draw.asked)
    assert measure(draw.asked, found).accuracy > 0.55
    if model.kind is Kind.CHOICE:
        sums = np.add.reduceat(found.probability, draw.asked.start)
        assert sums == pytest.approx(np.ones(len(sums)))


def test_nobody_moves_anothers_prediction(fitted, choosers, halves, alter):
    model = fitted("choosers")
    revealed, asked = halves(choosers(5, answers=8).answers, 4)
    before = model.predict(revealed, asked).utility
    after = model.predict(alter(revealed, 3), asked).utility
    rest = asked.owner != 3
    assert np.array_equal(before[rest], after[rest])
    assert not np.allclose(before[~rest], after[~rest])


def test_probabilities_of_pairs_are_those_of_the_trees(fitted, choosers, halves):
    # two options: the menu's probability is the average over both orders, no other
    model = fitted("choosers")
    revealed, asked = halves(choosers(5, answers=8, options=(2, 2)).answers, 4)
    own = summary(revealed)
    a, b = asked.start, asked.start + 1
    forth = model._chance(boosting._pair_rows(asked, own, a, b))
    back = model._chance(boosting._pair_rows(asked, own, b, a))
    found = model.predict(revealed, asked)
    assert found.probability[a] == pytest.approx((forth + 1 - back) / 2)


def test_without_the_package_the_next_step_is_said(monkeypatch, choosers):
    draw = reveal(choosers().answers, [1], rng=np.random.default_rng(0))
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(SetupError, match=r"pip install 'fedpref\[study\]'"):
        fit_boosted([draw], [1], seed=0)


def test_refuses_no_draws():
    with pytest.raises(InputError, match="draws = 0"):
        fit_boosted([], [1], seed=0)
