"""What one secure sum costs: a whole cohort and its server in one process, timed.

Guarantees: every message is encoded, sent and checked as between machines; each timed
device does all of its own work; the sum that comes out is the plain sum, or an error.
Does not give: time on a network, or of making a contribution (training and noise).
"""

import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

from fedpref.core.device import DeviceBook
from fedpref.core.entropy import OsEntropy
from fedpref.core.mask import centred
from fedpref.core.types import Float, Integer
from fedpref.errors import IntegrityError
from fedpref.secagg import client, server, wire
from fedpref.secagg.client import Surroundings
from fedpref.secagg.crypto import SharedWork, Signer, Work
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.member import Device, Limits, Member
from fedpref.secagg.roster import Entry, Roster

WORD_BITS = 24
_ALL_TIMED = 100  # above this many devices, only some do their own work and are timed
_TIMED = 3
_NOW, _EXPIRY = 1, 2
_HASH = bytes(32)


@dataclass(frozen=True)
class Cost:
    """CPU seconds, bytes and peak memory of one round.

    ``client_s`` is the mean over the timed devices, all five legs; ``client_legs_s``
    splits it. ``server_s`` is unmasking, ``server_all_s`` all five legs. ``bytes_up``
    is what one device sends, ``vector_bytes`` the masked vector in it.
    ``client_peak_bytes`` is of the leg that masks, ``server_peak_bytes`` of adding the
    uploads and unmasking (absent where that was not traced), without what was there
    before: the model, the keys and the state.
    """

    client_s: float
    client_legs_s: tuple[float, ...]
    server_s: float
    server_all_s: float
    bytes_up: int
    vector_bytes: int
    client_peak_bytes: int
    server_peak_bytes: int | None


def measure(
    clients: int,
    coordinates: int,
    threshold: int,
    colluders: int,
    dropped: Sequence[int],
) -> dict[int, Cost]:
    """One round for each number of devices lost between sharing and uploading.

    States are values, so legs 0 to 2 are run once and the rest for each number.

    Raises:
        IntegrityError: A sum came out wrong.
    """
    terms = Terms(threshold, threshold, colluders, coordinates, WORD_BITS)
    cohort = _Cohort.of(clients, terms)
    with TemporaryDirectory(prefix="fedpref-bench-") as folder:
        return _rounds(cohort, dropped, Path(folder))


@dataclass(frozen=True, repr=False)
class _Cohort:
    """Devices with keys of their own, and what each of them contributes.

    ``host`` is the server's key.
    """

    terms: Terms
    roster: Roster
    members: Mapping[int, Member]
    host: Signer
    values: Integer
    shared: SharedWork = field(default_factory=SharedWork)

    @classmethod
    def of(cls, clients: int, terms: Terms) -> "_Cohort":
        signer = [
            Signer.from_seed(OsEntropy().key("bench")) for _ in range(clients + 1)
        ]
        ids = range(1, clients + 1)
        roster = Roster(
            tuple(Entry(i, signer[i].public, i) for i in ids), _EXPIRY, clients
        )
        limits = Limits(
            Fraction(terms.colluders, clients),
            terms.min_survivors - terms.colluders,
            *(terms.min_survivors, terms.coordinates, terms.word_bits),
        )
        members = {
            i: Member(
                i,
                signer[i],
                roster,
                signer[0].public,
                _HASH,
                _HASH,
                lambda round_: limits,
            )
            for i in ids
        }
        # Each device contributes a window of one public vector: distinct, and free.
        size = terms.coordinates + clients
        values = np.random.default_rng(1).integers(-1000, 1000, size)
        return cls(terms, roster, members, signer[0], values)

    @property
    def timed(self) -> tuple[int, ...]:
        """Devices that share no work with others."""
        ids = tuple(self.members)
        return ids if len(ids) <= _ALL_TIMED else ids[:_TIMED]

    def contribution(self, device: int) -> Integer:
        return self.values[device : device + self.terms.coordinates]

    def around(self, device: int) -> Surroundings:
        def contribute(number: int, model: Float) -> Integer:
            return self.contribution(device)

        work = Work() if device in self.timed else self.shared
        return Surroundings(
            self.members[device], contribute, lambda state: None, work, _NOW
        )

    def invite(self) -> tuple[server.Round, Mapping[int, bytes]]:
        model = bytes(8 * self.terms.coordinates)
        descriptor = Descriptor(
            task=_HASH,
            round=1,
            model=wire.fingerprint(model),
            plan=_HASH,
            roster=self.roster.digest,
            server=self.host.public,
            ledger_seq=0,
            ledger_head=_HASH,
            expiry=_EXPIRY,
            terms=self.terms,
            cohort=tuple(self.members),
        )
        return server.invite(
            descriptor, self.roster, model, signer=self.host, since=0, row_hashes=()
        )


