"""What an attack on membership reaches: its ROC, the area, one point, intervals.

Guarantees: ties count half (the line between two points of the ROC is what a guess by
coin reaches). An interval resamples people and, apart from them, groups of models; all
scores of a person go together, and so do all of a group.

Does not give: an interval of attacks that were not made. A better attack may exist.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedpref.core.types import Float, Integer
from fedpref.errors import InputError

RESAMPLES = 1000
FPR = 0.01


@dataclass(frozen=True, eq=False)
class Roc:
    """Points of a ROC, ascending from (0, 0) to (1, 1)."""

    fpr: Float
    tpr: Float

    @property
    def auc(self) -> float:
        """Chance that a member scores above a non-member, ties counting half."""
        return float(np.trapezoid(self.tpr, self.fpr))

    def at(self, fpr: float) -> float:
        """The largest true positive rate at this false positive rate.

        Between two points it is that of a coin tossed between their thresholds.
        """
        last = int(np.searchsorted(self.fpr, fpr, side="right")) - 1
        if last + 1 == len(self.fpr):
            return float(self.tpr[last])
        rise = (self.tpr[last + 1] - self.tpr[last]) / (
            self.fpr[last + 1] - self.fpr[last]
        )
        return float(self.tpr[last] + rise * (fpr - self.fpr[last]))


@dataclass(frozen=True)
class Reached:
    """How well one attack tells members from others, with 95 % intervals.

    ``tpr`` is the true positive rate at a false positive rate of ``FPR``.
    """

    auc: float
    auc_ci95: tuple[float, float]
    tpr: float
    tpr_ci95: tuple[float, float]


def roc(scores: Float, inside: NDArray[np.bool_]) -> Roc:
    """The ROC of scores of any shape; members are to have the higher ones.

    Raises:
        InputError: All are members or nobody is, or a score is not a number.

    >>> found = roc(np.array([3.0, 2, 1, 0]), np.array([True, False, True, False]))
    >>> found.auc, found.at(0.25)
    (0.75, 0.5)
    """
    known = _sorted(scores)
    if not inside.any() or inside.all():
        raise InputError(
            f"members = {int(inside.sum())} of {inside.size} scores: an ROC needs "
            "members and others"
        )
    return known.roc(np.ones(scores.size), inside.ravel())


def reached(
    scores: Float,
    inside: NDArray[np.bool_],
    group: Integer,
    *,
    resamples: int = RESAMPLES,
) -> Reached:
    """Area and true positive rate with bootstrap intervals.

    Args:
        scores: ``[models, people]``.
        inside: whether the person was learned from, ``[models, people]``.
        group: of each model, ``[models]``, from 0; models of one group are resampled
            together, since they were not drawn apart.
        resamples: how many.
    """
    found = roc(scores, inside)
    rounds = _resampled(scores, inside, group, resamples)
    drawn = np.array([(one.auc, one.at(FPR)) for one in rounds])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return Reached(
        auc=found.auc,
        auc_ci95=(float(low[0]), float(high[0])),
        tpr=found.at(FPR),
        tpr_ci95=(float(low[1]), float(high[1])),
    )


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Scores from the highest: their order, and where equal ones end."""

    order: Integer
    ends: Integer

    def roc(self, weights: Float, inside: NDArray[np.bool_]) -> Roc:
        """From the weight of each score, flat; members and others apart."""
        weights, inside = weights[self.order], inside[self.order]
        members = np.cumsum(weights * inside)[self.ends]
        others = np.cumsum(weights * ~inside)[self.ends]
        fpr, tpr = (np.concatenate([[0.0], s / s[-1]]) for s in (others, members))
        return Roc(fpr, tpr)


def _sorted(scores: Float) -> _Sorted:
    if not np.isfinite(scores).all():
        raise InputError(
            f"scores: {int((~np.isfinite(scores)).sum())} of {scores.size} are not "
            "finite; correct the statistic"
        )
    order = np.argsort(-scores, axis=None, kind="stable")
    last = np.append(np.diff(scores.ravel()[order]) != 0, True)
    return _Sorted(order, np.flatnonzero(last))


def _resampled(
    scores: Float, inside: NDArray[np.bool_], group: Integer, resamples: int
) -> Iterator[Roc]:
    """The ROC of every resample in which there are members and others."""
    known, rng = _sorted(scores), np.random.default_rng(0)
    groups, people = int(group.max()) + 1, inside.shape[1]
    for _ in range(resamples):
        models = rng.multinomial(groups, np.full(groups, 1 / groups))[group]
        persons = rng.multinomial(people, np.full(people, 1 / people))
        weight = np.outer(models, persons).astype(np.float64)
        if (weight * inside).any() and (weight * ~inside).any():
            yield known.roc(weight.ravel(), inside.ravel())
