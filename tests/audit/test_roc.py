"""Areas, points and intervals against scikit-learn, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from fedpref.audit.roc import FPR, reached, roc
from fedpref.errors import InputError


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(2, 400))
def test_area_and_points_are_those_of_scikit_learn(seed, ties, count) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random(count) < 0.5
    inside[:2] = True, False
    scores = rng.standard_normal(count) + inside
    if ties:
        scores = scores.round()
    found = roc(scores, inside)
    assert found.auc == pytest.approx(roc_auc_score(inside, scores))
    fpr, tpr, _ = roc_curve(inside, scores, drop_intermediate=False)
    for wanted in (FPR, 0.1, 0.5, 1.0):
        # the highest point at or before it, then the line to the next one
        last = np.flatnonzero(fpr <= wanted)[-1]
        exact = tpr[last]
        if last + 1 < len(fpr):
            share = (wanted - fpr[last]) / (fpr[last + 1] - fpr[last])
            exact += share * (tpr[last + 1] - tpr[last])
        assert found.at(wanted) == pytest.approx(exact)


def test_equal_scores_are_a_coin() -> None:
    inside = np.array([[True, False, True, False]])
    found = roc(np.zeros((1, 4)), inside)
    assert (found.auc, found.at(0.01)) == (0.5, pytest.approx(0.01))


def test_intervals_cover_the_truth_when_people_and_models_differ() -> None:
    """People of different luck and models of different luck, 40 worlds."""
    rng, covered = np.random.default_rng(1), 0
    from scipy.stats import norm

    truth = norm.cdf(1 / np.sqrt(2 * (1 + 0.25 + 0.25)))
    for _ in range(40):
        coins = rng.random((10, 40)) < 0.5
        inside = np.stack([coins, ~coins], axis=1).reshape(20, 40)
        luck = 0.5 * rng.standard_normal((1, 40)) + 0.5 * np.repeat(
            rng.standard_normal((10, 1)), 2, axis=0
        )
        scores = inside + luck + rng.standard_normal((20, 40))
        low, high = reached(scores, inside, np.arange(20) // 2, resamples=200).auc_ci95
        covered += low <= truth <= high
    assert covered >= 34


def test_people_are_resampled_whole() -> None:
    """Twice the models of the same few people do not make the interval vanish."""
    rng = np.random.default_rng(0)
    inside = rng.random((400, 6)) < 0.5
    scores = np.where(inside, np.array([3.0, 3, 3, -3, -3, 3]), 0.0)
    low, high = reached(scores, inside, np.arange(400) // 2, resamples=200).auc_ci95
    assert high - low > 0.3


@pytest.mark.parametrize("inside", [np.ones(3, bool), np.zeros(3, bool)])
def test_one_side_alone_is_refused(inside) -> None:
    with pytest.raises(InputError, match=r"members = . of 3"):
        roc(np.zeros(3), inside)


def test_scores_must_be_numbers() -> None:
    with pytest.raises(InputError, match="1 of 2 are not finite"):
        roc(np.array([np.nan, 1]), np.array([True, False]))
