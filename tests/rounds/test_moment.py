"""The second moment of people's offsets: what devices say and what is released."""

from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from fedpref.core.entropy import OsEntropy, SeededEntropy
from fedpref.core.grid import squared_norm
from fedpref.core.moments import unsvec
from fedpref.core.types import Noise
from fedpref.errors import PlanError, TooFewSurvivors
from fedpref.rounds import moment
from fedpref.rounds.contribution import contribute
from fedpref.rounds.optimisers import sgd
from fedpref.rounds.plain import plain
from fedpref.rounds.secure import secure
from fedpref.rounds.server import Noisy, run_after, start
from fedpref.stages import Moment
from fedpref.transport.in_process import SimulatedDevice, carry

MOMENT = Moment(2, 3.0, Fraction(1, 2))
OFFSETS = [[1.0, 0.0], [0.0, -2.0], [1.0, 1.0], [30.0, 40.0]]
SHORT = [*OFFSETS[:3], [1.8, 2.4]]  # the last one has the norm 3 now


class Diary:
    """A journal in memory that remembers what happened, in order."""

    def __init__(self):
        self.events = []

    def pending(self, round_):
        return None

    def kept(self, round_):
        return None

    def hold(self, round_, noisy, digest):
        self.events.append(("hold", round_))

    def charge(self, round_, digest):
        self.events.append(("charge", round_))

    def settle(self, state):
        self.events.append(("settle", state.round))

    def give_up(self, round_, *, refund):
        self.events.append(("give up", round_, refund))


def never(vector):
    raise AssertionError("a device trains while its offset is asked for")


def said(plan, offset, *, device=1, entropy=None, number=None):
    return contribute(
        plan.spec.training_rounds + 1 if number is None else number,
        np.zeros(plan.words),
        device=device,
        plan=plan,
        gradient=never,
        entropy=entropy or SeededEntropy(1),
        offset=offset if offset is None or callable(offset) else lambda vector: offset,
    )


def released(plan, offsets, diary=None):
    """The server's state after the release."""
    number, out = plan.spec.training_rounds + 1, []
    diary = diary or Diary()
    endpoints = {
        i: SimulatedDevice(plan, partial(_answer, plan=plan, device=i, offset=offset))
        for i, offset in enumerate(offsets, 1)
    }

    def drive(send):
        gather = plain(
            plan,
            range(1, plan.spec.units + 1),
            attempt=number,
            entropy=SeededEntropy(1),
            send=send,
            journal=diary,
        )
        state = start(np.zeros(plan.spec.coordinates), sgd(lr=1.0, momentum=0.0))
        keep = partial(moment.keep, plan=plan)
        out.append(run_after(number, state, keep=keep, gather=gather, journal=diary))

    carry(endpoints, drive)
    return out[0]


def _answer(number, model, *, plan, device, offset):
    return said(plan, np.array(offset), device=device, number=number)


def test_without_noise_the_mean_is_that_of_the_shortened_offsets(make_plan) -> None:
    plan, diary = make_plan(noise=Noise.NONE, moment=MOMENT), Diary()
    state = released(plan, OFFSETS, diary)
    expected = sum(np.outer(b, b) for b in np.array(SHORT)) / 4
    assert unsvec(moment.mean(state.moment, plan)) == pytest.approx(expected, abs=1e-5)
    assert diary.events == [("hold", 4), ("charge", 4), ("settle", 4)]
    assert (state.round, state.steps, state.survivors) == (4, 0, 4)


def test_who_is_missing_makes_the_mean_smaller_and_nothing_else(make_plan) -> None:
    """The divisor is the plan's; a private count would tell who was there."""
    plan = make_plan(noise=Noise.NONE, moment=MOMENT)
    state = released(plan, OFFSETS[:3])
    expected = sum(np.outer(b, b) for b in np.array(SHORT[:3])) / 4
    assert unsvec(moment.mean(state.moment, plan)) == pytest.approx(expected, abs=1e-5)


