"""What one device puts into a sum: clipped, rounded and, if the plan says so, noised.

Guarantees: each unit is within the plan's integer bound whatever the data; with
distributed noise the device's share is in it whether or not anything else is; the same
work is done for either side of a secret coin, and by a person who is spent, whose turn
is noise alone; whatever goes wrong *in the data* (exceptions, NaN, infinite rows)
becomes zeros of the same size, never a missing answer.

Does not give: equal run times on unequal data. A deadline does, which the transport
keeps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from fedpref.core.clip import clip_units
from fedpref.core.entropy import Entropy, uniform_words
from fedpref.core.grid import sum_on_grid, sum_rounded
from fedpref.core.moments import shorten, svec
from fedpref.core.noise import skellam
from fedpref.core.rotation import rotate
from fedpref.core.types import Float, Integer, Noise, Participation, Unit
from fedpref.errors import BudgetError, InputError
from fedpref.plan import PrivacyPlan
from fedpref.plan_problems import STATISTICS
from fedpref.releases import ROTATED_BITS
from fedpref.stages import Moment, Purpose, Stage

Gradient = Callable[[Float], Float]
"""Model vector ``[coordinates]`` -> one row a unit ``[units, coordinates]``."""


Offset = Callable[[Float], Float]
"""Model vector ``[coordinates]`` -> the person's own offset ``[moment.weights]``."""


Statistics = Callable[[Float], Float]
"""Model vector ``[coordinates]`` -> three numbers in [-1, 1] about held-back records:
(pairs right - wrong) / pairs, (choices right - wrong) / choices, and 1; or zeros if
there are none."""


@dataclass(frozen=True, repr=False)
class Turn:
    """A person's own limits in one request (``fedpref.rounds.own``); private.

    Args:
        length: Own clip in model units, at most the stage's.
        square: Largest squared norm of a unit in grid steps, with that clip.
        speaks: Whether anything but zeros may be said.
    """

    length: float
    square: int
    speaks: bool

    def __repr__(self) -> str:
        return "Turn(contents hidden)"


@dataclass(frozen=True, repr=False)
class Contribution:
    """The integer vector of a round, and two things that stay on the device.

    Args:
        update: What is sent, int64 ``[words]``, in grid steps.
        failed: Whether the device's data failed.
        bound: Largest squared norm that a unit in it may have; 0 if none may.
    """

    update: Integer
    failed: bool
    bound: int

    def __repr__(self) -> str:
        return f"Contribution(words={self.update.size}, contents hidden)"


def contribute(
    number: int,
    model: Float,
    *,
    device: int,
    plan: PrivacyPlan,
    gradient: Gradient,
    entropy: Entropy,
    statistics: Statistics | None = None,
    offset: Offset | None = None,
    own: Turn | None = None,
) -> Contribution:
    """This device's vector for release ``number``, int64 ``[words]``, in grid steps.

    Args:
        number: Of the request, from 1; randomness is drawn anew for each.
        model: What to answer on, ``[coordinates]``; what follows is padding.
        device: This device's number; part of the purpose of every key.
        plan: The sealed plan.
        gradient: The person's gradients, one row a unit: the answer to training.
        entropy: Source of coins, rounding and noise.
        statistics: The answer to the plan's evaluation.
        offset: The answer to the plan's second moment. The number of the request
            alone says which of the three is asked for.
        own: The person's own limits in this request; ``None`` means the plan's.

    Raises:
        BudgetError: The person is spent, and nothing would hide a turn of zeros: the
            noise is not the devices'.
    """

    def key(purpose: str) -> bytes:
        return entropy.key(f"{purpose}/{plan.digest.hex()}/{number}/{device}")

    stage, question = plan.stage(number), gradient
    mine = own or Turn(stage.clip, stage.sensitivity_squared, speaks=True)
    if not mine.speaks and plan.spec.noise is not Noise.DISTRIBUTED:
        raise BudgetError("this device's own budget is spent")
    if stage.purpose is Purpose.EVALUATION:
        question = _evaluation(statistics, stage)
    elif stage.purpose is Purpose.MOMENT:
        question = _moment(offset, plan.spec.moment, stage)
    rows, failed = _rows(question, model[: plan.spec.coordinates], plan, stage)
    clipped = clip_units(rows, mine.length)
    failed = failed or clipped.zeroed > 0
    if plan.spec.noise is not Noise.DISTRIBUTED:
        bounded = sum_on_grid(clipped, stage.grid)
        return Contribution(bounded.total, failed, bounded.sensitivity_squared)
    heads = _heads(len(clipped.rows), plan, key("coin")) & mine.speaks
    if plan.spec.word_bits == ROTATED_BITS:
        clipped = rotate(clipped, seed=rotation_seed(plan))
    bounded = sum_rounded(
        clipped, stage.grid, mine.square, key=key("round"), heads=heads
    )
    share = skellam(bounded.total.size, stage.share_variance, key=key("noise"))
    reached = bounded.sensitivity_squared if mine.speaks else 0
    return Contribution(bounded.total + share, failed, reached)


