"""A round under secure aggregation: the same integers, charged before they are seen."""

from functools import partial

import numpy as np
import pytest

from fedpref.core.entropy import SeededEntropy
from fedpref.core.rows import GENESIS
from fedpref.core.types import Noise
from fedpref.errors import IntegrityError, MessageError, TooFewSurvivors
from fedpref.rounds.contribution import contribute
from fedpref.rounds.optimisers import sgd
from fedpref.rounds.plain import plain
from fedpref.rounds.secure import Head, secure
from fedpref.rounds.server import run_round, start
from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.simulation.enrolment import enrol
from fedpref.transport.in_process import SecureDevice, SimulatedDevice, carry

PLAIN = sgd(lr=1.0, momentum=0.0)


class Diary:
    """A journal in memory that remembers what happened, in order."""

    def __init__(self):
        self.events, self.digests = [], []

    def pending(self, round_):
        return None

    def kept(self, round_):
        return None

    def keep(self, round_, record):
        self.events.append("keep")

    def charge(self, round_, digest):
        self.events.append("charge")
        self.digests.append(digest)

    def hold(self, round_, noisy, digest):
        self.events.append("hold")
        self.digests.append(digest)

    def settle(self, state):
        self.events.append("settle")

    def give_up(self, round_, *, refund):
        self.events.append(f"give up, refund = {refund}")


def contributions(plan, goals):
    return {
        i: partial(
            contribute,
            device=i,
            plan=plan,
            gradient=lambda v, goal=goal: v - np.asarray(goal)[None],
            entropy=SeededEntropy(1),
        )
        for i, goal in enumerate(goals, 1)
    }


@pytest.fixture
def setting(make_plan):
    def make(**change):
        plan = make_plan(noise=Noise.DISTRIBUTED, units=5, **change)
        rng = np.random.default_rng(3)
        goals = rng.normal(size=(5, plan.spec.coordinates))
        return plan, contributions(plan, goals)

    return make


def masked(plan, made, *, lost=None, diary=None):
    """One round over the protocol; ``lost`` silences devices from a leg on."""
    diary = diary if diary is not None else Diary()
    enrolled = enrol(plan, "test", lambda: Head((), GENESIS))
    endpoints = {
        i: SecureDevice(member, made[i], limit=9, work=enrolled.work)
        for i, member in enrolled.members.items()
    }
    for i, kind in (lost or {}).items():
        endpoints[i] = silenced(endpoints[i], kind, diary)
    road = partial(
        secure, plan, tuple(made), attempt=1, coordinator=enrolled.coordinator
    )
    return driven(plan, endpoints, road, diary), diary


def silenced(endpoint, kind, diary):
    def call(request):
        if wire.kind_of(request) >= kind:
            diary.events.append("silence")
            raise MessageError("lost")
        return endpoint(request)

    return call


def readable(plan, made):
    endpoints = {i: SimulatedDevice(plan, each) for i, each in made.items()}
    road = partial(plain, plan, tuple(made), attempt=1, entropy=SeededEntropy(1))
    return driven(plan, endpoints, road, Diary())


def driven(plan, endpoints, road, diary):
    out = []

    def drive(send):
        out.append(
            run_round(
                1,
                start(np.zeros(plan.spec.coordinates), PLAIN),
                plan=plan,
                optimiser=PLAIN,
                average_last=0.0,
                gather=road(send=send, journal=diary),
                journal=diary,
            )
        )

    carry(endpoints, drive)
    return out[0]


@pytest.mark.parametrize("word_bits", [16, 24])
def test_protocol_and_sum_give_the_same_bits(setting, word_bits) -> None:
    plan, made = setting(word_bits=word_bits, coordinates=9)
    state, _ = masked(plan, made)
    assert np.array_equal(state.model, readable(plan, made).model)
    assert (state.round, state.steps, state.survivors) == (1, 1, 5)


def test_the_charge_is_durable_before_shares_are_asked_for(setting) -> None:
    plan, made = setting()
    _, diary = masked(plan, made, lost={1: Kind.AGREEMENTS})
    assert diary.events == ["keep", "charge", "silence", "hold", "settle"]
    assert len(set(diary.digests)) == 1


def test_who_is_lost_before_the_upload_is_not_in_the_sum(setting) -> None:
    plan, made = setting()
    state, _ = masked(plan, made, lost={2: Kind.DELIVERY})
    left = {i: each for i, each in made.items() if i != 2}
    assert np.array_equal(state.model, readable(plan, left).model)
    assert state.survivors == 4


