import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedpref import config
from fedpref.config import Scenario
from fedpref.data.partition import is_heldout

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


def _people(train: int, heldout: int) -> list[str]:
    """Names of so many people on each side of the split."""
    names = [f"person {number}" for number in range(200)]
    out = [name for name in names if is_heldout(name)]
    return [name for name in names if not is_heldout(name)][:train] + out[:heldout]


@pytest.fixture(scope="session")
def few(main_job, root, tmp_path_factory) -> Callable[..., Scenario]:
    """Eight people and two held out, three seeded rounds with noise from devices."""
    folder = tmp_path_factory.mktemp("few")
    texts = ("Short and plain.", "A long answer that says everything twice, at length.")
    rows = [
        {
            "user": name,
            "prompt": f"Question {number}?",
            "chosen": texts[(place + number) % 5 == 0],
            "rejected": texts[(place + number) % 5 != 0],
        }
        for place, name in enumerate(_people(8, 2))
        for number in range(2)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "few.jsonl").write_text(lines)
    usual = [
        f"data.source={folder / 'few.jsonl'}",
        "privacy.noise=distributed",
        "privacy.against=server",
        "cohort.rounds=3",
        "cohort.min_survivors=0.75",
        "privacy.colluders=0.1",
        "evaluate.baselines=[]",
        "evaluate.every=0",
        "run.seed=7",
        "run.name=few",
        "data.catalogue=public",
        "model.features=3",
    ]

    def make(*overrides: str) -> Scenario:
        path = root / "simulations" / "own_data.toml"
        return config.read(path, [*usual, *overrides])

    return make