def test_too_few_devices_release_nothing(make_plan) -> None:
    plan, diary = make_plan(min_survivors=0.75, moment=MOMENT), Diary()
    with pytest.raises(TooFewSurvivors):
        released(plan, OFFSETS[:2], diary)
    assert diary.events == [("give up", 4, False)]


@pytest.mark.parametrize("offset", [*OFFSETS, [3.0, 0.0], [1e300, -1e300]])
def test_nobody_says_more_than_the_bound(make_plan, quiet, offset) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, moment=MOMENT)
    stage = plan.stage(4)
    made = said(plan, np.array(offset))
    assert not made.failed
    assert squared_norm(made.update) <= stage.sensitivity_squared


def test_the_longest_offset_fills_the_bound(make_plan) -> None:
    """Or noise would be added for contributions that nobody can make."""
    plan = make_plan(noise=Noise.NONE, moment=MOMENT)
    norm = squared_norm(said(plan, np.array([1.8, 2.4])).update)
    assert norm == pytest.approx(plan.stage(4).sensitivity_squared, rel=1e-6)


@pytest.mark.parametrize("kind", ["raises", "shape", "absent"])
def test_a_failure_is_noise_alone(make_plan, kind) -> None:
    def broken(vector):
        if kind == "raises":
            raise RuntimeError("secret text")
        return np.zeros(3)

    plan = make_plan(noise=Noise.DISTRIBUTED, moment=MOMENT)
    failed = said(plan, None if kind == "absent" else broken)
    zero = said(plan, np.zeros(2))
    assert failed.failed
    assert not zero.failed
    assert np.array_equal(failed.update, zero.update)


def test_offsets_are_asked_for_under_one_number_only(make_plan) -> None:
    plan = make_plan(noise=Noise.NONE, spare_rounds=2, moment=MOMENT, evaluation=True)
    for number in (1, 5, 7):
        assert said(plan, never, number=number).failed  # it trains, or evaluates
    assert not said(plan, np.ones(2), number=6).failed


@pytest.mark.parametrize("masked", [True, False], ids=["protocol", "sum"])
@pytest.mark.parametrize(("number", "attempt"), [(3, 4), (4, 3), (4, 5)])
def test_what_is_asked_for_is_what_is_booked(
    make_plan, masked, number, attempt
) -> None:
    """The ledger books release 3 as a round; a moment must not come out of it."""
    plan = make_plan(noise=Noise.DISTRIBUTED, moment=MOMENT, evaluation=True)
    diary, asked = Diary(), []
    road = partial(secure, coordinator=SimpleNamespace(work=None))
    if not masked:
        road = partial(plain, entropy=SeededEntropy(1))
    gather = road(plan, (1, 2), attempt=attempt, send=asked.append, journal=diary)
    with pytest.raises(PlanError, match=f"request = {attempt} for release {number}"):
        gather(number, np.zeros(3))
    assert asked == diary.events == []


def test_noise_comes_out_as_large_as_is_said(make_plan) -> None:
    size = 64
    plan = make_plan(
        noise=Noise.DISTRIBUTED,
        coordinates=size,
        moment=Moment(size, 3.0, Fraction(1, 2)),
    )
    total = sum(
        said(plan, np.zeros(size), device=i, entropy=OsEntropy()).update
        for i in range(1, 5)
    )
    state = start(np.zeros(size), sgd(lr=1.0, momentum=0.0))
    found = moment.keep(Noisy(total, 4), state, plan=plan)
    noise = moment.mean(found.moment, plan) / moment.noise_stddev(plan)
    ratio = float((noise**2).sum()) * 3 / 4  # all four are there, the plan needs three
    low, high = stats.chi2.ppf((1e-6, 1 - 1e-6), noise.size)
    assert low < ratio < high
    assert not low < 4 * ratio < high


def test_the_device_is_given_the_model_without_its_padding(make_plan) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, word_bits=16, moment=MOMENT)
    seen = []
    said(plan, lambda vector: seen.append(vector) or np.zeros(2))
    assert seen[0].shape == (3,)
