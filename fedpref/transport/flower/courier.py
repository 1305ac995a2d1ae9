"""The Flower client is a courier: it carries bytes to an endpoint and learns nothing.

Flower ships client code from the server, so nothing that matters may depend on it. The
code that holds records, keys and limits listens at an endpoint that the *local*
environment names, never the run's configuration:

    FEDPREF_ENDPOINT=unix:/run/fedpref/device.sock   a device beside the node
    FEDPREF_ENDPOINT=in-process                      simulations
    FEDPREF_DEVICE=3                                 its number on the roster

Guarantees: imports nothing heavy and reads neither the request nor the reply; content
that is not exactly one field of bytes is not passed on. Does not give: anything that a
device does not check itself.
"""

import os
from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from fedpref.transport import local_socket
from fedpref.transport.flower.actions import ACTIONS, INTRODUCE

VARIABLE, DEVICE = "FEDPREF_ENDPOINT", "FEDPREF_DEVICE"
RECORD, FIELD = "fedpref", "bytes"
REFUSED = 1

_UNIX = "unix:"
_TIMEOUT_S = 600.0

_in_process: dict[int, Callable[[bytes], bytes]] = {}


def courier_app() -> ClientApp:
    """A Flower client that carries bytes under each action's name."""
    app = ClientApp()
    for action in ACTIONS.values():
        app.train(action)(deliver)
    app.query(INTRODUCE.partition(".")[2])(introduce)
    return app


def listen(node: int, endpoint: Callable[[bytes], bytes]) -> None:
    """Let requests for ``node`` reach an endpoint in this process."""
    _in_process[node] = endpoint


def hang_up(node: int) -> None:
    """Forget the endpoint of ``node``."""
    _in_process.pop(node, None)


def deliver(message: Message, context: Context) -> Message:
    """Carry one message to the endpoint and its answer back.

    A refusal or a missing endpoint is answered by an error without a reason: why a
    device refused is nobody else's business.
    """
    reply = _ask(_endpoint(context.node_id), message)
    if reply is None:
        return _refusal(message)
    return Message(pack(reply), reply_to=message)


def introduce(message: Message, context: Context) -> Message:
    """Say for which device this node carries; a false number gains nothing.

    Every reply is signed by its device, and the server drops what does not verify.
    """
    try:
        number = int(os.environ[DEVICE]).to_bytes(4, "little")
    except (KeyError, ValueError, OverflowError):
        return _refusal(message)
    return Message(pack(number), reply_to=message)


def pack(data: bytes) -> RecordDict:
    """A record that carries nothing but ``data``."""
    return RecordDict({RECORD: ConfigRecord({FIELD: data})})


def unpack(content: RecordDict) -> bytes | None:
    """What :func:`pack` put in, or ``None`` for anything else or anything more."""
    if set(content) != {RECORD} or not isinstance(content[RECORD], ConfigRecord):
        return None
    record = content[RECORD]
    data = record[FIELD] if set(record) == {FIELD} else None
    return data if isinstance(data, bytes) else None


def _endpoint(node: int) -> Callable[[bytes], bytes] | None:
    """What the local environment names."""
    named = os.environ.get(VARIABLE, "")
    if named == "in-process":
        return _in_process.get(node)
    if not named.startswith(_UNIX):
        return None
    path = named.removeprefix(_UNIX)
    return lambda request: local_socket.call(path, request, timeout_s=_TIMEOUT_S)


def _ask(endpoint: Callable[[bytes], bytes] | None, message: Message) -> bytes | None:
    if endpoint is None or not message.has_content():
        return None
    request = unpack(message.content)
    if request is None:
        return None
    try:
        return endpoint(request)
    except Exception:
        return None


def _refusal(message: Message) -> Message:
    return Message(Error(code=REFUSED), reply_to=message)
