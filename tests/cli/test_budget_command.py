"""``fedpref budget`` on real ledgers: what it prints, writes and refuses."""

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from fractions import Fraction
from resource import RUSAGE_CHILDREN, getrusage

import pytest

from fedpref.core import ledger as core
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Cap, Part, Reservation
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.store.ledger import Ledger

PLAN = ("budget", "plan", "--users", "500", "--cohort", "500")
CENTRAL = (*PLAN, "--unit", "user", "--noise", "central", "--participation")
KEYS = {
    *("noise_multiplier", "epsilon", "delta", "unit", "noise", "participation"),
    *("rounds", "assumptions"),
}


def fill(
    ledger: Ledger, run: str, planned: int, done: int, deviation: int = 6, later=()
) -> None:
    user, zero = Unit.USER, Relation.ZERO_OUT
    cap = Cap("people", "2026", user, zero, Adversary.OUTSIDER, 4.0, 1e-4)
    noise = GaussianSum(user, zero, 1, Fraction(deviation) ** 2, 8)
    events = {
        Adversary.OUTSIDER: noise,
        Adversary.SERVER: NonPrivate(user, zero, 8),
    }
    plan = Reservation(run, "p", user, zero, (Part(planned, events), *later), 1e-5)
    if user not in ledger.book.caps:
        ledger.append(lambda book: core.open_cap(book, cap))
    ledger.append(lambda book: core.reserve(book, plan))
    for number in range(1, done + 1):
        ledger.append(lambda book, n=number: core.unmask(book, run, n, "d"))
        ledger.append(lambda book, n=number: core.release(book, run, n, "m"))


@pytest.fixture
def path(tmp_path):
    with Ledger.open(tmp_path / "people.db") as ledger:
        fill(ledger, "first", 4, 2)
    return tmp_path / "people.db"


def head_of(fedpref, path) -> str:
    return str(json.loads(fedpref("budget", "show", path, "--json").out)["head"])


# --- plan ---------------------------------------------------------------------------


def test_plan_json(fedpref) -> None:
    done = fedpref(*CENTRAL, "all", "--rounds", "10", "--epsilon", "1", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert set(found) == KEYS
    assert found["epsilon"]["server"] == "inf"
    assert 0.99 < found["epsilon"]["outsider"] <= 1
    assert found["noise_multiplier"] == pytest.approx(11.797, rel=1e-3)
    assert (found["delta"], found["rounds"]) == (1e-5, 10)


def test_plan_for_readers(fedpref) -> None:
    done = fedpref(
        *("budget", "plan", "--users", "5000", "--cohort", "500", "--unit", "user"),
        *("--noise", "central", "--participation", "server", "--rounds", "2"),
        *("--noise-multiplier", "2", "--min-survivors", "0.9", "--colluders", "7"),
    )
    assert done.code == 0
    for needle in (
        "infinite",
        "noise multiplier by epsilon",
        "█",
        "people who are not enrolled",
        "Against the server and the members, who see the cohort, it buys nothing",
        "fewer than 450 of 500",
        "at most 7 people collude",
        "Somebody with two identities",
    ):
        assert needle in done.out


def test_plan_says_when_a_number_protects_little(fedpref) -> None:
    done = fedpref(*CENTRAL, "fixed", "--rounds", "20", "--noise-multiplier", "2")
    assert "Epsilon above 8 protects little" in done.out


def test_plan_of_labels(fedpref) -> None:
    words = (*PLAN, "--unit", "label", "--noise", "label", "--participation", "all")
    done = fedpref(*words, "--epsilon", "2", "--options", "4", "--json")
    found = json.loads(done.out)
    assert set(found) == {*KEYS, "keep", "options"}
    assert found["epsilon"]["server"] == found["epsilon"]["outsider"] <= 2
    shown = fedpref(*words, "--keep", "0.75").out
    assert "The prompts, the options, the number of records" in shown


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        (("all", "--rounds", "3"), "give two of rounds, epsilon"),
        (("hidden", "--rounds", "3", "--epsilon", "1"), "needs noise = distributed"),
        (("nobody",), "nobody"),
    ],
)
def test_plan_refuses(fedpref, words, needle) -> None:
    done = fedpref(*CENTRAL, *words)
    assert done.code == 2
    assert needle in done.err
    assert done.out == ""


