"""One unit moves the sum by at most the stated bound: objectives, adapters, engines.

The path from records to the integer sum is the product's own; neighbours are random,
and the clip lies below every row, so that clipping is what bounds them.
"""

from dataclasses import replace
from math import isqrt

import numpy as np
import pytest

from fedpref import objectives
from fedpref.core.clip import clip_units
from fedpref.core.grid import squared_norm, sum_on_grid
from fedpref.core.types import Grid, Unit
from fedpref.errors import ObjectiveError
from fedpref.models.folding import Given
from fedpref.models.gradients import Engine, unit_gradients
from fedpref.models.items import public_preferences
from fedpref.models.jacobians import SharedJacobian, jacobian
from fedpref.models.losses import asks
from fedpref.objectives import Coupling, Takes, Trains, about

ENGINES = ("one_pass", "loop", "shared")
ADAPTERS = ("lora", "ffa", "pblora", "pblora_all", "output", "residual", "head")
COUPLED = [n for n in objectives.names() if about(n).coupling is Coupling.BATCH]
NAMES = [n for n in objectives.names() if n not in COUPLED]


@pytest.fixture(scope="module")
def models(build, build_policy):
    """One model for each task and adapter; the head alone is a reward model's."""
    made = {(Trains.REWARD, name): build("bert", adapter=name) for name in ADAPTERS}
    made[Trains.REWARD, "none"] = build("bert", adapter=None)
    for name in ADAPTERS:
        if name != "head":
            made[Trains.POLICY, name] = build_policy("llama", adapter=name)
    return made


@pytest.fixture(scope="module")
def records_for(people):
    """Two persons with two records each, of the form that an objective takes."""

    def make(name, seed=0, users=2):
        takes, policy = about(name).takes, about(name).trains is Trains.POLICY
        return people(
            seed,
            users=users,
            each=2,
            options=(2, 3) if takes is Takes.CHOICE else (2,),
            prompts=policy,
            thumbs=takes is Takes.THUMB,
        )

    return make


def given_for(records):
    weights = public_preferences(len(records), 2, concentration=0.5, seed=0)
    return Given(np.array([0.2]), weights, ("a", "b"))


def how(engine, model, records, given):
    """Arguments that choose an engine; the shared one knows all texts beforehand."""
    if engine == "shared":
        weights = map(tuple, given.preference.tolist())
        pairs = zip(records, weights, strict=True)
        items = [item for pair in pairs for item in model.items(*pair)]
        return {"jacobian": SharedJacobian(model, items)}
    return {"engine": Engine(engine)}


def summed(rows, clip):
    return sum_on_grid(clip_units(rows, clip), Grid.for_clip(clip))


def steps_moved(a, b) -> int:
    """Distance of two integer sums, rounded up, in grid steps."""
    square = squared_norm(a.total - b.total)
    return isqrt(square) + (isqrt(square) ** 2 < square)


def limit(clip) -> int:
    """The bound in grid steps, with a billionth for what floats round."""
    bound = isqrt(Grid.for_clip(clip).sensitivity_squared(clip)) + 1
    return int(bound * (1 + 1e-9)) + 1


def moved_by(model, objective, records, unit, engine, gone) -> tuple[int, int]:
    """How far the sum moves, and the limit, where the records ``gone`` are away."""
    given = given_for(records)
    chosen = how(engine, model, records, given)
    rest = [i for i in range(len(records)) if i not in gone]
    whole, away = (
        unit_gradients(
            model,
            objective,
            [records[i] for i in places],
            unit=unit,
            given=given.of(places),
            **chosen,
        )
        for places in (range(len(records)), rest)
    )
    lengths = np.linalg.norm(whole, axis=1)
    clip = 0.5 * float(lengths[lengths > 0].min())
    return steps_moved(summed(whole, clip), summed(away, clip)), limit(clip)


@pytest.mark.parametrize("name", NAMES)
def test_zeroing_one_unit_moves_the_sum_by_at_most_the_bound(
    models, records_for, name
) -> None:
    objective = objectives.load(name, {}, unit=Unit.USER)
    records, draw = records_for(name), np.random.default_rng(len(name))
    tried = 0
    for (trains, _), model in models.items():
        if trains is not about(name).trains:
            continue
        for engine in ENGINES:
            person = str(draw.choice([r.user for r in records]))
            gone = {i for i, r in enumerate(records) if r.user == person}
            moved, bound = moved_by(model, objective, records, Unit.USER, engine, gone)
            assert 0 < moved <= bound
            tried += 1
    assert tried >= 6 * len(ENGINES)


