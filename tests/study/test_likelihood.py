from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from fedpref.core.types import Record
from fedpref.errors import InputError
from fedpref.study import likelihood
from fedpref.study.answers import Kind, from_records
from fedpref.study.likelihood import (
    chances,
    curvature,
    gradients,
    log_likelihood,
    map_offsets,
    residual,
    utilities,
)

KINDS = ("choosers", "raters")
NOISE = 0.4


def log_likelihood_slowly(answers, weights):
    """One record after another, from the definitions."""
    total = np.zeros(len(answers.people))
    ends = [*answers.start[1:], len(answers.text)]
    for number, user in enumerate(answers.user):
        begin, end = answers.start[number], ends[number]
        score = answers.features[answers.text[begin:end]] @ weights[user]
        if answers.kind is Kind.RATING:
            total[user] -= (answers.value[number] - score[0]) ** 2 / (2 * NOISE**2)
        else:
            chance = np.exp(score) / np.exp(score).sum()
            total[user] += np.log(chance[answers.chosen[number] - begin])
    return total


@pytest.fixture(params=KINDS)
def people(request):
    """Answers, and weights for each person."""
    answers = request.getfixturevalue(request.param)(5, answers=5).answers
    shape = (5, answers.dimension)
    return answers, np.random.default_rng(1).normal(size=shape)


def test_against_the_definition(people):
    answers, weights = people
    found = log_likelihood(answers, weights, noise=NOISE)
    assert found == pytest.approx(log_likelihood_slowly(answers, weights), abs=1e-12)


def test_shared_weights_are_everybodys(people):
    answers, weights = people
    same = np.tile(weights[0], (5, 1))
    assert utilities(answers, weights[0]) == pytest.approx(utilities(answers, same))
    assert gradients(answers, weights[0]) == pytest.approx(gradients(answers, same))


def test_both_ways_to_look_up_utilities_agree(people):
    answers, weights = people
    # so many texts that rows are gathered instead of scored for everybody
    more = np.vstack([answers.features, np.zeros((500, answers.dimension))])
    many = utilities(replace(answers, features=more), weights)
    assert many == pytest.approx(utilities(answers, weights), abs=1e-12)


def test_gradient_against_finite_differences(people):
    answers, weights = people
    found = gradients(answers, weights, noise=NOISE)
    step = 1e-5
    for i in range(answers.dimension):
        moved = step * np.eye(answers.dimension)[i]
        up = log_likelihood_slowly(answers, weights + moved)
        down = log_likelihood_slowly(answers, weights - moved)
        assert found[:, i] == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_curvature_against_finite_differences(people):
    answers, weights = people
    found = curvature(answers, weights, noise=NOISE)
    step = 1e-5
    for i in range(answers.dimension):
        moved = step * np.eye(answers.dimension)[i]
        up = gradients(answers, weights + moved, noise=NOISE)
        down = gradients(answers, weights - moved, noise=NOISE)
        assert found[:, i] == pytest.approx((down - up) / (2 * step), abs=1e-5)


def test_two_options_are_bradley_terry(choosers):
    answers = choosers(options=(2, 2)).answers
    weights = np.random.default_rng(0).normal(size=answers.dimension)
    score = utilities(answers, weights).reshape(-1, 2)
    place = (answers.chosen - answers.start)[:, None]
    chosen = np.take_along_axis(score, place, axis=1)
    other = np.take_along_axis(score, 1 - place, axis=1)
    each = -np.log1p(np.exp(other - chosen))[:, 0]
    expected = np.bincount(answers.user, each)
    assert log_likelihood(answers, weights) == pytest.approx(expected)


def test_large_utilities_do_not_overflow(choosers):
    answers = choosers().answers
    weights = np.full(answers.dimension, 1e4)
    assert np.isfinite(log_likelihood(answers, weights)).all()
    assert np.isfinite(gradients(answers, weights)).all()
    assert chances(answers, utilities(answers, weights)).max() <= 1


@pytest.mark.parametrize("scale", [0.05, 1.0, 30.0])
def test_map_against_scipy(people, scale):
    answers, base = people
    d = answers.dimension
    root = np.random.default_rng(2).normal(size=(d, d))
    precision = (root @ root.T + np.eye(d)) / scale
    found = map_offsets(answers, base, precision, noise=NOISE)
    for person in range(5):
        mask = np.arange(5)[:, None] == person

        def loss(b, person=person, mask=mask):
            fit = log_likelihood_slowly(answers, base + mask * b)[person]
            return b @ precision @ b / 2 - fit

        best = minimize(loss, np.zeros(d), tol=1e-9)
        assert found.mean[person] == pytest.approx(best.x, abs=2e-4)
        assert loss(found.mean[person]) <= best.fun + 1e-9
    curved = curvature(answers, base + found.mean, noise=NOISE)
    for own, covariance in zip(curved, found.covariance, strict=True):
        assert covariance @ (precision + own) == pytest.approx(np.eye(d), abs=1e-9)


