"""The road to devices behind SuperNodes of other processes.

Before each round the server asks the nodes that are new for which device they carry; a
SuperNode that was restarted may come back under another number. Before the first it
waits for everybody; later it goes on with those that are online. A node is asked once
for as long as it is online, so one that says nothing costs one wait.

Guarantees: what ``exchange`` does, and a bounded wait for nodes to come. Does not give:
trust in what a node says: each reply is signed by its device, and one that does not
verify is dropped. Where two nodes claim one device, both are asked.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from flwr.app import Message
from flwr.serverapp import Grid

from fedpref.rounds.server import Requests, Send
from fedpref.transport.flower.actions import INTRODUCE, begins_round
from fedpref.transport.flower.courier import pack
from fedpref.transport.flower.exchange import Wait, exchange, of_grid, over

_NUMBER = 4


def remote(
    grid: Grid, *, wait: Wait, introduction: Wait
) -> Callable[[Callable[[Send], None]], None]:
    """Runs rounds with a way to reach the devices at the nodes of ``grid``.

    Args:
        grid: Flower's.
        wait: For each leg.
        introduction: For the devices of the first round to be known, and later for an
            answer of nodes that are new. Who is not known by then is not asked.
    """
    devices: dict[int, int] = {}
    asked: set[int] = set()
    rounds = 0

    def send(requests: Requests) -> Iterator[tuple[int, bytes]]:
        nonlocal rounds
        if any(begins_round(request) for request in requests.values()):
            rounds += 1
            wanted, patient = set(requests), rounds == 1
            meet(grid, devices, asked, wanted, wait=introduction, patient=patient)
        yield from over(grid, devices, wait=wait)(requests)

    def reach(drive: Callable[[Send], None]) -> None:
        drive(send)

    return reach


def meet(
    grid: Grid,
    devices: dict[int, int],
    asked: set[int],
    wanted: set[int],
    *,
    wait: Wait,
    patient: bool,
) -> None:
    """Bring ``devices``, which are numbers by node, up to date with who is online.

    Args:
        grid: Flower's.
        devices: Loses nodes that are gone, gains new ones.
        asked: The nodes that are online and were asked, whatever they said.
        wanted: Devices to look for.
        wait: For all of it.
        patient: Whether to wait for nodes that are not online yet.
    """
    end = wait.clock() + wait.seconds
    while True:
        online, left = set(of_grid(grid.get_node_ids)), end - wait.clock()
        for gone in devices.keys() - online:
            del devices[gone]
        asked &= online
        new = online - asked
        found = wanted <= set(devices.values())
        if left <= 0 or not (new or (patient and not found)):
            return
        asked |= new
        messages = [
            Message(pack(b""), node, INTRODUCE, ttl=left) for node in sorted(new)
        ]
        mine = replace(wait, seconds=left)
        for node, data in exchange(grid, messages, wait=mine, most=_NUMBER):
            if len(data) == _NUMBER:
                devices[node] = int.from_bytes(data, "little")
        if not new:
            wait.sleep(min(wait.interval, left))
