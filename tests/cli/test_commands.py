"""What people type, and what they are told when it cannot work."""

import json
import subprocess
import sys

import pytest

from fedpref import __version__

SHORT = ("--set", "cohort.rounds=1", "--set", "evaluate.baselines=[]")


@pytest.fixture(scope="session")
def scenarios(root):
    return root / "simulations"


@pytest.fixture(scope="module")
def finished(main_job, scenarios, tmp_path_factory):
    """A finished run on the example file."""
    from fedpref.simulation import simulate

    out = tmp_path_factory.mktemp("runs") / "own"
    simulate(scenarios / "own_data.toml", out, overrides=["cohort.rounds=1"])
    return out


def test_version_and_help(fedpref) -> None:
    assert fedpref("--version").out == f"fedpref {__version__}\n"
    shown = fedpref("--help")
    assert shown.code == 0
    for command in ("simulate", "report", "compare", "score", "data", "doctor"):
        assert command in shown.out


def test_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fedpref", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"fedpref {__version__}\n"


def test_simulate_shows_result_privacy_and_report(
    fedpref, main_job, scenarios, tmp_path
) -> None:
    shown = fedpref("simulate", scenarios / "linear_head.toml", *SHORT)
    assert shown.code == 0
    assert "this run" in shown.out
    assert "outsider 1, server infinite (it sees every update)" in shown.out
    assert shown.out.startswith("ledger: a new one in the run folder")
    assert "seeded" not in shown.out
    assert "round 1 of 1, epsilon so far 1" in shown.err
    assert (tmp_path / "runs" / "linear_head" / "report.html").is_file()
    again = fedpref("simulate", scenarios / "linear_head.toml", *SHORT)
    assert "linear_head-2" in again.out


def test_simulate_as_json_prints_one_report(
    fedpref, main_job, scenarios, tmp_path
) -> None:
    shown = fedpref(
        *("simulate", scenarios / "own_data.toml", "--json", "--transport", "flower"),
        *("--out", tmp_path / "mine", "--set", "run.seed=3", *SHORT),
    )
    assert shown.code == 0
    report = json.loads(shown.out)
    assert report == json.loads((tmp_path / "mine" / "report.json").read_text())
    assert report["seeded"] is True
    assert shown.err.startswith("ledger: a new one")


def test_report_is_written_anew(fedpref, finished) -> None:
    before = (finished / "report.html").read_bytes()
    (finished / "report.html").unlink()
    assert fedpref("report", finished).code == 0
    assert (finished / "report.html").read_bytes() == before
    assert json.loads(fedpref("report", finished, "--json").out)["unit"] == "user"


def test_compare_puts_runs_side_by_side(fedpref, finished) -> None:
    shown = fedpref("compare", finished, finished)
    assert shown.out.count("central") == 2
    rows = json.loads(fedpref("compare", finished, "--json").out)
    assert rows[0]["epsilon_server"] == "inf"


def test_score_reads_records_and_texts(fedpref, finished, scenarios, tmp_path) -> None:
    file = scenarios / "own_data.jsonl"
    rows = fedpref("score", finished, file, "--json").out.splitlines()
    assert len(rows) == 30
    first = json.loads(rows[0])
    assert first["agrees"] is (first["lead"] > 0)
    (tmp_path / "texts.jsonl").write_text('{"text": "Hello."}\n{"text": "Go away."}\n')
    shown = fedpref("score", finished, tmp_path / "texts.jsonl", "--json")
    assert [set(json.loads(row)) for row in shown.out.splitlines()] == [
        {"item", "score"}
    ] * 2
    assert "agrees" in fedpref("score", finished, file).out


