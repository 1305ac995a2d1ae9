"""What a sum of honest devices can be at most, and the refusal of one that is more.

Masks hide whether a device put rubbish into the sum; the sum itself shows it. Honest
devices add at most ``n u B`` to a coordinate (n survivors, u units each, B the largest
entry of a rounded unit), and noise that stays below 8 standard deviations. Uniform
words are far beyond that, in some coordinate or in the norm of the whole; with words of
16 bits, which honest noise nearly fills, from some hundred coordinates on.

Guarantees: an honest sum is refused with a chance of at most :func:`false_alarm`,
whatever the data; what is said of a refused sum are the plan's numbers and how many
devices are in it, nothing of the sum. The check is a function of a sum that its noise
protects already, so it costs no privacy of its own (post-processing).

Does not give: a bound on one device. What n devices may add together one may add alone,
so a well-formed poison passes. Nor does it say whose it was.
"""

from dataclasses import dataclass
from math import asinh, ceil, exp, hypot, isqrt, log, sqrt

from fedpref.core.grid import squared_norm
from fedpref.core.types import Integer, Noise
from fedpref.errors import IntegrityError
from fedpref.plan import PrivacyPlan
from fedpref.releases import ROTATED_BITS
from fedpref.stages import Stage

SPREADS = 8  # standard deviations, as many as a plan's words leave room for
_NORM_BITS = 64


@dataclass(frozen=True)
class Range:
    """Bounds on a sum: a coordinate's absolute value, and the squared norm of all.

    In grid steps and squared grid steps.
    """

    coordinate: int
    square: int


def honest_range(plan: PrivacyPlan, stage: Stage, survivors: int) -> Range:
    """Bounds on the sum of so many honest contributions, noise and all.

    With V the variance of all shares, a coordinate is at most ``n u B + 8 sqrt(V)``.
    Where vectors of S steps are rotated and padded to d words, the signal is at most
    the lesser of ``n u B`` and ``8 n u S / sqrt(d) + n u``: over the public signs a
    rotated coordinate is sub-Gaussian, and rounding moves it by less than a step a
    unit. The norm is at most ``n u sqrt(limit)`` and the root of ``noise_square``.

    Args:
        plan: The sealed plan.
        stage: What was summed; devices add the noise to it.
        survivors: How many devices are in the sum, >= 1.

    Raises:
        ValueError: Devices add no noise in this stage.
    """
    if stage.scale is None:
        raise ValueError(f"stage = {stage.purpose}, must have noise from the devices")
    scale, units = stage.scale, survivors * plan.spec.units_per_client
    variance = survivors * scale.share_variance
    signal = units * isqrt(scale.limit)
    if plan.spec.word_bits == ROTATED_BITS:
        spread = isqrt((SPREADS * units * scale.steps) ** 2 // stage.words) + 1
        signal = min(signal, spread + units)
    norm, noise = units**2 * scale.limit, noise_square(stage.words, variance)
    square = norm + noise + 2 * (isqrt(norm * noise) + 1)
    return Range(signal + isqrt(SPREADS**2 * variance), square)


def noise_square(words: int, variance: int) -> int:
    """Bound on the squared norm of so much noise, short of a chance of 2**-64.

    Bernstein's inequality (Boucheron, Lugosi and Massart 2013, corollary 2.11) for the
    squares of Skellam numbers X of variance V, on the event that none is beyond 8
    standard deviations: each square is then in [0, 64 V], and ``E X**4 = 3 V**2 + V``.

    Args:
        words: Length of the vector.
        variance: Of each coordinate's noise, in squared steps, >= 1.

    >>> round(noise_square(6161, 10_000) / 10_000 / 6161, 2)
    1.41
    """
    bits, largest = _NORM_BITS * log(2), SPREADS**2 * variance
    linear = bits * largest / 3
    beyond = linear + sqrt(linear**2 + 2 * bits * words * (3 * variance + 1) * variance)
    return words * variance + ceil(beyond * (1 + 2.0**-40))


def false_alarm(plan: PrivacyPlan, stage: Stage, survivors: int) -> float:
    """Bound on the chance that an honest sum of this stage is refused.

    Union over the words of Chernoff's bound on a Skellam number at 8 standard
    deviations (``fedpref.core.laws``); of Hoeffding's at 8, over signs that the data
    were not chosen for, where vectors are rotated; and 2**-64 for the norm. A rotated
    sum may also wrap where the plan leaves just room for 8 standard deviations; it is
    wrong then, and may be refused.
    """
    if stage.scale is None:
        raise ValueError(f"stage = {stage.purpose}, must have noise from the devices")
    variance = survivors * stage.scale.share_variance
    x = float(isqrt(SPREADS**2 * variance) + 1)
    rate = x * asinh(x / variance) - x * x / (hypot(x, variance) + variance)
    tails = 2 * exp(-rate)
    if plan.spec.word_bits == ROTATED_BITS:
        tails += 2 * exp(-(SPREADS**2) / 2)
    return stage.words * tails + 2.0**-_NORM_BITS


def in_range(total: Integer, plan: PrivacyPlan, number: int, survivors: int) -> Integer:
    """``total`` as it is, if honest devices may have made it.

    A sum whose noise the server adds is not checked here: each contribution to it is,
    before it is added (``fedpref.rounds.plain``).

    Args:
        total: The sum in grid steps, centred, ``[words]``.
        plan: The sealed plan.
        number: Of the release or request; it says which stage.
        survivors: How many devices are in it.

    Raises:
        IntegrityError: They cannot have. The round is not to be published.
    """
    if plan.spec.noise is not Noise.DISTRIBUTED:
        return total
    bound = honest_range(plan, plan.stage(number), survivors)
    # Not abs(): in int64 the absolute value of -2**63 is itself.
    largest = max(int(total.max(initial=0)), -int(total.min(initial=0)))
    if largest > bound.coordinate or squared_norm(total) > bound.square:
        raise IntegrityError(
            f"the sum of {survivors} devices is out of range: coordinates must be <= "
            f"{bound.coordinate} steps and the norm <= {isqrt(bound.square)}; one of "
            "them at least sent no honest contribution, nothing is published, and the "
            "round stays charged"
        )
    return total
