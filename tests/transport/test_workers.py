"""Devices in worker processes answer as they would in this one."""

import multiprocessing
import os
import signal
import time
from functools import partial

import pytest

from fedpref.errors import FedprefError, MessageError, SetupError
from fedpref.transport import in_process, workers


def forked(count):
    return workers.forked(count, lambda: None)


class Counting:
    """Remembers how often it was asked, and notes odd requests."""

    def __init__(self, number):
        self.number, self.asked, self.notes = number, 0, (0,)

    def __call__(self, request):
        self.asked += 1
        self.notes = (self.notes[0] + request[0] % 2, *self.notes[1:], self.asked)
        if self.number == 3:
            raise MessageError("a reason that is nobody's business")
        return bytes([self.number, self.asked]) + request[::-1]


def heard(carry, endpoints, rounds):
    """The replies to each round's requests, as dictionaries."""
    replies = []

    def drive(send):
        replies.extend(dict(send(requests)) for requests in rounds)

    carry(endpoints, drive)
    return replies


ROUNDS = [
    dict.fromkeys(range(1, 8), b"\1the same for all"),
    {number: bytes([number]) * number for number in range(1, 8)},
    {2: b"\2only two", 5: b"\3and five", 99: b"\1nobody"},
    {},
]


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_replies_and_notes_are_those_of_one_process(count) -> None:
    """A device keeps its state from round to round; a refusal is silence."""
    here = {number: Counting(number) for number in range(1, 8)}
    there = {number: Counting(number) for number in range(1, 8)}
    expected = heard(in_process.carry, here, ROUNDS)
    assert heard(forked(count), there, ROUNDS) == expected
    assert set(expected[0]) == {1, 2, 4, 5, 6, 7}
    assert [d.notes for d in there.values()] == [d.notes for d in here.values()]
    assert sum(device.notes[0] for device in there.values()) > 7
    assert not any(device.asked for device in there.values())  # not in this process


def test_devices_without_notes_have_none() -> None:
    assert heard(forked(2), {1: lambda request: request}, [{1: b"abc"}]) == [
        {1: b"abc"}
    ]


def test_large_messages_both_ways_do_not_wait_for_each_other() -> None:
    """Far more than a pipe holds, in one request for all and in one for each."""
    size = 3_000_000
    endpoints = {n: lambda request: request + bytes(size) for n in range(1, 7)}
    same = bytes(size)
    rounds = [dict.fromkeys(endpoints, same), {n: bytes([n]) * size for n in endpoints}]
    first, second = heard(forked(2), endpoints, rounds)
    assert all(reply == same + bytes(size) for reply in first.values())
    assert all(second[n] == bytes([n]) * size + bytes(size) for n in endpoints)


def test_a_killed_worker_ends_the_run_and_not_with_a_smaller_sum() -> None:
    parent = os.getpid()

    def dies(request):
        assert os.getpid() != parent
        os.kill(os.getpid(), signal.SIGKILL)

    endpoints = {1: lambda request: b"one", 2: dies}
    with pytest.raises(SetupError, match="a worker process ended"):
        heard(forked(2), endpoints, [dict.fromkeys(endpoints, b"abc")])


def test_a_broken_device_ends_the_run(capfd) -> None:
    """Anything but a refusal is a fault of ours and must not look like silence.

    Its own words may be a person's: only type and place leave the device.
    """

    def broken(request):
        raise RuntimeError("a bug")

    endpoints = {1: lambda request: b"one", 2: broken}
    needle = "device 2: a fault of ours: RuntimeError at test_workers.py:.* broken"
    with pytest.raises(FedprefError, match=needle) as caught:
        heard(forked(2), endpoints, [dict.fromkeys(endpoints, b"abc")])
    assert "a bug" not in str(caught.value)
    assert "a bug" not in capfd.readouterr().err


def test_workers_are_prepared_once_and_ctrl_c_is_left_to_the_parent() -> None:
    ready = []
    parent = os.getpid()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def state(request):
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return bytes([len(ready), ignored, os.getpid() != parent])

    road = workers.forked(2, partial(ready.append, True))
    rounds = [dict.fromkeys((1, 2), b"a"), dict.fromkeys((1, 2), b"b")]
    replies = heard(road, {1: state, 2: state}, rounds)
    assert replies == [{1: b"\1\1\1", 2: b"\1\1\1"}] * 2
    assert ready == []
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_an_error_of_the_rounds_stops_the_workers() -> None:
    before, began = len(multiprocessing.active_children()), time.monotonic()

    def drive(send):
        dict(send({1: b"abc"}))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        forked(2)({1: lambda request: request, 2: lambda request: request}, drive)
    assert len(multiprocessing.active_children()) == before
    assert time.monotonic() - began < 4  # they see the end of the pipe by themselves
