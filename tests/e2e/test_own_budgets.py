"""Whole runs in which each person has an own cap and clip."""

import json

import pytest

from fedpref.errors import IntegrityError, Interrupted, PlanError, ScenarioError
from fedpref.rounds.own import Limits
from fedpref.sections import OwnBudgetsSection
from fedpref.simulation import own_budgets, resume, simulate
from fedpref.simulation.setup import prepare
from fedpref.transport import in_process

OWN = [
    "cohort.rounds=6",
    "privacy.target_epsilon=1.0",
    "own_budgets.caps=[0.05, 0.7, 1.0]",
    "own_budgets.shares=[0.3, 0.3, 0.4]",
    "own_budgets.salt=two",
]
SUM = "secagg.mode=sum"


class Stop:
    """Stops the run when it tells of a round."""

    def __init__(self, round_):
        self.round = round_

    def __call__(self, progress):
        if progress.round is not None and progress.round.number == self.round:
            raise KeyboardInterrupt


def entry(result):
    return json.loads((result.folder / "evaluation.json").read_text())["own_budgets"]


@pytest.fixture(scope="module")
def summed(few, tmp_path_factory):
    job = few(*OWN, SUM)
    return simulate(job, tmp_path_factory.mktemp("own") / "sum")


def test_nobodys_cap_is_passed_and_groups_gave_what_they_could(summed) -> None:
    found = entry(summed)
    assert (found["people"], found["passed"], found["releases"]) == (8, 0, 6)
    assert sum(group["people"] for group in found["groups"]) == 8
    given = [group["mean_contributed"] for group in found["groups"]]
    assert [group["cap"] for group in found["groups"]] == [0.05, 0.7, 1.0]
    assert given[0] == 0.0
    assert given[1] == 3.0
    assert given[2] == 6.0


def test_only_sums_are_written_and_they_say_what_they_are(summed, few) -> None:
    notes = json.loads((summed.folder / "evaluation.json").read_text())["notes"]
    (ours,) = [note for note in notes if "own caps" in note]
    assert ours.startswith("simulation only: own caps passed: 0 of 8")
    people = prepare(few(*OWN, SUM)).limits
    for path in summed.folder.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".jsonl", ".html"):
            text = path.read_text(encoding="utf-8")
            assert not any(user in text for user in people), path.name
    for name in ("metrics.jsonl", "plan.json", "statement.json"):
        text = (summed.folder / name).read_text(encoding="utf-8")
        assert "mean_contributed" not in text
        assert "own_budgets" not in text


@pytest.mark.parametrize("carry", [None, in_process.carry], ids=["workers", "here"])
def test_the_protocol_gives_the_bytes_of_the_sum(
    summed, few, model_bytes, tmp_path, carry
) -> None:
    """And what devices in other processes noted is the same."""
    masked = simulate(few(*OWN), tmp_path / "masked", carry=carry)
    assert model_bytes(masked.folder) == model_bytes(summed.folder)
    assert entry(masked) == entry(summed)


@pytest.mark.parametrize("after", [1, 4])
def test_a_stop_gives_nobody_a_fresh_book(
    summed, few, model_bytes, tmp_path, after
) -> None:
    with pytest.raises(Interrupted):
        simulate(few(*OWN, SUM), tmp_path / "run", tell=Stop(after))
    finished = resume(tmp_path / "run")
    assert model_bytes(finished.folder) == model_bytes(summed.folder)
    assert entry(finished) == entry(summed)


def test_own_clips_that_fit_use_every_round(few, summed, model_bytes, tmp_path) -> None:
    done = simulate(few(*OWN, SUM, "own_budgets.clips=fit"), tmp_path / "fit")
    groups = entry(done)["groups"]
    assert [group["mean_contributed"] for group in groups] == [6.0] * 3
    clips = [group["clip"] for group in groups]
    assert clips[0] < clips[1] < clips[2] == 2.0
    assert model_bytes(done.folder) != model_bytes(summed.folder)


def test_lost_devices_and_evaluation_stay_within_the_caps(few, tmp_path) -> None:
    more = ("cohort.dropout=0.1", "cohort.spare_rounds=6", "evaluate.federated=true")
    done = simulate(few(*OWN, SUM, *more), tmp_path / "lossy")
    assert entry(done)["passed"] == 0
    assert entry(done)["releases"] == 13


