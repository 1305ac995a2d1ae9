"""Runs and their ledger: what is refused, what adds up, what survives a crash."""

import json
import math
import re
import shutil

import pytest

from fedpref.cli.budget import close
from fedpref.core.types import Adversary, Unit
from fedpref.errors import (
    BudgetError,
    InputError,
    IntegrityError,
    Interrupted,
    OutputError,
    TooFewSurvivors,
)
from fedpref.simulation import journal as journals
from fedpref.simulation import resume, simulate
from fedpref.simulation.folder import RunFolder
from fedpref.store.checkpoints import load_checkpoint, save_checkpoint
from fedpref.store.ledger import Ledger, load
from fedpref.transport import in_process

OUT, SERVER = Adversary.OUTSIDER, Adversary.SERVER


def unseeded(job):
    return job.model_copy(update={"run": job.run.model_copy(update={"seed": None})})


def nobody_is_asked(endpoints, drive):
    raise AssertionError("a device was asked")


def test_a_run_of_its_own_is_reserved_charged_and_released(scenario, tmp_path) -> None:
    run = simulate(scenario("linear_head"), tmp_path / "a").folder
    book = load(run / "ledger.db")
    (account,) = book.of(Unit.USER)
    assert (account.charged, account.released, account.unmasking) == (3, 3, None)
    assert account.reservation.seeded
    assert 0.999 < book.spent(Unit.USER, OUT) <= 1.0
    assert book.spent(Unit.USER, SERVER) == math.inf
    statement = json.loads((run / "statement.json").read_text())
    assert statement["enforced_by_ledger"] is True
    assert statement["ledger"]["file"] == "ledger.db"
    assert "of this run alone" in statement["summary"][0]


def test_runs_on_the_same_people_add_up_until_nothing_is_left(
    scenario, tmp_path
) -> None:
    ledger = tmp_path / "people.db"
    job = scenario("linear_head", "privacy.cap=2", "cohort.rounds=1")
    for name in "ab":
        result = simulate(job, tmp_path / name, ledger=ledger)
        assert not (result.folder / "ledger.db").exists()
    book = load(ledger)
    assert 1.99 < book.claimed(Unit.USER, OUT) <= 2.0
    assert book.delta(Unit.USER) == pytest.approx(2e-5)
    with pytest.raises(BudgetError, match="Nothing is left") as caught:
        simulate(job, tmp_path / "c", ledger=ledger, carry=nobody_is_asked)
    assert caught.value.exit_code == 3
    assert not (tmp_path / "c").exists()
    assert load(ledger).seq == book.seq


def test_over_budget_names_the_nearest_plan_that_fits(scenario, tmp_path) -> None:
    ledger = tmp_path / "people.db"
    simulate(
        scenario("linear_head", "privacy.cap=1.5", "cohort.rounds=1"),
        tmp_path / "a",
        ledger=ledger,
    )
    bigger = scenario("linear_head", "cohort.rounds=4")
    with pytest.raises(BudgetError) as caught:
        simulate(bigger, tmp_path / "b", ledger=ledger, carry=nobody_is_asked)
    message = str(caught.value)
    assert "1.5" in message
    assert "privacy.target_epsilon = 0.5" in message
    fits = scenario("linear_head", "privacy.target_epsilon=0.5", "cohort.rounds=1")
    assert simulate(fits, tmp_path / "c", ledger=ledger).report["epsilon"]["outsider"]


