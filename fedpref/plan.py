"""The one place where clip, grid, noise, divisor and privacy event are tied together.

``PrivacySpec`` says what is wanted; ``calibrate`` turns it into the frozen
``PrivacyPlan`` that every round, message and report refers to by its digest.

Guarantees: numbers that must agree come from one value: the noise is sized from the
sensitivity of the grid and clip, the event is made of that noise, and the epsilons are
the price of that event over all planned rounds. The claim is this *sealed plan*: it is
fixed before the first release; stopping early is allowed and returns nothing.

Does not give: enforcement across runs. That needs the ledger.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, inf, isfinite, isqrt, sqrt
from typing import Any

from fedpref.core.accounting import Spent, calibrate, epsilon
from fedpref.core.events import Event, GaussianSum, NonPrivate
from fedpref.core.noise import stddev_steps
from fedpref.core.types import (
    Adversary,
    Grid,
    Noise,
    Participation,
    Relation,
    Unit,
)
from fedpref.errors import PlanError

_LARGEST_EPSILON = 64.0


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
        units: People enrolled. A public number: it is the divisor.
        coordinates: Length of the released vector.
        min_survivors: Smallest share of the enrolled with which a round counts.

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
    units: int
    coordinates: int
    min_survivors: float

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise PlanError(
                "no privacy plan satisfies this:\n  " + "\n  ".join(problems)
            )

    def calibrate(self) -> "PrivacyPlan":
        """The plan with the least noise that keeps the target.

        Raises:
            PlanError: The target cannot be reached.
        """
        if self.noise is Noise.NONE:
            return PrivacyPlan(self, None)
        assert self.target_epsilon is not None  # __post_init__ refused its absence
        multiplier, _ = calibrate(
            lambda z: _price(self, z, self.rounds),
            self.target_epsilon,
            start=sqrt(self.rounds),
        )
        return PrivacyPlan(self, multiplier)


@dataclass(frozen=True)
class PrivacyPlan:
    """Everything that decides the guarantee, sealed before the first release.

    ``noise_multiplier`` is standard deviation over sensitivity (``None``: no noise).

    Raises:
        PlanError: The noise does not keep what the specification asks for.
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
        spent = self.spent(self.spec.rounds).epsilon
        if target is None or spent > target:
            raise PlanError(
                f"noise_multiplier = {float(multiplier):g}: the plan costs "
                f"{spent:.3g}, more than target_epsilon = {target}; use "
                "PrivacySpec.calibrate()"
            )

    @property
    def relation(self) -> Relation:
        """What two neighbouring data sets differ in."""
        return Relation.ZERO_OUT

    @property
    def grid(self) -> Grid:
        """The public grid on which units are rounded and noise is drawn."""
        return Grid.for_clip(self.spec.clip)

    @property
    def sensitivity_squared(self) -> int:
        """Squared bound on one unit's contribution, in grid steps."""
        return self.grid.sensitivity_squared(self.spec.clip)

    @property
    def noise_stddev_grid(self) -> int:
        """Standard deviation of a round's noise, in grid steps."""
        event = self.event
        return isqrt(int(event.variance)) if isinstance(event, GaussianSum) else 0

    @property
    def delta(self) -> float:
        """The delta of every epsilon of this plan."""
        return _delta(self.spec)

    @property
    def divisor(self) -> float:
        """What sums are divided by: enrolled people times clip, no realised count."""
        return self.spec.units * self.spec.clip

    @property
    def min_survivors(self) -> int:
        """Fewest contributions with which a round is released."""
        return ceil(self.spec.min_survivors * self.spec.units)

    @property
    def event(self) -> Event:
        """What one round releases."""
        return _event(self.spec, self.noise_multiplier)

    @property
    def events(self) -> dict[Adversary, Event]:
        """What one round releases to each adversary.

        With central noise the server receives every update as it is.
        """
        bare = _event(self.spec, None)
        return {Adversary.SERVER: bare, Adversary.OUTSIDER: self.event}

    def spent(self, rounds: int) -> Spent:
        """Price of the first ``rounds`` rounds against an outsider.

        Everyone takes part in every round, so nothing is gained by hidden sampling and
        the price is that of plain composition.
        """
        return _price(self.spec, self.noise_multiplier, rounds)

    def epsilons(self, rounds: int) -> dict[Adversary, Spent]:
        """Price of the first ``rounds`` rounds, by adversary."""
        return {
            Adversary.SERVER: Spent(inf, None),
            Adversary.OUTSIDER: self.spent(rounds),
        }

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
            "format": 1,
            "spec": {
                k: repr(v) if isinstance(v, float) else v for k, v in self._spec()
            },
            "relation": self.relation,
            "noise_multiplier": None if multiplier is None else str(multiplier),
            "grid_exponent": self.grid.exponent,
            "sensitivity_squared": self.sensitivity_squared,
            "noise_stddev_grid": self.noise_stddev_grid,
        }

    def _spec(self) -> Iterator[tuple[str, Any]]:
        yield from asdict(self.spec).items()


