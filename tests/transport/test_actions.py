"""Each kind of request has an action; the courier starts light and knows them all."""

import subprocess
import sys

import numpy as np
import pytest

from fedpref.errors import MessageError
from fedpref.secagg import messages, wire
from fedpref.secagg.wire import Kind

HEAD = wire.message(Kind.SURVIVORS, bytes(32))
NAMES = {
    Kind.DESCRIPTOR: "advertise",
    Kind.ADVERTS: "share",
    Kind.DELIVERY: "upload",
    Kind.SURVIVORS: "agree",
    Kind.AGREEMENTS: "reveal",
    Kind.TOMBSTONES: "certificate",
}


def test_each_leg_travels_under_its_name() -> None:
    from fedpref.transport.flower.actions import ACTIONS, message_type

    downward = {kind for kind in Kind if kind % 2 == 0}
    assert downward == NAMES.keys()
    for kind, name in NAMES.items():
        assert message_type(wire.message(kind, bytes(32))) == f"train.{name}"
    invitation = messages.Invitation(1, bytes(32), np.zeros(2))
    assert message_type(messages.encode_invitation(invitation)) == "train.round"
    assert len(set(ACTIONS.values())) == len(ACTIONS) == 7


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"FP\x01",
        b"FP\x02" + HEAD[3:],
        b"XX" + HEAD[2:],
        wire.message(Kind.UPLOAD, bytes(32)),
        HEAD[:3] + bytes([99]) + HEAD[4:],
    ],
)
def test_what_is_no_request_is_not_sent(request_) -> None:
    from fedpref.transport.flower.actions import message_type

    with pytest.raises(MessageError, match="nothing was sent"):
        message_type(request_)


def test_both_client_apps_know_every_action_and_no_more() -> None:
    import clients.app
    from fedpref.transport.flower import apps
    from fedpref.transport.flower.actions import ACTIONS

    wanted = {f"train.{name}" for name in ACTIONS.values()} | {"query.device"}
    for app in (clients.app.app, apps.courier_app()):
        assert set(app._registered_funcs) == wanted


def test_a_request_under_another_name_is_the_same_request() -> None:
    """A name is for routing; the device goes by the bytes, which it gets unchanged."""
    from flwr.app import Message

    from fedpref.transport.flower import apps, courier
    from fedpref.transport.flower.actions import ACTIONS
    from fedpref.transport.flower.grid import InProcessGrid

    apps.carry({}, lambda send: None)
    grid, heard = InProcessGrid(apps.courier_app(), [1], 1), []
    with apps._listening({1: lambda request: heard.append(request) or b"answer"}):
        for name in ACTIONS.values():
            message = Message(courier.pack(HEAD), 1, f"train.{name}")
            (reply,) = grid.send_and_receive([message])
            assert courier.unpack(reply.content) == b"answer"
    assert heard == [HEAD] * len(ACTIONS)


def test_a_node_says_for_which_device_it_carries(monkeypatch) -> None:
    from flwr.app import Context, Message, RecordDict

    from fedpref.transport.flower import apps, courier

    apps.carry({}, lambda send: None)
    message = Message(RecordDict(), 9, "query.device")
    context = Context(1, 9, {"device": 4}, RecordDict(), {"FEDPREF_DEVICE": 5})
    for value in (None, "", "one", "-1", str(2**32)):
        if value is None:
            monkeypatch.delenv(courier.DEVICE, raising=False)
        else:
            monkeypatch.setenv(courier.DEVICE, value)
        assert courier.introduce(message, context).has_error(), value
    monkeypatch.setenv(courier.DEVICE, "3")
    reply = courier.introduce(message, context)
    assert courier.unpack(reply.content) == b"\x03\0\0\0"


def test_the_courier_starts_without_anything_heavy() -> None:
    """It is started for every message, on every device."""
    code = "import clients.app, sys; print(*sorted(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(shown.stdout.split())
    heavy = {"torch", "transformers", "peft", "opacus", "scipy", "dp_accounting"}
    assert not loaded & heavy
    ours = {name for name in loaded if name.startswith("fedpref.")}
    assert ours <= {
        "fedpref.core",
        "fedpref.core.types",
        "fedpref.errors",
        "fedpref.faults",
        "fedpref.secagg",
        "fedpref.secagg.messages",
        "fedpref.secagg.wire",
        "fedpref.transport",
        "fedpref.transport.flower",
        "fedpref.transport.flower.actions",
        "fedpref.transport.flower.courier",
        "fedpref.transport.local_socket",
    }