@pytest.mark.parametrize(
    ("override", "needle"),
    [
        ("privacy.population=others", "population = electricity in the ledger, others"),
        ("privacy.window='2027'", "window = all in the ledger, 2027"),
        ("privacy.cap=9", "epsilon = 3.0 in the ledger, 9.0"),
        ("privacy.currency=gaussian", "currency = sealed in the ledger, gaussian"),
        ("privacy.delta=1e-6", "delta = 0.000105 in the ledger, 1.05e-05"),
    ],
)
def test_a_ledger_of_something_else_is_refused(
    scenario, tmp_path, override, needle
) -> None:
    ledger = tmp_path / "people.db"
    job = ("linear_head", "privacy.cap=3", "cohort.rounds=1")
    simulate(scenario(*job), tmp_path / "a", ledger=ledger)
    before = load(ledger).seq
    with pytest.raises(InputError, match=needle):
        simulate(
            scenario(*job, override),
            tmp_path / "b",
            ledger=ledger,
            carry=nobody_is_asked,
        )
    assert load(ledger).seq == before


def test_no_noise_books_infinity_and_says_so_first(scenario, tmp_path) -> None:
    job = scenario("linear_head", "privacy.noise=none", "cohort.rounds=1")
    run = simulate(
        job.model_copy(
            update={"privacy": job.privacy.model_copy(update={"target_epsilon": None})}
        ),
        tmp_path / "a",
    ).folder
    book = load(run / "ledger.db")
    assert book.spent(Unit.USER, OUT) == math.inf
    statement = json.loads((run / "statement.json").read_text())
    assert "epsilon is infinite against everybody" in statement["summary"][0]


def test_no_noise_does_not_fit_under_a_finite_cap(scenario, tmp_path) -> None:
    ledger = tmp_path / "people.db"
    simulate(
        scenario("linear_head", "privacy.cap=3", "cohort.rounds=1"),
        tmp_path / "a",
        ledger=ledger,
    )
    job = scenario("non_private", "cohort.rounds=1")
    with pytest.raises(BudgetError, match="A plan with noise"):
        simulate(job, tmp_path / "b", ledger=ledger, carry=nobody_is_asked)


class PowerCut(BaseException):
    """Nothing in the product catches this."""


STEPS = [
    (RunFolder, "save_pending", "before"),
    (RunFolder, "save_pending", "after"),
    (Ledger, "append", "after"),
    (RunFolder, "save_state", "before"),
    (RunFolder, "save_state", "after"),
    (journals.RunJournal, "_released", "after"),
]


@pytest.mark.parametrize(("owner", "name", "moment"), STEPS)
def test_a_crash_at_any_step_ends_charged_once_and_released_once(
    scenario, tmp_path, monkeypatch, owner, name, moment
) -> None:
    """With fresh noise each time, so that a second draw would show."""
    real, calls = getattr(owner, name), []
    releases = {}
    kept = journals.RunJournal._released

    def remember(self, state):
        releases.setdefault(state.round, set()).add(state.model.tobytes())
        kept(self, state)

    monkeypatch.setattr(journals.RunJournal, "_released", remember)
    real = getattr(owner, name)
    wanted = 4 if owner is Ledger else 2  # the second round's charge, or its step

    def crash(self, *args):
        calls.append(1)
        if moment == "before" and len(calls) == wanted:
            raise PowerCut
        result = real(self, *args)
        if moment == "after" and len(calls) == wanted:
            raise PowerCut
        return result

    monkeypatch.setattr(owner, name, crash)
    with pytest.raises(PowerCut):
        simulate(unseeded(scenario("linear_head")), tmp_path / "a")
    monkeypatch.setattr(owner, name, real)
    report = resume(tmp_path / "a").report
    assert report["rounds"] == 3
    (account,) = load(tmp_path / "a" / "ledger.db").of(Unit.USER)
    assert (account.charged, account.released, account.refunded) == (3, 3, 0)
    assert {number: len(models) for number, models in releases.items()} == {
        1: 1,
        2: 1,
        3: 1,
    }
    assert not list((tmp_path / "a" / "checkpoints").glob("*pending*"))


