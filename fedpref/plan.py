"""The one place where clip, grid, noise, divisor and privacy event are tied together.

``PrivacySpec`` says what is wanted; ``calibrate`` turns it into the frozen
``PrivacyPlan`` that every round, message and report refers to by its digest.

Guarantees: numbers that must agree come from one value: noise, shares and thresholds
are sized from one cohort, the event is made of that noise, and the epsilons are the
price of that event over all planned and spare rounds. The claim is this *sealed plan*:
it is fixed before the first release; stopping early is allowed and returns nothing.

Does not give: enforcement across runs. That needs the ledger.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from math import sqrt
from typing import Any

from fedpref import cohorts, releases
from fedpref.cohorts import Cohort
from fedpref.core.accounting import Spent, calibrate, epsilon_of
from fedpref.core.events import Event
from fedpref.core.scale import Scale
from fedpref.core.types import Adversary, Grid, Noise, Participation, Relation, Unit
from fedpref.errors import PlanError
from fedpref.plan_problems import problems
from fedpref.releases import Release, Wanted
from fedpref.stages import Moment, Purpose, Stage

_COARSE = 1e-3  # PLD grid of the search; an upper bound like any other


@dataclass(frozen=True)
class PrivacySpec:
    """What is wanted of a run; public, and free of anything derived from answers.

    Args:
        unit: Whose contribution is bounded.
        noise: Where noise is added.
        participation: Who contributes in a round.
        against: The adversary whose epsilon ``target_epsilon`` binds.
        target_epsilon: Largest epsilon of the whole plan; ``None`` without noise.
        delta: Chance of a worse loss; ``None`` means min(1e-5, 1 / (10 units)).
        clip: Largest norm of one unit's contribution, in model units.
        rounds: Releases planned.
        spare_rounds: Rounds that may be given up on the way and are paid for.
        units: People enrolled.
        cohort: People in a round: all enrolled (all, hidden), drawn on average from
            the enrolled (server), or named (fixed). The divisor is made of it.
        units_per_client: Most records that one person contributes; 1 for users.
        sampling_prob: Chance of a unit to contribute, by its device's own secret coin:
            a person's with participation = hidden, a record's with unit = record.
        coordinates: Length of the released vector.
        min_survivors: Smallest share of the cohort with which a round counts.
        colluders: Share of the cohort that may be bad.
        word_bits: Size of a masked word: 24, or 16 with a rotated vector.
        complete_graph: Whether everybody shares secrets with everybody.
        evaluation: Whether the released model is evaluated on the devices, by one more
            release of the same event, under the last number.
        moment: The release of the second moment of people's own offsets, after
            training and with noise of its own; ``None`` if there is none.

    Raises:
        PlanError: Settings that make no sense, all of them at once.
    """

    unit: Unit
    noise: Noise
    participation: Participation
    against: Adversary
    target_epsilon: float | None
    delta: float | None
    clip: float
    rounds: int
    spare_rounds: int
    units: int
    cohort: int
    units_per_client: int
    sampling_prob: Fraction
    coordinates: int
    min_survivors: float
    colluders: float
    word_bits: int
    complete_graph: bool
    evaluation: bool = False
    moment: Moment | None = None

    def __post_init__(self) -> None:
        if found := list(problems(self)):
            raise PlanError("no privacy plan satisfies this:\n  " + "\n  ".join(found))

    @property
    def training_rounds(self) -> int:
        """Rounds that may train: planned and spare."""
        return self.rounds + self.spare_rounds

    @property
    def reserved_rounds(self) -> int:
        """Releases that are paid for: those that may train, and what comes after."""
        after = int(self.moment is not None) + int(self.evaluation)
        return self.training_rounds + after

    @cached_property
    def counts(self) -> Cohort:
        """Survivors, colluders and threshold of a round.

        Raises:
            PlanError: No threshold is legal.
        """
        if self.noise is not Noise.DISTRIBUTED:
            return cohorts.central(self.cohort, self.colluders, self.min_survivors)
        drawn = self.participation is Participation.SERVER
        return cohorts.secure(
            self.cohort,
            self.colluders,
            self.min_survivors,
            drawn_from=self.units if drawn else None,
            complete=self.complete_graph,
        )

    def calibrate(self) -> "PrivacyPlan":
        """The plan with the least noise that keeps the target.

        Raises:
            PlanError: The target cannot be reached, or no grid or threshold fits.
        """
        if self.noise is Noise.NONE:
            return PrivacyPlan(self, None)
        assert self.target_epsilon is not None  # __post_init__ refused its absence
        rate = float(_wanted(self, self.coordinates).rate(self.against))
        multiplier, _ = calibrate(
            lambda z: _sought(self, z),
            self.target_epsilon,
            start=max(1.0, 2 * rate * sqrt(self.reserved_rounds)),
        )
        return PrivacyPlan(self, multiplier)


@dataclass(frozen=True)
class PrivacyPlan:
    """Everything that decides the guarantee, sealed before the first release.

    ``noise_multiplier`` is standard deviation over sensitivity (``None``: no noise).

    Raises:
        PlanError: The noise does not keep what the specification asks for, or no grid
            has room for it.
    """

    spec: PrivacySpec
    noise_multiplier: Fraction | None

    def __post_init__(self) -> None:
        multiplier, target = self.noise_multiplier, self.spec.target_epsilon
        if self.spec.noise is Noise.NONE:
            if multiplier is not None:
                raise PlanError(f"noise_multiplier = {multiplier} with noise = none")
            return
        if not isinstance(multiplier, Fraction) or multiplier <= 0:
            raise PlanError(f"noise_multiplier = {multiplier}, must be a Fraction > 0")
        against = self.spec.against
        spent = self.spent(self.spec.reserved_rounds, against).epsilon
        if target is None or spent > target:
            raise PlanError(
                f"noise_multiplier = {float(multiplier):g}: the plan costs "
                f"{spent:.3g} against the {against}, more than target_epsilon = "
                f"{target}; use PrivacySpec.calibrate()"
            )

    @property
    def relation(self) -> Relation:
        """What two neighbouring data sets differ in."""
        return Relation.ZERO_OUT

    @property
    def reserved_rounds(self) -> int:
        """Releases that are paid for: rounds, spare ones, and what comes after."""
        return self.spec.reserved_rounds

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """All that is released, in the order of its numbers."""
        return _stages(self.spec, self.noise_multiplier)

    def stage(self, number: int) -> Stage:
        """What the release with this number, from 1, is for.

        Raises:
            PlanError: There is none.
        """
        for stage in self.stages:
            if stage.first <= number <= stage.last:
                return stage
        raise PlanError(f"release = {number}, but the plan has {self.reserved_rounds}")

    def require(self, purpose: Purpose) -> Stage:
        """The stage for ``purpose``.

        Raises:
            PlanError: It is not planned.
        """
        for stage in self.stages:
            if stage.purpose is purpose:
                return stage
        raise PlanError(f"no release of this plan is for {purpose}")

    @property
    def training(self) -> Stage:
        """The stage that trains; the properties below are those of its rounds."""
        return self.stages[0]

    @property
    def events(self) -> dict[Adversary, Event]:
        """What one round releases to each adversary."""
        return dict(self.training.events)

    @property
    def event(self) -> Event:
        """What one round releases to an outsider."""
        return self.training.events[Adversary.OUTSIDER]

    @property
    def scale(self) -> Scale | None:
        """Grid and share of distributed noise; ``None`` where there is none."""
        return self.training.scale

    @property
    def words(self) -> int:
        """Length of what one device sends: padded where it is rotated."""
        return self.training.words

    @property
    def grid(self) -> Grid:
        """The public grid on which units are rounded and noise is drawn."""
        return self.training.grid

    @property
    def sensitivity_squared(self) -> int:
        """Squared bound on one unit's contribution, in grid steps."""
        return self.training.sensitivity_squared

    @property
    def noise_variance_grid(self) -> Fraction:
        """Least variance of a round's noise, in squared grid steps; 0 without noise."""
        return self.training.noise_variance_grid

    @property
    def noise_stddev_grid(self) -> int:
        """Its standard deviation in whole steps, rounded down."""
        return self.training.noise_stddev_grid

    @property
    def share_variance(self) -> int:
        """Variance of one device's share of noise, in squared grid steps."""
        return self.training.share_variance

    @property
    def delta(self) -> float:
        """The delta of every epsilon of this plan."""
        return _delta(self.spec)

    @property
    def divisor(self) -> float:
        """What sums are divided by: contributions expected times clip, a constant."""
        spec = self.spec
        units = spec.cohort * spec.units_per_client * spec.sampling_prob
        return float(units) * spec.clip

    @property
    def min_survivors(self) -> int:
        """Fewest contributions with which a round is released, n_min."""
        return self.spec.counts.min_survivors

    @property
    def colluders(self) -> int:
        """Bad identities that the noise and the threshold allow for, C."""
        return self.spec.counts.colluders

    @property
    def threshold(self) -> int:
        """Shares that open a secret of the secure sum, t; 0 without one."""
        return self.spec.counts.threshold

    def spent(self, rounds: int, against: Adversary = Adversary.OUTSIDER) -> Spent:
        """Price of the releases 1 to ``rounds``, against an outsider unless said."""
        return epsilon_of(_counts(self.stages, rounds, against), self.delta)

    def epsilons(self, rounds: int) -> dict[Adversary, Spent]:
        """Price of the releases 1 to ``rounds``, by adversary."""
        return {who: self.spent(rounds, who) for who in Adversary}

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the plan's canonical JSON; every message carries it."""
        return hashlib.sha256(
            json.dumps(self.sealed(), sort_keys=True).encode()
        ).digest()

    def sealed(self) -> dict[str, Any]:
        """The plan's defining values, exact, as JSON types."""
        multiplier = self.noise_multiplier
        return {
            "format": 3,
            "spec": _exact(asdict(self.spec)),
            "relation": self.relation,
            "noise_multiplier": _exact(multiplier),
            "counts": asdict(self.spec.counts),
            "stages": [_sealed(stage) for stage in self.stages],
        }


