"""The two roads carry the same bytes; the courier reads none of them."""

import os

import pytest

from fedpref.errors import InputError, MessageError, SetupError, TooFewSurvivors
from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.transport import in_process

HEAD = wire.message(Kind.SURVIVORS, bytes(32))
ENDPOINTS = {
    1: lambda request: request[::-1],
    2: lambda request: b"two",
    3: lambda request: bytes(100_000),
}


def refuse(request: bytes) -> bytes:
    raise MessageError("a reason that is nobody's business")


def replies(carry, endpoints, requests=(HEAD,)):
    heard = []

    def drive(send):
        heard.extend(
            dict(send(dict.fromkeys(endpoints, request))) for request in requests
        )

    carry(endpoints, drive)
    return heard


@pytest.fixture(params=["in_process", "flower"])
def carry(request):
    if request.param == "in_process":
        return in_process.carry
    from fedpref.transport.flower import apps

    return apps.carry


def test_every_device_answers_every_request(carry) -> None:
    first, second = replies(carry, ENDPOINTS, (HEAD + b"abc", HEAD + b"xyz"))
    assert first == {1: b"cba" + HEAD[::-1], 2: b"two", 3: bytes(100_000)}
    assert second[1] == b"zyx" + HEAD[::-1]


def test_forty_devices_are_asked_once_each_and_all_answer(carry) -> None:
    """More than a grid in this process answers in one look."""
    asked = []

    def device(number):
        return lambda request: asked.append(number) or bytes([number])

    (heard,) = replies(carry, {number: device(number) for number in range(1, 41)})
    assert heard == {number: bytes([number]) for number in range(1, 41)}
    assert sorted(asked) == list(range(1, 41))


@pytest.mark.parametrize(
    "error", [TooFewSurvivors("few"), InputError("bad"), KeyboardInterrupt, SystemExit]
)
def test_what_ends_the_rounds_comes_through(carry, error) -> None:
    """A Flower app in between changes neither an exit code nor Ctrl-C."""

    def drive(send):
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        carry(ENDPOINTS, drive)


def test_ctrl_c_in_a_device_of_this_process_is_no_refusal(carry) -> None:
    def device(request):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replies(carry, {1: device})


def test_a_refusal_is_silence(carry) -> None:
    assert replies(carry, {1: refuse, 2: ENDPOINTS[2]}) == [{2: b"two"}]


def test_over_flower_nothing_of_a_failure_crosses() -> None:
    from flwr.app import Message, RecordDict

    from fedpref.transport.flower import apps, courier
    from fedpref.transport.flower.grid import InProcessGrid

    def broken(request: bytes) -> bytes:
        raise RuntimeError("secret text")

    seen = []

    apps.carry({}, lambda send: None)  # sets Flower's identity of this process
    grid = InProcessGrid(apps.courier_app(), [1], 1)
    with apps._listening({1: broken}):
        for content in (courier.pack(b"hello"), RecordDict(), courier.pack(b"")):
            message = Message(content, 1, "train.round")
            seen += grid.send_and_receive([message])
        message = Message(courier.pack(b"hello"), 1, "train.unknown")
        (unknown,) = grid.send_and_receive([message])
    assert "No train function registered" in unknown.error.reason  # Flower's own words
    assert len(seen) == 3
    for reply in seen:
        assert reply.has_error()
        assert reply.error.reason is None


def test_courier_needs_the_local_environment(monkeypatch) -> None:
    """A run's configuration cannot turn the courier to another endpoint."""
    from flwr.app import Context, Message, RecordDict

    from fedpref.transport.flower import apps, courier

    apps.carry({}, lambda send: None)
    courier.listen(9, lambda request: b"answer")
    try:
        run_config = {"FEDPREF_ENDPOINT": "in-process"}
        context = Context(1, 9, {}, RecordDict(), run_config)
        message = Message(courier.pack(b"hello"), 9, "train.round")
        monkeypatch.delenv(courier.VARIABLE, raising=False)
        assert courier.deliver(message, context).has_error()
        monkeypatch.setenv(courier.VARIABLE, "in-process")
        reply = courier.deliver(message, context)
        assert courier.unpack(reply.content) == b"answer"
    finally:
        courier.hang_up(9)


def test_flower_leaves_the_environment_as_it_was(monkeypatch) -> None:
    from fedpref.transport.flower import apps, courier

    monkeypatch.delenv(courier.VARIABLE, raising=False)
    replies(apps.carry, ENDPOINTS)
    assert courier.VARIABLE not in os.environ
    monkeypatch.setenv(courier.VARIABLE, "elsewhere")
    replies(apps.carry, ENDPOINTS)
    assert os.environ[courier.VARIABLE] == "elsewhere"
    assert not courier._in_process


def test_a_grid_with_too_few_nodes_is_refused() -> None:
    from fedpref.transport.flower import apps
    from fedpref.transport.flower.grid import InProcessGrid

    grid = InProcessGrid(apps.courier_app(), [1, 2], 1)
    with pytest.raises(SetupError, match=r"nodes = 2, must be >= 3"):
        apps.over_grid(grid)(ENDPOINTS, lambda send: None)


def test_people_of_this_process_are_not_put_behind_other_processes_nodes() -> None:
    from flwr.serverapp import Grid

    from fedpref.transport.flower import apps

    class Elsewhere(Grid):
        pass

    Elsewhere.__abstractmethods__ = frozenset()
    with pytest.raises(SetupError, match="cannot answer at other processes"):
        apps.over_grid(Elsewhere())(ENDPOINTS, lambda send: None)


def test_messages_share_no_memory_between_the_sides() -> None:
    """Flower's own modifiers change contents in place; a copy keeps sides apart."""
    from flwr.app import ConfigRecord, Message, RecordDict
    from flwr.clientapp import ClientApp

    from fedpref.transport.flower import apps
    from fedpref.transport.flower.grid import InProcessGrid

    apps.carry({}, lambda send: None)
    app = ClientApp()

    @app.train("round")
    def vandal(message, context):
        message.content["r"]["v"] = "changed"
        return Message(message.content, reply_to=message)

    sent = RecordDict({"r": ConfigRecord({"v": "mine"})})
    grid = InProcessGrid(app, [1], 1)
    (reply,) = grid.send_and_receive([Message(sent, 1, "train.round")])
    assert sent["r"]["v"] == "mine"
    assert reply.content["r"]["v"] == "changed"


def test_entry_points_are_found_by_flower() -> None:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

    import clients.app
    import server.app

    assert isinstance(clients.app.app, ClientApp)
    assert isinstance(server.app.app, ServerApp)
