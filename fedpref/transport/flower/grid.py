"""A Flower ``Grid`` in one process, and the road that rounds take over any grid.

Guarantees: messages are real Flower messages, their content copied at each hop so that
nothing is shared between the two sides. Does not give: a network, time-outs or faults.
"""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from fedpref.rounds.server import Requests, Send
from fedpref.transport.flower.courier import pack, unpack

MESSAGE_TYPE = "train.round"


class InProcessGrid(Grid):  # type: ignore[misc]
    """Calls one ``ClientApp`` for every node, one after another.

    Args:
        client_app: The courier.
        nodes: Node numbers; each keeps a Flower ``Context`` of its own.
        run_id: Identity of the run.
    """

    def __init__(self, client_app: ClientApp, nodes: Iterable[int], run_id: int):
        self._client_app = client_app
        self._run = Run.create_empty(run_id)
        self._contexts = {
            node: Context(run_id, node, {}, RecordDict(), {}) for node in nodes
        }
        self._replies: dict[str, Message] = {}
        self._sent = 0

    def set_run(self, run: Run) -> None:
        """Use ``run`` from now on."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run this grid belongs to."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Every node, in the order given."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver each message at once; returns what to pull its reply by."""
        return [self._deliver(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have not been pulled before."""
        known = (self._replies.pop(key, None) for key in message_ids)
        return [reply for reply in known if reply is not None]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push and pull."""
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> str:
        node = message.metadata.dst_node_id
        self._sent += 1
        key = f"{self._run.run_id}/{self._sent}"
        reply = self._client_app(deepcopy(message), self._contexts[node])
        self._replies[key] = deepcopy(reply)
        return key


def over(grid: Grid, devices: Mapping[int, int], *, timeout_s: float) -> Send:
    """Requests over ``grid`` and their replies, one message at a time.

    Args:
        grid: Any Flower grid.
        devices: Device number by node; other nodes of the grid are never asked.
        timeout_s: How long to wait for a reply, in seconds.
    """

    def send(requests: Requests) -> Iterator[tuple[int, bytes]]:
        for node, device in devices.items():
            if device not in requests:
                continue
            message = Message(pack(requests[device]), node, MESSAGE_TYPE)
            for reply in grid.send_and_receive([message], timeout=timeout_s):
                data = unpack(reply.content) if reply.has_content() else None
                if data is not None:
                    yield device, data

    return send
