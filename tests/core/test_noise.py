"""The law of the noise, against the law that is booked."""

from fractions import Fraction
from math import sqrt

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedpref.core.entropy import SeededEntropy
from fedpref.core.laws import gaussian_table, skellam_table
from fedpref.core.noise import (
    add_gaussian,
    discrete_gaussian,
    sampler_error,
    skellam,
    standard_normal,
    stddev_steps,
    tail_mass,
)
from fedpref.core.scale import choose_scale
from fedpref.core.types import BoundedSum, Grid

KEY = SeededEntropy(5).key("test")
LIMITS = (1e-6, 1 - 1e-6)  # a right sampler fails one run in 500,000; this one is fixed


def chi_square_passes(noise: np.ndarray, stddev: float) -> bool:
    """Whether the sum of squares is that of Gaussians with ``stddev``."""
    statistic = float(np.square(noise / stddev).sum())
    low, high = stats.chi2.ppf(LIMITS, len(noise))
    return bool(low < statistic < high)


def test_moments_and_shape_of_the_standard_normal() -> None:
    sample = standard_normal(1_000_001, key=KEY)
    assert chi_square_passes(sample, 1.0)
    assert stats.kstest(sample[:200_000], "norm").pvalue > 1e-6
    assert abs(sample.mean()) < 5 / sqrt(len(sample))
    assert abs((sample**4).mean() - 3) < 5 * sqrt(96 / len(sample))


def test_both_halves_of_a_pair_are_independent() -> None:
    sample = standard_normal(200_000, key=KEY)
    first, second = sample[:100_000], sample[100_000:]
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / sqrt(100_000)
    assert abs(np.corrcoef(first**2, second**2)[0, 1]) < 5 / sqrt(100_000)


def test_a_release_has_the_variance_that_is_booked() -> None:
    limit = (2**24) ** 2
    empty = BoundedSum(np.zeros(200_000, np.int64), limit, Grid(2.0**-20))
    noise = add_gaussian(empty, Fraction(3, 2), key=KEY)
    assert chi_square_passes(noise, stddev_steps(limit, Fraction(3, 2)))


def test_the_check_sees_half_the_noise() -> None:
    limit = (2**24) ** 2
    empty = BoundedSum(np.zeros(200_000, np.int64), limit, Grid(2.0**-20))
    halved = add_gaussian(empty, Fraction(3, 4), key=KEY)
    assert not chi_square_passes(halved, stddev_steps(limit, Fraction(3, 2)))


def test_noise_is_sized_from_the_sum_it_protects() -> None:
    def spread(sensitivity: int) -> float:
        total = BoundedSum(np.zeros(10_000, np.int64), sensitivity**2, Grid(1.0))
        return float(add_gaussian(total, Fraction(2), key=KEY).std())

    assert spread(4000) == pytest.approx(2 * spread(2000), rel=1e-3)


def test_adding_rounded_noise_is_rounding_the_noisy_sum() -> None:
    """The argument for integers: x + round(g) = round(x + g)."""
    total = np.arange(-500, 500, dtype=np.int64)
    noisy = add_gaussian(BoundedSum(total, 10**6, Grid(1.0)), Fraction(1), key=KEY)
    real = total + 1000.0 * standard_normal(1000, key=KEY)
    assert np.array_equal(noisy, np.rint(real).astype(np.int64))


@given(st.integers(1, 2**60), st.fractions(Fraction(1, 1000), 1000))
def test_standard_deviation_is_rounded_up_to_a_whole_step(square, multiplier) -> None:
    steps = stddev_steps(square, multiplier)
    exact = multiplier**2 * square
    assert steps**2 >= exact
    assert (steps - 1) ** 2 < exact


@pytest.mark.parametrize("multiplier", [Fraction(0), Fraction(-1)])
def test_refuses_to_add_no_noise(multiplier) -> None:
    empty = BoundedSum(np.zeros(1, np.int64), 1, Grid(1.0))
    with pytest.raises(ValueError, match="must be > 0"):
        add_gaussian(empty, multiplier, key=KEY)


def test_refuses_noise_that_a_double_cannot_resolve() -> None:
    """A cast beyond int64 gives one constant, and so the sum in the clear."""
    bounded = BoundedSum(np.arange(500, dtype=np.int64), 2**50, Grid(1.0))
    most = Fraction(2**21)  # 2**46 steps
    noise = add_gaussian(bounded, most, key=KEY) - bounded.total
    assert chi_square_passes(noise, 2.0**46)
    assert len(set((noise % 8).tolist())) == 8  # the last digits are covered too
    for multiplier in (most + Fraction(1, 2**24), Fraction(10**14)):
        with pytest.raises(ValueError, match=r"must be <= 2\*\*46; take a coarser"):
            add_gaussian(bounded, multiplier, key=KEY)