def test_an_old_checkpoint_that_is_put_back_is_refused(scenario, tmp_path) -> None:
    """It would release later rounds a second time, with other noise."""
    states = {}

    def keep(progress):
        if progress.round is not None:
            path = tmp_path / "a" / "checkpoints" / "state.bin"
            states[progress.round.number] = path.read_bytes()
            if progress.round.number == 2:
                raise KeyboardInterrupt

    with pytest.raises(Exception, match="stopped"):
        simulate(unseeded(scenario("linear_head")), tmp_path / "a", tell=keep)
    (tmp_path / "a" / "checkpoints" / "state.bin").write_bytes(states[1])
    with pytest.raises(IntegrityError, match="round 2 was released"):
        resume(tmp_path / "a")


def test_a_round_that_was_given_up_stays_charged(scenario, tmp_path) -> None:
    """The server has read the uploads, so nothing is given back."""

    def lossy(endpoints, drive):
        few = {number: endpoints[number] for number in list(endpoints)[:100]}
        in_process.carry(few, drive)

    with pytest.raises(TooFewSurvivors, match="survivors = 100"):
        simulate(scenario("linear_head"), tmp_path / "a", carry=lossy)
    (account,) = load(tmp_path / "a" / "ledger.db").of(Unit.USER)
    assert (account.charged, account.released, account.refunded) == (1, 0, 0)
    report = resume(tmp_path / "a").report
    assert report["rounds"] == 2
    (account,) = load(tmp_path / "a" / "ledger.db").of(Unit.USER)
    assert (account.charged, account.released) == (3, 3)


def test_a_round_that_nobody_answered_is_refunded(scenario, tmp_path) -> None:
    with pytest.raises(TooFewSurvivors, match="survivors = 0"):
        simulate(
            scenario("linear_head"),
            tmp_path / "a",
            carry=lambda endpoints, drive: in_process.carry({}, drive),
        )
    (account,) = load(tmp_path / "a" / "ledger.db").of(Unit.USER)
    assert (account.charged, account.refunded) == (0, 1)
    assert resume(tmp_path / "a").report["rounds"] == 3


def test_two_runs_cannot_write_one_ledger_at_once(scenario, tmp_path) -> None:
    ledger = tmp_path / "people.db"
    with Ledger.open(ledger), pytest.raises(Exception, match=r"people\.db"):
        simulate(
            scenario("linear_head"),
            tmp_path / "a",
            ledger=ledger,
            carry=nobody_is_asked,
        )


@pytest.fixture(scope="module")
def halfway(scenario, tmp_path_factory):
    """An unseeded run that was stopped after its second round, and its first state."""
    folder = tmp_path_factory.mktemp("halfway")
    early = folder / "early"

    def stop(progress):
        if progress.round is not None and progress.round.number == 1:
            early.mkdir()
            for name in ("people.db", "people.db.head", "people.db-wal"):
                if (folder / name).exists():
                    shutil.copy(folder / name, early / name)
        if progress.round is not None and progress.round.number == 2:
            raise KeyboardInterrupt

    job = unseeded(scenario("linear_head"))
    with pytest.raises(Interrupted):
        simulate(job, folder / "run", ledger=folder / "people.db", tell=stop)
    return folder


@pytest.fixture
def stopped(halfway):
    """The halfway run, put back as it was after the test."""
    kept = halfway.with_name(halfway.name + "-kept")
    shutil.copytree(halfway, kept)
    yield halfway
    shutil.rmtree(halfway)
    kept.rename(halfway)


def test_a_ledger_that_is_put_back_is_refused(stopped) -> None:
    """Round 2 would be released a second time, with other noise."""
    for file in stopped.glob("people.db*"):
        file.unlink()
    for file in (stopped / "early").iterdir():
        shutil.copy(file, stopped / file.name)
    with pytest.raises(IntegrityError, match="was put back"):
        resume(stopped / "run", carry=nobody_is_asked)


def test_a_ledger_that_is_gone_is_refused_and_not_made_anew(stopped) -> None:
    for file in stopped.glob("people.db*"):
        file.unlink()
    with pytest.raises(IntegrityError, match="is not there"):
        resume(stopped / "run", carry=nobody_is_asked)
    assert not list(stopped.glob("people.db*"))


