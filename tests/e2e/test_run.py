"""Whole runs on the real survey and the real encoder."""

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import fedpref
from fedpref.core.accounting import epsilon
from fedpref.core.events import GaussianSum
from fedpref.core.types import Relation, Unit
from fedpref.errors import InputError, IntegrityError, Interrupted, TooFewSurvivors
from fedpref.simulation import load_reward, resume, simulate
from fedpref.transport import in_process


@pytest.fixture(scope="module")
def adapted(scenario, tmp_path_factory):
    """A short seeded run of the quickstart."""
    return simulate(scenario("central"), tmp_path_factory.mktemp("runs") / "a")


def test_run_folder_is_complete(adapted) -> None:
    names = {str(p.relative_to(adapted.folder)) for p in adapted.folder.rglob("*")}
    assert names >= {
        "scenario.toml",
        "plan.json",
        "metrics.jsonl",
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "head.safetensors",
        "model.json",
        "checkpoints/state.bin",
        "evaluation.json",
        "environment.json",
        "report.html",
        "report.json",
        "statement.json",
    }
    assert not any(".tmp" in name or name.startswith(".") for name in names)


def test_the_same_seed_gives_the_same_bytes_over_both_roads(
    adapted, scenario, model_bytes, tmp_path
) -> None:
    from fedpref.transport.flower import apps

    again = simulate(scenario("central"), tmp_path / "b", carry=apps.carry)
    assert model_bytes(again.folder) == model_bytes(adapted.folder)
    other = simulate(scenario("central", "run.seed=8"), tmp_path / "c")
    assert model_bytes(other.folder) != model_bytes(adapted.folder)


def test_a_seeded_run_says_that_it_is_not_private(adapted) -> None:
    assert adapted.report["seeded"] is True
    statement = json.loads((adapted.folder / "statement.json").read_text())
    assert statement["private"] is False
    assert "NOT private" in (adapted.folder / "report.html").read_text()


def test_without_a_seed_no_two_runs_are_alike(scenario, model_bytes, tmp_path) -> None:
    runs = []
    for name in "ab":
        settings = scenario("linear_head", "cohort.rounds=1")
        fresh = settings.model_copy(
            update={"run": settings.run.model_copy(update={"seed": None})}
        )
        runs.append(simulate(fresh, tmp_path / name))
    assert model_bytes(runs[0].folder) != model_bytes(runs[1].folder)
    assert runs[0].report["seeded"] is False


def test_epsilon_is_the_price_of_the_raw_events(adapted) -> None:
    """Recomputed from the integers in plan.json alone."""
    plan = json.loads((adapted.folder / "plan.json").read_text())
    exact = plan["exact"]
    event = GaussianSum(
        Unit.USER,
        Relation.ZERO_OUT,
        exact["stages"][0]["sensitivity_squared"],
        Fraction(exact["stages"][0]["noise_variance_grid"]),
        exact["spec"]["coordinates"],
    )
    spent = epsilon([event] * exact["spec"]["rounds"], plan["delta"])
    assert adapted.report["epsilon"]["outsider"] == spent.epsilon <= 1.0
    assert adapted.report["epsilon"]["server"] == "inf"
    rows = (adapted.folder / "metrics.jsonl").read_text().splitlines()
    by_round = [json.loads(row)["epsilon"]["outsider"] for row in rows]
    assert by_round == sorted(by_round)
    assert by_round[-1] == spent.epsilon


def test_noise_in_the_released_model_is_the_noise_that_is_booked(
    scenario, tmp_path, monkeypatch
) -> None:
    """One round in which everybody sends zero: the step is the noise alone."""
    from scipy import stats

    from fedpref.simulation import devices

    def silent(setup):
        nothing = np.zeros((1, setup.plan.spec.coordinates))
        return {user: lambda vector: nothing for user in setup.split.train}

    monkeypatch.setattr(devices, "client_gradients", silent)
    run = simulate(
        scenario("central", "cohort.rounds=1", "evaluate.every=0"), tmp_path / "z"
    )
    plan = json.loads((run.folder / "plan.json").read_text())
    from fedpref.store.checkpoints import load_checkpoint

    step = load_checkpoint(run.folder / "checkpoints" / "state.bin")["model"]
    noise = step * plan["divisor"] / plan["grid_step"]
    statistic = float((noise**2).sum()) / float(
        Fraction(plan["exact"]["stages"][0]["noise_variance_grid"])
    )
    low, high = stats.chi2.ppf((1e-6, 1 - 1e-6), len(step))
    assert low < statistic < high


