"""Releases for attackers: what is in them, whom they hear, and how people move them."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from fedpref.core.entropy import SeededEntropy
from fedpref.core.moments import unsvec
from fedpref.study.answers import only
from fedpref.study.exposed import Exposed
from fedpref.study.likelihood import log_likelihood
from fedpref.study.population import Shape, fit
from fedpref.study.settings import DEFAULT, Learning

SMALL = replace(
    DEFAULT,
    weights=Learning(6, 0.5, 4.0),
    basis=Learning(4, 0.5, 4.0),
    prototypes=Learning(4, 0.5, 4.0),
    rank=2,
    clusters=2,
    moment_floor=1e-9,
)
SIZES = {
    Shape.WEIGHTS: 4,
    Shape.MOMENT: 14,
    Shape.BASIS: 4 + 8,
    Shape.PROTOTYPES: 8,
}


def exposed(people, shape, epsilon=inf):
    return Exposed(people.answers, SMALL, epsilon, shape)


@pytest.mark.parametrize("shape", Shape)
def test_influence_is_what_leaving_one_out_changes(choosers, shape) -> None:
    """Each person's row against two trainings without noise, with and without them."""
    people = choosers(40)
    attacked = exposed(people, shape)
    moved = attacked.influence()
    assert moved.shape == (40, SIZES[shape])
    everybody = np.ones(40, dtype=bool)
    same = replace(attacked, settings=_unhalved(SMALL))
    whole = same.release(everybody, SeededEntropy(1))
    near = []
    for person in range(12):
        without = everybody.copy()
        without[person] = False
        change = 2 * (whole - same.release(without, SeededEntropy(1)))
        row = moved[person]
        near.append(row @ change / np.linalg.norm(row) / np.linalg.norm(change))
        assert np.linalg.norm(row) == pytest.approx(np.linalg.norm(change), rel=0.3)
    assert np.median(near) > 0.97
    assert min(near) > 0.9


def test_a_floor_holds_what_is_below_it_still(choosers) -> None:
    """Eigenvalues at the floor do not move, and the influence knows it."""
    people = choosers(40)
    high = replace(SMALL, moment_floor=0.16)
    attacked = Exposed(people.answers, high, inf, Shape.MOMENT)
    same = replace(attacked, settings=_unhalved(high))
    everybody = np.ones(40, dtype=bool)
    whole = same.release(everybody, SeededEntropy(1))
    least = high.moment_floor * high.prior**2 * high.moment_factor
    found = np.linalg.eigvalsh(unsvec(whole[4:]))
    assert (found < 1.0001 * least).any()
    assert (found > 1.1 * least).any()
    moved, near = attacked.influence()[:, 4:], []
    for person in range(12):
        without = everybody.copy()
        without[person] = False
        change = 2 * (whole - same.release(without, SeededEntropy(1)))[4:]
        size = np.linalg.norm(moved[person]) * np.linalg.norm(change)
        near.append(moved[person] @ change / size)
    assert np.median(near) > 0.95


def _unhalved(settings):
    """So that ``release`` of everybody is the release of the whole set."""

    def less(learning):
        return replace(learning, lr=learning.lr / 2)

    return replace(
        settings,
        weights=less(settings.weights),
        basis=less(settings.basis),
        prototypes=less(settings.prototypes),
        moment_factor=settings.moment_factor / 2,
        moment_floor=settings.moment_floor * 2,
    )


@pytest.mark.parametrize("shape", Shape)
def test_half_the_people_learn_what_they_learn_under_a_plan_of_their_own(
    choosers, shape
) -> None:
    both = choosers(20)
    names = list(both.records)
    inside = np.arange(20) < 10
    own = choosers(20).answers
    half = only(own, inside[own.user])
    half = replace(half, people=tuple(names[:10]))
    alone = fit(half, SMALL, inf, SeededEntropy(1), shape=shape)
    found = exposed(both, shape).population(inside, SeededEntropy(1))
    np.testing.assert_allclose(found.weights, alone.weights, atol=1e-4)
    for name in ("covariance", "basis", "prototypes"):
        value = getattr(alone, name)
        if value is not None:
            np.testing.assert_allclose(getattr(found, name), value, atol=1e-3)


@pytest.mark.parametrize("shape", Shape)
def test_those_outside_are_not_heard(choosers, shape) -> None:
    one, other = choosers(20), choosers(20)
    answers = other.answers
    flipped = answers.chosen.copy()
    flipped[answers.user >= 10] = answers.start[answers.user >= 10]
    assert (flipped != answers.chosen).any()
    other.answers = replace(answers, chosen=flipped)
    inside = np.arange(20) < 10
    first, second = (
        exposed(people, shape, 1.0).release(inside, SeededEntropy(3))
        for people in (one, other)
    )
    np.testing.assert_array_equal(first, second)
    assert first.shape == (SIZES[shape],)
    assert (exposed(one, shape, 1.0).release(~inside, SeededEntropy(3)) != first).any()


def test_weights_are_judged_by_their_log_likelihood(choosers) -> None:
    people = choosers()
    weights = np.array([1.0, 0, -1, 2])
    np.testing.assert_allclose(
        exposed(people, Shape.WEIGHTS).likelihood(weights),
        log_likelihood(people.answers, weights),
    )


def test_prototypes_are_judged_by_their_mixture(choosers) -> None:
    people = choosers()
    pair = np.random.default_rng(0).standard_normal((2, 4))
    each = [np.exp(log_likelihood(people.answers, own)) for own in pair]
    np.testing.assert_allclose(
        exposed(people, Shape.PROTOTYPES).likelihood(pair.ravel()),
        np.log(np.mean(each, axis=0)),
    )


def test_own_weights_are_integrated_out_of_ratings_exactly(raters) -> None:
    """A linear Gaussian model has a closed form; Laplace is exact there."""
    people = raters(5)
    answers, rng = people.answers, np.random.default_rng(2)
    weights, root = rng.standard_normal(5), rng.standard_normal((5, 5)) / 2
    prior = root @ root.T + 0.1 * np.eye(5)
    row, column = np.triu_indices(5)
    rest = prior[row, column] * np.where(row == column, 1, np.sqrt(2))
    basis = rng.standard_normal((5, 2))
    cases = (
        (Shape.MOMENT, rest, prior),
        (Shape.BASIS, basis.ravel(), basis @ basis.T),
    )
    for shape, numbers, cover in cases:
        found = exposed(people, shape).likelihood(np.concatenate([weights, numbers]))
        for person in range(5):
            own = answers.user == person
            x = answers.features[answers.text[own]]
            law = multivariate_normal(x @ weights, x @ cover @ x.T + 0.25 * np.eye(6))
            constant = -6 * np.log(0.5) - 3 * np.log(2 * np.pi)
            exact = law.logpdf(answers.value[own]) - constant
            assert found[person] == pytest.approx(exact, rel=1e-4)
