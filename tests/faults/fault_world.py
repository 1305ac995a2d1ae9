"""One case: a server, a few devices and a bad network, on a clock that is not real.

Everything that happens is drawn from the number of the case; only keys and the drawing
of neighbours are the operating system's. The server's half is the real loop
(``fedpref.rounds``): where it waits for replies, the world goes on. A crash of the
server is an exception that unwinds that loop; what it had written is what its next life
begins with.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from typing import NamedTuple

import numpy as np
from fault_case import (
    FAR,
    MOST_REQUESTS,
    ROSTER,
    SERVER,
    SIGNED,
    SIZES,
    TASK,
    Believing,
    draw_faults,
    draw_terms,
    plan_of,
)
from fault_device import Crash, Machine
from fault_store import ROUNDS, RUN, SEAL, Folder, Journal, Rows
from fault_watch import Watch, rid_of

from fedpref.errors import TooFewSurvivors
from fedpref.rounds import secure, server
from fedpref.rounds.optimisers import sgd
from fedpref.secagg import legs, wire
from fedpref.secagg.wire import Kind

LEG = 10.0  # how long the server waits for the replies of a leg
MOST_LIVES = 60
OFTEN = 0.1  # weight of places that a leg comes by many times
PLAIN = sgd(lr=1.0, momentum=0.0)
KINDS = Kind.DESCRIPTOR, Kind.ADVERTS, Kind.DELIVERY, Kind.SURVIVORS, Kind.AGREEMENTS
BETWEEN, CERTIFICATE = "between rounds", "certificate"
LEGS = {kind: f"leg {number}" for number, kind in enumerate(KINDS)}
LABELS = (*LEGS.values(), CERTIFICATE)


class Origin(NamedTuple):
    """Where a message belongs; ``leg`` and ``rid`` are the server's at the time."""

    label: str
    leg: str
    rid: bytes