@pytest.mark.parametrize("unit", ["user", "record"])
def test_plan_of_distributed_noise(fedpref, unit) -> None:
    words = (*PLAN, "--unit", unit, "--noise", "distributed", "--rounds", "10")
    done = fedpref(*words, "--participation", "all", "--epsilon", "1", "--json")
    found = json.loads(done.out)
    assert set(found) == KEYS
    assert 0.99 < found["epsilon"]["server"] <= 1
    assert found["epsilon"]["outsider"] == found["epsilon"]["server"]
    assert found["noise_multiplier"] == pytest.approx(11.797, rel=3e-3)


def test_plan_says_what_each_assumption_of_the_secure_sum_buys(fedpref) -> None:
    words = (*PLAN[:-1], "100", "--unit", "user", "--noise", "distributed")
    words = (*words, "--rounds", "2", "--noise-multiplier", "4", "--participation")
    hidden = fedpref(*words, "hidden", "--colluders", "0.2").out
    for needle in (
        "against the server. Without it, the same noise added by the server would",
        "at most 100 of 500 people are bad identities",
        "fewer than 450 answers; 350 honest shares",
        "The devices' own secret coins",
        "coin of probability 100/500",
        "an authority whose key is not the server's",
    ):
        assert needle in " ".join(hidden.split())
    drawn = " ".join(fedpref(*words, "server").out.split())
    assert "The server's secret draw: nothing, because a round is given up" in drawn


def test_plan_waits_for_devices_that_train_alone(fedpref) -> None:
    done = fedpref(
        *(*PLAN, "--unit", "record", "--noise", "device", "--participation", "all"),
        *("--rounds", "3", "--epsilon", "1"),
    )
    assert done.code == 2
    assert "not planned before devices train" in done.err


# --- show ---------------------------------------------------------------------------


def test_show(fedpref, path) -> None:
    done = fedpref("budget", "show", path)
    assert done.code == 0
    for needle in ("people, 2026", "2 of 4", "burn-down", "█", "no cap", "head 6:"):
        assert needle in done.out
    found = json.loads(fedpref("budget", "show", path, "--json").out)
    assert set(found) == {"units", "head"}
    assert set(found["units"]["user"]) == {
        *("spent", "reserved", "left", "delta", "relation", "rounds"),
        *("promised", "currency"),
    }


def test_show_and_verify_tell_parts_apart(fedpref, tmp_path) -> None:
    """Two of four rounds were needed, then one sum of another kind."""
    user, zero = Unit.USER, Relation.ZERO_OUT
    moment = GaussianSum(user, zero, 1, Fraction(9), 36)
    later = Part(1, {Adversary.OUTSIDER: moment, Adversary.SERVER: moment})
    with Ledger.open(tmp_path / "people.db") as ledger:
        fill(ledger, "first", 4, 2, later=(later,))
        ledger.append(lambda book: core.unmask(book, "first", 5, "d"))
        ledger.append(lambda book: core.release(book, "first", 5, "m"))
    shown = fedpref("budget", "show", "people.db")
    assert shown.code == 0
    for needle in ("2 of 4", "1 of 1", "finished,", "2 skipped", "3 rounds charged"):
        assert needle in shown.out
    assert "what one round releases to the outsider" in shown.out
    assert "1–4" in shown.out
    assert "multiplier 3; 36 numbers" in " ".join(shown.out.split())
    assert "4 + 1" in fedpref("budget", "verify", "people.db").out
    found = json.loads(fedpref("budget", "verify", "people.db", "--json").out)
    (run,) = found["units"]["user"]
    assert [part["rounds_charged"] for part in run["parts"]] == [2, 1]
    assert "2 of 4 charged" in fedpref("budget", "statement", "people.db").out
    done = fedpref("budget", "close", "people.db", "--run", "first")
    assert done.out == "closed after round 5; 5 rounds count\n"
    exported = fedpref("budget", "export", "people.db", "--out", "rows.jsonl")
    assert exported.code == 0
    assert fedpref("budget", "verify", "rows.jsonl").code == 0


