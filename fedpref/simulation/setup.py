"""From a scenario to everything a run needs: people, model, sealed plan.

Nothing in here looks at an answer, except to check that records are well formed: the
plan, the features and the starting model depend on public values only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedpref import objectives
from fedpref.adapter_sections import AdapterSection, PbloraSection, RepcaliSection
from fedpref.cohorts import exact
from fedpref.config import Scenario
from fedpref.core.types import Objective
from fedpref.data import assets, partition, sources
from fedpref.data.partition import Split
from fedpref.data.sources import Dataset
from fedpref.errors import ObjectiveError
from fedpref.models.adapters import Adapter
from fedpref.models.bases import Base, load_base
from fedpref.models.features import FeatureMap
from fedpref.models.gradients import (
    Engine,
    contribution,
)
from fedpref.models.pblora import PBLoRA
from fedpref.models.repcali import RepCali
from fedpref.models.reward import RewardModel, public_features
from fedpref.models.self_test import self_test
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.rounds.own import Limits
from fedpref.secagg.neighbours import MOST_COMPLETE
from fedpref.simulation.own_budgets import assigned


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
    _check_task(scenario)
    split = partition.split(dataset.records, data.split)
    base = load_base(assets.locate(scenario.model.base), name=scenario.model.base)
    features = public_features(base, dataset.catalogue, scenario.model.features)
    objective = scenario.build_objective()
    _check_coupling(objective)
    model = build_model(base, features, scenario.model.adapter)
    plan = calibrate(scenario, model, objective, len(split.train))
    if Engine(scenario.model.engine) is Engine.ONE_PASS:
        self_test(model, objective)
    limits = assigned(scenario.own_budgets, plan, split.train)
    return Setup(
        scenario, dataset, split, base, features, model, objective, plan, limits
    )


def _check_task(scenario: Scenario) -> None:
    """An objective for log-probabilities cannot train a model that scores.

    On a device it would be a failure of the person's data: zeros, and no message.
    """
    name, task = scenario.objective.name, objectives.Trains(scenario.model.task)
    if objectives.about(name).trains is not task:
        fits = [
            other
            for other in objectives.names()
            if objectives.about(other).trains is task
            and objectives.about(other).coupling is not objectives.Coupling.BATCH
        ]
        raise ObjectiveError(
            f'objective.name = {name!r}: trains a policy, but model.task = "{task}"; '
            f"use {', '.join(fits)}; policies are for Python so far (docs/adapters.md)"
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
        return RewardModel(base, features, PBLoRA(objectives=1, **given))
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