def _sealed(stage: Stage) -> dict[str, Any]:
    return {
        "purpose": stage.purpose,
        "first": stage.first,
        "rounds": stage.rounds,
        "coordinates": stage.coordinates,
        "multiplier": _exact(stage.multiplier),
        "grid_step": repr(stage.grid.step),
        "sensitivity_squared": stage.sensitivity_squared,
        "noise_variance_grid": str(stage.noise_variance_grid),
        "share_variance": stage.share_variance,
        "scale": None if stage.scale is None else asdict(stage.scale),
    }


def _exact(value: Any) -> Any:
    """A float as its shortest decimal, a fraction as two integers."""
    if isinstance(value, dict):
        return {key: _exact(item) for key, item in value.items()}
    if isinstance(value, Fraction):
        return str(value)
    return repr(value) if isinstance(value, float) else value


def _delta(spec: PrivacySpec) -> float:
    return spec.delta or min(1e-5, 1 / (10 * spec.units * spec.units_per_client))


def _wanted(spec: PrivacySpec, coordinates: int) -> Wanted:
    return Wanted(
        unit=spec.unit,
        participation=spec.participation,
        enrolled=spec.units,
        cohort=spec.counts,
        sampling_prob=spec.sampling_prob,
        coordinates=coordinates,
        units_per_client=spec.units_per_client,
        word_bits=spec.word_bits,
    )


