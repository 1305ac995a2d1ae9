"""What a leg over a grid does not count, and nodes and grids that fail."""

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from fedpref.errors import SetupError, TooFewSurvivors
from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.transport.flower.courier import pack
from fedpref.transport.flower.exchange import SUPERLINK, Wait, over

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


def test_a_reply_of_an_earlier_leg_is_not_one_of_this(make_grid, wait, clock) -> None:
    late = []

    def bend(replies, grid):
        if grid.pushes[-1] is grid.pushes[0]:  # the first leg: node 102 is late
            late.extend(r for r in replies if r.metadata.src_node_id == 102)
            return [r for r in replies if r.metadata.src_node_id != 102]
        mine = [r for r in replies if r.metadata.src_node_id != 102]
        return [*late, *mine]

    grid = make_grid(echo, bend=bend)
    assert dict(leg(grid, wait)) == {1: ALL[1], 3: ALL[3]}
    again = {1: HEAD + b"x", 2: HEAD + b"y", 3: HEAD + b"z"}
    assert dict(leg(grid, wait, again)) == {1: b"\x65x", 3: b"\x67z"}
    assert len(late) == 1  # which came with every look of the second leg


def test_a_second_reply_of_a_device_is_ignored(make_grid, wait) -> None:
    def bend(replies, grid):
        second = [
            Message(pack(b"second"), reply_to=m) for push in grid.pushes for m in push
        ]
        for reply, first in zip(second, replies, strict=False):
            key = first.metadata.reply_to_message_id
            reply.metadata.__dict__["_reply_to_message_id"] = key
        return [*replies, *second, *replies]

    heard = leg(make_grid(echo, bend=bend), wait)
    assert heard == list(ALL.items())


def resourced(reply, node):
    reply.metadata.__dict__["_src_node_id"] = node
    return reply


@pytest.mark.parametrize("source", [102, 999, SUPERLINK, 0])
def test_a_reply_from_another_node_is_ignored_and_the_true_one_awaited(
    make_grid, wait, source
) -> None:
    def bend(replies, grid):
        if grid.looks > 1:
            return grid.true
        grid.true = replies
        forged = Message(pack(b"forged"), reply_to=grid.pushes[0][0])
        key = replies[0].metadata.reply_to_message_id
        forged.metadata.__dict__["_reply_to_message_id"] = key
        return [resourced(forged, source)]

    grid = make_grid(echo, bend=bend)
    assert dict(leg(grid, wait)) == ALL
    assert grid.looks == 2


def test_a_reply_to_nothing_that_was_asked_is_ignored(make_grid, wait) -> None:
    def bend(replies, grid):
        stray = Message(pack(b"stray"), reply_to=grid.pushes[0][0])
        assert stray.metadata.reply_to_message_id == ""
        return [stray, *replies]

    assert leg(make_grid(echo, bend=bend), wait) == list(ALL.items())


