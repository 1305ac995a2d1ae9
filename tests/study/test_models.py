from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, ndtr

from fedpref.errors import InputError
from fedpref.study.answers import Kind
from fedpref.study.likelihood import gradients, log_likelihood, residual, utilities
from fedpref.study.models import (
    Habit,
    Personal,
    Prototypes,
    Shared,
    habits,
    low_rank,
    own_only,
)
from fedpref.study.predictive import Predicted
from fedpref.study.reference import fit_central

KINDS = ("choosers", "raters")
WEIGHTS = np.array([1.0, -1.0, 0.5, 0.2, 0.1])
BASIS = np.random.default_rng(0).normal(size=(5, 2))
COVARIANCE = np.diag([2.0, 1.0, 0.5, 0.5, 0.1])


def personal_models(d):
    """Those that shrink towards the shared weights."""
    weights = WEIGHTS[:d]
    return {
        "personal": Personal(weights, COVARIANCE[:d, :d], 0.3),
        "low rank": low_rank(weights, BASIS[:d], noise=0.3),
    }


def all_models(d):
    prototypes = WEIGHTS[:d] + np.random.default_rng(1).normal(size=(3, d))
    return personal_models(d) | {
        "habit": Habit(),
        "shared": Shared(WEIGHTS[:d], 0.3),
        "own": own_only(d, 1.5, 0.3),
        "prototypes": Prototypes(prototypes, np.array([0.5, 0.3, 0.2]), 0.3),
    }


@pytest.fixture(params=KINDS)
def split(request, halves):
    answers = request.getfixturevalue(request.param)(10, answers=8).answers
    return *halves(answers, 4), answers


@pytest.mark.parametrize("name", all_models(4))
def test_probabilities_are_probabilities(split, name):
    revealed, asked, _ = split
    found = all_models(asked.dimension)[name].predict(revealed, asked)
    assert found.probability.min() >= 0
    assert found.probability.max() <= 1
    assert (found.low <= found.probability + 1e-12).all()
    assert (found.probability <= found.high + 1e-12).all()
    if asked.kind is Kind.CHOICE:
        sums = np.add.reduceat(found.probability, asked.start)
        assert sums == pytest.approx(np.ones(len(sums)))


@pytest.mark.parametrize("name", all_models(4))
def test_nobody_moves_anothers_prediction(split, name, alter):
    revealed, asked, _ = split
    model = all_models(asked.dimension)[name]
    before = model.predict(revealed, asked)
    after = model.predict(alter(revealed, 3), asked)
    rest = asked.owner != 3
    for part in ("utility", "probability", "low", "high"):
        assert np.array_equal(getattr(before, part)[rest], getattr(after, part)[rest])
    moved = not np.allclose(before.utility[~rest], after.utility[~rest])
    assert moved == (name != "shared")


@pytest.mark.parametrize("name", all_models(4))
def test_what_was_answered_is_not_looked_at(split, name, alter):
    revealed, asked, _ = split
    model = all_models(asked.dimension)[name]
    before = model.predict(revealed, asked)
    after = model.predict(revealed, alter(asked, 3))
    assert np.array_equal(before.utility, after.utility)
    assert np.array_equal(before.probability, after.probability)


@pytest.mark.parametrize("name", personal_models(4))
def test_without_own_answers_the_shared_weights_speak(split, name, halves):
    _, asked, answers = split
    none, _ = halves(answers, 0)
    found = personal_models(asked.dimension)[name].predict(none, asked)
    shared = Shared(WEIGHTS[: asked.dimension], 0.3).predict(none, asked)
    assert np.array_equal(found.utility, shared.utility)
    if asked.kind is Kind.CHOICE:
        assert found.probability == pytest.approx(shared.probability, abs=1e-9)


