"""What a plan releases, stage by stage, under consecutive numbers.

    1 .. T        training: planned and spare rounds
    T + 1         the second moment of people's own offsets, where it is planned
    last          the evaluation, where it is planned

A device is asked by number, so the number alone decides what is asked for; the server's
ledger books releases under the same numbers and skips spare ones that were not needed.

Guarantees: each stage carries its own events, grid and share of noise, made together by
``fedpref.releases``; the noise of the second moment follows from that of training by an
exact rule that errs on the private side.

Does not give: a price; ``fedpref.plan`` composes all stages into one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import isqrt

from fedpref.core.events import Event
from fedpref.core.scale import Scale
from fedpref.core.types import Adversary, Grid
from fedpref.releases import Release

_DIGITS = 20  # binary places to which a derived noise multiplier is rounded up


class Purpose(StrEnum):
    """What a stage asks people for."""

    TRAINING = "training"
    MOMENT = "moment"
    EVALUATION = "evaluation"


@dataclass(frozen=True)
class Moment:
    """One release of the mean of ``b b'`` over people's own offsets ``b``.

    Args:
        weights: Length of an offset, D; the release has D (D + 1) / 2 numbers.
        norm: Largest norm of an offset; a longer one is shortened on its device.
        share: The part of the whole budget that it takes, as part of ``mu**2``, the sum
            over releases of squared sensitivity over variance (``accounting.md``
            sections 6 and 8).
    """

    weights: int
    norm: float
    share: Fraction

    @property
    def size(self) -> int:
        """Numbers released.

        >>> Moment(16, 5.0, Fraction(1, 2)).size
        136
        """
        return self.weights * (self.weights + 1) // 2

    def multiplier(self, training: Fraction, rounds: int) -> Fraction:
        """Its noise over sensitivity, given that of so many other releases.

        With ``rounds`` releases at ``z`` and one at ``y``, ``mu**2 = rounds / z**2 +
        1 / y**2``, and ``1 / y**2`` is to be ``share`` of it: ``y**2 = z**2
        (1 - share) / (share rounds)``. Rounded up.

        >>> float(Moment(16, 5.0, Fraction(1, 2)).multiplier(Fraction(12), 9))
        4.0
        """
        square = training**2 * (1 - self.share) / (self.share * rounds)
        return Fraction(_root_up(square * 4**_DIGITS), 2**_DIGITS)


def _root_up(square: Fraction) -> int:
    """The least whole number whose square is at least ``square``."""
    least = -(-square.numerator // square.denominator)
    root = isqrt(least)
    return root if root * root == least else root + 1


@dataclass(frozen=True)
class Stage:
    """Releases of one kind, numbered ``first`` to ``last``.

    Args:
        purpose: What people are asked for.
        first: Number of its first release.
        rounds: How many there are, spare ones included.
        coordinates: Length of a contribution before any padding.
        clip: Largest norm of a contribution, in model units.
        multiplier: Standard deviation of the noise over sensitivity; ``None`` without.
        release: Events and grid of one release.
    """

    purpose: Purpose
    first: int
    rounds: int
    coordinates: int
    clip: float
    multiplier: Fraction | None
    release: Release

    @property
    def last(self) -> int:
        """Number of its last release."""
        return self.first + self.rounds - 1

    @property
    def events(self) -> Mapping[Adversary, Event]:
        """What one release shows to each adversary."""
        return self.release.events

    @property
    def scale(self) -> Scale | None:
        """Grid and share of distributed noise; ``None`` where there is none."""
        return self.release.scale

    @property
    def words(self) -> int:
        """Length of what one device sends: padded where it is rotated."""
        return self.coordinates if self.scale is None else self.scale.coordinates

    @property
    def grid(self) -> Grid:
        """The public grid on which units are rounded and noise is drawn."""
        if self.scale is None:
            return Grid.for_clip(self.clip)
        return Grid(self.clip / self.scale.steps)

    @property
    def sensitivity_squared(self) -> int:
        """Squared bound on one unit's contribution, in grid steps."""
        if self.scale is None:
            return self.grid.sensitivity_squared(self.clip)
        return self.scale.limit

    @property
    def noise_variance_grid(self) -> Fraction:
        """Least variance of a release's noise, in squared grid steps; 0 without."""
        return Fraction(getattr(self.events[Adversary.OUTSIDER], "variance", 0))

    @property
    def noise_stddev_grid(self) -> int:
        """Its standard deviation in whole steps, rounded down."""
        return isqrt(int(self.noise_variance_grid))

    @property
    def share_variance(self) -> int:
        """Variance of one device's share of noise, in squared grid steps."""
        return 0 if self.scale is None else self.scale.share_variance

    def noise_variance(self, survivors: int) -> float:
        """Variance of the noise that is in one coordinate of a sum, in model units.

        Devices add a share each, so with more of them than the least there is more of
        it; an aggregator adds the least.

        Args:
            survivors: How many devices are in the sum.
        """
        added = survivors * self.share_variance if self.scale else 0
        return float(added or self.noise_variance_grid) * self.grid.step**2
