"""Devices that fall silent: as often as was asked for, at every leg, until the end."""

from math import sqrt

import pytest

from fedpref.core.entropy import SeededEntropy
from fedpref.errors import MessageError
from fedpref.secagg import wire
from fedpref.secagg.messages import INVITATION
from fedpref.secagg.wire import Kind
from fedpref.simulation.dropouts import Unreliable

LEGS = (Kind.DESCRIPTOR, Kind.ADVERTS, Kind.DELIVERY, Kind.SURVIVORS, Kind.AGREEMENTS)


def frame(kind):
    """The beginning of a message, as far as its kind is read."""
    for candidate in range(64):
        data = bytes([70, 80, 1, candidate]) + bytes(60)
        try:
            if wire.kind_of(data) is kind:
                return data
        except MessageError:
            continue
    raise AssertionError(kind)


INVITED = b"FP\1" + bytes([INVITATION]) + bytes(60)


def device(rate, *, number=1, seed=1):
    return Unreliable(lambda request: b"here", number, rate, SeededEntropy(seed))


def answers(unreliable, request):
    try:
        return unreliable(request) == b"here"
    except MessageError:
        return False


def rounds(unreliable, count):
    """For each round, whether each leg was answered."""
    return [
        tuple(answers(unreliable, frame(kind)) for kind in LEGS) for _ in range(count)
    ]


def test_a_lost_device_stays_lost_for_its_round_and_comes_back() -> None:
    seen = rounds(device(0.5), 60)
    possible = {tuple(leg < lost for leg in range(5)) for lost in range(6)}
    assert set(seen) == possible  # it falls silent at any leg, and never in between
    assert seen[0] != seen[1] or seen[1] != seen[2]


def test_as_often_as_was_asked_for() -> None:
    rate, people, each = 0.05, 40, 50
    lost = sum(
        not all(legs)
        for i in range(people)
        for legs in rounds(device(rate, number=i), each)
    )
    mean, spread = people * each * rate, sqrt(people * each * rate * (1 - rate))
    assert abs(lost - mean) < 5 * spread


def test_never_without_a_rate() -> None:
    assert all(all(legs) for legs in rounds(device(0.0), 200))


def test_one_leg_is_lost_as_a_whole() -> None:
    """Without the protocol a round is one message; each is a new draw."""
    unreliable = device(0.3)
    lost = sum(not answers(unreliable, INVITED) for _ in range(1000))
    assert 230 < lost < 370


def test_the_loss_depends_on_the_seed_and_the_device_alone() -> None:
    usual = rounds(device(0.5), 40)
    assert rounds(device(0.5), 40) == usual
    assert rounds(device(0.5, number=2), 40) != usual
    assert rounds(device(0.5, seed=2), 40) != usual


def test_a_refusal_of_the_device_itself_passes_through() -> None:
    def refuse(request):
        raise MessageError("its own reason")

    with pytest.raises(MessageError, match="its own reason"):
        Unreliable(refuse, 1, 0.0, SeededEntropy(1))(INVITED)
