"""How far Skellam noise is from rounded Gaussian noise, over many coordinates.

Guarantees: every run with Skellam noise is as likely as with rounded Gaussian noise of
the same variance, up to a factor e^spread and a chance of slack, which err upwards.

Does not give: a price (``fedpref.core.skellam``), or exactness below float64 (label:
idealised numerics).
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, erfc, exp, inf, isqrt, log, log1p, pi, sqrt

import numpy as np

from fedpref.core.types import Float

_LEAST_VARIANCE = 16  # below it the expansion of the Skellam law is not sharp
_STRIDES = 300  # points a standard deviation at which the divergence is summed
_PAD = 1 + 1e-4
_HOPELESS = 1e9
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True)
class Closeness:
    """P(run in S) <= e^spread P(twin in S) + slack for every S, and vice versa."""

    spread: float
    slack: float


FAR = Closeness(inf, inf)

Draws = tuple[tuple[Fraction, int], ...]
"""Variances of Skellam noise, each with the coordinates drawn with it in all rounds."""


@lru_cache(maxsize=4096)
def closeness(noises: Draws, missed: float) -> Closeness:
    """How close Skellam noise is to rounded Gaussian noise, over all that is drawn.

    Args:
        noises: Each variance with the number of coordinates drawn with it.
        missed: delta0, what the conversion from Rényi divergence may miss; > 0.

    Returns:
        The least spread over all orders, and the slack that goes with it: delta0 and
        the tails. ``FAR`` where a variance is below 16 or 1 is not reached.

    >>> million = ((Fraction(1000**2), 10**6),)  # 1,000 steps, a million coordinates
    >>> round(closeness(million, 1e-12).spread, 5)
    0.00155
    """
    if any(variance < _LEAST_VARIANCE for variance, _ in noises):
        return FAR
    from scipy.optimize import minimize_scalar

    width, tails = _range(noises, missed / 10)
    laws = [(count, _law(variance, width)) for variance, count in noises]
    bound = log(1 / missed)

    def spread(log_order: float) -> float:
        above = exp(log_order)  # the order less 1
        total = sum(count * law.divergence(above) for count, law in laws)
        together = total + bound / above
        # a slope, so that the search leaves orders that are too large
        return together if together < _HOPELESS else _HOPELESS + log_order

    # any order gives a valid bound, so how well the search converges is not at stake
    found = minimize_scalar(
        spread, bounds=(0.0, 46.0), method="bounded", options={"xatol": 1e-4}
    )
    least = float(spread(float(found.x))) * _PAD
    if least > 1:
        return FAR
    return Closeness(least, missed + exp(least) * tails)


@dataclass(frozen=True)
class _Law:
    """Log ratio of Skellam and rounded Gaussian, and weights of the points summed."""

    ratio: Float  # [points], at 0, m, 2m, ..., both laws cut off beyond the last
    gaussian: Float  # [points], weight of both signs
    skellam: Float

    def divergence(self, above: float) -> float:
        """The larger Rényi divergence of order ``above`` + 1, rounded up."""
        with np.errstate(over="ignore"):
            totals = [
                self._total(above + 1, self.ratio, self.gaussian),
                self._total(above + 1, -self.ratio, self.skellam),
            ]
        return log1p(max(totals) * _PAD) / above if max(totals) < 1e300 else inf

    def _total(self, order: float, ratio: Float, weight: Float) -> float:
        """Sum of weight (rho^l - 1 - l (rho - 1)): no term is negative."""
        terms = np.expm1(order * ratio) - order * np.expm1(ratio)
        # the last point stands for the rest of its cell as well
        return float(weight @ terms + weight[-1] * terms[-1])


def _range(noises: Draws, tails: float) -> tuple[float, float]:
    """Standard deviations at which to cut, and what is cut off of both laws."""
    width = 6.0
    while True:
        cut = sum(n * sum(_tails(v, _last(v, width))) for v, n in noises)
        if cut <= tails:
            return width, cut
        width += 1 / 16


def _stride(variance: Fraction) -> int:
    return max(1, isqrt(int(variance)) // _STRIDES)


def _last(variance: Fraction, width: float) -> int:
    """The last integer within ``width`` standard deviations, on the stride."""
    stride = _stride(variance)
    return stride * ceil(width * sqrt(variance) / stride)


@lru_cache(maxsize=4096)
def _tails(variance: Fraction, last: int) -> tuple[float, float]:
    """P(|X| > last) for the Skellam and for the rounded Gaussian, rounded up.

    Skellam is log-concave, so beyond ``last`` it falls at least as a geometric series.
    """
    v, ends = float(variance), np.array([last, last + 1.0])
    logs = -(ends**2) / (2 * v) + _skellam(ends, v)
    fall = exp(float(logs[1] - logs[0]))
    mass = exp(float(logs[0])) / sqrt(2 * pi * v) * fall / (1 - fall)
    return 2 * mass * _PAD, erfc((last + 0.5) / sqrt(2 * v - 1 / 6)) * _PAD


@lru_cache(maxsize=64)
def _law(variance: Fraction, width: float) -> _Law:
    v, stride, last = float(variance), _stride(variance), _last(variance, width)
    points = np.arange(0, last + 1, stride, dtype=np.float64)
    below, above = _tails(variance, last)
    base = _gaussian(points, v)
    ratio = _skellam(points, v) - base + (log1p(-above) - log1p(-below))
    # what the two expansions leave out, put on the side of a larger divergence
    ratio += np.sign(ratio) * (1e-9 * np.abs(ratio) + 2 / v**4)
    weight = np.exp(base - points**2 / (2 * v)) * (2 * stride / sqrt(2 * pi * v))
    weight[0] /= 2
    return _Law(ratio, weight, weight * np.exp(ratio))


def _skellam(x: Float, v: float) -> Float:
    """log[e^-v I_x(v)] less the log density of N(0, v) at x.

    Debye's expansion of the Bessel function with three terms (Olver 1974, chapter 10,
    section 7), in a form in which nothing cancels.
    """
    y = x / v
    w = np.sqrt(x * x + v * v)
    p = (x / w) ** 2
    first = (3 - 5 * p) / (24 * w)
    second = (81 - 462 * p + 385 * p**2) / (1152 * w**2)
    third = 30375 - 369603 * p + 765765 * p**2 - 425425 * p**3
    third = third / (414720 * w**3)
    shape = v * _quartic(y) - 0.25 * np.log1p(y * y)
    return np.asarray(shape + np.log1p(first + second + third))


def _gaussian(x: Float, v: float) -> Float:
    """log P(round(N(0, v - 1/12)) = x) less the log density of N(0, v) at x."""
    s = v - 1 / 12
    total = np.zeros_like(x)
    for u, weight in zip(_NODES / 2, _WEIGHTS / 2, strict=True):
        across = 2 * np.sinh(x / s * (u / 2)) ** 2
        total += weight * (across * exp(-u * u / (2 * s)) + np.expm1(-u * u / (2 * s)))
    shift = -x * x / (24 * v * s) - 0.5 * log1p(-1 / (12 * v))
    return np.asarray(shift + np.log1p(total))


def _quartic(y: Float) -> Float:
    """sqrt(1 + y^2) - 1 - y asinh(y) + y^2/2, which begins with y^4/24."""
    s = y * y
    series = 1 / 24 + s * (-1 / 80 + s * (5 / 896 + s * (-7 / 2304 + s * 21 / 11264)))
    direct = np.sqrt(1 + s) - 1 - y * np.arcsinh(y) + s / 2
    return np.where(np.abs(y) < 0.1, s * s * series, direct)