FOREIGN = {
    "an error": lambda: Error(1, "why"),
    "no record": RecordDict,
    "another record": lambda: RecordDict({"other": ConfigRecord({"bytes": b"x"})}),
    "one more record": lambda: RecordDict(
        {**pack(b"x"), "metrics": ConfigRecord({"n": 7})}
    ),
    "another field": lambda: RecordDict({"fedpref": ConfigRecord({"data": b"x"})}),
    "one more field": lambda: RecordDict(
        {"fedpref": ConfigRecord({"bytes": b"x", "n": 7})}
    ),
    "text": lambda: RecordDict({"fedpref": ConfigRecord({"bytes": "x"})}),
    "a list": lambda: RecordDict({"fedpref": ConfigRecord({"bytes": [b"x"]})}),
    "an array": lambda: RecordDict(
        {"fedpref": ArrayRecord({"bytes": Array("uint8", (1,), "numpy.ndarray", b"x")})}
    ),
    "too much": lambda: pack(bytes(101)),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_content_that_is_not_ours_is_a_refusal(make_grid, wait, clock, what) -> None:
    """Nobody waits for that device, and the others are heard."""
    grid = make_grid(
        lambda node, data: FOREIGN[what]() if node == 102 else echo(node, data)
    )
    assert dict(leg(grid, wait, most=100)) == {1: ALL[1], 3: ALL[3]}
    assert clock.slept == []


def test_the_largest_reply_is_just_allowed(make_grid, wait) -> None:
    grid = make_grid(lambda node, data: bytes(100))
    assert len(leg(grid, wait, most=100)) == 3


# --- nodes that come and go ---------------------------------------------------------


def test_a_node_that_flower_says_is_gone_is_not_awaited(make_grid, wait, clock) -> None:
    def bend(replies, grid):
        gone = [r for r in replies if r.metadata.src_node_id == 102]
        for reply in gone:
            resourced(reply, SUPERLINK)
        return replies

    grid = make_grid(
        lambda node, data: Error(3) if node == 102 else echo(node, data), bend=bend
    )
    assert dict(leg(grid, wait)) == {1: ALL[1], 3: ALL[3]}
    assert clock.slept == []


def test_a_node_may_go_and_come_back_between_legs(make_grid, wait) -> None:
    offline = {102}

    def answer(node, data):
        return None if node in offline else echo(node, data)

    grid = make_grid(answer)
    assert len(leg(grid, wait)) == 2
    offline.clear()
    assert dict(leg(grid, wait)) == ALL
    offline.update({101, 102, 103})
    assert leg(grid, wait) == []


def test_a_node_that_the_grid_does_not_know_is_left_out(make_grid, wait, clock) -> None:
    grid = make_grid(echo, nodes=(101, 103))
    assert dict(leg(grid, wait)) == {1: ALL[1], 3: ALL[3]}
    assert clock.slept == []


def test_a_grid_that_takes_nothing_is_silence(make_grid, wait, monkeypatch) -> None:
    """Flower returns no names where the SuperLink finds a request too large."""
    grid = make_grid(echo)
    monkeypatch.setattr(grid, "push_messages", lambda messages: [])
    assert leg(grid, wait) == []
    monkeypatch.setattr(grid, "push_messages", lambda messages: [None, None, None])
    assert leg(grid, wait) == []


def test_only_devices_of_this_leg_are_asked(make_grid, wait) -> None:
    grid = make_grid(echo, nodes=(101, 102, 103, 104))
    assert leg(grid, wait, {2: HEAD + b"b"}) == [(2, ALL[2])]
    assert [m.metadata.dst_node_id for m in grid.pushes[0]] == [102]


def test_two_nodes_that_carry_for_one_device_are_both_asked(make_grid, wait) -> None:
    """A liar cannot take a device's place: the protocol takes what verifies."""
    grid = make_grid(echo)
    heard = leg(grid, wait, {2: HEAD + b"b"}, {101: 2, 102: 2})
    assert heard == [(2, b"\x65b"), (2, b"\x66b")]


# --- a grid that fails --------------------------------------------------------------


@pytest.mark.parametrize("name", ["push_messages", "pull_messages"])
def test_a_grid_that_fails_is_an_error_of_ours(
    make_grid, wait, monkeypatch, name
) -> None:
    grid = make_grid(echo)

    def fails(messages):
        raise OSError("private detail")

    monkeypatch.setattr(grid, name, fails)
    with pytest.raises(SetupError, match=r"Flower's grid failed: OSError;") as caught:
        leg(grid, wait)
    assert "private" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, TooFewSurvivors])
def test_what_stops_a_run_is_not_taken_for_a_failing_grid(
    make_grid, wait, monkeypatch, error
) -> None:
    grid = make_grid(echo)

    def stops(messages):
        raise error

    monkeypatch.setattr(grid, "pull_messages", stops)
    with pytest.raises(error):
        leg(grid, wait)
