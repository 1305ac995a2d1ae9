"""python tests/benchmarks/repcali.py [FOLDER] [--seeds 5] [--runs FILE]

RepCali against LoRA and linear heads at equal epsilon and equal bytes a round: on half
of the debates of the arguments set (real text; FOLDER is argument-convincingness-prefs)
and on the electricity survey. Adapters train 1,152 numbers each: RepCali's offset, gain
and bias, or LoRA of rank 1 on query, key and value with A as drawn. Learning rate and
block scale are chosen on the training people alone. Finished runs are kept in FILE.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import TUNED_ON, Kept, at, central, chosen, inner, measure, over_seeds

from fedpref import config
from fedpref.adapter_sections import LoraSection, RepcaliSection
from fedpref.data import partition
from fedpref.evaluate.metrics import difference, evaluate
from fedpref.models.features import FeatureMap
from fedpref.simulation.setup import Setup, prepare, with_adapter

SIMULATIONS = Path(__file__).parents[2] / "simulations"
EPSILONS = (1.0, 4.0, None)
WORD = 3  # bytes of a masked word of 24 bits
HEAD = "head"
ADAPTERS: Mapping[str, Callable[..., Any]] = {
    "RepCali at the output": partial(RepcaliSection, kind="repcali", place="output"),
    "RepCali before the head": partial(RepcaliSection, kind="repcali", place="head"),
    "LoRA, rank 1, A as drawn": partial(
        LoraSection, r=1, freeze_a=True, targets=("query", "key", "value")
    ),
}


@dataclass(frozen=True)
class Data:
    """A set: its scenario, rounds, heads (the first is also the adapters') and grid.

    A head has as many settings as an adapter: rates alone, against two rates and two
    scales.
    """

    scenario: str
    rounds: int
    heads: tuple[int, ...]
    rates: tuple[float, ...]
    adapter_rates: tuple[float, ...]
    scales: tuple[float, ...]
    tuned_on: tuple[str, ...]

    def settings(self, name: str) -> list[tuple[float, float]]:
        """Learning rate and block scale, as many for each model."""
        if name.startswith(HEAD):
            return [(rate, 1.0) for rate in self.rates]
        return [(rate, scale) for rate in self.adapter_rates for scale in self.scales]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, the heads first."""
        return (*(f"{HEAD}, {size} directions" for size in self.heads), *ADAPTERS)


DATA = {
    "arguments": Data(
        "arguments.toml",
        8,
        (128, 381),
        (1, 3, 10, 30),
        (10, 30),
        (0.1, 0.5),
        TUNED_ON[:1],
    ),
    "electricity": Data(
        "central.toml", 10, (16, 33), (0.3, 1, 3, 10), (1, 3), (0.1, 0.3), TUNED_ON
    ),
}


def is_kept(prompt: str) -> bool:
    """Half of the debates, by a hash of the title, which both sides of one share."""
    title, _, _ = prompt.partition(": ")
    return hashlib.sha256(f"half:{title}".encode()).digest()[0] % 2 == 0


def half(setup: Setup) -> Setup:
    """Fewer debates: the encoder's passes are most of the work."""
    dataset = setup.dataset
    records = tuple(r for r in dataset.records if is_kept(r.prompt))
    used = {text for record in records for text in record.texts}
    catalogue = tuple(text for text in dataset.catalogue if text in used)
    split = partition.split(records, setup.scenario.data.split)
    dataset = replace(dataset, records=records, catalogue=catalogue)
    return replace(setup, dataset=dataset, split=split)


def narrowed(features: FeatureMap, size: int) -> FeatureMap:
    """What fitting ``size`` directions on the same texts gives."""
    factor = (features.size / size) ** 0.5
    return FeatureMap(features.mean, features.whitening[:, :size] * factor)


@dataclass(frozen=True, eq=False)
class Bench:
    """A set with everything but a model."""

    name: str
    data: Data
    setup: Setup

    @cache  # noqa: B019 (a process has two of them)
    def model(self, name: str, scale: float) -> Setup:
        """The setup with a model, built once: texts pass the lower layers once."""
        size = self.data.heads[0]
        if name.startswith(HEAD):
            size = int(name.split()[1])
        setup = replace(self.setup, features=narrowed(self.setup.features, size))
        adapter = None if name.startswith(HEAD) else ADAPTERS[name](scale=scale)
        return with_adapter(setup, adapter)


def bench_of(name: str, folder: str | None) -> Bench:
    """The scenario with its largest head, user level, noise in one place."""
    data = DATA[name]
    given = [*central(data.rounds, folder), f"model.features={max(data.heads)}"]
    scenario = config.read(SIMULATIONS / data.scenario, given)
    section = scenario.model.model_copy(update={"adapter": None})
    setup = prepare(scenario.model_copy(update={"model": section}))
    return Bench(name, data, half(setup) if folder else setup)


def best(bench: Bench, name: str, epsilon: float | None, kept: Kept) -> str:
    """The setting chosen on training people, as ``rate / scale``."""

    def on(rate: float, scale: float) -> Callable[[str], Setup]:
        return lambda salt: at(inner(bench.model(name, scale), salt), epsilon, lr=rate)

    grid = {f"{r:g} / {s:g}": on(r, s) for r, s in bench.data.settings(name)}
    label = f"{bench.name} / {name} / {epsilon}"
    return chosen(kept, label, grid, bench.data.tuned_on)


def cell(bench: Bench, name: str, epsilon: float | None, seed: int, kept: Kept) -> None:
    """One training at the chosen setting, on the people who chose nothing."""
    rate, scale = (float(part) for part in best(bench, name, epsilon, kept).split("/"))
    key = f"{bench.name} / {name} / {epsilon} / {seed}"

    def wins() -> list[float]:
        setup = at(bench.model(name, scale), epsilon, lr=rate)
        return measure(setup, seed).wins.tolist()

    kept.get(key, wins)


def rows(bench: Bench, seeds: int, kept: Kept) -> Iterator[str]:
    """The table of a set; differences are to LoRA, over the same people."""
    setup = bench.setup
    one = evaluate(lambda texts: np.zeros(len(texts)), setup.split.heldout)
    *_, lora = ADAPTERS
    yield (
        "| epsilon | model | numbers | bytes | rate / scale | pairs | sd over seeds | "
        "minus LoRA, points | 95 % |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for epsilon in EPSILONS:
        found = {}
        for name in bench.data.models:
            label = f"{bench.name} / {name} / {epsilon}"
            own = seeds_of(epsilon, seeds)
            found[name] = [kept.get(f"{label} / {seed}", list) for seed in own]
        means = {name: over_seeds(one, wins) for name, wins in found.items()}
        for name, wins in found.items():
            each = [100 * sum(own) / one.pairs.sum() for own in wins]
            spread = f"{statistics.stdev(each):.2f}" if len(each) > 1 else "–"
            gap = difference(means[name], means[lora])
            low, high = (100 * end for end in gap.ci95)
            tail = f"{100 * gap.difference:+.2f} | {low:+.2f} to {high:+.2f}"
            size = numbers(bench.data, name)
            yield (
                f"| {'none' if epsilon is None else f'{epsilon:g}'} | {name} | "
                f"{size:,} | {WORD * size:,} | {best(bench, name, epsilon, kept)} | "
                f"{statistics.mean(each):.2f} | {spread} | "
                f"{'– | –' if name == lora else tail} |"
            )


def numbers(data: Data, name: str, width: int = 384) -> int:
    """Trained coordinates: a head's directions, and three vectors of an adapter."""
    if name.startswith(HEAD):
        return int(name.split()[1])
    return data.heads[0] + 3 * width


def seeds_of(epsilon: float | None, count: int) -> range:
    """Noise seeds 1 to ``count``; without noise nothing is drawn: one is enough."""
    return range(1, 2 if epsilon is None else count + 1)


def order(seeds: int) -> Iterator[tuple[int, float | None]]:
    """Seed after seed, so that each finished one has every row; no noise at last."""
    private = [epsilon for epsilon in EPSILONS if epsilon is not None]
    yield from ((seed, of) for seed in range(1, seeds + 1) for of in private)
    yield 1, None


def main() -> None:
    """Run what is missing, seed after seed, and print a table a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("repcali.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept, begun = Kept(given.runs), time.process_time()
    benches = [bench_of("electricity", None)]
    if given.folder:
        benches.append(bench_of("arguments", str(Path(given.folder).resolve())))
    for bench in benches:
        for seed, epsilon in order(given.seeds):
            for name in bench.data.models:
                cell(bench, name, epsilon, seed, kept)
            print(f"{time.process_time() - begun:.0f} s of CPU", flush=True)
    for bench in benches:
        people = len(bench.setup.split.train), len(bench.setup.split.heldout)
        texts = len(bench.setup.dataset.catalogue)
        print(f"\n{bench.name}: {people[0]} train, {people[1]} held out, {texts} texts")
        print("\n".join(rows(bench, given.seeds, kept)))


if __name__ == "__main__":
    main()