def test_the_sampler_reaches_as_far_as_its_tail_mass_says(monkeypatch) -> None:
    """The extreme words give the extreme radius, and both words count."""
    from fedpref.core import noise

    def words(count, *, key):
        return np.zeros(count, np.uint64)

    monkeypatch.setattr(noise, "uniform_words", words)
    largest = float(np.abs(standard_normal(2, key=KEY)).max())
    assert largest == pytest.approx(sqrt(2 * 129 * np.log(2)), rel=1e-12)

    def low_differs(count, *, key):
        given = np.zeros(count, np.uint64)
        given[count // 3] = 2**63  # the low word of the radius
        return given

    monkeypatch.setattr(noise, "uniform_words", low_differs)
    assert float(np.abs(standard_normal(2, key=KEY)).max()) < largest - 1


def test_tail_mass_covers_what_the_sampler_cannot_reach() -> None:
    """The largest radius is sqrt(-2 ln u) at the smallest u that words can make."""
    smallest = mpmath.mpf("0.5") * mpmath.mpf(2) ** -128
    largest = mpmath.sqrt(-2 * mpmath.log(smallest))
    beyond = mpmath.exp(-(largest**2) / 2)  # P(radius > r) of a Gaussian pair
    for coordinates in (1, 2, 6161):
        pairs = (coordinates + 1) // 2
        assert pairs * beyond <= tail_mass(coordinates)


CONTRIBUTORS, COORDINATES = 9, 100_000


def shares(variance: int) -> np.ndarray:
    """The shares of the least cohort, summed."""
    keys = [SeededEntropy(5).key(f"share/{n}") for n in range(CONTRIBUTORS)]
    drawn = [skellam(COORDINATES, variance, key=key) for key in keys]
    return np.sum(drawn, axis=0)


def test_shares_of_the_least_cohort_carry_the_planned_noise() -> None:
    """And half of a share, or one share less, makes this fail."""
    multiplier = Fraction(3, 2)
    scale = choose_scale(
        coordinates=COORDINATES,
        noise_multiplier=multiplier,
        clients=12,
        contributors=CONTRIBUTORS,
        units_per_client=1,
        word_bits=24,
        rotated=False,
    )
    planned = sqrt(float(multiplier**2 * scale.limit))
    assert chi_square_passes(shares(scale.share_variance), planned)
    assert not chi_square_passes(shares(scale.share_variance // 2), planned)
    fewer = scale.share_variance * (CONTRIBUTORS - 1) // CONTRIBUTORS
    assert not chi_square_passes(shares(fewer), planned)


def test_a_sum_of_shares_is_skellam() -> None:
    """The whole law, not the variance alone: shares of 2 make a sum of 18."""
    summed = shares(2)
    support = np.arange(-16, 17)
    mass = stats.skellam.pmf(support, CONTRIBUTORS, CONTRIBUTORS)
    inside = summed[np.abs(summed) <= 16]
    counts = np.bincount(inside + 16, minlength=33)
    observed = [*counts, len(summed) - len(inside)]
    expected = np.append(mass, 1 - mass.sum()) * len(summed)
    assert stats.chisquare(observed, expected).pvalue > 1e-6


def test_laws_are_not_mixed_up() -> None:
    """At variance 1 they differ visibly: a Skellam number is 0 with chance .4658."""
    at_zero = stats.skellam.pmf(0, 0.5, 0.5)
    count = 200_000
    allowed = 5 * sqrt(at_zero * (1 - at_zero) / count)
    assert abs((skellam(count, 1, key=KEY) == 0).mean() - at_zero) < allowed
    gauss = 1 / sum(np.exp(-(x**2) / 2) for x in range(-9, 10))
    drawn = discrete_gaussian(count, 1, key=KEY)
    assert abs((drawn == 0).mean() - gauss) < allowed
    assert abs(gauss - at_zero) > 10 * allowed


def test_shares_are_set_by_their_key() -> None:
    assert np.array_equal(skellam(99, 100, key=KEY), skellam(99, 100, key=KEY))
    assert not np.array_equal(
        skellam(99, 100, key=KEY), skellam(99, 100, key=bytes(32))
    )


@pytest.mark.parametrize("sampler", [skellam, discrete_gaussian])
@pytest.mark.parametrize("variance", [0, -1, 2**24 + 1])
def test_refuses_variances_without_a_table(sampler, variance) -> None:
    with pytest.raises(ValueError, match="coarser grid"):
        sampler(1, variance, key=KEY)


@pytest.mark.parametrize("table", [skellam_table, gaussian_table])
def test_sampler_error_covers_the_largest_table(table) -> None:
    """A threshold is off by less than 2**-128, and there are at most 2**17.

    The distance of one draw is at most the sum of what all thresholds are off by; as
    much again is left for what the page adds: weights and tail.
    """
    thresholds = len(table(2**24).high)
    assert thresholds * mpmath.mpf(2) ** -128 <= sampler_error(1) / 2
    assert sampler_error(10**6) == 10**6 * sampler_error(1)  # approx would allow 1e-12
