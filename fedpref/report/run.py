"""A finished run folder, read and checked.

Guarantees: whatever is missing, malformed or contradictory is an ``InputError`` that
names the file and the next step, before anything is written. Does not recompute an
epsilon: it states what the sealed plan of the run says.
"""

import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fedpref.core.types import Noise
from fedpref.errors import InputError
from fedpref.report.releases import stages
from fedpref.report.schema import Environment, Plan, Results, Round
from fedpref.stages import Purpose

CHANGED = "; the file was changed or is of another version: run the scenario again"

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Run:
    """Everything that a report is made of.

    ``releases`` is every line of ``metrics.jsonl``; ``rounds`` those that trained.
    """

    path: Path
    scenario: dict[str, Any]
    scenario_text: str
    plan: Plan
    releases: tuple[Round, ...]
    results: Results
    environment: Environment

    @property
    def rounds(self) -> tuple[Round, ...]:
        """The rounds of training."""
        return tuple(r for r in self.releases if r.purpose is Purpose.TRAINING)

    @property
    def name(self) -> str:
        """The scenario's name, or else the folder's."""
        return str(self.scenario.get("run", {}).get("name") or self.path.resolve().name)

    def setting(self, section: str, key: str, default: Any = None) -> Any:
        """A value of the resolved scenario."""
        return self.scenario.get(section, {}).get(key, default)


def read(run: Path) -> Run:
    """Read the run folder ``run``.

    Raises:
        InputError: a file is missing, malformed or contradicts another one.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder; give the folder of a run")
    text = _text(run, "scenario.toml")
    plan = _model(run, "plan.json", Plan)
    releases = _parse(run, "metrics.jsonl", _releases)
    _require_honest(run, plan)
    _require_planned(run, plan, releases)
    return Run(
        path=run,
        scenario=_parse(run, "scenario.toml", tomllib.loads),
        scenario_text=text,
        plan=plan,
        releases=releases,
        results=_model(run, "evaluation.json", Results),
        environment=_model(run, "environment.json", Environment),
    )


def _releases(text: str) -> tuple[Round, ...]:
    lines = [line for line in text.splitlines() if line.strip()]
    releases = tuple(Round.model_validate_json(line) for line in lines)
    numbers = [entry.round for entry in releases]
    if not any(entry.purpose is Purpose.TRAINING for entry in releases):
        raise ValueError("no round is recorded")
    if numbers != sorted(set(numbers)):  # a round that was given up leaves a gap
        raise ValueError(f"rounds = {numbers[:5]}..., must count up")
    return releases


def _require_honest(run: Path, plan: Plan) -> None:
    """Refuse a plan whose numbers contradict what its noise can promise."""
    where, then = f"{run / 'plan.json'}: ", CHANGED
    if not plan.sealed:
        raise InputError(f"{where}sealed = false: only a sealed plan is a claim{then}")
    central = plan.noise in (Noise.CENTRAL, Noise.NONE)
    if central and not math.isinf(plan.epsilon.server):
        raise InputError(
            f"{where}epsilon.server = {plan.epsilon.server} with noise = "
            f"'{plan.noise}', must be 'inf': the server sees every update{then}"
        )
    if central and plan.masked:
        raise InputError(
            f"{where}masked = true with noise = '{plan.noise}', must be false: only "
            f"noise from the devices is summed under masks{then}"
        )
    if plan.noise is Noise.NONE and not math.isinf(plan.epsilon.outsider):
        raise InputError(
            f"{where}epsilon.outsider = {plan.epsilon.outsider} with noise = 'none', "
            f"must be 'inf'{then}"
        )


def _require_planned(run: Path, plan: Plan, releases: tuple[Round, ...]) -> None:
    """Refuse a release that the sealed plan does not have, and has no price for."""
    where, then = f"{run / 'metrics.jsonl'}: ", CHANGED
    trained = [entry for entry in releases if entry.purpose is Purpose.TRAINING]
    if len(trained) > plan.rounds:
        raise InputError(
            f"{where}{len(trained)} rounds, the sealed plan allows {plan.rounds}{then}"
        )
    for entry in releases:
        if not any(
            stage.purpose is entry.purpose
            and stage.first <= entry.round < stage.first + stage.rounds
            for stage in stages(plan)
        ):
            raise InputError(
                f"{where}round = {entry.round} with purpose = '{entry.purpose}', the "
                f"sealed plan has no such release{then}"
            )


def _model(run: Path, name: str, model: type[M]) -> M:
    return _parse(run, name, model.model_validate_json)


def _parse(run: Path, name: str, parse: Callable[[str], T]) -> T:
    text = _text(run, name)
    try:
        return parse(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        more = error.error_count() - 1
        reason = f"{key}: {first['msg']}" + f" (and {more} more)" * bool(more)
    except ValueError as error:
        reason = str(error)
    except RecursionError:
        reason = "nested too deeply"
    raise InputError(
        f"{run / name}: {reason}; the file is damaged or of another version: "
        "run the scenario again into a new folder"
    )


def _text(run: Path, name: str) -> str:
    try:
        return (run / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{run / name}: missing; a run that did not finish is continued with "
            f"`fedpref simulate --resume {run}`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(
            f"{run / name}: {reason}; make the file readable and try again"
        ) from None
