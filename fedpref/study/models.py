"""Personal models: what to expect of a person, given some of their own answers.

Guarantees: what is predicted for one person depends on what was shared and on that
person's revealed answers, never on another person's; without own answers a personal
model ranks and scores as the shared weights do. Nothing here leaves a device.

Does not learn what is shared (``fedpref.study.population``) or protect it: whether
weights, covariance, basis or prototypes are private is a matter of how they were made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.special import logit, ndtr

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.study import predictive
from fedpref.study.answers import Answers, Kind
from fedpref.study.likelihood import (
    NOISE,
    chances,
    log_likelihood,
    map_offsets,
    utilities,
)
from fedpref.study.predictive import Predicted, certain
from fedpref.study.prior import isotropic

FLOOR = 1e-4  # least variance of a direction outside a shared basis


class Model(Protocol):
    """Predicts what people answer from the answers they revealed."""

    def predict(self, revealed: Answers, asked: Answers) -> Predicted:
        """Expectations of ``asked``, of the same people as ``revealed``."""


@dataclass(frozen=True)
class Habit:
    """The place in the list (choices), or approving at all (ratings).

    Own answers count ``1`` each, what was known before counts ``strength``.

    Attributes:
        before: for each number of options, how often each column is chosen, summing to
            1; for ratings ``{1: [share approved]}``. What is missing is taken as equal
            (ratings: half). Public, or learned by :func:`habits` without privacy.
        strength: positive.
    """

    before: Mapping[int, Float] = field(default_factory=dict)
    strength: float = 5.0

    def predict(self, revealed: Answers, asked: Answers) -> Predicted:
        """Ranks by smoothed frequency, which is the probability too."""
        _require_same(revealed, asked)
        if asked.kind is Kind.RATING:
            yes = np.bincount(
                revealed.user, (revealed.value > 0).astype(float), len(asked.people)
            )
            before = float(self.before.get(1, np.full(1, 0.5))[0])
            share = (self.strength * before + yes) / (self.strength + revealed.counts)
            return certain(2 * share[asked.user] - 1, share[asked.user])
        column, owner = asked.column, asked.owner
        size = np.repeat(asked.size, asked.size)
        chance = np.zeros(len(asked.text))
        for options in np.unique(asked.size):
            here, seen = size == options, revealed.size == options
            taken = (revealed.chosen - revealed.start)[seen]
            own = np.zeros((len(asked.people), options))
            np.add.at(own, (revealed.user[seen], taken), 1)
            own += self.strength * self.before.get(
                int(options), np.full(options, 1 / options)
            )
            own /= own.sum(axis=1, keepdims=True)
            chance[here] = own[owner[here], column[here]]
        return certain(chance, chance)


def habits(answers: Answers) -> dict[int, Float]:
    """``before`` of :class:`Habit` from training answers: central, not private."""
    if answers.kind is Kind.RATING:
        return {1: np.array([(answers.value > 0).mean()])}
    column = answers.chosen - answers.start
    found = {}
    for options in np.unique(answers.size):
        among = answers.size == options
        taken = np.bincount(column[among], minlength=options)
        found[int(options)] = (taken + 1) / (among.sum() + options)
    return found


@dataclass(frozen=True, eq=False)
class Shared:
    """The population's weights ``[d]`` alone; own answers change nothing.

    ``noise`` is the standard deviation of a rating around its utility, over people.
    """

    weights: Float
    noise: float = NOISE

    def predict(self, revealed: Answers, asked: Answers) -> Predicted:
        """One softmax a menu; for ratings the chance of a value above the middle."""
        _require_same(revealed, asked)
        utility = utilities(asked, self.weights)
        if asked.kind is Kind.RATING:
            return certain(utility, ndtr(utility / self.noise))
        return certain(utility, chances(asked, utility))


@dataclass(frozen=True, eq=False)
class Personal:
    """Empirical Bayes: shared weights plus a person's own offset, found on the device.

    Attributes:
        weights: ``[d]``, shared.
        covariance: prior of the offset, ``[d, d]``: a public constant or released.
        noise: standard deviation of a rating given its utility.
    """

    weights: Float
    covariance: Float
    noise: float = NOISE

    def predict(self, revealed: Answers, asked: Answers) -> Predicted:
        """Most probable offset, with the uncertainty that is left around it."""
        _require_same(revealed, asked)
        precision = np.linalg.inv(self.covariance)
        precision = (precision + precision.T) / 2
        offsets = map_offsets(revealed, self.weights, precision, noise=self.noise)
        utility = utilities(asked, self.weights) + utilities(asked, offsets.mean)
        posterior = _roots(asked, offsets.covariance)
        if asked.kind is Kind.RATING:
            variance = (posterior**2).sum(axis=1)
            return predictive.rating(utility, variance, self.noise)
        prior = asked.features @ np.linalg.cholesky(self.covariance)
        return predictive.choice(asked, utility, prior[asked.text], posterior)


def own_only(dimension: int, spread: float, noise: float = NOISE) -> Personal:
    """Own answers alone: nothing is shared but the public prior around zero."""
    return Personal(np.zeros(dimension), isotropic(dimension, spread), noise)


def low_rank(
    weights: Float, basis: Float, *, floor: float = FLOOR, noise: float = NOISE
) -> Personal:
    """Personal weights in a shared basis: ``weights + basis z``, z standard normal.

    The shape of LoRe (reward ``w_u' V' e`` with a shared ``V`` and few numbers a
    person), *reconstructed*: z is Gaussian around shared weights, not a softmax on the
    simplex, and there is no division of scores by 100. Seen from the weights it is
    :class:`Personal` with covariance ``V V' + floor I``.

    Args:
        weights: ``[d]``.
        basis: ``[d, K]``, each column scaled by its prior standard deviation.
        floor: variance in every direction, small and positive.
    """
    if basis.ndim != 2 or len(basis) != len(weights) or not floor > 0:
        raise InputError(
            f"basis: shape = {basis.shape} for {len(weights)} weights, "
            f"floor = {floor}; "
            "give one row a weight and a positive floor"
        )
    covariance = basis @ basis.T + floor * np.eye(len(weights))
    return Personal(weights, covariance, noise)


@dataclass(frozen=True, eq=False)
class Prototypes:
    """A few shared sets of weights; own answers say which of them a person follows.

    Attributes:
        weights: ``[K, d]``.
        mixing: how common each is, ``[K]``, summing to 1; None means equally.
        noise: standard deviation of a rating given its utility.
    """

    weights: Float
    mixing: Float | None = None
    noise: float = NOISE

    def predict(self, revealed: Answers, asked: Answers) -> Predicted:
        """Predicted probabilities mixed by the posterior of each prototype.

        The utility is the mixture's log odds for ratings, log probability for choices.
        The interval spans the prototypes that hold the middle 95 % of the posterior,
        and the mixture.
        """
        _require_same(revealed, asked)
        belief = self.posterior(revealed)[asked.owner]
        each = [
            Shared(own, self.noise).predict(revealed, asked) for own in self.weights
        ]
        chance = np.stack([found.probability for found in each], axis=1)
        mixed = (belief * chance).sum(axis=1)
        low, high = _middle(chance, belief)
        bounded = np.clip(mixed, 1e-300, 1 - 1e-16)
        rating = asked.kind is Kind.RATING
        utility = logit(bounded) if rating else np.log(bounded)
        low, high = np.minimum(low, mixed), np.maximum(high, mixed)
        return Predicted(utility, mixed, low, high)

    def posterior(self, revealed: Answers) -> Float:
        """Chance of each prototype given a person's own answers, ``[people, K]``."""
        count = len(self.weights)
        mixing = np.full(count, 1 / count) if self.mixing is None else self.mixing
        if mixing.shape != (count,) or not np.isclose(mixing.sum(), 1):
            raise InputError(
                f"mixing: shape = {mixing.shape}, sum = {mixing.sum():.3g}; give "
                f"{count} shares that sum to 1"
            )
        fit = [log_likelihood(revealed, own, noise=self.noise) for own in self.weights]
        with np.errstate(divide="ignore"):
            log = np.stack(fit, axis=1) + np.log(mixing)
        likely = np.exp(log - log.max(axis=1, keepdims=True))
        return np.asarray(likely / likely.sum(axis=1, keepdims=True))


