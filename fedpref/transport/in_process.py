"""Devices in this process: each request goes to its device in turn, as bytes.

Guarantees: a device sees bytes only and answers bytes only, as over a network; one that
refuses is silent. Does not give: isolation; everything shares one address space, so
this is for simulation.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from fedpref.core.device import DeviceBook
from fedpref.core.types import Float, Integer
from fedpref.errors import FedprefError
from fedpref.faults import told
from fedpref.plan import PrivacyPlan
from fedpref.rounds.client import ClientState, Contribute, answer
from fedpref.rounds.own import Keeper
from fedpref.rounds.server import Requests, Send
from fedpref.secagg import client as secagg
from fedpref.secagg import wire
from fedpref.secagg.client import Surroundings
from fedpref.secagg.crypto import SharedWork
from fedpref.secagg.member import Device, Member
from fedpref.secagg.wire import Kind

Endpoint = Callable[[bytes], bytes]
"""Takes a request and returns the device's reply; raises FedprefError to refuse."""

Carry = Callable[[Mapping[int, Endpoint], Callable[[Send], None]], None]
"""A road: runs the given rounds with a way to reach the given devices."""

Notes = tuple[int, ...]
"""What a simulated device has noted: in how many rounds its data failed; then, if it
has own limits, number and bound of each contribution that counts against them."""


def _read(notes: Notes) -> tuple[int, tuple[tuple[int, int], ...]]:
    pairs = zip(notes[1::2], notes[2::2], strict=True)
    return notes[0], tuple(pairs)


def _written(failures: int, keeper: Keeper | None) -> Notes:
    sent = () if keeper is None else keeper.sent
    return (failures, *(value for pair in sent for value in pair))


class SimulatedDevice:
    """An endpoint whose contributions the server reads; its state is in memory."""

    def __init__(self, plan: PrivacyPlan, contribute: Contribute, answered: int = 0):
        self._plan = plan
        self._contribute = contribute
        self._keeper = contribute if isinstance(contribute, Keeper) else None
        self._state = ClientState(last_round=answered)

    def __call__(self, request: bytes) -> bytes:
        """Reply to one request."""
        reply, self._state = answer(
            request, self._state, plan=self._plan, contribute=self._contribute
        )
        return reply

    @property
    def failures(self) -> int:
        """Rounds in which this device's data failed. For simulations only."""
        return self._state.failures

    @property
    def notes(self) -> Notes:
        """What it has noted. For simulations only."""
        return _written(self._state.failures, self._keeper)

    @notes.setter
    def notes(self, notes: Notes) -> None:
        failures, sent = _read(notes)
        self._state = replace(self._state, failures=failures)
        if self._keeper is not None:
            self._keeper.sent = sent


class SecureDevice:
    """An endpoint that takes part in secure aggregation; its state is in memory.

    Its ledger is lost with the process, so a simulated device cannot finish a round
    that was begun before a crash.
    """

    def __init__(
        self, member: Member, contribute: Contribute, *, limit: int, work: SharedWork
    ):
        self._member = member
        self._contribute = contribute
        self._keeper = contribute if isinstance(contribute, Keeper) else None
        self._work = work
        self._state = Device(DeviceBook(limit))
        self.failures = 0

    def __call__(self, request: bytes) -> bytes:
        """Reply to one request."""
        if wire.kind_of(request) is Kind.DESCRIPTOR:
            self._work.begin(request[4 : wire.HEADER.size])
        around = Surroundings(
            member=self._member,
            contribute=self._values,
            save=lambda device: None,
            work=self._work,
            now=int(time.time()),
        )
        reply, self._state = secagg.answer(request, self._state, around)
        if self._keeper is not None:
            for entry in self._state.book.rounds:
                if entry.refund is not None:
                    self._keeper.refund(entry.number)
        return reply

    @property
    def notes(self) -> Notes:
        """What it has noted. For simulations only."""
        return _written(self.failures, self._keeper)

    @notes.setter
    def notes(self, notes: Notes) -> None:
        self.failures, sent = _read(notes)
        if self._keeper is not None:
            self._keeper.sent = sent

    def _values(self, number: int, model: Float) -> Integer:
        made = self._contribute(number, model)
        self.failures += int(made.failed)
        return made.update


def ask(endpoint: Endpoint, number: int, request: bytes) -> bytes | None:
    """The reply of a simulated device, or ``None`` if it refuses.

    Raises:
        FedprefError: It failed otherwise: a fault, of which only type and place cross
            from the device.
    """
    try:
        return endpoint(request)
    except FedprefError:
        return None
    except Exception as error:
        fault = told(error)
    raise FedprefError(f"device {number}: a fault of ours: {fault}; please report it")


def carry(endpoints: Mapping[int, Endpoint], drive: Callable[[Send], None]) -> None:
    """Run ``drive`` with a way to reach ``endpoints``, keyed by device number."""

    def send(requests: Requests) -> Iterator[tuple[int, bytes]]:
        for number, request in requests.items():
            endpoint = endpoints.get(number)
            if endpoint is None:
                continue
            reply = ask(endpoint, number, request)
            if reply is not None:
                yield number, reply

    drive(send)
