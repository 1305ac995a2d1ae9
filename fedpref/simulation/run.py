"""From a scenario to a run folder, and on from where one stopped."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from fedpref import config, report
from fedpref.config import Scenario
from fedpref.core.entropy import Entropy, OsEntropy, SeededEntropy
from fedpref.core.types import Float
from fedpref.errors import InputError, Interrupted
from fedpref.models import saved
from fedpref.rounds.server import ServerState
from fedpref.simulation.comparison import compare, heldout_accuracy
from fedpref.simulation.folder import RunFolder, environment_json, plan_json
from fedpref.simulation.setup import Setup, prepare
from fedpref.simulation.training import Round, Trained, describe, train
from fedpref.transport import in_process
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


def simulate(
    scenario: str | Path | Scenario,
    out: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    carry: Carry = in_process.carry,
    tell: Tell = lambda progress: None,
) -> Result:
    """Run ``scenario`` with every client on this machine.

    Args:
        scenario: A TOML file, or a scenario that was read already.
        out: New folder of the run; ``runs/<name>`` (or the next free name) by default.
        overrides: ``section.key=value``, as for ``fedpref simulate --set``.
        carry: The road that messages take.
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
    try:
        tell(Progress("set-up", "data, model and privacy plan"))
        setup = prepare(scenario)
        folder.write_text(_SCENARIO, scenario.to_toml())
        seal = folder.seal(_sealed(setup, token_hex(16)))
    except KeyboardInterrupt:
        raise Interrupted("stopped before the first round; nothing to resume") from None
    finally:
        folder.discard_if_unused()
    return _go_on(folder, setup, seal, carry, tell, began)


def resume(
    run: str | Path,
    *,
    carry: Carry = in_process.carry,
    tell: Tell = lambda progress: None,
) -> Result:
    """Finish the run in folder ``run`` from its last checkpoint.

    A seeded run ends with the same bytes as if it had not been stopped, provided that
    the data have not changed; a finished one is returned as it is.

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
    seal = folder.check_seal(_sealed(setup, folder.run_id))
    return _go_on(folder, setup, seal, carry, tell, began)


def _go_on(
    folder: RunFolder,
    setup: Setup,
    seal: bytes,
    carry: Carry,
    tell: Tell,
    began: float,
) -> Result:
    entropy = _entropy(setup.scenario)
    ready = time.perf_counter()
    try:
        trained = _train(folder, setup, seal, carry, tell)
        finished = time.perf_counter()
        evaluation = compare(
            setup,
            trained.state.released,
            entropy=entropy,
            tell=lambda name: tell(Progress("evaluation", name)),
        )
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; what was finished is kept, go on with: "
            f"fedpref simulate --resume {folder.path}"
        ) from None
    _save_model(folder, setup, trained.state.released)
    folder.write_json("evaluation.json", evaluation)
    timing = {
        "setup_s": ready - began,
        "train_s": finished - ready,
        "total_s": time.perf_counter() - began,
    }
    created = datetime.now(UTC).isoformat(timespec="seconds")
    command = shlex.join(["fedpref", *sys.argv[1:]])
    folder.write_json("environment.json", environment_json(command, created, timing))
    report.write(folder.path)
    return _finished(folder.path, trained.failures)


def _finished(path: Path, failures: int) -> Result:
    return Result(path, json.loads((path / "report.json").read_text()), failures)


def _sealed(setup: Setup, run_id: str) -> dict[str, Any]:
    scenario = setup.scenario
    return plan_json(setup.plan, _entropy(scenario), scenario.to_toml(), run_id)


def _save_model(folder: RunFolder, setup: Setup, model: Float) -> None:
    description = {"scenario": setup.scenario.run.name, "plan": setup.plan.digest.hex()}
    saved.save(setup.model, model, folder.path, description)


def _train(
    folder: RunFolder,
    setup: Setup,
    seal: bytes,
    carry: Carry,
    tell: Tell,
) -> Trained:
    state = folder.load_state(seal)
    rows = folder.read_lines("metrics.jsonl", state.round if state else 0)
    if state and len(rows) < state.round:  # stopped between the state and its row
        last = describe(state, setup, seconds=0.0)
        rows.append(_metrics(last, heldout_accuracy(setup, state.released)))
    every = setup.scenario.evaluate.every

    def on_round(done: Round, reached: ServerState) -> None:
        look = every > 0 and (done.number % every == 0 or done.number == done.planned)
        accuracy = heldout_accuracy(setup, reached.released) if look else None
        rows.append(_metrics(done, accuracy))
        folder.write_lines("metrics.jsonl", rows)
        tell(Progress("round", f"{done.number}/{done.planned}", done, accuracy))

    return train(
        setup,
        entropy=_entropy(setup.scenario),
        carry=carry,
        state=state,
        save=lambda reached: folder.save_state(reached, seal),
        on_round=on_round,
    )


def _metrics(done: Round, accuracy: float | None) -> dict[str, Any]:
    return {
        "round": done.number,
        "epsilon": {str(who): value for who, value in done.epsilon.items()},
        "seconds": round(done.seconds, 4),
        "survivors": done.survivors,
        "heldout_accuracy": accuracy,
    }


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
