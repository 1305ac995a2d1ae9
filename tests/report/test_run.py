import json
import math

import pytest

from fedpref.errors import InputError
from fedpref.report.run import read


def test_reads_what_was_written(run):
    found = read(run)
    assert found.name == "quickstart"
    assert found.plan.epsilon.outsider == 0.9999
    assert math.isinf(found.plan.epsilon.server)
    assert [entry.round for entry in found.rounds] == list(range(1, 11))
    assert found.results.heldout.accuracy == 0.6942
    assert math.isinf(found.results.baselines["position"].epsilon)
    assert found.environment.timing.total_s == 16.4


def test_name_falls_back_to_the_folder(make_run):
    assert read(make_run("folder", scenario="[data]\nsource = 'x'\n")).name == "folder"


@pytest.mark.parametrize(
    "name",
    [
        "scenario.toml",
        "plan.json",
        "metrics.jsonl",
        "evaluation.json",
        "environment.json",
    ],
)
def test_missing_file(run, name):
    (run / name).unlink()
    with pytest.raises(InputError, match="missing; a run that did not") as caught:
        read(run)
    assert name in str(caught.value)
    assert "--resume" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scenario.toml", "not toml ["),
        ("plan.json", "{"),
        ("plan.json", "[]"),
        ("metrics.jsonl", "{}\n"),
        ("metrics.jsonl", "\n"),
        ("evaluation.json", "{}"),
        ("environment.json", '{"versions": 3}'),
    ],
)
def test_malformed_file(run, name, content):
    (run / name).write_text(content)
    with pytest.raises(InputError, match="run the scenario again") as caught:
        read(run)
    assert str(run / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_that_is_not_text(run):
    (run / "plan.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"plan\.json: not UTF-8"):
        read(run)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"epsilon": {"server": 1.0, "outsider": 1.0}}, "the server sees every update"),
        ({"noise": "none"}, "epsilon.outsider = 0.9999 with noise = 'none'"),
        ({"masked": True}, "masked = true with noise = 'central'"),
        ({"sealed": False}, "only a sealed plan is a claim"),
        ({"rounds": 9}, "10 rounds, the sealed plan allows 9"),
        ({"unit": "household"}, "unit"),
        ({"noise": "homeopathic"}, "noise"),
        ({"epsilon": {"server": "inf", "outsider": -1}}, "epsilon.outsider"),
        ({"epsilon": {"server": "inf", "outsider": "NaN"}}, "epsilon.outsider"),
        ({"delta": 1}, "delta"),
    ],
)
def test_plan_that_promises_too_much(make_run, plan, message):
    with pytest.raises(InputError) as caught:
        read(make_run(plan=plan))
    assert message in str(caught.value)


def recorded(run):
    return [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]


def test_rounds_have_to_count_up(make_run):
    rounds = recorded(make_run())
    with pytest.raises(InputError, match="must count up"):
        read(make_run("back", rounds=[rounds[1], rounds[0]]))


def test_a_round_that_was_given_up_leaves_a_gap(make_run):
    rounds = recorded(make_run())
    assert len(read(make_run("gap", rounds=rounds[1:])).rounds) == len(rounds) - 1


def test_stopped_early_is_fine(make_run):
    rounds = recorded(make_run())
    assert len(read(make_run("early", rounds=rounds[:4])).rounds) == 4


def test_unknown_fields_of_a_newer_version_are_ignored(make_run):
    assert read(make_run(plan={"digest": "abc", "exact": {}})).plan.units == 293


def test_errors_show_no_values(make_run):
    run = make_run(evaluation={"heldout": {"accuracy": "somebody's answer"}})
    with pytest.raises(InputError) as caught:
        read(run)
    assert "somebody" not in str(caught.value)
