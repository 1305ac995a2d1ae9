"""Devices in forked worker processes of this machine, to use all of its cores.

The same bytes travel as in :mod:`fedpref.transport.in_process`; replies come in
whatever order the workers finish, which changes no sum.

Guarantees: a device lives in one worker for the whole run, so its state is in one
place; a worker that dies ends the run with an error, never with a smaller sum. Does not
give: isolation between devices of one worker.

Frames on a pipe: device numbers (4 bytes each) and the request that goes to all of
them; back, for each device, its number and its reply, or its number alone if it
refuses; or 0 and words about a fault, which ends the worker. An empty frame asks for
what the devices have noted (``Notes``: one frame a device, 8 bytes a number) and ends
the worker.
"""

import multiprocessing
import signal
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait

from fedpref.errors import FedprefError, SetupError
from fedpref.rounds.server import Requests, Send
from fedpref.transport.in_process import Carry, Endpoint, ask

_ID = struct.Struct("<I")
_FAULT = 0  # in place of a device's number


def forked(workers: int, prepare: Callable[[], None]) -> Carry:
    """A road to devices in ``workers`` processes.

    Args:
        workers: Number of processes, >= 1; no more than devices are started.
        prepare: Called once in each worker before its first request, for example to
            keep a library from starting threads of its own.
    """
    return partial(_carry, workers, prepare)


def _carry(
    workers: int,
    prepare: Callable[[], None],
    endpoints: Mapping[int, Endpoint],
    drive: Callable[[Send], None],
) -> None:
    context = multiprocessing.get_context("fork")
    numbers = list(endpoints)
    pipes: list[tuple[Connection, Mapping[int, Endpoint]]] = []
    processes = []
    for place in range(min(workers, len(numbers)) or 1):
        mine = {number: endpoints[number] for number in numbers[place::workers]}
        near, far = context.Pipe()
        ours = [*(pipe for pipe, _ in pipes), near]
        process = context.Process(
            target=_serve, args=(far, mine, prepare, ours), daemon=True
        )
        process.start()
        far.close()
        pipes.append((near, mine))
        processes.append(process)
    try:
        drive(partial(_send, pipes))
        for pipe, served in pipes:
            pipe.send_bytes(b"")
            for endpoint in served.values():
                _bring_home(pipe.recv_bytes(), endpoint)
    finally:
        for pipe, _ in pipes:
            pipe.close()
        for process in processes:
            process.join(timeout=5)
            if process.is_alive():
                process.terminate()
                process.join()


def _send(
    pipes: Sequence[tuple[Connection, Mapping[int, Endpoint]]], requests: Requests
) -> Iterator[tuple[int, bytes]]:
    # One group at a time a worker: it reads all of a request before it answers, so the
    # two never wait for each other with full buffers.
    todo = {pipe: groups for pipe, mine in pipes if (groups := _groups(mine, requests))}
    open_ = {pipe: _start(pipe, groups) for pipe, groups in todo.items()}
    while open_:
        for pipe in [p for p in wait(list(open_)) if isinstance(p, Connection)]:
            frame = _receive(pipe)
            open_[pipe] -= 1
            if not open_[pipe]:
                if todo[pipe]:
                    open_[pipe] = _start(pipe, todo[pipe])
                else:
                    del open_[pipe]
            (number,) = _ID.unpack_from(frame)
            if number == _FAULT:
                raise FedprefError(frame[_ID.size :].decode())
            if len(frame) > _ID.size:
                yield number, frame[_ID.size :]


_Group = tuple[list[int], bytes]


def _groups(mine: Mapping[int, Endpoint], requests: Requests) -> list[_Group]:
    """Devices of one worker by the request that they get, which is sent once."""
    found: dict[int, _Group] = {}
    for number in mine:
        if number in requests:
            request = requests[number]
            found.setdefault(id(request), ([], request))[0].append(number)
    return list(found.values())


def _start(pipe: Connection, groups: list[_Group]) -> int:
    """Send the next group; returns how many replies will come."""
    numbers, request = groups.pop(0)
    pipe.send_bytes(struct.pack(f"<{len(numbers)}I", *numbers))
    pipe.send_bytes(request)
    return len(numbers)


def _receive(pipe: Connection) -> bytes:
    try:
        return pipe.recv_bytes()
    except (EOFError, OSError):
        raise SetupError(
            "a worker process ended; see whether memory ran out, or run with one worker"
        ) from None


def _serve(
    pipe: Connection,
    mine: Mapping[int, Endpoint],
    prepare: Callable[[], None],
    inherited: Sequence[Connection],
) -> None:
    for parents in inherited:  # or no worker would notice that the parent is gone
        parents.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    prepare()
    while True:
        try:
            frame = pipe.recv_bytes()
        except EOFError:
            return
        if not frame:
            for endpoint in mine.values():
                notes = getattr(endpoint, "notes", ())
                pipe.send_bytes(struct.pack(f"<{len(notes)}Q", *notes))
            return
        request = pipe.recv_bytes()
        for (number,) in _ID.iter_unpack(frame):
            try:
                reply = ask(mine[number], number, request) or b""
            except FedprefError as fault:
                pipe.send_bytes(_ID.pack(_FAULT) + str(fault).encode())
                return
            pipe.send_bytes(_ID.pack(number) + reply)


def _bring_home(frame: bytes, endpoint: Endpoint) -> None:
    """Give this process's copy of a device what the worker's has noted."""
    if hasattr(endpoint, "notes"):
        endpoint.notes = struct.unpack(f"<{len(frame) // 8}Q", frame)
