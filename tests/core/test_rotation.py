"""The rotation against scipy's matrix, and that it keeps what must be kept."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard

from fedpref.core import rotation
from fedpref.core.clip import clip_units
from fedpref.core.entropy import uniform_words
from fedpref.core.rotation import padded_size, rotate, rotate_back
from fedpref.core.types import BoundedRows

SEED = bytes(range(32))


def signs(size: int, seed: bytes) -> np.ndarray:
    """The signs again, bit by bit: lowest byte first, highest bit of a byte first."""
    stream = uniform_words(-(-size // 64), key=seed).astype("<u8").tobytes()
    bits = [stream[i // 8] >> (7 - i % 8) & 1 for i in range(size)]
    return np.array([-1.0 if bit else 1.0 for bit in bits])


@pytest.mark.parametrize("size", [1, 2, 4, 16, 32, 64, 256, 1024, 2048])
def test_rotation_is_the_matrix_that_is_named(size) -> None:
    matrix = hadamard(size) / sqrt(size) * signs(size, SEED)
    rotated = rotate(BoundedRows(np.eye(size), 1.0, 0), seed=SEED).rows.T
    assert np.abs(rotated - matrix).max() < 1e-14
    assert np.abs(rotated.T @ rotated - np.eye(size)).max() < 1e-13


@given(st.integers(0, 2**32), st.integers(1, 3000), st.floats(1e-6, 1e6))
def test_norms_are_kept_and_vectors_come_back(seed, size, clip) -> None:
    rows = np.random.default_rng(seed).normal(size=(3, size)) * clip
    units = clip_units(rows, clip)
    rotated = rotate(units, seed=SEED)
    assert rotated.bound == units.bound
    assert rotated.rows.shape == (3, padded_size(size))
    for row, spread in zip(units.rows, rotated.rows, strict=True):
        norm = np.linalg.norm(row)
        assert abs(np.linalg.norm(spread) - norm) <= 1e-12 * norm
        back = rotate_back(spread, coordinates=size, seed=SEED)
        assert np.abs(back - row).max() <= 1e-12 * norm


def test_full_length_comes_back_at_a_million() -> None:
    row = np.random.default_rng(1).normal(size=(1, 10**6))
    rotated = rotate(BoundedRows(row, 1e4, 2), seed=SEED)
    assert rotated.zeroed == 2
    back = rotate_back(rotated.rows[0], coordinates=10**6, seed=SEED)
    assert np.abs(back - row[0]).max() < 1e-12 * np.linalg.norm(row)
    assert abs(np.linalg.norm(rotated.rows) / np.linalg.norm(row) - 1) < 1e-12


def test_one_large_coordinate_becomes_flat() -> None:
    row = np.zeros((1, 4096))
    row[0, 77] = 8.0
    spread = rotate(BoundedRows(row, 8.0, 0), seed=SEED).rows[0]
    assert np.abs(spread) == pytest.approx(np.full(4096, 8.0 / 64), abs=1e-15)


def test_signs_break_up_what_the_matrix_alone_would_gather() -> None:
    """A constant row is a column of H: without signs all of it lands in one place."""
    spread = rotate(BoundedRows(np.ones((1, 4096)), 64.0, 0), seed=SEED).rows[0]
    assert np.abs(spread).max() < 6  # six standard deviations; it would be 64
    other = rotate(BoundedRows(np.ones((1, 4096)), 64.0, 0), seed=bytes(32)).rows[0]
    assert not np.array_equal(spread, other)


def test_a_row_depends_on_itself_alone() -> None:
    rows = np.random.default_rng(2).normal(size=(3, 100))
    before = rotate(BoundedRows(rows, 99.0, 0), seed=SEED).rows
    rows[1] = 0.0
    after = rotate(BoundedRows(rows, 99.0, 0), seed=SEED).rows
    assert np.array_equal(before[[0, 2]], after[[0, 2]])
    assert not after[1].any()


def test_signs_do_not_depend_on_the_order_of_bytes(monkeypatch) -> None:
    """A server of one kind of machine undoes what a device of the other kind did."""
    here = rotation._signs(200, SEED)

    def swapped(count, *, key):
        return uniform_words(count, key=key).astype(">u8")

    monkeypatch.setattr(rotation, "uniform_words", swapped)
    assert np.array_equal(rotation._signs(200, SEED), here)


def test_refuses_another_length() -> None:
    with pytest.raises(ValueError, match=r"not \(8,\)"):
        rotate_back(np.zeros(4), coordinates=5, seed=SEED)
    with pytest.raises(ValueError, match="must be at least 1"):
        padded_size(0)
