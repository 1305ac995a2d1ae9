"""The plan couples; every number that must agree is checked against its partner."""

import json
from dataclasses import fields, replace
from fractions import Fraction
from math import inf, sqrt

import pytest

from fedpref.core.accounting import epsilon_of
from fedpref.core.events import (
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    PoissonSkellamSum,
    SkellamSum,
)
from fedpref.core.types import Adversary, Noise, Participation, Relation, Unit
from fedpref.errors import PlanError
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.stages import Moment

SERVER, OUT = Adversary.SERVER, Adversary.OUTSIDER

CENTRAL = PrivacySpec(
    unit=Unit.USER,
    noise=Noise.CENTRAL,
    participation=Participation.ALL,
    against=OUT,
    target_epsilon=1.0,
    delta=None,
    clip=4.0,
    rounds=10,
    spare_rounds=0,
    units=293,
    cohort=293,
    units_per_client=1,
    sampling_prob=Fraction(1),
    coordinates=6160,
    min_survivors=0.9,
    colluders=0.1,
    word_bits=24,
    complete_graph=True,
)
SPEC = replace(CENTRAL, noise=Noise.DISTRIBUTED, against=SERVER)
HIDDEN = {
    "participation": Participation.HIDDEN,
    "sampling_prob": Fraction(1, 5),
}
DRAWN = {
    "participation": Participation.SERVER,
    "units": 100_000,
    "cohort": 2000,
    "min_survivors": 0.6,
    "against": OUT,
}


@pytest.fixture(scope="module")
def central() -> PrivacyPlan:
    return CENTRAL.calibrate()


@pytest.fixture(scope="module")
def plan() -> PrivacyPlan:
    return SPEC.calibrate()


def at(multiplier, **change) -> PrivacyPlan:
    """A plan of that much noise, whatever it costs (within 64)."""
    spec = replace(SPEC, **({"target_epsilon": 64.0} | change))
    return PrivacyPlan(spec, Fraction(multiplier))


# Noise from the devices


def test_shares_of_the_least_honest_cohort_make_up_the_booked_noise(plan) -> None:
    """Halving a share, or counting the colluders' shares, fails here."""
    event, scale = plan.events[SERVER], plan.scale
    assert isinstance(event, SkellamSum)
    assert (plan.min_survivors, plan.colluders) == (264, 30)  # of 293, rounded up
    assert event.variance == (264 - 30) * plan.share_variance
    assert event.sensitivity_squared == plan.sensitivity_squared == scale.limit
    effective = (event.variance - Fraction(1, 12)) / event.sensitivity_squared
    assert plan.noise_multiplier**2 <= effective
    assert effective <= plan.noise_multiplier**2 * (1 + Fraction(1, 1000))
    assert event.coordinates == SPEC.coordinates
    assert (event.unit, event.relation) == (Unit.USER, Relation.ZERO_OUT)
    assert plan.grid.step == 4.0 / scale.steps


def test_thresholds_hold_for_every_allowed_dropout(plan) -> None:
    n, c, t = 293, plan.colluders, plan.threshold
    assert 2 * t > n + c
    assert c < t <= plan.min_survivors


def test_claim_is_the_price_of_all_planned_rounds_within_the_target(plan) -> None:
    spent = plan.epsilons(10)
    assert spent[SERVER] == epsilon_of([(plan.event, 10)], plan.delta)
    assert 0.999 < spent[SERVER].epsilon <= 1.0
    assert spent[OUT] == spent[SERVER]
    assert plan.epsilons(3)[SERVER].epsilon < 0.6


@pytest.mark.parametrize("people", [100, 293])
@pytest.mark.parametrize("target", [0.5, 1.0, 2.0, 8.0])
def test_no_more_noise_than_a_trusted_server(people, target) -> None:
    """Epsilon of the devices' noise against a Gaussian of the same effective size."""
    asked = {"units": people, "cohort": people, "target_epsilon": target}
    plan = replace(SPEC, **asked).calibrate()
    event = plan.event
    trusted = GaussianSum(
        Unit.USER,
        Relation.ZERO_OUT,
        event.sensitivity_squared,
        event.variance,
        event.coordinates,
    )
    best = epsilon_of([(trusted, 10)], plan.delta).epsilon
    assert best < plan.spent(10, SERVER).epsilon <= best * 1.02 + 0.002
    assert plan.scale.inflation <= 1.0021
    # and against a trusted server that rounds nothing
    bare = replace(trusted, sensitivity_squared=plan.scale.steps**2)
    assert plan.spent(10, SERVER).epsilon <= (
        epsilon_of([(bare, 10)], plan.delta).epsilon * 1.02 + 0.002
    )