@pytest.mark.parametrize("name", NAMES)
def test_zeroing_one_record_moves_the_sum_by_at_most_the_bound(
    models, records_for, name
) -> None:
    """Or the objective is refused where the record is the unit."""
    trains, records = about(name).trains, records_for(name, 1)
    objective = objectives.load(name, {}, unit=Unit.USER)
    if asks(objective) & {"group", "mismatched"}:
        with pytest.raises(ObjectiveError, match="couples the records"):
            moved_by(
                models[trains, "lora"],
                *(objective, records, Unit.RECORD, "one_pass", {2}),
            )
        return
    for adapter in ("lora", "pblora"):
        model = models[trains, adapter]
        moved, bound = moved_by(model, objective, records, Unit.RECORD, "one_pass", {2})
        assert moved <= bound


@pytest.mark.parametrize("name", NAMES)
def test_other_answers_of_one_person_move_it_by_at_most_twice_the_bound(
    models, records_for, name
) -> None:
    """Replacing a contribution by another one is two steps of zeroing."""
    objective = objectives.load(name, {}, unit=Unit.USER)
    records, model = records_for(name), models[about(name).trains, "lora"]
    changed = [
        replace(
            r,
            choice=None if r.choice is None else (r.choice + 1) % len(r.options),
            label=None if r.label is None else not r.label,
            weight=9.0,
        )
        if r.user == "user 1"
        else r
        for r in records
    ]
    given, clip = given_for(records), 0.05
    sums = [
        summed(
            unit_gradients(model, objective, data, unit=Unit.USER, given=given), clip
        )
        for data in (records, changed)
    ]
    assert 0 < steps_moved(*sums) <= 2 * limit(clip)


@pytest.mark.parametrize("name", COUPLED)
def test_an_objective_of_the_batch_breaks_the_bound(models, records_for, name) -> None:
    """Why these are refused under noise, and that the test above would see it."""
    with pytest.raises(ObjectiveError, match="couples everybody's records"):
        objectives.load(name, {}, unit=Unit.USER)
    hyper = {"bsr_batch": {"strength": 1e3}, "kto_batch": {"beta": 5.0}}[name]
    objective = objectives.load(name, hyper, unit=Unit.USER, private=False)
    worst = 0.0
    for seed in range(6):
        records = records_for(name, seed, users=6)
        for person in {r.user for r in records}:
            gone = {i for i, r in enumerate(records) if r.user == person}
            moved, bound = moved_by(
                models[about(name).trains, "lora"],
                *(objective, records, Unit.USER, "one_pass", gone),
            )
            worst = max(worst, moved / bound)
        if worst > 1:
            return
    assert worst > 1


def test_clipping_records_where_people_are_the_unit_breaks_the_bound(
    models, records_for
) -> None:
    """The mutation that the tests above must see: rows of a person clipped apart."""
    records = records_for("bt")
    objective = objectives.load("bt", {}, unit=Unit.USER)
    model = models[Trains.REWARD, "lora"]
    worst = 0.0
    for person in {r.user for r in records}:
        gone = {i for i, r in enumerate(records) if r.user == person}
        moved, bound = moved_by(
            model, objective, records, Unit.RECORD, "one_pass", gone
        )
        worst = max(worst, moved / bound)
    assert worst > 1


def test_a_sum_that_is_not_clipped_breaks_the_bound(models, records_for) -> None:
    objective = objectives.load("bt", {}, unit=Unit.USER)
    rows = unit_gradients(
        models[Trains.REWARD, "lora"], objective, records_for("bt"), unit=Unit.USER
    )
    assert np.linalg.norm(rows, axis=1).max() > 2 * 0.05


def test_finds_every_objective(models) -> None:
    assert len(NAMES) >= 22
    assert COUPLED
    assert jacobian(models[Trains.REWARD, "none"], ["w1 w2"])[1].shape == (1, 6)
