"""A whole run through Flower's own objects, in this process.

The same rounds as :mod:`fedpref.transport.in_process`; what differs is the road: each
request is a ``Message`` that a ``ServerApp`` sends over a ``Grid`` to a ``ClientApp``.

Guarantees: whatever ends a run ends it as on any other road, KeyboardInterrupt and our
own errors included; the environment is left as it was. Does not give: other processes;
for those see :mod:`fedpref.transport.flower.remote`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from flwr.app import Context, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.task_identity import TaskIdentity

from fedpref.errors import SetupError
from fedpref.rounds.server import Send
from fedpref.transport.flower.courier import VARIABLE, courier_app, hang_up, listen
from fedpref.transport.flower.exchange import at_once, over
from fedpref.transport.flower.grid import InProcessGrid
from fedpref.transport.in_process import Carry, Endpoint

_RUN, _TASK, _SERVER_NODE = 1, 1, 0


def carry(endpoints: Mapping[int, Endpoint], drive: Callable[[Send], None]) -> None:
    """Run ``drive`` inside a ``ServerApp``, with ``endpoints`` behind couriers.

    Args:
        endpoints: Devices by node number, > 0.
        drive: The rounds, given the way to send requests.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        over_grid(grid)(endpoints, drive)

    run_server(app, InProcessGrid(courier_app(), endpoints, _RUN), {})


def run_server(
    app: ServerApp, grid: Grid, config: Mapping[str, str | int | float | bool]
) -> None:
    """Call a ``ServerApp`` as Flower would, with ``config`` as the run's settings."""
    TaskIdentity.task_id, TaskIdentity.run_id = _TASK, _RUN
    TaskIdentity.node_id = _SERVER_NODE
    app(grid, Context(_RUN, _SERVER_NODE, {}, RecordDict(), dict(config)))


def over_grid(grid: Grid) -> Carry:
    """A road over ``grid``; devices of this process answer at its nodes, in order.

    Raises (when used):
        SetupError: The grid is not in this process, or has fewer nodes than there are
            devices.
    """

    def road(endpoints: Mapping[int, Endpoint], drive: Callable[[Send], None]) -> None:
        if not isinstance(grid, InProcessGrid):
            raise SetupError(
                "people simulated in this process cannot answer at other processes' "
                "nodes; name the folder of their identities, or simulate without them"
            )
        nodes = sorted(grid.get_node_ids())
        if len(nodes) < len(endpoints):
            raise SetupError(
                f"nodes = {len(nodes)}, must be >= {len(endpoints)}, one a person; "
                "start more nodes or use fewer people"
            )
        pairs = list(zip(nodes, endpoints, strict=False))
        with _listening({node: endpoints[device] for node, device in pairs}):
            drive(over(grid, dict(pairs), wait=at_once()))

    return road


@contextmanager
def _listening(endpoints: Mapping[int, Endpoint]) -> Iterator[None]:
    """Endpoints of this process behind the couriers, for as long as it lasts."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "in-process"
    for node, endpoint in endpoints.items():
        listen(node, endpoint)
    try:
        yield
    finally:
        for node in endpoints:
            hang_up(node)
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
