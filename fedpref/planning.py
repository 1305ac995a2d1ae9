"""What a plan would cost before anything exists: rounds, epsilon, noise.

Guarantees: a price is that of the very events that a run of these settings would book,
composed over all rounds; what is solved for errs on the private side (more noise, fewer
rounds, labels kept less often); amplification by sampling is credited only where the
adversary cannot see the draw, and only to a person as a whole.

Does not give: a reservation. Nothing here is enforced; ``fedpref.plan`` seals what a
run does and the ledger keeps to it. Noise that needs secure aggregation is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from math import ceil, exp, inf, isfinite, sqrt

from fedpref.core.accounting import Spent, calibrate, epsilon_of
from fedpref.core.events import (
    Event,
    GaussianSum,
    PoissonGaussianSum,
    RandomisedResponse,
)
from fedpref.core.noise import stddev_steps
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import PlanError

EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MOST_ROUNDS = 1_000_000
LARGEST_EPSILON = 64.0
_COORDINATES = 10**8  # more than any adapter has: the sampler's tail is then covered
_SENSITIVITY_SQUARED = 2**48  # the coarsest grid of a plan: 2**24 steps in a clip
_COARSE = 1e-3  # PLD grid of what is only compared; an upper bound like any other


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

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise PlanError("this cannot be planned:\n  " + "\n  ".join(problems))

    @property
    def rate(self) -> Fraction:
        """Chance of a person to be drawn in a round."""
        return Fraction(self.cohort, self.users)

    @property
    def amplified(self) -> bool:
        """Whether a secret draw lowers what an outsider learns.

        Never for a record: its owner's other records show whether they were drawn.
        """
        drawn = self.participation is Takes.SERVER and self.cohort < self.users
        return drawn and self.unit is Unit.USER

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
        # through the shortest decimal, so that 0.7 of 10 is 7 and not 8
        exact = Fraction(repr(float(wanted)))
        return ceil(exact * self.cohort) if wanted < 1 else int(wanted)


CENTRAL = (Unit.USER, Place.CENTRAL, Takes.ALL)


@dataclass(frozen=True)
class Answer:
    """A complete plan: what was given, and what follows from it."""

    question: Question
    rounds: int | None
    multiplier: Fraction | None
    keep: Fraction | None
    price: float

    @property
    def epsilon(self) -> dict[Adversary, float]:
        """By adversary; a server that adds the noise sees what it is added to."""
        central = self.question.noise is Place.CENTRAL
        return {
            Adversary.SERVER: inf if central else self.price,
            Adversary.OUTSIDER: self.price,
        }

    @cached_property
    def unsampled(self) -> float | None:
        """Price against whoever sees the draw; ``None`` for labels."""
        return self._at(None)

    @cached_property
    def sampled(self) -> float | None:
        """Price against an outsider if the server drew people in secret."""
        q = self.question
        if q.unit is not Unit.USER or q.cohort == q.users:
            return None
        return self._at(q.rate)

    @property
    def noise_on_average(self) -> float | None:
        """Standard deviation of the released average, in clips, a coordinate."""
        if self.multiplier is None:
            return None
        return float(self.multiplier) / self.question.cohort

    def _at(self, rate: Fraction | None) -> float | None:
        if self.multiplier is None or self.rounds is None:
            return None
        if rate == (self.question.rate if self.question.amplified else None):
            return self.price
        return _price(self.question, self.multiplier, self.rounds, rate).epsilon


def solve(question: Question) -> Answer:
    """Compute what is not given.

    Raises:
        PlanError: The epsilon cannot be kept: not by any noise, or not for one round.
    """
    if question.noise is Place.LABEL:
        return _label(question)
    return _sum(question, interval=None)


def table(answer: Answer) -> tuple[Answer, ...]:
    """What each of ``EPSILONS`` would take: the noise, or the rounds that it allows.

    Those that cannot be kept are left out. Prices are on a coarser grid here: upper
    bounds too, and up to a percent above what :func:`solve` finds where people are
    drawn in secret.
    """
    return tuple(_rows(answer))


def _rows(answer: Answer) -> Iterator[Answer]:
    given = answer.question
    by_rounds = given.rounds is None and given.noise is not Place.LABEL
    values = vars(given) | {"keep": None, "against": None}
    if by_rounds:
        values["noise_multiplier"] = float(answer.multiplier or 0)
    else:
        values |= {"noise_multiplier": None, "rounds": answer.rounds}
    for epsilon in EPSILONS:
        question = Question(**(values | {"epsilon": epsilon}))
        try:
            if given.noise is Place.LABEL:
                yield _label(question)
            else:
                yield _sum(question, interval=_COARSE)
        except PlanError:
            continue


def _sum(question: Question, interval: float | None) -> Answer:
    rate = question.rate if question.amplified else None
    rounds, multiplier = question.rounds, None
    if question.noise_multiplier is not None:
        multiplier = Fraction(question.noise_multiplier)
    if rounds is None:
        assert multiplier is not None
        rounds = _most_rounds(question, multiplier, rate, interval)
    if multiplier is None:
        assert question.epsilon is not None
        count, drawn = rounds, float(rate or 1)
        multiplier, spent = calibrate(
            lambda z: _price(question, z, count, rate, interval),
            question.epsilon,
            start=max(1.0, 2 * drawn * sqrt(rounds)),
        )
    else:
        spent = _price(question, multiplier, rounds, rate, interval)
    return Answer(question, rounds, multiplier, None, spent.epsilon)


def _most_rounds(
    question: Question,
    multiplier: Fraction,
    rate: Fraction | None,
    interval: float | None,
) -> int:
    """The most rounds within the epsilon, by bisection: prices grow with rounds."""
    assert question.epsilon is not None
    target = question.epsilon

    def fits(rounds: int) -> bool:
        return _price(question, multiplier, rounds, rate, interval).epsilon <= target

    low, high = 0, 1
    while high <= MOST_ROUNDS and fits(high):
        low, high = high, 2 * high
    while high - low > 1 and low < MOST_ROUNDS:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if low == 0:
        raise PlanError(
            f"noise_multiplier = {float(multiplier):g}: one round costs more than "
            f"epsilon = {target:g}; take more noise or a larger epsilon"
        )
    return min(low, MOST_ROUNDS)


def _price(
    question: Question,
    multiplier: Fraction,
    rounds: int,
    rate: Fraction | None,
    interval: float | None = None,
) -> Spent:
    event = _event(question, multiplier, rate)
    options = {} if interval is None else {"interval": interval}
    return epsilon_of([(event, rounds)], question.chosen_delta, **options)


def _event(question: Question, multiplier: Fraction, rate: Fraction | None) -> Event:
    unit, relation, square = question.unit, Relation.ZERO_OUT, _SENSITIVITY_SQUARED
    variance = Fraction(stddev_steps(square, multiplier)) ** 2
    if rate is None:
        return GaussianSum(unit, relation, square, variance, _COORDINATES)
    return PoissonGaussianSum(unit, relation, rate, square, variance, _COORDINATES)


def _label(question: Question) -> Answer:
    """K-ary randomised response, sent once and remembered: rounds cost nothing."""
    options = question.options or 2
    if question.keep is not None:
        keep = Fraction(question.keep)
    else:
        assert question.epsilon is not None
        # e^eps / (e^eps + K - 1), with a little less kept than that
        odds = Fraction(exp(-question.epsilon) * (1 + 1e-12))
        keep = max(Fraction(1, options), 1 / (1 + (options - 1) * odds))
        keep = keep.limit_denominator(10**40)
    event = RandomisedResponse(Unit.LABEL, Relation.REPLACE_LABEL, options, keep)
    return Answer(question, question.rounds, None, keep, event.epsilon)


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
        elif q.count(value) > q.cohort:
            yield f"{name} = {value:g}, must be <= cohort = {q.cohort}"


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
    if q.noise is not Place.CENTRAL:
        yield (
            f"noise = {q.noise}: not planned before secure aggregation is part of "
            "fedpref; use noise = central or noise = label"
        )
        return
    if q.keep is not None or q.options is not None:
        yield "keep and options: belong to noise = label"
    if sum(v is not None for v in (q.rounds, q.epsilon, q.noise_multiplier)) != 2:
        yield "give two of rounds, epsilon and noise_multiplier; the third is computed"
    z = q.noise_multiplier
    if z is not None and not 2.0**-10 <= z <= 2.0**40:
        yield f"noise_multiplier = {z:g}, must be >= 2**-10 and <= 2**40"
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
