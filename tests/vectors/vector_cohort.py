"""A cohort whose every key follows from a name: the same bytes on every machine."""

from fractions import Fraction
from hashlib import sha256

import numpy as np

from fedpref.core.device import DeviceBook
from fedpref.core.mask import centred
from fedpref.errors import FedprefError
from fedpref.secagg import client, server
from fedpref.secagg.client import Surroundings
from fedpref.secagg.crypto import SharedWork, Signer
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.member import Device, Limits, Member
from fedpref.secagg.roster import Entry, Roster

NOW, EXPIRY, ROSTER_EXPIRY = 1_000, 2_000, 3_000
STEPS = ("advertised", "dealt", "uploaded", "agreed", "unmask")


def made(*names):
    """32 bytes that follow from some names."""
    return sha256("/".join(map(str, ("fedpref vectors", *names))).encode()).digest()


class Draws:
    """Keys by number and purpose, each of them noted: an entropy source for vectors."""

    def __init__(self, name):
        self.name = name
        self.drawn = []

    def key(self, purpose):
        value = made("draw", self.name, len(self.drawn), purpose)
        self.drawn.append([purpose, value.hex()])
        return value


class Cohort:
    """``n`` devices and their server, played by the package; all of it is noted."""

    def __init__(self, name, n=3, t=2, **change):
        numbers = {"colluders": 0, "min_survivors": t, "neighbours": 0}
        numbers |= {"coordinates": 4, "word_bits": 24, "most": n}
        numbers |= {"members": n, "organisations": {}} | change
        self.name, self.t, self.n = name, t, n
        self.__dict__.update(numbers)
        self.ids = tuple(range(1, n + 1))
        everybody = range(1, self.members + 1)
        self.seeds = {i: made("signer", i) for i in everybody}
        self.signers = {i: Signer.from_seed(s) for i, s in self.seeds.items()}
        self.server = Signer.from_seed(made("server"))
        entries = tuple(
            Entry(i, s.public, self.organisations.get(i, i))
            for i, s in self.signers.items()
        )
        self.roster = Roster(entries, ROSTER_EXPIRY, self.most)
        self.devices = {i: Device(DeviceBook(100)) for i in self.ids}
        self.draws = {i: Draws(f"{name}/{i}") for i in self.ids}
        self.steps = {i: [] for i in self.ids}
        self.model = np.arange(self.coordinates, dtype="<f8").tobytes()
        self.values = {
            i: [(-1) ** k * (100 * i + k) for k in range(self.coordinates)]
            for i in self.ids
        }
        self.work = SharedWork()
        self.replies = []

    def terms(self, **change):
        values = {"threshold": self.t} | {
            key: getattr(self, key)
            for key in (
                *("min_survivors", "colluders", "coordinates"),
                *("word_bits", "neighbours"),
            )
        }
        return Terms(**(values | change))

    def limits(self):
        return Limits(
            Fraction(self.colluders, self.n),
            self.min_survivors - self.colluders,
            self.min_survivors,
            self.coordinates,
            self.word_bits,
            self.neighbours,
        )

    def member(self, i):
        limits = self.limits()
        return Member(
            *(i, self.signers[i], self.roster, self.server.public),
            *(made("task"), made("plan"), lambda round_: limits),
        )

    def descriptor(self, round_=1, **change):
        values = {
            "task": made("task"),
            "round": round_,
            "model": bytes(32),
            "plan": made("plan"),
            "roster": self.roster.digest,
            "server": self.server.public,
            "ledger_seq": 0,
            "ledger_head": bytes(32),
            "expiry": EXPIRY,
            "terms": self.terms(),
            "cohort": self.ids,
        }
        return Descriptor(**(values | change)).for_model(self.model)

    def invite(self, round_=1, *, since=0, rows=(), **change):
        return server.invite(
            self.descriptor(round_, **change),
            self.roster,
            self.model,
            signer=self.server,
            since=since,
            row_hashes=tuple(rows),
        )

    def ask(self, i, request, now=NOW):
        """The reply of device ``i``; request and reply are noted."""
        values = np.array(self.values[i], np.int64)
        around = Surroundings(
            *(self.member(i), lambda round_, model: values, lambda state: None),
            *(self.work, now, self.draws[i]),
        )
        reply, self.devices[i] = client.answer(request, self.devices[i], around)
        self.steps[i].append((now, request, reply))
        return reply

    def answers(self, requests, silent=()):
        """What those who are not silent, and do not refuse, reply."""
        found = []
        for i, request in requests.items():
            if i not in silent:
                try:
                    found.append((i, self.ask(i, request)))
                except FedprefError:
                    continue
        return found

    def play(self, legs=5, *, bend=None, silent=None, round_=1, **change):
        """The server's state and what it asks next; all replies are noted.

        ``silent`` says from which leg on a device is silent; ``bend(leg, replies,
        state, requests)`` may change the replies of a leg.
        """
        state, requests = self.invite(round_, **change)
        self.request = next(iter(requests.values()))
        self.replies, gone = [], set()
        for leg in range(legs):
            gone |= set((silent or {}).get(leg, ()))
            replies = self.answers(requests, gone)
            if bend is not None:
                replies = bend(leg, replies, state, requests)
            self.replies.append(replies)
            step = getattr(server, STEPS[leg])
            state, requests = step(state, replies, self.work)
        return state, requests

    def sums(self, words):
        return centred(words, self.word_bits).tolist()


def server_input(cohort):
    """The part of a vector that a server is replayed from."""
    return {
        "descriptor": cohort.request.hex(),
        "roster": cohort.roster.content.hex(),
        "replies": [
            [[i, reply.hex()] for i, reply in replies] for replies in cohort.replies
        ],
    }


def device_input(cohort, i, steps, *, budget=100, **change):
    """The part of a vector that device ``i`` is replayed from."""
    limits = cohort.limits()
    given = {
        "id": i,
        "seed": cohort.seeds[i].hex(),
        "roster": cohort.roster.content.hex(),
        "server": cohort.server.public.hex(),
        "task": made("task").hex(),
        "plan": made("plan").hex(),
        "limits": {
            "colluders": [limits.colluders.numerator, limits.colluders.denominator],
            "contributors": limits.contributors,
            "min_survivors": limits.min_survivors,
            "coordinates": limits.coordinates,
            "word_bits": limits.word_bits,
            "neighbours": limits.neighbours,
        },
        "budget": budget,
        "row": 0,
        "head": bytes(32).hex(),
        "outgoing": [],
    }
    return {
        "device": given | change,
        "entropy": cohort.draws[i].drawn,
        "contribution": cohort.values[i],
        "steps": [{"now": now, "request": request.hex()} for now, request in steps],
    }
