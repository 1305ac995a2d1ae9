"""Rounds over Flower: the same integers as in process, and losses in every leg."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from fedpref.core.entropy import SeededEntropy
from fedpref.core.rows import GENESIS
from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.errors import TooFewSurvivors
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.rounds.contribution import contribute
from fedpref.rounds.plain import plain
from fedpref.rounds.secure import Head, secure
from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.simulation.enrolment import enrol
from fedpref.transport import in_process
from fedpref.transport.flower import apps
from fedpref.transport.flower.courier import unpack
from fedpref.transport.flower.exchange import at_once, over
from fedpref.transport.flower.grid import InProcessGrid
from fedpref.transport.in_process import SecureDevice, SimulatedDevice

PEOPLE = 5
NODES = range(901, 901 + PEOPLE)
LEGS = (Kind.DESCRIPTOR, Kind.ADVERTS, Kind.DELIVERY, Kind.SURVIVORS, Kind.AGREEMENTS)


class Memory:
    """A journal that only remembers what was asked of it."""

    def __init__(self):
        self.events = []

    def kept(self, round_):
        return None

    def charge(self, round_, digest):
        self.events.append("charge")

    def hold(self, round_, *what):
        pass

    keep = hold

    def give_up(self, round_, *, refund):
        self.events.append(f"refund = {refund}")


@pytest.fixture(scope="module")
def plan():
    spec = PrivacySpec(
        unit=Unit.USER,
        noise=Noise.DISTRIBUTED,
        participation=Participation.ALL,
        against=Adversary.SERVER,
        target_epsilon=1.0,
        delta=1e-5,
        clip=2.0,
        rounds=3,
        spare_rounds=0,
        units=PEOPLE,
        cohort=PEOPLE,
        units_per_client=1,
        sampling_prob=Fraction(1),
        coordinates=40,
        min_survivors=0.75,
        colluders=0.0,
        word_bits=24,
        complete_graph=True,
    )
    return PrivacyPlan(spec, Fraction(40))


@pytest.fixture(scope="module")
def made(plan):
    goals = np.random.default_rng(3).normal(size=(PEOPLE, plan.spec.coordinates))
    return {
        number: partial(
            contribute,
            device=number,
            plan=plan,
            gradient=lambda v, goal=goal: v - goal[None],
            entropy=SeededEntropy(1),
        )
        for number, goal in enumerate(goals, 1)
    }


class Cohort:
    """Five people whose devices live for several rounds, and the server they know."""

    def __init__(self, plan, made):
        self.plan, self.journal = plan, Memory()
        self.enrolled = enrol(plan, "test", lambda: Head((), GENESIS))
        self.devices = {
            number: SecureDevice(member, made[number], limit=9, work=self.enrolled.work)
            for number, member in self.enrolled.members.items()
        }

    def round(self, send, number=1):
        return secure(
            self.plan,
            tuple(self.devices),
            attempt=number,
            coordinator=self.enrolled.coordinator,
            send=send,
            journal=self.journal,
        )(number, np.zeros(self.plan.spec.coordinates))


@pytest.fixture
def cohort(plan, made):
    return Cohort(plan, made)


@pytest.fixture(scope="module")
def sums(plan, made):
    """The plain sum of some people's contributions to the first round."""

    def of(people):
        devices = {number: SimulatedDevice(plan, made[number]) for number in people}
        found = []

        def drive(send):
            gather = plain(
                plan,
                tuple(people),
                attempt=1,
                entropy=SeededEntropy(1),
                send=send,
                journal=Memory(),
            )
            found.append(gather(1, np.zeros(plan.spec.coordinates)).total)

        in_process.carry(devices, drive)
        return found[0]

    return of


