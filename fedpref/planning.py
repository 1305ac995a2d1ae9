"""What a plan would cost before anything exists: rounds, epsilon, noise.

Guarantees: a price is that of the very events that a run of these settings would book,
composed over all rounds; what is solved for errs on the private side (more noise, fewer
rounds, labels kept less often); amplification by sampling is credited only where the
adversary cannot see the draw, and only to a person as a whole.

Does not give: a reservation. Nothing here is enforced; ``fedpref.plan`` seals what a
run does and the ledger keeps to it. Noise on each device alone is not planned yet.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from math import exp, inf, sqrt

from fedpref import releases
from fedpref.core.accounting import INTERVAL, Spent, calibrate, epsilon_of
from fedpref.core.events import (
    Event,
    GaussianSum,
    PoissonGaussianSum,
    PoissonSkellamSum,
    RandomisedResponse,
    SkellamSum,
)
from fedpref.core.noise import stddev_steps
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import PlanError
from fedpref.questions import MOST_ROUNDS, Place, Question

EPSILONS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_COORDINATES = 10**8  # more than any adapter has: the sampler's tail is then covered
_SENSITIVITY_SQUARED = 2**48  # the coarsest grid of a plan: 2**24 steps in a clip
_COARSE = 1e-3  # PLD grid of what is only compared; an upper bound like any other


@dataclass(frozen=True)
class Answer:
    """A complete plan: what was given, and what follows from it."""

    question: Question
    rounds: int | None
    multiplier: Fraction | None
    keep: Fraction | None
    price: float

    @cached_property
    def epsilon(self) -> dict[Adversary, float]:
        """By adversary; a server that adds the noise sees what it is added to."""
        if self.question.noise is Place.LABEL:
            return dict.fromkeys(Adversary, self.price)
        return {who: self._against(who) for who in Adversary}

    @cached_property
    def unsampled(self) -> float | None:
        """Price against whoever sees who contributes; ``None`` for labels."""
        return self._at(Fraction(1))

    @cached_property
    def sampled(self) -> float | None:
        """Price against an outsider if the server drew people in secret.

        ``None`` where that is no question: labels, records, everybody drawn, or noise
        that needs the secure sum, which is sized for one way to take part.
        """
        q = self.question
        if q.unit is not Unit.USER or q.cohort == q.users:
            return None
        return None if q.noise is Place.DISTRIBUTED else self._at(q.rate)

    @property
    def noise_on_average(self) -> float | None:
        """Standard deviation of the released average, in clips, a coordinate."""
        if self.multiplier is None:
            return None
        return float(self.multiplier) / self.question.cohort

    def _against(self, who: Adversary) -> float:
        q = self.question
        if who is q.bound:
            return self.price
        if q.noise is Place.CENTRAL and who is Adversary.SERVER:
            return inf
        assert self.multiplier is not None
        assert self.rounds is not None
        event = _event(q, self.multiplier, _rate(q, who), who)
        return epsilon_of([(event, self.rounds)], q.chosen_delta).epsilon

    def _at(self, rate: Fraction) -> float | None:
        if self.multiplier is None or self.rounds is None:
            return None
        q = self.question
        if rate == _rate(q, q.bound):
            return self.price
        event = _event(q, self.multiplier, rate, q.bound)
        return epsilon_of([(event, self.rounds)], q.chosen_delta).epsilon


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
    names = [field.name for field in fields(given)]
    values = {name: getattr(given, name) for name in names} | {"keep": None}
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
    rate = _rate(question, question.bound)
    rounds, multiplier = question.rounds, None
    if question.noise_multiplier is not None:
        multiplier = Fraction(question.noise_multiplier)
    if rounds is None:
        assert multiplier is not None
        rounds = _most_rounds(question, multiplier, interval)
    if multiplier is None:
        assert question.epsilon is not None
        count = rounds
        multiplier, _ = calibrate(
            lambda z: _price(question, z, count, interval, sought=True),
            question.epsilon,
            start=max(1.0, 2 * float(rate) * sqrt(rounds)),
        )
    spent = _price(question, multiplier, rounds, interval)
    return Answer(question, rounds, multiplier, None, spent.epsilon)


def _most_rounds(
    question: Question,
    multiplier: Fraction,
    interval: float | None,
) -> int:
    """The most rounds within the epsilon, by bisection: prices grow with rounds."""
    assert question.epsilon is not None
    target = question.epsilon

    def fits(rounds: int) -> bool:
        return _price(question, multiplier, rounds, interval).epsilon <= target

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
    interval: float | None = None,
    *,
    sought: bool = False,
) -> Spent:
    """Price against the adversary whose epsilon counts.

    While noise is ``sought`` that of distributed noise is taken without a grid where
    none has room for it, and losses of what is sampled are on the coarse one.
    """
    who, rate = question.bound, _rate(question, question.bound)
    distributed = question.noise is Place.DISTRIBUTED
    try:
        event = _event(question, multiplier, rate, who)
    except PlanError:
        if not (sought and distributed):
            raise
        event = releases.ideal(question.wanted, multiplier).events[who]
    if interval is None:
        interval = _COARSE if sought and distributed else INTERVAL
    return epsilon_of([(event, rounds)], question.chosen_delta, interval=interval)


def _rate(question: Question, who: Adversary) -> Fraction:
    """Chance of a person to contribute, given all that ``who`` sees."""
    if question.noise is Place.DISTRIBUTED:
        return question.wanted.rate(who)
    return question.rate if question.amplified else Fraction(1)


def _event(
    question: Question, multiplier: Fraction, rate: Fraction, who: Adversary
) -> Event:
    """What one round releases to ``who``, to whom a contribution is that likely."""
    if question.noise is Place.DISTRIBUTED:
        return _skellam(question, multiplier, rate, who)
    unit, relation, square = question.unit, Relation.ZERO_OUT, _SENSITIVITY_SQUARED
    variance = Fraction(stddev_steps(square, multiplier)) ** 2
    if rate == 1:
        return GaussianSum(unit, relation, square, variance, _COORDINATES)
    return PoissonGaussianSum(unit, relation, rate, square, variance, _COORDINATES)


@lru_cache(maxsize=1024)
def _skellam(
    question: Question, multiplier: Fraction, rate: Fraction, who: Adversary
) -> Event:
    wanted = question.wanted
    try:
        event = releases.distributed(wanted, multiplier).events[who]
    except PlanError:  # a large cohort: as a run with longer words
        longer = replace(wanted, word_bits=32)
        event = releases.distributed(longer, multiplier).events[who]
    if isinstance(event, PoissonSkellamSum) and rate == 1:
        values = {f.name: getattr(event, f.name) for f in fields(SkellamSum)}
        return SkellamSum(**values)
    return event


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
