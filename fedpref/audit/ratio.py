"""Likelihood ratios of a person being inside a release, from reference releases.

Guarantees: what is fitted comes from the reference releases ``known`` or ``seen``, and
nothing of it from who is inside of the releases under attack.

Does not give: exact likelihoods. The two worlds of a statistic are taken as Gaussians
with one variance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedpref.core.types import Float

_SHRINK = 0.05  # of correlations between statistics
_FULLY = 1 - 1e-6  # of the variance along a direction: the release shows this person

Inside = NDArray[np.bool_]


def project(
    released: Float, inside: Inside, influence: Float, seen: NDArray[np.bool_]
) -> tuple[Float, Float]:
    """Each release along each person's influence, and the shift to be expected.

    A release is about linear in who is inside: ``w = m + sum_i (b_i - 1/2) d_i + e``.
    Its covariance is ``C = sum_i d_i d_i' / 4 + R``, with R that of noise and of what
    is not linear, found on the models ``seen``. Person i's optimal linear score is
    ``d_i' C^-1 w``; between the worlds it moves by ``k_i = d_i' C^-1 d_i``, with
    variance ``k_i (1 - k_i / 4)`` within each.

    Returns:
        ``[models, people]``, and shifts over standard deviation, ``[people]``.
    """
    mean = released[seen].mean(axis=0)
    rest = released[seen] - mean - (inside[seen] - 0.5) @ influence
    size, count = released.shape[1], int(seen.sum())
    spread = rest.T @ rest / (count - 1)
    # Towards no correlation, as far as there are fewer models than numbers: what is
    # whitened by chance on the models seen would look sharper there than on others.
    shrink = min(1.0, size / count)
    spread = (1 - shrink) * spread + shrink * np.diag(np.diag(spread))
    total = influence.T @ influence / 4 + spread
    ridge = 1e-9 * float(np.trace(total)) / size + np.finfo(float).tiny
    weights = np.linalg.solve(total + ridge * np.eye(size), influence.T)
    shift = np.einsum("ij,ji->i", influence, weights)
    shift = np.clip(shift, 0, 4 * _FULLY)
    return (released - mean) @ weights, np.sqrt(shift / (1 - shift / 4))


@dataclass(frozen=True, eq=False)
class Standard:
    """One statistic of each person, in standard deviations within a world.

    Attributes:
        shift: distance of the two worlds, ``[people]``.
        rest: of the reference models around their world's mean, ``[known, people]``.
        target: of the releases under attack, around the middle, ``[targets, people]``.
    """

    shift: Float
    rest: Float
    target: Float


def standard(known: Float, inside: Inside, target: Float, expected: Float) -> Standard:
    """Fit two Gaussians of one variance to each person.

    Their distance, in standard deviations, has a normal prior over people around a
    multiple of ``expected``; multiple and variance are found on ``known`` over all
    people (empirical Bayes).

    Args:
        known: the statistic on reference models, ``[known, people]``.
        inside: for each of these, whether the person was; in half of them, each person.
        target: the statistic on the releases under attack, ``[targets, people]``.
        expected: shifts up to a common factor, ``[people]``.
    """
    half = len(known) // 2
    mean_in = np.where(inside, known, 0).sum(axis=0) / half
    mean_out = np.where(inside, 0, known).sum(axis=0) / half
    rest = known - np.where(inside, mean_in, mean_out)
    freedom = len(known) - 2
    gap = mean_in - mean_out
    deviation = np.sqrt((rest**2).sum(axis=0) / freedom)
    deviation = np.maximum(deviation, 1e-9 * np.abs(gap) + np.finfo(float).tiny)
    shift = gap / deviation
    noise = 2 / half * freedom / (freedom - 2)  # variance of a shift that is zero
    factor = max(0.0, float(shift @ expected) / float(expected @ expected))
    prior = factor * expected
    spread = max(0.0, float(np.mean((shift - prior) ** 2)) - noise)
    best = (spread * shift + noise * prior) / (spread + noise)
    middle = (mean_in + mean_out) / 2
    return Standard(best, rest / deviation, (target - middle) / deviation)


def ratio(*statistics: Standard) -> Float:
    """Log-likelihood ratio of being inside, ``[targets, people]``.

    Statistics of one person are jointly Gaussian, with correlations that are the same
    for all people, a little shrunk.
    """
    rest = np.stack([one.rest.ravel() for one in statistics])
    cross = rest @ rest.T
    scale = np.sqrt(np.diag(cross))
    scale[scale == 0] = 1  # no variance within a world: nothing to be correlated
    related = (1 - _SHRINK) * cross / np.outer(scale, scale)
    np.fill_diagonal(related, 1.0)
    shifts = np.stack([one.shift for one in statistics])
    weights = np.linalg.solve(related, shifts)
    each = [w * one.target for w, one in zip(weights, statistics, strict=True)]
    return np.asarray(np.sum(each, axis=0))
