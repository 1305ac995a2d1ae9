"""Attacks on releases whose leak is known: all, nothing, and a Gaussian of known mu."""

from fractions import Fraction
from math import sqrt

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from fedpref.audit.claim import Claim
from fedpref.audit.membership import attack, halves
from fedpref.audit.ratio import project, ratio, standard
from fedpref.core.entropy import OsEntropy, SeededEntropy
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.errors import AuditError, InputError

DELTA = 1e-5


def one_hot(people, deviation, shown=1.0):
    """Sums of members' unit vectors with Gaussian noise of this deviation."""

    def fit(inside, entropy):
        key = entropy.key("noise")
        noise = np.random.default_rng(list(key)).standard_normal(people)
        return shown * inside + deviation * noise

    return fit


def attacked(fit, people, models=32, seed=1):
    return attack(
        fit,
        lambda released: released,
        np.eye(people),
        np.ones(people, dtype=np.int64),
        models=models,
        entropy=SeededEntropy(seed),
        resamples=200,
    )


def claim_of(mu):
    return Claim(gaussian_epsilon(Fraction(mu) ** 2, DELTA), DELTA)


def test_full_exposure_is_found() -> None:
    found = attacked(one_hot(50, 0.0), 50, models=8)
    for reached in found.all.values():
        assert (reached.auc, reached.tpr) == (1.0, 1.0)
        assert reached.auc_ci95 == (1.0, 1.0)
    with pytest.raises(AuditError, match="AUC = at least 1"):
        claim_of(1.0).require(found.joint, name="sum")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_alone_shows_nothing(seed) -> None:
    found = attacked(one_hot(100, 1.0, shown=0.0), 100, seed=seed)
    for reached in found.all.values():
        low, high = reached.auc_ci95
        assert low - 0.01 <= 0.5 <= high + 0.01
        assert abs(reached.auc - 0.5) < 0.05
        claim_of(0.05).require(reached, name="noise")


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_gaussian_noise_is_attacked_up_to_its_bound_and_not_beyond(mu) -> None:
    """Neyman and Pearson: the area of the best test is Phi(mu / sqrt 2)."""
    found = attacked(one_hot(150, 1 / mu), 150, models=48)
    best = norm.cdf(mu / sqrt(2))
    for one in (found.joint, found.projection):
        assert best - 0.03 < one.auc < best + 0.02
    for name, reached in found.all.items():
        claim_of(mu).require(reached, name=name)
    allowed = norm.cdf(norm.ppf(0.01) + mu)  # found means of few models cost some
    assert allowed - 0.1 < found.joint.tpr < allowed + 0.05


def test_a_claim_of_half_the_leak_is_refused() -> None:
    found = attacked(one_hot(150, 1.0), 150, models=48)
    with pytest.raises(AuditError, match="sum: AUC"):
        claim_of(0.5).require(found.joint, name="sum")


def mixed(people, size, noise, seed=0):
    """People who each move a few shared numbers, as gradients do; linear release."""
    rng = np.random.default_rng(seed)
    moves = rng.standard_normal((people, size)) * np.geomspace(1, 0.05, size)

    def fit(inside, entropy):
        drawn = np.random.default_rng(list(entropy.key("noise")))
        return inside @ moves + noise * drawn.standard_normal(size)

    return fit, moves


def test_the_projection_reaches_the_best_linear_test() -> None:
    """Others are the noise: k_i = d_i' C^-1 d_i, C = sum of d d' / 4."""
    fit, moves = mixed(120, 40, 0.0)
    cover = moves.T @ moves / 4
    size = np.einsum("ij,ij->i", moves @ np.linalg.inv(cover), moves)
    shift = np.sqrt(size / (1 - size / 4))
    best = norm.cdf(shift / sqrt(2)).mean()
    found = attack(
        fit,
        lambda released: moves @ released,
        moves,
        np.ones(120, dtype=np.int64),
        models=48,
        entropy=SeededEntropy(3),
        resamples=10,
    )
    assert best > 0.7
    assert found.projection.auc == pytest.approx(best, abs=0.03)
    assert found.projection.auc > found.likelihood.auc + 0.03  # unwhitened
    assert found.likelihood.auc > found.loss.auc + 0.01  # one threshold for all


def test_shifts_and_scores_of_the_projection_by_hand() -> None:
    """One number, two people who move it by 1 and 2, no noise: C = 5 / 4."""
    inside = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=bool)
    released = inside @ np.array([[1.0], [2.0]])
    seen = np.ones(4, dtype=bool)
    scores, shift = project(released, inside, np.array([[1.0], [2.0]]), seen)
    np.testing.assert_allclose(scores[:, 0], (released[:, 0] - 1.5) / 1.25, rtol=1e-6)
    np.testing.assert_allclose(scores[:, 1], 2 * scores[:, 0])
    k = np.array([0.8, 3.2])
    np.testing.assert_allclose(shift, np.sqrt(k / (1 - k / 4)), rtol=1e-6)


