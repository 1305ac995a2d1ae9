"""From a scenario to a run folder, and on from where one stopped."""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from fedpref import config
from fedpref.config import Scenario
from fedpref.core.entropy import Entropy, OsEntropy, SeededEntropy
from fedpref.core.rows import Cap
from fedpref.errors import (
    BudgetError,
    InputError,
    IntegrityError,
    Interrupted,
    TooFewSurvivors,
)
from fedpref.faults import guarded
from fedpref.models import saved
from fedpref.report.write import write as write_report
from fedpref.rounds.evaluation import read
from fedpref.rounds.server import ServerState
from fedpref.sections import PersonalSection
from fedpref.simulation import own_budgets
from fedpref.simulation.budget import (
    OWN,
    check,
    in_words,
    ledger_path,
    reserve,
    reserve_again,
    wanted_cap,
)
from fedpref.simulation.comparison import compare, heldout_accuracy
from fedpref.simulation.folder import RunFolder, environment_json, plan_json
from fedpref.simulation.home import save_prior
from fedpref.simulation.journal import RunJournal
from fedpref.simulation.personal import curve, prior_of
from fedpref.simulation.setup import Setup, prepare
from fedpref.simulation.training import Round, Trained, describe, train
from fedpref.stages import Purpose
from fedpref.store.ledger import Ledger
from fedpref.transport import in_process, workers
from fedpref.transport.in_process import Carry

_SCENARIO = "scenario.toml"


@dataclass(frozen=True)
class Progress:
    """Something to show while waiting; public values only.

    ``stage`` is "set-up", "round" or "evaluation"; ``round`` and ``accuracy`` (held-out
    pairs, simulation only) come with rounds.
    """

    stage: str
    detail: str
    round: Round | None = None
    accuracy: float | None = None


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Result:
    """A finished run: its folder and what ``report.json`` says."""

    folder: Path
    report: Mapping[str, Any]
    failures: int


@guarded
def simulate(
    scenario: str | Path | Scenario,
    out: str | Path | None = None,
    *,
    ledger: str | Path | None = None,
    overrides: Sequence[str] = (),
    carry: Carry | None = None,
    tell: Tell = lambda progress: None,
) -> Result:
    """Run ``scenario`` with every client on this machine.

    Args:
        scenario: A TOML file, or a scenario that was read already.
        out: New folder of the run; ``runs/<name>`` (or the next free name) by default.
        ledger: The ledger of all runs on the same people, made if it is missing; by
            default a fresh one in the run folder, which knows of no other run.
        overrides: ``section.key=value``, as for ``fedpref simulate --set``.
        carry: The road that messages take; by default this process, or under secure
            aggregation one worker process a core.
        tell: Called with progress.

    Returns:
        The run folder and the content of its ``report.json``.

    Raises:
        FedprefError: See ``fedpref.errors``. ``Interrupted`` means: can be resumed.
    """
    began = time.perf_counter()
    if not isinstance(scenario, Scenario):
        scenario = config.read(Path(scenario), overrides)
    folder = RunFolder.create(_free(scenario.run.name) if out is None else Path(out))
    stored = OWN if ledger is None else str(Path(ledger).resolve())
    try:
        tell(Progress("set-up", "data, model and privacy plan"))
        setup = prepare(scenario)
        with Ledger.open(ledger_path(folder.path, stored)) as opened:
            run_id = token_hex(16)
            cap = _check(setup, run_id, opened, folder)
            folder.write_text(_SCENARIO, scenario.to_toml())
            sealed = _sealed(setup, run_id, cap, own=stored == OWN)
            seal = folder.seal(sealed, stored)
            reserve(setup, run_id, opened, cap)
            journal = RunJournal(folder, opened, run_id, seal, scenario.masked)
            return _go_on(journal, setup, carry, tell, began)
    except KeyboardInterrupt:
        raise Interrupted("stopped before the first round; nothing was asked") from None
    finally:
        folder.discard_if_unused()


def _check(setup: Setup, run_id: str, ledger: Ledger, folder: RunFolder) -> Cap:
    try:
        return check(setup, run_id, ledger.book)
    except (BudgetError, InputError):
        folder.remove()  # holds at most a ledger in which nothing was reserved
        raise


