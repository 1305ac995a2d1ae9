"""Identities of a simulated run: fresh, listed, signed, and agreed to the plan."""

import time
from fractions import Fraction

import pytest

from fedpref.core.rows import GENESIS
from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.rounds.secure import Head
from fedpref.simulation.enrolment import enrol


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
        units=10,
        cohort=10,
        units_per_client=1,
        sampling_prob=Fraction(1),
        coordinates=3,
        min_survivors=0.8,
        colluders=0.1,
        word_bits=24,
        complete_graph=True,
    )
    return PrivacyPlan(spec, Fraction(40))


def head():
    return Head((), GENESIS)


def test_everybody_is_listed_with_a_key_of_their_own(plan) -> None:
    enrolled = enrol(plan, "task", head)
    assert list(enrolled.members) == list(range(1, 11))
    keys = {member.signer.public for member in enrolled.members.values()}
    server = enrolled.coordinator.signer.public
    assert len(keys | {server}) == 11
    roster = enrolled.coordinator.roster
    for number, member in enrolled.members.items():
        assert member.id == number
        assert roster.key(number) == member.signer.public
        assert member.roster is roster
        assert member.server == server
        assert member.task == enrolled.coordinator.task
        assert member.plan == plan.digest
    assert enrolled.coordinator.expiry > time.time() + 24 * 3600


def test_no_two_runs_share_keys_and_no_key_shows(plan) -> None:
    one, two = enrol(plan, "task", head), enrol(plan, "task", head)
    assert one.coordinator.signer.public != two.coordinator.signer.public
    assert one.members[1].signer.public != two.members[1].signer.public
    assert "Signer" not in repr(one)
    assert enrol(plan, "other", head).coordinator.task != one.coordinator.task