def rotation_seed(plan: PrivacyPlan) -> bytes:
    """Public, the same for everybody, and fixed with the plan."""
    return sha256(b"fedpref rotation\0" + plan.digest).digest()


def _evaluation(statistics: Statistics | None, stage: Stage) -> Gradient:
    """The statistics as a unit's row: first coordinates, norm at most the clip."""

    def row(model: Float) -> Float:
        if statistics is None:
            raise InputError("this device has nothing to evaluate with")
        found = np.asarray(statistics(model), dtype=np.float64)
        if found.shape != (STATISTICS,):
            raise InputError(f"statistics = {found.shape}, not ({STATISTICS},)")
        out = np.zeros((1, stage.coordinates))
        out[0, :STATISTICS] = np.clip(found, -1.0, 1.0) * statistic_unit(stage.clip)
        return out

    return row


def statistic_unit(clip: float) -> float:
    """What a statistic of 1 is in model units: all of them together fill the clip."""
    return float(clip / np.sqrt(STATISTICS))


def _moment(offset: Offset | None, moment: Moment | None, stage: Stage) -> Gradient:
    """The second moment of the person's offset as a unit's row, norm at most the clip.

    It takes the first coordinates; the longest offset that is allowed fills the clip.
    """

    def row(model: Float) -> Float:
        if offset is None or moment is None:
            raise InputError("this device has no offset")
        own = np.asarray(offset(model), dtype=np.float64)
        if own.shape != (moment.weights,):
            raise InputError(f"offset = {own.shape}, not ({moment.weights},)")
        out = np.zeros((1, stage.coordinates))
        out[0, : moment.size] = svec(shorten(own, moment.norm)) * moment_unit(
            stage.clip, moment
        )
        return out

    return row


def moment_unit(clip: float, moment: Moment) -> float:
    """What a squared offset of 1 is in model units."""
    return clip / moment.norm**2


def _rows(
    gradient: Gradient, model: Float, plan: PrivacyPlan, stage: Stage
) -> tuple[Float, bool]:
    """The person's gradients, or zeros: a visible failure would tell about the data.

    A person with more records than the plan allows for contributes the first of them;
    which ones these are must not depend on what they say.
    """
    most = plan.spec.units_per_client
    nothing = np.zeros((most, stage.coordinates))
    try:
        rows = np.asarray(gradient(model), dtype=np.float64)
    except Exception:
        return nothing, True
    person = plan.spec.unit is Unit.USER
    fits = rows.ndim == 2 and rows.shape[1] == stage.coordinates
    if not fits or (person and len(rows) != 1):
        return nothing, True
    return np.concatenate([rows[:most], nothing[len(rows) :]]), False


def _heads(units: int, plan: PrivacyPlan, key: bytes) -> NDArray[np.bool_]:
    """Which units count, by their own secret coins, ``[units]``.

    A coin counts after the work is done, so neither time nor load shows it.
    """
    person = plan.spec.unit is Unit.USER
    if person and plan.spec.participation is not Participation.HIDDEN:
        return np.ones(units, dtype=bool)  # drawn by nobody, or by the server
    return coins(units, Fraction(plan.spec.sampling_prob), key=key) > 0


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