@pytest.mark.parametrize("leg", [Kind.DESCRIPTOR, Kind.ADVERTS, Kind.DELIVERY])
def test_too_few_before_unmasking_are_refunded_by_the_server(setting, leg) -> None:
    plan, made = setting()
    diary = Diary()
    with pytest.raises(TooFewSurvivors, match=r"round 1: .*nothing was unmasked"):
        masked(plan, made, lost={1: leg, 2: leg}, diary=diary)
    assert "charge" not in diary.events
    assert diary.events[-1] == "give up, refund = True"


def test_too_few_after_the_charge_stay_charged(setting) -> None:
    plan, made = setting()
    assert plan.threshold == 4
    lost, diary = dict.fromkeys((1, 2), Kind.AGREEMENTS), Diary()
    with pytest.raises(TooFewSurvivors, match="shares of device"):
        masked(plan, made, lost=lost, diary=diary)
    assert diary.events[:2] == ["keep", "charge"]
    assert diary.events[-1] == "give up, refund = False"
    assert "hold" not in diary.events


# A crash between the charge and the sum


class PowerCut(Exception):
    pass


class Shelf(Diary):
    """A diary that loses power once, and is read again by the next server."""

    def __init__(self, cut):
        super().__init__()
        self.cut, self.record = cut, None

    def kept(self, round_):
        return None if "charge" not in self.events else (self.record, self.digests[0])

    def keep(self, round_, record):
        super().keep(round_, record)
        self.record = record()

    def charge(self, round_, digest):
        super().charge(round_, digest)
        self.lose_power("charge")

    def hold(self, round_, noisy, digest):
        self.lose_power("hold")
        super().hold(round_, noisy, digest)

    def lose_power(self, where):
        if self.cut == where:
            self.cut = None
            raise PowerCut


@pytest.fixture
def resumed(setting):
    """The state after a second server has finished a round, and what was asked of whom.

    ``bend`` may change the devices while the server is down.
    """

    def make(cut, bend=lambda endpoints: endpoints):
        plan, made = setting()
        diary, asked = Shelf(cut), []

        enrolled = enrol(plan, "test", lambda: Head((), GENESIS))

        def endpoint(i, member):
            calls = []

            def once(number, model):
                calls.append(number)
                assert len(calls) == 1
                return made[i](number, model)

            device = SecureDevice(member, once, limit=9, work=enrolled.work)

            def call(request):
                asked.append((i, wire.kind_of(request)))
                return device(request)

            return call

        endpoints = {i: endpoint(i, member) for i, member in enrolled.members.items()}
        road = partial(
            secure, plan, tuple(made), attempt=1, coordinator=enrolled.coordinator
        )
        with pytest.raises(PowerCut):
            driven(plan, endpoints, road, diary)
        asked.clear()
        state = driven(plan, bend(endpoints), road, diary)
        return state, readable(plan, made), diary, asked

    return make


@pytest.mark.parametrize("cut", ["charge", "hold"])
def test_a_charged_round_is_opened_after_a_crash(resumed, cut) -> None:
    """Before anybody was asked for shares, or after everybody has given them."""
    state, expected, diary, asked = resumed(cut)
    assert np.array_equal(state.model, expected.model)
    assert asked == [(i, Kind.AGREEMENTS) for i in range(1, 6)]
    assert diary.events == ["keep", "charge", "hold", "settle"]


def test_too_few_after_a_crash_leave_it_charged(resumed) -> None:
    with pytest.raises(TooFewSurvivors, match=r"round 1: shares of device"):
        resumed("charge", lambda endpoints: {i: endpoints[i] for i in (1, 2, 3)})


def test_those_who_come_back_are_enough(resumed) -> None:
    state, expected, _, _ = resumed(
        "hold", lambda endpoints: {i: endpoints[i] for i in (2, 3, 4, 5)}
    )
    assert np.array_equal(state.model, expected.model)


def test_a_damaged_record_opens_nothing(resumed, monkeypatch) -> None:
    usual = Shelf.kept

    def damaged(self, round_):
        found = usual(self, round_)
        if found is None:
            return None
        *rest, last = found[0]
        return bytes([*rest, last ^ 1]), found[1]

    monkeypatch.setattr(Shelf, "kept", damaged)
    with pytest.raises(IntegrityError, match="not what was charged"):
        resumed("charge")
