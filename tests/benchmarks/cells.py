"""One cell of a study: a seeded training, and who of the held-out people it gets right.

All devices of a round are computed at once, with the clip, grid and noise of the sealed
plan and the product's own rounds; noise is added in one place (``central``).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedpref.core.clip import clip_units
from fedpref.core.entropy import Entropy, SeededEntropy
from fedpref.core.grid import sum_on_grid
from fedpref.core.noise import add_gaussian
from fedpref.core.types import Float, Noise, Unit
from fedpref.data import partition
from fedpref.evaluate.metrics import Evaluation, evaluate
from fedpref.models.gradients import Given, SharedJacobian, unit_gradients
from fedpref.rounds.server import Gather, Noisy, run_round, start
from fedpref.sections import ServerSection
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import Setup, calibrate

TUNED_ON = ("split-5", "split-4")
TUNING_SEED = 99


def central(rounds: int, folder: str | None) -> list[str]:
    """Settings of every cell: noise in one place, nothing to compare with."""
    given = [
        "privacy.noise=central",
        "privacy.against=outsider",
        "privacy.target_epsilon=1",
        "evaluate.baselines=[]",
        "data.split=split-1",
        f"cohort.rounds={rounds}",
    ]
    return given if folder is None else [*given, f"data.from={folder}"]


def at(setup: Setup, epsilon: float | None, **server: Any) -> Setup:
    """The same people and model under another total epsilon and another optimiser."""
    noise = Noise.NONE if epsilon is None else Noise.CENTRAL
    changed = {"target_epsilon": epsilon, "noise": noise}
    privacy = setup.scenario.privacy.model_copy(update=changed)
    update = {"privacy": privacy, "server": ServerSection(**server)}
    scenario = setup.scenario.model_copy(update=update)
    plan = calibrate(scenario, setup.model, setup.objective, len(setup.split.train))
    return replace(setup, scenario=scenario, plan=plan)


def inner(setup: Setup, salt: str) -> Setup:
    """The training people alone, split once more: held-out people choose nothing."""
    own = (record for records in setup.split.train.values() for record in records)
    return replace(setup, split=partition.split(own, salt))


def everybody(setup: Setup, entropy: Entropy) -> Gather:
    """All devices of a round at once: row i is the gradient of person i alone."""
    model, plan = setup.model, setup.plan
    records = [record for own in setup.split.train.values() for record in own]
    shared = SharedJacobian(model, setup.dataset.catalogue)
    scale = setup.objective.hyper.get("statistic_scale", 1.0)

    def gather(number: int, sent: Float) -> Noisy:
        vector, statistic = np.split(sent, [model.layout.size])
        model.set(vector)
        given = Given(previous=statistic / scale if statistic.size else None)
        rows = unit_gradients(
            model,
            setup.objective,
            records,
            unit=Unit.USER,
            jacobian=shared,
            given=given,
        )
        stage = plan.stage(number)
        bounded = sum_on_grid(clip_units(rows, stage.clip), stage.grid)
        if stage.multiplier is None:
            return Noisy(bounded.total, len(rows))
        key = entropy.key(f"noise/{plan.digest.hex()}/{number}")
        return Noisy(add_gaussian(bounded, stage.multiplier, key=key), len(rows))

    return gather


def released(setup: Setup, seed: int) -> Float:
    """The vector that a training with the noise of a seed releases."""
    section = setup.scenario.server
    optimiser, gather = section.build(), everybody(setup, SeededEntropy(seed))
    initial = setup.model.initial()
    extra = setup.plan.spec.coordinates - initial.size
    state = start(initial, optimiser, statistics=extra)
    for number in range(1, setup.plan.spec.rounds + 1):
        state = run_round(
            number,
            state,
            plan=setup.plan,
            optimiser=optimiser,
            average_last=section.average_last,
            gather=gather,
            journal=NoJournal(),
        )
    return state.released


def measure(setup: Setup, seed: int) -> Evaluation:
    """The released model on the held-out people."""
    setup.model.set(released(setup, seed))
    return evaluate(setup.model.scores, setup.split.heldout)


def over_seeds(one: Evaluation, wins: Sequence[Sequence[float]]) -> Evaluation:
    """Each person's right pairs, averaged over seeds."""
    return replace(one, wins=np.mean(wins, axis=0))


@dataclass(frozen=True)
class Kept:
    """Finished cells in a file: a study can be stopped and go on."""

    path: Path

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """What is kept under ``key``; made, said and written down if it is missing."""
        found = json.loads(self.path.read_text()) if self.path.exists() else {}
        if key not in found:
            found[key] = make()
            self.path.write_text(json.dumps(found))
            print(f"{key}: {_short(found[key])}", flush=True)
        return found[key]


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{len(value)} numbers"


def chosen(
    kept: Kept,
    name: str,
    grid: Mapping[str, Callable[[str], Setup]],
    splits: Sequence[str] = TUNED_ON,
) -> str:
    """The setting that predicts best, on average over splits of the training people.

    Args:
        kept: Where accuracies are kept.
        name: Of what is chosen for; part of every key.
        grid: By setting, the setup on a given split.
        splits: Of the training people.
    """

    def mean(setting: str) -> float:
        found = [
            kept.get(
                f"grid / {name} / {setting} / {salt}",
                lambda salt=salt: measure(grid[setting](salt), TUNING_SEED).accuracy,
            )
            for salt in splits
        ]
        return float(np.mean(found))

    return max(grid, key=mean)
