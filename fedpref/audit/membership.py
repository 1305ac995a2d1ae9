"""Was this person's whole data learned from? Attacks on what is released, measured.

The attacker knows how the release is made, its public constants, and the answers of
everybody who may have been asked, the person's among them; not who was, and no noise.
They make reference models on random halves of these people, score each person on the
released vector, and say who was inside. Three scores:

    loss        the log-likelihood of the person's answers per answer, one threshold
                for all (Yeom et al. 2018)
    likelihood  a likelihood ratio of two Gaussians, fitted to the person's
                log-likelihoods under the reference models with and without them
                (Carlini et al. 2022, section 5)
    projection  the same ratio for ``d_i' C^-1 w``: the released vector in the direction
                in which this person moves it, whitened by what the others and the
                noise do

In the ratios each person's shift between the two worlds is shrunk towards what is
expected of it, since a few models estimate it badly; with many it is that of Carlini et
al. The projection is the one to be quoted; it is set beforehand, not picked afterwards.

Guarantees: the release under attack and its complement take no part in the references.
Each person is inside with chance 1/2, independently of the others, so the two worlds
differ in one person who is there or silent: what a claim at user level is about.

Does not give: the worst case. Sums of single rounds, which a server sees, are not
attacked, nor is a release by one who knows who the others were.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedpref.audit.roc import Reached, reached
from fedpref.core.entropy import Entropy, SeededEntropy, uniform_words
from fedpref.core.types import Float
from fedpref.errors import InputError

LEAST_MODELS = 8
_FULLY = 1 - 1e-6  # of the variance along a direction: the release shows this person

Inside = NDArray[np.bool_]
Fit = Callable[[Inside, Entropy], Float]
"""Whose answers count ``[people]``, randomness -> the released vector ``[size]``."""


@dataclass(frozen=True)
class Leakage:
    """What the attacks reach on one kind of release.

    Attributes:
        people: in the pool that halves are drawn of.
        models: made and attacked.
        projection: the attack to be quoted; see above.
        likelihood: ratio of the person's log-likelihood.
        loss: plain threshold.
    """

    people: int
    models: int
    projection: Reached
    likelihood: Reached
    loss: Reached

    @property
    def all(self) -> dict[str, Reached]:
        """By name, the one to be quoted first."""
        return {
            "projection": self.projection,
            "likelihood": self.likelihood,
            "loss": self.loss,
        }


def attack(
    fit: Fit,
    likelihood: Callable[[Float], Float],
    influence: Float,
    answers: NDArray[np.int64],
    *,
    models: int,
    entropy: Entropy,
) -> Leakage:
    """Train ``models`` releases on random halves and attack each with the others.

    Functions and arrays stand for the people, so that any release can be audited.

    Args:
        fit: makes a release of those who are inside, all others being silent.
        likelihood: released vector -> log-likelihood of each person's own answers
            under it, ``[people]``.
        influence: what each person adds to the released vector to first order,
            ``[people, size]``; only directions matter much, a common factor does not.
        answers: how many each person gave, ``[people]``; who gave none is left out of
            the scores.
        models: even, at least 8.
        entropy: of halves and releases.

    Raises:
        InputError: too few models, shapes that do not fit, or scores not finite.
    """
    _check(influence, answers, models)
    inside = halves(len(influence), models, entropy=entropy)
    released = np.stack(
        [fit(member, _source(entropy, n)) for n, member in enumerate(inside)]
    )
    if released.shape[1] != influence.shape[1]:
        raise InputError(
            f"influence: {influence.shape[1]} numbers a person for a release of "
            f"{released.shape[1]}; give one a number released"
        )
    asked = answers > 0
    own = np.stack([likelihood(vector) for vector in released])[:, asked]
    ratios, projections = np.zeros_like(own), np.zeros_like(own)
    flat = np.ones(own.shape[1])
    group = np.arange(models) // 2
    for pair in range(models // 2):
        target, seen = group == pair, group != pair
        known = inside[seen][:, asked]
        ratios[target] = ratio(own[seen], known, own[target], flat)
        along, shift = project(released, inside, influence, seen)
        along = along[:, asked]
        projections[target] = ratio(along[seen], known, along[target], shift[asked])
    truth = inside[:, asked]
    return Leakage(
        people=int(asked.sum()),
        models=models,
        projection=reached(projections, truth, group),
        likelihood=reached(ratios, truth, group),
        loss=reached(own / answers[asked], truth, group),
    )


def halves(people: int, models: int, *, entropy: Entropy) -> Inside:
    """Who is inside, ``[models, people]``: fair coins, every second row the complement.

    So without a pair each person is inside of exactly half of the others' models, and
    how often a person is inside of those says nothing about the pair.
    """
    rows = models // 2
    words = uniform_words(rows * people, key=entropy.key("membership/halves"))
    coins = (words >> np.uint64(63)).astype(bool).reshape(rows, people)
    return np.stack([coins, ~coins], axis=1).reshape(models, people)


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
    shrink = size / (size + count)  # towards no correlation: models are few
    spread = (1 - shrink) * spread + shrink * np.diag(np.diag(spread))
    total = influence.T @ influence / 4 + spread
    ridge = 1e-9 * float(np.trace(total)) / size + np.finfo(float).tiny
    weights = np.linalg.solve(total + ridge * np.eye(size), influence.T)
    shift = np.einsum("ij,ji->i", influence, weights)
    shift = np.clip(shift, 0, 4 * _FULLY)
    return (released - mean) @ weights, np.sqrt(shift / (1 - shift / 4))


def ratio(known: Float, inside: Inside, target: Float, expected: Float) -> Float:
    """Log ratio of being inside and outside for each person, ``[targets, people]``.

    Two Gaussians of one variance a person. Their distance, in standard deviations, has
    a normal prior over people around a multiple of ``expected``; multiple and variance
    are found on ``known`` over all people (empirical Bayes).

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
    deviation = np.sqrt((rest**2).sum(axis=0) / freedom)
    gap = mean_in - mean_out
    deviation = np.maximum(deviation, 1e-9 * np.abs(gap) + np.finfo(float).tiny)
    shift = gap / deviation
    noise = 2 / half * freedom / (freedom - 2)  # variance of a shift that is zero
    factor = max(0.0, float(shift @ expected) / float(expected @ expected))
    prior = factor * expected
    spread = max(0.0, float(np.mean((shift - prior) ** 2)) - noise)
    best = (spread * shift + noise * prior) / (spread + noise)
    return np.asarray(best * (target - (mean_in + mean_out) / 2) / deviation)


def _source(entropy: Entropy, number: int) -> Entropy:
    """Randomness of one release, apart from that of all others."""
    if not isinstance(entropy, SeededEntropy):
        return entropy
    key = entropy.key(f"membership/model/{number}")
    return SeededEntropy(int.from_bytes(key, "big"))


def _check(influence: Float, answers: NDArray[np.int64], models: int) -> None:
    if models < LEAST_MODELS or models % 2:
        raise InputError(
            f"models = {models}, must be even and at least {LEAST_MODELS}: each is "
            "attacked with the help of the others, in pairs of complements"
        )
    if influence.ndim != 2 or answers.shape != influence.shape[:1]:
        raise InputError(
            f"influence: shape = {influence.shape} for answers of shape "
            f"{answers.shape}; give a row a person"
        )
    if not np.isfinite(influence).all() or not influence.any() or not answers.any():
        raise InputError(
            "influence: not finite, or zero for everybody, or nobody has an answer; "
            "there is nothing to attack"
        )
