"""One curve as numbers: what each model reached at each epsilon and k, with intervals.

Guarantees: an interval resamples people and, where there are several, seeds; all
answers of a person stay together, whichever seed or draw they were predicted in. A gain
is paired: the same people, seeds and answers on both sides. Nothing in the result says
whose accuracy is whose.

Does not give: privacy. These numbers are about the people they were measured on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from fedpref.core.types import Float, Integer
from fedpref.errors import InputError
from fedpref.study.measure import Measured, by_group

RESAMPLES = 2000
_MEANS = ("choice_accuracy", "pair_accuracy", "macro_f1", "log_loss", "ece")

Groups = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Tally:
    """Right answers and answers asked, ``[seeds, people]``, draws added up."""

    wins: Float
    asked: Float
    people: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of all that was asked, over seeds, draws and people."""
        return float(self.wins.sum() / self.asked.sum())

    @property
    def per_user(self) -> Float:
        """Of each person who was asked anything, ``[users]``."""
        wins, asked = self.wins.sum(axis=0), self.asked.sum(axis=0)
        return np.asarray(wins[asked > 0] / asked[asked > 0])


def tally(found: Sequence[tuple[int, Measured]]) -> Tally:
    """Add up measurements that carry the number of their seed."""
    if not found:
        raise InputError("measurements = 0: at least one seed and draw are needed")
    names = tuple(sorted({name for _, one in found for name in one.people}))
    place = {name: number for number, name in enumerate(names)}
    seeds = sorted({seed for seed, _ in found})
    wins = np.zeros((len(seeds), len(names)))
    asked = np.zeros_like(wins)
    for seed, one in found:
        at = [place[name] for name in one.people]
        wins[seeds.index(seed), at] += one.wins
        asked[seeds.index(seed), at] += one.asked
    there = asked.sum(axis=0) > 0
    kept = tuple(name for name, is_there in zip(names, there, strict=True) if is_there)
    return Tally(wins[:, there], asked[:, there], kept)


def interval(top: Float, bottom: Float) -> tuple[float, float]:
    """95 % percentile bootstrap of ``sum(top) / sum(bottom)`` over people and seeds.

    Args:
        top: ``[seeds, people]``.
        bottom: ``[seeds, people]``.
    """
    seeds, people = _weights(*top.shape)
    above = np.einsum("rp,rp->r", seeds @ top, people)
    below = np.einsum("rp,rp->r", seeds @ bottom, people)
    low, high = np.quantile(above[below > 0] / below[below > 0], (0.025, 0.975))
    return float(low), float(high)


def cell(found: Sequence[tuple[int, Measured]], groups: Groups) -> dict[str, Any]:
    """The JSON entry of one model at one epsilon and k."""
    sums = tally(found)
    own = sums.per_user
    worst = np.sort(own)[: -(-len(own) // 10)]
    entry: dict[str, Any] = {
        "accuracy": sums.accuracy,
        "ci95": list(interval(sums.wins, sums.asked)),
    }
    for name in _MEANS:
        values = [getattr(one, name) for _, one in found]
        known = [value for value in values if value is not None]
        entry[name] = float(np.mean(known)) if known else None
    entry |= {
        "spread": {
            "sd": float(own.std()),
            "p10": float(np.quantile(own, 0.1)),
            "p50": float(np.quantile(own, 0.5)),
            "p90": float(np.quantile(own, 0.9)),
        },
        "worst_decile": float(worst.mean()),
        "sd_over_seeds": _over_seeds(sums),
        "users": len(own),
        "groups": _groups(sums, groups),
    }
    return entry


def gain(
    found: Sequence[tuple[int, Measured]], base: Sequence[tuple[int, Measured]]
) -> dict[str, Any]:
    """Accuracy of ``found`` minus that of ``base``; both are resampled together.

    Raises:
        InputError: The two are not about the same people, seeds and answers.
    """
    ours, theirs = tally(found), tally(base)
    if ours.people != theirs.people or not np.array_equal(ours.asked, theirs.asked):
        raise InputError(
            f"measurements of {len(ours.people)} and {len(theirs.people)} people do "
            "not cover the same answers; compare over the same seeds and draws"
        )
    return {
        "value": ours.accuracy - theirs.accuracy,
        "ci95": list(interval(ours.wins - theirs.wins, ours.asked)),
    }


def _over_seeds(sums: Tally) -> float | None:
    """Standard deviation of accuracy between seeds; none of a single one."""
    if len(sums.wins) < 2:
        return None
    each = sums.wins.sum(axis=1) / sums.asked.sum(axis=1)
    return float(each.std(ddof=1))


def _groups(sums: Tally, groups: Groups) -> dict[str, Any]:
    wins = sums.wins.sum(axis=0)
    asked: Integer = sums.asked.sum(axis=0).astype(np.int64)
    found = by_group(wins, asked, sums.people, groups)
    return {
        name: {value: group.to_json() for value, group in rows.items()}
        for name, rows in found.items()
    }


@lru_cache(maxsize=4)
def _weights(seeds: int, people: int) -> tuple[Float, Float]:
    """How often each seed and person is drawn: ``[draws, seeds]``, ``[draws, people]``.

    The same for all models, so that their intervals can be compared.
    """
    rng = np.random.default_rng(0)

    def drawn(count: int) -> Float:
        even = np.full(count, 1 / count)
        return rng.multinomial(count, even, RESAMPLES).astype(np.float64)

    return drawn(seeds), drawn(people)
