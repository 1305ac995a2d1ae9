"""From a scenario to everything a run needs: people, model, sealed plan.

Nothing in here looks at an answer, except to check that records are well formed: the
plan, the features and the starting model depend on public values only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fedpref import objectives
from fedpref.adapter_sections import AdapterSection, PbloraSection, RepcaliSection
from fedpref.cohorts import exact
from fedpref.config import Scenario
from fedpref.core.types import Float, Objective, Record
from fedpref.data import assets, partition, sources
from fedpref.data.partition import Split
from fedpref.data.sources import Dataset
from fedpref.errors import ObjectiveError
from fedpref.evaluate.menus import flatten
from fedpref.evaluate.metrics import choice_accuracy, pair_accuracy
from fedpref.models.adapters import Adapter
from fedpref.models.bases import Base, load_base
from fedpref.models.features import FeatureMap
from fedpref.models.folding import Given
from fedpref.models.gradients import (
    Engine,
    SharedJacobian,
    contribution,
    own_jacobian,
    unit_gradients,
)
from fedpref.models.losses import check_objective
from fedpref.models.pblora import PBLoRA
from fedpref.models.repcali import RepCali
from fedpref.models.reward import RewardModel, public_features
from fedpref.models.self_test import self_test
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.plan_problems import STATISTICS
from fedpref.rounds.contribution import Gradient, Offset, Statistics
from fedpref.rounds.local import after_steps
from fedpref.rounds.own import Limits
from fedpref.secagg.neighbours import MOST_COMPLETE
from fedpref.simulation.own_budgets import assigned
from fedpref.study.answers import from_records
from fedpref.study.likelihood import map_offsets

_SHARED_BYTES = 2**29


@dataclass(frozen=True)
class Setup:
    """A run before its first round; ``limits`` are people's own, if they have any."""

    scenario: Scenario
    dataset: Dataset
    split: Split
    base: Base
    features: FeatureMap
    model: RewardModel
    objective: Objective
    plan: PrivacyPlan
    limits: Mapping[str, Limits] = field(default_factory=dict)


def prepare(scenario: Scenario) -> Setup:
    """Load, build, calibrate and self-test.

    Raises:
        InputError: The data or the settings cannot be used.
        AssetMissing: The encoder or the survey has not been fetched.
    """
    data = scenario.data
    dataset = sources.load(
        data.source,
        base=None,
        folder=None if data.folder is None else Path(data.folder),
        catalogue=data.catalogue,
        templates=data.templates,
        records_per_person=data.records_per_person,
    )
    objectives.check_records(
        dataset.records,
        scenario.objective.name,
        source=data.source,
        lines=dataset.lines,
    )
    split = partition.split(dataset.records, data.split)
    base = load_base(assets.locate(scenario.model.base), name=scenario.model.base)
    features = public_features(base, dataset.catalogue, scenario.model.features)
    objective = scenario.build_objective()
    _check_coupling(objective)
    model = build_model(base, features, scenario.model.adapter)
    # On a device it would be a failure of the person's data: zeros, and no message.
    check_objective(objective, model.provides, scenario.privacy.unit)
    plan = calibrate(scenario, model, objective, len(split.train))
    if Engine(scenario.model.engine) is Engine.ONE_PASS:
        self_test(model, objective)
    limits = assigned(scenario.own_budgets, plan, split.train)
    return Setup(
        scenario, dataset, split, base, features, model, objective, plan, limits
    )


def _check_coupling(objective: Objective) -> None:
    """A device sees its own records alone, so no batch of several people exists."""
    about = objectives.about(objective.name)
    if about.coupling is objectives.Coupling.BATCH:
        raise ObjectiveError(
            f"objective {objective.name} couples the records of a batch, and no device "
            f"sees other people's; use {', '.join(about.safe)}"
        )


def with_adapter(setup: Setup, adapter: AdapterSection | None) -> Setup:
    """The same run with another adapter: its own model, its own sealed plan."""
    section = setup.scenario.model.model_copy(update={"adapter": adapter})
    scenario = setup.scenario.model_copy(update={"model": section})
    model = build_model(setup.base, setup.features, adapter)
    plan = calibrate(scenario, model, setup.objective, len(setup.split.train))
    limits = assigned(scenario.own_budgets, plan, setup.split.train)
    return replace(setup, scenario=scenario, model=model, plan=plan, limits=limits)


def build_model(
    base: Base, features: FeatureMap, adapter: AdapterSection | None
) -> RewardModel:
    """The reward model at its starting point."""
    if adapter is None:
        return RewardModel(base, features)
    given = adapter.model_dump(exclude={"kind"})
    if isinstance(adapter, RepcaliSection):
        return RewardModel(base, features, RepCali(**given))
    given["seed"] = given.pop("init_seed")
    if isinstance(adapter, PbloraSection):
        return RewardModel(base, features, PBLoRA(**given))
    given["rank"] = given.pop("r")
    return RewardModel(base, features, Adapter(**given))


def calibrate(
    scenario: Scenario, model: RewardModel, objective: Objective, people: int
) -> PrivacyPlan:
    """The sealed plan of ``scenario`` for so many enrolled people.

    Raises:
        PlanError: No plan satisfies the settings.
    """
    privacy, cohort = scenario.privacy, scenario.cohort
    complete = scenario.secagg.graph == "complete" or people <= MOST_COMPLETE
    return PrivacySpec(
        unit=privacy.unit,
        noise=privacy.noise,
        participation=cohort.participation,
        against=scenario.against,
        target_epsilon=privacy.target_epsilon,
        delta=None if privacy.delta == "auto" else privacy.delta,
        clip=privacy.clip,
        rounds=cohort.rounds,
        spare_rounds=cohort.spare_rounds,
        units=people,
        cohort=people if cohort.size is None else cohort.size,
        units_per_client=1 if privacy.records is None else privacy.records,
        sampling_prob=exact(cohort.q),
        coordinates=contribution(model, objective).size,
        min_survivors=cohort.min_survivors,
        colluders=privacy.colluders,
        word_bits=scenario.secagg.word_bits,
        complete_graph=complete,
        evaluation=scenario.evaluate.federated,
        moment=scenario.moment,
    ).calibrate()


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
