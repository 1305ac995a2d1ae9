"""Own answers in whole runs: a booked prior, the same on every road, used at home."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedpref import config
from fedpref.cli import app
from fedpref.errors import InputError, IntegrityError, Interrupted
from fedpref.simulation import load_reward, resume, simulate
from fedpref.simulation.home import OFFSET, load_personal, load_prior, personalise
from fedpref.simulation.journal import RunJournal
from fedpref.store.ledger import Ledger

SCENARIO = """
[data]
source = "people.jsonl"
catalogue = "public"
[model]
base = "minilm"
features = 4
[objective]
name = "plackett_luce"
[privacy]
unit = "user"
noise = "distributed"
target_epsilon = 8.0
clip = 2.0
colluders = 0.0
[cohort]
participation = "all"
rounds = 2
spare_rounds = 2
min_survivors = 0.7
[secagg]
mode = "sum"
[evaluate]
baselines = []
every = 0
federated = true
[personal]
k = [0, 2, 4]
draws = 2
"""
TEXTS = ("tea at four", "coffee", "a long walk by the sea", "sleep", "an old film")


@pytest.fixture(scope="module")
def files(minilm, tmp_path_factory) -> Path:
    """Twenty people, seven choices each, with tastes of their own."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    lines = []
    for user in range(20):
        taste = draw.normal(size=len(TEXTS)) * 3
        for number in range(7):
            own = draw.choice(len(TEXTS), size=3, replace=False)
            line = {
                "user": f"user {user}",
                "prompt": f"Question {number}?",
                "options": [TEXTS[i] for i in own],
                "choice": int(np.argmax(taste[own] + draw.gumbel(size=3))),
            }
            lines.append(json.dumps(line))
    (folder / "people.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "small.toml").write_text(SCENARIO)
    own = [json.loads(line) for line in lines[:5]]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, own)) + "\n")
    return folder


@pytest.fixture
def scenario(files):
    def make(*overrides):
        return config.read(files / "small.toml", ["run.seed=3", *overrides])

    return make


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> Path:
    settings = config.read(files / "small.toml", ["run.seed=3"])
    return simulate(settings, tmp_path_factory.mktemp("whole") / "run").folder


def outcome(folder: Path):
    """Everything that the later stages leave behind, times left out."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [{**json.loads(line), "seconds": 0} for line in lines]
    found = json.loads((folder / "evaluation.json").read_text())
    kept = [found["personal"], found["federated"]]
    binary = [
        (folder / f).read_bytes() for f in ("head.safetensors", "prior.safetensors")
    ]
    return rows, kept, binary


def account(folder: Path):
    run_id = json.loads((folder / "plan.json").read_text())["run_id"]
    with Ledger.open(folder / "ledger.db") as ledger:
        return ledger.book.accounts[run_id]


# --- the run --------------------------------------------------------------------------


def test_spare_rounds_are_skipped_and_each_stage_is_booked(whole) -> None:
    rows, _, _ = outcome(whole)
    said = [(row["round"], row["purpose"]) for row in rows]
    assert said == [
        (1, "training"),
        (2, "training"),
        (5, "moment"),
        (6, "evaluation"),
    ]
    booked = account(whole)
    assert (booked.charged, booked.released) == (6, 6)
    assert booked.used == (2, 1, 1)
    plan = json.loads((whole / "plan.json").read_text())
    assert rows[-1]["epsilon"] == plan["epsilon"]
    assert plan["epsilon"]["server"] <= 8.0
    assert rows[1]["epsilon"]["server"] < rows[2]["epsilon"]["server"]


def test_masks_change_nothing(whole, scenario, tmp_path) -> None:
    masked = simulate(scenario("secagg.mode=protocol"), tmp_path / "masked").folder
    assert outcome(masked) == outcome(whole)


@pytest.mark.parametrize("mode", ["sum", "protocol"])
@pytest.mark.parametrize("stop", ["charge", "hold", "settle"])
def test_a_run_that_is_stopped_at_its_moment_goes_on(
    whole, scenario, tmp_path, monkeypatch, stop, mode
) -> None:
    """Before the charge or after it, nothing is asked for, or paid, twice."""
    usual = getattr(RunJournal, stop)

    def crash(self, first, *rest):
        number = first if isinstance(first, int) else first.round
        if number == 5:
            raise KeyboardInterrupt
        return usual(self, first, *rest)

    monkeypatch.setattr(RunJournal, stop, crash)
    with pytest.raises(Interrupted):
        simulate(scenario(f"secagg.mode={mode}"), tmp_path / "run")
    monkeypatch.undo()
    resume(tmp_path / "run")
    booked = account(tmp_path / "run")
    lost = mode == "protocol" and stop == "hold"  # charged, and its devices are gone
    rows, kept, _ = outcome(tmp_path / "run")
    assert booked.used == (2, 1, 1)
    assert [row["round"] for row in rows] == ([1, 2, 6] if lost else [1, 2, 5, 6])
    assert kept[0]["released_prior"] is (not lost)
    if not lost:
        assert outcome(tmp_path / "run")[2] == outcome(whole)[2]


def test_without_noise_the_prior_is_that_of_the_devices_offsets(
    scenario, tmp_path
) -> None:
    """Recomputed here from everybody's records, with another optimiser."""
    from scipy.optimize import minimize

    from fedpref.simulation import setup as prepared
    from fedpref.simulation.home import load_prior
    from fedpref.store.checkpoints import load_checkpoint

    settings = scenario("privacy.noise=none", "evaluate.federated=false")
    folder = simulate(settings, tmp_path / "open").folder
    setup = prepared.prepare(settings)
    state = load_checkpoint(folder / "checkpoints" / "state.bin")
    vector = state["last_sum"] / state["counts"][3]
    setup.model.set(vector)
    head, total = setup.model.head.numpy(), np.zeros((4, 4))
    for records in setup.split.train.values():
        menus = [setup.model.features(record.texts) for record in records]

        def loss(b, menus=menus, records=records):
            fit = 0.5 * b @ b / 2.5**2
            for rows, record in zip(menus, records, strict=True):
                score = rows @ (head + b)
                fit += np.logaddexp.reduce(score) - score[record.choice]
            return fit

        b = minimize(loss, np.zeros(4), tol=1e-12).x
        norm = setup.plan.spec.moment.norm
        b *= min(1.0, norm / np.linalg.norm(b))
        total += np.outer(b, b)
    values, vectors = np.linalg.eigh(total / len(setup.split.train))
    raised = np.maximum(values, 0.25 * 2.5**2) * 2
    expected = (vectors * raised) @ vectors.T
    assert load_prior(folder, 4) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_curve_knows_people_better_with_their_answers(whole) -> None:
    _, (curve, _), _ = outcome(whole)
    assert curve["k"] == [0, 2, 4]
    best = curve["models"][curve["best"]]
    common = curve["models"]["this run"]
    assert best["0"]["accuracy"] == common["0"]["accuracy"]
    assert best["4"]["accuracy"] > common["4"]["accuracy"]
    assert common["0"]["accuracy"] == common["4"]["accuracy"]
    assert curve["models"]["own answers only"]["0"]["accuracy"] == 0.5


