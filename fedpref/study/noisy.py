"""The sum that a round of distributed noise releases, simulated in one process.

Guarantees: clip, grid, bound and noise are those of the sealed plan's stage. A person's
vector is rounded as a device rounds it: at random, redrawn while its integer norm is
above the stage's limit, then truncated. Of n devices each adds a share of Skellam noise
of variance v; their sum has exactly the law of one Skellam number of variance n v, and
that is what is drawn. So a sum here has the law of the protocol's sum.

Does not give: the protocol's bits, its masks, dropouts or a server that sees nothing:
this process holds everybody's answers. Rounding takes its randomness for all people
from one keystream, where each device has its own.
"""

from collections.abc import Iterable

import numpy as np

from fedpref.core.clip import clip_units
from fedpref.core.entropy import Entropy, uniform_words
from fedpref.core.grid import REDRAWS, sum_on_grid, to_reals
from fedpref.core.laws import MOST_VARIANCE
from fedpref.core.noise import skellam
from fedpref.core.types import BoundedRows, Float, Integer
from fedpref.errors import PlanError
from fedpref.stages import Stage


def noisy_sum(rows: Float, stage: Stage, *, entropy: Entropy, purpose: str) -> Float:
    """What one release of ``stage`` shows, ``[coordinates]``, in model units.

    Args:
        rows: What each person would send, ``[people, coordinates]``; everybody takes
            part, with zeros if they have nothing to say.
        stage: Of the sealed plan; without noise the sum is only put on the grid.
        entropy: Source of rounding and noise.
        purpose: Name of this release; no two releases of one entropy may share it.
    """
    clipped = clip_units(rows, stage.clip)
    if stage.scale is None:
        return to_reals(sum_on_grid(clipped, stage.grid).total, stage.grid)
    total = rounded_sum(clipped, stage, key=entropy.key(f"{purpose}/round"))
    variance = len(rows) * stage.share_variance
    total += shares(
        total.size, variance, keys=(entropy.key(f"{purpose}/{part}") for part in "ab")
    )
    return to_reals(total, stage.grid)


def rounded_sum(units: BoundedRows, stage: Stage, *, key: bytes) -> Integer:
    """The sum over people of ``fedpref.core.grid.round_units``, all rows at a time.

    Each row is accepted at its first draw within the stage's limit; after the redraws
    it is truncated toward zero. The law is that of row by row; the bits are not.
    """
    steps = units.rows / stage.grid.step
    limit, total = stage.sensitivity_squared, np.zeros(steps.shape[1], np.int64)
    for attempt in range(1 + REDRAWS):
        words = uniform_words((steps.size + 1) // 2, key=key, lane=attempt)
        drawn = words.view(np.uint32)[: steps.size].reshape(steps.shape) * 2.0**-32
        whole = np.floor(steps + drawn).astype(np.int64)
        fits = np.einsum("ij,ij->i", whole, whole) <= limit
        total += whole[fits].sum(axis=0)
        steps = steps[~fits]
        if not len(steps):
            return total
    whole = np.trunc(steps).astype(np.int64)
    fits = np.einsum("ij,ij->i", whole, whole) <= limit
    total += whole[fits].sum(axis=0)
    return total


def shares(count: int, variance: int, *, keys: Iterable[bytes]) -> Integer:
    """Skellam numbers of any variance, int64 ``[count]``, as sums of drawn ones.

    Tables end at ``MOST_VARIANCE``, so the variance is split into equal whole parts,
    some of which are one larger; Skellam numbers add up to one of the summed variance.

    Args:
        count: How many.
        variance: Of each, in squared steps, at least 1.
        keys: Two keys of 32 bytes, used for these numbers only.
    """
    if variance < 1:
        raise PlanError(f"variance = {variance}, must be at least 1 squared step")
    parts = -(-variance // MOST_VARIANCE)
    least, larger = divmod(variance, parts)
    total = np.zeros(count, np.int64)
    sizes = ((least, parts - larger), (least + 1, larger))
    for (size, number), key in zip(sizes, keys, strict=True):
        if number:
            drawn = skellam(number * count, size, key=key)
            total += drawn.reshape(number, count).sum(axis=0)
    return total
