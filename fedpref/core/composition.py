"""Mechanisms and how often each ran, composed: by PLD and by RDP.

Guarantees: both curves bound the whole composition, for every delta; a total that was
kept from before differs from one composed from scratch by less than 1e-6 in epsilon at
any delta of 1e-7 or more.

Does not give: anything about how a mechanism relates to a release
(``fedpref.core.accounting``), or exactness below float64 (label: idealised numerics).

The only module that imports dp_accounting.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, sqrt
from threading import Lock
from typing import Any

import numpy as np

from fedpref.core.skellam import divergence, sampled_divergence
from fedpref.core.types import Float
from fedpref.errors import UnsupportedEvent

_KEPT = 16
_OLDEST = 64
_ROUNDING = 2.0**-50


@dataclass(frozen=True, order=True)
class Gaussian:
    """N(0, z^2) against N(1, z^2), where the 1 is there with probability ``rate``."""

    rate: float
    noise_multiplier: float


@dataclass(frozen=True, order=True)
class Response:
    """An answer among ``options``, replaced by a uniform one with chance ``noise``."""

    options: int
    noise: float


@dataclass(frozen=True, order=True)
class Skellam:
    """Skellam noise on integers, where a unit is there with probability ``rate``."""

    rate: float
    sensitivity_squared: float
    sensitivity_l1: float
    variance: float


Mechanism = Gaussian | Response | Skellam
Counts = tuple[tuple[Mechanism, int], ...]
"""Every mechanism once, sorted, with how often it ran (at least once)."""
Curve = Callable[[float], float]
"""Epsilon at a delta; falls as delta grows."""


def pld(counts: Counts, interval: float) -> Curve:
    """Privacy loss distributions on a grid of ``interval``, rounded upwards.

    Gaussians that are not sampled compose to one Gaussian exactly (Dong, Roth and Su
    2022, corollary 3.3), so these are added before they meet the grid.

    Raises:
        UnsupportedEvent: Skellam noise; price its twin (``fedpref.core.skellam``).
    """
    squares, other = _without_plain(counts)
    parts = [_composed(other, interval)] if other else []
    if squares:
        joint = 1 / sqrt(squares) * (1 - _ROUNDING)
        parts.append(_once(Gaussian(1.0, joint), interval))
    total = parts[0] if len(parts) == 1 else parts[0].compose(parts[1])
    return lambda delta: float(total.get_epsilon_for_delta(delta))


def rdp(counts: Counts) -> Curve:
    """Rényi divergences at the usual orders, added, converted at the best of them.

    With Skellam noise the orders are whole numbers: its bound is known there only.
    """
    from dp_accounting.rdp import compute_epsilon

    whole = any(isinstance(mechanism, Skellam) for mechanism, _ in counts)
    orders = WHOLE_ORDERS if whole else default_orders()
    total = rdp_total(counts, orders)
    return lambda delta: float(compute_epsilon(orders, total, delta)[0])


def rdp_total(counts: Counts, orders: tuple[float, ...]) -> Float:
    """Rényi divergence of the composition at each of ``orders``, ``[orders]``."""
    squares, other = _without_plain(counts)
    total = np.asarray(orders) * (squares / 2)
    for mechanism, count in other:
        total += count * np.asarray(_divergences(mechanism, orders))
    return total


WHOLE_ORDERS = tuple(float(order) for order in (*range(2, 65), *range(72, 257, 8)))


@lru_cache(maxsize=1)
def default_orders() -> tuple[float, ...]:
    """The orders at which dp-accounting evaluates by default."""
    from dp_accounting.rdp import RdpAccountant

    return tuple(float(order) for order in RdpAccountant().orders)


def forget() -> None:
    """Empty what is kept from earlier calls; results stay the same."""
    with _lock:
        _kept.clear()
    _once.cache_clear()
    _divergences.cache_clear()


def _without_plain(counts: Counts) -> tuple[float, Counts]:
    """Sum of 1/z^2 over the Gaussians that are not sampled, and everything else."""
    plain, other = [], []
    for mechanism, count in counts:
        if isinstance(mechanism, Gaussian) and mechanism.rate >= 1:
            plain.append(count / mechanism.noise_multiplier**2)
        else:
            other.append((mechanism, count))
    return fsum(plain) * (1 + _ROUNDING), tuple(other)


# Rényi divergences


@lru_cache(maxsize=1024)
def _divergences(mechanism: Mechanism, orders: tuple[float, ...]) -> tuple[float, ...]:
    from dp_accounting import GaussianDpEvent, NeighboringRelation
    from dp_accounting import PoissonSampledDpEvent as Sampled
    from dp_accounting import RandomizedResponseDpEvent as Randomised
    from dp_accounting.rdp import RdpAccountant

    if isinstance(mechanism, Skellam):
        return tuple(_of_skellam(mechanism, int(order)) for order in orders)
    if isinstance(mechanism, Response):
        if mechanism.noise >= 1:
            return (0.0,) * len(orders)
        accountant = RdpAccountant(orders, NeighboringRelation.REPLACE_ONE)
        accountant.compose(Randomised(mechanism.noise, mechanism.options))
    else:
        accountant = RdpAccountant(orders, NeighboringRelation.REPLACE_SPECIAL)
        noise = GaussianDpEvent(mechanism.noise_multiplier)
        accountant.compose(Sampled(mechanism.rate, noise))
    return tuple(float(value) for value in accountant.rdp)


def _of_skellam(noise: Skellam, order: int) -> float:
    def unsampled(order: int) -> float:
        square, most = noise.sensitivity_squared, noise.sensitivity_l1
        return divergence(order, square, most, noise.variance)

    return sampled_divergence(order, noise.rate, unsampled)


# Privacy loss distributions


@lru_cache(maxsize=64)
def _once(mechanism: Mechanism, interval: float) -> Any:
    """The privacy loss distribution of one run.

    For zero-out neighbours dp-accounting's name is REPLACE_SPECIAL, for a replaced
    answer REPLACE_ONE. Its accountant class counts a repeated randomised response once
    (version 0.6.0), so composition is done here, on distributions.
    """
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import privacy_loss_distribution as distributions

    if isinstance(mechanism, Skellam):
        raise UnsupportedEvent("Skellam noise: its loss distribution is not known here")
    if isinstance(mechanism, Response):
        if mechanism.noise >= 1:
            return distributions.identity(value_discretization_interval=interval)
        return distributions.from_randomized_response(
            mechanism.noise,
            mechanism.options,
            value_discretization_interval=interval,
            neighboring_relation=NeighboringRelation.REPLACE_ONE,
        )
    return distributions.from_gaussian_mechanism(
        mechanism.noise_multiplier,
        sampling_prob=mechanism.rate,
        value_discretization_interval=interval,
        neighboring_relation=NeighboringRelation.REPLACE_SPECIAL,
    )


_kept: OrderedDict[tuple[float, Counts], tuple[Any, int]] = OrderedDict()
_lock = Lock()


def _composed(counts: Counts, interval: float) -> Any:
    """The distribution of all of ``counts``, built on the nearest kept total.

    A ledger asks again after every round: one more round is then one convolution
    instead of one for each mechanism. Every step may move 1e-15 of the mass to
    infinity, so a total is built on at most ``_OLDEST`` steps.
    """
    total, age, missing = _nearest(counts, interval)
    for mechanism, count in missing.items():
        part = _once(mechanism, interval)
        part = part if count == 1 else part.self_compose(count)
        total = part if total is None else total.compose(part)
    with _lock:
        _kept[interval, counts] = total, age + 1 if missing else age
        _kept.move_to_end((interval, counts))
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return total


def _nearest(counts: Counts, interval: float) -> tuple[Any, int, dict[Mechanism, int]]:
    """The kept total to which the fewest mechanisms must be added, and those."""
    wanted = dict(counts)
    best: tuple[Any, int, dict[Mechanism, int]] = None, -1, wanted
    with _lock:
        kept = list(_kept.items())
    for (grid, have), (total, age) in kept:
        had = dict(have)
        if grid != interval or any(wanted.get(m, 0) < n for m, n in had.items()):
            continue
        missing = {m: n - had.get(m, 0) for m, n in wanted.items()}
        missing = {m: n for m, n in missing.items() if n}
        if len(missing) < len(best[2]) and (age < _OLDEST or not missing):
            best = total, age, missing
    return best