def test_a_small_budget_is_not_split(scenario, tmp_path) -> None:
    settings = scenario("privacy.target_epsilon=0.5")
    assert settings.moment is None
    assert scenario("privacy.target_epsilon=0.5", "personal.moment=true").moment
    folder = simulate(settings, tmp_path / "run").folder
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["personal"]["released_prior"] is False
    assert any("public one is used" in note for note in found["notes"])


def test_more_own_answers_than_anybody_has_are_said(scenario, tmp_path) -> None:
    folder = simulate(scenario("personal.k=[0, 7]"), tmp_path / "run").folder
    found = json.loads((folder / "evaluation.json").read_text())
    assert found["personal"] is None
    assert any("nobody has more than 7 answers" in note for note in found["notes"])


# --- at home --------------------------------------------------------------------------


@pytest.fixture
def offset(whole, files, tmp_path) -> Path:
    return personalise(whole, files / "mine.jsonl", tmp_path / "own.safetensors")[1]


def test_an_offset_moves_scores_towards_what_its_owner_chose(
    whole, files, offset
) -> None:
    lines = (files / "mine.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    common, own = load_reward(whole), load_personal(whole, offset)

    def likelihood(reward):
        total = 0.0
        for row in records:
            texts = [f"{row['prompt']}\n{text}" for text in row["options"]]
            score = np.array(reward.score(texts))
            total += score[row["choice"]] - np.logaddexp.reduce(score)
        return total

    assert likelihood(own) > likelihood(common)


def test_an_offset_is_its_owners_alone(offset) -> None:
    assert stat.S_IMODE(offset.stat().st_mode) == 0o600


def test_the_run_uses_the_prior_that_it_released(whole) -> None:
    assert load_prior(whole, 4).shape == (4, 4)
    assert not np.allclose(load_prior(whole, 4), 2.5**2 * np.eye(4))


def test_an_offset_of_another_model_is_refused(
    whole, scenario, offset, tmp_path
) -> None:
    other = simulate(scenario("run.seed=4"), tmp_path / "other").folder
    with pytest.raises(InputError, match="another model"):
        load_personal(other, offset)


def test_a_damaged_offset_is_refused(whole, offset) -> None:
    offset.write_bytes(offset.read_bytes()[:-3])
    with pytest.raises(IntegrityError, match="make it anew"):
        load_personal(whole, offset)


def test_answers_of_two_people_are_refused(whole, files, tmp_path) -> None:
    with pytest.raises(InputError, match="users = 20, must be 1"):
        personalise(whole, files / "people.jsonl", tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_the_commands(whole, files, tmp_path) -> None:
    run = CliRunner()
    own = str(tmp_path / "own.safetensors")
    mine = str(files / "mine.jsonl")
    done = run.invoke(app, ["personalise", str(whole), mine, "--out", own])
    assert done.exit_code == 0, done.output
    assert "own answers: 5" in done.output
    common = run.invoke(app, ["score", str(whole), mine, "--json"])
    fitted = run.invoke(app, ["score", str(whole), mine, "--offset", own, "--json"])
    assert fitted.exit_code == 0, fitted.output
    assert len(fitted.output.splitlines()) == 5
    assert fitted.output != common.output


def test_an_offset_has_to_be_made_first(whole, files) -> None:
    assert not (whole / OFFSET).exists()
    with pytest.raises(InputError, match="fedpref personalise"):
        load_personal(whole)
