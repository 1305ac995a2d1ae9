"""python tests/benchmarks/optimisers.py [FOLDER] [--seeds 5] [--runs FILE]

DP-AdamW against SGD with momentum and Adam at total epsilon 1, 2, 4 and 8, on two
models whose coordinates differ in scale: LoRA and a head on the electricity survey, and
a head on directions that are not whitened on drone delivery (FOLDER is
drone-delivery-privacy-choices); and on the latter as it should be, whitened. Rates, and
the floor of DP-AdamW, are chosen on the training people alone. Finished runs are kept
in FILE.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import TUNED_ON, Kept, at, central, chosen, inner, measure, over_seeds

from fedpref import config
from fedpref.core.types import Float
from fedpref.evaluate.metrics import difference, evaluate
from fedpref.models.features import FeatureMap
from fedpref.simulation.setup import Setup, prepare, with_adapter

SIMULATIONS = Path(__file__).parents[2] / "simulations"
EPSILONS = (1.0, 2.0, 4.0, 8.0)
BASE, OURS = "sgd", "dp_adamw"
OPTIMISERS = (BASE, "adam", OURS)
FLOORS = (0.1, 1.0, 10.0)  # times the variance of the noise in a coordinate


@dataclass(frozen=True)
class Data:
    """A set: its scenario, rounds, rates by optimiser, splits to choose on."""

    scenario: str
    rounds: int
    rates: Mapping[str, tuple[float, ...]]
    tuned_on: tuple[str, ...]

    def settings(self, optimiser: str) -> list[str]:
        """``rate``, or ``rate / floor`` where there is one."""
        rates = self.rates[optimiser]
        if optimiser != OURS:
            return [f"{rate:g}" for rate in rates]
        return [f"{rate:g} / {floor:g}" for rate in rates for floor in FLOORS]


SMALL = (0.1, 0.3, 1, 3)  # steps of a coordinate
DATA = {
    "electricity": Data(
        "central.toml",
        10,
        {BASE: (0.1, 0.3, 1, 3), "adam": SMALL, OURS: SMALL},
        TUNED_ON,
    ),
    "drone": Data(
        "drone_privacy.toml",
        10,
        {BASE: (1, 3, 10, 30), "adam": SMALL, OURS: SMALL},
        TUNED_ON[:1],
    ),
}
WHITENED = "drone, whitened"
DATA[WHITENED] = DATA["drone"]


def unwhitened(features: FeatureMap) -> FeatureMap:
    """The same directions at their own scale; the mean squared norm stays 1.

    >>> of = FeatureMap(np.zeros(2), np.diag([1.0, 0.5]) / 2**0.5)  # spreads 1 and 2
    >>> (unwhitened(of).whitening * 5**0.5).round(12).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    length = np.linalg.norm(features.whitening, axis=0)
    spread = 1 / (length * features.size**0.5)
    return FeatureMap(
        features.mean, features.whitening / length / np.linalg.norm(spread)
    )


def bench_of(name: str, folder: str | None) -> Setup:
    """The scenario at user level, with noise in one place and its model."""
    data = DATA[name]
    given = central(data.rounds, folder)
    scenario = config.read(SIMULATIONS / data.scenario, given)
    scenario = scenario.model_copy(update={"personal": None})
    setup = prepare(scenario)
    if name != "drone":
        return setup
    return with_adapter(replace(setup, features=unwhitened(setup.features)), None)


def under(setup: Setup, epsilon: float, optimiser: str, setting: str) -> Setup:
    """The run with an optimiser; a floor is a multiple of the public noise variance."""
    rate, *floor = (float(part) for part in setting.split("/"))
    made = at(setup, epsilon, optimiser=optimiser, lr=rate)
    if not floor:
        return made
    of = made.plan
    variance = of.training.noise_variance(of.spec.units) / of.divisor**2
    given: dict[str, Any] = {"lr": rate, "floor": floor[0] * variance}
    return at(setup, epsilon, optimiser=optimiser, **given)


def best(name: str, setup: Setup, epsilon: float, optimiser: str, kept: Kept) -> str:
    """The setting chosen on training people."""

    def on(setting: str) -> Callable[[str], Setup]:
        return lambda salt: under(inner(setup, salt), epsilon, optimiser, setting)

    grid = {setting: on(setting) for setting in DATA[name].settings(optimiser)}
    label = f"{name} / {optimiser} / {epsilon:g}"
    return chosen(kept, label, grid, DATA[name].tuned_on)


def wins(
    name: str, setup: Setup, epsilon: float, optimiser: str, seed: int, kept: Kept
) -> list[float]:
    """Right pairs of the people who chose nothing, after one training."""
    setting = best(name, setup, epsilon, optimiser, kept)

    def made() -> list[float]:
        one = measure(under(setup, epsilon, optimiser, setting), seed)
        return one.wins.tolist()

    return kept.get(f"{name} / {optimiser} / {epsilon:g} / {seed}", made)


def rows(name: str, setup: Setup, seeds: int, kept: Kept) -> Iterator[str]:
    """The table of a set; differences are DP-AdamW minus the row's optimiser."""
    one = evaluate(lambda texts: np.zeros(len(texts)), setup.split.heldout)
    yield (
        "| epsilon | optimiser | rate / floor | pairs | sd over seeds | "
        "DP-AdamW minus this, points | 95 % |"
    )
    yield "|---|---|---|---|---|---|---|"
    for epsilon in EPSILONS:
        found = {
            optimiser: [
                wins(name, setup, epsilon, optimiser, seed, kept)
                for seed in range(1, seeds + 1)
            ]
            for optimiser in OPTIMISERS
        }
        ours = over_seeds(one, found[OURS])
        for optimiser, runs in found.items():
            each: Float = 100 * np.sum(runs, axis=1) / one.pairs.sum()
            gap = difference(ours, over_seeds(one, runs))
            low, high = (100 * end for end in gap.ci95)
            tail = f"{100 * gap.difference:+.2f} | {low:+.2f} to {high:+.2f}"
            yield (
                f"| {epsilon:g} | {optimiser} | "
                f"{best(name, setup, epsilon, optimiser, kept)} | "
                f"{statistics.mean(each):.2f} | {statistics.stdev(each):.2f} | "
                f"{'– | –' if optimiser == OURS else tail} |"
            )


def main() -> None:
    """Run what is missing, seed after seed, and print a table a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("optimisers.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept, begun = Kept(given.runs), time.process_time()
    setups = {"electricity": bench_of("electricity", None)}
    if given.folder:
        folder = str(Path(given.folder).resolve())
        setups |= {name: bench_of(name, folder) for name in ("drone", WHITENED)}
    for seed in range(1, given.seeds + 1):
        for name, setup in setups.items():
            for epsilon in EPSILONS:
                for optimiser in OPTIMISERS:
                    wins(name, setup, epsilon, optimiser, seed, kept)
        print(f"{time.process_time() - begun:.0f} s of CPU", flush=True)
    for name, setup in setups.items():
        people = len(setup.split.train), len(setup.split.heldout)
        print(f"\n{name}: {people[0]} train, {people[1]} held out")
        print(f"{setup.model.layout.size:,} coordinates, {DATA[name].rounds} rounds\n")
        print("\n".join(rows(name, setup, given.seeds, kept)))


if __name__ == "__main__":
    main()
