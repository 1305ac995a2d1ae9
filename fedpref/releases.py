"""What one round releases to whom, as events: the only place that builds them.

Guarantees: noise and event are made of the same numbers; amplification by sampling is
credited only against an adversary who cannot see the coins (``accounting.md`` section
5): a device's own secret coins against everybody, a server's secret draw against
outsiders alone, and only where the cohort's size hides it.

Does not give: a price, or proof that a run follows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from fedpref.cohorts import Cohort, draw_is_secret
from fedpref.core.events import (
    Event,
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    PoissonSkellamSum,
    SkellamSum,
)
from fedpref.core.noise import stddev_steps
from fedpref.core.scale import Scale, choose_scale
from fedpref.core.types import Adversary, Participation, Relation, Unit

ROTATED_BITS = 16


@dataclass(frozen=True)
class Release:
    """One round: its event by adversary, and the grid of distributed noise."""

    events: Mapping[Adversary, Event]
    scale: Scale | None


@dataclass(frozen=True)
class Wanted:
    """What decides a release, apart from its noise.

    Args:
        unit: Whose contribution is bounded.
        participation: Who contributes in a round.
        enrolled: People enrolled.
        cohort: The counts of a round.
        sampling_prob: Chance of a unit to contribute, by a secret coin on its device.
        coordinates: Length of the released vector.
        units_per_client: Most units that one person adds to a sum.
        word_bits: Size of a masked word; 16 rotates the vector first.
    """

    unit: Unit
    participation: Participation
    enrolled: int
    cohort: Cohort
    sampling_prob: Fraction
    coordinates: int
    units_per_client: int
    word_bits: int

    @property
    def rotated(self) -> bool:
        """Whether vectors are rotated before they are rounded."""
        return self.word_bits == ROTATED_BITS

    def rate(self, who: Adversary) -> Fraction:
        """Chance of a unit to contribute, given all that ``who`` sees of a round."""
        drawn = self.participation is Participation.SERVER and self.unit is Unit.USER
        people, counts = self.cohort.people, self.cohort
        if not drawn or who is Adversary.SERVER or people == self.enrolled:
            return self.sampling_prob
        hidden = draw_is_secret(
            self.enrolled, people, counts.min_survivors, counts.largest
        )
        return Fraction(people, self.enrolled) if hidden else self.sampling_prob


def bare(wanted: Wanted) -> Release:
    """A round without noise."""
    event = NonPrivate(wanted.unit, Relation.ZERO_OUT, wanted.coordinates)
    return Release(dict.fromkeys(Adversary, event), None)


def central(wanted: Wanted, multiplier: Fraction, square: int) -> Release:
    """A round in which a trusted aggregator adds the noise.

    Args:
        wanted: The round.
        multiplier: Standard deviation over sensitivity.
        square: Squared sensitivity, in squared grid steps.
    """
    unit, relation, size = wanted.unit, Relation.ZERO_OUT, wanted.coordinates
    variance = Fraction(stddev_steps(square, multiplier)) ** 2
    rate = wanted.rate(Adversary.OUTSIDER)
    event: Event = GaussianSum(unit, relation, square, variance, size)
    if rate < 1:
        event = PoissonGaussianSum(unit, relation, rate, square, variance, size)
    seen = NonPrivate(unit, relation, size)
    return Release({Adversary.SERVER: seen, Adversary.OUTSIDER: event}, None)


def ideal(wanted: Wanted, multiplier: Fraction) -> Release:
    """Distributed noise as if it were Gaussian and needed no grid: for a search only.

    A search for the noise passes multipliers that no grid has room for; only the one
    that it ends with has to fit.
    """
    square = 2**48
    variance = multiplier**2 * square
    events: dict[Adversary, Event] = {}
    for who in Adversary:
        rate, unit = wanted.rate(who), wanted.unit
        sums = (square, variance, wanted.coordinates)
        events[who] = (
            PoissonGaussianSum(unit, Relation.ZERO_OUT, rate, *sums)
            if rate < 1
            else GaussianSum(unit, Relation.ZERO_OUT, *sums)
        )
    return Release(events, None)


def distributed(wanted: Wanted, multiplier: Fraction) -> Release:
    """A round in which the devices add shares of the noise, under a secure sum.

    On a graph of drawn neighbours nothing is claimed against the server.

    Raises:
        PlanError: No grid has room for this noise.
    """
    scale = choose_scale(
        coordinates=wanted.coordinates,
        noise_multiplier=multiplier,
        clients=wanted.cohort.largest,
        contributors=wanted.cohort.contributors,
        units_per_client=wanted.units_per_client,
        word_bits=wanted.word_bits,
        rotated=wanted.rotated,
    )
    events = {who: _skellam(wanted, scale, wanted.rate(who)) for who in Adversary}
    if wanted.cohort.neighbours:
        nothing = NonPrivate(wanted.unit, Relation.ZERO_OUT, scale.coordinates)
        events[Adversary.SERVER] = nothing
    return Release(events, scale)


def _skellam(wanted: Wanted, scale: Scale, rate: Fraction) -> Event:
    sums = (scale.limit, scale.l1_limit, Fraction(scale.variance), scale.coordinates)
    if rate < 1:
        return PoissonSkellamSum(wanted.unit, Relation.ZERO_OUT, rate, *sums)
    return SkellamSum(wanted.unit, Relation.ZERO_OUT, *sums)
