"""What a trained model has to beat, and what it could reach without privacy.

Guarantees: each baseline is tested on the held-out people only and says whether it is
private. Does not train the model under test: features and scores come in as functions.

Baselines marked ``epsilon = inf`` were fitted on the training people without noise.
They say what privacy costs and are never released.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.evaluate.menus import Menus, People, flatten, texts_of
from fedpref.evaluate.metrics import (
    Difference,
    Evaluation,
    Score,
    difference,
    evaluate,
    measure,
)
from fedpref.evaluate.newton import fit_choices

Features = Callable[[Sequence[str]], Float]

L2 = 1e-3  # per record, of every pooled fit
FIRST = 8  # own answers that a person reveals to their own device
SPREAD = 2.5  # prior standard deviation of a personal weight: a public constant


@dataclass(frozen=True)
class Baseline:
    """An evaluation to compare with, and what it took.

    ``epsilon`` is what the fit would cost the training people if it were released: 0
    where it does not depend on them, infinite where it was fitted without noise.
    ``subset`` names the held-out answers it was tested on; None means all of them.
    """

    evaluation: Evaluation
    note: str
    private: bool
    epsilon: float | None
    subset: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry of ``evaluation.json``; an infinite epsilon is the string "inf"."""
        whole = self.evaluation.to_json()
        names = ("accuracy", "ci95", "choice_accuracy", "log_loss", "ece", "users")
        infinite = self.epsilon is not None and math.isinf(self.epsilon)
        return {name: whole[name] for name in names} | {
            "note": self.note,
            "private": self.private,
            "epsilon": "inf" if infinite else self.epsilon,
            "subset": self.subset,
        }


@dataclass(frozen=True)
class OwnAnswers:
    """A head fitted on a person's own first answers, and the model on the same rest.

    ``difference`` is the accuracy of ``pooled``, the model under test, minus that of
    ``own``. ``left_out`` people had too few answers to leave any for the test.
    """

    own: Baseline
    pooled: Evaluation
    difference: Difference
    left_out: int


def untrained(heldout: People, *, seed: int = 0) -> Baseline:
    """All options equal: right half the time on pairs, once in K on choices."""
    evaluation = evaluate(lambda texts: np.zeros(len(texts)), heldout, seed=seed)
    return Baseline(evaluation, "every option scores the same", True, 0.0)


def position(train: People, heldout: People, *, seed: int = 0) -> Baseline:
    """How often training people chose each column, for each number of options.

    The score of a column is its log frequency with one pseudo-count; menus of a size
    that training people never saw are all ties.
    """
    seen, asked = flatten(train), flatten(heldout)
    scores = np.zeros(len(asked.text))
    for size in np.unique(seen.size):
        among = seen.size == size
        taken = np.bincount(seen.column[seen.chosen[among]], minlength=size)
        here = asked.size[asked.record] == size
        share = (taken + 1) / (among.sum() + size)
        scores[here] = np.log(share)[asked.column[here]]
    note = "only the place in the list, as often as training people chose it"
    return Baseline(measure(asked, scores, seed=seed), note, False, math.inf)


def attributes(
    rows: Mapping[str, Mapping[str, str]],
    train: People,
    heldout: People,
    *,
    seed: int = 0,
) -> Baseline:
    """A pooled choice model on the survey's attributes, one-hot, without privacy.

    Args:
        rows: attribute name -> value for each text that a reward model would read.

    Raises:
        InputError: some text has no attributes.
    """

    texts = {
        text for menus in (flatten(train), flatten(heldout)) for text in menus.texts
    }
    missing = len(texts - rows.keys())
    if missing:
        raise InputError(
            f"attributes: {missing} of {len(texts)} texts have no row; "
            "leave the baseline out for this source"
        )
    names = sorted({item for text in texts for item in rows[text].items()})

    def one_hot(texts: Sequence[str]) -> Float:
        return np.array(
            [
                [float(rows[text].get(a) == value) for a, value in names]
                for text in texts
            ]
        )

    evaluation = _pooled(one_hot, train, heldout, seed)
    note = "the survey's attributes instead of text, fitted in one place without noise"
    return Baseline(evaluation, note, False, math.inf)


def central(
    features: Features, train: People, heldout: People, *, seed: int = 0
) -> Baseline:
    """The same features and a linear head, fitted in one place without privacy.

    Args:
        features: texts -> ``[texts, k]``.
    """
    evaluation = _pooled(features, train, heldout, seed)
    note = "the same features, a linear head fitted in one place without noise"
    return Baseline(evaluation, note, False, math.inf)


def own_answers(
    features: Features,
    score: Score,
    heldout: People,
    *,
    first: int = FIRST,
    spread: float = SPREAD,
    seed: int = 0,
) -> OwnAnswers:
    """A head for each held-out person from their own ``first`` answers alone.

    Maximum a posteriori under independent Gaussian weights of standard deviation
    ``spread``, tested on that person's later answers. ``score`` (the model under test)
    is measured on the same answers, so that the two can be compared.

    Args:
        features: texts -> ``[texts, k]``, already divided by ``sqrt(k)``.
        score: texts -> scores of the model under test.
        heldout: choice records by user, in the order in which they were answered.
        first: answers to fit on.
        spread: prior standard deviation of a weight.

    Raises:
        InputError: nobody has more than ``first`` answers.
    """
    able = {user: own for user, own in heldout.items() if len(own) > first}
    if not able:
        raise InputError(
            f"own answers: nobody has more than {first} answers; "
            "leave the baseline out for this source"
        )
    rest = {user: own[first:] for user, own in able.items()}
    asked = flatten(rest)
    rows = _once(features, able)
    weights = np.stack(
        [
            _fit(rows, flatten({user: own[:first]}), precision=spread**-2)
            for user, own in able.items()
        ]
    )
    person = asked.user[asked.record]
    offered = rows(asked.texts)[asked.text]
    evaluation = measure(
        asked, np.einsum("ij,ij->i", offered, weights[person]), seed=seed
    )
    note = (
        f"the same features, a head for each person from their first {first} answers; "
        "nothing is shared"
    )
    own = Baseline(evaluation, note, True, 0.0, f"answers {first + 1} and later")
    pooled = evaluate(score, rest, seed=seed)
    gap = difference(pooled, evaluation, seed=seed)
    return OwnAnswers(own, pooled, gap, len(heldout) - len(able))


def _pooled(
    features: Features, train: People, heldout: People, seed: int
) -> Evaluation:
    seen = flatten(train)
    weights = _fit(features, seen, precision=L2 * len(seen.start))
    return evaluate(lambda texts: features(texts) @ weights, heldout, seed=seed)


def _fit(features: Features, menus: Menus, *, precision: float) -> Float:
    rows = texts_of(menus, features(list(menus.texts)), "features")
    return fit_choices(rows, menus, precision=precision)


def _once(features: Features, people: People) -> Features:
    """``features``, computed a single time for all texts that ``people`` were asked."""
    menus = flatten(people)
    rows = texts_of(menus, features(list(menus.texts)), "features")
    place = {text: number for number, text in enumerate(menus.texts)}
    return lambda texts: rows[[place[text] for text in texts]]
