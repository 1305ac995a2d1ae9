"""An objective over records: losses, their derivatives by item, a unit's statistic.

Guarantees: the loss of a unit is the weighted sum over its records, and row i of the
coefficients is the gradient of unit i's loss with respect to the values of the
distinct items: scores, or log-probabilities. A record whose loss is not finite makes
its own unit's row NaN and touches no other.

Does not: check that an objective treats records apart; that is the objective's
contract (only one that asks for ``group`` or ``mismatched`` may couple records, and
then of one user).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedpref.core.types import Float, Objective, Unit
from fedpref.errors import InputError, ObjectiveError
from fedpref.models.folding import Folding

COUPLING = frozenset({"group", "mismatched"})
ABSENT = {"reference": 0.0, "lengths": 1.0}
"""What an option that is not there has, so that nothing is divided by zero."""

Known = Mapping[str, Float]


def check_objective(objective: Objective, provides: frozenset[str], unit: Unit) -> None:
    """Refuse an objective that a model cannot serve at this unit.

    Args:
        objective: the objective.
        provides: names of arguments that the model can serve.
        unit: the protected unit.

    Raises:
        ObjectiveError: it asks for something that the model does not provide, or
            couples a user's records while the unit is one record.
    """
    unknown = sorted(asks(objective) - provides)
    if unknown:
        kind = "policy" if "policy" in provides else "reward model"
        raise ObjectiveError(
            f"objective {objective.name} asks for {', '.join(unknown)}; a {kind} "
            f"provides {', '.join(sorted(provides))}: choose another objective"
        )
    if unit is not Unit.USER and COUPLING & asks(objective):
        raise ObjectiveError(
            f"objective {objective.name} couples the records of a user, so one record "
            'has no bounded effect of its own: set privacy.unit = "user"'
        )


def value_name(objective: Objective) -> str:
    """``policy`` or ``scores``: which argument moves with the model."""
    return "policy" if "policy" in asks(objective) else "scores"


def record_losses(
    objective: Objective, folding: Folding, values: Tensor, known: Known | None = None
) -> Tensor:
    """Weighted loss of each record, ``[records]``.

    Args:
        objective: its loss is called with exactly the keywords that it needs.
        folding: of the records.
        values: float64 ``[T]``, or ``[records, K]`` with absent options -inf.
        known: by name, what does not move with the model: ``[T]``, or ``[records]``
            for ``mismatched``.

    Raises:
        InputError: records lack an answer that the objective needs.
        ObjectiveError: the loss does not return one number a record.
    """
    given = _arguments(objective, folding, values, known or {}, objective.needs)
    return _weighted(objective, folding, objective.loss(**given))


def coefficients(
    objective: Objective, folding: Folding, values: Float, known: Known | None = None
) -> Float:
    """Gradient of each unit's loss with respect to each item's value, ``[units, T]``.

    Args:
        objective: the loss over records.
        folding: of the records.
        values: of the distinct items, ``[T]``.
        known: as in :func:`record_losses`.
    """
    options = by_option(folding, torch.from_numpy(values)).requires_grad_()
    losses = record_losses(objective, folding, options, known)
    (gradient,) = torch.autograd.grad(losses.sum(), options)
    out = np.zeros((folding.units, len(folding.texts)))
    record, option = np.nonzero(folding.index >= 0)
    place = (folding.unit[record], folding.index[record, option])
    np.add.at(out, place, gradient.numpy()[record, option])
    broken = ~torch.isfinite(losses.detach()).numpy()
    out[folding.unit[broken]] = np.nan
    return out


def unit_statistics(
    objective: Objective, folding: Folding, values: Float, known: Known | None = None
) -> Float:
    """Each unit's statistic, ``[units]``: the weighted mean over its own records.

    How many records a unit has stays within the unit, so dividing by it is safe.
    """
    assert objective.statistic is not None
    names = _reserved(objective.statistic)
    moving = torch.from_numpy(values)
    given = _arguments(objective, folding, moving, known or {}, names)
    each = _weighted(objective, folding, objective.statistic(**given))
    out, weight = np.zeros((2, folding.units))
    np.add.at(out, folding.unit, each.detach().numpy())
    np.add.at(weight, folding.unit, folding.weight)
    return out / np.where(weight > 0, weight, 1.0)


def by_option(folding: Folding, values: Tensor, absent: float = -np.inf) -> Tensor:
    """Values of each record's options, ``[records, K]``, ``absent`` where none is."""
    index = torch.from_numpy(folding.index)
    return values[index.clamp(min=0)].masked_fill(index < 0, absent)


def _arguments(
    objective: Objective,
    folding: Folding,
    values: Tensor,
    known: Known,
    names: frozenset[str],
) -> dict[str, Tensor]:
    """What a function of the objective asks for, by name."""
    _check_answers(objective, folding, names)

    def find(name: str) -> Any:
        if name == value_name(objective):
            return by_option(folding, values) if values.dim() == 1 else values
        if name in ABSENT:
            return by_option(folding, torch.from_numpy(known[name]), ABSENT[name])
        if name == "mismatched":
            return known[name]
        public = name in ("previous", "preference")
        return getattr(folding.given if public else folding, name)

    found = {name: find(name) for name in names}
    return {
        name: value if isinstance(value, Tensor) else torch.from_numpy(value)
        for name, value in found.items()
    }


def _check_answers(
    objective: Objective, folding: Folding, names: frozenset[str]
) -> None:
    for name in names & {"choice", "label"}:
        missing = int((getattr(folding, name) < 0).sum())
        if missing:
            raise InputError(
                f"objective {objective.name} needs a {name} in every record; "
                f"{missing} of {len(folding.choice)} have none"
            )
    wanted = {
        "labels": bool(folding.given.objectives),
        "previous": folding.given.previous is not None,
        "preference": folding.given.preference is not None,
    }
    for name in sorted(names & set(wanted)):
        if not wanted[name]:
            raise InputError(
                f"objective {objective.name} needs {name}, and none was given: see "
                "fedpref.models.folding.Given"
            )


def _weighted(objective: Objective, folding: Folding, each: Tensor) -> Tensor:
    if each.shape != (len(folding.index),):
        raise ObjectiveError(
            f"objective {objective.name} returned shape {tuple(each.shape)}, must be "
            f"one number a record, ({len(folding.index)},)"
        )
    return each * torch.from_numpy(folding.weight)


def asks(objective: Objective) -> frozenset[str]:
    """Names of the arguments that loss and statistic need together."""
    if objective.statistic is None:
        return objective.needs
    return objective.needs | _reserved(objective.statistic)


def _reserved(function: Callable[..., Any]) -> frozenset[str]:
    """Arguments without a default: those that a model provides."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(p.name for p in parameters if p.default is p.empty)
