"""Rounding: the bound in integers, the law of random rounding, what is never done."""

from fractions import Fraction
from itertools import product
from math import sqrt

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedpref.core import grid as module
from fedpref.core.clip import clip_units
from fedpref.core.entropy import SeededEntropy
from fedpref.core.grid import (
    REDRAWS,
    largest_square,
    round_units,
    squared_norm,
    sum_on_grid,
    sum_rounded,
    to_reals,
)
from fedpref.core.types import BoundedRows, Grid

KEY = SeededEntropy(11).key("test")


def rows_of(*rows: list[float]) -> BoundedRows:
    return BoundedRows(np.array(rows, dtype=np.float64), 1.0, 0)


@given(st.floats(1e-30, 1e30))
def test_a_clip_has_2_to_the_24_to_25_steps(clip) -> None:
    steps = clip / Grid.for_clip(clip).step
    assert 2**24 <= steps < 2**25


@given(st.floats(1e-6, 1e6))
def test_sensitivity_is_the_largest_integer_square_within_the_clip(clip) -> None:
    grid = Grid.for_clip(clip)
    limit = grid.sensitivity_squared(clip)
    exact = (Fraction(clip) / Fraction(grid.step)) ** 2
    assert limit <= exact < limit + 1


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.integers(1, 40))
def test_a_unit_moves_the_sum_by_at_most_the_sensitivity(seed, clip, size) -> None:
    rows = np.random.default_rng(seed).normal(size=(5, size)) * clip
    grid = Grid.for_clip(clip)
    with_all = sum_on_grid(clip_units(rows, clip), grid)
    for unit in range(len(rows)):
        neighbour = rows.copy()
        neighbour[unit] = 0
        without = sum_on_grid(clip_units(neighbour, clip), grid)
        moved = squared_norm(with_all.total - without.total)
        assert moved <= with_all.sensitivity_squared


def test_rounding_to_nearest_would_break_the_bound() -> None:
    """Why truncation: rounding up lets a unit of norm = clip exceed it in integers."""
    clip, size = 1.0, 1000
    grid = Grid.for_clip(clip)
    row = clip_units(np.full((1, size), 1.0), clip).rows[0]
    up = np.ceil(row / grid.step).astype(np.int64)
    assert squared_norm(up) > grid.sensitivity_squared(clip)
    down = sum_on_grid(BoundedRows(row[None], clip, 0), grid)
    assert squared_norm(down.total) <= down.sensitivity_squared


def test_a_unit_beyond_its_bound_adds_nothing() -> None:
    lying = np.array([[3.0, 0.0], [0.9, 0.9], [0.5, 0.0], [-(2.0**63), 0.0]])
    summed = sum_on_grid(BoundedRows(lying, 1.0, 0), Grid(2.0**-4))
    assert summed.total.tolist() == [8, 0]


def test_the_smallest_integer_is_not_short() -> None:
    """Its absolute value does not exist in int64."""
    assert squared_norm(np.array([-(2**63), 0, 5])) == 2**126 + 25


@pytest.mark.parametrize("dtype", ["i4", ">i8", "i2", "u4"])
def test_integers_of_other_kinds_are_not_short_either(dtype) -> None:
    """Products of 32 bits would wrap: 2**14 squared, sixteen times, is 2**32."""
    assert squared_norm(np.array([2**14] * 16, dtype)) == 2**32


def test_rounding_is_toward_zero() -> None:
    rows = BoundedRows(np.array([[0.9, -0.9, 0.4, -0.4]]), 2.0, 0)
    assert sum_on_grid(rows, Grid(0.5)).total.tolist() == [1, -1, 0, 0]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_squared_norm_is_exact(values) -> None:
    expected = sum(v * v for v in values)
    assert squared_norm(np.array(values, dtype=np.int64)) == expected


def test_sum_does_not_depend_on_order_and_comes_back() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 7))
    grid = Grid.for_clip(1.0)
    there = sum_on_grid(clip_units(rows, 1.0), grid).total
    back = sum_on_grid(clip_units(rows[::-1], 1.0), grid).total
    assert np.array_equal(there, back)
    expected = clip_units(rows, 1.0).rows.sum(axis=0)
    assert to_reals(there, grid) == pytest.approx(expected, abs=50 * grid.step)