@pytest.mark.parametrize("name", all_models(4))
def test_the_order_of_people_and_answers_is_nothing(split, name, choosers):
    revealed, asked, answers = split
    model = all_models(asked.dimension)[name]
    before = model.predict(revealed, asked)
    people = len(answers.people)

    def turned(part):  # people and each one's answers from last to first
        order = np.arange(len(part.start))[::-1]
        size = part.size[order]
        start = np.cumsum(size) - size
        options = np.concatenate(
            [part.start[r] + np.arange(part.size[r]) for r in order]
        )
        turned = replace(
            part,
            text=part.text[options],
            start=start,
            chosen=start + (part.chosen - part.start)[order],
            value=part.value[order],
            user=people - 1 - part.user[order],
            people=part.people[::-1],
        )
        return turned, options

    mirrored, options = turned(asked)
    after = model.predict(turned(revealed)[0], mirrored)
    assert after.utility == pytest.approx(before.utility[options], abs=1e-8)
    assert after.probability == pytest.approx(before.probability[options], abs=1e-8)
    assert after.low == pytest.approx(before.low[options], abs=1e-8)


def test_own_answers_help_and_make_surer(choosers, halves):
    made = choosers(60, answers=40, spread=2.0, options=(3, 3))
    shared = np.array([1.0, -1.0, 0.5, 0.0])
    model = Personal(shared, 4 * np.eye(4))
    _, asked = halves(made.answers, 30)
    true = utilities(asked, made.weights)
    before = None
    for k in (0, 3, 10, 30):
        found = model.predict(halves(made.answers, k)[0], asked)
        miss = np.corrcoef(found.utility, true)[0, 1]
        width = (found.high - found.low).mean()
        if before is not None:
            assert miss > before[0]
            assert width < before[1]
        before = miss, width
    assert before[0] > 0.9


def test_low_rank_is_a_walk_in_the_basis(choosers, halves):
    # the offset of Personal under V V' is V z, with z the MAP in few dimensions
    answers = choosers(6, answers=12).answers
    revealed, asked = halves(answers, 8)
    basis = BASIS[:4]
    found = low_rank(WEIGHTS[:4], basis, floor=1e-6).predict(revealed, asked)
    z = np.zeros((6, 2))
    for _ in range(800):
        z = z + 0.05 * (gradients(revealed, WEIGHTS[:4] + z @ basis.T) @ basis - z)
    expected = utilities(asked, WEIGHTS[:4] + z @ basis.T)
    assert found.utility == pytest.approx(expected, abs=1e-3)


def test_prototypes_by_hand(choosers, halves):
    answers = choosers(5, answers=6).answers
    revealed, asked = halves(answers, 3)
    prototypes = np.array([[2.0, 0, 0, 0], [-2.0, 0, 0, 0]])
    mixing = np.array([0.75, 0.25])
    model = Prototypes(prototypes, mixing)
    fit = np.stack([log_likelihood(revealed, own) for own in prototypes], axis=1)
    weight = mixing * np.exp(fit)
    belief = weight / weight.sum(axis=1, keepdims=True)
    assert model.posterior(revealed) == pytest.approx(belief)
    found = model.predict(revealed, asked)
    each = [Shared(own).predict(revealed, asked).probability for own in prototypes]
    mixed = (belief[asked.owner] * np.stack(each, axis=1)).sum(axis=1)
    assert found.probability == pytest.approx(mixed)
    assert np.exp(found.utility) == pytest.approx(mixed)
    none, _ = halves(answers, 0)
    assert model.posterior(none) == pytest.approx(np.tile(mixing, (5, 1)))
    with pytest.raises(InputError, match="2 shares that sum to 1"):
        Prototypes(prototypes, np.ones(2)).posterior(none)


def test_a_prototype_that_nobody_follows(choosers, halves):
    revealed, asked = halves(choosers().answers, 3)
    model = Prototypes(np.stack([WEIGHTS[:4], -WEIGHTS[:4]]), np.array([1.0, 0.0]))
    found = model.predict(revealed, asked)
    alone = Shared(WEIGHTS[:4]).predict(revealed, asked)
    assert found.probability == pytest.approx(alone.probability)
    assert found.low == pytest.approx(found.high)


