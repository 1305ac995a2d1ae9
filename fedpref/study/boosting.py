"""Gradient boosting on attributes and a summary of own answers: a central reference.

Guarantees: a prediction depends on the person's own revealed answers, on the options
asked, and on the fitted trees. Does not protect anybody: all training answers are in
one place, without noise. It says what a strong tabular learner makes of the same
answers, and is never released.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit

from fedpref.core.types import Float, Integer
from fedpref.errors import InputError, SetupError
from fedpref.study.answers import Answers, Kind, Revealed
from fedpref.study.predictive import Predicted, certain

MOST_PAIRS = 20_000  # of training, drawn at random from more
BOUND = 1e-4  # a tree is never surer than this


@dataclass(frozen=True, eq=False, repr=False)
class Boosted:
    """Fitted trees; central, not private."""

    trees: Any
    kind: Kind

    def predict(self, revealed: Answers, asked: Answers) -> Predicted:
        """Choices: mean log odds against the menu's other options. Ratings: approving.

        There is no uncertainty of its own: the interval is the point.
        """
        own = summary(revealed)
        if self.kind is Kind.RATING:
            yes = self._chance(_rating_rows(asked, own))
            return certain(logit(yes), yes)
        a, b = _ordered_pairs(asked)
        forth = self._chance(_pair_rows(asked, own, a, b))
        back = self._chance(_pair_rows(asked, own, b, a))
        odds = logit((forth + 1 - back) / 2)
        rivals = np.repeat(asked.size, asked.size) - 1
        utility = np.bincount(a, odds, len(asked.text)) / rivals
        weight = np.exp(utility * rivals / (rivals + 1))
        total = np.add.reduceat(weight, asked.start)[asked.record]
        return certain(utility, weight / total)

    def _chance(self, rows: Float) -> Float:
        found = self.trees.predict_proba(rows)[:, 1]
        return np.asarray(np.clip(found, BOUND, 1 - BOUND), dtype=np.float64)


def fit_boosted(draws: list[Revealed], ks: list[int], *, seed: int) -> Boosted:
    """Fit trees on training people, as if they had revealed each of ``ks`` answers.

    Args:
        draws: of training people, with the features to use (attributes).
        ks: numbers of revealed answers that the draws hold.
        seed: public; of the trees and of the draw of pairs.

    Raises:
        SetupError: scikit-learn is not installed.
        InputError: no draws.
    """
    if not draws or not ks:
        raise InputError("draws = 0: give training people who reveal some answers")
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError:
        raise SetupError(
            "gradient boosting needs scikit-learn, which is not installed; "
            "run: pip install 'fedpref[study]', or leave the model out"
        ) from None
    kind = draws[0].asked.kind
    parts = [_examples(draw.asked, summary(draw[k])) for draw in draws for k in ks]
    rows = np.concatenate([rows for rows, _ in parts])
    label = np.concatenate([label for _, label in parts])
    if len(rows) > MOST_PAIRS:
        kept = np.random.default_rng(seed).choice(len(rows), MOST_PAIRS, replace=False)
        rows, label = rows[kept], label[kept]
    trees = HistGradientBoostingClassifier(
        max_iter=80, learning_rate=0.1, max_leaf_nodes=15, random_state=seed
    )
    return Boosted(trees.fit(rows, label), kind)


def summary(revealed: Answers) -> Float:
    """What a person's own answers say, ``[people, d + 2]``; zeros without any.

    Mean over answers of the chosen option's features minus those of its menu (ratings:
    of value times features), the mean value, and ``log(1 + answers)``.
    """
    people, count = len(revealed.people), revealed.counts
    pull = np.zeros(len(revealed.text))
    pull[revealed.chosen] = 1.0
    pull -= np.repeat(1 / revealed.size, revealed.size)
    if revealed.kind is Kind.RATING:
        pull = revealed.value
    total = np.zeros((people, revealed.dimension))
    rows = pull[:, None] * revealed.features[revealed.text]
    np.add.at(total, revealed.owner, rows)
    value = np.bincount(revealed.user, revealed.value, people)
    each = np.maximum(count, 1)
    return np.column_stack([total / each[:, None], value / each, np.log1p(count)])


def _examples(asked: Answers, own: Float) -> tuple[Float, Integer]:
    """Training rows and labels: each pair both ways, or each rating."""
    if asked.kind is Kind.RATING:
        return _rating_rows(asked, own), (asked.value > 0).astype(np.int64)
    a, b = _ordered_pairs(asked)
    chosen = asked.chosen[asked.record[a]]
    about = (a == chosen) | (b == chosen)
    a, b = a[about], b[about]
    label = (a == chosen[about]).astype(np.int64)
    return _pair_rows(asked, own, a, b), label


def _ordered_pairs(asked: Answers) -> tuple[Integer, Integer]:
    """Every ordered pair of different options of a menu."""
    firsts, seconds = [], []
    size = np.repeat(asked.size, asked.size)
    start = np.repeat(asked.start, asked.size)
    for step in range(1, int(asked.size.max(initial=1))):
        a = np.flatnonzero(size > step)
        firsts.append(a)
        seconds.append(start[a] + (asked.column[a] + step) % size[a])
    return np.concatenate(firsts), np.concatenate(seconds)


def _pair_rows(asked: Answers, own: Float, a: Integer, b: Integer) -> Float:
    """Both options' difference, places, the summary, and how the two agree."""
    gap = asked.features[asked.text[a]] - asked.features[asked.text[b]]
    summed = own[asked.owner[a]]
    agree = gap * summed[:, : gap.shape[1]]
    places = np.column_stack([asked.column[a], asked.column[b]])
    return np.column_stack([gap, agree, agree.sum(axis=1), summed, places])


def _rating_rows(asked: Answers, own: Float) -> Float:
    rows = asked.features[asked.text]
    summed = own[asked.owner]
    agree = rows * summed[:, : rows.shape[1]]
    return np.column_stack([rows, agree.sum(axis=1), summed])
