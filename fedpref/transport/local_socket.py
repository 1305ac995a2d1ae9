"""An endpoint behind a Unix socket: how a courier reaches the device beside it.

Frames: length (4 bytes, little-endian) and as many bytes; one request and one reply a
connection. A device that refuses closes the connection without a frame, so that no
reason crosses; a reply may be empty.

Guarantees: a length is compared with the cap before anything is read or allocated;
every wait has an end; only the owner of the device's account can connect (mode 0600);
no request ends the service, not even one that finds a fault of ours. Does not give:
secrecy from that account, or service to two couriers at once: requests are answered one
after another.
"""

import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedpref.errors import FedprefError, MessageError, SetupError
from fedpref.faults import told

MOST = 2**28
"""Largest frame, bytes. The plan's own caps are smaller and hold above this one."""

_LENGTH = struct.Struct("<I")
_BLOCK = 2**20
_TURN_S = 0.2

Endpoint = Callable[[bytes], bytes]


def call(path: str, request: bytes, *, timeout_s: float, most: int = MOST) -> bytes:
    """The reply of the device that listens at ``path``.

    Args:
        path: Of its socket.
        request: At most ``most`` bytes.
        timeout_s: For all of it, in seconds.
        most: Largest reply, bytes.

    Raises:
        MessageError: It refused, or what came is no frame.
        SetupError: Nobody listens there, or no reply came in time.
    """
    end = time.monotonic() + timeout_s
    try:
        with socket.socket(socket.AF_UNIX) as near:
            near.settimeout(timeout_s)
            near.connect(path)
            _send(near, request, end)
            return _receive(near, end, most)
    except OSError as error:  # TimeoutError is one
        raise SetupError(
            f"endpoint {path}: {type(error).__name__}; is the device running there?"
        ) from None


@contextmanager
def listening(path: str | Path) -> Iterator[socket.socket]:
    """A socket at ``path``, which is removed again at the end.

    Raises:
        SetupError: Something else is at ``path``, or it cannot be made.
    """
    where = Path(path)
    _make_room(where)
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(where))
        except OSError as error:
            raise SetupError(f"endpoint {where}: {error}; name another path") from None
        try:
            where.chmod(0o600)  # nobody can connect before listen()
            listener.listen()
            yield listener
        finally:
            with suppress(FileNotFoundError):
                where.unlink()


def serve(
    listener: socket.socket,
    endpoint: Endpoint,
    *,
    most: int = MOST,
    patience_s: float = 10.0,
    stop: Callable[[], bool] = lambda: False,
    fault: Callable[[str], None] = lambda words: None,
) -> None:
    """Answer requests one after another until ``stop`` says so.

    Args:
        listener: From :func:`listening`.
        endpoint: The device; raises FedprefError to refuse.
        most: Largest request, bytes.
        patience_s: For the request to come, and for the reply to be taken, in seconds.
        stop: Asked a few times a second.
        fault: Told type and place of an exception that nobody foresaw, for the owner;
            to the courier it is a refusal like any other.
    """
    listener.settimeout(_TURN_S)
    while not stop():
        try:
            far, _ = listener.accept()
        except TimeoutError:
            continue
        with far, suppress(OSError, FedprefError):
            request = _receive(far, time.monotonic() + patience_s, most)
            reply = _answer(endpoint, request, fault)
            _send(far, reply, time.monotonic() + patience_s)


def _answer(endpoint: Endpoint, request: bytes, fault: Callable[[str], None]) -> bytes:
    try:
        return endpoint(request)
    except FedprefError:
        raise
    except Exception as error:
        words = told(error)
    fault(words)
    raise MessageError("refused: a fault of ours")


def _make_room(where: Path) -> None:
    """Remove a socket that a process which is gone has left behind."""
    try:
        mode = where.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SetupError(f"endpoint {where}: is a file; name another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_TURN_S)
        try:
            probe.connect(str(where))
        except ConnectionRefusedError:
            where.unlink(missing_ok=True)
            return
        except OSError:
            pass
    raise SetupError(f"endpoint {where}: a device listens there already")


def _send(sock: socket.socket, data: bytes, end: float) -> None:
    sock.settimeout(_left(end))
    sock.sendall(_LENGTH.pack(len(data)))
    for start in range(0, len(data), _BLOCK):
        sock.settimeout(_left(end))
        sock.sendall(memoryview(data)[start : start + _BLOCK])


def _receive(sock: socket.socket, end: float, most: int) -> bytes:
    (length,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size, end))
    if length > most:
        raise MessageError(f"frame: {length} bytes, must be <= {most}")
    return _exactly(sock, length, end)


def _exactly(sock: socket.socket, size: int, end: float) -> bytes:
    found = bytearray()
    while len(found) < size:
        sock.settimeout(_left(end))
        part = sock.recv(min(_BLOCK, size - len(found)))
        if not part:
            raise MessageError(f"frame: ended after {len(found)} of {size} bytes")
        found += part
    return bytes(found)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