@guarded
def resume(
    run: str | Path,
    *,
    ledger: str | Path | None = None,
    carry: Carry | None = None,
    tell: Tell = lambda progress: None,
) -> Result:
    """Finish the run in folder ``run`` from its last checkpoint.

    A seeded run ends with the same bytes as if it had not been stopped, provided that
    the data have not changed; a finished one is returned as it is.

    Args:
        run: The run folder.
        ledger: Where its ledger lies now, if it was moved.
        carry: The road that messages take; by default this process, or under secure
            aggregation one worker process a core.
        tell: Called with progress.

    Raises:
        InputError: There is no run in the folder.
        IntegrityError: Its checkpoint is damaged, or what was sealed has changed.
    """
    began = time.perf_counter()
    path = Path(run)
    if not (path / _SCENARIO).is_file():
        raise InputError(f"--resume {path}: no {_SCENARIO} in it; not a run folder")
    if (path / "report.json").is_file():
        return _finished(path, failures=0)
    scenario = config.read(path / _SCENARIO)
    folder = RunFolder(path)
    tell(Progress("set-up", "data, model and privacy plan"))
    setup = prepare(scenario)
    run_id, stored = folder.identity()
    moved = None if ledger is None else Path(ledger).resolve()
    lies = ledger_path(path, stored, moved)
    if not lies.is_file():
        raise IntegrityError(
            f"--resume {path}: its ledger {lies} is not there; if it was moved, name "
            "its new place with --ledger"
        )
    with Ledger.open(lies) as opened:
        cap = wanted_cap(setup, opened.book)
        seal = folder.check_seal(_sealed(setup, run_id, cap, own=stored == OWN))
        reserve_again(setup, run_id, opened, begun=folder.has_begun)
        if moved is not None and stored != OWN:
            folder.move_ledger(str(moved))
        journal = RunJournal(folder, opened, run_id, seal, scenario.masked)
        return _go_on(journal, setup, carry, tell, began)


def _go_on(
    journal: RunJournal, setup: Setup, carry: Carry | None, tell: Tell, began: float
) -> Result:
    folder = journal.folder
    road = _road(setup.scenario) if carry is None else carry
    try:
        return _finish(journal, setup, road, tell, began)
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; what was finished is kept, go on with: "
            f"fedpref simulate --resume {folder.path}"
        ) from None


def _road(scenario: Scenario) -> Carry:
    """Secure aggregation is worth a process a core; plain sums are not."""
    if not scenario.masked:
        return in_process.carry
    return workers.forked(os.cpu_count() or 1, _one_thread)


def _one_thread() -> None:
    """A forked process cannot use the threads that its parent has started."""
    import torch

    torch.set_num_threads(1)


def _finish(
    journal: RunJournal, setup: Setup, carry: Carry, tell: Tell, began: float
) -> Result:
    folder = journal.folder
    ready = time.perf_counter()
    trained = _train(journal, setup, carry, tell)
    finished = time.perf_counter()
    journal.ledger.close()  # no further row: another run may write meanwhile
    if not trained.state.round:
        raise TooFewSurvivors(
            f"{folder.path}: every planned round was given up, so there is no model; "
            "start a new run with more devices"
        )
    evaluation = compare(
        setup,
        trained.state.released,
        entropy=_entropy(setup.scenario),
        tell=lambda name: tell(Progress("evaluation", name)),
    )
    description = {"scenario": setup.scenario.run.name, "plan": setup.plan.digest.hex()}
    saved.save(setup.model, trained.state.released, folder.path, description)
    if setup.limits:
        entry = own_budgets.verified(setup.plan, setup.limits, trained.sent)
        evaluation |= {"own_budgets": entry}
        evaluation["notes"] = [*evaluation["notes"], own_budgets.note(entry)]
    if setup.plan.spec.evaluation:
        evaluation |= _federated(setup, trained.state, evaluation["notes"])
    if setup.scenario.personal is not None:
        tell(Progress("evaluation", "own answers"))
        evaluation |= _personal(
            setup, trained.state, setup.scenario.personal, folder, evaluation["notes"]
        )
    notes = [*evaluation["notes"], *(f"nothing released: {w}" for w in trained.lost)]
    folder.write_json("evaluation.json", {**evaluation, "notes": notes})
    timing = {
        "setup_s": ready - began,
        "train_s": finished - ready,
        "total_s": time.perf_counter() - began,
    }
    created = datetime.now(UTC).isoformat(timespec="seconds")
    command = shlex.join(["fedpref", *sys.argv[1:]])
    folder.write_json("environment.json", environment_json(command, created, timing))
    write_report(folder.path)
    return _finished(folder.path, trained.failures)


