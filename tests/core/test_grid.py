from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.core.clip import clip_units
from fedpref.core.grid import squared_norm, sum_on_grid, to_reals
from fedpref.core.types import BoundedRows, Grid


@given(st.floats(1e-30, 1e30))
def test_a_clip_has_2_to_the_24_to_25_steps(clip) -> None:
    steps = clip / Grid.for_clip(clip).step
    assert 2**24 <= steps < 2**25


@given(st.floats(1e-6, 1e6))
def test_sensitivity_is_the_largest_integer_square_within_the_clip(clip) -> None:
    grid = Grid.for_clip(clip)
    limit = grid.sensitivity_squared(clip)
    exact = (Fraction(clip) / Fraction(2) ** grid.exponent) ** 2
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
    up = np.ceil(np.ldexp(row, -grid.exponent)).astype(np.int64)
    assert squared_norm(up) > grid.sensitivity_squared(clip)
    down = sum_on_grid(BoundedRows(row[None], clip, 0), grid)
    assert squared_norm(down.total) <= down.sensitivity_squared


def test_a_unit_beyond_its_bound_adds_nothing() -> None:
    lying = np.array([[3.0, 0.0], [0.9, 0.9], [0.5, 0.0], [-(2.0**63), 0.0]])
    summed = sum_on_grid(BoundedRows(lying, 1.0, 0), Grid(-4))
    assert summed.total.tolist() == [8, 0]


def test_the_smallest_integer_is_not_short() -> None:
    """Its absolute value does not exist in int64."""
    assert squared_norm(np.array([-(2**63), 0, 5])) == 2**126 + 25


def test_rounding_is_toward_zero() -> None:
    rows = BoundedRows(np.array([[0.9, -0.9, 0.4, -0.4]]), 2.0, 0)
    assert sum_on_grid(rows, Grid(-1)).total.tolist() == [1, -1, 0, 0]


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
