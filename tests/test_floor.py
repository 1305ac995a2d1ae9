"""The device's floor: each limit refuses, and its own count of bad people counts."""

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest

from fedpref.cohorts import Cohort
from fedpref.core.accounting import epsilon_of
from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.errors import BudgetError, FloorError, PlanError
from fedpref.floor import Floor, own_epsilon, require_floor
from fedpref.plan import PrivacyPlan, PrivacySpec

SPEC = PrivacySpec(
    unit=Unit.USER,
    noise=Noise.DISTRIBUTED,
    participation=Participation.ALL,
    against=Adversary.SERVER,
    target_epsilon=1.0,
    delta=None,
    clip=4.0,
    rounds=5,
    spare_rounds=1,
    units=100,
    cohort=100,
    units_per_client=1,
    sampling_prob=Fraction(1),
    coordinates=50,
    min_survivors=0.9,
    colluders=0.1,
    word_bits=24,
    complete_graph=True,
)
FLOOR = Floor(
    units=frozenset({Unit.USER}),
    noises=frozenset({Noise.DISTRIBUTED}),
    against=Adversary.SERVER,
    epsilon=1.0,
    delta=1e-5,
    colluders=0.1,
    min_people=50,
)


@pytest.fixture(scope="module")
def plan() -> PrivacyPlan:
    return SPEC.calibrate()


def test_a_plan_within_all_limits_passes(plan) -> None:
    require_floor(plan, FLOOR)
    assert own_epsilon(plan, FLOOR) == plan.spent(6, Adversary.SERVER).epsilon


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"units": frozenset({Unit.RECORD})}, "unit = user, must be one of record"),
        ({"noises": frozenset({Noise.CENTRAL})}, "noise = distributed"),
        ({"epsilon": 0.9}, r"epsilon = 1 against the server over 6 rounds"),
        ({"delta": 1e-6}, "delta = 1e-05, must be <= 1e-06"),
        ({"colluders": 0.2}, r"epsilon = 1\.0\d against the server"),
        ({"colluders": 0.4}, "threshold = 67 of 100 people, must be > 70"),
        ({"colluders": 0.95}, "must be > colluders = 95"),
        ({"min_people": 91}, "min_survivors = 90, must be >= 91"),
    ],
)
def test_each_limit_refuses(plan, change, needle) -> None:
    with pytest.raises(FloorError, match=needle) as caught:
        require_floor(plan, replace(FLOOR, **change))
    assert caught.value.exit_code == BudgetError.exit_code == 3


def test_own_bad_people_take_their_shares_of_noise_away(plan) -> None:
    more = replace(FLOOR, colluders=0.3)
    event = plan.events[Adversary.SERVER]
    less = replace(event, variance=event.variance * Fraction(90 - 30, 90 - 10))
    assert own_epsilon(plan, more) == epsilon_of([(less, 6)], plan.delta).epsilon
    assert own_epsilon(plan, more) > 1.1
    require_floor(plan, replace(FLOOR, colluders=0.0))


def test_a_trusted_aggregator_is_accepted_by_those_who_trust_it() -> None:
    trusted = replace(SPEC, noise=Noise.CENTRAL, against=Adversary.OUTSIDER).calibrate()
    with pytest.raises(FloorError, match="noise = central"):
        require_floor(trusted, FLOOR)
    naive = replace(FLOOR, noises=frozenset({Noise.CENTRAL}))
    with pytest.raises(FloorError, match="epsilon = inf against the server"):
        require_floor(trusted, naive)
    require_floor(trusted, replace(naive, against=Adversary.OUTSIDER))


@pytest.mark.parametrize(
    ("counts", "needle"),
    [
        (Cohort(100, 100, 10, 90, 55, 0), "must be > 55"),
        (Cohort(100, 150, 10, 90, 67, 0), "threshold = 67 of 150 people"),
        (Cohort(100, 100, 10, 90, 95, 0), "threshold = 95, must be <= min_survivors"),
        (Cohort(100, 100, 10, 90, 9, 30), "threshold = 9, must be > colluders = 10"),
    ],
)
def test_thresholds_are_recomputed_and_not_believed(plan, counts, needle) -> None:
    """A plan object never has these; a device must not rely on that."""
    forged = SimpleNamespace(
        spec=SimpleNamespace(unit=Unit.USER, noise=Noise.DISTRIBUTED, counts=counts),
        delta=plan.delta,
        epsilons=plan.epsilons,
        events=plan.events,
        min_survivors=counts.min_survivors,
        share_variance=plan.share_variance,
        reserved_rounds=6,
    )
    with pytest.raises(FloorError, match=needle):
        require_floor(forged, FLOOR)


def test_the_own_limit_does_not_show() -> None:
    assert "1.0" not in repr(FLOOR)
    assert "hidden" in repr(FLOOR)


@pytest.mark.parametrize(
    "change",
    [{"epsilon": 0.0}, {"delta": 0.0}, {"colluders": 1.0}, {"min_people": 1}],
)
def test_a_floor_that_makes_no_sense_is_refused(change) -> None:
    with pytest.raises(PlanError, match="floor"):
        replace(FLOOR, **change)
