import mpmath
import numpy as np
import pytest

from fedpref.errors import InputError
from fedpref.study.prior import covariance, isotropic, svec, unsvec


def released(matrix):
    """``svec`` of a symmetric matrix: that of its eigenvectors, weighted."""
    values, vectors = np.linalg.eigh(matrix)
    return sum(v * svec(u) for v, u in zip(values, vectors.T, strict=True))


def test_an_offset_moves_the_moment_by_its_squared_norm():
    rng = np.random.default_rng(0)
    for d in (1, 2, 5, 16):
        offset = rng.normal(size=d)
        assert np.linalg.norm(svec(offset)) == pytest.approx(offset @ offset)
        assert unsvec(svec(offset)) == pytest.approx(np.outer(offset, offset))


def test_a_good_release_comes_back():
    root = np.random.default_rng(1).normal(size=(5, 5))
    matrix = root @ root.T + np.eye(5)
    found = covariance(released(matrix), floor=1e-3, inflation=1.0)
    assert found == pytest.approx(matrix)


def test_projection_by_hand():
    # eigenvalues 3 and -1, in the directions (1, 1) and (1, -1)
    matrix = np.array([[1.0, 2.0], [2.0, 1.0]])
    found = covariance(released(matrix), floor=0.5, inflation=2.0)
    assert found == pytest.approx(np.array([[3.5, 2.5], [2.5, 3.5]]))


def test_projection_against_high_precision():
    noisy = np.random.default_rng(2).normal(size=(6, 6))
    noisy = noisy + noisy.T
    floor, inflation = 0.3, 1.5
    with mpmath.workdps(40):
        values, vectors = mpmath.eigsy(mpmath.matrix(noisy.tolist()))
        kept = mpmath.diag([inflation * max(v, mpmath.mpf(floor)) for v in values])
        exact = vectors * kept * vectors.T
        expected = np.array(exact.tolist(), dtype=float)
    found = covariance(released(noisy), floor=floor, inflation=inflation)
    assert found == pytest.approx(expected, abs=1e-12)
    assert np.array_equal(found, found.T)
    least = np.linalg.eigvalsh(found)[0]
    assert least == pytest.approx(floor * inflation)


@pytest.mark.parametrize(
    ("mean", "floor", "inflation", "message"),
    [
        (-np.ones(3), 0.1, 1.0, "projects to zero everywhere"),
        (np.array([0.1, 0, 0.1]), 0.2, 1.0, "must exceed the floor"),
        (np.array([1, np.nan, 1]), 0.1, 1.0, "not finite"),
        (np.ones(3), 0.0, 1.0, "must be positive"),
        (np.ones(3), 0.1, -1.0, "must be positive"),
        (np.ones(4), 0.1, 1.0, "D \\(D \\+ 1\\) / 2"),
    ],
)
def test_refuses_a_release_that_says_nothing(mean, floor, inflation, message):
    with pytest.raises(InputError, match=message):
        covariance(mean, floor=floor, inflation=inflation)


def test_the_public_prior():
    assert np.array_equal(isotropic(3, 2.0), 4 * np.eye(3))
    for spread in (0, -1, np.nan, np.inf):
        with pytest.raises(InputError, match="spread"):
            isotropic(3, spread)
