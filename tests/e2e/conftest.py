from collections.abc import Callable
from pathlib import Path

import pytest

from fedpref import config
from fedpref.config import Scenario

FAST = ["cohort.rounds=3", "evaluate.baselines=[]", "run.seed=7"]


@pytest.fixture(scope="session")
def scenario(main_job, root) -> Callable[..., Scenario]:
    """A shipped scenario, shortened and seeded; further overrides come last."""

    def make(name: str, *overrides: str, fast: bool = True) -> Scenario:
        path = root / "simulations" / f"{name}.toml"
        return config.read(path, [*(FAST if fast else []), *overrides])

    return make


@pytest.fixture
def model_bytes() -> Callable[[Path], dict[str, bytes]]:
    """Everything that makes up the trained model of a run."""

    def read(run: Path) -> dict[str, bytes]:
        files = [run / "head.safetensors", *sorted((run / "adapter").glob("*"))]
        return {str(file.relative_to(run)): file.read_bytes() for file in files}

    return read
