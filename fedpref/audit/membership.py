"""Was this person's whole data learned from? Attacks on what is released, measured.

The attacker knows how the release is made, its public constants, and the answers of
everybody who may have been asked, the person's among them; not who was, and no noise.
They make reference models on random halves of these people, score each person on the
released vector, and say who was inside. Scores:

    loss        the log-likelihood of the person's answers per answer, one threshold
                for all (Yeom et al. 2018)
    likelihood  a likelihood ratio of two Gaussians, fitted to the person's
                log-likelihoods under the reference models with and without them
                (Carlini et al. 2022, section 5)
    projection  the same ratio for ``d_i' C^-1 w``: the released vector in the direction
                in which this person moves it, whitened by what the others and the
                noise do
    joint       the ratio for both statistics together

In the ratios each person's shift between the two worlds is shrunk towards what is
expected of it, since a few models estimate it badly; with many it is that of Carlini et
al. The joint ratio is the one to be quoted, whichever of the four reaches most.

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

from fedpref.audit.ratio import Inside, project, ratio, standard
from fedpref.audit.roc import RESAMPLES, Reached, reached
from fedpref.core.entropy import Entropy, SeededEntropy, uniform_words
from fedpref.core.types import Float
from fedpref.errors import InputError

LEAST_MODELS = 8

Fit = Callable[[Inside, Entropy], Float]
"""Whose answers count ``[people]``, randomness -> the released vector ``[size]``."""


@dataclass(frozen=True)
class Leakage:
    """What the attacks reach on one kind of release.

    Attributes:
        people: in the pool that halves are drawn of.
        models: made and attacked.
        joint: the attack to be quoted; see above.
        projection: ratio of the release along the person's influence.
        likelihood: ratio of the person's log-likelihood.
        loss: plain threshold.
    """

    people: int
    models: int
    joint: Reached
    projection: Reached
    likelihood: Reached
    loss: Reached

    @property
    def all(self) -> dict[str, Reached]:
        """By name, the one to be quoted first."""
        return {
            "joint": self.joint,
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
    resamples: int = RESAMPLES,
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
        resamples: of people and of pairs of models, for the intervals.

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
    flat, group = np.ones(own.shape[1]), np.arange(models) // 2
    scores = {
        name: np.zeros_like(own) for name in ("joint", "projection", "likelihood")
    }
    for pair in range(models // 2):
        target, seen = group == pair, group != pair
        known = inside[seen][:, asked]
        fits = standard(own[seen], known, own[target], flat)
        along, shift = project(released, inside, influence, seen)
        along = along[:, asked]
        moves = standard(along[seen], known, along[target], shift[asked])
        scores["joint"][target] = ratio(fits, moves)
        scores["projection"][target] = ratio(moves)
        scores["likelihood"][target] = ratio(fits)
    scores["loss"] = own / answers[asked]
    truth = inside[:, asked]
    found = {
        name: reached(score, truth, group, resamples=resamples)
        for name, score in scores.items()
    }
    return Leakage(people=int(asked.sum()), models=models, **found)


def halves(people: int, models: int, *, entropy: Entropy) -> Inside:
    """Who is inside, ``[models, people]``: fair coins, every second row the complement.

    So without a pair each person is inside of exactly half of the others' models, and
    how often a person is inside of those says nothing about the pair.
    """
    rows = models // 2
    words = uniform_words(rows * people, key=entropy.key("membership/halves"))
    coins = (words >> np.uint64(63)).astype(bool).reshape(rows, people)
    return np.stack([coins, ~coins], axis=1).reshape(models, people)


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