def test_show_works_while_a_run_goes_on(fedpref, path) -> None:
    with Ledger.open(path) as ledger:
        fill(ledger, "second", 2, 1)
        assert "second" in fedpref("budget", "show", path).out


def test_show_takes_the_ledger_that_a_run_names(fedpref, path, tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert "neither a ledger.db nor a plan.json" in fedpref("budget", "show", run).err
    (run / "plan.json").write_text(json.dumps({"ledger_file": str(path)}))
    assert "first" in fedpref("budget", "show", run).out


def test_show_an_empty_ledger(fedpref, tmp_path) -> None:
    Ledger.open(tmp_path / "new.db").close()
    assert "The ledger is empty" in fedpref("budget", "show", "new.db").out
    assert fedpref("budget", "statement", "new.db").code == 2
    assert fedpref("budget", "show", "absent.db").code == 2


def test_one_more_run_of_a_scenario(fedpref, path, root, main_job) -> None:
    scenario = root / "simulations" / "linear_head.toml"
    done = fedpref("budget", "show", path, "--scenario", scenario, "--json")
    found = json.loads(done.out)["next_run"]
    assert 0.99 < found["epsilon"]["outsider"] <= 1
    assert found["fits"] is True


@pytest.mark.slow
def test_show_starts_quickly(tmp_path) -> None:
    with Ledger.open(tmp_path / "long.db") as ledger:
        fill(ledger, "long", 1000, 1000, deviation=100)
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "fedpref",
            "budget",
            "show",
            "long.db",
        ],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    after = getrusage(RUSAGE_CHILDREN)
    assert "1000 of 1000" in done.stdout
    for heavy in ("dp_accounting", "scipy", "pydantic", "torch"):
        assert heavy not in done.stderr
    # Of the processor, so that it does not matter what else runs.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime <= 1.5


# --- verify, export -----------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_is_verified_elsewhere(fedpref, path, tmp_path, form) -> None:
    head = head_of(fedpref, path)
    out = tmp_path / f"rows.{form}"
    assert fedpref("budget", "export", path, "--format", form, "--out", out).code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = out.rename(elsewhere / out.name)
    done = fedpref("budget", "verify", moved, "--head", head, "--json")
    assert (done.code, done.err) == (0, "")
    here = json.loads(fedpref("budget", "verify", path, "--json").out)
    there = json.loads(done.out)
    assert there == here | {"head_checked": True}
    assert "cut off at its end" in fedpref("budget", "verify", moved).out
    lines = moved.read_text().splitlines(keepends=True)
    moved.write_text("".join(lines[:-1]))
    assert fedpref("budget", "verify", moved).code == 0
    assert fedpref("budget", "verify", moved, "--head", head).code == 4


def test_cross_check(fedpref, path) -> None:
    pytest.importorskip("prv_accountant")
    done = fedpref("budget", "verify", path, "--cross-check")
    assert done.code == 0
    assert "No epsilon is below what can be true" in done.out


def forge(path, *statements: str) -> None:
    """Change the file by hand, its own guards switched off and on again."""
    db = sqlite3.connect(path, isolation_level=None)
    triggers = db.execute("SELECT name, sql FROM sqlite_master WHERE type='trigger'")
    triggers = triggers.fetchall()
    for name, _ in triggers:
        db.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        db.execute(statement)
    for _, sql in triggers:
        db.execute(sql)
    db.close()


