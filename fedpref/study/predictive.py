"""Probabilities of answers when the weights are known with an uncertainty.

Guarantees: the options of a menu have probabilities that sum to 1; without uncertainty
they are the plain softmax (ratings: the normal distribution function); the prediction
of an answer depends on its own options only, never on what was answered.

Does not give: the exact posterior predictive. The averages are closed-form: against
simulation, probabilities of pairs are off by at most .015, of menus of four by .08 (a
utility difference with a standard deviation of 1.2) to .17 (3.7), on average by .013 to
.05. Ends of intervals are good for pairs and rough for larger menus.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit, ndtr

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.study.answers import Answers

PROBIT = np.pi / 8  # sigmoid(x) is close to the normal distribution at x sqrt(pi / 8)
LEVEL = 1.959964  # standard deviations of a 95 % interval
LEAST = 1e-12  # keeps log odds finite


@dataclass(frozen=True, repr=False, eq=False)
class Predicted:
    """What a model expects of each option of the answers it was asked, ``[options]``.

    Attributes:
        utility: what ranks the options; for ratings the expected value in [-1, 1].
        probability: of being chosen from its menu; for ratings, of being approved.
        low: lower end of a 95 % credible interval of this person's own probability.
        high: upper end. A model without an uncertainty has both at ``probability``.
    """

    utility: Float
    probability: Float
    low: Float
    high: Float

    def __post_init__(self) -> None:
        for values in (self.utility, self.probability, self.low, self.high):
            if values.shape != self.utility.shape or not np.isfinite(values).all():
                raise InputError(
                    f"predictions: shape = {values.shape} for {self.utility.shape}, or "
                    "not finite; the model has diverged: learn it with a smaller lr"
                )

    def __repr__(self) -> str:
        return f"Predicted(options={len(self.utility)}, contents hidden)"


def certain(utility: Float, probability: Float) -> Predicted:
    """A prediction without an uncertainty of its own."""
    return Predicted(utility, probability, probability, probability)


def choice(asked: Answers, utility: Float, prior: Float, posterior: Float) -> Predicted:
    """Choices under Gaussian weights, when ``utility`` is linear in them.

    The average of a sigmoid over a Gaussian of mean ``m`` and variance ``v`` is close
    to ``sigmoid(m / sqrt(1 + pi v / 8))`` (Spiegelhalter and Lauritzen 1990; MacKay
    1992). Shared weights that were fitted to everybody's answers already are such an
    average over people, with the prior's variance ``v0``. So a difference ``m`` stands
    for a personal one of ``m sqrt(1 + pi v0 / 8)``, averaged over what is still
    uncertain: ``sigmoid(m sqrt((1 + pi v0 / 8) / (1 + pi v / 8)))``. Without own
    answers ``v = v0`` and the shared prediction comes back unchanged. The first step is
    ours and exact there only: with many answers it is somewhat too sure. Menus combine
    their pairs by ``1 / softmax_i = sum over j of exp(u_j - u_i)`` with each pair
    replaced by its average, then scaled to sum to 1 (the mean-field way of Lu, Ie and
    Sha 2020).

    Args:
        asked: choices.
        utility: at the posterior mean, ``[options]``.
        prior: a row an option whose squared distance to another option's row is the
            prior variance of their utility difference, ``[options, any]``.
        posterior: the same for the posterior variance.
    """
    if not len(asked.start):
        return certain(utility, utility)
    sharper = _pairwise(asked, utility, prior, posterior)
    probability = sharper / np.add.reduceat(sharper, asked.start)[asked.record]
    spread = _against_rest(asked, probability, posterior)
    odds = logit(np.clip(probability, LEAST, 1 - LEAST))
    centre = odds * np.sqrt(1 + PROBIT * spread**2)
    low, high = expit(centre - LEVEL * spread), expit(centre + LEVEL * spread)
    low, high = np.minimum(low, probability), np.maximum(high, probability)
    return Predicted(utility, probability, low, high)


def rating(utility: Float, variance: Float, noise: float) -> Predicted:
    """Ratings under Gaussian weights: exact.

    Args:
        utility: expected value, ``[options]``.
        variance: of the utility given the person's own ratings, ``[options]``.
        noise: standard deviation of a rating given its utility.
    """
    spread = LEVEL * np.sqrt(variance)
    return Predicted(
        utility=utility,
        probability=ndtr(utility / np.sqrt(noise**2 + variance)),
        low=ndtr((utility - spread) / noise),
        high=ndtr((utility + spread) / noise),
    )


def _ratio(prior: Float, posterior: Float) -> Float:
    return np.asarray(np.sqrt((1 + PROBIT * prior) / (1 + PROBIT * posterior)))


def _pairwise(asked: Answers, utility: Float, prior: Float, posterior: Float) -> Float:
    """For each option, 1 over the sum of its averaged odds, ``[options]``."""
    size, place = asked.size, asked.column
    odds = np.zeros(len(utility))
    for other in range(int(size.max())):
        at = np.flatnonzero(np.repeat(size, size) > other)
        to = np.repeat(asked.start, size)[at] + other
        v0 = ((prior[at] - prior[to]) ** 2).sum(axis=1)
        v = ((posterior[at] - posterior[to]) ** 2).sum(axis=1)
        gap = (utility[to] - utility[at]) * _ratio(v0, v)
        odds[at] += np.where(place[at] == other, 1.0, np.exp(np.minimum(gap, 300)))
    return np.asarray(1 / odds)


def _against_rest(asked: Answers, chance: Float, rows: Float) -> Float:
    """Deviation of each option's log odds against the rest of its menu, about."""
    weighted = chance[:, None] * rows
    total = np.add.reduceat(weighted, asked.start)[asked.record]
    rest = (total - weighted) / np.maximum(1 - chance, LEAST)[:, None]
    return np.asarray(np.sqrt(((rows - rest) ** 2).sum(axis=1)))
