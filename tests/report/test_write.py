import json

import pytest

from fedpref.errors import InputError, OutputError
from fedpref.report.compare import compare
from fedpref.report.write import write
from tests.report.conftest import personal

FILES = ("report.html", "report.json", "statement.json")


def test_writes_three_files_and_nothing_else(run):
    before = {path.name for path in run.iterdir()}
    assert write(run) == run / "report.html"
    assert {path.name for path in run.iterdir()} == before | set(FILES)


def test_report_json_is_the_documented_one(run):
    write(run)
    report = json.loads((run / "report.json").read_text())
    assert list(report) == [
        "scenario",
        "unit",
        "noise",
        "participation",
        "masked",
        "epsilon",
        "delta",
        "target_epsilon",
        "against",
        "seeded",
        "rounds",
        "stages",
        "clients",
        "heldout",
        "federated",
        "personal",
        "baselines",
        "timing",
        "versions",
    ]
    assert report["epsilon"] == {"server": "inf", "outsider": 0.9999}
    assert report["clients"] == {"train": 293, "heldout": 68}
    assert report["heldout"] == {
        "accuracy": 0.6942,
        "ci95": [0.6631, 0.7249],
        "choice_accuracy": 0.4432,
        "log_loss": 0.5712,
        "ece": 0.0214,
    }
    assert report["baselines"]["position"]["epsilon"] == "inf"
    assert report["baselines"]["position"]["ci95"] == [0.4855, 0.5375]
    assert report["timing"] == {"setup_s": 9.8, "train_s": 2.9, "total_s": 16.4}
    assert report["target_epsilon"] == 1.0
    assert report["personal"] is None


def test_same_folder_same_bytes(run):
    write(run)
    first = [(run / name).read_bytes() for name in FILES]
    write(run)
    assert [(run / name).read_bytes() for name in FILES] == first


def test_a_bad_folder_leaves_the_old_report_alone(run):
    write(run)
    old = (run / "report.html").read_bytes()
    (run / "evaluation.json").write_text("{")
    with pytest.raises(InputError):
        write(run)
    assert (run / "report.html").read_bytes() == old


def test_a_folder_that_cannot_be_written(run):
    (run / "report.html").mkdir()  # in the way, also for somebody who may do anything
    with pytest.raises(OutputError, match=r"report\.html"):
        write(run)
    assert not [path for path in run.iterdir() if path.name.startswith(".")]


def test_compare(make_run):
    infinite = {"server": "inf", "outsider": "inf"}
    runs = [
        make_run("one"),
        make_run("two", plan={"noise": "none", "epsilon": infinite}),
        make_run("three", plan={"unit": "record", "seeded": True}),
    ]
    rows = compare(runs)
    assert [row.name for row in rows] == ["one", "two", "three"]
    assert [row.unit for row in rows] == ["user", "user", "record"]
    assert [row.seeded for row in rows] == [False, False, True]
    first = rows[0].to_json()
    assert (first["epsilon_outsider"], first["epsilon_server"]) == (0.9999, "inf")
    assert first["ci95"] == [0.6631, 0.7249]
    assert rows[1].to_json()["epsilon_outsider"] == "inf"
    json.dumps([row.to_json() for row in rows], allow_nan=False)


def test_compare_takes_own_answers_at_4_and_at_no_other_k(make_personal, run):
    without = personal() | {"k": [0, 2]}
    for part in ("gain_over_own", "gain_over_common"):
        without[part] = {k: without[part][k] for k in ("0", "2")}
    without["models"] = {
        name: {k: row[k] for k in ("0", "2")} for name, row in without["models"].items()
    }
    other = make_personal("other", personal=without)
    found = [row.to_json() for row in compare([make_personal(), other, run])]
    assert [row["accuracy_at_4"] for row in found] == [0.8112, None, None]
    assert [row["ci95_at_4"] for row in found] == [[0.7836, 0.8367], None, None]


def test_compare_needs_finished_runs(make_run, tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        compare([make_run("one"), tmp_path / "other"])