def _stages(
    spec: PrivacySpec, multiplier: Fraction | None, *, seeking: bool = False
) -> tuple[Stage, ...]:
    """All stages, given the noise multiplier of training."""
    purposes = [(Purpose.TRAINING, spec.training_rounds, multiplier, spec.coordinates)]
    if spec.moment is not None:
        others = spec.training_rounds + int(spec.evaluation)
        own = multiplier and spec.moment.multiplier(multiplier, others)
        size = max(spec.moment.size, spec.coordinates)  # the model has to fit as well
        purposes.append((Purpose.MOMENT, 1, own, size))
    if spec.evaluation:
        purposes.append((Purpose.EVALUATION, 1, multiplier, spec.coordinates))
    stages, first = [], 1
    for purpose, rounds, noise, size in purposes:
        release = _release(spec, noise, size, seeking=seeking)
        stage = Stage(purpose, first, rounds, size, spec.clip, noise, release)
        stages.append(stage)
        first += rounds
    return tuple(stages)


def _release(
    spec: PrivacySpec, multiplier: Fraction | None, coordinates: int, *, seeking: bool
) -> Release:
    wanted = _wanted(spec, coordinates)
    if multiplier is None:
        return releases.bare(wanted)
    if spec.noise is Noise.DISTRIBUTED:
        try:
            return releases.distributed(wanted, multiplier)
        except PlanError:
            if not seeking:
                raise
            return releases.ideal(wanted, multiplier)
    square = Grid.for_clip(spec.clip).sensitivity_squared(spec.clip)
    return releases.central(wanted, multiplier, square)


def _counts(
    stages: tuple[Stage, ...], rounds: int, against: Adversary
) -> list[tuple[Event, int]]:
    """Events of the releases 1 to ``rounds``; equal ones are counted together."""
    counts: dict[Event, int] = {}
    for stage in stages:
        done = min(stage.rounds, rounds - stage.first + 1)
        if done > 0:
            event = stage.events[against]
            counts[event] = counts.get(event, 0) + done
    return list(counts.items())


def _sought(spec: PrivacySpec, multiplier: Fraction) -> Spent:
    """Price of the whole plan, on a coarse grid of losses."""
    stages = _stages(spec, multiplier, seeking=True)
    counts = _counts(stages, spec.reserved_rounds, spec.against)
    return epsilon_of(counts, _delta(spec), interval=_COARSE)
