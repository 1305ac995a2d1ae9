"""Stages: which number asks for what, and that one total covers all of them."""

from dataclasses import replace
from fractions import Fraction
from math import sqrt

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from fedpref.core.accounting import epsilon_of
from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.errors import PlanError
from fedpref.floor import Floor, own_epsilon
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.stages import Moment, Purpose

SERVER, OUT = Adversary.SERVER, Adversary.OUTSIDER
MOMENT = Moment(16, 5.0, Fraction(1, 2))
SPEC = PrivacySpec(
    unit=Unit.USER,
    noise=Noise.DISTRIBUTED,
    participation=Participation.ALL,
    against=SERVER,
    target_epsilon=1.0,
    delta=1e-5,
    clip=4.0,
    rounds=10,
    spare_rounds=2,
    units=293,
    cohort=293,
    units_per_client=1,
    sampling_prob=Fraction(1),
    coordinates=16,
    min_survivors=0.9,
    colluders=0.1,
    word_bits=24,
    complete_graph=True,
    evaluation=True,
    moment=MOMENT,
)
CENTRAL = replace(SPEC, noise=Noise.CENTRAL, against=OUT)


@pytest.fixture(scope="module")
def plan() -> PrivacyPlan:
    return SPEC.calibrate()


@pytest.fixture(scope="module")
def central() -> PrivacyPlan:
    return CENTRAL.calibrate()


def test_the_number_alone_says_what_is_asked_for(plan) -> None:
    asked = [plan.stage(number).purpose for number in range(1, 15)]
    after = [Purpose.MOMENT, Purpose.EVALUATION]
    assert asked == [Purpose.TRAINING] * 12 + after
    assert plan.reserved_rounds == plan.stages[-1].last == 14
    for number in (0, 15):
        with pytest.raises(PlanError, match="the plan has 14"):
            plan.stage(number)


def test_a_stage_that_is_not_planned_is_not_found() -> None:
    bare = replace(SPEC, moment=None, evaluation=False, spare_rounds=0).calibrate()
    assert [stage.purpose for stage in bare.stages] == [Purpose.TRAINING]
    with pytest.raises(PlanError, match="moment"):
        bare.require(Purpose.MOMENT)


def exact_epsilon(mu: float, delta: float) -> float:
    """The Gaussian mechanism's epsilon, by another root finder and SciPy's tails."""

    def excess(epsilon: float) -> float:
        left = norm.cdf(mu / 2 - epsilon / mu)
        return left - norm.cdf(-mu / 2 - epsilon / mu) * 2.718281828459045**epsilon

    return brentq(lambda e: excess(e) - delta, 0.0, 100.0, xtol=1e-12)


def test_one_total_covers_all_stages_and_the_split_is_kept(central) -> None:
    """12 rounds, the moment, the evaluation: mu^2 adds up to that of epsilon 1."""
    z = float(central.noise_multiplier)
    y = float(central.require(Purpose.MOMENT).multiplier)
    rest, own = 13 / z**2, 1 / y**2
    assert own / (own + rest) == pytest.approx(0.5, rel=1e-6)
    assert own / (own + rest) <= 0.5
    total = central.spent(14).epsilon
    assert total == pytest.approx(exact_epsilon(sqrt(own + rest), 1e-5), rel=1e-4)
    assert 0.995 < total <= 1.0


@pytest.mark.parametrize("share", [Fraction(1, 10), Fraction(2, 3)])
def test_the_split_is_a_parameter(share) -> None:
    spec = replace(CENTRAL, moment=replace(MOMENT, share=share))
    plan = spec.calibrate()
    z, y = plan.noise_multiplier, plan.require(Purpose.MOMENT).multiplier
    own = 1 / y**2
    assert float(own / (own + 13 / z**2)) == pytest.approx(float(share), rel=1e-6)
    assert 0.99 < plan.spent(14).epsilon <= 1.0


