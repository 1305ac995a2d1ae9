"""The gradient of each privacy unit's loss: one forward and one backward for all.

A unit's loss reads the model only through values of items (scores of texts, or
log-probabilities of responses), so its gradient is ``c J``: ``J`` holds the gradient of
each distinct item's value, ``c`` the unit's coefficients.

Guarantees: row i is the gradient of unit i's loss and depends on the records of unit i
alone; a unit that cannot be computed (NaN, overflow) is a NaN row and changes no other
row; sums are float64. ``docs/guarantees/gradients.md`` has the argument.

Does not: bound anything; ``core.clip`` does, next. It does not hide how long a unit's
texts are from whoever can time the device.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import torch

from fedpref.core.types import Block, Float, Layout, Objective, Record, Unit
from fedpref.models.folding import NOTHING, Folding, Given, Mask, fold
from fedpref.models.jacobians import Jacobian, SharedJacobian, jacobian, own_jacobian
from fedpref.models.losses import (
    ABSENT,
    asks,
    check_objective,
    coefficients,
    record_losses,
    unit_statistics,
)
from fedpref.models.trained import Trained

__all__ = [
    "STATISTIC",
    "Engine",
    "Given",
    "SharedJacobian",
    "contribution",
    "jacobian",
    "own_jacobian",
    "unit_gradients",
]

STATISTIC = "statistic"


class Engine(StrEnum):
    """How unit gradients are computed. It cannot change what they are."""

    ONE_PASS = "one_pass"
    LOOP = "loop"  # a forward and a backward a unit: slower, least memory, the oracle


def contribution(model: Trained, objective: Objective) -> Layout:
    """Layout of a unit's row: the model's blocks, and the statistic of a lagged one."""
    if objective.statistic is None:
        return model.layout
    return Layout((*model.layout.blocks, Block(STATISTIC, (1,))))


def unit_gradients(
    model: Trained,
    objective: Objective,
    records: Sequence[Record],
    *,
    unit: Unit,
    engine: Engine = Engine.ONE_PASS,
    jacobian: Jacobian | None = None,
    given: Given = NOTHING,
) -> Float:
    """Every unit's row: the gradient of its loss at the model's current vector.

    Args:
        model: a reward model or a policy.
        objective: summed over a unit's records, each times its weight. One with a
            statistic adds the unit's as the last coordinate.
        records: any number; none gives ``[0, size]`` without touching the model.
        unit: USER or RECORD; rows are in order of first appearance.
        engine: how, not what.
        jacobian: where the rows of J come from; by default this call's own pass. A
            :class:`SharedJacobian` serves many clients of one simulation.
        given: what an objective may ask for that is not in the records.

    Returns:
        ``[units, size]``, laid out as :func:`contribution` says.

    Raises:
        ObjectiveError: the objective cannot be used with the model at this unit.
        InputError: records lack what the objective needs.
    """
    check_objective(objective, model.provides, unit)
    size = contribution(model, objective).size
    if not records:
        return np.zeros((0, size))
    folding = _folded(model, records, unit, given)
    if engine is Engine.LOOP:
        return _loop(model, objective, records, folding, size)
    values, rows = (jacobian or own_jacobian(model))(folding.texts)
    known = _known(model, objective, folding)
    out = _combine(
        coefficients(objective, folding, values, known), rows, folding.touched
    )
    return _with_statistic(objective, folding, values, known, out)


def _folded(
    model: Trained, records: Sequence[Record], unit: Unit, given: Given
) -> Folding:
    weights: list[tuple[float, ...]] = [()] * len(records)
    if given.preference is not None:
        weights = [tuple(row) for row in given.preference.tolist()]
    options = [model.items(r, row) for r, row in zip(records, weights, strict=False)]
    return fold(records, unit, given, options)


def _known(model: Trained, objective: Objective, folding: Folding) -> dict[str, Float]:
    """What the objective asks for that does not move with the vector."""
    asked = asks(objective)
    out = {name: model.known(name, folding.texts) for name in asked & set(ABSENT)}
    if "mismatched" in asked:
        pairs = folding.mismatched
        items = [item for _, item in pairs]
        ratio = model.values(items) - model.known("reference", items)
        out["mismatched"] = np.zeros(len(folding.index))
        out["mismatched"][[record for record, _ in pairs]] = ratio
    return out


def _with_statistic(
    objective: Objective,
    folding: Folding,
    values: Float,
    known: dict[str, Float],
    rows: Float,
) -> Float:
    """``rows`` and, of a lagged objective, each unit's statistic behind them."""
    if objective.statistic is None:
        return rows
    own = unit_statistics(objective, folding, values, known)
    own[~np.isfinite(rows).all(axis=1)] = np.nan
    return np.column_stack([rows, own])


def _combine(coefficients: Float, rows: Float, touched: Mask) -> Float:
    """``coefficients @ rows``; an item that overflows stays its users' problem."""
    with np.errstate(invalid="ignore", over="ignore"):
        broken = ~np.isfinite(rows.sum(axis=1))
        if broken.any():  # 0 * NaN is NaN: it would reach everybody's row
            rows = np.where(broken[:, None], 0.0, rows)
        out: Float = coefficients @ rows
    out[touched[:, broken].any(axis=1)] = np.nan
    return out


def _loop(
    model: Trained,
    objective: Objective,
    records: Sequence[Record],
    whole: Folding,
    size: int,
) -> Float:
    """A plain forward and autograd backward for each unit, on its own items."""
    out = np.empty((whole.units, size))
    for i in range(whole.units):
        places = np.flatnonzero(whole.unit == i).tolist()
        own = [records[place] for place in places]
        # All of them are one unit's, whoever the unit is.
        folding = _folded(model, own, Unit.USER, whole.given.of(places))
        known = _known(model, objective, folding)
        values, leaves = model.graph(folding.texts)
        loss = record_losses(objective, folding, values, known).sum()
        gradients = torch.autograd.grad(loss, leaves)
        flat = [g.reshape(-1).numpy().astype(np.float64) for g in gradients]
        row = (np.concatenate(flat) * model.layout.scales)[None]
        if not torch.isfinite(loss):
            row[:] = np.nan
        found = values.detach().numpy()
        out[i] = _with_statistic(objective, folding, found, known, row)[0]
    return out
