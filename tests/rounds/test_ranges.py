"""Sums that honest devices cannot have made: flagged, charged, not published."""

from fractions import Fraction
from functools import partial
from math import isqrt, sqrt

import mpmath
import numpy as np
import pytest
from scipy.stats import skellam as reference

from fedpref.core.entropy import SeededEntropy
from fedpref.core.rows import GENESIS
from fedpref.core.types import Noise, Participation, Unit
from fedpref.errors import IntegrityError, TooFewSurvivors
from fedpref.rounds import ranges
from fedpref.rounds.contribution import Contribution, contribute
from fedpref.rounds.evaluation import keep
from fedpref.rounds.optimisers import sgd
from fedpref.rounds.plain import plain
from fedpref.rounds.ranges import false_alarm, honest_range, in_range, noise_square
from fedpref.rounds.secure import Head, secure
from fedpref.rounds.server import run_after, run_round, start
from fedpref.simulation.enrolment import enrol
from fedpref.stages import Moment
from fedpref.transport.in_process import SecureDevice, SimulatedDevice, carry

PLAIN = sgd(lr=1.0, momentum=0.0)
PEOPLE = 5


class Diary:
    """What is written down, in order; nothing has crashed before."""

    def __init__(self):
        self.events = []

    def pending(self, round_):
        return None

    def kept(self, round_):
        return None

    def keep(self, round_, record):
        pass

    def charge(self, round_, digest):
        self.events.append("charge")

    def hold(self, round_, noisy, digest):
        self.events.append("hold")

    def settle(self, state):
        self.events.append("settle")

    def give_up(self, round_, *, refund):
        self.events.append(f"give up, refund = {refund}")


@pytest.fixture
def plan_of(make_plan):
    def make(coordinates=40, **change):
        usual = {"noise": Noise.DISTRIBUTED, "units": PEOPLE}
        return make_plan(**(usual | change), coordinates=coordinates)

    return make


def honest(plan, seed=1, goals=None):
    """What each device contributes; every gradient is longer than the clip."""
    rng = np.random.default_rng(seed)
    goals = rng.normal(size=(PEOPLE, plan.spec.coordinates)) if goals is None else goals
    return {
        i: partial(
            contribute,
            device=i,
            plan=plan,
            gradient=lambda model, goal=goal: 9 * (model - goal)[None],
            statistics=lambda model: np.ones(3),
            offset=lambda model: np.full(plan.spec.moment.weights, 9.0),
            entropy=SeededEntropy(seed),
        )
        for i, goal in enumerate(goals, 1)
    }


def uniform(plan, seed):
    """What a device sends that fills its words with uniform ones."""

    def make(number, model):
        half = 2 ** (plan.spec.word_bits - 1)
        rng = np.random.default_rng(seed)
        words = rng.integers(1 - half, half, plan.stage(number).words)
        return Contribution(words, False, 0)

    return make


def road_of(plan, made, diary, *, attempt, masked):
    if not masked:
        endpoints = {i: SimulatedDevice(plan, each) for i, each in made.items()}
        entropy = SeededEntropy(1)
        return endpoints, partial(plain, entropy=entropy, attempt=attempt)
    enrolled = enrol(plan, "test", lambda: Head((), GENESIS))
    endpoints = {
        i: SecureDevice(member, made[i], limit=9, work=enrolled.work)
        for i, member in enrolled.members.items()
    }
    return endpoints, partial(secure, coordinator=enrolled.coordinator, attempt=attempt)


def released(plan, made, diary, *, number=1, masked=True):
    """The state after release ``number``, which trains or evaluates."""
    endpoints, road = road_of(plan, made, diary, attempt=number, masked=masked)
    before = start(np.zeros(plan.spec.coordinates), PLAIN)
    out = []

    def drive(send):
        gather = road(plan, tuple(made), send=send, journal=diary)
        if number <= plan.spec.training_rounds:
            done = run_round(
                number,
                before,
                plan=plan,
                optimiser=PLAIN,
                average_last=0.0,
                gather=gather,
                journal=diary,
            )
        else:
            put = partial(keep, plan=plan)
            done = run_after(number, before, keep=put, gather=gather, journal=diary)
        out.append(done)

    carry(endpoints, drive)
    return out[0]


# What happens to a round


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("word_bits", "coordinates"), [(16, 1000), (24, 3)])
def test_uniform_words_are_flagged_and_not_published(
    plan_of, word_bits, coordinates, masked
) -> None:
    plan, diary = plan_of(coordinates, word_bits=word_bits), Diary()
    made = honest(plan) | {3: uniform(plan, word_bits)}
    with pytest.raises(TooFewSurvivors, match=r"round 1: the sum of 5 devices is out"):
        released(plan, made, diary, masked=masked)
    assert diary.events[-1] == "give up, refund = False"  # it stays charged
    assert not {"hold", "settle"} & set(diary.events)


