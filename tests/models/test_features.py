"""Whitening against the covariance, which it never forms."""

import numpy as np
import pytest

from fedpref.errors import InputError
from fedpref.models.features import fit_features


def _embeddings(texts=40, hidden=12, seed=0):
    draw = np.random.default_rng(seed)
    return draw.standard_normal((texts, hidden)) @ draw.standard_normal(
        (hidden, hidden)
    )


def test_features_of_the_catalogue_are_centred_and_white():
    x = _embeddings()
    f = fit_features(x, 5)(x)
    assert np.abs(f.mean(axis=0)).max() < 1e-12
    assert np.abs(f.T @ f / len(x) - np.eye(5) / 5).max() < 1e-12
    assert (f**2).sum(axis=1).mean() == pytest.approx(1.0)


def test_directions_are_the_leading_eigenvectors_of_the_covariance():
    x = _embeddings()
    covariance = np.cov(x.T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    fitted = fit_features(x, 5)
    for i in range(5):
        expected = vectors[:, -1 - i] / np.sqrt(values[-1 - i]) / np.sqrt(5)
        column = fitted.whitening[:, i]
        assert (
            min(np.abs(column - expected).max(), np.abs(column + expected).max()) < 1e-9
        )


def test_signs_do_not_depend_on_the_order_of_the_texts():
    x = _embeddings()
    shuffled = x[np.random.default_rng(1).permutation(len(x))]
    a, b = fit_features(x, 12), fit_features(shuffled, 12)
    assert np.abs(a.whitening - b.whitening).max() < 1e-6
    assert np.array_equal(fit_features(x, 12).whitening, a.whitening)


@pytest.mark.parametrize(
    ("texts", "features", "usable"), [(40, 13, 12), (5, 5, 4), (40, 0, 12)]
)
def test_too_many_directions_name_the_largest_number_that_works(
    texts, features, usable
):
    x = _embeddings(texts)
    with pytest.raises(InputError, match=f"1 to {usable}.*set features = {usable}"):
        fit_features(x, features)
    fit_features(x, usable)


def test_rounding_noise_is_no_direction():
    x = _embeddings()
    noise = 1e-6 * np.random.default_rng(2).standard_normal((40, 3))
    flat = np.concatenate([x, noise], axis=1)
    with pytest.raises(InputError, match="varies in 12 directions"):
        fit_features(flat, 13)


def test_a_catalogue_that_does_not_vary():
    with pytest.raises(InputError, match="two different texts"):
        fit_features(np.ones((3, 4)), 1)