def _federated(
    setup: Setup, state: ServerState, notes: Sequence[str]
) -> dict[str, Any]:
    """What federated evaluation adds to ``evaluation.json``."""
    if not state.evaluation.size:
        given_up = "federated evaluation: nothing is released"
        return {"federated": None, "notes": [*notes, given_up]}
    estimate = read(state.evaluation, state.survivors, setup.plan)
    return {"federated": estimate.to_json()}


def _personal(
    setup: Setup,
    state: ServerState,
    section: PersonalSection,
    folder: RunFolder,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Writes the prior; what own answers add to ``evaluation.json``."""
    prior = prior_of(setup, state, section)
    save_prior(folder.path, prior.covariance, released=prior.released)
    try:
        entry, more = curve(setup, state, section, prior)
    except InputError as error:
        return {"personal": None, "notes": [*notes, f"own answers: {error}"]}
    return {"personal": entry, "notes": [*notes, *more]}


def _finished(path: Path, failures: int) -> Result:
    return Result(path, json.loads((path / "report.json").read_text()), failures)


def _sealed(setup: Setup, run_id: str, cap: Cap, *, own: bool) -> dict[str, Any]:
    """``plan.json`` of a run that is reserved under ``cap``."""
    scenario = setup.scenario
    return plan_json(
        setup.plan,
        _entropy(scenario),
        scenario.to_toml(),
        run_id,
        in_words(cap, own=own),
        masked=scenario.masked,
    )


def _train(journal: RunJournal, setup: Setup, carry: Carry, tell: Tell) -> Trained:
    folder, state = journal.folder, journal.recover()
    reached = 0 if state is None else state.round
    rows = [r for r in folder.read_lines("metrics.jsonl") if r["round"] <= reached]
    if state and (not rows or rows[-1]["round"] < reached):
        last = describe(state, setup, seconds=0.0)  # stopped before its row was written
        rows.append(_row(last, state, setup, look=True))
        folder.write_lines("metrics.jsonl", rows)
    every = setup.scenario.evaluate.every

    def on_round(done: Round, reached: ServerState) -> None:
        look = every > 0 and (done.number % every == 0 or done.number == done.planned)
        rows.append(_row(done, reached, setup, look=look))
        folder.write_lines("metrics.jsonl", rows)
        if setup.plan.stage(done.number).purpose is Purpose.TRAINING:
            accuracy = rows[-1]["heldout_accuracy"]
            tell(Progress("round", f"{done.number}/{done.planned}", done, accuracy))

    return train(
        setup,
        entropy=_entropy(setup.scenario),
        carry=carry,
        journal=journal,
        state=state,
        whole=True,
        on_round=on_round,
    )


def _row(
    done: Round, state: ServerState, setup: Setup, *, look: bool
) -> dict[str, Any]:
    """The line of one release in ``metrics.jsonl``."""
    purpose = setup.plan.stage(done.number).purpose
    row: dict[str, Any] = {
        "round": done.number,
        "epsilon": {str(who): value for who, value in done.epsilon.items()},
        "seconds": round(done.seconds, 4),
        "survivors": done.survivors,
        "purpose": purpose,
        "heldout_accuracy": None,
    }
    if purpose is Purpose.EVALUATION:
        estimate = read(state.evaluation, state.survivors, setup.plan)
        row["federated_accuracy"] = estimate.pairs.value
    elif purpose is Purpose.TRAINING and look:
        row["heldout_accuracy"] = heldout_accuracy(setup, state.released)
    return row


def _entropy(scenario: Scenario) -> Entropy:
    seed = scenario.run.seed
    return OsEntropy() if seed is None else SeededEntropy(seed)


def _free(name: str) -> Path:
    """``runs/name``, or the first of ``runs/name-2``, ... that does not exist."""
    path, number = Path("runs") / name, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{name}-{number}"
    return path