def test_another_ledger_in_its_place_is_refused(stopped, scenario) -> None:
    for file in stopped.glob("people.db*"):
        file.unlink()
    job = scenario("linear_head", "cohort.rounds=1")
    simulate(job, stopped / "other", ledger=stopped / "people.db")
    with pytest.raises(IntegrityError, match="another ledger was put in its place"):
        resume(stopped / "run", carry=nobody_is_asked)


def test_a_ledger_that_was_moved_can_be_named(stopped, scenario) -> None:
    """Which ledger it is follows from its rows and not from its place."""
    (stopped / "new").mkdir()
    for file in list(stopped.glob("people.db*")):
        file.rename(stopped / "new" / file.name)
    with pytest.raises(IntegrityError, match="--ledger"):
        resume(stopped / "run", carry=nobody_is_asked)
    other = stopped / "other.db"
    simulate(scenario("linear_head", "cohort.rounds=1"), stopped / "o", ledger=other)
    with pytest.raises(IntegrityError, match="another ledger was put in its place"):
        resume(stopped / "run", ledger=other, carry=nobody_is_asked)
    moved = stopped / "new" / "people.db"
    assert resume(stopped / "run", ledger=moved).report["rounds"] == 3
    plan = json.loads((stopped / "run" / "plan.json").read_text())
    assert plan["ledger_file"] == str(moved)
    statement = json.loads((stopped / "run" / "statement.json").read_text())
    assert statement["ledger"]["file"] == "people.db"
    assert str(stopped) not in json.dumps(statement)


@pytest.mark.parametrize("name", ["model", "last_sum", "counts", "optimiser.velocity"])
def test_a_checkpoint_that_is_not_what_was_released_is_refused(stopped, name) -> None:
    """With a right hash and seal, as somebody would write it who knows how."""
    path = stopped / "run" / "checkpoints" / "state.bin"
    tensors = load_checkpoint(path)
    assert name in tensors, sorted(tensors)
    changed = tensors[name].copy()
    changed[-1] += 1
    save_checkpoint(path, {**tensors, name: changed})
    with pytest.raises(IntegrityError, match="not the one that the ledger says"):
        resume(stopped / "run", carry=nobody_is_asked)


@pytest.mark.parametrize("first", [True, False])
def test_runs_with_and_without_a_seed_never_share_a_ledger(
    scenario, tmp_path, first
) -> None:
    ledger = tmp_path / "people.db"
    job = scenario("linear_head", "privacy.cap=3", "cohort.rounds=1")
    jobs = [job, unseeded(job)] if first else [unseeded(job), job]
    simulate(jobs[0], tmp_path / "a", ledger=ledger)
    with pytest.raises(InputError, match="name another --ledger"):
        simulate(jobs[1], tmp_path / "b", ledger=ledger, carry=nobody_is_asked)
    assert not (tmp_path / "b").exists()


def test_an_adaptive_cap_gives_back_what_a_closed_run_did_not_use(
    scenario, tmp_path, capsys
) -> None:
    ledger = tmp_path / "people.db"
    words = ("linear_head", "privacy.cap=1.2", "privacy.currency=gaussian")
    job = scenario(*words)

    def stop(progress):
        if progress.round is not None and progress.round.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        simulate(job, tmp_path / "a", ledger=ledger, tell=stop)
    with pytest.raises(BudgetError, match="gaussian = ") as refused:
        simulate(job, tmp_path / "b", ledger=ledger, carry=nobody_is_asked)
    target = re.search(r"target_epsilon = ([\d.]+)", str(refused.value))[1]
    fits = scenario(*words, f"privacy.target_epsilon={target}", "cohort.rounds=1")
    simulate(fits, tmp_path / "b", ledger=ledger)
    with pytest.raises(BudgetError):
        simulate(fits, tmp_path / "c", ledger=ledger, carry=nobody_is_asked)
    close(tmp_path / "a")
    assert "closed after round 1; 1 rounds count" in capsys.readouterr().out
    with pytest.raises(InputError, match="was closed after round 1"):
        resume(tmp_path / "a", carry=nobody_is_asked)
    simulate(fits, tmp_path / "c", ledger=ledger)
    book = load(ledger)
    assert book.spent(Unit.USER, OUT) < book.promised(Unit.USER, OUT) == 1.2
    assert book.delta(Unit.USER) == 1e-5


