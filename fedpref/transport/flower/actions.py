"""Which Flower action carries which message: one table.

Guarantees: a request that is none of ours has no action and is not sent. Does not give:
a meaning. An action's name serves routing and logs; a device decides by the bytes of a
request alone, so one that comes under another name is answered, or refused, as usual.
"""

from collections.abc import Mapping

from fedpref.errors import MessageError
from fedpref.secagg import messages
from fedpref.secagg.wire import Kind

CATEGORY = "train"

ACTIONS: Mapping[int, str] = {
    Kind.DESCRIPTOR: "advertise",
    Kind.ADVERTS: "share",
    Kind.DELIVERY: "upload",
    Kind.SURVIVORS: "agree",
    Kind.AGREEMENTS: "reveal",
    Kind.TOMBSTONES: "certificate",
    messages.INVITATION: "round",
}
"""Action by kind of request; every kind of both formats is at the same offset."""

INTRODUCE = "query.device"
"""Asks a node which device it carries for; the reply is its number, 4 bytes."""

_MAGIC, _KIND = b"FP", 3
_FIRST = {
    f"{CATEGORY}.{ACTIONS[kind]}" for kind in (Kind.DESCRIPTOR, messages.INVITATION)
}


def begins_round(request: bytes) -> bool:
    """Whether it is the first request of a round."""
    return message_type(request) in _FIRST


def message_type(request: bytes) -> str:
    """The Flower message type of a request.

    Raises:
        MessageError: It is no request of this version.

    >>> from fedpref.secagg import wire
    >>> message_type(wire.message(wire.Kind.SURVIVORS, bytes(32)))
    'train.agree'
    """
    action = None
    if request[:_KIND] == _MAGIC + b"\x01" and len(request) > _KIND:
        action = ACTIONS.get(request[_KIND])
    if action is None:
        raise MessageError("request: not one that a server sends; nothing was sent")
    return f"{CATEGORY}.{action}"