@given(st.integers(1, 2**31), st.integers(1, 2**30))
def test_largest_square_is_the_published_bound(steps, coordinates) -> None:
    """D2 of Kairouz, Liu and Steinke in sixty digits, both forms, beta = exp(-1/2)."""
    with mpmath.workdps(60):
        root = mpmath.sqrt(coordinates)
        spread = mpmath.sqrt(2 * mpmath.log(1 / mpmath.exp(mpmath.mpf(-1) / 2)))
        wide = steps + root
        tight = steps**2 + mpmath.mpf(coordinates) / 4 + spread * (steps + root / 2)
        expected = min(wide**2, tight)
        # A last digit of spread = 1 must not move an integer.
        assert largest_square(steps, coordinates) == int(
            mpmath.floor(expected + mpmath.mpf(10) ** -30)
        )


@pytest.mark.parametrize(("steps", "coordinates"), [(0, 1), (1, 0), (-3, 4)])
def test_refuses_a_grid_without_steps(steps, coordinates) -> None:
    with pytest.raises(ValueError, match="must both be at least 1"):
        largest_square(steps, coordinates)


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 200))
def test_rounded_units_stay_within_the_limit(seed, steps, size) -> None:
    rows = np.random.default_rng(seed).normal(size=(4, size))
    rows[0] = 1.0  # all fractions alike: the worst case of the bound
    clip, limit = 3.0, largest_square(steps, size)
    units = clip_units(rows * 10, clip)
    rounded = round_units(units, Grid(clip / steps), limit, key=KEY)
    assert all(squared_norm(row) <= limit for row in rounded)
    assert np.abs(rounded - units.rows * steps / clip).max() < 1 + 1e-9


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_unit_moves_the_rounded_sum_by_at_most_the_sensitivity(seed, size) -> None:
    rows = np.random.default_rng(seed).normal(size=(5, size))
    grid, limit = Grid(1 / 7), largest_square(7, size)
    everybody = sum_rounded(clip_units(rows, 1.0), grid, limit, key=KEY)
    assert everybody.sensitivity_squared == limit
    for unit in range(len(rows)):
        neighbour = rows.copy()
        neighbour[unit] = 0
        without = sum_rounded(clip_units(neighbour, 1.0), grid, limit, key=KEY)
        assert squared_norm(everybody.total - without.total) <= limit


def test_a_row_is_drawn_again_until_it_fits() -> None:
    """Four halves within norm 2 have eleven outcomes, all equally likely."""
    allowed = [v for v in product((0, 1), repeat=4) if sum(v) <= 2]
    units = rows_of(*[[0.5] * 4] * 5_500)
    rounded = round_units(units, Grid(1.0), 2, key=KEY)
    found, counts = np.unique(rounded, axis=0, return_counts=True)
    assert sorted(map(tuple, found.tolist())) == sorted(allowed)
    assert stats.chisquare(counts).pvalue > 1e-6


def test_a_row_that_never_fits_is_truncated() -> None:
    """One draw in 2**40 fits: after all redraws the row goes toward zero."""
    up, down = [10.5] * 40, [-10.5] * 40
    rounded = round_units(rows_of(up, down), Grid(1.0), 40 * 100, key=KEY)
    assert rounded.tolist() == [[10] * 40, [-10] * 40]


def test_redraws_are_counted_and_seldom(monkeypatch) -> None:
    """At most REDRAWS + 1 draws; at the bound, exp(-1/2) of them may fail."""
    drawn = []
    words = module.uniform_words

    def counting(count, *, key, lane):
        drawn.append(lane)
        return words(count, key=key, lane=lane)

    monkeypatch.setattr(module, "uniform_words", counting)
    round_units(rows_of([10.5] * 40), Grid(1.0), 40 * 100, key=KEY)
    assert drawn == list(range(REDRAWS + 1))
    drawn.clear()
    size, count = 400, 2_000
    worst = rows_of(*[[0.5] * size] * count)
    round_units(worst, Grid(1.0), largest_square(10, size), key=KEY)
    assert len(drawn) == len(set(drawn))  # no bits are used twice
    assert count / len(drawn) > 1 - np.exp(-0.5)


