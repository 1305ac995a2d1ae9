"""What was released, as exact values; what it costs is derived elsewhere.

An event records integers and fractions only, so that anybody can recompute its price.
An event is never changed in meaning; a new mechanism gets a new class.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt

from fedpref.core.types import Relation, Unit


@dataclass(frozen=True)
class GaussianSum:
    """One release of a sum with (rounded) Gaussian noise.

    ``sensitivity_squared`` and ``variance`` are in squared grid steps.
    """

    unit: Unit
    relation: Relation
    sensitivity_squared: int
    variance: Fraction
    coordinates: int

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation over sensitivity, rounded towards less noise."""
        return sqrt(self.variance / self.sensitivity_squared) * (1 - 2.0**-50)


@dataclass(frozen=True)
class NonPrivate:
    """A release that carries no noise: its epsilon is infinite."""

    unit: Unit
    relation: Relation
    coordinates: int


Event = GaussianSum | NonPrivate
