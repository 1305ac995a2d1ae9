"""What people learn together: one plan, the right law, and what each of them sends."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from fedpref.core.clip import clip_units
from fedpref.core.entropy import OsEntropy, SeededEntropy
from fedpref.core.moments import svec
from fedpref.core.types import Adversary, Noise, Participation, Record, Unit
from fedpref.errors import PlanError
from fedpref.stages import Purpose
from fedpref.study import population, sent
from fedpref.study.answers import Answers, from_records
from fedpref.study.likelihood import (
    NOISE,
    curvature,
    gradients,
    log_likelihood,
    map_offsets,
)
from fedpref.study.plans import plan_of
from fedpref.study.population import Shape, fit
from fedpref.study.settings import DEFAULT, Learning, level_of

SIZE = 3
SMALL = replace(
    DEFAULT,
    weights=Learning(3, 1.0, 4.0),
    basis=Learning(3, 1.0, 4.0),
    prototypes=Learning(3, 1.0, 4.0),
    rank=2,
    clusters=2,
)


def _answers(people: int = 60, seed: int = 0) -> Answers:
    """People whose weights scatter around (2, -1, 0); the last one says nothing."""
    rng = np.random.default_rng(seed)
    table = {f"t{n}": rng.standard_normal(SIZE) / np.sqrt(SIZE) for n in range(12)}
    records = {}
    for person in range(people):
        own = np.array([2.0, -1.0, 0.0]) + rng.standard_normal(SIZE)
        records[f"p{person}"] = []
        for _ in range(6 if person < people - 1 else 0):
            menu = tuple(str(t) for t in rng.choice(list(table), 3, replace=False))
            scores = [table[t] @ own + rng.gumbel() for t in menu]
            choice = int(np.argmax(scores))
            records[f"p{person}"].append(Record("", "", menu, choice=choice))
    return from_records(records, lambda texts: np.array([table[t] for t in texts]))


@pytest.fixture(scope="module")
def answers() -> Answers:
    return _answers()


@pytest.mark.parametrize("shape", list(Shape))
def test_all_releases_of_a_shape_cost_the_asked_total(answers, shape) -> None:
    found = fit(answers, SMALL, 1.0, SeededEntropy(1), shape=shape)
    assert 0.95 < found.epsilon <= 1.0
    assert found.against is Adversary.SERVER
    spec = found.plan.spec
    assert (spec.unit, spec.noise) == (Unit.USER, Noise.DISTRIBUTED)
    assert spec.participation is Participation.ALL
    assert spec.units == spec.cohort == len(answers.people)
    assert found.plan.delta == 1e-5
    assert not found.private  # a seed protects nobody
    assert "epsilon 1 per person at delta 1e-05" in found.lines()[-1]


def test_the_moment_takes_its_share_out_of_the_same_total(answers) -> None:
    alone = fit(answers, SMALL, 1.0, SeededEntropy(1))
    both = fit(answers, SMALL, 1.0, SeededEntropy(1), shape=Shape.MOMENT)
    ratio = both.plan.noise_multiplier / alone.plan.noise_multiplier
    assert 1.38 < float(ratio) < 1.45  # half of mu squared each: sqrt 2 more noise
    assert both.plan.require(Purpose.MOMENT).coordinates == SIZE * (SIZE + 1) // 2
    assert alone.covariance is None
    assert np.linalg.eigvalsh(both.covariance).min() > 0


def test_below_its_bar_the_moment_is_not_released_and_that_is_said(answers) -> None:
    found = fit(answers, SMALL, 0.5, SeededEntropy(1), shape=Shape.MOMENT)
    assert found.covariance is None
    assert len(found.plan.stages) == 1
    assert "no second moment" in found.notes[0]


def test_a_moment_that_noise_has_covered_is_said_to_be(answers) -> None:
    quiet = replace(SMALL, prior=1e-9, moment_floor=1e30)
    found = fit(answers, quiet, 1.0, SeededEntropy(1), shape=Shape.MOMENT)
    assert found.covariance is None
    assert "public prior" in found.notes[0]


def test_without_noise_training_is_clipped_momentum_descent_by_hand(answers) -> None:
    found = fit(answers, SMALL, inf, SeededEntropy(1))
    weights, speed, seen = np.zeros(SIZE), np.zeros(SIZE), []
    for _ in range(3):
        rows = clip_units(gradients(answers, weights), 4.0).rows
        speed = 0.9 * speed + rows.sum(axis=0) / (len(answers.people) * 4.0)
        weights = weights + speed
        seen.append(weights)
    assert np.allclose(found.weights, np.mean(seen[1:], axis=0), atol=1e-4)
    assert found.epsilon == inf
    assert found.plan.noise_multiplier is None


def test_noise_moves_the_weights_by_what_the_plan_says(answers) -> None:
    one_round = replace(SMALL, weights=Learning(1, 1.0, 4.0))
    clean = fit(answers, one_round, inf, SeededEntropy(0)).weights
    plan = fit(answers, one_round, 1.0, SeededEntropy(0)).plan
    moved = [
        fit(answers, one_round, 1.0, SeededEntropy(seed)).weights - clean
        for seed in range(150)
    ]
    stage, people = plan.training, len(answers.people)
    expected = people * stage.share_variance * stage.grid.step**2 / plan.divisor**2
    assert 0.75 < np.var(moved) / expected < 1.3


def test_one_person_moves_a_round_by_at_most_the_clip(answers, monkeypatch) -> None:
    sums = []
    real = population.noisy_sum

    def spy(rows, stage, **named):
        sums.append(clip_units(rows, stage.clip).rows)
        return real(rows, stage, **named)

    monkeypatch.setattr(population, "noisy_sum", spy)
    tight = replace(SMALL, weights=Learning(2, 1.0, 0.1))
    found = fit(answers, tight, 1.0, SeededEntropy(1), shape=Shape.MOMENT)
    assert len(sums) == 3  # two rounds and the moment: everything is summed this way
    for rows in sums:
        assert np.linalg.norm(rows, axis=1).max() <= 0.1 * (1 + 1e-9)
        assert not rows[-1].any()  # who has no answers sends zeros
    assert found.plan.reserved_rounds == 3


def test_two_releases_never_share_randomness(answers, monkeypatch) -> None:
    asked = []
    real = population.noisy_sum

    def spy(rows, stage, *, entropy, purpose):
        asked.append(purpose)
        return real(rows, stage, entropy=entropy, purpose=purpose)

    monkeypatch.setattr(population, "noisy_sum", spy)
    for shape in Shape:
        fit(answers, SMALL, 1.0, SeededEntropy(1), shape=shape)
    assert len(set(asked)) == len(asked)


def test_entropy_of_the_operating_system_counts_as_private(answers) -> None:
    assert fit(answers, SMALL, 1.0, OsEntropy()).private
    assert not fit(answers, SMALL, inf, OsEntropy()).private


def test_many_people_are_planned_against_outsiders() -> None:
    plan = plan_of(3001, 2, Learning(1, 1.0, 1.0), 1.0)
    assert plan.spec.against is Adversary.OUTSIDER
    assert not plan.spec.complete_graph


def test_an_epsilon_that_no_plan_keeps_is_refused() -> None:
    with pytest.raises(PlanError, match="target_epsilon"):
        plan_of(50, 2, Learning(1, 1.0, 1.0), 1000.0)


def test_the_gradient_of_the_basis_is_that_of_the_exact_likelihood_of_ratings(
    raters,
) -> None:
    """Own numbers integrated out: a normal law whose covariance is known."""
    answers = raters(4, answers=5).answers
    size = answers.dimension
    basis = sent.Basis(size, 2, length=1.0, scale=0.7)
    vector = 0.5 * np.random.default_rng(3).standard_normal(size * 3)

    def objective(at):
        found = basis.read(at)
        rows = answers.features[answers.text]
        whole = (
            NOISE**2 * np.eye(len(rows))
            + (rows @ found["basis"]) @ (rows @ found["basis"]).T
        )
        return [
            multivariate_normal(
                rows[own] @ found["weights"], whole[own][:, own]
            ).logpdf(answers.value[own])
            for own in (answers.user == person for person in range(4))
        ]

    _assert_slopes(basis.rows(answers, vector), objective, vector)


def test_the_gradient_of_the_basis_is_that_of_the_expected_likelihood_of_choices(
    answers,
) -> None:
    """Own numbers normal around their maximum, the likelihood to second order."""
    basis = sent.Basis(SIZE, 2, length=1.0, scale=0.7)
    vector = np.random.default_rng(3).standard_normal(SIZE * 3)
    start = basis.read(vector)
    own = sent.personal(answers, start["weights"], start["basis"])
    bent = curvature(answers, start["weights"] + own @ start["basis"].T)
    left = np.linalg.inv(np.eye(2) + start["basis"].T @ bent @ start["basis"])

    def objective(at):
        found = basis.read(at)
        fit = log_likelihood(answers, found["weights"] + own @ found["basis"].T)
        spread = found["basis"].T @ bent @ found["basis"]
        return fit - np.einsum("pij,pji->p", spread, left) / 2

    _assert_slopes(basis.rows(answers, vector), objective, vector)


def _assert_slopes(rows, objective, vector):
    for place in range(len(vector)):
        step = np.zeros(len(vector))
        step[place] = 1e-5
        up, down = objective(vector + step), objective(vector - step)
        slope = (np.array(up) - np.array(down)) / 2e-5
        assert np.allclose(rows[:, place], slope, atol=2e-4)


def test_a_basis_of_people_who_do_not_differ_shrinks(choosers) -> None:
    same = choosers(60, answers=8, spread=0.0).answers
    other = choosers(60, answers=8, spread=3.0).answers
    basis = sent.Basis(same.dimension, 1, length=1.0, scale=1.0)
    start = basis.start()
    pulls = [
        basis.rows(a, start)[:, same.dimension :].sum(axis=0) for a in (same, other)
    ]
    inward, outward = (pull @ start[same.dimension :] for pull in pulls)
    assert inward < 0 < outward


def test_ratings_are_learned_with_a_shorter_constant_and_released_without(
    raters,
) -> None:
    answers = raters(20).answers
    shaped = sent.levelled(answers, 0.25)
    assert np.array_equal(shaped.features[:, :-1], answers.features[:, :-1])
    assert (shaped.features[:, -1] == 0.25).all()
    learned = np.arange(10.0).reshape(5, 2)
    expected = shaped.features @ learned
    weights = sent.unlevelled(learned[:, 0], answers, 0.25)
    assert np.allclose(answers.features @ weights, expected[:, 0])
    basis = sent.unlevelled(learned, answers, 0.25)
    assert np.allclose(answers.features @ basis, expected)
    prototypes = sent.unlevelled(learned.T, answers, 0.25, axis=1)
    assert np.allclose(answers.features @ prototypes.T, expected)


def test_the_level_of_choices_is_left_alone(answers) -> None:
    assert sent.levelled(answers, 0.25) is answers
    weights = np.ones(SIZE)
    assert sent.unlevelled(weights, answers, 0.25) is weights


def test_a_prototype_gets_the_gradients_of_those_it_explains(answers) -> None:
    mixture = sent.Prototypes(SIZE, 2, prior=1.0)
    near, far = np.array([2.0, -1.0, 0.0]), np.array([-200.0, 100.0, 0.0])
    rows = mixture.rows(answers, np.concatenate([near, far]))
    said = answers.counts > 0
    assert np.allclose(rows[said, :SIZE], gradients(answers, near)[said], atol=1e-6)
    assert np.abs(rows[:, SIZE:]).max() < 1e-6
    started = mixture.start()
    assert not np.allclose(*mixture.read(started)["prototypes"])


def test_a_moment_row_is_the_second_moment_of_the_shortened_offset(answers) -> None:
    plan = fit(answers, SMALL, 1.0, SeededEntropy(1), shape=Shape.MOMENT).plan
    stage, moment = plan.require(Purpose.MOMENT), plan.spec.moment
    rows = sent.moment_rows(answers, np.zeros(SIZE), 2.5, moment, stage)
    offsets = map_offsets(answers, np.zeros(SIZE), np.eye(SIZE) / 2.5**2).mean
    lengths = np.linalg.norm(offsets, axis=1)
    assert (lengths > moment.norm).any()
    person = int(np.argmin(np.abs(lengths - 0.7 * moment.norm)))
    expected = svec(offsets[person]) * stage.clip / moment.norm**2
    assert np.allclose(rows[person, : moment.size], expected)
    assert np.linalg.norm(rows, axis=1).max() <= stage.clip * (1 + 1e-9)
    assert not rows[-1].any()


def test_an_offset_is_the_gradient_of_ratings_with_own_weights_integrated_out(
    raters,
) -> None:
    answers = raters(4, answers=5).answers
    prior, noise, weights = 0.7, 0.3, np.full(answers.dimension, 0.2)

    def objective(at):
        rows = answers.features[answers.text]
        whole = noise**2 * np.eye(len(rows)) + prior**2 * rows @ rows.T
        return [
            multivariate_normal(rows[own] @ at, whole[own][:, own]).logpdf(
                answers.value[own]
            )
            for own in (answers.user == person for person in range(4))
        ]

    rows = sent.offset_rows(answers, weights, prior, noise)
    _assert_slopes(rows / prior**2, objective, weights)
    settings = replace(SMALL, prior=prior, noise=noise, offsets=True)
    assert np.array_equal(population.weight_rows(settings)(answers, weights), rows)
    plain = population.weight_rows(SMALL)(answers, weights)
    assert np.array_equal(plain, gradients(answers, weights))


def test_where_offsets_are_sent_the_constant_is_left_alone() -> None:
    settings = replace(SMALL, offsets=True, level=0.25)
    assert level_of(settings, weights=True) == 1
    assert level_of(settings, weights=False) == 0.25
    assert level_of(replace(settings, offsets=False), weights=True) == 0.25
