"""How well one model predicts the answers that people were asked after revealing k.

Guarantees: every person asked counts with all of their asked answers; intervals
resample people. Numbers are the same whatever order people or answers come in. Does not
add noise: these numbers are about the people they were measured on, and only a
simulation may show them.

What is measured. *Choices*: a pair is the chosen option against one other of its menu
(ranked by utility, a tie counts half); log-loss (nats) and ECE are those of pairs, with
``p_i / (p_i + p_j)`` from the menu's probabilities; choice accuracy is that of the best
option; macro-F1 has the columns as classes: the column of the chosen option against
that of the best one (of a tie the first), averaged over all columns that occur.
*Ratings*: accuracy, log-loss, ECE and macro-F1 are about approving, which is a score
above 50; pair accuracy stands beside it, over a person's pairs of asked texts whose
scores differ by 10 or more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fedpref.core.types import Float, Integer
from fedpref.errors import InputError
from fedpref.evaluate.menus import Menus
from fedpref.evaluate.metrics import (
    TIE,
    calibration,
    choice_accuracy,
    interval,
    pair_gaps,
)
from fedpref.study.answers import MIDDLE, Answers, Kind
from fedpref.study.predictive import Predicted

MARGIN = 10.0  # points between two ratings that make a pair
SMALL = 5  # a group of fewer people is merged
OTHERS = f"groups of fewer than {SMALL} people"
NOT_GIVEN = "not given"
_LEAST = 1e-300


@dataclass(frozen=True)
class Group:
    """One value of a subgroup; too few people have no accuracy (None)."""

    users: int
    accuracy: float | None
    ci95: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        ends = None if self.ci95 is None else list(self.ci95)
        return {"accuracy": self.accuracy, "ci95": ends, "users": self.users}


@dataclass(frozen=True, eq=False)
class Measured:
    """What one model reaches at one k. Fractions lie in [0, 1].

    ``accuracy`` is that of pairs for choices and of approving for ratings; the other of
    the two notions is in ``choice_accuracy`` (None for ratings) and ``pair_accuracy``
    (None without any pair). ``wins`` and ``asked`` are by person, ``[people]``, also of
    those who were asked nothing, so that draws and seeds can be added up; they stay in
    memory.
    """

    accuracy: float
    choice_accuracy: float | None
    pair_accuracy: float | None
    macro_f1: float
    log_loss: float
    ece: float
    records: int
    wins: Float = field(repr=False)
    asked: Integer = field(repr=False)
    people: tuple[str, ...] = field(repr=False)

    @property
    def users(self) -> int:
        """How many people were asked anything."""
        return int((self.asked > 0).sum())

    @property
    def per_user(self) -> Float:
        """Accuracy of each person asked, ``[users]``."""
        return self.wins[self.asked > 0] / self.asked[self.asked > 0]

    @cached_property
    def ci95(self) -> tuple[float, float]:
        """95 % bootstrap interval of ``accuracy`` over people."""
        return bootstrap(self.wins, self.asked)

    @property
    def spread(self) -> dict[str, float]:
        """Of accuracy over people: standard deviation and percentiles 10, 50, 90."""
        low, middle, high = np.quantile(self.per_user, (0.1, 0.5, 0.9))
        return {
            "sd": float(self.per_user.std()),
            "p10": float(low),
            "p50": float(middle),
            "p90": float(high),
        }

    @property
    def worst_decile(self) -> float:
        """Mean accuracy of the tenth of people with the lowest, at least one."""
        count = -(-self.users // 10)
        return float(np.sort(self.per_user)[:count].mean())

    def groups(
        self, values: Mapping[str, Mapping[str, str]]
    ) -> dict[str, dict[str, Group]]:
        """By group name and value, from each person's ``{name: value}``."""
        return by_group(self.wins, self.asked, self.people, values)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object: nothing in it says whose accuracy is whose."""
        return {
            "accuracy": self.accuracy,
            "ci95": list(self.ci95),
            "choice_accuracy": self.choice_accuracy,
            "pair_accuracy": self.pair_accuracy,
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
            "ece": self.ece,
            "per_user": self.spread,
            "worst_decile": self.worst_decile,
            "users": self.users,
            "records": self.records,
        }


def measure(asked: Answers, predicted: Predicted) -> Measured:
    """Hold predictions against what was answered.

    Raises:
        InputError: nobody was asked anything, or predictions of another size.
    """
    if not len(asked.start) or len(predicted.utility) != len(asked.text):
        raise InputError(
            f"predictions = {len(predicted.utility)} for {len(asked.text)} options "
            "asked; predict the asked answers, at least one"
        )
    if asked.kind is Kind.RATING:
        return _ratings(asked, predicted)
    return _choices(asked, predicted)


def macro_f1(truth: Integer, guess: Integer) -> float:
    """Mean F1 over all classes that occur in either; one never guessed has 0.

    >>> macro_f1(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]))
    0.38888888888888884
    """
    both = np.concatenate([truth, guess])
    scores = []
    for kind in np.unique(both):
        right = int(((truth == kind) & (guess == kind)).sum())
        scores.append(2 * right / int((both == kind).sum()))
    return float(np.mean(scores))


def bootstrap(wins: Float, asked: Integer) -> tuple[float, float]:
    """95 % interval of ``sum(wins) / sum(asked)`` over people who were asked."""
    there = asked > 0
    return interval(wins[there], asked[there], 0)


def by_group(
    wins: Float,
    asked: Integer,
    people: tuple[str, ...],
    values: Mapping[str, Mapping[str, str]],
) -> dict[str, dict[str, Group]]:
    """Accuracy by group; small groups are merged, and too small ones only counted.

    Args:
        wins: right answers of each person, ``[people]``.
        asked: how many they were asked, ``[people]``.
        people: their names.
        values: what is known of a person, by name; who lacks a value is "not given".
    """
    there = np.flatnonzero(asked > 0)
    own = [values.get(people[person], {}) for person in there]
    found = {}
    for name in sorted({name for row in own for name in row}):
        given = np.array([row.get(name, NOT_GIVEN) for row in own])
        kinds, counts = np.unique(given, return_counts=True)
        given = np.where(np.isin(given, kinds[counts < SMALL]), OTHERS, given)
        found[name] = {
            str(value): _group(
                wins[there][given == value], asked[there][given == value]
            )
            for value in np.unique(given)
        }
    return found


def _group(wins: Float, asked: Integer) -> Group:
    if len(wins) < SMALL:
        return Group(len(wins), None, None)
    accuracy = float(wins.sum() / asked.sum())
    return Group(len(wins), accuracy, bootstrap(wins, asked))


def _choices(asked: Answers, predicted: Predicted) -> Measured:
    menus = _menus(asked.text, asked.start, asked.chosen, asked.user)
    _, won = pair_gaps(menus, predicted.utility)
    log = np.log(np.maximum(predicted.probability, _LEAST))
    best = np.maximum.reduceat(predicted.utility, asked.start)[asked.record]
    at_best = np.flatnonzero(predicted.utility >= best - TIE)
    first = at_best[np.unique(asked.record[at_best], return_index=True)[1]]
    _, other = menus.pairs
    accuracy, wins, count = _by_person(asked, won, asked.owner[other])
    loss, ece = _sureness(menus, log)
    return Measured(
        accuracy=accuracy,
        choice_accuracy=choice_accuracy(menus, predicted.utility),
        pair_accuracy=accuracy,
        macro_f1=macro_f1(asked.column[asked.chosen], asked.column[first]),
        log_loss=loss,
        ece=ece,
        records=len(asked.start),
        wins=wins,
        asked=count,
        people=asked.people,
    )


def _ratings(asked: Answers, predicted: Predicted) -> Measured:
    records = len(asked.start)
    approved = asked.value > 0
    yes = predicted.probability
    both = np.stack([yes, 1 - yes], axis=1).ravel()  # two options: approve, reject
    start = 2 * np.arange(records)
    menus = _menus(np.arange(2 * records), start, start + ~approved, asked.user)
    _, won = pair_gaps(menus, both)
    accuracy, wins, count = _by_person(asked, won, asked.user)
    loss, ece = _sureness(menus, np.log(np.maximum(both, _LEAST)))
    return Measured(
        accuracy=accuracy,
        choice_accuracy=None,
        pair_accuracy=_pairs_of_ratings(asked, predicted.utility),
        macro_f1=macro_f1(approved.astype(np.int64), (yes > 0.5).astype(np.int64)),
        log_loss=loss,
        ece=ece,
        records=records,
        wins=wins,
        asked=count,
        people=asked.people,
    )


def _pairs_of_ratings(asked: Answers, utility: Float) -> float | None:
    """Share of a person's pairs, ``MARGIN`` apart or more, in the right order."""
    right, pairs = 0.0, 0
    for own in np.split(np.arange(len(asked.user)), np.cumsum(asked.counts)[:-1]):
        score = asked.value[own] * MIDDLE
        apart = score[:, None] - score[None, :] >= MARGIN - TIE
        gap = (utility[own][:, None] - utility[own][None, :])[apart]
        right += float(np.where(np.abs(gap) <= TIE, 0.5, gap > 0).sum())
        pairs += len(gap)
    return right / pairs if pairs else None


def _sureness(menus: Menus, log: Float) -> tuple[float, float]:
    """Log-loss and ECE of pairs from log probabilities of options."""
    gap, won = pair_gaps(menus, log)
    return float(np.logaddexp(0.0, -gap).mean()), calibration(gap, won)[1]


def _by_person(
    asked: Answers, won: Float, user: Integer
) -> tuple[float, Float, Integer]:
    people = len(asked.people)
    wins = np.bincount(user, won, people).astype(np.float64)
    count = np.bincount(user, minlength=people).astype(np.int64)
    return float(won.mean()), wins, count


def _menus(text: Integer, start: Integer, chosen: Integer, user: Integer) -> Menus:
    """The shape of choices, as the metrics of evaluations take it."""
    users = int(user.max()) + 1
    return Menus((), text, start, chosen, user, users, people="")