def test_habit_by_hand(choosers, halves):
    answers = choosers(1, answers=5, options=(3, 3)).answers
    revealed, asked = halves(answers, 3)
    taken = np.bincount(revealed.chosen - revealed.start, minlength=3)
    before = np.array([0.5, 0.3, 0.2])
    found = Habit({3: before}, strength=4.0).predict(revealed, asked)
    expected = (taken + 4 * before) / 7
    assert found.probability == pytest.approx(np.tile(expected, 2))
    equal = Habit().predict(halves(answers, 0)[0], asked)
    assert equal.probability == pytest.approx(np.full(6, 1 / 3))


def test_habit_of_ratings_by_hand(raters, halves):
    answers = raters(1, answers=6).answers
    revealed, asked = halves(answers, 4)
    yes = (revealed.value > 0).sum()
    found = Habit({1: np.array([0.8])}, strength=2.0).predict(revealed, asked)
    assert found.probability == pytest.approx(np.full(2, (1.6 + yes) / 6))


def test_habits_of_training_people(choosers, raters):
    answers = choosers(30, options=(2, 3)).answers
    column = answers.chosen - answers.start
    found = habits(answers)
    assert sorted(found) == [2, 3]
    for size, share in found.items():
        among = column[answers.size == size]
        expected = [(1 + (among == c).sum()) / (len(among) + size) for c in range(size)]
        assert share == pytest.approx(expected)
    rated = raters(30).answers
    assert habits(rated)[1] == pytest.approx([(rated.value > 0).mean()])


def test_shared_by_hand(choosers, raters, halves):
    revealed, asked = halves(choosers(options=(2, 2)).answers, 2)
    found = Shared(WEIGHTS[:4]).predict(revealed, asked)
    score = (asked.features @ WEIGHTS[:4])[asked.text].reshape(-1, 2)
    gap = score[:, 0] - score[:, 1]
    assert found.probability[::2] == pytest.approx(expit(gap))
    revealed, asked = halves(raters().answers, 2)
    value = (asked.features @ WEIGHTS)[asked.text]
    found = Shared(WEIGHTS, 0.4).predict(revealed, asked)
    assert found.probability == pytest.approx(ndtr(value / 0.4))


def test_refuses_parts_of_different_answers(choosers, raters, halves):
    _, asked = halves(choosers(4).answers, 2)
    more, _ = halves(choosers(5).answers, 2)
    rated, _ = halves(raters(4).answers, 2)
    for other in (more, rated):
        with pytest.raises(InputError, match="parts of the same answers"):
            Shared(WEIGHTS[:4]).predict(other, asked)
    with pytest.raises(InputError, match="positive floor"):
        low_rank(WEIGHTS[:4], BASIS)
    with pytest.raises(InputError, match="positive floor"):
        low_rank(WEIGHTS, BASIS, floor=0.0)


def test_diverged_weights_are_an_error(choosers, halves):
    revealed, asked = halves(choosers(4).answers, 2)
    with pytest.raises(InputError, match="has diverged"):
        Shared(np.full(4, np.nan)).predict(revealed, asked)
    two = np.zeros(2)
    with pytest.raises(InputError, match="shape"):
        Predicted(two, np.zeros(3), two, two)


def test_central_reference_finds_what_made_the_ratings(raters):
    made = raters(400, answers=12, spread=0.3, noise=0.2)
    found = fit_central(made.answers, spread=1.0)
    assert found.weights == pytest.approx(made.weights.mean(axis=0), abs=0.06)
    assert np.diag(found.covariance) == pytest.approx(np.full(5, 0.09), abs=0.035)
    assert found.noise == pytest.approx(0.2, abs=0.02)
    pooled = residual(made.answers, found.weights)
    assert found.noise < pooled


def test_central_reference_of_choices(choosers):
    made = choosers(100, answers=15, spread=1.5)
    found = fit_central(made.answers, spread=0.3, steps=10)
    assert found.weights == pytest.approx(made.weights.mean(axis=0), abs=0.4)
    # Laplace's approximation understates 2.25; the start of 0.09 is left behind
    assert (np.diag(found.covariance) > 0.15).all()
    assert (np.diag(found.covariance) < 3.0).all()
    with pytest.raises(InputError, match="steps = 0"):
        fit_central(made.answers, spread=1.0, steps=0)
