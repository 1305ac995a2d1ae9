"""Skellam against rounded Gaussian noise: high precision, full sums, a known table."""

from fractions import Fraction
from functools import lru_cache
from math import log, sqrt

import mpmath
import numpy as np
import pytest

from fedpref.core import closeness as module
from fedpref.core.closeness import FAR, closeness

TABLE = {  # accounting.md section 3: spread at delta0 = 1e-12, by standard deviation
    200: (0.0063, 0.0387, 0.121, 0.381),
    500: (0.0010, 0.0062, 0.0193, 0.0609),
    1000: (0.00025, 0.0016, 0.0048, 0.0152),
    2000: (0.00006, 0.0004, 0.0012, 0.0038),
    4000: (None, 0.0001, 0.0003, 0.0010),
}


def of(stddev, count, missed=1e-12):
    return closeness(((Fraction(stddev) ** 2, count),), missed)


@pytest.mark.parametrize("stddev", TABLE)
def test_the_known_table(stddev) -> None:
    """Its first column was cut off at nine deviations; here less is needed, so less."""
    for count, known in zip((10**4, 10**6, 10**7, 10**8), TABLE[stddev], strict=True):
        if known is not None:
            found = of(stddev, count).spread
            assert found == pytest.approx(known, rel=0.05, abs=5e-5)


@pytest.mark.parametrize(("stddev", "count"), [(500, 10**7), (4000, 10**8)])
def test_the_leading_order_law(stddev, count) -> None:
    first = count / (48 * stddev**4)
    law = first + 2 * sqrt(first * log(1e12))
    assert law < of(stddev, count).spread < 1.02 * law


@lru_cache(maxsize=8)
def laws(variance: int, last: int):
    """Both laws within +-last, in high precision, each made to sum to one."""
    with mpmath.workdps(50):
        v, s = mpmath.mpf(variance), mpmath.sqrt(variance - mpmath.mpf(1) / 12)
        scale = mpmath.exp(-v)
        p = [scale * mpmath.besseli(x, v) for x in range(last + 2)]
        edges = [
            mpmath.erfc((x - mpmath.mpf(1) / 2) / s / mpmath.sqrt(2)) / 2
            for x in range(last + 3)
        ]
        q = [edges[x] - edges[x + 1] for x in range(last + 2)]
    return p, q


def exact_divergence(variance: int, last: int, order: float):
    p, q = laws(variance, last)
    with mpmath.workdps(50):
        weights = [1] + [2] * last
        all_p = mpmath.fdot(weights, p[: last + 1])
        all_q = mpmath.fdot(weights, q[: last + 1])
        found = []
        for a, b, in_a, in_b in ((p, q, all_p, all_q), (q, p, all_q, all_p)):
            terms = [
                w * (x / in_a) ** order * (y / in_b) ** (1 - mpmath.mpf(order))
                for w, x, y in zip(weights, a, b, strict=False)
            ]
            found.append(mpmath.log(mpmath.fsum(terms)) / (order - 1))
        return float(max(found))


@pytest.mark.parametrize(("stddev", "loose"), [(5, 1.03), (10, 1.002), (20, 1.001)])
def test_divergence_is_the_exact_one_or_a_little_above(stddev, loose) -> None:
    variance, width = Fraction(stddev**2), 6.0
    law = module._law(variance, width)
    last = module._last(variance, width)
    for order in (1.5, 2.0, 1 + stddev**2 / 20):
        exact = exact_divergence(stddev**2, last, order)
        found = law.divergence(order - 1)
        assert exact <= found <= loose * exact


def bessel(x: int, variance: int):
    """e^-V I_x(V) by its integral; what lies beyond 16 deviations is below 1e-55."""
    ends = mpmath.linspace(0, 16 / mpmath.sqrt(variance), 9)

    def inside(angle):
        return mpmath.exp(variance * (mpmath.cos(angle) - 1)) * mpmath.cos(x * angle)

    return mpmath.quad(inside, ends, method="gauss-legendre") / mpmath.pi


@pytest.mark.parametrize("stddev", [50, 1000, 30_000])
def test_ratio_of_the_laws_to_twelve_digits(stddev) -> None:
    variance = stddev**2
    points = np.array([0, 3, 3 * stddev + 1, 8 * stddev], dtype=float)
    v = float(variance)
    found = module._skellam(points, v) - module._gaussian(points, v)
    with mpmath.workdps(40):
        s = mpmath.sqrt(mpmath.mpf(variance) - mpmath.mpf(1) / 12)
        for x, ratio in zip(points, found, strict=True):
            p = bessel(int(x), variance)
            below, above = ((x + sign / 2) / s / mpmath.sqrt(2) for sign in (-1, 1))
            q = (mpmath.erf(above) - mpmath.erf(below)) / 2
            if x > stddev:
                q = (mpmath.erfc(below) - mpmath.erfc(above)) / 2
            exact = float(mpmath.log(p / q))
            assert ratio == pytest.approx(exact, rel=1e-9, abs=2 / v**4 + 1e-12 / v)


def test_a_coarser_sum_is_a_full_sum_or_a_little_above(monkeypatch) -> None:
    variance, width = Fraction(1200**2), 9.0
    coarse = module._law(variance, width)
    monkeypatch.setattr(module, "_STRIDES", 10**9)
    full = module._law.__wrapped__(variance, width)
    assert full.ratio.size > 3 * coarse.ratio.size
    for above in (1.0, 1e3, 1e4, 5e4, 1e5):
        exact = full.divergence(above)
        assert exact * (1 - 1e-6) <= coarse.divergence(above) <= exact * 1.3


def test_tails_are_the_exact_ones_or_a_little_above() -> None:
    p, q = laws(100, 130)
    for last in (60, 75, 90):
        skellam, gaussian = module._tails(Fraction(100), last)
        beyond = float(2 * mpmath.fsum(p[last + 1 :]))
        assert beyond * (1 - 1e-6) <= skellam <= beyond * 1.2
        assert float(2 * mpmath.fsum(q[last + 1 :])) <= gaussian * (1 + 1e-6)


def test_what_is_cut_off_is_paid() -> None:
    close = of(100, 10**5)
    assert 1e-12 < close.slack < 1.2e-12
    assert of(100, 10**5, 1e-9).spread < close.spread


def test_more_coordinates_and_less_noise_are_further_apart() -> None:
    assert of(500, 10**5).spread < of(500, 10**6).spread < of(250, 10**6).spread
    both = closeness(((Fraction(250) ** 2, 10**6), (Fraction(500) ** 2, 10**6)), 1e-12)
    assert of(250, 10**6).spread < both.spread < of(250, 2 * 10**6).spread


def test_too_little_noise_is_no_gaussian() -> None:
    assert of(3, 1) == FAR
    assert of(5, 10**9) == FAR
