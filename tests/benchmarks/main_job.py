"""python tests/benchmarks/main_job.py [--seeds 5] [--json FILE] [--markdown FILE]

Held-out accuracy of the main job by epsilon: linear head, and adapter + head.
Every run is seeded, so the table can be made again to the last digit on one machine;
the model after the last round is the one that is measured.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fedpref import config
from fedpref.adapter_sections import LoraSection
from fedpref.core.entropy import SeededEntropy
from fedpref.evaluate.metrics import Evaluation, evaluate
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import Setup, calibrate, prepare, with_adapter
from fedpref.simulation.training import train
from fedpref.transport import in_process

ROOT = Path(__file__).parents[2]
EPSILONS = (0.25, 0.5, 1.0, 2.0, 8.0, None)


def measure(setup: Setup, epsilon: float | None, seed: int) -> Evaluation:
    """One training and its held-out evaluation."""
    done = train(
        at(setup, epsilon),
        entropy=SeededEntropy(seed),
        carry=in_process.carry,
        journal=NoJournal(),
    )
    setup.model.set(done.state.released)
    return evaluate(setup.model.scores, setup.split.heldout)


def at(setup: Setup, epsilon: float | None) -> Setup:
    """The same run with another target."""
    noise = "none" if epsilon is None else "central"
    changed = {
        "target_epsilon": epsilon,
        "noise": setup.plan.spec.noise.__class__(noise),
    }
    privacy = setup.scenario.privacy.model_copy(update=changed)
    scenario = setup.scenario.model_copy(update={"privacy": privacy})
    plan = calibrate(scenario, setup.model, setup.objective, len(setup.split.train))
    return replace(setup, scenario=scenario, plan=plan)


def rows(seeds: int) -> Iterator[dict[str, object]]:
    """One row a model and epsilon."""
    head = prepare(config.read(ROOT / "simulations" / "linear_head.toml"))
    models = {"head": head, "LoRA + head": with_adapter(head, LoraSection())}
    for name, setup in models.items():
        for epsilon in EPSILONS:
            begun = time.perf_counter()
            runs = [measure(setup, epsilon, s) for s in range(1, seeds + 1)]
            pairs = [run.accuracy for run in runs]
            yield {
                "model": name,
                "epsilon": "inf" if epsilon is None else epsilon,
                "accuracy": statistics.mean(pairs),
                "sd": statistics.stdev(pairs),
                "least": min(pairs),
                "choice_accuracy": statistics.mean(r.choice_accuracy for r in runs),
                "log_loss": statistics.mean(r.log_loss for r in runs),
                "ci95_people": [
                    statistics.mean(run.ci95[end] for run in runs) for end in (0, 1)
                ],
                "seconds_a_run": (time.perf_counter() - begun) / seeds,
            }


def markdown(table: list[dict[str, object]], seeds: int) -> str:
    """The table as docs/results/main_job.md shows it."""
    lines = [
        "| model | epsilon | pairs | sd over seeds | least | 95 % over people | "
        "choices | log-loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        low, high = row["ci95_people"]
        lines.append(
            f"| {row['model']} | {row['epsilon']} | {row['accuracy']:.1%} | "
            f"{100 * row['sd']:.1f} | {row['least']:.1%} | {low:.1%} to {high:.1%} | "
            f"{row['choice_accuracy']:.1%} | {row['log_loss']:.3f} |"
        )
    return "\n".join(lines) + f"\n\n{seeds} seeds (1 to {seeds}) a row.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    table = []
    for row in rows(given.seeds):
        table.append(row)
        print(json.dumps(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(table, indent=2) + "\n")
    if given.markdown:
        given.markdown.write_text(markdown(table, given.seeds))


if __name__ == "__main__":
    main()
