"""What may be asked of a plan on paper: the question, and what is wrong with it.

Guarantees: a question without problems has one answer that can be looked for; shares
become counts on the safe side. Does not give: that answer (``fedpref.planning``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from math import isfinite

from fedpref import cohorts
from fedpref.core.types import Adversary, Participation, Unit
from fedpref.errors import PlanError
from fedpref.releases import Wanted
from fedpref.secagg.neighbours import MOST_ON_REQUEST

MOST_ROUNDS = 1_000_000
LARGEST_EPSILON = 64.0
MIN_SURVIVORS = 0.9
COLLUDERS = 0.1
COORDINATES = 1_000_000
"""What is assumed of distributed noise where the question does not say."""


class Place(StrEnum):
    """Where the noise is added."""

    CENTRAL = "central"
    DISTRIBUTED = "distributed"
    DEVICE = "device"
    LABEL = "label"


class Takes(StrEnum):
    """Who takes part in a round."""

    ALL = "all"
    HIDDEN = "hidden"
    SERVER = "server"
    FIXED = "fixed"


@dataclass(frozen=True)
class Question:
    """What is given; ``None`` is computed or has its default.

    Args:
        users: People enrolled.
        cohort: People who are expected in a round.
        unit: What one epsilon is about.
        noise: Where the noise is added.
        participation: Who takes part in a round.
        rounds: Releases.
        epsilon: What all rounds may cost against ``against``.
        against: Whose epsilon is given; by default the server's where it can be finite.
        noise_multiplier: Standard deviation over sensitivity.
        delta: Default min(1e-5, 1 / (10 users)); 0 for labels, which need none.
        min_survivors: Fewest contributions of a round, as a share below 1 or a count.
        colluders: Bad identities, as a share below 1 or a count.
        coordinates: Length of the released vector, for distributed noise only.
        keep: Chance that a label is sent as it is.
        options: Possible labels.

    Raises:
        PlanError: Settings that make no sense, all of them at once.
    """

    users: int
    cohort: int
    unit: Unit
    noise: Place
    participation: Takes
    rounds: int | None = None
    epsilon: float | None = None
    against: Adversary | None = None
    noise_multiplier: float | None = None
    delta: float | None = None
    min_survivors: float | None = None
    colluders: float | None = None
    keep: float | None = None
    options: int | None = None
    coordinates: int | None = None

    def __post_init__(self) -> None:
        if found := list(_problems(self)):
            raise PlanError("this cannot be planned:\n  " + "\n  ".join(found))

    @property
    def rate(self) -> Fraction:
        """Chance of a person to be drawn in a round."""
        return Fraction(self.cohort, self.users)

    @property
    def asked(self) -> int:
        """People asked in a round: all, where coins hide whose answer counts."""
        hidden = self.participation is Takes.HIDDEN
        return self.users if hidden else self.cohort

    @property
    def bound(self) -> Adversary:
        """Whose epsilon is given or kept."""
        if self.against is not None or self.noise is Place.LABEL:
            return self.against or Adversary.OUTSIDER
        finite = self.noise is Place.DISTRIBUTED and not self.wanted.cohort.neighbours
        return Adversary.SERVER if finite else Adversary.OUTSIDER

    @property
    def amplified(self) -> bool:
        """Whether a secret draw of people lowers what an outsider learns.

        Never for a record: its owner's other records show whether they were drawn.
        """
        if self.participation is not Takes.SERVER:
            return False
        if self.noise is Place.DISTRIBUTED:
            return self.wanted.rate(Adversary.OUTSIDER) < 1
        return self.cohort < self.users and self.unit is Unit.USER

    @cached_property
    def wanted(self) -> Wanted:
        """A round with distributed noise, apart from the noise.

        Raises:
            PlanError: The secure sum has no threshold for these people.
        """
        people, drawn = self.asked, self.participation is Takes.SERVER
        counts = cohorts.secure(
            people,
            self._share(self.colluders, COLLUDERS),
            self._share(self.min_survivors, MIN_SURVIVORS),
            drawn_from=self.users if drawn else None,
            complete=people <= MOST_ON_REQUEST,
        )
        hidden = self.participation is Takes.HIDDEN
        return Wanted(
            unit=self.unit,
            participation=Participation(self.participation.value),
            enrolled=self.users,
            cohort=counts,
            sampling_prob=self.rate if hidden else Fraction(1),
            coordinates=self.coordinates or COORDINATES,
            units_per_client=1,
            word_bits=24,
        )

    def _share(self, given: float | None, default: float) -> Fraction:
        if given is None:
            return cohorts.exact(default)
        if given < 1:
            return cohorts.exact(given)
        return Fraction(int(given), self.asked)

    @property
    def chosen_delta(self) -> float:
        """The delta of every epsilon of the answer."""
        if self.noise is Place.LABEL:
            return 0.0
        return self.delta or min(1e-5, 1 / (10 * self.users))

    def count(self, share_or_count: float | None) -> int:
        """A share of the cohort, rounded up, or a count as it is.

        >>> question = Question(1000, 95, *CENTRAL, rounds=1, epsilon=1.0)
        >>> question.count(0.5), question.count(7), question.count(None)
        (48, 7, 0)
        """
        wanted = share_or_count or 0.0
        return cohorts.share_of(wanted, self.asked) if wanted < 1 else int(wanted)


CENTRAL = (Unit.USER, Place.CENTRAL, Takes.ALL)


def _problems(q: Question) -> Iterator[str]:
    if q.users < 2:
        yield f"users = {q.users}, must be >= 2: one person cannot hide in a sum"
    if not 1 <= q.cohort <= q.users:
        yield f"cohort = {q.cohort}, must be >= 1 and <= users = {q.users}"
    if q.rounds is not None and not 1 <= q.rounds <= MOST_ROUNDS:
        yield f"rounds = {q.rounds}, must be >= 1 and <= {MOST_ROUNDS}"
    if q.epsilon is not None and not 0 < q.epsilon <= LARGEST_EPSILON:
        yield (
            f"epsilon = {q.epsilon:g}, must be > 0 and <= {LARGEST_EPSILON:g}: beyond "
            "that nothing is protected"
        )
    if q.delta is not None and not 0 < q.delta < 1 / max(1, q.users):
        yield (
            f"delta = {q.delta:g}, must be > 0 and < 1/users, or one person could be "
            "published outright"
        )
    yield from _count_problems(q)
    if (q.noise is Place.LABEL) != (q.unit is Unit.LABEL):
        yield f"noise = {q.noise} with unit = {q.unit}: label goes with label"
    elif q.noise is Place.LABEL:
        yield from _label_problems(q)
    else:
        yield from _sum_problems(q)


def _count_problems(q: Question) -> Iterator[str]:
    named = (("min_survivors", q.min_survivors), ("colluders", q.colluders))
    for name, value in named:
        if value is None:
            continue
        if not isfinite(value) or value < 0 or (value >= 1 and value != int(value)):
            yield f"{name} = {value:g}, must be a share below 1 or a whole number"
        elif q.count(value) > q.asked:
            yield f"{name} = {value:g}, must be <= cohort = {q.asked}"


def _label_problems(q: Question) -> Iterator[str]:
    if (q.epsilon is None) == (q.keep is None):
        yield "noise = label: give either epsilon or keep"
    if q.noise_multiplier is not None:
        yield "noise = label: has no noise_multiplier; give epsilon or keep"
    options = 2 if q.options is None else q.options
    if not 2 <= options < 2**31:
        yield f"options = {options}, must be >= 2"
    elif q.keep is not None and not 1 / options <= q.keep < 1:
        yield f"keep = {q.keep:g}, must be >= 1/options = {1 / options:.4g} and < 1"


def _sum_problems(q: Question) -> Iterator[str]:
    if q.noise is Place.DEVICE:
        yield (
            "noise = device: not planned before devices train on their own; use noise "
            "= distributed, central or label"
        )
        return
    if q.keep is not None or q.options is not None:
        yield "keep and options: belong to noise = label"
    if sum(v is not None for v in (q.rounds, q.epsilon, q.noise_multiplier)) != 2:
        yield "give two of rounds, epsilon and noise_multiplier; the third is computed"
    z = q.noise_multiplier
    if z is not None and not 2.0**-10 <= z <= 2.0**40:
        yield f"noise_multiplier = {z:g}, must be >= 2**-10 and <= 2**40"
    if q.noise is Place.DISTRIBUTED:
        yield from _distributed_problems(q)
        return
    if q.coordinates is not None:
        yield "coordinates: belong to noise = distributed"
    if q.participation is Takes.HIDDEN:
        yield (
            "participation = hidden: needs noise = distributed; with central noise the "
            "server sees who contributes what"
        )
    if q.against is Adversary.SERVER:
        yield (
            "against = server: with central noise the server sees every update and its "
            "epsilon is infinite; use against = outsider"
        )


def _distributed_problems(q: Question) -> Iterator[str]:
    if q.coordinates is not None and not 1 <= q.coordinates <= 2**28:
        yield f"coordinates = {q.coordinates}, must be >= 1 and <= 2**28"
    least = q.min_survivors
    if least is not None and least <= 0:
        yield f"min_survivors = {least:g}, must be > 0: nobody would add noise"
    if q.asked < 2:
        yield f"cohort = {q.asked}, must be >= 2: one person cannot hide in a sum"