class Lossy(InProcessGrid):
    """Loses what goes to some nodes, or what comes from them, in one leg or from it on.

    ``way`` is "there", "back", or "from then on" (both ways).
    """

    def __init__(self, nodes, lost, kind, way):
        super().__init__(apps.courier_app(), nodes, 1)
        self.lost, self.kind, self.way, self.off = lost, kind, way, False

    def _hit(self, message):
        kind = wire.kind_of(unpack(message.content))
        self.off = self.off or kind is self.kind
        at = self.off if self.way == "from then on" else kind is self.kind
        return at and message.metadata.dst_node_id in self.lost

    def push_messages(self, messages):
        return ["" if self._gone(m) else self._take(m) for m in messages]

    def _gone(self, message):
        return self.way in ("there", "from then on") and self._hit(message)

    def pull_messages(self, message_ids):
        hits = (
            {k for k in message_ids if k in self._queue} if self.way == "back" else ()
        )
        hits = {key for key in hits if self._hit(self._queue[key])}
        replies = super().pull_messages(message_ids)
        return [r for r in replies if r.metadata.reply_to_message_id not in hits]


def over_flower(cohort, grid, *, rounds=(1,)):
    """The sums of some rounds, or the error of one."""
    found = []
    nodes = dict(zip(sorted(grid.get_node_ids()), cohort.devices, strict=True))
    apps.carry({}, lambda send: None)  # sets Flower's identity of this process
    endpoints = {node: cohort.devices[number] for node, number in nodes.items()}
    with apps._listening(endpoints):
        send = over(grid, nodes, wait=at_once())
        for number in rounds:
            try:
                found.append(cohort.round(send, number))
            except TooFewSurvivors as error:
                found.append(error)
    return found


def test_the_sum_over_flower_is_the_sum_in_process(cohort, plan, made, sums) -> None:
    (noisy,) = over_flower(cohort, InProcessGrid(apps.courier_app(), NODES, 1))
    same = Cohort(plan, made)
    found = []
    in_process.carry(same.devices, lambda send: found.append(same.round(send)))
    assert np.array_equal(noisy.total, found[0].total)
    assert np.array_equal(noisy.total, sums(range(1, PEOPLE + 1)))
    assert (noisy.survivors, cohort.journal.events) == (PEOPLE, ["charge"])


@pytest.mark.parametrize("way", ["there", "back", "from then on"])
@pytest.mark.parametrize("kind", LEGS)
def test_one_of_five_may_be_lost_in_any_leg(cohort, sums, kind, way) -> None:
    """Whether the request or the reply is lost, and whether the node comes back."""
    (noisy,) = over_flower(cohort, Lossy(NODES, {903}, kind, way))
    uploaded = kind in (Kind.SURVIVORS, Kind.AGREEMENTS)
    people = [n for n in range(1, PEOPLE + 1) if uploaded or n != 3]
    assert noisy.survivors == len(people)
    assert np.array_equal(noisy.total, sums(people))


@pytest.mark.parametrize("kind", LEGS)
def test_two_of_five_are_too_many_in_any_leg(cohort, kind) -> None:
    (error,) = over_flower(cohort, Lossy(NODES, {901, 903}, kind, "there"))
    assert isinstance(error, TooFewSurvivors)
    charged = kind is Kind.AGREEMENTS
    assert cohort.journal.events == ["charge"] * charged + [f"refund = {not charged}"]


def test_a_node_that_was_away_for_a_round_is_in_the_next(cohort) -> None:
    grid = Lossy(NODES, {903}, Kind.ADVERTS, "from then on")
    first, second = over_flower(cohort, grid, rounds=(1, 2))
    assert (first.survivors, second.survivors) == (4, 4)  # still away
    grid.lost = set()
    (third,) = over_flower(cohort, grid, rounds=(3,))
    assert third.survivors == PEOPLE


def test_a_lost_leg_is_tried_again_under_a_new_number(cohort) -> None:
    grid = Lossy(NODES, {901, 902}, Kind.DELIVERY, "back")
    (error,) = over_flower(cohort, grid)
    assert isinstance(error, TooFewSurvivors)
    grid.lost = set()
    (noisy,) = over_flower(cohort, grid, rounds=(2,))
    assert noisy.survivors == PEOPLE


def test_a_leg_is_one_push(cohort) -> None:
    pushes = []

    class Counting(InProcessGrid):
        def push_messages(self, messages):
            messages = list(messages)
            pushes.append((messages[0].metadata.message_type, len(messages)))
            return super().push_messages(messages)

    over_flower(cohort, Counting(apps.courier_app(), NODES, 1))
    names = ("advertise", "share", "upload", "agree", "reveal")
    assert pushes == [(f"train.{name}", PEOPLE) for name in names]
