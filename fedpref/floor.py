"""What a device insists on, whatever the server proposes.

Guarantees: a plan that ``require_floor`` lets pass has, with as many bad identities as
the *device* allows for, thresholds that the protocol stands on and an epsilon within
the device's own limit at a delta within its own limit; every number is recomputed here
from the plan's cohort and share of noise, not read from its claims.

Does not give: proof that the other people exist or add their shares; how many may not
is ``Floor.colluders``. Durable budgets over several plans are the ledger's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import inf, isfinite

from fedpref.cohorts import share_of
from fedpref.core.accounting import epsilon_of
from fedpref.core.events import Event, PoissonSkellamSum, SkellamSum
from fedpref.core.types import Adversary, Noise, Unit
from fedpref.errors import FloorError, PlanError
from fedpref.plan import PrivacyPlan


@dataclass(frozen=True)
class Floor:
    """Limits that the owner of a device has set; public, but for ``epsilon``.

    Args:
        units: Units that count as protection.
        noises: Where noise may be added.
        against: Adversary whose epsilon is limited.
        epsilon: Most that the whole plan may cost; private, never sent or shown.
        delta: Largest delta.
        colluders: Share of a cohort that may be bad.
        min_people: Fewest people in a round that is released.

    Raises:
        PlanError: A limit that makes no sense.
    """

    units: frozenset[Unit]
    noises: frozenset[Noise]
    against: Adversary
    epsilon: float
    delta: float
    colluders: float
    min_people: int

    def __post_init__(self) -> None:
        right = (
            self.epsilon > 0,
            0 < self.delta < 1,
            0 <= self.colluders < 1,
            self.min_people >= 2,
        )
        if not all(right):
            raise PlanError(
                f"floor: delta = {self.delta}, colluders = {self.colluders}, "
                f"min_people = {self.min_people}: must have epsilon > 0, 0 < delta < 1,"
                " 0 <= colluders < 1 and min_people >= 2"
            )

    def __repr__(self) -> str:
        return f"Floor(against={self.against}, delta={self.delta}, epsilon hidden)"


def require_floor(plan: PrivacyPlan, floor: Floor) -> None:
    """Refuse a plan that asks for more than the device's owner allows.

    Raises:
        FloorError: Everything that is below the floor. The message is for the owner;
            over the network a refusal says nothing more.
    """
    found = [*_kinds(plan, floor), *_people(plan, floor)]
    # a price of noise that too many could take away says nothing
    if not found and own_epsilon(plan, floor) > floor.epsilon:
        found.append(
            f"epsilon = {own_epsilon(plan, floor):.3g} against the {floor.against} "
            f"over {plan.reserved_rounds} rounds, must be <= {floor.epsilon:g}: wait "
            "for a plan with more noise or fewer rounds, or raise your limit"
        )
    if found:
        raise FloorError("this plan is below the floor:\n  " + "\n  ".join(found))


def own_epsilon(plan: PrivacyPlan, floor: Floor) -> float:
    """What the plan costs if the device's own share of people is bad."""
    honest = plan.min_survivors - _bad(plan, floor)
    counts: dict[Event, int] = {}
    for stage in plan.stages:
        event = stage.events[floor.against]
        if isinstance(event, SkellamSum | PoissonSkellamSum):
            if honest < 1:
                return inf
            event = replace(event, variance=Fraction(honest * stage.share_variance))
        counts[event] = counts.get(event, 0) + stage.rounds
    return epsilon_of(list(counts.items()), plan.delta).epsilon


def _bad(plan: PrivacyPlan, floor: Floor) -> int:
    return share_of(floor.colluders, plan.spec.counts.largest)


def _kinds(plan: PrivacyPlan, floor: Floor) -> Iterator[str]:
    spec = plan.spec
    if spec.unit not in floor.units:
        yield f"unit = {spec.unit}, must be one of {_names(floor.units)}"
    if spec.noise not in floor.noises:
        yield f"noise = {spec.noise}, must be one of {_names(floor.noises)}"
    if not plan.delta <= floor.delta:
        yield f"delta = {plan.delta:g}, must be <= {floor.delta:g}"
    if not isfinite(plan.epsilons(1)[floor.against].epsilon):
        yield (
            f"epsilon = inf against the {floor.against}: this plan protects nothing "
            "there"
        )


def _people(plan: PrivacyPlan, floor: Floor) -> Iterator[str]:
    counts, bad = plan.spec.counts, _bad(plan, floor)
    if counts.min_survivors < floor.min_people:
        yield (
            f"min_survivors = {counts.min_survivors}, must be >= {floor.min_people} "
            "people"
        )
    if plan.spec.noise is not Noise.DISTRIBUTED:
        return
    if counts.min_survivors <= bad:
        yield f"min_survivors = {counts.min_survivors}, must be > colluders = {bad}"
    if counts.threshold <= bad:
        yield f"threshold = {counts.threshold}, must be > colluders = {bad}"
    if counts.threshold > counts.min_survivors:
        yield (
            f"threshold = {counts.threshold}, must be <= min_survivors = "
            f"{counts.min_survivors}"
        )
    if not counts.neighbours and 2 * counts.threshold <= counts.largest + bad:
        yield (
            f"threshold = {counts.threshold} of {counts.largest} people, must be > "
            f"{(counts.largest + bad) / 2:g} with colluders = {bad}"
        )


def _names(values: frozenset[Unit] | frozenset[Noise]) -> str:
    return ", ".join(sorted(values))