class World:
    """A clock, a network, its ends, and who watches."""

    def __init__(self, case: int):
        self.rng = rng = Random(f"case {case}")
        self.case, self.now, self.found = case, 0.0, Counter()
        self.n = rng.choice(SIZES)
        self.coordinates = self.n + 2
        self.terms = draw_terms(rng, self.n, self.coordinates)
        self.faults = draw_faults(rng)
        self.patient = rng.random() < 0.3  # waits to the deadline whoever has answered
        self.asks_again = rng.random() < 0.5  # once, half way to the deadline
        self.span = rng.choice((FAR, FAR, FAR, 150, 50))  # until a descriptor expires
        limit = rng.choice((100,) * 9 + (5,))
        SIGNED.clear()
        self.work, self.watch = Believing(), Watch(self.terms, self.coordinates)
        self.ledger = self.watch.ledger = Rows(self.point, self.watch)
        self.folder = Folder(self.point, self.watch)
        self.machines = {i: Machine(self, i, limit) for i in range(1, self.n + 1)}
        self.watch.machines = self.machines
        self.leg, self.rid, self.inbox = BETWEEN, b"", None
        self._begun: set[bytes] = set()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers, self._latest = count(), Counter()

    # The clock

    def at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (time, next(self._numbers), action))

    def step(self, until: float) -> bool:
        """The next event, if there is one before ``until``."""
        if not self._heap or self._heap[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now, _, action = heapq.heappop(self._heap)
        action()
        return True

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    # The network

    def carry(self, way: str, origin: Origin, link: tuple, deliver) -> None:
        """A message on its way: lost, delayed, in several copies, out of order."""
        name = f"{way} {origin.label}"
        self.found[f"{name} sent"] += 1
        if self.chance(self.faults.drop):
            self.found[f"{name} dropped"] += 1
            return
        copies = 1 + self.chance(self.faults.again) * self.rng.randint(1, 2)
        self.found[f"{name} duplicated"] += copies > 1
        number = next(self._numbers)

        def arrives() -> None:
            if self.rid != origin.rid:
                self.found[f"{name} in a later round"] += 1
            elif self.leg != origin.leg:
                self.found[f"{name} in a later leg"] += 1
            self.found[f"{name} overtaken"] += self._latest[link] > number
            self._latest[link] = max(self._latest[link], number)
            deliver()

        for _ in range(copies):
            delay = self.rng.uniform(0.1, 0.4 * LEG)
            if self.chance(self.faults.late):
                delay = self.rng.uniform(LEG, 3 * LEG)
            elif self.chance(self.faults.stale):
                delay = self.rng.uniform(5 * LEG, 30 * LEG)
            self.at(self.now + delay, arrives)

    def reply(self, who: int, reply: bytes, origin: Origin) -> None:
        """A device's reply has reached the server, which may be down."""
        if self.inbox is None:
            self.found[f"reply {origin.label} found nobody"] += 1
        else:
            self.inbox.append((who, reply))

    # The server

    def point(self, where: str, weight: float = 1.0) -> None:
        """A place in the server's life where it may crash."""
        if self.chance(weight * self.faults.server):
            self.found[f"server crashed in {self.leg}"] += 1
            self.found[f"server crashed {where}"] += 1
            raise Crash

    def send(self, requests) -> Iterator[tuple[int, bytes]]:
        """The server's only way out: a leg, to its deadline."""
        if not requests:
            return
        self._begin(next(iter(requests.values())))
        self.point("before a leg")
        waiting, deadline = set(requests), self.now + LEG
        inbox = self.inbox = deque()
        for who in self.rng.sample(sorted(requests), len(requests)):
            self._ask(who, requests)
            self.point("between requests", OFTEN)

        def again() -> None:
            for who in sorted(waiting) if self.inbox is inbox else ():
                self.found["requests sent again"] += 1
                self._ask(who, requests)

        if self.asks_again:
            self.at(self.now + LEG / 2, again)
        while (self.patient or waiting) and self.step(deadline):
            while inbox:
                who, reply = inbox.popleft()
                if not reply or rid_of(reply) == self.rid:
                    waiting.discard(who)
                self.point("between replies", OFTEN)
                yield who, reply
        self.inbox = None
        self.point("after a leg")

    def _begin(self, request: bytes) -> None:
        kind, self.rid = wire.kind_of(request), rid_of(request)
        self.leg = LEGS.get(kind, CERTIFICATE)
        if kind is Kind.DESCRIPTOR:
            self.work.begin(self.rid)
            self.found["rounds begun again after a crash"] += self.rid in self._begun
            self._begun.add(self.rid)

    def _ask(self, who: int, requests) -> None:
        request, machine, label = requests[who], self.machines[who], self.leg
        self.watch.sent(request, requests)
        if wire.kind_of(request) is Kind.AGREEMENTS:
            view = legs.decode_agreements(request, self.rid).view
            label = label if who in view.survivors else CERTIFICATE
        origin = Origin(label, self.leg, self.rid)
        self.carry(
            *("request", origin, ("to", who)), lambda: machine.receive(request, origin)
        )

    def _live(self) -> None:
        """From a start to the end of the plan, or to a crash."""
        journal = Journal(self.folder, self.ledger, RUN, SEAL, True, lasting=True)
        state = journal.recover()
        state = state or server.start(np.zeros(self.coordinates), PLAIN)
        while (number := journal.next_round()) <= ROUNDS:
            opening = journal.kept(number) is not None and not self.folder.has_pending
            if journal.attempts() >= MOST_REQUESTS and not journal.account.unmasking:
                return
            self.found["opened from a record"] += opening
            try:
                state = self._round(number, state, journal)
            except TooFewSurvivors:
                lost = journal.account.charged == number
                self.found["lost after the charge" if lost else "given up"] += 1
                self.found["  of them from a record"] += opening
            else:
                self.found["released"] += 1
                self.found["  released on a drawn graph"] += bool(self.terms.neighbours)
                self.found["devices in released sums"] += state.survivors

    def _round(self, number: int, state, journal: Journal):
        """As a run does it; with a far expiry, what begins again has the same id."""
        attempt, expiry = journal.attempts() + 1, min(FAR, int(self.now) + self.span)
        plan = plan_of(self.terms)
        coordinator = secure.Coordinator(
            SERVER, ROSTER, TASK, expiry, journal.head, self.work
        )
        gather = secure.secure(
            plan,
            self._cohort(attempt),
            attempt=attempt,
            coordinator=coordinator,
            send=self.send,
            journal=journal,
        )
        return server.run_round(
            number,
            state,
            plan=plan,
            optimiser=PLAIN,
            average_last=0.0,
            gather=gather,
            journal=journal,
        )

    def _cohort(self, attempt: int) -> tuple[int, ...]:
        """Everybody, or in some attempts all but one; the same after a crash."""
        rng = Random(f"case {self.case} attempt {attempt}")
        small = self.n > max(3, self.terms.min_survivors) and not self.terms.neighbours
        out = rng.randint(1, self.n) if small and rng.random() < 0.2 else 0
        return tuple(i for i in self.machines if i != out)

    # The case

    def run(self) -> None:
        """Lives of the server until it is done; then whatever is still on its way."""
        for _ in range(MOST_LIVES):
            try:
                self._live()
                break
            except Crash:
                self.leg, self.rid, self.inbox = BETWEEN, b"", None
                back = self.now + self.rng.choice((0.5, 2.0, 8.0)) * LEG
                while self.step(back):
                    pass
            except Exception as error:
                self.watch.violation("an error that is not ours", repr(error))
                break
        else:
            self.watch.violation("not finished")
        self.leg, self.rid = BETWEEN, b""
        while self._heap:
            self.step(self._heap[0][0])
        state = self.folder.load_state(SEAL)
        self.watch.ended(None if state is None else state.model)
        self._count()

    def _count(self) -> None:
        rounds = len(self.watch.cohorts)
        self.found["rounds"] = rounds
        self.found["  on a drawn graph"] = rounds * bool(self.terms.neighbours)
        for machine in self.machines.values():
            for entry in machine.durable.book.rounds:
                self.found["charged on a device"] += entry.counts
                self.found["buried by a device"] += entry.buried
                if entry.refund is not None:
                    self.found[f"refunded to a device by {entry.refund}"] += 1