@pytest.mark.parametrize(
    ("statements", "needle"),
    [
        (
            ["UPDATE log SET body = replace(body, '1e-05', '1e-06') WHERE seq = 2"],
            "row 2 was edited",
        ),
        (["DELETE FROM log WHERE seq = 3"], "row 3 is missing"),
        (["DELETE FROM log WHERE seq = 6"], "rows are lost|last 1 of 6"),
        (
            [
                "UPDATE log SET seq = 99 WHERE seq = 3",
                "UPDATE log SET seq = 3 WHERE seq = 5",
                "UPDATE log SET seq = 5 WHERE seq = 99",
            ],
            "row 3",
        ),
    ],
    ids=["edit", "delete", "truncate", "reorder"],
)
def test_verify_finds_what_was_done_to_the_file(
    fedpref, path, statements, needle
) -> None:
    forge(path, *statements)
    before = path.read_bytes()
    for command in ("verify", "show", "statement", "export"):
        done = fedpref("budget", command, path)
        assert (done.code, done.out) == (4, "")
        assert "Nothing was repaired" in done.err
    assert re.search(needle, done.err)
    assert path.read_bytes() == before


def test_verify_finds_an_old_copy_put_back_with_its_head(fedpref, path) -> None:
    """Both files rolled back: only a head from elsewhere can tell."""
    names = [path, path.with_name("people.db.head")]
    old = [name.read_bytes() for name in names]
    with Ledger.open(path) as ledger:
        fill(ledger, "second", 2, 1)
    head = head_of(fedpref, path)
    for name, content in zip(names, old, strict=True):
        name.write_bytes(content)
    assert fedpref("budget", "verify", path).code == 0
    done = fedpref("budget", "verify", path, "--head", head)
    assert done.code == 4
    assert "rolled back" in done.err
    with Ledger.open(path) as ledger:
        fill(ledger, "other", 3, 2)
    done = fedpref("budget", "verify", path, "--head", head)
    assert done.code == 4
    assert "fork" in done.err


def test_verify_refuses_a_malformed_head(fedpref, path) -> None:
    assert fedpref("budget", "verify", path, "--head", "nonsense").code == 2


# --- statement ----------------------------------------------------------------------


def test_statement_in_three_forms(fedpref, path, tmp_path) -> None:
    found = json.loads(fedpref("budget", "statement", path, "--format", "json").out)
    assert found["population"] == "people"
    page = tmp_path / "page.html"
    done = fedpref("budget", "statement", path, "--format", "html", "--out", page)
    assert done.code == 0
    assert page.read_text().startswith("<!doctype html>")
    markdown = fedpref("budget", "statement", path).out
    for heading in ("Whose data", "For how long", "Not protected", "Who enforces it"):
        assert f"## {heading}" in markdown


def test_nothing_replaces_a_ledger(fedpref, path) -> None:
    before = path.read_bytes()
    done = fedpref("budget", "export", path, "--out", path)
    assert done.code == 6
    assert path.read_bytes() == before


# --- close --------------------------------------------------------------------------


def test_close_ends_a_plan(fedpref, path) -> None:
    assert fedpref("budget", "close", path).code == 2
    assert fedpref("budget", "close", path, "--run", "second").code == 2
    assert fedpref("budget", "close", "nothing.db", "--run", "first").code == 2
    done = fedpref("budget", "close", path, "--run", "first")
    assert done.out == "closed after round 2; 4 rounds count\n"  # sealed: nothing back
    assert fedpref("budget", "close", path, "--run", "first").code == 4
    assert "closed after round 2" in fedpref("budget", "show", path).out
    assert fedpref("budget", "verify", path).code == 0


def test_close_of_a_run_folder(fedpref, path, tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert fedpref("budget", "close", run).code == 2
    (run / "plan.json").write_text(
        json.dumps({"run_id": "first", "ledger_file": str(path)})
    )
    assert fedpref("budget", "close", run, "--run", "first").code == 2
    assert "closed after round 2" in fedpref("budget", "close", run).out


def test_another_schema_is_refused_with_what_differs(fedpref, path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=1")
        db.commit()
    done = fedpref("budget", "show", path)
    assert done.code == 4
    assert "user_version = 1, must be 3" in done.err
