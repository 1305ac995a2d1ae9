"""From records to units: which texts a unit speaks about, and with what coefficients.

Guarantees: the loss of a unit is the weighted sum over its records, and row i of the
coefficients is the gradient of unit i's loss with respect to the scores of the
distinct texts. A record whose loss is not finite makes its own unit's row NaN and
touches no other. A record is one record, however many options it has.

Does not: check that an objective treats records apart; that is the objective's
contract (only one that asks for ``group`` may couple records, and then of one user).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedpref.core.types import Float, Integer, Objective, Record, Unit
from fedpref.errors import InputError, ObjectiveError

Mask = NDArray[np.bool_]

PROVIDED = frozenset({"scores", "choice", "group"})


@dataclass(frozen=True, eq=False, repr=False)
class Folding:
    """How records refer to distinct texts and belong to units. Private, all of it.

    ``texts``: the distinct texts in order of first appearance, T of them.
    ``index``: ``[records, K]``, which text each option is, -1 where there is none.
    ``choice``, ``group``, ``unit``, ``weight``: ``[records]``; ``choice`` is -1 where a
    record has none, ``group`` numbers the users and ``unit`` the units.
    """

    texts: tuple[str, ...]
    index: Integer
    choice: Integer
    group: Integer
    unit: Integer
    weight: Float

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.unit.max(initial=-1)) + 1

    @property
    def touched(self) -> Mask:
        """``[units, T]``: whether a unit has a text among its options."""
        out = np.zeros((self.units, len(self.texts)), dtype=np.bool_)
        record, option = np.nonzero(self.index >= 0)
        out[self.unit[record], self.index[record, option]] = True
        return out


def fold(records: Sequence[Record], unit: Unit) -> Folding:
    """Number texts, users and units in order of first appearance."""
    texts: dict[str, int] = {}
    users: dict[str, int] = {}
    width = max((len(record.options) for record in records), default=0)
    index = np.full((len(records), width), -1, dtype=np.int64)
    for i, record in enumerate(records):
        users.setdefault(record.user, len(users))
        for j, text in enumerate(record.texts):
            index[i, j] = texts.setdefault(text, len(texts))
    choices = [-1 if record.choice is None else record.choice for record in records]
    group = np.array([users[record.user] for record in records], dtype=np.int64)
    return Folding(
        texts=tuple(texts),
        index=index,
        choice=np.array(choices, dtype=np.int64),
        group=group,
        unit=group if unit is Unit.USER else np.arange(len(records), dtype=np.int64),
        weight=np.array([record.weight for record in records], dtype=np.float64),
    )


def check_objective(objective: Objective, unit: Unit) -> None:
    """Refuse an objective that a reward model cannot serve at this unit.

    Raises:
        ObjectiveError: it asks for something else than scores, choice and group, or
            couples a user's records while the unit is one record.
    """
    unknown = sorted(objective.needs - PROVIDED)
    if unknown:
        raise ObjectiveError(
            f"objective {objective.name} asks for {', '.join(unknown)}; a reward model "
            f"provides {', '.join(sorted(PROVIDED))}: choose another objective"
        )
    if unit is not Unit.USER and "group" in objective.needs:
        raise ObjectiveError(
            f"objective {objective.name} couples the records of a user, so one record "
            'has no bounded effect of its own: set privacy.unit = "user"'
        )


def record_losses(objective: Objective, folding: Folding, scores: Tensor) -> Tensor:
    """Weighted loss of each record, ``[records]``.

    Args:
        objective: its loss is called with exactly the keywords that it needs.
        folding: of the records.
        scores: float64 ``[T]``, or ``[records, K]`` with absent options -inf.

    Raises:
        InputError: a record has no choice where the objective needs one.
        ObjectiveError: the loss does not return one number a record.
    """
    if "choice" in objective.needs and (folding.choice < 0).any():
        raise InputError(
            f"objective {objective.name} needs a choice in every record; "
            f"{int((folding.choice < 0).sum())} of {len(folding.choice)} have none"
        )
    arguments = {
        "scores": option_scores(folding, scores) if scores.dim() == 1 else scores,
        "choice": torch.from_numpy(folding.choice),
        "group": torch.from_numpy(folding.group),
    }
    losses = objective.loss(**{name: arguments[name] for name in objective.needs})
    if losses.shape != (len(folding.index),):
        raise ObjectiveError(
            f"objective {objective.name} returned shape {tuple(losses.shape)}, must be "
            f"one number a record, ({len(folding.index)},)"
        )
    weighted: Tensor = losses * torch.from_numpy(folding.weight)
    return weighted


def option_scores(folding: Folding, scores: Tensor) -> Tensor:
    """Scores of each record's options, ``[records, K]``, -inf where there is none."""
    index = torch.from_numpy(folding.index)
    present = scores[index.clamp(min=0)]
    return present.masked_fill(index < 0, float("-inf"))


def score_coefficients(objective: Objective, folding: Folding, scores: Float) -> Float:
    """Gradient of each unit's loss with respect to each text's score, ``[units, T]``.

    Args:
        objective: the loss over records.
        folding: of the records.
        scores: of the distinct texts, ``[T]``.
    """
    options = option_scores(folding, torch.from_numpy(scores)).requires_grad_()
    losses = record_losses(objective, folding, options)
    (gradient,) = torch.autograd.grad(losses.sum(), options)
    out = np.zeros((folding.units, len(folding.texts)))
    record, option = np.nonzero(folding.index >= 0)
    place = (folding.unit[record], folding.index[record, option])
    np.add.at(out, place, gradient.numpy()[record, option])
    broken = ~torch.isfinite(losses.detach()).numpy()
    out[folding.unit[broken]] = np.nan
    return out