def test_the_ratio_is_that_of_two_gaussians_with_many_models() -> None:
    rng = np.random.default_rng(0)
    inside = np.repeat([[True], [False]], 4000, axis=0) & np.ones((1, 3), bool)
    gap, deviation = np.array([0.5, 1.0, 3.0]), np.array([1.0, 2.0, 0.5])
    known = gap * inside + deviation * rng.standard_normal((8000, 3))
    target = np.array([[0.2, -1.0, 2.0]])
    exact = norm.logpdf(target, gap, deviation) - norm.logpdf(target, 0, deviation)
    found = ratio(standard(known, inside, target, np.ones(3)))
    np.testing.assert_allclose(found, exact, rtol=0.15)


def test_the_joint_ratio_is_that_of_one_gaussian_in_two_dimensions() -> None:
    rng = np.random.default_rng(0)
    inside = np.repeat([[True], [False]], 4000, axis=0) & np.ones((1, 4), bool)
    cover, gap = np.array([[1.0, 0.6], [0.6, 1.0]]), np.array([1.0, 0.2])
    drawn = rng.multivariate_normal(np.zeros(2), cover, (8000, 4))
    target = np.array([0.3, -0.7])
    parts = [
        standard(
            gap[n] * inside + drawn[:, :, n], inside, np.full((1, 4), target[n]), one
        )
        for n, one in enumerate([np.ones(4)] * 2)
    ]
    law = multivariate_normal
    exact = law.logpdf(target, gap, cover) - law.logpdf(target, np.zeros(2), cover)
    np.testing.assert_allclose(ratio(*parts), exact, atol=0.12)


def test_pairs_are_complements_and_references_balanced() -> None:
    inside = halves(500, 12, entropy=SeededEntropy(0))
    assert (inside[0::2] == ~inside[1::2]).all()
    for pair in range(6):
        rest = np.delete(inside, [2 * pair, 2 * pair + 1], axis=0)
        assert (rest.sum(axis=0) == 5).all()
    assert abs(inside[0::2].mean() - 0.5) < 0.03
    other = halves(500, 12, entropy=SeededEntropy(1))
    assert 0.4 < (other == inside).mean() < 0.6


def test_references_alone_say_nothing_about_the_release_under_attack() -> None:
    """A release that is noise, and references that expose: the area stays at half.

    Whatever the attack knows of the releases of others, it must not know who is inside
    of this one. Releases of pair 0 are noise here, all others show everything.
    """
    people, calls = 80, []

    def fit(inside, entropy):
        calls.append(1)
        rng = np.random.default_rng(list(entropy.key("noise")))
        noise = rng.standard_normal(people)
        return noise if len(calls) <= 2 else inside + 0.3 * noise

    found = attacked(fit, people, models=8)
    assert found.projection.auc < 0.95
    inside = halves(people, 8, entropy=SeededEntropy(1))
    calls.clear()
    rng = np.random.default_rng(5)
    released = np.stack(
        [inside[n] + 0.3 * rng.standard_normal(people) for n in range(8)]
    )
    released[:2] = rng.standard_normal((2, people))
    seen = np.arange(8) >= 2
    scores, shift = project(released, inside, np.eye(people), seen)
    target = ratio(standard(scores[seen], inside[seen], scores[~seen], shift))
    truth = inside[~seen]
    from fedpref.audit.roc import roc

    assert abs(roc(target, truth).auc - 0.5) < 0.12


def test_people_without_answers_are_not_scored() -> None:
    answers = np.array([1] * 30 + [0] * 10)
    found = attack(
        one_hot(40, 0.0),
        lambda released: released,
        np.eye(40),
        answers,
        models=8,
        entropy=OsEntropy(),
    )
    assert found.people == 30
    assert found.projection.auc == 1


def test_the_same_seed_gives_the_same_figures() -> None:
    first, again = (attacked(one_hot(30, 1.0), 30, models=8) for _ in range(2))
    assert first == again
    assert first != attacked(one_hot(30, 1.0), 30, models=8, seed=2)


@pytest.mark.parametrize("models", [0, 6, 9])
def test_too_few_or_odd_models_are_refused(models) -> None:
    with pytest.raises(InputError, match=f"models = {models}, must be even"):
        attacked(one_hot(10, 1.0), 10, models=models)


def test_shapes_that_do_not_fit_are_refused() -> None:
    entropy, ones = SeededEntropy(1), np.ones(4, dtype=np.int64)

    def same(released):
        return released

    with pytest.raises(InputError, match="5 numbers a person for a release of 4"):
        attack(one_hot(4, 1.0), same, np.ones((4, 5)), ones, models=8, entropy=entropy)
    with pytest.raises(InputError, match="give a row a person"):
        attack(one_hot(4, 1.0), same, np.eye(5), ones, models=8, entropy=entropy)
    with pytest.raises(InputError, match="nothing to attack"):
        attack(one_hot(4, 1.0), same, 0 * np.eye(4), ones, models=8, entropy=entropy)