def test_long_vectors_report_what_rounding_costs() -> None:
    fine, coarse = (at(12, coordinates=size).scale for size in (10**5, 10**6))
    assert fine.inflation <= 1.0021
    assert (fine.active, coarse.active) == ("rounding", "share")
    assert 1.005 < coarse.inflation < 1.02


def test_spare_rounds_are_paid_for() -> None:
    plan = replace(SPEC, rounds=8, spare_rounds=2).calibrate()
    assert plan.reserved_rounds == 10
    assert 0.999 < plan.spent(10, SERVER).epsilon <= 1.0
    assert plan.spent(8, SERVER).epsilon < 0.92


def test_more_colluders_or_dropouts_cost_noise_and_not_epsilon(plan) -> None:
    for change in ({"colluders": 0.2}, {"min_survivors": 0.8}):
        other = replace(SPEC, **change).calibrate()
        assert other.share_variance > 1.1 * plan.share_variance
        assert other.spent(10, SERVER).epsilon <= 1.0


# Who may claim amplification


def test_a_secret_coin_counts_against_everybody() -> None:
    plan = at(4, **HIDDEN)
    for event in plan.events.values():
        assert isinstance(event, PoissonSkellamSum)
        assert event.sampling_prob == Fraction(1, 5)
    assert plan.divisor == pytest.approx(293 / 5 * 4.0)


def test_a_record_is_sampled_on_its_device() -> None:
    change = {"unit": Unit.RECORD, "units_per_client": 20}
    plan = at(8, sampling_prob=Fraction(1, 10), **change)
    for event in plan.events.values():
        assert isinstance(event, PoissonSkellamSum)
        assert (event.unit, event.sampling_prob) == (Unit.RECORD, Fraction(1, 10))
    assert plan.delta == min(1e-5, 1 / (10 * 293 * 20))
    assert plan.divisor == pytest.approx(293 * 20 / 10 * 4.0)
    assert isinstance(at(12, **change).event, SkellamSum)


def test_a_draw_counts_against_outsiders_alone() -> None:
    plan = at(4, **DRAWN)
    assert isinstance(plan.events[SERVER], SkellamSum)
    assert isinstance(plan.events[OUT], PoissonSkellamSum)
    assert plan.events[OUT].sampling_prob == Fraction(1, 50)
    spent = plan.epsilons(10)
    assert spent[OUT].epsilon < spent[SERVER].epsilon / 5
    assert plan.divisor == 2000 * 4.0


def test_a_draw_never_amplifies_a_record() -> None:
    plan = at(12, unit=Unit.RECORD, **DRAWN)
    assert isinstance(plan.events[OUT], SkellamSum)


def test_a_draw_that_the_cohort_gives_away_counts_for_nothing() -> None:
    plan = at(12, **(DRAWN | {"units": 1000, "cohort": 100, "min_survivors": 0.9}))
    assert isinstance(plan.events[OUT], SkellamSum)


