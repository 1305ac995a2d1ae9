"""A Flower ``Grid`` in one process, for simulations and tests.

Guarantees: messages are real Flower messages, their content copied at each hop so that
nothing is shared between the two sides; an exception of the client app becomes an error
that quotes it, as in Flower, so that a courier which lets one through is found out.
Does not give: a network, time or faults.
"""

from collections.abc import Iterable
from copy import deepcopy
from itertools import islice

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run

FAILED = 2
"""Code of the error that stands for an exception of the client app."""

_AT_ONCE = 16


class InProcessGrid(Grid):  # type: ignore[misc]
    """Calls one ``ClientApp`` for every node.

    A request is answered when its reply is pulled, a few at a time, so that never more
    than a few replies are in memory.

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
        self._queue: dict[str, Message] = {}
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
        """Take messages; returns what to pull each reply by, "" for no such node."""
        return [self._take(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The next few replies; each is given out once."""
        known = [key for key in message_ids if key in self._queue]
        return [self._reply(self._queue.pop(key)) for key in islice(known, _AT_ONCE)]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, and pull until nothing is left."""
        keys, replies = list(self.push_messages(messages)), list[Message]()
        while more := list(self.pull_messages(keys)):
            replies += more
        return replies

    def _take(self, message: Message) -> str:
        if message.metadata.dst_node_id not in self._contexts:
            return ""
        self._sent += 1
        key = f"{self._run.run_id}/{self._sent}"
        mine = deepcopy(message)
        mine.metadata.__dict__["_message_id"] = key  # as Flower's own grids do
        self._queue[key] = mine
        return key

    def _reply(self, message: Message) -> Message:
        context = self._contexts[message.metadata.dst_node_id]
        try:
            reply = self._client_app(message, context)
        except Exception as error:
            quoted = Error(code=FAILED, reason=f"{type(error)}:<'{error}'>")
            reply = Message(quoted, reply_to=message)
        return deepcopy(reply)
