"""The server's half of a round, with real devices behind bytes."""

from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from scipy import stats

from fedpref.core.entropy import OsEntropy, SeededEntropy
from fedpref.core.types import Noise
from fedpref.errors import TooFewSurvivors
from fedpref.rounds.contribution import contribute
from fedpref.rounds.optimisers import sgd
from fedpref.rounds.plain import plain
from fedpref.rounds.server import run_round, start
from fedpref.secagg.messages import Contribution, encode_contribution
from fedpref.transport.in_process import SimulatedDevice, carry

PLAIN = sgd(lr=1.0, momentum=0.0)


class Diary:
    """A journal in memory that remembers what happened, in order."""

    def __init__(self, pending=None):
        self.events, self.kept = [], pending

    def pending(self, round_):
        return self.kept

    def charge(self, round_, digest):
        self.events.append(("charge", round_))

    def hold(self, round_, noisy, digest):
        self.kept = noisy

    def settle(self, state):
        self.events.append(("settle", state.round))

    def give_up(self, round_, *, refund):
        self.events.append(("give up", round_, refund))


def one_round(plan, endpoints, *, state=None, optimiser=PLAIN, entropy=None, **kwargs):
    """One round; returns the new state and the journal."""
    diary, out = kwargs.pop("diary", None) or Diary(), []
    if state is None:
        state = start(np.zeros(plan.spec.coordinates), optimiser)

    def drive(send):
        out.append(
            run_round(
                state.round + 1,
                state,
                plan=plan,
                optimiser=optimiser,
                average_last=kwargs.pop("average_last", 0.0),
                gather=plain(
                    plan,
                    range(1, plan.spec.units + 1),
                    attempt=state.round + 1,
                    entropy=entropy or SeededEntropy(1),
                    send=kwargs.pop("send", send),
                    journal=diary,
                ),
                journal=diary,
            )
        )

    carry(endpoints, drive)
    return out[0], diary


def devices(plan, gradients, entropy=None):
    return {
        i: SimulatedDevice(
            plan,
            partial(
                contribute,
                device=i,
                plan=plan,
                gradient=g,
                entropy=entropy or SeededEntropy(1),
            ),
        )
        for i, g in enumerate(gradients, 1)
    }


def test_the_step_is_the_sum_over_a_public_constant(make_plan, toward) -> None:
    plan = make_plan(noise=Noise.NONE)
    goals = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0]]
    state, _ = one_round(plan, devices(plan, [toward(g) for g in goals]))
    expected = np.sum(goals, axis=0) / (4 * 2.0)
    assert state.model == pytest.approx(expected, abs=1e-6)
    assert (state.round, state.survivors) == (1, 4)


def test_missing_people_shrink_the_step_and_are_not_divided_away(
    make_plan, toward
) -> None:
    plan = make_plan(noise=Noise.NONE)
    endpoints = devices(plan, [toward([1, 0, 0])] * 4)
    del endpoints[2], endpoints[3]
    state, _ = one_round(plan, endpoints)
    assert state.model[0] == pytest.approx(2 / (4 * 2.0), abs=1e-6)
    assert state.survivors == 2


def test_too_few_survivors_release_nothing(make_plan, toward) -> None:
    plan, diary = make_plan(min_survivors=0.75), Diary()
    endpoints = devices(plan, [toward([1, 0, 0])] * 2)
    with pytest.raises(TooFewSurvivors, match=r"survivors = 2, must be >= 3"):
        one_round(plan, endpoints, diary=diary)
    assert diary.events == [("give up", 1, False)]


def test_replies_that_do_not_count_were_received_all_the_same(make_plan) -> None:
    """The server has read them, so the round must not be refunded."""
    plan, diary = make_plan(), Diary()
    with pytest.raises(TooFewSurvivors, match="survivors = 0"):
        one_round(plan, {1: lambda request: b"junk", 2: lambda r: b""}, diary=diary)
    assert diary.events == [("give up", 1, False)]


def test_the_charge_comes_before_the_release(make_plan, toward) -> None:
    plan = make_plan()
    _, diary = one_round(plan, devices(plan, [toward([1, 0, 0])] * 4))
    assert diary.events == [("charge", 1), ("settle", 1)]


def test_a_charge_that_is_refused_releases_nothing(make_plan, toward) -> None:
    class Refusing(Diary):
        def charge(self, round_, digest):
            raise RuntimeError("over budget")

    plan, diary = make_plan(), Refusing()
    with pytest.raises(RuntimeError, match="over budget"):
        one_round(plan, devices(plan, [toward([1, 0, 0])] * 4), diary=diary)
    assert not diary.events


def test_a_round_that_was_charged_is_finished_with_the_same_sum(
    make_plan, toward
) -> None:
    """After a crash nobody is asked again, and no fresh noise is drawn."""
    plan = make_plan()
    state, diary = one_round(
        plan, devices(plan, [toward([1, 0, 0])] * 4), entropy=OsEntropy()
    )

    def nobody(request):
        raise AssertionError("devices must not be asked again")

    again, later = one_round(
        plan, {1: nobody}, diary=Diary(diary.kept), entropy=OsEntropy()
    )
    assert np.array_equal(again.model, state.model)
    assert again.survivors == 4
    assert later.events == [("settle", 1)]


def forged(plan, update, round_=1, digest=None):
    message = Contribution(round_, digest or plan.digest, np.array(update, np.int64))
    return lambda request: encode_contribution(message)


