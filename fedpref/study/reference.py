"""Linear empirical Bayes with all answers in one place: the reference without privacy.

Guarantees: for ratings the marginal likelihood never falls from step to step (exact
expectation maximisation); for choices the same steps under Laplace's approximation.
Does not protect anybody: weights, covariance and noise are fitted to the training
answers without noise, and are never released.
"""

import numpy as np

from fedpref.errors import InputError
from fedpref.study.answers import Answers, Kind
from fedpref.study.likelihood import NOISE, map_offsets, utilities
from fedpref.study.models import Personal
from fedpref.study.prior import isotropic

LEAST = 1e-4  # of the first prior's variance: keeps the covariance invertible


def fit_central(
    answers: Answers, *, spread: float, noise: float = NOISE, steps: int = 30
) -> Personal:
    """Mean and covariance of people's weights, by expectation maximisation.

    A person's weights are Gaussian around the shared ones. Each step finds everybody's
    posterior and takes the mean and the covariance of all of them (Dempster, Laird and
    Rubin 1977); for ratings also the noise. People without answers do not count.

    Args:
        answers: of the training people.
        spread: standard deviation of a personal weight to start from.
        noise: of a rating, to start from; not used for choices.
        steps: how many, 1 or more.

    Raises:
        InputError: nobody has an answer, or ``steps`` is below 1.
    """
    there = answers.counts > 0
    if not there.any() or steps < 1:
        raise InputError(
            f"people with answers = {int(there.sum())}, steps = {steps}; at least 1 of "
            "each is needed"
        )
    d = answers.dimension
    weights, covariance = np.zeros(d), isotropic(d, spread)
    for _ in range(steps):
        precision = np.linalg.inv(covariance)
        precision = (precision + precision.T) / 2
        found = map_offsets(answers, weights, precision, noise=noise)
        if answers.kind is Kind.RATING:
            left = answers.value - utilities(answers, weights + found.mean)
            rows = answers.features[answers.text]
            own = found.covariance[answers.owner]
            unsure = (rows[:, None, :] @ own @ rows[:, :, None])[:, 0, 0]
            noise = float(np.sqrt(np.mean(left**2 + unsure)))
        shift = found.mean[there].mean(axis=0)
        around = found.mean[there] - shift
        covariance = around.T @ around / there.sum()
        covariance += found.covariance[there].mean(axis=0)
        covariance += LEAST * spread**2 * np.eye(d)
        weights = weights + shift
    return Personal(weights, (covariance + covariance.T) / 2, noise)
