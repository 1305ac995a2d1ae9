"""What each enrolled person's device computes on what it is sent.

Guarantees: a person's answers depend on that person's records and on what was sent.
One machine plays all devices, so what is the same for all of them, as it depends on
public texts and the model alone, is computed once.

Does not: clip, add noise or count; ``fedpref.rounds`` does, next.
"""

from collections.abc import Sequence

import numpy as np

from fedpref.core.types import Float, Record
from fedpref.data import partition
from fedpref.evaluate.menus import flatten
from fedpref.evaluate.metrics import choice_accuracy, pair_accuracy
from fedpref.models.folding import Given
from fedpref.models.gradients import (
    Engine,
    SharedJacobian,
    own_jacobian,
    unit_gradients,
)
from fedpref.plan_problems import STATISTICS
from fedpref.rounds.contribution import Gradient, Offset, Statistics
from fedpref.rounds.local import after_steps
from fedpref.simulation.setup import Setup
from fedpref.study.answers import from_records
from fedpref.study.likelihood import map_offsets

_SHARED_BYTES = 2**29


def client_gradients(setup: Setup) -> dict[str, Gradient]:
    """What each enrolled person's device computes, by person.

    One machine plays all devices here, so where everybody answers about the same
    public texts their gradients are computed once a round and shared. Where texts are
    people's own, each device computes its own: one person's text can then fail for
    that person alone. With federated evaluation a device trains on what it does not
    keep back.
    """
    model, engine = setup.model, Engine(setup.scenario.model.engine)
    public, shared = setup.dataset.catalogue, own_jacobian(model)
    small = 8 * len(public) * model.layout.size <= _SHARED_BYTES
    local = setup.scenario.local
    # After its first local step no device is where another one is.
    if setup.dataset.texts_public and small and local is None:
        shared = SharedJacobian(model, public)

    def gradient_of(records: tuple[Record, ...]) -> Gradient:
        def gradient(sent: Float) -> Float:
            vector, statistic = np.split(sent, [model.layout.size])
            if not np.array_equal(model.vector, vector):
                model.set(vector)
            scale = setup.objective.hyper.get("statistic_scale", 1.0)
            return unit_gradients(
                model,
                setup.objective,
                records,
                unit=setup.plan.spec.unit,
                engine=engine,
                jacobian=shared,
                given=Given(previous=statistic / scale if statistic.size else None),
            )

        if local is None:
            return gradient
        size = model.layout.size
        return after_steps(gradient, local.build(), steps=local.steps, size=size)

    return {user: gradient_of(kept) for user, (kept, _) in _own(setup).items()}


def client_offsets(setup: Setup) -> dict[str, Offset]:
    """How each enrolled person's device fits its own offset to the released head.

    The maximum of the person's own likelihood under the public prior. Features of texts
    are kept for as long as the model stays where it is.
    """
    model, personal = setup.model, setup.scenario.personal
    known: dict[str, Float] = {}
    if personal is None:
        return {}

    def features(texts: Sequence[str]) -> Float:
        new = tuple(text for text in texts if text not in known)
        known.update(zip(new, model.features(new), strict=True))
        rows: Float = np.array([known[text] for text in texts])
        return rows

    def offset_of(records: tuple[Record, ...]) -> Offset:
        def offset(sent: Float) -> Float:
            vector = sent[: model.layout.size]
            if not np.array_equal(model.vector, vector):
                model.set(vector)
                known.clear()
            answers = from_records({"own": records}, features)
            precision = np.eye(answers.dimension) / personal.prior**2
            found = map_offsets(answers, model.head.numpy(), precision)
            return np.asarray(found.mean[0])

        return offset

    return {user: offset_of(kept) for user, (kept, _) in _own(setup).items()}


def client_statistics(setup: Setup) -> dict[str, Statistics]:
    """What each enrolled person's device says about the records it kept back.

    Scores of texts are kept for as long as the model stays where it is, which in a
    simulation is for all devices.
    """
    model = setup.model
    known: dict[str, float] = {}

    def scores(texts: tuple[str, ...], vector: Float) -> Float:
        if not np.array_equal(model.vector, vector):
            model.set(vector)
            known.clear()
        new = tuple(text for text in texts if text not in known)
        known.update(zip(new, model.scores(new), strict=True))
        return np.array([known[text] for text in texts])

    def statistics_of(held: tuple[Record, ...]) -> Statistics:
        def statistics(sent: Float) -> Float:
            if not held:
                return np.zeros(STATISTICS)
            vector = sent[: model.layout.size]
            menus = flatten({"own": held})
            found = scores(menus.texts, vector)[menus.text]
            if not np.isfinite(found).all():
                return np.full(STATISTICS, np.nan)  # this device's failure, as zeros
            pairs, choices = pair_accuracy(menus, found), choice_accuracy(menus, found)
            return np.array([2 * pairs - 1, 2 * choices - 1, 1.0])

        return statistics

    return {user: statistics_of(held) for user, (_, held) in _own(setup).items()}


def _own(setup: Setup) -> dict[str, tuple[tuple[Record, ...], tuple[Record, ...]]]:
    """Each enrolled person's records: to train on, and kept back on the device."""
    train = setup.split.train
    if not setup.plan.spec.evaluation:
        return {user: (own, ()) for user, own in train.items()}
    return {user: partition.hold_back(own) for user, own in train.items()}