@pytest.mark.parametrize("masked", [True, False])
def test_the_evaluation_is_checked_as_well(plan_of, masked) -> None:
    plan, diary = plan_of(evaluation=True), Diary()
    number = plan.spec.reserved_rounds
    released(plan, honest(plan), diary, number=number, masked=masked)
    assert diary.events[-1] == "settle"
    diary.events.clear()
    made = honest(plan) | {3: uniform(plan, 3)}
    with pytest.raises(TooFewSurvivors, match="out of range"):
        released(plan, made, diary, number=number, masked=masked)
    assert diary.events[-1] == "give up, refund = False"


def test_the_error_says_public_numbers_only(plan_of) -> None:
    plan = plan_of()
    bound = honest_range(plan, plan.training, 5)
    texts = set()
    for seed in range(3):
        made = honest(plan) | {3: uniform(plan, seed)}
        with pytest.raises(TooFewSurvivors) as caught:
            released(plan, made, Diary())
        texts.add(str(caught.value))
    (text,) = texts  # whatever was in the sum
    assert f"<= {bound.coordinate} steps" in text
    assert f"<= {isqrt(bound.square)};" in text


@pytest.mark.parametrize("word_bits", [16, 24])
def test_honest_rounds_are_never_flagged(plan_of, word_bits) -> None:
    plan = plan_of(word_bits=word_bits, coordinates=30)
    for seed in range(60):
        diary = Diary()
        released(plan, honest(plan, seed), diary, masked=False)
        assert diary.events[-1] == "settle"


def test_people_who_all_push_one_coordinate_are_honest(plan_of) -> None:
    plan, diary = plan_of(), Diary()
    goals = np.zeros((PEOPLE, 40))
    goals[:, 7] = 1000.0  # all of everybody's clip
    released(plan, honest(plan, goals=goals), diary)
    assert diary.events[-1] == "settle"


def test_a_poison_within_the_range_passes(plan_of) -> None:
    plan, diary = plan_of(), Diary()
    bound = honest_range(plan, plan.training, PEOPLE).coordinate

    def poison(number, model):
        words = np.zeros(plan.words, np.int64)
        words[0] = bound // 2  # as much as two or three honest devices together
        return Contribution(words, False, 0)

    nothing = np.zeros((PEOPLE, 40))
    model = released(plan, honest(plan, goals=nothing) | {3: poison}, diary).model
    assert diary.events[-1] == "settle"
    assert abs(model[0]) * plan.divisor > 2 * plan.spec.clip


def test_a_server_that_adds_the_noise_leaves_out_who_is_beyond_the_bound(
    make_plan,
) -> None:
    plan, diary = make_plan(noise=Noise.CENTRAL, units=PEOPLE, coordinates=4), Diary()
    made = honest(plan)
    large = np.full(4, 2 * isqrt(plan.sensitivity_squared), np.int64)
    made[3] = lambda number, model: Contribution(large, False, 0)
    state = released(plan, made, diary, masked=False)
    assert state.survivors == 4
    assert diary.events[-1] == "settle"
    huge = np.full(4, 2**62)
    assert in_range(huge, plan, 1, 4) is huge  # nothing is left to check


# What the range is


def test_the_range_by_hand(plan_of) -> None:
    plan = plan_of()
    scale, stage = plan.scale, plan.training
    found = honest_range(plan, stage, 4)
    noise = 8 * sqrt(4 * scale.share_variance)
    assert found.coordinate == 4 * isqrt(scale.limit) + int(noise)
    more = noise_square(40, 4 * scale.share_variance)
    square = (4 * sqrt(scale.limit) + sqrt(more)) ** 2
    assert square <= found.square <= square * (1 + 1e-12) + 2