@pytest.mark.parametrize("name", ["scenario.toml", "plan.json"])
def test_a_stop_before_the_reservation_costs_nothing(
    scenario, tmp_path, monkeypatch, name
) -> None:
    ledger, real = tmp_path / "people.db", RunFolder.write_text

    def full(self, file, text):
        if file == name:
            raise OutputError("disk full")
        real(self, file, text)

    monkeypatch.setattr(RunFolder, "write_text", full)
    with pytest.raises(OutputError, match="disk full"):
        simulate(scenario("linear_head"), tmp_path / "a", ledger=ledger)
    assert load(ledger).claimed(Unit.USER, OUT) == 0


def test_a_crash_before_the_reservation_is_made_up_for(
    scenario, tmp_path, monkeypatch
) -> None:
    from fedpref.simulation import run as runs

    def crash(*args):
        raise PowerCut

    monkeypatch.setattr(runs, "reserve", crash)
    with pytest.raises(PowerCut):
        simulate(scenario("linear_head"), tmp_path / "a")
    monkeypatch.undo()
    assert resume(tmp_path / "a").report["rounds"] == 3
    (account,) = load(tmp_path / "a" / "ledger.db").of(Unit.USER)
    assert account.released == 3


def test_a_refused_first_run_fixes_no_cap(scenario, tmp_path) -> None:
    ledger = tmp_path / "people.db"
    with pytest.raises(BudgetError):
        simulate(
            scenario("linear_head", "privacy.cap=0.5"), tmp_path / "a", ledger=ledger
        )
    job = scenario("linear_head", "privacy.cap=2", "cohort.rounds=1")
    assert simulate(job, tmp_path / "a", ledger=ledger).report["rounds"] == 1


def test_the_ledger_is_free_while_a_finished_run_is_evaluated(
    scenario, tmp_path, monkeypatch
) -> None:
    from fedpref.simulation import run as runs

    ledger, real, looked = tmp_path / "people.db", runs.compare, []

    def compare(*args, **named):
        with Ledger.open(ledger) as other:
            looked.append(other.book.seq)
        return real(*args, **named)

    monkeypatch.setattr(runs, "compare", compare)
    simulate(scenario("linear_head", "cohort.rounds=1"), tmp_path / "a", ledger=ledger)
    assert looked == [4]


def test_a_run_that_gave_every_round_up_says_so(scenario, tmp_path) -> None:
    def lossy(endpoints, drive):
        few = {number: endpoints[number] for number in list(endpoints)[:100]}
        in_process.carry(few, drive)

    with pytest.raises(TooFewSurvivors):
        simulate(
            scenario("linear_head", "cohort.rounds=1"), tmp_path / "a", carry=lossy
        )
    with pytest.raises(TooFewSurvivors, match="there is no model"):
        resume(tmp_path / "a")


def test_a_ledger_stays_readable_when_an_accountant_prices_higher(
    scenario, tmp_path, monkeypatch
) -> None:
    run = simulate(scenario("linear_head", "cohort.rounds=1"), tmp_path / "a").folder
    from fedpref.core import rows
    from fedpref.core.accounting import Spent

    real = rows.epsilon_of

    def dearer(counts, delta, **kwargs):
        spent = real(counts, delta, **kwargs)
        return Spent(spent.epsilon * 1.001, spent.accountant)

    monkeypatch.setattr(rows, "epsilon_of", dearer)
    book = load(run / "ledger.db")
    assert book.left(Unit.USER, OUT) < 0
