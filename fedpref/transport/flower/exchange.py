"""One leg over any Flower grid: ask all devices at once, take what comes in time.

Guarantees: a leg ends when everybody asked has answered or refused, and at its deadline
whoever is missing; a reply counts once, for the device that this leg asked at the node
it comes from. What is late, doubled, too large, an error, or holds anything but our one
field of bytes is left out and stops nothing. Nodes may go and come back between legs.

Does not give: a judgement on the bytes, which the protocol makes; or a bound on a grid
whose own calls hang, as Flower's do while its SuperLink is away.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from fedpref.errors import FedprefError, SetupError
from fedpref.rounds.server import Requests, Send
from fedpref.transport.flower.actions import message_type
from fedpref.transport.flower.courier import pack, unpack
from fedpref.transport.local_socket import MOST

T = TypeVar("T")

SUPERLINK = 1
"""Flower's number for the SuperLink, which answers for a node that is gone."""


@dataclass(frozen=True)
class Wait:
    """How long a leg waits, in seconds, and how often it looks.

    Args:
        seconds: From asking to the deadline. Requests expire with it, so that none
            reaches a device after the server has stopped listening.
        interval: Between two looks that bring nothing.
        clock: Reads seconds.
        sleep: Waits so many of them.
    """

    seconds: float = 600.0
    interval: float = 0.3
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class IdleClock:
    """A clock that only waiting moves: in one process work takes no time."""

    def __init__(self) -> None:
        self._now = 0.0

    def read(self) -> float:
        """Seconds slept so far."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self._now += seconds


def at_once() -> Wait:
    """For grids in this process, where whatever will come is there already."""
    clock = IdleClock()
    return Wait(clock=clock.read, sleep=clock.sleep)


def over(
    grid: Grid, devices: Mapping[int, int], *, wait: Wait, most: int = MOST
) -> Send:
    """Requests over ``grid`` and their replies as they come.

    Args:
        grid: Any Flower grid.
        devices: Device number by node; other nodes of the grid are never asked. Where
            two nodes carry for one device both are asked.
        wait: For each leg.
        most: Largest reply that is taken, bytes.
    """

    def send(requests: Requests) -> Iterator[tuple[int, bytes]]:
        asked = {node: who for node, who in devices.items() if who in requests}
        messages = [
            Message(
                pack(requests[who]),
                node,
                message_type(requests[who]),
                ttl=wait.seconds,
            )
            for node, who in asked.items()
        ]
        for node, data in exchange(grid, messages, wait=wait, most=most):
            yield asked[node], data

    return send


def exchange(
    grid: Grid, messages: list[Message], *, wait: Wait, most: int
) -> Iterator[tuple[int, bytes]]:
    """Node and content of each reply that counts; at most one of each message."""
    end = wait.clock() + wait.seconds
    waiting = _pushed(grid, messages)
    while waiting:
        over_time = wait.clock() >= end  # asked before the last look, not after it
        before = len(waiting)
        for reply in of_grid(partial(grid.pull_messages, list(waiting))):
            key = reply.metadata.reply_to_message_id
            if not _answers(reply, waiting.get(key)):
                continue
            node = waiting.pop(key)
            data = _content(reply, most)
            if data is not None:
                yield node, data
        if over_time:
            return
        if len(waiting) == before:
            wait.sleep(max(0.0, min(wait.interval, end - wait.clock())))


def _pushed(grid: Grid, messages: list[Message]) -> dict[str, int]:
    """Node by the name that its reply will give; what was not taken is left out."""
    if not messages:
        return {}
    names: list[str | None] = of_grid(partial(grid.push_messages, messages))
    nodes = [message.metadata.dst_node_id for message in messages]
    pairs = zip(names, nodes, strict=False)  # Flower returns none if it took none
    return {name: node for name, node in pairs if name}


def of_grid(call: Callable[[], Iterable[T]]) -> list[T]:
    """What a call to the grid returns.

    Raises:
        SetupError: The grid has failed.
    """
    try:
        return list(call())
    except FedprefError:
        raise
    except Exception as error:
        raise SetupError(
            f"Flower's grid failed: {type(error).__name__}; see whether the SuperLink "
            "is up, then go on with the run"
        ) from error


def _answers(reply: Message, node: int | None) -> bool:
    """Whether a reply is to be taken for that of ``node``, which was asked."""
    if node is None:
        return False
    source = reply.metadata.src_node_id
    return bool(source == node or (source == SUPERLINK and reply.has_error()))


def _content(reply: Message, most: int) -> bytes | None:
    data = unpack(reply.content) if reply.has_content() else None
    return data if data is not None and len(data) <= most else None