def test_largest_drawn_cohort_still_has_a_threshold() -> None:
    counts = at(4, **DRAWN).spec.counts
    assert counts.largest > 2000
    assert counts.colluders == -(-counts.largest // 10)
    assert 2 * counts.threshold > counts.largest + counts.colluders
    assert counts.threshold <= counts.min_survivors == 1200


def test_named_people_have_no_amplification() -> None:
    plan = at(12, participation=Participation.FIXED, cohort=100)
    assert {type(event) for event in plan.events.values()} == {SkellamSum}
    assert plan.divisor == 100 * 4.0
    assert plan.min_survivors == 90


def test_nothing_is_claimed_against_the_server_on_drawn_neighbours() -> None:
    people = {"units": 4000, "cohort": 4000, "complete_graph": False, "against": OUT}
    plan = at(12, **people)
    assert isinstance(plan.events[SERVER], NonPrivate)
    assert plan.epsilons(1)[SERVER].epsilon == inf
    assert isinstance(plan.events[OUT], SkellamSum)
    assert plan.spec.counts.neighbours > 0


# Noise from a trusted aggregator


def test_event_is_made_of_the_noise_that_is_added(central) -> None:
    event = central.event
    assert isinstance(event, GaussianSum)
    assert event.sensitivity_squared == central.grid.sensitivity_squared(4.0)
    assert event.variance == Fraction(central.noise_stddev_grid) ** 2
    booked = central.noise_stddev_grid / event.sensitivity_squared**0.5
    assert booked >= float(central.noise_multiplier)
    assert central.threshold == central.share_variance == 0
    assert central.scale is None


def test_a_trusted_aggregator_is_promised_nothing(central) -> None:
    assert central.epsilons(1)[SERVER].epsilon == inf
    assert isinstance(central.events[SERVER], NonPrivate)
    assert 0.999 < central.spent(10).epsilon <= 1.0


def test_a_trusted_aggregator_may_draw_in_secret() -> None:
    plan = at(4, noise=Noise.CENTRAL, **DRAWN)
    assert isinstance(plan.event, PoissonGaussianSum)
    assert plan.event.sampling_prob == Fraction(1, 50)
    named = at(4, noise=Noise.CENTRAL, **(DRAWN | {"min_survivors": 0.99}))
    assert isinstance(named.event, GaussianSum)


def test_without_noise_everything_is_infinite() -> None:
    plan = replace(CENTRAL, noise=Noise.NONE, target_epsilon=None).calibrate()
    assert isinstance(plan.event, NonPrivate)
    assert {spent.epsilon for spent in plan.epsilons(1).values()} == {inf}
    assert plan.noise_stddev_grid == 0


# What seals it


@pytest.mark.parametrize("spec", [SPEC, CENTRAL], ids=["devices", "aggregator"])
def test_a_little_less_noise_is_no_plan_for_this_target(spec, request) -> None:
    which = "plan" if spec is SPEC else "central"
    good = request.getfixturevalue(which)
    for factor in (Fraction(1, 2), Fraction(997, 1000)):
        with pytest.raises(PlanError, match="more than target_epsilon"):
            replace(good, noise_multiplier=good.noise_multiplier * factor)


@pytest.mark.parametrize("multiplier", [None, Fraction(0), Fraction(-1), 12, 12.0])
def test_a_plan_takes_a_positive_fraction_and_nothing_else(multiplier) -> None:
    with pytest.raises(PlanError, match="must be a Fraction > 0"):
        PrivacyPlan(SPEC, multiplier)


def test_a_plan_without_noise_takes_no_multiplier() -> None:
    bare = replace(CENTRAL, noise=Noise.NONE, target_epsilon=None)
    with pytest.raises(PlanError, match="with noise = none"):
        PrivacyPlan(bare, Fraction(5))


def test_delta_is_the_smaller_of_two_constants(plan) -> None:
    assert plan.delta == 1e-5
    many = {"units": 100_000, "cohort": 100_000, "noise": Noise.CENTRAL, "against": OUT}
    assert at(50, **many).delta == 1e-6
    assert at(50, delta=1e-7).delta == 1e-7


def test_sums_are_divided_by_public_constants(plan) -> None:
    assert plan.divisor == 293 * 4.0


CHANGES = {
    "unit": {"unit": Unit.RECORD},
    "noise": {"noise": Noise.CENTRAL, "against": OUT},
    "participation": {"participation": Participation.FIXED},
    "against": {"against": OUT},
    "target_epsilon": {"target_epsilon": 63.0},
    "delta": {"delta": 1e-6},
    "clip": {"clip": 4.0 + 1e-12},
    "rounds": {"rounds": 9},
    "spare_rounds": {"spare_rounds": 1},
    "units": {"units": 294, "cohort": 294},
    "cohort": {"cohort": 292, "participation": Participation.FIXED},
    "units_per_client": {"units_per_client": 2, "unit": Unit.RECORD},
    "sampling_prob": HIDDEN,
    "coordinates": {"coordinates": 6161},
    "min_survivors": {"min_survivors": 0.8},
    "colluders": {"colluders": 0.11},
    "word_bits": {"word_bits": 16},
    "complete_graph": {"complete_graph": False, "against": OUT},
    "evaluation": {"evaluation": True},
    "moment": {"moment": Moment(16, 5.0, Fraction(1, 2))},
}


def test_every_setting_changes_the_digest() -> None:
    assert CHANGES.keys() == {field.name for field in fields(PrivacySpec)}
    base = at(24)
    plans = [base, *(at(24, **change) for change in CHANGES.values())]
    assert len({plan.digest for plan in plans}) == len(plans)
    assert at(24).digest == base.digest
    assert at(Fraction(24) + Fraction(1, 2**60)).digest != base.digest


def test_what_is_sealed_is_exact_and_plain(plan) -> None:
    sealed = json.loads(json.dumps(plan.sealed()))
    assert sealed["format"] == 3
    stage = sealed["stages"][0]
    assert float(stage["grid_step"]) == plan.grid.step
    assert Fraction(stage["noise_variance_grid"]) == plan.noise_variance_grid
    assert stage["share_variance"] == plan.share_variance
    assert sealed["counts"]["threshold"] == plan.threshold
    assert sqrt(float(plan.noise_variance_grid)) >= plan.noise_stddev_grid


# What is refused


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"clip": 0.0}, "clip = 0.0"),
        ({"clip": float("inf")}, "clip = inf"),
        ({"clip": -1.0}, "clip = -1.0"),
        ({"units": 1, "cohort": 1}, "one person cannot hide"),
        ({"units": 2**25, "cohort": 2**25}, "the sum would not fit"),
        ({"rounds": 0}, "rounds = 0"),
        ({"spare_rounds": -1}, "spare_rounds = -1"),
        ({"coordinates": 0}, "nothing is trained"),
        ({"min_survivors": 0.0}, "min_survivors"),
        ({"min_survivors": 1.1}, "min_survivors"),
        ({"colluders": 1.0}, "colluders = 1.0"),
        ({"colluders": -0.1}, "colluders = -0.1"),
        ({"delta": 1 / 293}, "could be published outright"),
        ({"delta": 0.0}, "delta = 0"),
        ({"delta": float("nan")}, "delta = nan"),
        ({"target_epsilon": 0.0}, "must be > 0"),
        ({"target_epsilon": float("nan")}, "must be > 0"),
        ({"target_epsilon": 65.0}, "choose noise = none"),
        ({"target_epsilon": None}, "target_epsilon is missing"),
        ({"noise": Noise.NONE}, "without noise epsilon is infinite"),
        ({"noise": Noise.CENTRAL, "unit": Unit.RECORD}, "only unit = user"),
        ({"noise": Noise.CENTRAL}, "use against = outsider"),
        ({"noise": Noise.CENTRAL, **HIDDEN}, "needs noise = distributed"),
        ({"unit": Unit.LABEL}, "covers unit = user and record"),
        ({"sampling_prob": Fraction(1, 2)}, "participation = hidden only"),
        ({"sampling_prob": 0.5}, "must be of type Fraction"),
        ({"sampling_prob": Fraction(0)}, "must lie in"),
        ({"cohort": 292}, "all 293 people are asked"),
        ({"units_per_client": 2}, "must be 1"),
        ({"word_bits": 20}, "word_bits = 20"),
        ({"units": 3001, "cohort": 3001}, "must be <= 3000 on the complete graph"),
        ({"complete_graph": False}, "nothing is claimed against the server"),
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
        replace(CENTRAL, target_epsilon=1e-9).calibrate()


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"min_survivors": 0.5}, r"nearest plans that work: min_survivors = 0\.56"),
        ({"colluders": 0.5, "min_survivors": 0.7}, r"or colluders = 0\.39"),
        ({"colluders": 0.9}, "no honest share"),
    ],
)
def test_a_threshold_that_cannot_be_reached_is_refused(change, needle) -> None:
    with pytest.raises(PlanError, match=needle):
        replace(SPEC, units=100, cohort=100, **change).calibrate()


def test_a_sum_that_does_not_fit_is_refused_with_the_nearest_plan() -> None:
    crowd = {"units": 3000, "cohort": 3000, "coordinates": 10**7, "word_bits": 16}
    with pytest.raises(PlanError, match=r"nearest plans? that work"):
        replace(SPEC, **crowd).calibrate()
