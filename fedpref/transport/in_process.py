"""Devices in this process: a request goes to each in turn, as bytes.

Guarantees: a device sees bytes only and answers bytes only, as over a network; one that
refuses (``MessageError``) is silent. Does not give: isolation; everything shares one
address space, so this is for simulation.
"""

from collections.abc import Callable, Iterator, Mapping

from fedpref.errors import MessageError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.client import ClientState, Gradient, answer
from fedpref.rounds.server import Send

Endpoint = Callable[[bytes], bytes]
"""Takes a request and returns the device's reply; raises MessageError to refuse."""

Carry = Callable[[Mapping[int, Endpoint], Callable[[Send], None]], None]
"""A road: runs the given rounds with a way to reach the given devices."""


class SimulatedDevice:
    """An endpoint that keeps its device's state in memory."""

    def __init__(self, plan: PrivacyPlan, gradient: Gradient, answered: int = 0):
        self._plan = plan
        self._gradient = gradient
        self._state = ClientState(last_round=answered)

    def __call__(self, request: bytes) -> bytes:
        """Reply to one request."""
        reply, self._state = answer(
            request, self._state, plan=self._plan, gradient=self._gradient
        )
        return reply

    @property
    def failures(self) -> int:
        """Rounds in which this device's data failed. For simulations only."""
        return self._state.failures


def carry(endpoints: Mapping[int, Endpoint], drive: Callable[[Send], None]) -> None:
    """Run ``drive`` with a way to reach ``endpoints``, keyed by device number."""

    def send(request: bytes) -> Iterator[tuple[int, bytes]]:
        for number, endpoint in endpoints.items():
            try:
                yield number, endpoint(request)
            except MessageError:
                continue

    drive(send)
