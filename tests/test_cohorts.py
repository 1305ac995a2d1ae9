"""Counts and thresholds, by enumeration; what a cohort's size gives away, by sums."""

from fractions import Fraction
from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, norm

from fedpref.cohorts import draw_is_secret, secure, share_of
from fedpref.errors import PlanError


@given(st.integers(1, 99), st.integers(2, 5000))
def test_shares_round_up_from_their_decimals(percent, people) -> None:
    assert share_of(percent / 100, people) == -(-percent * people // 100)


@given(
    people=st.integers(2, 3000),
    colluders=st.integers(0, 60),
    survivors=st.integers(1, 100),
)
def test_a_threshold_stands_or_there_is_none(people, colluders, survivors) -> None:
    bad, least = -(-colluders * people // 100), -(-survivors * people // 100)
    legal = [
        t for t in range(bad + 1, least + 1) if 2 * t > people + bad and least > bad
    ]
    shares = (colluders / 100, survivors / 100)
    if not legal:
        with pytest.raises(PlanError, match="nearest plans that work"):
            secure(people, *shares, drawn_from=None, complete=True)
        return
    found = secure(people, *shares, drawn_from=None, complete=True)
    assert found.threshold in legal
    assert (found.colluders, found.min_survivors) == (bad, least)
    assert found.contributors == least - bad >= 1


@pytest.mark.parametrize("people", [10, 97, 1000])
def test_what_is_named_as_the_nearest_plan_works(people) -> None:
    with pytest.raises(PlanError) as caught:
        secure(people, 0.2, 0.5, drawn_from=None, complete=True)
    text = str(caught.value).split("nearest plans that work: ")[1]
    named = dict(part.split(" = ") for part in text.split(", or "))
    survivors = float(named["min_survivors"])
    secure(people, 0.2, survivors, drawn_from=None, complete=True)
    with pytest.raises(PlanError):
        secure(people, 0.2, survivors - 0.11, drawn_from=None, complete=True)
    if "colluders" in named:
        fewer = float(named["colluders"])
        secure(people, fewer, 0.5, drawn_from=None, complete=True)
    assert ("colluders" in named) == (people == 97)  # 49 of 97 are a majority


def test_a_drawn_cohort_is_capped_where_thresholds_end() -> None:
    found = secure(100, 0.1, 0.9, drawn_from=10_000, complete=True)
    assert found.largest == 162  # 2 * 90 > 162 + 17, but not > 163 + 17
    assert (found.colluders, found.min_survivors) == (17, 90)
    assert secure(100, 0.1, 0.9, drawn_from=120, complete=True).largest == 120


def test_on_drawn_neighbours_the_terms_are_those_of_the_protocol() -> None:
    found = secure(1000, 0.1, 0.9, drawn_from=None, complete=False)
    assert (found.neighbours, found.threshold) == (209, 263)  # docs/protocol.md


def pair_in_one_round(enrolled, expected, least, noise, others):
    """Laws of a released sum with and without one person; all others have ``others``.

    A cohort below ``least`` is drawn again, so the person is in more often.
    """
    q = expected / enrolled
    x = np.linspace(-30, others * enrolled + 30, 400_001)

    def law(own):
        total = np.zeros_like(x)
        for size in range(enrolled):  # of the other people
            chance = binom.pmf(size, enrolled - 1, q)
            if size >= least:
                total += chance * (1 - q) * norm.pdf(x, others * size, noise)
            if size + 1 >= least:
                total += chance * q * norm.pdf(x, others * size + own, noise)
        return total / (total.sum() * (x[1] - x[0]))

    return x, law(1.0), law(0.0)


def test_a_round_that_is_drawn_again_gives_the_draw_away() -> None:
    """Why P(in | accepted) is not the rate of a Poisson sample.

    With other people far away the sum shows how many of them were drawn; just below
    the least number, the person is in for sure. The delta of a Poisson sample at the
    raised rate is exceeded by more than half.
    """
    enrolled, expected, least, noise = 20, 4, 4, 0.5
    x, inside, outside = pair_in_one_round(enrolled, expected, least, noise, 10.0)
    step, epsilon = x[1] - x[0], 4.0
    real = np.maximum(inside - exp(epsilon) * outside, 0).sum() * step
    q = Fraction(expected, enrolled)
    sizes = range(least, enrolled + 1)
    weights = [binom.pmf(n, enrolled, float(q)) for n in sizes]
    mean = sum(n * w for n, w in zip(sizes, weights, strict=True)) / sum(weights)
    raised = mean / enrolled
    y = np.linspace(-10, 12, 200_001)
    out = norm.pdf(y, 0, noise)
    mixed = (1 - raised) * out + raised * norm.pdf(y, 1, noise)
    claimed = np.maximum(mixed - exp(epsilon) * out, 0).sum() * (y[1] - y[0])
    assert 0.25 < raised < 0.28
    assert real > 1.5 * claimed
    assert not draw_is_secret(enrolled, expected, least, enrolled)


def test_a_draw_is_secret_only_far_from_the_edge() -> None:
    assert draw_is_secret(100_000, 2000, 1200, 2160)
    assert not draw_is_secret(100_000, 2000, 1800, 3000)  # one in ten may be missing
    assert not draw_is_secret(100_000, 2000, 1200, 1900)  # hardly ever held
    assert not draw_is_secret(1000, 100, 1, 1)
