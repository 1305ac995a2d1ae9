"""The maximum of a regularised choice likelihood, by Newton's method.

Guarantees: the returned weights are the unique optimum to about machine precision (the
loss is strictly convex and every step decreases it). Does not protect anybody: the
weights depend on the answers without noise.
"""

import numpy as np

from fedpref.core.types import Float
from fedpref.errors import FedprefError, InputError
from fedpref.evaluate.menus import Menus

STEPS = 100


def fit_choices(features: Float, menus: Menus, *, precision: float) -> Float:
    """Weights ``[k]`` of a linear score that explain which options were chosen.

    Minimises ``sum over records of -log softmax(X w)[chosen] + precision/2 |w|^2``: the
    conditional logit of McFadden (1974), which is Plackett-Luce for the first place
    and, with two options, Bradley-Terry.

    Args:
        features: ``[texts, k]``, a row for each of ``menus.texts``.
        menus: the choices.
        precision: inverse variance of the Gaussian prior on each weight, positive.

    Raises:
        InputError: ``precision`` is not positive, so that no optimum need exist.
    """
    if not precision > 0:
        raise InputError(
            f"precision = {precision}, must be positive: without a prior, answers that "
            "a linear score separates have no optimum"
        )
    rows = features[menus.text]
    weights = np.zeros(rows.shape[1])
    loss, gradient, hessian = _derivatives(weights, rows, menus, precision)
    for _ in range(STEPS):
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        if decrement <= 1e-12 * (1 + loss):
            return np.asarray(weights - step)
        length = 1.0
        while (
            _derivatives(weights - length * step, rows, menus, precision)[0]
            > loss - 0.1 * length * decrement
        ):
            length /= 2
        weights = weights - length * step
        loss, gradient, hessian = _derivatives(weights, rows, menus, precision)
    raise FedprefError(
        f"Newton's method: decrement = {decrement:.3g} after {STEPS} steps; "
        "check that the features are of moderate size"
    )


def _derivatives(
    weights: Float, rows: Float, menus: Menus, precision: float
) -> tuple[float, Float, Float]:
    """Loss, gradient ``[k]`` and Hessian ``[k, k]`` at ``weights``."""
    record = menus.record
    score = rows @ weights
    score = score - np.maximum.reduceat(score, menus.start)[record]
    total = np.add.reduceat(np.exp(score), menus.start)
    chance = np.exp(score) / total[record]
    loss = np.log(total).sum() - score[menus.chosen].sum()
    weighted = chance[:, None] * rows
    mean = np.add.reduceat(weighted, menus.start)
    gradient = mean.sum(axis=0) - rows[menus.chosen].sum(axis=0) + precision * weights
    hessian = rows.T @ weighted - mean.T @ mean + precision * np.eye(len(weights))
    return float(loss + precision / 2 * weights @ weights), gradient, hessian
