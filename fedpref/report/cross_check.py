"""The epsilons of a ledger, computed again by accountants that we did not write.

Opacus' RDP is a looser bound of the same releases and should come out above ours.
prv-accountant gives a bracket around the true value: ours may not be below its lower
end, or a promise would be broken.

Guarantees: nothing of ``fedpref.core.accounting`` is used for the second opinion. Does
not cover randomised response, whose epsilon is one logarithm, or what has no noise.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from math import isinf
from typing import Any

from fedpref.core.book import Book
from fedpref.core.events import Event, GaussianSum, PoissonGaussianSum
from fedpref.core.types import Adversary
from fedpref.errors import IntegrityError, SetupError

EPSILON_ERROR = 0.005
DELTA_SHARE = 1e-3  # of delta, lost to the grid of the bracket
LARGEST = 32.0  # beyond it the bracket is slow and the number means nothing

Releases = Sequence[tuple[float, float, int]]
"""Sampling rate, noise multiplier and count of releases on the same people."""


@dataclass(frozen=True)
class Opinion:
    """One plan, by four accountants; ``None`` where a bracket was not computed."""

    run: str
    adversary: Adversary
    ours: float
    rdp: float
    low: float | None
    high: float | None

    @property
    def problem(self) -> str | None:
        """Why the promise does not hold, if so."""
        if self.low is None or self.ours >= self.low:
            return None
        return (
            f"run {self.run}: epsilon = {self.ours:.6g} against the {self.adversary} "
            f"is below {self.low:.6g}, which prv-accountant proves to be too little"
        )


def cross_check(book: Book) -> list[Opinion]:
    """Every finite plan of noisy sums in the ledger, priced again.

    Raises:
        SetupError: prv-accountant is not installed.
        IntegrityError: An epsilon is below what can be true.
    """
    _installed()
    opinions = []
    for account in book.accounts.values():
        plan = account.reservation
        for who in Adversary:
            found = releases(plan.counts(who))
            if found is None:
                continue
            ours = plan.epsilon(who)
            if isinf(ours):
                continue
            low, high = bracket(found, plan.delta) if ours < LARGEST else (None, None)
            opinions.append(
                Opinion(plan.run, who, ours, opacus_rdp(found, plan.delta), low, high)
            )
    if problems := [o.problem for o in opinions if o.problem]:
        raise IntegrityError("; ".join(problems))
    return opinions


def releases(counts: Sequence[tuple[Event, int]]) -> Releases | None:
    """Noisy sums as rate, multiplier, count; None if there is anything else."""
    found: Counter[tuple[float, float]] = Counter()
    for event, count in counts:
        if isinstance(event, PoissonGaussianSum):
            found[float(event.sampling_prob), event.noise_multiplier] += count
        elif isinstance(event, GaussianSum):
            found[1.0, event.noise_multiplier] += count
        else:
            return None
    return [(rate, z, count) for (rate, z), count in sorted(found.items())]


def opacus_rdp(found: Releases, delta: float) -> float:
    """Epsilon by Opacus' RDP, over the same orders as its own accountant."""
    from opacus.accountants.analysis import rdp

    orders = [1 + x / 10.0 for x in range(1, 100)] + list(range(12, 2048))
    total: Any = sum(
        rdp.compute_rdp(q=rate, noise_multiplier=z, steps=count, orders=orders)
        for rate, z, count in found
    )
    epsilon, _ = rdp.get_privacy_spent(orders=orders, rdp=total, delta=delta)
    return float(epsilon)


def bracket(found: Releases, delta: float) -> tuple[float, float]:
    """Lower and upper end of prv-accountant's answer.

    Raises:
        SetupError: prv-accountant is not installed.
    """
    prv = _installed()
    kind = prv.PoissonSubsampledGaussianMechanism
    mechanisms = [
        prv.GaussianMechanism(z) if rate == 1 else kind(rate, z) for rate, z, _ in found
    ]
    counts = [count for _, _, count in found]
    accountant = prv.PRVAccountant(
        prvs=mechanisms,
        max_self_compositions=counts,
        eps_error=EPSILON_ERROR,
        delta_error=DELTA_SHARE * delta,
    )
    low, _, high = accountant.compute_epsilon(delta, counts)
    return float(low), float(high)


def _installed() -> Any:
    try:
        return import_module("prv_accountant")
    except ImportError as error:
        raise SetupError(
            "verify --cross-check needs prv-accountant; install it with "
            "pip install 'fedpref[verify]'"
        ) from error