def _delta(spec: PrivacySpec) -> float:
    return spec.delta or min(1e-5, 1 / (10 * spec.units))


def _event(spec: PrivacySpec, multiplier: Fraction | None) -> Event:
    relation = Relation.ZERO_OUT
    if multiplier is None:
        return NonPrivate(spec.unit, relation, spec.coordinates)
    sensitivity_squared = Grid.for_clip(spec.clip).sensitivity_squared(spec.clip)
    variance = Fraction(stddev_steps(sensitivity_squared, multiplier)) ** 2
    return GaussianSum(
        spec.unit, relation, sensitivity_squared, variance, spec.coordinates
    )


def _price(spec: PrivacySpec, multiplier: Fraction | None, rounds: int) -> Spent:
    return epsilon([_event(spec, multiplier)] * rounds, _delta(spec))


def _problems(spec: PrivacySpec) -> Iterator[str]:
    if wrong := _wrong_types(spec):
        yield from wrong
        return
    if spec.unit is not Unit.USER:
        yield f"unit = {spec.unit}: with central noise only unit = user is planned"
    if spec.units < 2:
        yield f"units = {spec.units}, must be >= 2: one person cannot hide in a sum"
    if not (isfinite(spec.clip) and 2.0**-500 < spec.clip < 2.0**500):
        yield f"clip = {spec.clip}, must be positive and finite"
    if spec.rounds < 1:
        yield f"rounds = {spec.rounds}, must be >= 1"
    if spec.coordinates < 1:
        yield f"coordinates = {spec.coordinates}, must be >= 1: nothing is trained"
    if not 0 < spec.min_survivors <= 1:
        yield f"min_survivors = {spec.min_survivors}, must lie in (0, 1]"
    if spec.delta is not None and not 0 < spec.delta < 1 / max(1, spec.units):
        yield (
            f"delta = {spec.delta:g}, must be > 0 and < 1/units = "
            f"{1 / max(1, spec.units):.3g}, or one person could be published outright"
        )
    if spec.units * 2**26 > 2**50:
        yield f"units = {spec.units}, must be <= {2**24}: the sum would not fit"
    yield from _target_problems(spec)


def _wrong_types(spec: PrivacySpec) -> list[str]:
    """A string in place of an enum, say, would slip past every comparison below."""
    wanted = {
        "unit": Unit,
        "noise": Noise,
        "participation": Participation,
        "against": Adversary,
        "rounds": int,
        "units": int,
        "coordinates": int,
    }
    return [
        f"{name} = {getattr(spec, name)!r}, must be of type {kind.__name__}"
        for name, kind in wanted.items()
        if type(getattr(spec, name)) is not kind
    ]


def _target_problems(spec: PrivacySpec) -> Iterator[str]:
    target = spec.target_epsilon
    if spec.noise is Noise.NONE:
        if target is not None:
            yield (
                f"target_epsilon = {target:g} with noise = none: without noise epsilon "
                "is infinite; remove target_epsilon or choose noise = central"
            )
        return
    if target is None:
        yield f"target_epsilon is missing: noise = {spec.noise} is sized from it"
    elif not 0 < target <= _LARGEST_EPSILON:
        yield (
            f"target_epsilon = {target:g}, must be > 0 and <= {_LARGEST_EPSILON:g}; "
            "beyond that choose noise = none and say so"
        )
    if spec.against is Adversary.SERVER:
        yield (
            "against = server: with central noise the server sees every update and its "
            "epsilon is infinite; use against = outsider"
        )