def test_score_names_every_bad_line(fedpref, finished, tmp_path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n{"txt": "b"}\n\n3\n')
    shown = fedpref("score", finished, tmp_path / "texts.jsonl")
    assert shown.code == 2
    assert "line 2" in shown.err
    assert "line 4" in shown.err


def test_malformed_records_are_listed_with_reasons(
    fedpref, main_job, scenarios, tmp_path
) -> None:
    bad = tmp_path / "bad.jsonl"
    good = (scenarios / "own_data.jsonl").read_text().splitlines()
    bad.write_text("\n".join([good[0], "{", good[1], '{"user": "x"}']))
    shown = fedpref(
        "simulate", scenarios / "own_data.toml", "--set", f"data.source={bad}"
    )
    assert shown.code == 2
    assert "2 bad lines" in shown.err
    assert "line 2:" in shown.err
    assert "line 4:" in shown.err
    assert not (tmp_path / "runs" / "own_data").exists()


def people(tmp_path, *names: str):
    rows = [
        {"user": name, "prompt": "", "chosen": "yes", "rejected": "no"}
        for name in names
    ]
    file = tmp_path / "people.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


@pytest.mark.parametrize(
    ("names", "needle"), [(("ada",), "one"), (("ada", "bob"), "held")]
)
def test_too_few_people(fedpref, main_job, scenarios, tmp_path, names, needle) -> None:
    file = people(tmp_path, *names)
    shown = fedpref(
        "simulate", scenarios / "own_data.toml", "--set", f"data.source={file}"
    )
    assert shown.code == 2
    assert needle in shown.err.lower()


def test_thumbs_do_not_fit_a_reward_objective(
    fedpref, main_job, scenarios, tmp_path
) -> None:
    rows = [
        {"user": f"u{i}", "prompt": "", "completion": "a", "label": True}
        for i in range(20)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    shown = fedpref(
        "simulate",
        scenarios / "own_data.toml",
        *("--set", f"data.source={tmp_path / 't.jsonl'}"),
    )
    assert shown.code == 2
    assert "20 bad lines\n  line 1: a thumb; bt needs a choice" in shown.err


@pytest.mark.parametrize(
    ("override", "code", "needle"),
    [
        ("privacy.clipp=1", 2, "did you mean clip?"),
        ("privacy.target_epsilon=1e-9", 2, "raise target_epsilon"),
        ("privacy.delta=0.5", 2, "could be published outright"),
        ("privacy.colluders=0.8", 2, "nearest plans that work: "),
        ("cohort.min_survivors=0.5", 2, "the threshold must be >="),
        ("cohort.q=0.5", 2, "participation = hidden"),
        ("secagg.mode=masks", 2, "'protocol' or 'sum'"),
        ("cohort.dropouts=0.1", 2, "did you mean dropout?"),
        ("model.features=4000", 2, "features"),
        ("model.adapter.layers=last:9", 2, "6 layers"),
        ("model.adapter.targets=['nothing']", 2, "nothing"),
        ("data.source=electrcity", 2, "electricity"),
        ("clip=1", 2, "must be section.key=value"),
    ],
)
def test_bad_settings(
    fedpref, main_job, scenarios, tmp_path, override, code, needle
) -> None:
    shown = fedpref("simulate", scenarios / "quickstart.toml", "--set", override)
    assert shown.code == code
    assert needle in shown.err
    assert not (tmp_path / "runs" / "quickstart").exists()


@pytest.mark.parametrize(
    ("override", "needle"),
    [
        ("privacy.unit=record", "only unit = user"),
        ("privacy.against=server", "use against = outsider"),
        ("cohort.participation=hidden", "needs noise = distributed"),
    ],
)
def test_what_a_trusted_server_cannot_do(
    fedpref, main_job, scenarios, override, needle
) -> None:
    shown = fedpref("simulate", scenarios / "central.toml", "--set", override)
    assert shown.code == 2
    assert needle in shown.err


def test_the_server_is_bound_where_noise_comes_from_devices(
    fedpref, main_job, scenarios, tmp_path
) -> None:
    scenario = scenarios / "hidden_participation.toml"
    shown = fedpref("simulate", scenario, *SHORT)
    assert shown.code == 0
    assert "outsider 1, server 1 (as if run with the protocol" in shown.out
    assert "sees every update" not in shown.out
    run = tmp_path / "runs" / "hidden_participation"
    report = json.loads((run / "report.json").read_text())
    assert report["masked"] is False


def test_the_protocol_runs_in_worker_processes_and_promises_without_as_if(
    fedpref, main_job, scenarios, tmp_path, monkeypatch
) -> None:
    from fedpref.transport import workers

    real, used = workers.forked, []

    def forked(count, prepare):
        used.append(count)
        return real(count, prepare)

    monkeypatch.setattr(workers, "forked", forked)
    shown = fedpref(
        *("simulate", scenarios / "own_data.toml", *SHORT),
        *("--set", "privacy.noise=distributed", "--set", "privacy.against=server"),
    )
    assert shown.code == 0
    assert "outsider 8, server 8\n" in shown.out
    assert len(used) == 1


def test_missing_files_and_contradictions(fedpref, scenarios, tmp_path) -> None:
    assert fedpref("simulate").code == 2
    assert fedpref("simulate", "none.toml").code == 2
    assert fedpref("simulate", "a.toml", "--resume", "b").code == 2
    assert fedpref("simulate", "--resume", tmp_path).code == 2
    assert fedpref("simulate", "--resume", tmp_path, "--out", "b").code == 2
    assert fedpref("report", tmp_path).code == 2
    assert fedpref("compare", tmp_path).code == 2
    assert fedpref("score", tmp_path, tmp_path / "x.jsonl").code == 2
    assert fedpref("nonsense").code == 2


def test_output_folder_that_exists_or_cannot_be_written(
    fedpref, main_job, scenarios, tmp_path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    scenario = scenarios / "own_data.toml"
    shown = fedpref("simulate", scenario, "--out", tmp_path / "full")
    assert shown.code == 2
    assert "is not empty" in shown.err
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep me"
    shown = fedpref("simulate", scenario, "--out", tmp_path / "full" / "mine.txt" / "x")
    assert shown.code == 6
    assert "Not a directory" in shown.err


def test_a_disk_that_fills_up_during_a_run(
    fedpref, main_job, scenarios, tmp_path, monkeypatch
) -> None:
    from fedpref.store import checkpoints

    real, count = checkpoints.os.fsync, []

    def full(handle: int) -> None:
        count.append(handle)
        if len(count) > 30:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    out = tmp_path / "run"
    settings = ("--out", out, "--set", "run.seed=1", "--set", "evaluate.baselines=[]")
    shown = fedpref("simulate", scenarios / "own_data.toml", *settings)
    assert shown.code == 6
    assert "No space left on device" in shown.err
    monkeypatch.setattr(checkpoints.os, "fsync", real)
    assert fedpref("simulate", "--resume", out).code == 0
    assert (out / "report.html").is_file()


def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(
    fedpref, main_job, scenarios, tmp_path, monkeypatch
) -> None:
    from fedpref.cli import simulate as command

    real = command._tell

    def interrupt(bar, task, progress) -> None:
        real(bar, task, progress)
        if progress.round is not None and progress.round.number == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "_tell", interrupt)
    out = tmp_path / "run"
    shown = fedpref("simulate", scenarios / "own_data.toml", "--out", out)
    assert shown.code == 130
    assert f"fedpref simulate --resume {out}" in shown.err
    monkeypatch.setattr(command, "_tell", real)
    assert fedpref("simulate", "--resume", out).code == 0


def test_a_missing_asset_names_the_command(
    fedpref, scenarios, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("FEDPREF_CACHE", str(tmp_path / "empty"))
    shown = fedpref("simulate", scenarios / "quickstart.toml")
    assert shown.code == 6
    assert "fedpref data get" in shown.err
    sick = fedpref("doctor")
    assert sick.code == 6
    assert "fedpref data get minilm" in sick.out


def test_doctor_finds_a_good_machine_good(fedpref, main_job) -> None:
    well = fedpref("doctor", "--json")
    findings = {row["what"]: row for row in json.loads(well.out)}
    assert findings["torch"]["remedy"] == ""
    assert findings["asset minilm"]["found"] == "fetched"
    assert well.code == (6 if any(r["remedy"] for r in findings.values()) else 0)
    assert "python" in fedpref("doctor").out


def test_errors_do_not_repeat_what_people_wrote(
    fedpref, main_job, scenarios, tmp_path
) -> None:
    canary = "CANARY-3f9a"
    rows = [
        {"user": canary, "prompt": canary, "chosen": canary, "rejected": canary},
        {"user": canary, "prompt": canary, "options": [canary], "choice": canary},
        {"user": canary, "prompt": canary, "completion": canary, "label": canary},
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    shown = fedpref(
        "simulate",
        scenarios / "own_data.toml",
        *("--set", f"data.source={tmp_path / 'c.jsonl'}"),
    )
    assert shown.code == 2
    assert canary not in shown.err + shown.out
