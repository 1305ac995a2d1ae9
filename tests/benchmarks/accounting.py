"""python tests/benchmarks/accounting.py [--rounds 10000] [--classes 20] [--delta 1e-5]

How long the price of a ledger takes: ``rounds`` rounds in ``classes`` distinct pairs of
sampling probability and noise multiplier. Prints JSON with, for each grid,

    cold_s     nothing is known yet
    again_s    the same question
    warm_s     the slowest of several times one round more, each of another pair
    difference of the last warm answer to composing from scratch

Bars: warm 0.3 s; cold 5 s on the grid of 1e-3 and 40 s on that of 1e-4; difference
1e-6. Both grids give upper bounds.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

from fedpref.core import accounting
from fedpref.core.accounting import epsilon_of
from fedpref.core.events import Event, GaussianSum, PoissonGaussianSum
from fedpref.core.types import Relation, Unit

WHO = (Unit.USER, Relation.ZERO_OUT)
BARS = {1e-3: 5.0, 1e-4: 40.0}
WARM_S = 0.3
DIFFERENCE = 1e-6


def ledger(rounds: int, classes: int) -> list[tuple[Event, int]]:
    """As many rounds of each pair; the last fifth of the pairs is not sampled."""
    sampled = classes - classes // 5
    each = rounds // classes
    pairs: list[tuple[Event, int]] = []
    for i in range(classes):
        z = Fraction(80 + 4 * i, 100)
        if i < sampled:
            q = Fraction(5 + i, 1000)
            pairs.append((PoissonGaussianSum(*WHO, q, 1, z * z, 16), each))
        else:
            pairs.append((GaussianSum(*WHO, 1, (100 * z) ** 2, 16), each))
    return pairs


def one_more(counts: Sequence[tuple[Event, int]], which: int) -> list:
    return [(event, n + (i == which)) for i, (event, n) in enumerate(counts)]


def timed(question: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    answer = question()
    return answer, time.perf_counter() - start


def measure(counts: list[tuple[Event, int]], delta: float, interval: float) -> dict:
    """Times in seconds, and the error of the incremental answer."""

    def ask() -> float:
        return epsilon_of(counts, delta, interval=interval).epsilon

    accounting.forget()
    epsilon, cold = timed(ask)
    again = timed(ask)[1]
    warm = []
    for which in range(0, len(counts), max(1, len(counts) // 10)):
        counts = one_more(counts, which)
        grown, took = timed(ask)
        warm.append(took)
    accounting.forget()
    scratch = ask()
    return {
        "interval": interval,
        "epsilon": epsilon,
        "cold_s": round(cold, 3),
        "again_s": round(again, 5),
        "warm_s": round(max(warm), 3),
        "difference": abs(scratch - grown),
        "within_bars": cold <= BARS[interval]
        and max(warm) <= WARM_S
        and abs(scratch - grown) <= DIFFERENCE,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--delta", type=float, default=1e-5)
    given = parser.parse_args()
    counts = ledger(given.rounds, given.classes)
    rows = [measure(counts, given.delta, interval) for interval in BARS]
    print(json.dumps({**vars(given), "grids": rows}, indent=2))


if __name__ == "__main__":
    main()