@pytest.mark.parametrize(
    ("word_bits", "coordinates"), [(24, 40), (24, 5000), (16, 5000)]
)
def test_bounds_are_inclusive(plan_of, word_bits, coordinates) -> None:
    plan = plan_of(coordinates, word_bits=word_bits)
    bound = honest_range(plan, plan.training, 5)
    total = np.zeros(plan.words, np.int64)
    for sign in (1, -1):
        total[3] = sign * bound.coordinate
        assert in_range(total, plan, 1, 5) is total
        total[3] += sign
        with pytest.raises(IntegrityError, match="out of range"):
            in_range(total, plan, 1, 5)
    flat = isqrt(bound.square // total.size)
    assert flat < bound.coordinate  # so the norm is what refuses
    total[:] = flat
    in_range(total, plan, 1, 5)
    total[:] = flat + 2
    with pytest.raises(IntegrityError, match="out of range"):
        in_range(total, plan, 1, 5)


def test_rotation_narrows_the_range_of_a_coordinate(plan_of) -> None:
    plan = plan_of(5000, word_bits=16)
    scale, found = plan.scale, honest_range(plan, plan.training, 5)
    assert scale.coordinates == 8192
    signal = 8 * 5 * scale.steps / sqrt(8192) + 5
    noise = 8 * sqrt(5 * scale.share_variance)
    assert abs(found.coordinate - signal - noise) <= 3
    assert found.coordinate < 5 * isqrt(scale.limit) + noise


def test_many_units_of_one_device_count(plan_of) -> None:
    plan = plan_of(unit=Unit.RECORD, units_per_client=3, multiplier=60)
    scale = plan.scale
    noise = isqrt(64 * 5 * scale.share_variance)
    found = honest_range(plan, plan.training, 5).coordinate
    assert found == 15 * isqrt(scale.limit) + noise


def test_each_stage_has_its_own_range(plan_of) -> None:
    moment = Moment(3, 1.0, Fraction(1, 2))
    plan = plan_of(moment=moment, participation=Participation.ALL)
    by_range = sorted(
        plan.stages, key=lambda stage: honest_range(plan, stage, 5).coordinate
    )
    narrow, wide = by_range
    total = np.zeros(wide.words, np.int64)
    total[0] = honest_range(plan, wide, 5).coordinate
    in_range(total, plan, wide.first, 5)
    with pytest.raises(IntegrityError, match="out of range"):
        in_range(total[: narrow.words], plan, narrow.first, 5)


def test_without_noise_from_devices_there_is_no_range(make_plan) -> None:
    plan = make_plan(noise=Noise.CENTRAL)
    for ask in (honest_range, false_alarm):
        with pytest.raises(ValueError, match="noise from the devices"):
            ask(plan, plan.training, 3)


# How rarely an honest sum is refused


@pytest.mark.parametrize("coordinates", [3, 40, 6161])
def test_the_chance_of_a_false_alarm_bounds_the_exact_tail(
    plan_of, coordinates
) -> None:
    """The exact Skellam tail beyond 8 standard deviations, summed by mpmath."""
    plan = plan_of(coordinates)
    variance = 5 * plan.scale.share_variance
    beyond = isqrt(64 * variance) + 1
    with mpmath.workdps(60):
        half = mpmath.mpf(variance) / 2
        weight = mpmath.exp(-variance) * mpmath.besseli(beyond, 2 * half)
        ratio = mpmath.besseli(beyond + 1, 2 * half) / mpmath.besseli(beyond, 2 * half)
        tail = 2 * weight / (1 - ratio)  # later ratios are smaller still
        exact = float(coordinates * tail)
    claimed = false_alarm(plan, plan.training, 5)
    assert exact < claimed < 40 * exact + 2.0**-60
    assert claimed < 1e-9


def test_chernoffs_bound_against_scipy_where_it_is_not_so_rare(monkeypatch) -> None:
    """At 3 standard deviations, where floats have digits to compare."""
    for variance in (100, 5000):
        monkeypatch.setattr(ranges, "SPREADS", 3)
        beyond = isqrt(9 * variance)
        exact = 2 * reference.sf(beyond, variance / 2, variance / 2)
        stage = _stage(1, variance)
        claimed = false_alarm(_Plan, stage, 1) - 2.0**-64
        assert exact < claimed < 12 * exact


def test_the_norm_of_noise_is_below_its_bound() -> None:
    """The same inequality at 2**-6 instead of 2**-64 holds in many draws."""
    rng = np.random.default_rng(5)
    for words, variance in ((3, 200), (50, 200), (500, 50)):
        shape = (3_000, words)
        noise = rng.poisson(variance / 2, shape) - rng.poisson(variance / 2, shape)
        norms = np.square(noise).sum(axis=1)
        few = _at_bits(6, words, variance)
        assert (norms > few).mean() <= 2.0**-6
        assert norms.max() < noise_square(words, variance)
        # no bound that lets everything through: it grows with the noise
        assert noise_square(words, variance) < 64 * variance * (words + 30)


def test_the_bound_on_a_norm_by_high_precision() -> None:
    with mpmath.workdps(50):
        for words, variance in ((1, 7), (6161, 68438 * 293), (2**20, 9_000_000)):
            bits, v = 64 * mpmath.log(2), mpmath.mpf(variance)
            beyond = noise_square(words, variance) - words * variance
            denominator = words * (3 * v**2 + v) + 64 * v * beyond / 3
            exponent = mpmath.mpf(beyond) ** 2 / (2 * denominator)
            assert bits <= exponent < bits * (1 + mpmath.mpf(10) ** -9) + 1


class _Plan:
    class spec:
        word_bits = 24
        units_per_client = 1


def _stage(words, variance):
    class Stage:
        class scale:
            share_variance = variance

    Stage.words = words
    return Stage


def _at_bits(bits, words, variance):
    before = ranges._NORM_BITS
    try:
        ranges._NORM_BITS = bits
        return noise_square(words, variance)
    finally:
        ranges._NORM_BITS = before
