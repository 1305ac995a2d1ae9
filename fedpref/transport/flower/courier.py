"""The Flower client is a courier: it carries bytes to an endpoint and learns nothing.

Flower ships client code from the server, so nothing that matters may depend on it. The
code that holds records, keys and limits listens at an endpoint that the *local*
environment names (``FEDPREF_ENDPOINT``), never the run's configuration.

Guarantees: imports nothing heavy and reads neither the request nor the reply. Does not
give: an endpoint outside this process; ``in-process`` is the only kind so far.
"""

import os
from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict

VARIABLE = "FEDPREF_ENDPOINT"
RECORD, FIELD = "fedpref", "bytes"
REFUSED = 1

_in_process: dict[int, Callable[[bytes], bytes]] = {}


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
    endpoint = None
    if os.environ.get(VARIABLE) == "in-process":
        endpoint = _in_process.get(context.node_id)
    reply = _ask(endpoint, message)
    if reply is None:
        return Message(Error(code=REFUSED), reply_to=message)
    return Message(pack(reply), reply_to=message)


def pack(data: bytes) -> RecordDict:
    """A record that carries nothing but ``data``."""
    return RecordDict({RECORD: ConfigRecord({FIELD: data})})


def unpack(content: RecordDict) -> bytes | None:
    """What :func:`pack` put in, or ``None`` for anything else."""
    record = content.config_records.get(RECORD)
    data = record.get(FIELD) if record is not None else None
    return data if isinstance(data, bytes) else None


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