def test_contributions_beyond_the_bound_or_malformed_do_not_count(
    make_plan, toward
) -> None:
    plan = make_plan(noise=Noise.NONE, units=9, min_survivors=0.1)
    endpoints = devices(plan, [toward([1, 0, 0])] * 2)
    too_long = int(plan.sensitivity_squared**0.5) + 1
    endpoints[3] = forged(plan, [too_long, 0, 0])
    endpoints[4] = forged(plan, [1, 0, 0], round_=2)
    endpoints[5] = forged(plan, [1, 0, 0], digest=bytes(32))
    endpoints[6] = lambda request: b"nonsense"
    endpoints[7] = forged(plan, [2**62, 2**62, 2**62])
    endpoints[8] = forged(plan, [-(2**63), 0, 5])
    endpoints[9] = forged(plan, [-(2**63), 0, 0])
    state, _ = one_round(plan, endpoints)
    assert state.survivors == 2
    assert state.model[0] == pytest.approx(2 / (9 * 2.0), abs=1e-6)


def test_devices_that_are_not_enrolled_do_not_count(make_plan, toward) -> None:
    plan = make_plan(noise=Noise.NONE)
    gradients = [toward([1, 0, 0])] * 9
    strangers = {0: devices(plan, gradients)[1], -1: devices(plan, gradients)[1]}
    state, _ = one_round(plan, devices(plan, gradients) | strangers)
    assert state.survivors == 4


def test_a_contribution_exactly_at_the_bound_counts(make_plan) -> None:
    plan = make_plan(noise=Noise.NONE)
    edge = int(plan.sensitivity_squared**0.5)
    assert edge**2 == plan.sensitivity_squared
    forger = {i: forged(plan, [edge, 0, 0]) for i in (1, 2)}
    state, _ = one_round(plan, forger)
    assert state.survivors == 2


def test_two_plans_under_one_seed_draw_different_noise(make_plan) -> None:
    steps = []
    for rounds in (3, 4):
        plan = make_plan(rounds=rounds)
        zero = [lambda vector: np.zeros((1, 3))] * 4
        state, _ = one_round(plan, devices(plan, zero))
        steps.append(state.model)
    assert not np.allclose(steps[0], steps[1])


def test_a_device_counts_once(make_plan, toward) -> None:
    plan = make_plan(noise=Noise.NONE)
    device = devices(plan, [toward([1, 0, 0])])[1]

    def twice(requests):
        yield 1, device(requests[1])
        yield 1, device(requests[1])
        yield 2, forged(plan, [0, 0, 0])(requests[2])

    state, _ = one_round(plan, {}, send=twice)
    assert state.survivors == 2
    assert state.model[0] == pytest.approx(1 / (4 * 2.0), abs=1e-6)


def test_a_round_without_signal_shows_the_booked_variance(make_plan) -> None:
    """Chi-square on the step itself, against the event in the plan."""
    plan = make_plan(coordinates=20_000)
    zero = [lambda vector: np.zeros((1, 20_000))] * 4
    state, _ = one_round(plan, devices(plan, zero))
    steps = state.model * plan.divisor / plan.grid.step

    def fits(variance: Fraction) -> bool:
        low, high = stats.chi2.ppf((1e-6, 1 - 1e-6), 20_000)
        return bool(low < float((steps**2).sum() / float(variance)) < high)

    assert fits(plan.event.variance)
    assert not fits(plan.event.variance / 4)  # the test sees half the noise
    assert not fits(plan.event.variance * 4)


def test_noise_differs_by_round_and_repeats_by_seed(make_plan) -> None:
    plan = make_plan()
    zero = [lambda vector: np.zeros((1, 3))] * 4
    first, _ = one_round(plan, devices(plan, zero))
    same, _ = one_round(plan, devices(plan, zero))
    other, _ = one_round(plan, devices(plan, zero), entropy=SeededEntropy(2))
    fresh = [one_round(plan, devices(plan, zero), entropy=OsEntropy())[0] for _ in "ab"]
    assert np.array_equal(first.model, same.model)
    assert not np.array_equal(first.model, other.model)
    assert not np.array_equal(fresh[0].model, fresh[1].model)
    second, _ = one_round(plan, devices(plan, zero), state=replace(first))
    assert not np.allclose(second.model - first.model, first.model)


@pytest.mark.parametrize(
    ("share", "averaged"), [(0.0, [3]), (0.5, [2, 3]), (1.0, [1, 2, 3])]
)
def test_the_mean_of_the_last_iterates_is_released(
    make_plan, toward, share, averaged
) -> None:
    plan = make_plan(noise=Noise.NONE)
    endpoints = devices(plan, [toward([1, 2, 3])] * 4)
    state, models = start(np.zeros(3), PLAIN), {}
    for number in (1, 2, 3):
        state, _ = one_round(plan, endpoints, state=state, average_last=share)
        models[number] = state.model
    expected = np.mean([models[i] for i in averaged], axis=0)
    assert state.released == pytest.approx(expected)


@pytest.mark.parametrize("entry", [2**23, -(2**23), 2**62, -(2**63)])
def test_a_readable_share_beyond_its_word_does_not_count(make_plan, entry) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED)
    zero = [lambda vector: np.zeros((1, 3))] * 4
    alone, _ = one_round(plan, {i: d for i, d in devices(plan, zero).items() if i < 4})
    forger = devices(plan, zero) | {4: forged(plan, [entry, 0, 0])}
    state, _ = one_round(plan, forger)
    assert state.survivors == 3
    assert np.array_equal(state.model, alone.model)
    edge = devices(plan, zero) | {4: forged(plan, [1 - 2**23, 2**23 - 1, 0])}
    with pytest.raises(TooFewSurvivors, match="the sum of 4 devices is out of range"):
        one_round(plan, edge)
