"""A device behind a Unix socket: frames, caps, refusals, and waits that end."""

import os
import socket
import stat
import struct
import threading
import time

import pytest

from fedpref.errors import MessageError, SetupError
from fedpref.transport.local_socket import call, listening, serve


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "device.sock")


@pytest.fixture
def served(path):
    """``served(endpoint)``: its path, while a thread answers there."""
    stop, threads = threading.Event(), []

    def start(endpoint, **change):
        ready = threading.Event()

        def run():
            with listening(path) as listener:
                ready.set()
                serve(listener, endpoint, stop=stop.is_set, **change)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        assert ready.wait(5)
        return path

    yield start
    stop.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
    assert not os.path.exists(path)


def refuse(request):
    raise MessageError("nobody's business")


def raw(path, *parts, then_close=False):
    """Send bytes as they are; what comes back until the end."""
    with socket.socket(socket.AF_UNIX) as near:
        near.settimeout(5)
        near.connect(path)
        for part in parts:
            near.sendall(part)
        if then_close:
            near.shutdown(socket.SHUT_WR)
        found = b""
        while part := near.recv(1000):
            found += part
        return found


@pytest.mark.parametrize("size", [0, 1, 1000, 3 * 2**20 + 7])
def test_request_and_reply_come_whole(served, size) -> None:
    where = served(lambda request: request[::-1] + b"!")
    data = os.urandom(size)
    assert call(where, data, timeout_s=5) == data[::-1] + b"!"
    assert call(where, b"again", timeout_s=5) == b"niaga!"


def test_an_empty_reply_is_no_refusal(served) -> None:
    assert call(served(lambda request: b""), b"x", timeout_s=5) == b""


def test_a_refusal_sends_nothing_back(served) -> None:
    where = served(refuse)
    with pytest.raises(MessageError, match="ended after 0 of 4"):
        call(where, b"x", timeout_s=5)
    assert raw(where, struct.pack("<I", 1) + b"x") == b""


def test_an_exception_that_nobody_foresaw_ends_neither_service_nor_silence(
    served,
) -> None:
    """It would be a way to switch a device off; its words may be a person's."""
    told = []

    def endpoint(request):
        if request == b"bad":
            raise ValueError("what somebody wrote")
        return b"ok"

    where = served(endpoint, fault=told.append)
    assert raw(where, struct.pack("<I", 3) + b"bad") == b""
    assert call(where, b"good", timeout_s=5) == b"ok"
    (words,) = told
    assert words.startswith("ValueError at test_local_socket.py")
    assert "somebody" not in words


def test_only_its_owner_can_connect(served, path) -> None:
    served(refuse)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_length_above_the_cap_is_refused_before_it_is_read(served) -> None:
    heard = []
    where = served(lambda request: heard.append(request) or b"ok", most=100)
    assert raw(where, struct.pack("<I", 101)) == b""  # nothing of it was sent
    assert raw(where, struct.pack("<I", 2**32 - 1)) == b""
    assert call(where, bytes(100), timeout_s=5) == b"ok"
    assert heard == [bytes(100)]


def test_a_reply_above_the_cap_is_refused(served) -> None:
    where = served(lambda request: bytes(101))
    with pytest.raises(MessageError, match="frame: 101 bytes, must be <= 100"):
        call(where, b"", timeout_s=5, most=100)
    assert len(call(where, b"", timeout_s=5, most=101)) == 101


@pytest.mark.parametrize(
    "parts", [b"", b"\x05", b"\x05\0\0\0ab"], ids=["nothing", "half a length", "short"]
)
def test_a_request_that_ends_early_is_dropped(served, parts) -> None:
    heard = []
    where = served(lambda request: heard.append(request) or b"ok")
    assert raw(where, parts, then_close=True) == b""
    assert call(where, b"next", timeout_s=5) == b"ok"
    assert heard == [b"next"]


def test_who_sends_nothing_holds_nobody_up_for_long(served) -> None:
    """One byte now and then does not help: the wait is for all of a request."""
    where = served(lambda request: b"ok", patience_s=0.3)
    with socket.socket(socket.AF_UNIX) as idle:
        idle.connect(where)
        idle.sendall(b"\x05\0\0")
        begun = time.monotonic()
        assert call(where, b"x", timeout_s=5) == b"ok"
        assert time.monotonic() - begun < 3


def test_a_device_that_does_not_answer_is_not_awaited_forever(served) -> None:
    release = threading.Event()
    where = served(lambda request: release.wait(5) and b"late")
    with pytest.raises(SetupError, match="TimeoutError; is the device running"):
        call(where, b"x", timeout_s=0.2)
    release.set()


@pytest.mark.parametrize("what", ["nothing", "a file", "nobody listens"])
def test_where_no_device_is(path, what) -> None:
    if what == "a file":
        open(path, "w").close()
    elif what == "nobody listens":
        with socket.socket(socket.AF_UNIX) as gone:
            gone.bind(path)
    with pytest.raises(SetupError, match="is the device running there"):
        call(path, b"x", timeout_s=1)


def test_a_socket_that_was_left_behind_is_replaced(served, path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(path)
    assert os.path.exists(path)
    assert call(served(lambda request: b"new"), b"x", timeout_s=5) == b"new"


def test_a_socket_in_use_and_a_file_are_left_alone(served, path, tmp_path) -> None:
    served(lambda request: b"mine")
    with pytest.raises(SetupError, match="listens there already"), listening(path):
        pass
    assert call(path, b"x", timeout_s=5) == b"mine"
    file = tmp_path / "notes.txt"
    file.write_text("keep")
    with pytest.raises(SetupError, match="is a file"), listening(file):
        pass
    assert file.read_text() == "keep"


def test_a_path_that_is_too_long_is_named(tmp_path) -> None:
    where = tmp_path / ("x" * 120)
    with pytest.raises(SetupError, match="name another path"), listening(where):
        pass


def test_the_courier_takes_requests_to_the_socket(
    served, path, identity, monkeypatch
) -> None:
    from flwr.app import Context, Message, RecordDict

    from fedpref.transport.flower import courier

    message = Message(courier.pack(b"hello"), 9, "train.round")
    context = Context(1, 9, {}, RecordDict(), {"FEDPREF_ENDPOINT": f"unix:{path}"})
    monkeypatch.delenv(courier.VARIABLE, raising=False)
    assert courier.deliver(message, context).has_error()
    for named in (path, "unix:", f"unix:{path}", f"tcp:{path}"):
        monkeypatch.setenv(courier.VARIABLE, named)
        assert courier.deliver(message, context).has_error()  # nobody listens
    served(lambda request: request[::-1])
    monkeypatch.setenv(courier.VARIABLE, path)
    assert courier.deliver(message, context).has_error()
    monkeypatch.setenv(courier.VARIABLE, f"unix:{path}")
    reply = courier.deliver(message, context)
    assert courier.unpack(reply.content) == b"olleh"
