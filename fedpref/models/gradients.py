"""The gradient of each privacy unit's loss: one forward and one backward for all.

A unit's loss reads the model only through scores, so its gradient is ``c J``: ``J``
holds the gradient of each distinct text's score, ``c`` the unit's coefficients.

Guarantees: row i is the gradient of unit i's loss and depends on the records of unit i
alone; a unit that cannot be computed (NaN, overflow) is a NaN row and changes no other
row; sums are float64. ``docs/guarantees/gradients.md`` has the argument.

Does not: bound anything; ``core.clip`` does, next. It does not hide how long a unit's
texts are from whoever can time the device.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum

import numpy as np
import torch

from fedpref.core.types import Float, Objective, Record, Unit
from fedpref.errors import FedprefError, InputError
from fedpref.models.folding import (
    Mask,
    check_objective,
    fold,
    record_losses,
    score_coefficients,
)
from fedpref.models.reward import HEAD, RewardModel
from fedpref.models.tape import complete, recording

Jacobian = Callable[[Sequence[str]], tuple[Float, Float]]

PROBES = (
    "A plan with a fixed price.",
    "A plan whose price changes with the season and with the time of the day.",
    "No plan.",
    "A contract for one year with a company that people know, and a fixed price.",
    "A short contract.",
)
TOLERANCE = 1e-4


class Engine(StrEnum):
    """How unit gradients are computed. It cannot change what they are."""

    ONE_PASS = "one_pass"
    LOOP = "loop"  # a forward and a backward a unit: slower, least memory, the oracle


def unit_gradients(
    model: RewardModel,
    objective: Objective,
    records: Sequence[Record],
    *,
    unit: Unit,
    engine: Engine = Engine.ONE_PASS,
    jacobian: Jacobian | None = None,
) -> Float:
    """Gradient of every unit's loss at the model's current vector, ``[units, size]``.

    Args:
        model: the reward model.
        objective: summed over a unit's records, each times its weight.
        records: any number; none gives ``[0, size]`` without touching the model.
        unit: USER or RECORD; rows are in order of first appearance.
        engine: how, not what.
        jacobian: where the rows of J come from; by default this call's own pass. A
            :class:`SharedJacobian` serves many clients of one simulation.

    Raises:
        ObjectiveError: the objective cannot be used with a reward model at this unit.
    """
    check_objective(objective, unit)
    if not records:
        return np.zeros((0, model.layout.size))
    if engine is Engine.LOOP:
        return _loop(model, objective, records, unit)
    folding = fold(records, unit)
    scores, rows = (jacobian or own_jacobian(model))(folding.texts)
    coefficients = score_coefficients(objective, folding, scores)
    return _combine(coefficients, rows, folding.touched)


def jacobian(model: RewardModel, texts: Sequence[str]) -> tuple[Float, Float]:
    """Scores ``[T]`` and their gradients with respect to the vector, ``[T, size]``.

    One forward and one backward of the summed scores (per batch of similar length,
    where there are many texts): a score depends on its own text alone, so the gradient
    that the tape records for a row is that of the row's score.
    """
    if model.adapted is None:
        frozen = model.features(texts)
        return frozen @ model.head.numpy(), frozen
    weights = [parameter for _, parameter in model.trainable]
    out = np.empty((len(texts), model.layout.size))
    scores = np.empty(len(texts))
    for batch in model.batches(texts):
        count = len(batch.positions)
        with recording(model.adapted.peft, model.trainable, count) as tape:
            features = model.batch_features(batch)
            total = (features @ model.head).sum()
            # The tape keeps what the backward of each layer sees; the summed gradients
            # that autograd itself would return are not even formed.
            torch.autograd.grad(total, weights, allow_unused=True)
        complete(tape, model.trainable)
        known = {HEAD: features.detach(), **tape.gradients}
        for block, part in model.layout.parts():
            rows = known[block.name].reshape(count, -1).numpy()
            out[batch.positions, part] = rows.astype(np.float64) * block.scale
        scores[batch.positions] = (known[HEAD] @ model.head).numpy()
    return scores, out


def own_jacobian(model: RewardModel) -> Jacobian:
    """:func:`jacobian` of ``model``: what a device computes for its own texts."""
    return lambda texts: jacobian(model, texts)


class SharedJacobian:
    """Rows of J for many simulated clients who answer about the same public texts.

    J depends on the vector and the public catalogue alone, so it is computed once for
    each vector that the model is set to, and a client's rows are looked up: what the
    client would have computed itself, to rounding. In a deployment each device
    computes its own rows.

    Args:
        model: its vector is read at every call.
        texts: the public catalogue.
    """

    def __init__(self, model: RewardModel, texts: Sequence[str]) -> None:
        self._model = model
        self._texts = tuple(dict.fromkeys(texts))
        self._place = {text: i for i, text in enumerate(self._texts)}
        self._at: bytes | None = None

    def __call__(self, texts: Sequence[str]) -> tuple[Float, Float]:
        """Scores and rows of ``texts``, in their order.

        Raises:
            InputError: a text is not in the catalogue.
        """
        at = self._model.vector.tobytes()
        if at != self._at:
            self._scores, self._rows = jacobian(self._model, self._texts)
            self._at = at
        outside = sum(text not in self._place for text in texts)
        if outside:
            raise InputError(
                f"texts outside the public catalogue = {outside}, must be 0: give the "
                "whole catalogue, or let each client compute its own rows"
            )
        places = [self._place[text] for text in texts]
        return self._scores[places], self._rows[places]


def self_test(
    model: RewardModel, objective: Objective, texts: Sequence[str] = PROBES
) -> float:
    """Compare the one-pass engine with the loop on two made-up people; before a run.

    The vector is moved off zero, where the gradients of every adapter's A vanish, and
    put back.

    Args:
        model: the reward model.
        objective: the one of the run.
        texts: public ones, two or more different; constants of this file by default.

    Returns:
        The largest relative difference of a block.

    Raises:
        FedprefError: it exceeds 1e-4: the engines disagree on this model or machine.
    """
    before = model.vector
    draw = np.random.default_rng(0)
    moved = 0.05 * draw.standard_normal(model.layout.size) / model.layout.scales
    pair = [texts[i % len(texts)] for i in (0, 1, 3, 4, 2, 3)]
    records = [
        Record("one", "", (pair[0], pair[1]), choice=0),
        Record("two", "", (pair[2], pair[3]), choice=1),
        Record("one", "", (pair[4], pair[5]), choice=1),
    ]
    model.set(moved)
    try:
        rows = [
            unit_gradients(model, objective, records, unit=Unit.USER, engine=engine)
            for engine in (Engine.ONE_PASS, Engine.LOOP)
        ]
    finally:
        model.set(before)
    difference = _difference(model, rows[0], rows[1])
    if not difference <= TOLERANCE:  # also when it is NaN
        raise FedprefError(
            f"engine self-test: relative difference {difference:.1e} between one_pass "
            f'and loop, must be <= {TOLERANCE}: set model.engine = "loop" and report it'
        )
    return difference


def _difference(model: RewardModel, found: Float, expected: Float) -> float:
    """Largest relative difference of a block, so that no block hides behind another.

    A block far smaller than the whole is measured against a thousandth of the whole:
    there rounding of the rest is all that is left.
    """
    least = 1e-3 * float(np.linalg.norm(expected))
    ratios = []
    for _, part in model.layout.parts():
        own = float(np.linalg.norm(expected[:, part]))
        apart = float(np.linalg.norm(found[:, part] - expected[:, part]))
        ratios.append(apart / max(own, least))
    return float(np.max(ratios))  # NaN where one is


def _combine(coefficients: Float, rows: Float, touched: Mask) -> Float:
    """``coefficients @ rows``, where a text that overflows stays its users' problem."""
    with np.errstate(invalid="ignore", over="ignore"):
        broken = ~np.isfinite(rows.sum(axis=1))
        if broken.any():  # 0 * NaN is NaN: it would reach everybody's row
            rows = np.where(broken[:, None], 0.0, rows)
        out: Float = coefficients @ rows
    out[touched[:, broken].any(axis=1)] = np.nan
    return out


def _loop(
    model: RewardModel, objective: Objective, records: Sequence[Record], unit: Unit
) -> Float:
    """A plain peft forward and autograd backward for each unit, on its own texts."""
    whole = fold(records, unit)
    out = np.empty((whole.units, model.layout.size))
    for i in range(whole.units):
        own = [r for r, u in zip(records, whole.unit, strict=True) if u == i]
        folding = fold(own, unit)
        head = model.head.clone().requires_grad_()
        scores = model.feature_graph(folding.texts) @ head
        loss = record_losses(objective, folding, scores).sum()
        wanted = [parameter for _, parameter in model.trainable] + [head]
        gradients = torch.autograd.grad(loss, wanted)
        flat = [g.reshape(-1).numpy().astype(np.float64) for g in gradients]
        out[i] = np.concatenate(flat) * model.layout.scales
        if not torch.isfinite(loss):
            out[i] = np.nan
    return out
