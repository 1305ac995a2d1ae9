"""What a claim allows, against mpmath and quadrature, and the refusal above it."""

from fractions import Fraction
from math import exp, inf, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from fedpref.audit.claim import Claim
from fedpref.audit.roc import Reached
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.errors import AuditError, InputError


@pytest.mark.parametrize("mu", [0.05, 0.27, 1.0, 3.0])
def test_mu_is_that_of_the_gaussian_with_this_price(mu) -> None:
    epsilon = gaussian_epsilon(Fraction(mu) ** 2, 1e-5)
    assert Claim(epsilon, 1e-5).mu == pytest.approx(mu, rel=1e-5)
    assert Claim(epsilon, 1e-5).mu >= mu
    assert Claim(epsilon, 1e-5).gaussian_auc == pytest.approx(norm.cdf(mu / sqrt(2)))


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 1e-5), (0.5, 0.01), (2, 1e-6)])
def test_area_is_that_under_the_bound(epsilon, delta) -> None:
    claim = Claim(epsilon, delta)
    # randomised response with a chance delta of telling all reaches both lines
    corner = (1 - delta) / (1 + exp(epsilon))
    points = [corner, 1 - delta]
    area = quad(claim.tpr, 0, 1, points=points, epsabs=1e-10)[0]
    assert claim.auc == pytest.approx(area, abs=1e-8)
    assert claim.tpr(corner) == pytest.approx(1 - corner)
    # never less than a Gaussian of the same price
    fpr = np.linspace(1e-4, 0.999, 300)
    assert all(claim.tpr(x) >= claim.gaussian_tpr(x) - 1e-9 for x in fpr)


def test_nothing_is_claimed_without_noise() -> None:
    claim = Claim(inf, 1e-5)
    assert (claim.auc, claim.gaussian_auc, claim.tpr(), claim.mu) == (1, 1, 1, inf)
    claim.require(Reached(1.0, (1.0, 1.0), 1.0, (1.0, 1.0)), name="any")


def test_an_attack_above_is_an_error_and_one_below_is_not() -> None:
    claim = Claim(1.0, 1e-5)
    bound = claim.gaussian_auc
    below = Reached(bound + 0.01, (bound - 0.001, bound + 0.02), 0.01, (0.0, 0.02))
    claim.require(below, name="weights")
    above = Reached(bound + 0.01, (bound + 0.001, bound + 0.02), 0.01, (0.0, 0.02))
    with pytest.raises(AuditError, match=r"weights: AUC = at least .* epsilon 1 ") as e:
        claim.require(above, name="weights")
    assert e.value.exit_code == 5
    point = Reached(0.5, (0.45, 0.55), 0.1, (claim.gaussian_tpr() + 0.001, 0.2))
    with pytest.raises(AuditError, match="TPR = at least"):
        claim.require(point, name="weights")


@pytest.mark.parametrize(("epsilon", "delta"), [(-1, 1e-5), (1, 1.0), (1, -0.1)])
def test_nonsense_is_refused(epsilon, delta) -> None:
    with pytest.raises(InputError, match="epsilon = "):
        Claim(epsilon, delta)