class _Clock:
    """Seconds of the devices by leg, and of the server with the devices' taken off."""

    def __init__(self, cohort: _Cohort, states: Mapping[int, Device]):
        self.cohort = cohort
        self.states = dict(states)
        self.client: list[float] = []
        self.server: list[float] = []
        self.sent = 0
        self._outside = 0.0

    def fork(self) -> "_Clock":
        """The same past, another future."""
        other = _Clock(self.cohort, self.states)
        other.client, other.server = list(self.client), list(self.server)
        other.sent = self.sent
        return other

    def ask(
        self, requests: Mapping[int, bytes], silent: frozenset[int] = frozenset()
    ) -> Iterator[tuple[int, bytes]]:
        """Replies of one leg."""
        leg, timed = len(self.client), self.cohort.timed
        self.client.append(0.0)
        for device, request in requests.items():
            if device in silent:
                continue
            around = self.cohort.around(device)
            start = process_time()
            reply, self.states[device] = client.answer(
                request, self.states[device], around
            )
            spent = process_time() - start
            self._outside += spent
            if device in timed:
                answering = len(timed) - len(silent & set(timed))
                self.client[leg] += spent / answering
            if device == timed[0]:
                self.sent += len(reply)
            yield device, reply

    def elsewhere(
        self, items: Iterable[tuple[int, bytes]]
    ) -> Iterator[tuple[int, bytes]]:
        """Items that are made at nobody's expense."""
        iterator = iter(items)
        while True:
            start = process_time()
            item = next(iterator, None)
            self._outside += process_time() - start
            if item is None:
                return
            yield item

    def serve(self, call: Callable[[], Any]) -> Any:
        """The result of a step of the server."""
        start, before = process_time(), self._outside
        result = call()
        self.server.append(process_time() - start - (self._outside - before))
        return result


def _rounds(cohort: _Cohort, dropped: Sequence[int], folder: Path) -> dict[int, Cost]:
    fresh = {device: Device(DeviceBook(limit=1)) for device in cohort.members}
    clock = _Clock(cohort, fresh)
    state, requests = clock.serve(cohort.invite)
    for step in (server.advertised, server.dealt):
        call = partial(step, state, clock.ask(requests), Work())
        state, requests = clock.serve(call)
    first = next(iter(requests))
    peak = _peak(
        lambda: client.answer(
            requests[first], clock.states[first], cohort.around(first)
        )
    )
    for device, reply in clock.ask(requests):
        (folder / str(device)).write_bytes(reply)
    size = cohort.terms.coordinates * WORD_BITS // 8
    traced = min(1, len(dropped) - 1)
    return {
        lost: _finish(clock.fork(), state, lost, folder, (size, peak), place == traced)
        for place, lost in enumerate(dropped)
    }


def _finish(
    clock: _Clock,
    state: server.Round,
    lost: int,
    folder: Path,
    sizes: tuple[int, int],
    traced: bool,
) -> Cost:
    """Legs 3 and 4 without the last ``lost`` devices."""
    ids = tuple(clock.cohort.members)
    live, silent = ids[: len(ids) - lost], frozenset(ids[len(ids) - lost :])
    traced = traced and len(ids) <= _ALL_TIMED

    def uploads() -> Iterator[tuple[int, bytes]]:
        return ((device, (folder / str(device)).read_bytes()) for device in live)

    summed, requests = clock.serve(
        lambda: server.uploaded(state, clock.elsewhere(uploads()), Work())
    )
    agreed, requests = clock.serve(
        lambda: server.agreed(summed, clock.ask(requests, silent), Work())
    )
    replies = list(clock.ask(requests, silent))
    _, total = clock.serve(lambda: server.unmask(agreed, replies, Work()))
    expected = sum(clock.cohort.contribution(device) for device in live)
    if not np.array_equal(centred(total, WORD_BITS), expected):
        raise IntegrityError(f"the sum of {len(live)} devices is wrong")
    adding = partial(server.uploaded, state, uploads(), Work())
    opening = partial(server.unmask, agreed, replies, Work())
    server_peak = max(_peak(adding), _peak(opening)) if traced else None
    return Cost(
        sum(clock.client),
        tuple(clock.client),
        clock.server[-1],
        sum(clock.server),
        clock.sent,
        *sizes,
        server_peak,
    )


def _peak(call: Callable[[], Any]) -> int:
    """Bytes allocated at most while ``call`` runs, beyond what there was."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