def test_ratings_have_the_closed_form(raters):
    answers = raters(1).answers
    rows = answers.features[answers.text]
    base, precision = np.full(5, 0.1), 4 * np.eye(5)
    inverse = np.linalg.inv(precision + rows.T @ rows / NOISE**2)
    expected = inverse @ rows.T @ (answers.value - rows @ base) / NOISE**2
    found = map_offsets(answers, base, precision, noise=NOISE)
    assert found.mean[0] == pytest.approx(expected)
    assert found.covariance[0] == pytest.approx(inverse)


def test_where_plain_newton_circles_for_ever():
    # full steps never settle on these three pairs: halving has to save them
    gaps = np.array([[3.0, 7.3], [13.9, -27.4], [0.4, -0.2]])
    records = [Record("a", "", (str(i), "none"), choice=0) for i in range(3)]
    rows = {str(i): gap for i, gap in enumerate(gaps)} | {"none": np.zeros(2)}
    answers = from_records(
        {"a": records}, lambda texts: np.stack([rows[text] for text in texts])
    )
    found = map_offsets(answers, np.zeros(2), 1e-3 * np.eye(2)).mean[0]
    slope = gradients(answers, found)[0] - 1e-3 * found
    assert slope == pytest.approx(np.zeros(2), abs=1e-6)


@pytest.mark.parametrize("floor", [1e-4, 1e-7, 1e-9])
def test_a_stiff_prior_gives_the_offset_within_its_basis(choosers, floor):
    # With next to no variance outside a basis V the offset is V z, and z can be fitted
    # alone. Rounding is then larger than any step's gain near the end.
    answers = choosers(40, answers=8).answers
    rng = np.random.default_rng(5)
    basis = 3 * rng.normal(size=(answers.dimension, 2))
    base = rng.normal(size=answers.dimension)
    covariance = basis @ basis.T + floor * np.eye(answers.dimension)
    precision = np.linalg.inv(covariance)
    found = map_offsets(answers, base, (precision + precision.T) / 2).mean
    for person in range(3):
        mask = np.arange(40)[:, None] == person

        def loss(z, mask=mask, person=person):
            fit = log_likelihood_slowly(answers, base + mask * (basis @ z))
            return z @ z / 2 - fit[person]

        best = minimize(loss, np.zeros(2), tol=1e-9).x
        assert found[person] == pytest.approx(basis @ best, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_without_answers_the_prior_is_left(kind, request, halves):
    answers = request.getfixturevalue(kind)().answers
    none, _ = halves(answers, 0)
    precision = np.diag(np.arange(1.0, answers.dimension + 1))
    found = map_offsets(none, np.ones(answers.dimension), precision)
    assert np.array_equal(found.mean, np.zeros_like(found.mean))
    expected = np.broadcast_to(np.linalg.inv(precision), found.covariance.shape)
    assert found.covariance == pytest.approx(expected)
    zeros = np.zeros((12, answers.dimension))
    assert np.array_equal(gradients(none, np.ones(answers.dimension)), zeros)


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_depends_on_another_person(kind, request, alter):
    answers = request.getfixturevalue(kind)().answers
    other = alter(answers, 3)
    weights = np.full(answers.dimension, 0.2)
    precision = np.eye(answers.dimension)
    before = gradients(answers, weights), map_offsets(answers, weights, precision).mean
    after = gradients(other, weights), map_offsets(other, weights, precision).mean
    rest = np.arange(12) != 3
    for a, b in zip(before, after, strict=True):
        assert np.array_equal(a[rest], b[rest])
        assert not np.allclose(a[3], b[3])


@pytest.mark.parametrize("kind", KINDS)
def test_batches_change_nothing(kind, request, monkeypatch):
    answers = request.getfixturevalue(kind)(20).answers
    base, precision = np.full(answers.dimension, 0.2), np.eye(answers.dimension)
    whole = map_offsets(answers, base, precision)
    monkeypatch.setattr(likelihood, "BLOCK", 200)
    parts = map_offsets(answers, base, precision)
    assert parts.mean == pytest.approx(whole.mean, abs=1e-9)
    assert parts.covariance == pytest.approx(whole.covariance, abs=1e-9)


@pytest.mark.parametrize(
    ("precision", "message"),
    [
        (np.eye(3), r"symmetric \(4, 4\)"),
        (np.triu(np.ones((4, 4))), "symmetric"),
        (np.zeros((4, 4)), "must be positive"),
        (np.diag([1.0, 1, 1, -1]), "must be positive"),
    ],
)
def test_refuses_a_precision_without_a_maximum(choosers, precision, message):
    with pytest.raises(InputError, match=message):
        map_offsets(choosers().answers, np.zeros(4), precision)


def test_residual_is_the_root_mean_square(raters):
    answers = raters().answers
    gap = answers.value - answers.features[answers.text] @ np.full(5, 0.1)
    expected = np.sqrt((gap**2).mean())
    assert residual(answers, np.full(5, 0.1)) == pytest.approx(expected)
