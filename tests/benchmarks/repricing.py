"""python tests/benchmarks/repricing.py

What the accounting of *Improved Algorithms for Differentially Private Language Model
Alignment* (arXiv 2505.08849) really costs. Their accounting is known second-hand: each
of E epochs is one Gaussian release under parallel composition, epochs are added up, so
epsilon = E epsilon' and delta = E delta', and sigma = 2 sqrt(2 ln(1.25 / delta')) /
epsilon' in clips, the 2 being the sensitivity of replacing a record. Numbers of records
and of a batch are assumed here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import log, sqrt

from fedpref.core.accounting import INTERVAL, Spent, calibrate, epsilon_of
from fedpref.core.events import PoissonGaussianSum
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.core.types import Relation, Unit

CLAIMED = (1, 2, 3, 4, 5, 8, 10)
EPOCHS, RECORDS, BATCH, DELTA = 3, 8000, 64, 1e-5
STEPS = EPOCHS * RECORDS // BATCH
CLIP = 2**20  # in grid steps, so that the ratio of noise to clip is exact enough


@dataclass(frozen=True)
class Price:
    """A claimed epsilon and what it amounts to.

    ``exact`` has no amplification by sampling, and neighbours that replace a record;
    ``sampled`` is for batches drawn by secret coins, and neighbours that lose one;
    ``needed`` is the noise over clip with which the latter costs what is claimed.
    """

    claimed: float
    sigma: float
    exact: float
    sampled: float
    needed: float


def claimed_sigma(epsilon: float, delta: float = DELTA, epochs: int = EPOCHS) -> float:
    """Noise over clip that their rule asks for."""
    return 2 * sqrt(2 * log(1.25 * epochs / delta)) * epochs / epsilon


def without_sampling(sigma: float, delta: float = DELTA, epochs: int = EPOCHS) -> float:
    """Exact epsilon of as many releases of sensitivity 2 clips as there are epochs."""
    return gaussian_epsilon(Fraction(epochs * 4) / Fraction(sigma) ** 2, delta)


def with_sampling(
    sigma: Fraction, delta: float = DELTA, *, interval: float = INTERVAL
) -> float:
    """Epsilon of all steps if every batch were drawn by secret coins."""
    event = PoissonGaussianSum(
        unit=Unit.RECORD,
        relation=Relation.ZERO_OUT,
        sampling_prob=Fraction(BATCH, RECORDS),
        sensitivity_squared=CLIP**2,
        variance=sigma**2 * CLIP**2,
        coordinates=1,
    )
    return epsilon_of([(event, STEPS)], delta, interval=interval).epsilon


def price(claimed: float) -> Price:
    """One row."""
    sigma = claimed_sigma(claimed)
    needed, _ = calibrate(
        lambda z: Spent(with_sampling(z), None), float(claimed), start=1.0
    )
    return Price(
        claimed=claimed,
        sigma=sigma,
        exact=without_sampling(sigma),
        sampled=with_sampling(Fraction(sigma)),
        needed=float(needed),
    )


def rows() -> Iterator[str]:
    """The table of docs/results/optimisers.md."""
    yield (
        "| claimed epsilon | their sigma | exact, no sampling, replace one | "
        "sampled by coins, PLD | noise over clip needed, PLD | "
        "their noise over the needed |"
    )
    yield "|---|---|---|---|---|---|"
    for claimed in CLAIMED:
        one = price(claimed)
        yield (
            f"| {claimed} | {one.sigma:.1f} | {one.exact:.2f} | {one.sampled:.3f} | "
            f"{one.needed:.3f} | {one.sigma / one.needed:.1f} |"
        )


if __name__ == "__main__":
    print("\n".join(rows()))