def test_a_trusted_server_loses_who_is_spent(few, tmp_path) -> None:
    """A refusal shows there, so the rounds go on with fewer people."""
    central = ("privacy.noise=central", "privacy.against=outsider")
    job = few(*OWN, *central, "cohort.min_survivors=0.2")
    done = simulate(job, tmp_path / "central")
    lines = (done.folder / "metrics.jsonl").read_text().splitlines()
    survivors = [json.loads(line)["survivors"] for line in lines]
    given = {
        g["cap"]: (g["people"], g["mean_contributed"]) for g in entry(done)["groups"]
    }
    assert survivors[0] == 8 - given[0.05][0]
    assert survivors[-1] == given[1.0][0]
    assert sum(survivors) == sum(round(n * mean) for n, mean in given.values())


# The check afterwards


def test_a_cap_that_was_passed_is_an_error_and_names_nobody(few) -> None:
    setup = prepare(few(*OWN, SUM))
    square = setup.plan.sensitivity_squared
    limits = {"somebody": Limits(0.4, 2.0), "else": Limits(0.05, 2.0)}
    fine = {"somebody": [(1, square)], "else": []}
    assert own_budgets.verified(setup.plan, limits, fine)["passed"] == 0
    with pytest.raises(IntegrityError, match="1 people passed their own cap") as caught:
        own_budgets.verified(setup.plan, limits, fine | {"else": [(1, square)]})
    assert "else" not in str(caught.value)
    many = {"somebody": [(n, square) for n in range(1, 7)]}
    with pytest.raises(IntegrityError, match="must be 0"):
        own_budgets.verified(setup.plan, limits, fine | many)
    shorter = {"somebody": [(n, square // 16) for n in range(1, 7)]}
    assert own_budgets.verified(setup.plan, limits, fine | shorter)["passed"] == 0


# Who gets what


def section(**change):
    values = {"caps": (0.1, 1.0), "shares": (0.25, 0.75)} | change
    return OwnBudgetsSection(**values)


def test_limits_follow_from_name_and_salt_in_the_stated_shares(few) -> None:
    plan = prepare(few(SUM)).plan
    people = [f"person {number}" for number in range(4000)]
    found = own_budgets.assigned(section(), plan, people)
    share = sum(own.cap == 0.1 for own in found.values()) / 4000
    assert abs(share - 0.25) < 0.03
    some = own_budgets.assigned(section(), plan, people[::-7])
    assert some == {user: found[user] for user in people[::-7]}
    other = own_budgets.assigned(section(salt="other"), plan, people)
    assert 0.2 < sum(other[u] != found[u] for u in people) / 4000 < 0.5
    assert own_budgets.assigned(None, plan, people) == {}
    paired = own_budgets.assigned(section(clips=(0.5, 2.0)), plan, people)
    assert {(own.cap, own.clip) for own in paired.values()} == {(0.1, 0.5), (1.0, 2.0)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("own_budgets.shares=[0.5, 0.5]", "shares has 2 entries, caps 3"),
        ("own_budgets.clips=[1.0]", "clips has 1 entries, caps 3"),
        ("own_budgets.shares=[0.5, 0.5, 0.5]", "shares add up to 1.5"),
        ("own_budgets.caps=[0.0, 0.7, 1.0]", "greater than 0"),
        ("own_budgets.caps=[inf, 0.7, 1.0]", "own_budgets.caps"),
        ("own_budgets.clips=[1.0, 0.0, 1.0]", "greater than 0"),
        ("own_budgets.clips=[1.0, 9.0, 1.0]", "9, must be <= privacy.clip = 2"),
        ("own_budgets.clips=fits", "own_budgets.clips"),
        ("privacy.noise=none", "no cap can be kept"),
    ],
)
def test_impossible_sections_are_refused(few, change, message) -> None:
    with pytest.raises(ScenarioError, match=message):
        few(*OWN, change)


def test_a_clip_below_the_grid_is_refused_before_anything_begins(few, tmp_path) -> None:
    job = few(*OWN, SUM, "own_budgets.clips=[1e-9, 1.0, 1.0]")
    with pytest.raises(PlanError, match="smaller than one step"):
        simulate(job, tmp_path / "none")
    assert not (tmp_path / "none").exists()
