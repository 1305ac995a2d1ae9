"""Federated evaluation in whole runs: booked, resumed, the same on every road."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedpref import config
from fedpref.errors import BudgetError, Interrupted, PlanError
from fedpref.report.run import read
from fedpref.simulation import device_work, resume, simulate
from fedpref.simulation import setup as prepared
from fedpref.simulation.journal import RunJournal
from fedpref.store.checkpoints import load_checkpoint
from fedpref.store.ledger import Ledger

SCENARIO = """
[data]
source = "people.jsonl"
catalogue = "public"
[model]
base = "minilm"
features = 4
[objective]
name = "bt"
[privacy]
unit = "user"
noise = "distributed"
target_epsilon = 8.0
clip = 2.0
colluders = 0.0
[cohort]
participation = "all"
rounds = 2
min_survivors = 0.7
[secagg]
mode = "sum"
[evaluate]
baselines = []
every = 1
federated = true
"""
GOOD = ("a short answer", "yes", "on Monday")
BAD = ("who knows", "look it up")


@pytest.fixture(scope="module")
def files(minilm, tmp_path_factory) -> Path:
    """Fourteen people with seven pairs each, and a scenario."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    lines = []
    for user in range(14):
        for n in range(7):
            pair = [GOOD[n % 3], BAD[n % 2]]
            right = draw.random() < 0.8
            chosen, rejected = pair if right else pair[::-1]
            line = {"user": f"user {user}", "prompt": f"Question {n}?"}
            lines.append(json.dumps(line | {"chosen": chosen, "rejected": rejected}))
    (folder / "people.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "small.toml").write_text(SCENARIO)
    return folder


@pytest.fixture
def scenario(files):
    def make(*overrides):
        return config.read(files / "small.toml", ["run.seed=3", *overrides])

    return make


def outcome(folder: Path):
    """Everything that the evaluation leaves behind, times left out."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found = json.loads((folder / "evaluation.json").read_text())["federated"]
    head = (folder / "head.safetensors").read_bytes()
    return found, [{**row, "seconds": 0} for row in rows], head


def account(folder: Path):
    run_id = json.loads((folder / "plan.json").read_text())["run_id"]
    with Ledger.open(folder / "ledger.db") as ledger:
        return ledger.book.accounts[run_id]


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> Path:
    settings = config.read(files / "small.toml", ["run.seed=3"])
    return simulate(settings, tmp_path_factory.mktemp("whole") / "run").folder


def test_the_evaluation_is_one_more_booked_release(whole) -> None:
    booked = account(whole)
    assert booked.reservation.rounds == booked.charged == booked.released == 3
    _, rows, _ = outcome(whole)
    assert [row["purpose"] for row in rows] == ["training", "training", "evaluation"]
    plan = json.loads((whole / "plan.json").read_text())
    assert plan["evaluation"] is True
    assert rows[-1]["epsilon"] == plan["epsilon"]
    assert rows[1]["epsilon"]["server"] < plan["epsilon"]["server"]


def test_the_report_has_it_beside_the_simulation_only_number(whole) -> None:
    found, _, _ = outcome(whole)
    report = json.loads((whole / "report.json").read_text())
    assert report["federated"] == found
    assert report["rounds"] == len(read(whole).rounds) == 2
    page = (whole / "report.html").read_text()
    assert "On records that devices kept back" in page
    assert "booked as one more release" in page


def test_masks_change_nothing(whole, scenario, tmp_path) -> None:
    masked = simulate(scenario("secagg.mode=protocol"), tmp_path / "masked").folder
    assert outcome(masked)[0] is not None
    assert outcome(masked)[0]["people"] == pytest.approx(14, abs=14)
    # another plan.json would give other noise: the scenario is not part of the plan
    assert outcome(masked) == outcome(whole)


def test_without_noise_it_is_the_true_accuracy(scenario, tmp_path) -> None:
    settings = scenario("privacy.noise=none")
    folder = simulate(settings, tmp_path / "open").folder
    found, _, _ = outcome(folder)
    setup = prepared.prepare(settings)
    state = load_checkpoint(folder / "checkpoints" / "state.bin")
    model = state["last_sum"] / state["counts"][3]
    said = [ask(model) for ask in device_work.client_statistics(setup).values()]
    top, right, people = np.sum(said, axis=0)
    assert people == len(said) >= 9
    assert found["accuracy"] == pytest.approx((1 + top / people) / 2, abs=1e-5)
    assert found["choice_accuracy"] == pytest.approx((1 + right / people) / 2, abs=1e-5)
    assert found["stddev"] == 0


def test_central_noise_is_said_in_the_interval(scenario, tmp_path) -> None:
    settings = scenario("privacy.noise=central", "privacy.against=outsider")
    found, _, _ = outcome(simulate(settings, tmp_path / "central").folder)
    assert found["ci95"][0] < found["accuracy"] < found["ci95"][1]
    assert found["people_stddev"] > 0


def test_off_by_default_and_then_nothing_is_reserved(scenario, tmp_path) -> None:
    folder = simulate(scenario("evaluate.federated=false"), tmp_path / "off").folder
    assert account(folder).reservation.rounds == 2
    report = json.loads((folder / "report.json").read_text())
    assert report["federated"] is None


def test_a_record_unit_is_refused(scenario, tmp_path) -> None:
    settings = scenario("privacy.unit=record", "privacy.records=7")
    with pytest.raises(PlanError, match="unit = record"):
        simulate(settings, tmp_path / "record")


def test_a_budget_without_room_for_it_refuses(scenario, tmp_path) -> None:
    """Two plans of half the cap fit; the evaluation of the second one does not."""
    bare = scenario("evaluate.federated=false", "privacy.cap=8.0")
    ledger = tmp_path / "shared.db"
    simulate(bare, tmp_path / "a", ledger=ledger)
    with pytest.raises(BudgetError):
        simulate(scenario("privacy.cap=8.0"), tmp_path / "b", ledger=ledger)
    assert not (tmp_path / "b").exists()


# --- stopped, crashed, lost -----------------------------------------------------------


def test_a_run_stopped_before_the_evaluation_goes_on_with_it(
    whole, scenario, tmp_path
) -> None:
    def stop(progress):
        if progress.round is not None and progress.round.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        simulate(scenario(), tmp_path / "run", tell=stop)
    assert account(tmp_path / "run").charged == 2
    assert outcome(resume(tmp_path / "run").folder) == outcome(whole)


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("where", ["charge", "settle", "_released"])
@pytest.mark.parametrize("last", [2, 3])
def test_a_crash_around_a_charge_resumes_to_the_same_bytes(
    whole, scenario, tmp_path, monkeypatch, where, last
) -> None:
    """Before and after the charge, and before the row of the release.

    Round 2 is the last one that trains, round 3 the evaluation.
    """
    real = getattr(RunJournal, where)

    def crash(self, *args, **kwargs):
        number = getattr(args[0], "round", args[0])
        if number == last:
            raise PowerCut
        return real(self, *args, **kwargs)

    monkeypatch.setattr(RunJournal, where, crash)
    with pytest.raises(PowerCut):
        simulate(scenario(), tmp_path / "run")
    monkeypatch.undo()
    assert outcome(resume(tmp_path / "run").folder) == outcome(whole)
    assert account(tmp_path / "run").released == 3


def test_devices_that_are_gone_give_the_evaluation_up(scenario, tmp_path) -> None:
    from fedpref.transport import in_process

    def fading(endpoints, drive):
        asked = []

        def reach(endpoint):
            def call(request):
                asked.append(1)
                if len(asked) > 2 * len(endpoints):
                    from fedpref.errors import MessageError

                    raise MessageError("gone")
                return endpoint(request)

            return call

        in_process.carry({n: reach(e) for n, e in endpoints.items()}, drive)

    folder = simulate(scenario(), tmp_path / "run", carry=fading).folder
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["federated"] is None
    said = " ".join(found["notes"])
    assert "federated evaluation: nothing is released" in said
    assert "nothing released: round 3" in said
    assert account(folder).released == 2
