"""A whole cohort in one process, each message of which a test can bend."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from fractions import Fraction

import numpy as np
import pytest

from fedpref.core.device import DeviceBook
from fedpref.core.mask import centred
from fedpref.errors import FedprefError
from fedpref.secagg import client, legs, server
from fedpref.secagg.client import Surroundings
from fedpref.secagg.crypto import VIEW, KeyPair, SharedWork, Signer, Work
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.member import Device, Limits, Member
from fedpref.secagg.neighbours import threshold
from fedpref.secagg.roster import Entry, Roster

NOW, LATER = 1_000, 2_000
TASK, PLAN = b"t" * 32, b"p" * 32
LEGS = ("advertised", "dealt", "uploaded", "agreed", "unmask")


@dataclass
class Cohort:
    """``n`` devices, their server, and the vectors they contribute."""

    vectors: np.ndarray
    colluders: int = 0
    min_survivors: int = 1
    t: int = 1
    word_bits: int = 24
    neighbours: int = 0
    most: int = 10**6
    limit: int = 100
    work: Work = field(default_factory=Work)
    saved: dict = field(default_factory=dict)
    refusals: list = field(default_factory=list)

    def __post_init__(self):
        self.ids = tuple(range(1, len(self.vectors) + 1))
        self.coordinates = self.vectors.shape[1]
        self.server = Signer.from_seed(bytes([250]) * 32)
        self.signers = {
            i: Signer.from_seed(i.to_bytes(4, "little") * 8) for i in self.ids
        }
        self.roster = Roster(
            tuple(Entry(i, s.public, i) for i, s in self.signers.items()),
            LATER,
            self.most,
        )
        self.devices = {i: Device(DeviceBook(self.limit)) for i in self.ids}
        self.model = np.zeros(self.coordinates)

    @property
    def terms(self):
        return Terms(
            self.t,
            self.min_survivors,
            self.colluders,
            self.coordinates,
            self.word_bits,
            self.neighbours,
        )

    def member(self, i, **change):
        limits = Limits(
            Fraction(self.colluders, len(self.ids)),
            self.min_survivors - self.colluders,
            self.min_survivors,
            self.coordinates,
            self.word_bits,
            self.neighbours,
        )
        values = {
            "id": i,
            "signer": self.signers[i],
            "roster": self.roster,
            "server": self.server.public,
            "task": TASK,
            "plan": PLAN,
            "limits": lambda round_: limits,
        }
        return Member(**(values | change))

    def around(self, i, **change):
        values = {
            "member": self.member(i),
            "contribute": lambda round_, model: self.vectors[i - 1],
            "save": lambda device: self.saved.__setitem__(i, device),
            "work": self.work,
            "now": NOW,
        }
        return Surroundings(**(values | change))

    def descriptor(self, round_=1, **change):
        values = {
            "task": TASK,
            "round": round_,
            "model": bytes(32),
            "plan": PLAN,
            "roster": self.roster.digest,
            "server": self.server.public,
            "ledger_seq": 0,
            "ledger_head": bytes(32),
            "expiry": LATER,
            "terms": self.terms,
            "cohort": self.ids,
        }
        return Descriptor(**(values | change)).for_model(self.model_bytes)

    @property
    def model_bytes(self):
        return self.model.astype("<f8").tobytes()

    def invite(self, round_=1, descriptor=None, **change):
        descriptor = descriptor or self.descriptor(round_, **change)
        return server.invite(
            descriptor,
            self.roster,
            self.model_bytes,
            signer=self.server,
            since=0,
            row_hashes=(),
        )

    def reach(self, leg, round_=1, silent=None, **change):
        """The server's state and its requests of ``leg``, which nobody was asked."""
        state, requests = self.invite(round_, **change)
        gone = set()
        for place, name in enumerate(LEGS[:leg]):
            gone |= set((silent or {}).get(place, ()))
            replies = list(self.send(requests, gone))
            state, requests = getattr(server, name)(state, replies, self.work)
        assert not self.refusals, self.refusals
        return state, requests

    def refuses(self, i, request, needle, error=FedprefError, **change):
        """Device ``i`` refuses, saves nothing, and is the same as before."""
        saved = []
        change.setdefault("save", saved.append)
        before = told(self.devices[i])
        with pytest.raises(error, match=needle):
            client.answer(request, self.devices[i], self.around(i, **change))
        assert told(self.devices[i]) == before
        assert not saved

    def accepts(self, i, request):
        """Device ``i`` answers and goes on."""
        reply, self.devices[i] = client.answer(request, self.devices[i], self.around(i))
        return reply

    def agreements(self, state, signers, view=None, signed=None):
        """The request of leg 4; signatures are on ``signed`` if that differs."""
        view, rid = view or state.view, state.descriptor.rid
        content = rid + (signed or view).content
        found = tuple((i, self.signers[i].sign(VIEW, content)) for i in signers)
        return legs.Agreements(view, found).encode(rid)

    def ask(self, i, request):
        """The reply of device ``i``, or None if it refuses."""
        try:
            reply, self.devices[i] = client.answer(
                request, self.devices[i], self.around(i)
            )
        except FedprefError as error:
            self.refusals.append((i, error))
            return None
        return reply

    def send(self, requests, silent=()):
        for i, request in requests.items():
            if i not in silent:
                reply = self.ask(i, request)
                if reply is not None:
                    yield i, reply

    def run(self, round_=1, silent=None, bend=None, **change):
        """One round: the sum and the survivors.

        ``silent`` names devices by the leg (0 to 4) from which on they are silent;
        ``bend(leg, replies)`` may change the list of replies.
        """
        state, requests = self.invite(round_, **change)
        gone = set()
        for leg, name in enumerate(LEGS):
            gone |= set((silent or {}).get(leg, ()))
            replies = list(self.send(requests, gone))
            if bend is not None:
                replies = bend(leg, replies)
            result = getattr(server, name)(state, replies, self.work)
            state, requests = result
            if name == "unmask":
                return centred(requests, self.word_bits), state.survivors
        raise AssertionError


def told(value):
    """Everything in a device's state, as plain values that can be compared."""
    if isinstance(value, KeyPair):
        return value.seed
    if is_dataclass(value):
        return [(f.name, told(getattr(value, f.name))) for f in fields(value)]
    if isinstance(value, Mapping):
        return sorted((key, told(entry)) for key, entry in value.items())
    if isinstance(value, tuple | list):
        return [told(entry) for entry in value]
    return value


@pytest.fixture
def flip():
    """``data`` with one bit changed."""

    def flipped(data, bit):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        return bytes(changed)

    return flipped


@pytest.fixture(name="told")
def told_fixture():
    return told


@pytest.fixture
def make_cohort():
    def make(n, coordinates=5, **change):
        rng = np.random.default_rng(n * 1000 + coordinates)
        vectors = rng.integers(-1000, 1000, (n, coordinates))
        colluders = change.get("colluders", 0)
        t = change.pop("t", threshold(n, colluders))
        values = {"t": t, "min_survivors": t, "work": SharedWork()} | change
        return Cohort(vectors, **values)

    return make
