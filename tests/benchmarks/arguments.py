"""python tests/benchmarks/arguments.py FOLDER [--seeds 3] [--epsilon 2] [--runs FILE]

Does the adapter earn its place on real text? LoRA and a head of 128 directions against
heads of 128, 256 and all 381 directions, each under the same total epsilon, on the
held-out people of one split. Every run is seeded and its released model is measured.
Finished runs are kept in FILE, so the table can be made in several goes.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fedpref import config
from fedpref.core.entropy import SeededEntropy
from fedpref.evaluate.metrics import Evaluation, difference, evaluate
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import Setup, prepare
from fedpref.simulation.training import train
from fedpref.transport import in_process

SCENARIO = Path(__file__).parents[2] / "simulations" / "arguments.toml"
ADAPTER = "LoRA + head, 128 directions"
HEADS = {f"head, {size} directions": size for size in (128, 256, 381)}
LONGER = "the longer argument wins"


def setup_of(name: str, folder: str, epsilon: float) -> Setup:
    """The scenario with the adapter, or with a head of so many directions alone."""
    overrides = [f"data.from={folder}", f"privacy.target_epsilon={epsilon}"]
    scenario = config.read(SCENARIO, [*overrides, "evaluate.baselines=[]"])
    if name in HEADS:
        changed = {"adapter": None, "features": HEADS[name]}
        section = scenario.model.model_copy(update=changed)
        scenario = scenario.model_copy(update={"model": section})
    return prepare(scenario)


def measure(setup: Setup, seed: int) -> Evaluation:
    """One training with the noise of a seed, on the held-out people."""
    done = train(
        setup,
        entropy=SeededEntropy(seed),
        carry=in_process.carry,
        journal=NoJournal(),
    )
    setup.model.set(done.state.released)
    return evaluate(setup.model.scores, setup.split.heldout)


def runs(folder: str, epsilon: float, seeds: int, kept: Path) -> dict:
    """Wins and pairs of each held-out person, by model and seed."""
    found = json.loads(kept.read_text()) if kept.exists() else {}
    for name in (ADAPTER, *reversed(HEADS)):
        for seed in range(1, seeds + 1):
            key = f"{name} / {epsilon:g} / {seed}"
            if key in found:
                continue
            one = measure(setup_of(name, folder, epsilon), seed)
            found[key] = one.wins.tolist()
            found["pairs"] = one.pairs.tolist()
            kept.write_text(json.dumps(found))
            print(f"{key}: {one.accuracy:.2%}", flush=True)
    return found


def longer(folder: str, epsilon: float) -> Evaluation:
    """What the length of a text alone tells."""
    setup = setup_of(f"head, {128} directions", folder, epsilon)
    return evaluate(
        lambda texts: np.array([len(text.split()) for text in texts], float),
        setup.split.heldout,
    )


def rows(found: dict, epsilon: float, seeds: int, base: Evaluation) -> Iterator[str]:
    """The table; the best head is the one with the highest mean."""
    means = {}
    for name in (*HEADS, ADAPTER):
        wins = [found[f"{name} / {epsilon:g} / {s}"] for s in range(1, seeds + 1)]
        means[name] = (replace(base, wins=np.mean(wins, axis=0)), wins)
    total = base.pairs.sum()
    best = max(HEADS, key=lambda name: means[name][0].wins.sum())
    yield "| model | pairs | sd over seeds | minus the best head, points | 95 % |"
    yield "|---|---|---|---|---|"
    for name, (mean, wins) in means.items():
        each = [100 * sum(own) / total for own in wins]
        gap = difference(mean, means[best][0])
        low, high = (100 * end for end in gap.ci95)
        tail = (
            "– | – |"
            if name == best
            else (f"{100 * gap.difference:+.2f} | {low:+.2f} to {high:+.2f} |")
        )
        spread = f"{statistics.stdev(each):.2f}" if seeds > 1 else "–"
        yield f"| {name} | {statistics.mean(each):.2f} | {spread} | {tail}"
    yield f"| {LONGER} | {100 * base.accuracy:.2f} | – | – | – |"


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilon", type=float, default=2.0)
    parser.add_argument("--runs", type=Path, default=Path("arguments.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = str(Path(given.folder).resolve())
    found = runs(folder, given.epsilon, given.seeds, given.runs)
    base = longer(folder, given.epsilon)
    print("\n".join(rows(found, given.epsilon, given.seeds, base)))


if __name__ == "__main__":
    main()