class _Stop:
    """Progress that presses Ctrl-C when a round is done."""

    def __init__(self, after: int):
        self.after = after

    def __call__(self, progress) -> None:
        if progress.round is not None and progress.round.number == self.after:
            raise KeyboardInterrupt


def test_a_stopped_run_resumes_to_the_same_bytes(
    adapted, scenario, model_bytes, tmp_path
) -> None:
    with pytest.raises(Interrupted, match=r"simulate --resume .*stopped") as caught:
        simulate(scenario("central"), tmp_path / "stopped", tell=_Stop(2))
    assert caught.value.exit_code == 130
    with pytest.raises(InputError, match="finish the run"):
        load_reward(tmp_path / "stopped")
    finished = resume(tmp_path / "stopped")
    assert model_bytes(finished.folder) == model_bytes(adapted.folder)
    rows = {}
    for run in (finished, adapted):
        lines = (run.folder / "metrics.jsonl").read_text().splitlines()
        rows[run.folder] = [
            {k: v for k, v in json.loads(line).items() if k != "seconds"}
            for line in lines
        ]
    assert rows[finished.folder] == rows[adapted.folder]


class PowerCut(BaseException):
    pass


def test_a_crash_between_charge_and_release_resumes_to_the_same_bytes(
    scenario, model_bytes, tmp_path, monkeypatch
) -> None:
    whole = simulate(scenario("linear_head"), tmp_path / "whole")
    from fedpref.rounds import plain

    real, calls = plain.add_gaussian, []

    def crash(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise PowerCut
        return real(*args, **kwargs)

    monkeypatch.setattr(plain, "add_gaussian", crash)
    with pytest.raises(PowerCut):
        simulate(scenario("linear_head"), tmp_path / "cut")
    monkeypatch.undo()
    finished = resume(tmp_path / "cut")
    assert model_bytes(finished.folder) == model_bytes(whole.folder)


@pytest.fixture(scope="module")
def stopped(scenario, tmp_path_factory):
    """A run without a seed that was stopped after its first round."""
    job = scenario("linear_head", "cohort.rounds=2")
    job = job.model_copy(update={"run": job.run.model_copy(update={"seed": None})})
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        simulate(job, folder, tell=_Stop(1))
    return folder


@pytest.fixture
def copied(stopped, tmp_path):
    return Path(shutil.copytree(stopped, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("target_epsilon = 1.0", "target_epsilon = 60.0"),
        ("target_epsilon = 1.0\n", ""),
        ("clip = 4.0", "clip = 5.0"),
        ("lr = 1.0", "lr = 2.0"),
        ("[run]", "[run]\nseed = 7"),
        ('name = "plackett_luce"', 'name = "bt"'),
    ],
)
@pytest.mark.parametrize("with_checkpoint", [True, False])
def test_a_sealed_plan_cannot_be_changed_on_resume(
    copied, before, after, with_checkpoint
) -> None:
    """Otherwise the report would state a guarantee that the run does not have."""
    text = (copied / "scenario.toml").read_text()
    changed = text.replace(before, after)
    assert changed != text
    if "target_epsilon" in before and not after:
        changed = changed.replace('noise = "central"', 'noise = "none"')
    (copied / "scenario.toml").write_text(changed)
    if not with_checkpoint:
        (copied / "checkpoints" / "state.bin").unlink()
    with pytest.raises(IntegrityError, match="a sealed plan cannot be changed"):
        resume(copied)


def test_resume_refuses_damaged_and_foreign_files(copied, scenario, tmp_path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        resume(tmp_path)
    state = copied / "checkpoints" / "state.bin"
    good = state.read_bytes()
    state.write_bytes(good[:-1])
    with pytest.raises(IntegrityError, match="does not match"):
        resume(copied)
    other = scenario("linear_head", "cohort.rounds=2")
    with pytest.raises(Interrupted):
        simulate(other, tmp_path / "other", tell=_Stop(1))
    state.write_bytes((tmp_path / "other" / "checkpoints" / "state.bin").read_bytes())
    with pytest.raises(IntegrityError, match="belongs to another run"):
        resume(copied)
    state.write_bytes(good)
    (copied / "plan.json").write_text("{")
    with pytest.raises(IntegrityError, match="missing or damaged"):
        resume(copied)


def test_a_release_that_was_never_published_is_deleted(copied) -> None:
    """Two releases of one round, each with its own noise, would average the noise away.

    A crash just before a checkpoint is put in place leaves the unpublished one behind.
    """
    state = copied / "checkpoints" / "state.bin"
    leftover = state.with_name(".state.bin.abc")
    leftover.write_bytes(state.read_bytes())
    finished = resume(copied)
    assert not leftover.exists()
    assert finished.report["rounds"] == 2


def test_a_finished_run_is_not_trained_again(adapted, model_bytes) -> None:
    before = model_bytes(adapted.folder)
    stamps = {p: p.stat().st_mtime_ns for p in adapted.folder.rglob("*")}
    again = resume(adapted.folder)
    assert again.report == adapted.report
    assert model_bytes(adapted.folder) == before
    assert {p: p.stat().st_mtime_ns for p in adapted.folder.rglob("*")} == stamps


def test_a_finished_model_is_rebuilt_bit_for_bit(adapted) -> None:
    reward = fedpref.load_reward(adapted.folder)
    texts = ["Electricity from a local company.", "No contract."]
    scores = reward.score(texts)
    assert scores == load_reward(adapted.folder).score(texts)
    assert scores[0] != scores[1]
    head = load_file(adapted.folder / "head.safetensors")["head"]
    assert head.any()
    record = fedpref.Record("me", "", tuple(texts), choice=0)
    assert sum(reward.margins(record)) == pytest.approx(0, abs=1e-12)


def test_a_failing_device_counts_as_zero_and_is_reported(
    scenario, tmp_path, monkeypatch
) -> None:
    from fedpref.simulation import devices

    real = devices.client_gradients

    def one_broken(setup):
        gradients = real(setup)

        def broken(vector):
            raise ValueError("secret answer")

        return {**gradients, next(iter(gradients)): broken}

    monkeypatch.setattr(devices, "client_gradients", one_broken)
    result = simulate(scenario("linear_head", "cohort.rounds=1"), tmp_path / "a")
    assert result.failures == 1
    for file in result.folder.rglob("*"):
        if file.is_file():
            assert b"secret answer" not in file.read_bytes()


def test_too_few_devices_release_nothing(scenario, tmp_path) -> None:
    def lossy(endpoints, drive):
        few = {number: endpoints[number] for number in list(endpoints)[:100]}
        in_process.carry(few, drive)

    with pytest.raises(TooFewSurvivors, match="survivors = 100, must be >= 264"):
        simulate(scenario("linear_head"), tmp_path / "a", carry=lossy)
    assert not (tmp_path / "a" / "checkpoints" / "state.bin").exists()


def test_server_app_runs_a_scenario_over_a_grid(main_job, root, tmp_path) -> None:
    import clients.app
    import server.app
    from fedpref.transport.flower import apps
    from fedpref.transport.flower.grid import InProcessGrid

    text = (root / "simulations" / "own_data.toml").read_text()
    source = root / "simulations" / "own_data.jsonl"
    text = (
        text.replace('"own_data.jsonl"', f'"{source}"') + "\n[evaluate]\nbaselines=[]"
    )
    (tmp_path / "own.toml").write_text(text)
    grid = InProcessGrid(clients.app.app, range(101, 113), 1)
    config = {"scenario": str(tmp_path / "own.toml"), "out": str(tmp_path / "run")}
    apps.run_server(server.app.app, grid, config)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["clients"]["train"] == 9
    assert report["epsilon"]["outsider"] <= 8


def test_quickstart_reaches_its_bar_on_one_seed(scenario, tmp_path) -> None:
    """main-job.md: a single run at epsilon 1 is at least 68.5 % of pairs."""
    job = scenario("central", "run.seed=1", "evaluate.baselines=[]", fast=False)
    result = simulate(job, tmp_path / "a")
    assert result.report["heldout"]["accuracy"] >= 0.685
    assert result.report["epsilon"]["outsider"] <= 1
    assert result.report["clients"] == {"train": 293, "heldout": 68}


def test_wrong_order_of_replies_changes_nothing(
    scenario, model_bytes, tmp_path
) -> None:
    def backwards(endpoints, drive):
        in_process.carry(dict(reversed(list(endpoints.items()))), drive)

    runs = [
        simulate(
            scenario("linear_head", "cohort.rounds=2"), tmp_path / name, carry=road
        )
        for name, road in (("a", in_process.carry), ("b", backwards))
    ]
    assert model_bytes(runs[0].folder) == model_bytes(runs[1].folder)
