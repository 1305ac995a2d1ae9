"""Features of a text: its pooled embedding, centred and whitened on public texts.

Guarantees: the map is fitted on the texts it is given and on nothing else; over these
texts the features have mean zero and covariance I / k, so a feature vector has a mean
squared norm of 1; the same embeddings give the same map.

Does not: know whether the texts were public. The caller must only ever pass the public
catalogue: a map fitted on people's texts would be a release that nobody accounts for.
"""

from dataclasses import dataclass

import numpy as np

from fedpref.core.types import Float
from fedpref.errors import InputError

USABLE = 1e-3  # relative to the first singular value; below lies rounding noise


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """``features = (pooled - mean) @ whitening``.

    ``mean`` is ``[hidden]`` and ``whitening`` ``[hidden, k]``, both public.
    """

    mean: Float
    whitening: Float

    @property
    def size(self) -> int:
        """Number of features."""
        return int(self.whitening.shape[1])

    def __call__(self, pooled: Float) -> Float:
        """Features ``[rows, k]`` of pooled embeddings ``[rows, hidden]``."""
        return (pooled - self.mean) @ self.whitening


def fit_features(embeddings: Float, features: int) -> FeatureMap:
    """Centre on the catalogue, whiten its first directions, divide by sqrt(features).

    Args:
        embeddings: ``[texts, hidden]``, frozen embeddings of distinct public texts.
        features: how many directions, 1 or more.

    Raises:
        InputError: the catalogue does not vary in that many directions.

    >>> corners = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    >>> fit_features(corners, 2)(corners).var(axis=0).round(12).tolist()
    [0.5, 0.5]
    """
    mean = embeddings.mean(axis=0)
    _, spread, directions = np.linalg.svd(embeddings - mean, full_matrices=False)
    usable = int((spread > USABLE * spread[0]).sum()) if spread[0] > 0 else 0
    if not 1 <= features <= usable:
        raise InputError(
            f"features = {features}, must lie in 1 to {usable}: the catalogue has "
            f"{len(embeddings)} distinct texts and varies in {usable} directions; "
            f"set features = {usable}"
            if usable
            else f"features = {features}: the catalogue of {len(embeddings)} texts "
            "does not vary; it needs at least two different texts"
        )
    chosen = _with_fixed_signs(directions[:features])
    stddev = spread[:features] / np.sqrt(len(embeddings))
    # One memory layout for fitted and loaded maps: products then agree bit for bit.
    whitening = np.ascontiguousarray((chosen.T / stddev) / np.sqrt(features))
    return FeatureMap(mean, whitening)


def _with_fixed_signs(directions: Float) -> Float:
    """Each row with its entry of largest size positive: a row's sign is arbitrary."""
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    fixed: Float = directions * signs[:, None]
    return fixed
