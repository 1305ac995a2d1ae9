"""The plan couples; every number that must agree is checked against its partner."""

from dataclasses import replace
from fractions import Fraction
from math import inf

import pytest

from fedpref.core.accounting import epsilon
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.types import Adversary, Noise, Participation, Relation, Unit
from fedpref.errors import PlanError
from fedpref.plan import PrivacyPlan, PrivacySpec

SPEC = PrivacySpec(
    unit=Unit.USER,
    noise=Noise.CENTRAL,
    participation=Participation.ALL,
    against=Adversary.OUTSIDER,
    target_epsilon=1.0,
    delta=None,
    clip=4.0,
    rounds=10,
    units=293,
    coordinates=6160,
    min_survivors=0.9,
)


@pytest.fixture(scope="module")
def plan() -> PrivacyPlan:
    return SPEC.calibrate()


def test_event_is_made_of_the_noise_that_is_added(plan) -> None:
    event = plan.event
    assert isinstance(event, GaussianSum)
    assert event.unit is Unit.USER
    assert event.relation is Relation.ZERO_OUT
    assert event.sensitivity_squared == plan.grid.sensitivity_squared(SPEC.clip)
    assert event.variance == Fraction(plan.noise_stddev_grid) ** 2
    assert event.coordinates == SPEC.coordinates
    booked = plan.noise_stddev_grid / event.sensitivity_squared**0.5
    assert booked >= float(plan.noise_multiplier)


def test_claim_is_the_price_of_all_planned_rounds_within_the_target(plan) -> None:
    spent = plan.epsilons(10)
    assert spent[Adversary.OUTSIDER] == epsilon([plan.event] * 10, plan.delta)
    assert 0.999 < spent[Adversary.OUTSIDER].epsilon <= 1.0
    assert plan.epsilons(3)[Adversary.OUTSIDER].epsilon < 0.6


def test_a_trusted_aggregator_is_promised_nothing(plan) -> None:
    assert plan.epsilons(1)[Adversary.SERVER].epsilon == inf


def test_half_the_noise_is_no_plan_for_this_target(plan) -> None:
    with pytest.raises(PlanError, match=r"costs 2\.\d+, more than target_epsilon"):
        replace(plan, noise_multiplier=plan.noise_multiplier / 2)


def test_a_thousandth_less_noise_is_no_plan_either(plan) -> None:
    with pytest.raises(PlanError, match="more than target_epsilon"):
        replace(plan, noise_multiplier=plan.noise_multiplier * Fraction(999, 1000))


@pytest.mark.parametrize("multiplier", [None, Fraction(0), Fraction(-1), 12, 12.0])
def test_a_plan_takes_a_positive_fraction_and_nothing_else(multiplier) -> None:
    with pytest.raises(PlanError, match="must be a Fraction > 0"):
        PrivacyPlan(SPEC, multiplier)


def test_a_plan_without_noise_takes_no_multiplier() -> None:
    bare = replace(SPEC, noise=Noise.NONE, target_epsilon=None)
    with pytest.raises(PlanError, match="with noise = none"):
        PrivacyPlan(bare, Fraction(5))


def test_delta_is_the_smaller_of_two_constants(plan) -> None:
    assert plan.delta == 1e-5
    many = PrivacyPlan(replace(SPEC, units=100_000), Fraction(50))
    assert many.delta == 1e-6
    assert PrivacyPlan(replace(SPEC, delta=1e-7), Fraction(50)).delta == 1e-7


def test_sums_are_divided_by_public_constants(plan) -> None:
    assert plan.divisor == 293 * 4.0
    assert plan.min_survivors == 264  # ceil(0.9 * 293): the safe side


def test_without_noise_everything_is_infinite() -> None:
    plan = replace(SPEC, noise=Noise.NONE, target_epsilon=None).calibrate()
    assert isinstance(plan.event, NonPrivate)
    assert {spent.epsilon for spent in plan.epsilons(1).values()} == {inf}
    assert plan.noise_stddev_grid == 0


@pytest.mark.parametrize(
    "change",
    [
        {"clip": 4.0 + 1e-12},
        {"rounds": 9},
        {"units": 294},
        {"coordinates": 6161},
        {"delta": 1e-6},
        {"min_survivors": 0.8},
        {"target_epsilon": 1.0 + 1e-12},
    ],
)
def test_every_setting_changes_the_digest(plan, change) -> None:
    other = PrivacyPlan(replace(SPEC, **change), plan.noise_multiplier * 2)
    same = PrivacyPlan(SPEC, plan.noise_multiplier * 2)
    assert other.digest != same.digest
    assert PrivacyPlan(SPEC, plan.noise_multiplier).digest == plan.digest


def test_the_noise_alone_changes_the_digest(plan) -> None:
    louder = PrivacyPlan(SPEC, plan.noise_multiplier + Fraction(1, 2**60))
    assert louder.noise_stddev_grid >= plan.noise_stddev_grid
    assert louder.digest != plan.digest
    assert str(plan.noise_stddev_grid) in str(plan.sealed())


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"clip": 0.0}, "clip = 0.0"),
        ({"clip": float("inf")}, "clip = inf"),
        ({"clip": -1.0}, "clip = -1.0"),
        ({"units": 1}, "one person cannot hide"),
        ({"units": 2**25}, "the sum would not fit"),
        ({"rounds": 0}, "rounds = 0"),
        ({"coordinates": 0}, "nothing is trained"),
        ({"min_survivors": 0.0}, "min_survivors"),
        ({"min_survivors": 1.1}, "min_survivors"),
        ({"delta": 1 / 293}, "could be published outright"),
        ({"delta": 0.0}, "delta = 0"),
        ({"delta": float("nan")}, "delta = nan"),
        ({"target_epsilon": 0.0}, "must be > 0"),
        ({"target_epsilon": float("nan")}, "must be > 0"),
        ({"target_epsilon": 65.0}, "choose noise = none"),
        ({"target_epsilon": None}, "target_epsilon is missing"),
        ({"noise": Noise.NONE}, "without noise epsilon is infinite"),
        ({"unit": Unit.RECORD}, "only unit = user"),
        ({"against": Adversary.SERVER}, "use against = outsider"),
        ({"against": "server"}, "must be of type Adversary"),
        ({"participation": "server"}, "must be of type Participation"),
        ({"rounds": 2.5}, "must be of type int"),
        ({"units": 293.0}, "must be of type int"),
        ({"rounds": True}, "must be of type int"),
    ],
)
def test_refuses_nonsense(change, needle) -> None:
    with pytest.raises(PlanError, match=needle):
        replace(SPEC, **change)


def test_reports_every_problem_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        replace(SPEC, clip=0.0, rounds=0, units=0, target_epsilon=-1.0)
    assert len(str(caught.value).splitlines()) >= 5


def test_an_unreachable_target_is_refused_with_the_way_out() -> None:
    with pytest.raises(PlanError, match="raise target_epsilon or plan fewer rounds"):
        replace(SPEC, target_epsilon=1e-9).calibrate()
