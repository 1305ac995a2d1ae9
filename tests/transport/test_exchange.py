"""One leg over a grid: all asked at once, each heard once, and faults cost nobody."""

from dataclasses import replace

import pytest

from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.transport.flower.exchange import (
    IdleClock,
    Wait,
    at_once,
    over,
)

DEVICES = {101: 1, 102: 2, 103: 3}
HEAD = wire.message(Kind.SURVIVORS, bytes(32))
REQUESTS = {1: HEAD + b"a", 2: HEAD + b"b", 3: HEAD + b"c"}


def echo(node, data):
    return bytes([node]) + data[-1:]


ALL = {1: b"\x65a", 2: b"\x66b", 3: b"\x67c"}


@pytest.fixture
def wait(clock):
    return Wait(seconds=60.0, interval=0.3, clock=clock.read, sleep=clock.sleep)


def leg(grid, wait, requests=None, devices=None, **change):
    send = over(grid, devices or DEVICES, wait=wait, **change)
    return list(send(REQUESTS if requests is None else requests))


def test_everybody_is_asked_at_once_and_heard_without_waiting(
    make_grid, wait, clock
) -> None:
    grid = make_grid(echo)
    assert dict(leg(grid, wait)) == ALL
    assert [len(messages) for messages in grid.pushes] == [3]
    assert clock.slept == []
    assert (grid.looks, {m.metadata.ttl for m in grid.pushes[0]}) == (1, {60.0})
    assert {m.metadata.message_type for m in grid.pushes[0]} == {"train.agree"}


def test_a_leg_takes_as_long_as_its_slowest_device(make_grid, wait, clock) -> None:
    """Not as long as all of them one after another."""
    assert dict(leg(make_grid(echo, delay=10), wait)) == ALL
    assert sum(clock.slept) == pytest.approx(10 * 0.3)


def test_replies_are_handed_on_as_they_come(make_grid, wait) -> None:
    def bend(replies, grid):
        grid.held = [*getattr(grid, "held", []), *replies]
        return [grid.held.pop(0)] if grid.held else []

    heard = over(make_grid(echo, bend=bend), DEVICES, wait=wait)(REQUESTS)
    assert next(iter(heard)) == (1, b"\x65a")


def test_the_leg_ends_at_its_deadline_without_the_silent(
    make_grid, wait, clock
) -> None:
    grid = make_grid(lambda node, data: None if node == 102 else echo(node, data))
    assert dict(leg(grid, wait)) == {1: ALL[1], 3: ALL[3]}
    assert clock.now == pytest.approx(1060.0)


def test_nobody_answers_and_nobody_is_asked(make_grid, wait, clock) -> None:
    assert leg(make_grid(lambda node, data: None), wait) == []
    assert clock.now == pytest.approx(1060.0)
    grid = make_grid(echo)
    assert leg(grid, wait, {}) == []
    assert (grid.pushes, grid.looks) == ([], 0)


def test_what_is_there_at_the_deadline_counts_and_later_does_not(
    make_grid, wait, clock
) -> None:
    """Sixty seconds at twenty a look: the reply is there at the fourth look, or not."""
    patient = replace(wait, interval=20.0)
    assert dict(leg(make_grid(echo, delay=3), patient)) == ALL
    clock.now = 1000.0
    assert leg(make_grid(echo, delay=4), patient) == []


def test_a_slow_reader_does_not_make_replies_late(make_grid, wait, clock) -> None:
    """Checking a reply takes time; what came meanwhile is looked at once more."""

    def bend(replies, grid):
        grid.held = [*getattr(grid, "held", []), *replies]
        return [grid.held.pop(0)] if grid.held else []

    found = []
    for pair in over(make_grid(echo, bend=bend), DEVICES, wait=wait)(REQUESTS):
        found.append(pair)
        clock.now += 100.0
    assert len(found) == 2  # the first, and one look after the deadline


def test_an_idle_clock_moves_only_by_waiting(make_grid) -> None:
    clock = IdleClock()
    assert clock.read() == 0.0
    clock.sleep(2.5)
    assert clock.read() == 2.5
    assert dict(leg(make_grid(echo), at_once())) == ALL
    assert leg(make_grid(lambda node, data: None), at_once()) == []  # and it ends


def test_usual_waits_are_bounded() -> None:
    usual = Wait()
    assert (usual.seconds, usual.interval) == (600.0, 0.3)
    assert usual.clock() <= usual.clock()
