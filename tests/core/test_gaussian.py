"""The exact Gaussian against high precision and against the accountants."""

from fractions import Fraction
from math import inf

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.core import composition
from fedpref.core.composition import Gaussian
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.errors import PlanError


def spent(mu: Fraction, value: float):
    """Balle and Wang (2018), theorem 8, in 60 digits."""
    size = mpmath.mpf(mu.numerator) / mu.denominator
    epsilon = mpmath.mpf(value)
    below = mpmath.exp(epsilon) * mpmath.ncdf(-size / 2 - epsilon / size)
    return mpmath.ncdf(size / 2 - epsilon / size) - below


@pytest.mark.parametrize("mu", ["0.001", "0.05", "0.5", "1", "3", "20", "60"])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9, 1e-14])
def test_exact_gaussian_in_high_precision_is_just_below(mu, delta) -> None:
    found = gaussian_epsilon(Fraction(mu) ** 2, delta)
    with mpmath.workdps(60):
        assert spent(Fraction(mu), found) <= delta
        if found > 0:
            assert spent(Fraction(mu), found * (1 - 1e-6)) > delta


@settings(max_examples=200)
@given(st.fractions(Fraction(1, 10**6), 40), st.floats(1e-16, 0.9))
def test_is_never_below_the_truth(mu, delta) -> None:
    found = gaussian_epsilon(mu * mu, delta)
    with mpmath.workdps(60):
        assert spent(mu, found) <= delta


@pytest.mark.parametrize("multiplier", [0.7, 2.0, 9.3, 80.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
def test_costs_no_more_than_by_pld_or_rdp(multiplier, delta) -> None:
    found = gaussian_epsilon(1 / Fraction(multiplier) ** 2, delta)
    counts = ((Gaussian(1.0, multiplier), 1),)
    assert found <= composition.pld(counts, 1e-4)(delta)
    assert found <= composition.rdp(counts)(delta)


def test_exact_gaussian_at_the_edges() -> None:
    assert gaussian_epsilon(Fraction(0), 1e-5) == 0
    assert gaussian_epsilon(Fraction(1, 10**12), 1e-5) == 0
    assert gaussian_epsilon(Fraction(2**20), 1e-5) == inf
    assert gaussian_epsilon(Fraction(2**20 - 1), 1e-5) > 2**19
    for size, delta in ((Fraction(-1), 1e-5), (Fraction(1), 0.0), (Fraction(1), 1.0)):
        with pytest.raises(PlanError, match="mu_squared"):
            gaussian_epsilon(size, delta)