def test_a_unit_beyond_every_bound_rounds_to_nothing() -> None:
    beyond = rows_of([3.0, 0.0], [1e300, 0.0], [0.5, 0.0])
    rounded = round_units(beyond, Grid(0.5), 5, key=KEY)
    assert rounded.tolist() == [[0, 0], [0, 0], [1, 0]]


def test_a_unit_of_zeros_stays_one() -> None:
    rows = np.zeros((50, 4001))
    rows[::2] = 0.3
    rows[1] = -0.0
    rounded = round_units(BoundedRows(rows, 50.0, 0), Grid(1.0), 10**6, key=KEY)
    assert not rounded[1::2].any()
    assert rounded[::2].any(axis=1).all()


def test_the_largest_word_does_not_lift_a_zero(monkeypatch) -> None:
    def ones(count, *, key, lane):
        return np.full(count, 2**64 - 1, np.uint64)

    monkeypatch.setattr(module, "uniform_words", ones)
    rows = rows_of([0.0, 7.0, -7.0, 2.0**-31])
    assert round_units(rows, Grid(1.0), 100, key=KEY).tolist() == [[0, 7, -7, 1]]


def test_a_rounded_row_depends_on_itself_alone() -> None:
    rows = np.random.default_rng(5).normal(size=(6, 33))
    grid, limit = Grid(1 / 20), largest_square(20, 33)
    before = round_units(clip_units(rows, 1.0), grid, limit, key=KEY)
    rows[[0, 2, 5]] = 99.0
    after = round_units(clip_units(rows, 1.0), grid, limit, key=KEY)
    assert np.array_equal(before[[1, 3, 4]], after[[1, 3, 4]])
    other = round_units(clip_units(rows, 1.0), grid, limit, key=bytes(32))
    assert not np.array_equal(after, other)


@pytest.mark.parametrize("value", [0.3, -0.3, 5.75, -1e-3])
def test_random_rounding_keeps_the_mean(value) -> None:
    size = 400_000
    rounded = round_units(rows_of([value] * size), Grid(1.0), 2**60, key=KEY)
    low = np.floor(value)
    assert set(np.unique(rounded)) == {low, low + 1}
    chance = value - low
    allowed = 5 * sqrt(chance * (1 - chance) / size)
    assert abs(rounded.mean() - value) < allowed


def test_coordinates_and_rows_round_independently() -> None:
    rounded = round_units(rows_of(*[[0.5] * 50_000] * 2), Grid(1.0), 2**60, key=KEY)
    first, second = rounded - 0.5
    for one, other in [(first, second), (first[1:], first[:-1])]:
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / sqrt(len(one))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_a_row_that_is_not_finite(bad) -> None:
    with pytest.raises(ValueError, match="row 1 is not finite"):
        round_units(rows_of([0.0, 0.0], [0.0, bad]), Grid(1.0), 9, key=KEY)


@given(st.floats(1e-6, 1e6), st.integers(1, 2**24), st.integers(0, 2**32))
def test_a_full_clip_has_the_planned_number_of_steps(clip, steps, seed) -> None:
    """Dividing by an inexact step must not lift a row above its steps."""
    rows = np.random.default_rng(seed).normal(size=(1, 3)) * clip * 10
    largest = clip_units(rows, clip).rows[0] / (clip / steps)
    assert sum(Fraction(x) ** 2 for x in largest.tolist()) <= steps**2


def test_a_sum_comes_back_in_model_units() -> None:
    rows = np.random.default_rng(3).normal(size=(50, 7))
    units, grid = clip_units(rows, 1.0), Grid(1 / 3000)
    summed = sum_rounded(units, grid, largest_square(3000, 7), key=KEY)
    real = units.rows.sum(axis=0)
    assert to_reals(summed.total, grid) == pytest.approx(real, abs=50 * grid.step)