def test_every_release_is_priced_by_its_own_event(plan) -> None:
    for who in Adversary:
        moment = plan.require(Purpose.MOMENT).events[who]
        other = plan.events[who]
        assert moment != other
        assert moment.coordinates == MOMENT.size == 136
        counts = [(other, 13), (moment, 1)]
        assert plan.spent(14, who) == epsilon_of(counts, plan.delta)
        assert plan.spent(12, who) == epsilon_of([(other, 12)], plan.delta)
        assert plan.spent(13, who) == epsilon_of([(other, 12), (moment, 1)], 1e-5)


def test_a_moment_makes_room_by_more_noise_in_training(plan) -> None:
    without = replace(SPEC, moment=None).calibrate()
    ratio = float(plan.noise_multiplier / without.noise_multiplier)
    assert ratio == pytest.approx(sqrt(2), rel=0.01)


def test_shares_of_the_least_cohort_give_each_stage_its_noise(plan) -> None:
    honest = 264 - 30
    for stage in plan.stages:
        assert stage.events[SERVER].variance == honest * stage.share_variance
        planned = stage.multiplier**2 * stage.sensitivity_squared
        assert stage.noise_variance_grid >= planned


def test_the_model_fits_into_the_request_for_the_moment(plan) -> None:
    assert plan.require(Purpose.MOMENT).coordinates == 136
    large = replace(SPEC, coordinates=6176).calibrate()
    assert large.require(Purpose.MOMENT).coordinates == 6176


def test_rotated_words_pad_each_stage_by_itself() -> None:
    plan = replace(SPEC, word_bits=16).calibrate()
    assert [stage.words for stage in plan.stages] == [16, 256, 16]


def test_the_floor_prices_all_stages(plan) -> None:
    floor = Floor(
        units=frozenset({Unit.USER}),
        noises=frozenset({Noise.DISTRIBUTED}),
        against=SERVER,
        epsilon=1.0,
        delta=1e-5,
        colluders=0.1,
        min_people=50,
    )
    assert own_epsilon(plan, floor) == plan.spent(14, SERVER).epsilon
    careful = replace(floor, colluders=0.2)
    assert own_epsilon(plan, careful) > own_epsilon(plan, floor)


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"unit": Unit.RECORD}, "moment with unit = record"),
        ({"moment": replace(MOMENT, weights=17)}, "moment.weights = 17"),
        ({"moment": replace(MOMENT, weights=0)}, "moment.weights = 0"),
        ({"moment": replace(MOMENT, norm=0.0)}, "moment.norm = 0"),
        ({"moment": replace(MOMENT, norm=float("inf"))}, "moment.norm = inf"),
        ({"moment": replace(MOMENT, norm=5e-324)}, "moment.norm = 5e-324"),
        ({"moment": replace(MOMENT, share=Fraction(1))}, "moment.share = 1"),
        ({"moment": replace(MOMENT, share=Fraction(0))}, "moment.share = 0"),
        ({"moment": "yes"}, "moment"),
    ],
)
def test_a_moment_that_makes_no_sense_is_refused(change, needle) -> None:
    with pytest.raises(PlanError, match=needle):
        replace(SPEC, evaluation=False, **change)


@pytest.mark.parametrize("rounds", [1, 7, 100])
@pytest.mark.parametrize("z", [Fraction(1, 3), Fraction(97, 7), Fraction(10**6)])
def test_the_derived_noise_is_rounded_up(rounds, z) -> None:
    share = Fraction(3, 10)
    y = Moment(4, 1.0, share).multiplier(z, rounds)
    exact = z**2 * (1 - share) / (share * rounds)
    assert y**2 >= exact
    assert (y - Fraction(1, 2**20)) ** 2 < exact


def test_without_noise_there_are_stages_without_noise() -> None:
    spec = replace(CENTRAL, noise=Noise.NONE, target_epsilon=None)
    plan = spec.calibrate()
    assert [stage.multiplier for stage in plan.stages] == [None] * 3
    assert plan.spent(1).epsilon == float("inf")
