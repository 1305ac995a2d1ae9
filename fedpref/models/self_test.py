"""The one-pass engine against the loop, on made-up people, before a run.

Guarantees: an engine that is wrong on this model, objective or machine stops the run
before any record is read.

Does not: compare at the vectors and lengths of the run itself.
"""

from collections.abc import Sequence

import numpy as np

from fedpref.core.types import Float, Objective, Record, Unit
from fedpref.errors import FedprefError
from fedpref.models.folding import Given
from fedpref.models.gradients import Engine, contribution, unit_gradients
from fedpref.models.losses import asks
from fedpref.models.trained import Trained

PROBES = (
    "A plan with a fixed price.",
    "A plan whose price changes with the season and with the time of the day.",
    "No plan.",
    "A contract for one year with a company that people know, and a fixed price.",
    "A short contract.",
)
TOLERANCE = 1e-4


def self_test(
    model: Trained, objective: Objective, texts: Sequence[str] = PROBES
) -> float:
    """Compare the one-pass engine with the loop on two made-up people; before a run.

    The vector is moved off zero, where the gradients of every adapter's A vanish, and
    put back.

    Args:
        model: the reward model or policy.
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
    records = _records(objective, texts)
    given = _given(model, objective, len(records))
    model.set(moved)
    try:
        rows = [
            unit_gradients(
                model, objective, records, unit=Unit.USER, engine=engine, given=given
            )
            for engine in (Engine.ONE_PASS, Engine.LOOP)
        ]
    finally:
        model.set(before)
    difference = _difference(model, objective, rows[0], rows[1])
    if not difference <= TOLERANCE:  # also when it is NaN
        raise FedprefError(
            f"engine self-test: relative difference {difference:.1e} between one_pass "
            f'and loop, must be <= {TOLERANCE}: set model.engine = "loop" and report it'
        )
    return difference


def _records(objective: Objective, texts: Sequence[str]) -> list[Record]:
    """What the objective learns from: choices between two, with labels, or thumbs."""
    pairs = [[texts[i % len(texts)] for i in two] for two in ((0, 1), (3, 4), (2, 3))]
    prompt = texts[0] if "policy" in asks(objective) else ""
    people = ("one", "two", "one")
    if "label" in asks(objective):
        thumbs = [(pairs[0][0], True), (pairs[1][0], False), (pairs[2][0], False)]
        return [
            Record(user, prompt, (text,), label=label)
            for user, (text, label) in zip(people, thumbs, strict=True)
        ]
    return [
        Record(user, prompt, tuple(pair), choice=choice, labels={"a": 0, "b": choice})
        for user, pair, choice in zip(people, pairs, (0, 1, 1), strict=True)
    ]


def _given(model: Trained, objective: Objective, records: int) -> Given:
    """Made-up public values, where the objective or the adapter reads them."""
    weighed = model.objectives or ("preference" in asks(objective) and 2)
    names = ("a", "b") if "labels" in asks(objective) else ()
    return Given(
        previous=np.zeros(1) if "previous" in asks(objective) else None,
        preference=np.tile(_weights(weighed), (records, 1)) if weighed else None,
        objectives=names,
    )


def _weights(objectives: int) -> Float:
    """1, 2, 3, ... in the same ratio, as weights."""
    counted: Float = np.arange(1.0, objectives + 1)
    weights: Float = counted / counted.sum()
    return weights


def _difference(
    model: Trained, objective: Objective, found: Float, expected: Float
) -> float:
    """Largest relative difference of a block, so that no block hides behind another.

    A block far smaller than the whole is measured against a thousandth of the whole:
    there rounding of the rest is all that is left.
    """
    least = 1e-3 * float(np.linalg.norm(expected))
    ratios = []
    for _, part in contribution(model, objective).parts():
        own = float(np.linalg.norm(expected[:, part]))
        apart = float(np.linalg.norm(found[:, part] - expected[:, part]))
        ratios.append(apart / max(own, least))
    return float(np.max(ratios))  # NaN where one is
