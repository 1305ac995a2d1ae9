"""Second moments as vectors: the norm identity, the inverse, and what is shortened."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf

from fedpref.core.moments import shorten, svec, unsvec
from fedpref.errors import InputError

OFFSETS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12).map(np.array)


@given(OFFSETS)
def test_the_norm_is_the_squared_norm_of_the_offset(offset) -> None:
    assert np.linalg.norm(svec(offset)) == pytest.approx(offset @ offset, rel=1e-12)


def test_against_forty_digits() -> None:
    mp.dps = 40
    offset = [mpf("0.1"), mpf("-2.5"), mpf("3.75")]
    triangle = [
        a * b * (1 if i == j else mp.sqrt(2))
        for i, a in enumerate(offset)
        for j, b in enumerate(offset)
        if i <= j
    ]
    found = svec(np.array([0.1, -2.5, 3.75]))
    assert found == pytest.approx([float(x) for x in triangle], rel=1e-14)
    squared = sum(x * x for x in triangle)
    assert float(mp.sqrt(squared)) == pytest.approx(0.1**2 + 2.5**2 + 3.75**2)


@given(OFFSETS)
def test_unsvec_gives_the_outer_product_back(offset) -> None:
    matrix = unsvec(svec(offset))
    outer = np.outer(offset, offset)
    assert np.allclose(matrix, outer, rtol=1e-12, atol=1e-300)
    assert (matrix == matrix.T).all()


@given(OFFSETS, st.floats(1e-3, 1e3))
def test_one_person_moves_a_sum_by_at_most_the_squared_norm(offset, norm) -> None:
    moved = np.linalg.norm(svec(shorten(offset, norm)))
    assert moved <= norm**2 * (1 + 1e-12)


def test_a_short_offset_is_left_alone_and_a_long_one_keeps_its_direction() -> None:
    assert shorten(np.array([0.3, 0.4]), 1.0).tolist() == [0.3, 0.4]
    assert shorten(np.array([30.0, 40.0]), 1.0) == pytest.approx([0.6, 0.8])
    huge = shorten(np.array([3e200, 4e200]), 1.0)  # its square overflows
    assert huge == pytest.approx([0.6, 0.8])
    assert shorten(np.zeros(2), 1.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_offset_that_is_not_finite_says_nothing(bad) -> None:
    assert shorten(np.array([1.0, bad]), 1.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("norm", [0.0, -1.0, float("nan")])
def test_a_norm_must_be_positive(norm) -> None:
    with pytest.raises(InputError, match="norm"):
        shorten(np.ones(2), norm)


@pytest.mark.parametrize("count", [2, 4, 5, 137])
def test_only_triangles_are_unfolded(count) -> None:
    with pytest.raises(InputError, match=f"numbers = {count}"):
        unsvec(np.zeros(count))
