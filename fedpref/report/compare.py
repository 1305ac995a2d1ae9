"""Several runs side by side.

Guarantees: the numbers of each run as its own folder has them. Does not convert: an
epsilon per person and one per record stand in the same table and mean different things,
so the unit is a column. Does not test: runs over other held-out people differ by that
alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedpref.report import training
from fedpref.report.run import Run, read
from fedpref.report.words import number


@dataclass(frozen=True)
class Row:
    """One run. Fractions lie in ``[0, 1]``; epsilons may be infinite."""

    name: str
    unit: str
    noise: str
    objective: str
    adapter: str
    optimiser: str
    local_steps: str
    epsilon_outsider: float
    epsilon_server: float
    delta: float
    rounds: int
    accuracy: float
    ci95: tuple[float, float]
    choice_accuracy: float
    log_loss: float
    ece: float
    heldout: int
    seeded: bool
    accuracy_at_4: float | None = None  # after 4 own answers, of other answers
    ci95_at_4: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; an infinite epsilon is the string "inf"."""
        return asdict(self) | {
            "epsilon_outsider": number(self.epsilon_outsider),
            "epsilon_server": number(self.epsilon_server),
            "ci95": list(self.ci95),
            "ci95_at_4": None if self.ci95_at_4 is None else list(self.ci95_at_4),
        }


def compare(runs: Sequence[Path]) -> tuple[Row, ...]:
    """A row a run folder, in the order given.

    Raises:
        InputError: a folder is not a finished run.
    """
    return tuple(_row(read(path)) for path in runs)


def _row(run: Run) -> Row:
    heldout, curve = run.results.heldout, run.results.personal
    at_4 = curve.models[curve.best].get("4") if curve else None
    return Row(
        name=run.path.resolve().name,
        unit=run.plan.unit.value,
        noise=run.plan.noise.value,
        objective=training.objective(run),
        adapter=training.adapter(run),
        optimiser=training.optimiser(run),
        local_steps=training.local_steps(run),
        epsilon_outsider=run.plan.epsilon.outsider,
        epsilon_server=run.plan.epsilon.server,
        delta=run.plan.delta,
        rounds=len(run.rounds),
        accuracy=heldout.accuracy,
        ci95=heldout.ci95,
        choice_accuracy=heldout.choice_accuracy,
        log_loss=heldout.log_loss,
        ece=heldout.ece,
        heldout=run.results.clients.heldout,
        seeded=run.plan.seeded,
        accuracy_at_4=at_4.accuracy if at_4 else None,
        ci95_at_4=at_4.ci95 if at_4 else None,
    )
