"""An objective with a released statistic: priced, sent on, stopped and gone on with."""

import json

import numpy as np
import pytest

from fedpref.core.types import Noise
from fedpref.errors import Interrupted, ObjectiveError
from fedpref.models.folding import Given
from fedpref.models.gradients import unit_gradients
from fedpref.sections import ObjectiveSection
from fedpref.simulation import device_work, resume, setup, simulate
from fedpref.store.checkpoints import load_checkpoint
from fedpref.transport import in_process

LAGGED = ("objective.name=bsr_lagged", "secagg.mode=sum")


@pytest.fixture(scope="module")
def varied(few, tmp_path_factory):
    """People who were asked about different texts: mean rewards that are not zero."""
    path = tmp_path_factory.mktemp("varied") / "varied.jsonl"
    with open(few().data.source, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for number, row in enumerate(rows):
        row["chosen"] += f" Item {max(0, number - 9)} of many."  # mostly the same
        row["rejected"] += " More." * (number % 3)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lambda *keys: few(f"data.source={path}", *keys)


def without_noise(job, rounds):
    privacy = {"noise": Noise.NONE, "target_epsilon": None, "against": None}
    cohort = job.cohort.model_copy(update={"rounds": rounds})
    loose = job.privacy.model_copy(update=privacy | {"clip": 16.0})
    return job.model_copy(update={"privacy": loose, "cohort": cohort})


def state_of(run):
    return load_checkpoint(run / "checkpoints" / "state.bin")


def test_the_plan_prices_one_coordinate_more(few) -> None:
    lagged, plain = (setup.prepare(few(*keys)) for keys in (LAGGED, LAGGED[1:]))
    assert lagged.model.layout.size == plain.model.layout.size
    sizes = [made.plan.spec.coordinates for made in (lagged, plain)]
    assert sizes[0] == sizes[1] + 1
    assert lagged.plan.spec.clip == plain.plan.spec.clip  # one clip for all of it


def test_devices_take_the_statistic_from_behind_the_model(varied) -> None:
    made = setup.prepare(varied(*LAGGED))
    size, scale = made.model.layout.size, made.objective.hyper["statistic_scale"]
    vector = np.linspace(-1, 1, size)
    for user, gradient in device_work.client_gradients(made).items():
        row = gradient(np.append(vector, 0.3 * scale))
        made.model.set(vector)
        given = Given(previous=np.array([0.3]))
        records, unit = made.split.train[user], made.plan.spec.unit
        wanted = unit_gradients(
            made.model, made.objective, records, unit=unit, given=given
        )
        assert row.shape == (1, size + 1)
        assert np.allclose(row, wanted, rtol=1e-12, atol=1e-15)
        assert not np.allclose(row, gradient(np.append(vector, 0.0)))


def test_what_is_released_is_the_mean_of_peoples_means(varied, tmp_path) -> None:
    """Without noise, and with a clip that nobody reaches, to the grid's rounding."""
    job = varied(*LAGGED, "server.average_last=0")
    made = setup.prepare(without_noise(job, 1))
    before, after = (
        simulate(without_noise(job, n), tmp_path / str(n), carry=in_process.carry)
        for n in (1, 2)
    )
    made.model.set(state_of(before.folder)["model"].astype(np.float64))
    people = [
        np.mean([made.model.scores(r.texts).mean() for r in records])
        for records in made.split.train.values()
    ]
    scale = made.objective.hyper["statistic_scale"]
    assert state_of(before.folder)["statistic"] == pytest.approx([0.0], abs=1e-6)
    wanted = scale * np.mean(people)
    assert abs(wanted) > 1e-4
    found = state_of(after.folder)["statistic"]
    assert found == pytest.approx([wanted], abs=1e-6)


def test_a_run_that_was_stopped_goes_on_with_the_statistic(varied, tmp_path) -> None:
    def stop(progress):
        if progress.round is not None and progress.round.number == 2:
            raise KeyboardInterrupt

    job = varied(*LAGGED)
    whole = simulate(job, tmp_path / "whole", carry=in_process.carry).folder
    with pytest.raises(Interrupted):
        simulate(job, tmp_path / "part", carry=in_process.carry, tell=stop)
    assert state_of(tmp_path / "part")["statistic"].shape == (1,)
    run = resume(tmp_path / "part", carry=in_process.carry).folder
    assert state_of(run)["statistic"] == state_of(whole)["statistic"] != 0
    heads = [(r / "head.safetensors").read_bytes() for r in (run, whole)]
    assert heads[0] == heads[1]
    plan = json.loads((run / "plan.json").read_text())
    assert plan["stages"][0]["coordinates"] == state_of(run)["model"].size + 1


def test_a_batch_of_several_people_does_not_exist_here(few) -> None:
    job = without_noise(few("secagg.mode=sum"), 1)
    job = job.model_copy(update={"objective": ObjectiveSection(name="bsr_batch")})
    with pytest.raises(ObjectiveError, match="no device sees other people's"):
        setup.prepare(job)


@pytest.mark.parametrize("engine", ["one_pass", "loop"])
def test_a_policy_objective_is_refused_before_training(few, engine) -> None:
    """Devices would fail one by one, and a run of zeros would spend the budget."""
    job = few("objective.name=dpo", f"model.engine={engine}", "secagg.mode=sum")
    with pytest.raises(ObjectiveError, match="'dpo': trains a policy"):
        setup.prepare(job)
