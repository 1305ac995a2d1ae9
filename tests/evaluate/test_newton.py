import numpy as np
import pytest
from scipy.optimize import minimize

from fedpref.core.types import Record
from fedpref.errors import InputError
from fedpref.evaluate import fit_choices, flatten


def penalised(people, features, precision):
    """The negative log-likelihood and its prior, one record after another."""
    records = [record for own in people.values() for record in own]
    menus = [(features(record.texts), record.choice) for record in records]

    def loss(weights):
        total = precision / 2 * weights @ weights
        for rows, choice in menus:
            scores = rows @ weights
            total += np.log(np.exp(scores).sum()) - scores[choice]
        return total

    return loss


@pytest.mark.parametrize("precision", [1e-2, 1.0, 100.0])
def test_against_scipy(survey, precision):
    people, _, features, _ = survey
    menus = flatten(people)
    found = fit_choices(features(menus.texts), menus, precision=precision)
    loss = penalised(people, features, precision)
    oracle = minimize(loss, np.zeros(3), tol=1e-8)
    assert found == pytest.approx(oracle.x, abs=1e-4)
    assert loss(found) <= oracle.fun + 1e-9


def test_recovers_the_weights_that_made_the_choices(survey):
    people, _, features, weights = survey
    menus = flatten(people)
    found = fit_choices(features(menus.texts), menus, precision=1e-3)
    assert found == pytest.approx(weights, abs=0.35)


def test_a_pair_is_bradley_terry():
    # x beats y three times of four: the score difference is log 3 without a prior
    records = [Record("a", "", ("x", "y"), choice=int(i == 0)) for i in range(4)]
    menus = flatten({"a": records})
    found = fit_choices(np.array([[1.0], [0.0]]), menus, precision=1e-9)
    assert found == pytest.approx([np.log(3)], abs=1e-6)


def test_where_plain_newton_circles_for_ever():
    # full steps from zero never settle on these three pairs: halving has to save them
    gaps = np.array([[3.0, 7.3], [13.9, -27.4], [0.4, -0.2]])
    records = [Record("a", "", (str(i), "none"), choice=0) for i in range(3)]
    menus = flatten({"a": records})
    rows = [gaps[int(t)] if t != "none" else np.zeros(2) for t in menus.texts]
    found = fit_choices(np.stack(rows), menus, precision=1e-3)

    def plain(w):
        return np.logaddexp(0, -gaps @ w).sum() + 1e-3 / 2 * w @ w

    oracle = minimize(plain, np.zeros(2), tol=1e-10)
    assert found == pytest.approx(oracle.x, abs=1e-3)
    assert plain(found) <= oracle.fun + 1e-9


def test_no_prior_is_refused():
    menus = flatten({"a": [Record("a", "", ("x", "y"), choice=0)]})
    with pytest.raises(InputError, match="precision = 0"):
        fit_choices(np.array([[1.0], [0.0]]), menus, precision=0)
