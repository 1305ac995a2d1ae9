"""What one device puts into a sum: clipped, rounded and, if the plan says so, noised.

Guarantees: each unit is within the plan's integer bound whatever the data; with
distributed noise the device's share is in it whether or not anything else is; the same
work is done for either side of a secret coin; whatever goes wrong *in the data*
(exceptions, NaN, infinite rows) becomes zeros of the same size, never a missing answer.

Does not give: equal run times on unequal data. A deadline does, which the transport
keeps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

import numpy as np

from fedpref.core.clip import clip_units
from fedpref.core.entropy import Entropy, uniform_words
from fedpref.core.grid import sum_on_grid, sum_rounded
from fedpref.core.noise import skellam
from fedpref.core.rotation import rotate
from fedpref.core.types import BoundedRows, Float, Integer, Noise, Participation, Unit
from fedpref.errors import InputError
from fedpref.plan import PrivacyPlan
from fedpref.plan_problems import STATISTICS
from fedpref.releases import ROTATED_BITS

Gradient = Callable[[Float], Float]
"""Model vector ``[coordinates]`` -> one row a unit ``[units, coordinates]``."""


Statistics = Callable[[Float], Float]
"""Model vector ``[coordinates]`` -> three numbers in [-1, 1] about held-back records:
(pairs right - wrong) / pairs, (choices right - wrong) / choices, and 1; or zeros if
there are none."""


@dataclass(frozen=True)
class Contribution:
    """The integer vector of a round and whether the device's data failed (private)."""

    update: Integer
    failed: bool


def contribute(
    number: int,
    model: Float,
    *,
    device: int,
    plan: PrivacyPlan,
    gradient: Gradient,
    entropy: Entropy,
    statistics: Statistics | None = None,
) -> Contribution:
    """This device's vector for round ``number``, int64 ``[coordinates]``, in steps.

    Args:
        number: Of the request, from 1; randomness is drawn anew for each.
        model: What to answer on, ``[coordinates]``; what follows is padding.
        device: This device's number; part of the purpose of every key.
        plan: The sealed plan.
        gradient: The person's gradients, one row a unit.
        entropy: Source of coins, rounding and noise.
        statistics: What the device answers to the plan's evaluation, whose request
            has the last number; that one never trains, and no other one evaluates.
    """

    def key(purpose: str) -> bytes:
        return entropy.key(f"{purpose}/{plan.digest.hex()}/{number}/{device}")

    question = gradient
    if plan.spec.evaluation and number == plan.reserved_rounds:
        question = _evaluation(statistics, plan)
    rows, failed = _rows(question, model[: plan.spec.coordinates], plan)
    clipped = clip_units(rows, plan.spec.clip)
    failed = failed or clipped.zeroed > 0
    if plan.spec.noise is not Noise.DISTRIBUTED:
        return Contribution(sum_on_grid(clipped, plan.grid).total, failed)
    drawn = _drawn(clipped, plan, key("coin"))
    if plan.spec.word_bits == ROTATED_BITS:
        drawn = rotate(drawn, seed=rotation_seed(plan))
    limit = plan.sensitivity_squared
    bounded = sum_rounded(drawn, plan.grid, limit, key=key("round"))
    share = skellam(bounded.total.size, plan.share_variance, key=key("noise"))
    return Contribution(bounded.total + share, failed)


def rotation_seed(plan: PrivacyPlan) -> bytes:
    """Public, the same for everybody, and fixed with the plan."""
    return sha256(b"fedpref rotation\0" + plan.digest).digest()


def _evaluation(statistics: Statistics | None, plan: PrivacyPlan) -> Gradient:
    """The statistics as a unit's row: first coordinates, norm at most the clip."""

    def row(model: Float) -> Float:
        if statistics is None:
            raise InputError("this device has nothing to evaluate with")
        found = np.asarray(statistics(model), dtype=np.float64)
        if found.shape != (STATISTICS,):
            raise InputError(f"statistics = {found.shape}, not ({STATISTICS},)")
        out = np.zeros((1, plan.spec.coordinates))
        out[0, :STATISTICS] = np.clip(found, -1.0, 1.0) * statistic_unit(plan)
        return out

    return row


def statistic_unit(plan: PrivacyPlan) -> float:
    """What a statistic of 1 is in model units: all of them together fill the clip."""
    return float(plan.spec.clip / np.sqrt(STATISTICS))


def _rows(gradient: Gradient, model: Float, plan: PrivacyPlan) -> tuple[Float, bool]:
    """The person's gradients, or zeros: a visible failure would tell about the data.

    A person with more records than the plan allows for contributes the first of them;
    which ones these are must not depend on what they say.
    """
    most = plan.spec.units_per_client
    nothing = np.zeros((most, plan.spec.coordinates))
    try:
        rows = np.asarray(gradient(model), dtype=np.float64)
    except Exception:
        return nothing, True
    person = plan.spec.unit is Unit.USER
    fits = rows.ndim == 2 and rows.shape[1] == plan.spec.coordinates
    if not fits or (person and len(rows) != 1):
        return nothing, True
    return np.concatenate([rows[:most], nothing[len(rows) :]]), False


def _drawn(units: BoundedRows, plan: PrivacyPlan, key: bytes) -> BoundedRows:
    """Each unit, or zero where its own secret coin says so.

    The coin comes after the work, so neither time nor load shows it.
    """
    person = plan.spec.unit is Unit.USER
    if person and plan.spec.participation is not Participation.HIDDEN:
        return units  # drawn by nobody, or by the server
    heads = coins(len(units.rows), Fraction(plan.spec.sampling_prob), key=key)
    return BoundedRows(units.rows * heads[:, None], units.bound, units.zeroed)


def coins(count: int, probability: Fraction, *, key: bytes) -> Float:
    """Independent coins, 1.0 with at most ``probability``, within 2**-64 of it.

    >>> coins(2, Fraction(1), key=bytes(32)).tolist()
    [1.0, 1.0]
    """
    border = int(probability * 2**64)
    words = uniform_words(count, key=key)
    if border >= 2**64:
        return np.ones(count)
    return (words < np.uint64(border)).astype(np.float64)
