import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fedpref.core.clip import clip_units

ROWS = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(allow_nan=True, allow_infinity=True, width=64),
)
BOUNDS = st.floats(1e-6, 1e6)


@given(ROWS, BOUNDS)
def test_no_row_is_longer_than_the_bound(rows, bound) -> None:
    clipped = clip_units(rows, bound)
    for row in clipped.rows:
        exact = sum(int(x * 2**60) ** 2 for x in (row / bound).tolist())
        assert exact <= (2**60) ** 2
    assert clipped.bound == bound


@given(ROWS, BOUNDS)
def test_rows_that_are_not_finite_become_zero_and_are_counted(rows, bound) -> None:
    clipped = clip_units(rows, bound)
    broken = ~np.isfinite(rows).all(axis=1)
    assert not clipped.rows[broken].any()
    assert clipped.zeroed == broken.sum()


def test_short_rows_stay_as_they_are_bit_for_bit() -> None:
    rows = np.array([[0.1, -0.2, 0.3]])
    assert np.array_equal(clip_units(rows, 1.0).rows, rows)


def test_long_rows_keep_their_direction() -> None:
    rows = np.array([[30.0, 40.0], [1e300, 1e300], [3e-320, 0.0]])
    clipped = clip_units(rows, 0.5).rows
    assert clipped[0] == pytest.approx([0.3, 0.4], rel=1e-9)
    assert clipped[1] == pytest.approx([0.5 / 2**0.5] * 2, rel=1e-9)
    assert clipped[2].tolist() == [3e-320, 0.0]


def test_row_i_depends_on_row_i_alone() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 5))
    before = clip_units(rows, 1.0).rows
    rows[0] = np.nan
    assert np.array_equal(clip_units(rows, 1.0).rows[1:], before[1:])


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_refuses_a_bound_that_bounds_nothing(bound) -> None:
    with pytest.raises(ValueError, match="must be finite and > 0"):
        clip_units(np.ones((1, 1)), bound)


def test_refuses_what_is_not_a_matrix_and_takes_no_rows() -> None:
    with pytest.raises(ValueError, match="must be 2"):
        clip_units(np.ones(3), 1.0)
    assert clip_units(np.zeros((0, 3)), 1.0).rows.shape == (0, 3)
