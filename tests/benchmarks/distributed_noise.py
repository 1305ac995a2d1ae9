"""python tests/benchmarks/distributed_noise.py [--seeds 20] [--markdown FILE]

The quickstart's held-out accuracy with noise from three places, at the same epsilon:
shares from the devices under a secure sum, one trusted aggregator, and every device
adding all of the noise by itself. Sums are made without masks (``secagg.mode = sum``),
which gives the same integers. Differences are paired by seed; the model after the last
round is the one that is measured.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from math import sqrt
from pathlib import Path

from fedpref import config
from fedpref.core.entropy import SeededEntropy
from fedpref.evaluate.metrics import evaluate
from fedpref.plan import PrivacyPlan
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import Setup, calibrate, prepare
from fedpref.simulation.training import train
from fedpref.transport import in_process

ROOT = Path(__file__).parents[2]
CENTRAL = ["privacy.noise=central", "privacy.against=outsider"]
T95 = {5: 2.776, 10: 2.262, 20: 2.093}  # Student, two-sided, seeds - 1 degrees


def places() -> dict[str, Setup]:
    """The same run with its noise added in three places."""
    path = ROOT / "simulations" / "quickstart.toml"
    shares = prepare(config.read(path, ["secagg.mode=sum"]))
    scenario = config.read(path, CENTRAL)
    plan = calibrate(scenario, shares.model, shares.objective, len(shares.split.train))
    central = replace(shares, scenario=scenario, plan=plan)
    alone = replace(central, plan=with_noise(plan, sqrt(plan.spec.units)))
    return {
        "devices, in shares": shares,
        "trusted aggregator": central,
        "each device all of it": alone,
    }


def with_noise(plan: PrivacyPlan, factor: float) -> PrivacyPlan:
    """The plan with so much more noise: n shares as large as the whole."""
    assert plan.noise_multiplier is not None
    return PrivacyPlan(plan.spec, plan.noise_multiplier * Fraction(factor))


def accuracy(setup: Setup, seed: int) -> float:
    """Share of held-out pairs of one training."""
    done = train(
        setup,
        entropy=SeededEntropy(seed),
        carry=in_process.carry,
        journal=NoJournal(),
    )
    setup.model.set(done.state.released)
    return evaluate(setup.model.scores, setup.split.heldout).accuracy


def measure(seeds: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Accuracy by place and seed."""
    found = {}
    for place, setup in places().items():
        found[place] = [accuracy(setup, seed) for seed in range(1, seeds + 1)]
        tell(f"{place}: {statistics.mean(found[place]):.4f}")
    return found


def markdown(found: dict[str, list[float]]) -> str:
    """The table, with each place's difference from the trusted aggregator."""
    seeds = len(found["trusted aggregator"])
    lines = [
        "| noise from | pairs | sd over seeds | least | minus trusted aggregator |",
        "|---|---|---|---|---|",
    ]
    for place, values in found.items():
        pairs = zip(values, found["trusted aggregator"], strict=True)
        gaps = [100 * (mine - theirs) for mine, theirs in pairs]
        half = T95[seeds] * statistics.stdev(gaps) / sqrt(seeds)
        middle = statistics.mean(gaps)
        gap = f"{middle:+.2f} ({middle - half:+.2f} to {middle + half:+.2f}) points"
        lines.append(
            f"| {place} | {statistics.mean(values):.2%} | "
            f"{100 * statistics.stdev(values):.2f} | {min(values):.2%} | "
            f"{'–' if place == 'trusted aggregator' else gap} |"
        )
    return "\n".join(lines) + f"\n\n{seeds} seeds (1 to {seeds}) a row.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, choices=sorted(T95))
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    table = markdown(measure(given.seeds, lambda line: print(line, flush=True)))
    print(table)
    if given.markdown:
        given.markdown.write_text(table)


if __name__ == "__main__":
    main()
