"""Accuracy, calibration and their uncertainty on held-out choices.

Guarantees: a *pair* is the chosen option against one other option of the same record,
so guessing is right half the time; intervals resample **people**, not pairs, because
the answers of one person go together; a comparison is only made over the same people
and the same answers. Does not add noise: these numbers are about the people they were
measured on, and only a simulation may show them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedpref.core.types import Float, Integer
from fedpref.errors import InputError
from fedpref.evaluate.menus import Menus, People, flatten, texts_of

Score = Callable[[Sequence[str]], Float]

RESAMPLES = 2000
BINS = 10
# The same features can leave a matrix product with other last bits, row by row.
TIE = 1e-9


@dataclass(frozen=True)
class Bin:
    """Pairs whose confidence lies in ``[lower, upper)``; the last bin has both ends."""

    lower: float
    upper: float
    count: int
    confidence: float | None
    accuracy: float | None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; an empty bin has null averages."""
        return dict(vars(self))


@dataclass(frozen=True)
class Evaluation:
    """How well scores predict choices. All fractions lie in ``[0, 1]``.

    ``wins [users]`` (a tie counts half) and ``pairs [users]`` are in the order in which
    the people were given and stay in memory; ``to_json`` gives sorted accuracies only.
    """

    accuracy: float
    ci95: tuple[float, float]
    choice_accuracy: float
    log_loss: float
    ece: float
    records: int
    bins: tuple[Bin, ...] = field(repr=False)
    wins: Float = field(repr=False, compare=False)
    pairs: Integer = field(repr=False, compare=False)
    people: str = field(repr=False)

    @property
    def per_user(self) -> Float:
        """Pair accuracy of each person, ``[users]``."""
        return self.wins / self.pairs

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: nothing in it says whose accuracy is whose."""
        return {
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "choice_accuracy": self.choice_accuracy,
            "log_loss": self.log_loss,
            "ece": self.ece,
            "users": len(self.wins),
            "records": self.records,
            "pairs": int(self.pairs.sum()),
            "bins": [bin.to_json() for bin in self.bins],
            "per_user": np.sort(self.per_user).tolist(),
        }


@dataclass(frozen=True)
class Difference:
    """Accuracy of one evaluation minus that of another, over the same people."""

    difference: float
    ci95: tuple[float, float]

    def to_json(self, a: str, b: str) -> dict[str, Any]:
        """As a JSON object that says which (``a``) minus which (``b``)."""
        ends = list(self.ci95)
        return {"a": a, "b": b, "difference": self.difference, "ci95": ends}


def evaluate(score: Score, people: People, *, seed: int = 0) -> Evaluation:
    """Score every distinct text once and measure the ranking on everybody's choices.

    Args:
        score: texts -> finite float64 scores ``[texts]``, higher is better.
        people: records with a choice, by user.
        seed: of the resampling, which is public.

    Raises:
        InputError: no choices, or scores of the wrong shape or not finite.

    >>> from fedpref.core.types import Record
    >>> people = {"a": [Record("a", "", ("short", "the longest", "longer"), choice=1)]}
    >>> evaluate(lambda texts: np.array([len(t) for t in texts]), people).accuracy
    1.0
    """
    menus = flatten(people)
    scores = texts_of(menus, score(list(menus.texts)), "score")
    if scores.ndim != 1:
        raise InputError(
            f"score: shape = {scores.shape}, not ({len(scores)},); return one number "
            "a text"
        )
    return measure(menus, scores[menus.text], seed=seed)


def measure(menus: Menus, scores: Float, *, seed: int = 0) -> Evaluation:
    """Measure scores given option by option, ``[options]``.

    Log-loss is in nats: the mean of ``-log sigmoid(score difference)`` over pairs. ECE
    is the mean over pairs of the distance between confidence ``max(p, 1 - p)`` and
    accuracy in ten equal bins of confidence (Guo et al. 2017, equation 3).
    """
    gap, won = pair_gaps(menus, scores)
    _, other = menus.pairs
    user = menus.user[menus.record[other]]
    wins = np.bincount(user, won, menus.users).astype(np.float64)
    pairs = np.bincount(user, minlength=menus.users).astype(np.int64)
    bins, ece = calibration(gap, won)
    return Evaluation(
        accuracy=float(won.mean()),
        ci95=interval(wins, pairs, seed),
        choice_accuracy=choice_accuracy(menus, scores),
        log_loss=float(np.logaddexp(0.0, -gap).mean()),
        ece=ece,
        records=len(menus.start),
        bins=bins,
        wins=wins,
        pairs=pairs,
        people=menus.people,
    )


def difference(a: Evaluation, b: Evaluation, *, seed: int = 0) -> Difference:
    """Accuracy of ``a`` minus accuracy of ``b``, people resampled together.

    Raises:
        InputError: the two are not about the same people and answers.
    """
    if a.people != b.people or not np.array_equal(a.pairs, b.pairs):
        raise InputError(
            f"evaluations over {len(a.pairs)} and {len(b.pairs)} people differ in who "
            "or what they cover; compare over the same held-out answers"
        )
    gain = a.wins - b.wins
    value = float(gain.sum() / a.pairs.sum())
    return Difference(value, interval(gain, a.pairs, seed))


def pair_accuracy(menus: Menus, scores: Float) -> float:
    """Share of pairs whose chosen option scores higher; a tie counts half."""
    return float(pair_gaps(menus, scores)[1].mean())


def pair_gaps(menus: Menus, scores: Float) -> tuple[Float, Float]:
    """Score difference of each pair, and whether it is right: 1, 0, or 0.5."""
    chosen, other = menus.pairs
    gap = scores[chosen] - scores[other]
    return gap, np.where(np.abs(gap) <= TIE, 0.5, gap > 0)


def choice_accuracy(menus: Menus, scores: Float) -> float:
    """Share of records whose best option was chosen; a tie for the best is shared."""
    best = np.maximum.reduceat(scores, menus.start)
    tied = scores >= best[menus.record] - TIE
    share = tied[menus.chosen] / np.add.reduceat(tied.astype(np.int64), menus.start)
    return float(share.mean())


def calibration(gap: Float, won: Float) -> tuple[tuple[Bin, ...], float]:
    """Bins of confidence over pairs, and the expected calibration error."""
    confidence = np.exp(-np.logaddexp(0.0, -np.abs(gap)))
    place = np.minimum((confidence - 0.5) * 2 * BINS, BINS - 1).astype(np.int64)
    count = np.bincount(place, minlength=BINS)
    sure = np.bincount(place, weights=confidence, minlength=BINS)
    right = np.bincount(place, weights=won, minlength=BINS)
    edges = [0.5 + k / (2 * BINS) for k in range(BINS + 1)]
    bins = tuple(
        Bin(
            lower=edges[k],
            upper=edges[k + 1],
            count=int(count[k]),
            confidence=float(sure[k] / count[k]) if count[k] else None,
            accuracy=float(right[k] / count[k]) if count[k] else None,
        )
        for k in range(BINS)
    )
    return bins, float(np.abs(right - sure).sum() / len(gap))


def interval(top: Float, bottom: Integer, seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap of ``sum(top) / sum(bottom)`` over people."""
    rng = np.random.default_rng(seed)
    users = len(top)
    block = max(1, 2**22 // users)  # bounds memory: 4 million draws at a time
    ratios = []
    for begin in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - begin)
        drawn = rng.integers(0, users, size=(rows, users))
        ratios.append(top[drawn].sum(axis=1) / bottom[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(ratios), (0.025, 0.975))
    return float(low), float(high)