def _roots(asked: Answers, covariance: Float) -> Float:
    """A row an option; distances of rows are deviations of utility differences."""
    root = np.linalg.cholesky(covariance)
    rows = asked.features[asked.text]
    found = np.empty_like(rows)
    ends = np.cumsum(np.bincount(asked.owner, minlength=len(asked.people)))
    begin = 0
    for person, end in enumerate(ends):
        found[begin:end] = rows[begin:end] @ root[person]
        begin = end
    return found


def _middle(values: Float, belief: Float) -> tuple[Float, Float]:
    """Weighted 2.5 % and 97.5 % quantiles along the last axis."""
    order = np.argsort(values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    below = np.cumsum(np.take_along_axis(belief, order, axis=1), axis=1)
    last = values.shape[1] - 1
    low = np.minimum((below < 0.025).sum(axis=1), last)
    high = np.minimum((below < 0.975).sum(axis=1), last)
    rows = np.arange(len(values))
    return values[rows, low], values[rows, high]


def _require_same(revealed: Answers, asked: Answers) -> None:
    if (
        revealed.people != asked.people
        or revealed.kind is not asked.kind
        or revealed.features.shape != asked.features.shape
    ):
        raise InputError(
            f"revealed: {len(revealed.people)} people, asked: {len(asked.people)}; "
            "both must be parts of the same answers"
        )
