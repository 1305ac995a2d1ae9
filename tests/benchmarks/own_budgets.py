"""python tests/benchmarks/own_budgets.py [--seeds 6] [--jobs 2] [--json FILE]
    [--markdown FILE]

Held-out accuracy with own caps against one cap for all, on electricity with a linear
head. Every run is seeded; the released model is the one that is measured. Differences
are of the mean over seeds, with people resampled together.
"""

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedpref import config
from fedpref.core.entropy import SeededEntropy
from fedpref.evaluate.metrics import Evaluation, difference, evaluate
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.own_budgets import assigned, verified
from fedpref.simulation.setup import Setup, calibrate, prepare
from fedpref.simulation.training import train
from fedpref.transport import in_process

ROOT = Path(__file__).parents[2]
RULES: list[tuple[str, Setup]] = []
OWN_CLIP, OWN_ROUNDS = "own caps, own clips", "own caps, noise alone once spent"


def variants(setup: Setup) -> Iterator[tuple[str, Setup]]:
    """The same people under other rules."""
    section = setup.scenario.own_budgets
    mean = sum(c * s for c, s in zip(section.caps, section.shares, strict=True))
    yield OWN_CLIP, setup
    yield OWN_ROUNDS, at(setup, section.model_copy(update={"clips": None}))
    for name, cap in (("strictest", min(section.caps)), ("mean", mean)):
        yield f"one cap for all, the {name}", at(setup, None, cap)
    yield "nobody limited", at(setup, None)


def at(setup: Setup, own: Any, target: float | None = None) -> Setup:
    """Another section of own budgets, or another target for everybody."""
    changed = {} if target is None else {"target_epsilon": target}
    privacy = setup.scenario.privacy.model_copy(update=changed)
    scenario = setup.scenario.model_copy(update={"privacy": privacy})
    scenario = scenario.model_copy(update={"own_budgets": own})
    plan = calibrate(scenario, setup.model, setup.objective, len(setup.split.train))
    limits = assigned(own, plan, setup.split.train)
    return replace(setup, scenario=scenario, plan=plan, limits=limits)


def measure(place: int, seed: int) -> tuple[Evaluation, Any]:
    """One training under a rule: its held-out evaluation, and what devices spent."""
    torch.set_num_threads(1)  # a forked process cannot use its parent's threads
    _, setup = RULES[place]
    done = train(
        setup,
        entropy=SeededEntropy(seed),
        carry=in_process.carry,
        journal=NoJournal(),
    )
    setup.model.set(done.state.released)
    found = evaluate(setup.model.scores, setup.split.heldout)
    return found, verified(setup.plan, setup.limits, done.sent)


def over_seeds(runs: list[Evaluation]) -> Evaluation:
    """Each person's right pairs, averaged over runs."""
    return replace(runs[0], wins=np.mean([run.wins for run in runs], axis=0))


def table(seeds: int, jobs: int) -> Iterator[dict[str, Any]]:
    """One row a rule; the first is what the others are compared with."""
    setup = prepare(config.read(ROOT / "simulations" / "own_budgets.toml"))
    RULES.extend(variants(setup))
    todo = [
        (place, seed) for place in range(len(RULES)) for seed in range(1, seeds + 1)
    ]
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        found = pool.starmap(measure, todo, chunksize=1)
    first = [run for run, _ in found[:seeds]]
    for place, (name, other) in enumerate(RULES):
        mine = found[place * seeds : (place + 1) * seeds]
        runs, spent = [run for run, _ in mine], mine[-1][1]
        gap = difference(over_seeds(first), over_seeds(runs))
        pairs = [run.accuracy for run in runs]
        gaps = [a.accuracy - b.accuracy for a, b in zip(first, runs, strict=True)]
        yield {
            "rule": name,
            "target_epsilon": other.scenario.privacy.target_epsilon,
            "accuracy": statistics.mean(pairs),
            "sd": statistics.stdev(pairs),
            "own_clips_minus_this": gap.difference,
            "ci95_people": list(gap.ci95),
            "sd_of_difference": statistics.stdev(gaps),
            "groups": spent["groups"],
            "passed": spent["passed"],
        }


def markdown(rows: list[dict[str, Any]], seeds: int) -> str:
    """The table as docs/results/own_budgets.md shows it."""
    lines = [
        "| rule | plan's epsilon | pairs | sd over seeds | own clips minus this, "
        "points | 95 % over people | sd over seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for place, row in enumerate(rows):
        low, high = (100 * end for end in row["ci95_people"])
        gap = f"{100 * row['own_clips_minus_this']:+.2f} | {low:+.2f} to {high:+.2f}"
        spread = f"{100 * row['sd_of_difference']:.2f}"
        lines.append(
            f"| {row['rule']} | {row['target_epsilon']:g} | {row['accuracy']:.2%} | "
            f"{100 * row['sd']:.2f} | "
            + (f"{gap} | {spread} |" if place else "– | – | – |")
        )
    return "\n".join(lines) + f"\n\n{seeds} seeds (1 to {seeds}) a row.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    rows = []
    for row in table(given.seeds, given.jobs):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")
    if given.markdown:
        given.markdown.write_text(markdown(rows, given.seeds))


if __name__ == "__main__":
    main()
