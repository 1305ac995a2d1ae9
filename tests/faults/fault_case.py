"""What a case is made of, drawn from its number: who takes part, what goes wrong."""

from dataclasses import dataclass
from fractions import Fraction
from random import Random
from types import SimpleNamespace

from fault_store import ROUNDS

from fedpref.core.events import NonPrivate
from fedpref.core.types import Adversary, Noise, Relation, Unit
from fedpref.releases import Release
from fedpref.secagg.crypto import SharedWork, Signer
from fedpref.secagg.descriptor import Terms
from fedpref.secagg.member import Limits, Member
from fedpref.secagg.neighbours import least_threshold
from fedpref.secagg.roster import Entry, Roster
from fedpref.stages import Purpose, Stage

SIZES = (3, 3, 3, 4, 4, 4, 5, 5, 6, 7)
TASK, PLAN = b"t" * 32, b"p" * 32
MOST_REQUESTS = 9
FAR = 10**9  # a time that does not come
SIGNED: set[tuple[bytes, bytes, bytes, bytes]] = set()


class Signing(Signer):
    """Notes what it has signed: that needs no verification to be believed."""

    def sign(self, label: bytes, content: bytes) -> bytes:
        signature = super().sign(label, content)
        SIGNED.add((KEYS[self], label, content, signature))
        return signature


class Believing(SharedWork):
    """Verifies what was not signed here; every result is what ``Work`` would give."""

    def verify(
        self, public: bytes, label: bytes, content: bytes, signature: bytes
    ) -> None:
        if (public, label, content, signature) not in SIGNED:
            super().verify(public, label, content, signature)


SIGNERS = {i: Signing.from_seed(bytes([i]) * 32) for i in range(1, max(SIZES) + 1)}
SERVER = Signing.from_seed(bytes([250]) * 32)
KEYS = {signer: signer.public for signer in (SERVER, *SIGNERS.values())}
ROSTER = Roster(tuple(Entry(i, KEYS[s], i) for i, s in SIGNERS.items()), FAR, 1)


@dataclass(frozen=True)
class Faults:
    """Chances, each of one message or of one step."""

    drop: float
    late: float  # beyond the deadline of its leg
    stale: float  # beyond many legs, so mostly into a later round
    again: float  # one or two more copies
    device: float  # a device crashes
    server: float  # the server crashes
    close: float  # a device's owner gives the open round up


def draw_faults(rng: Random) -> Faults:
    """Mostly a few kinds; now and then none, now and then a storm."""
    scale = rng.choice((0.0, 0.1, 0.2, 0.5, 0.5, 1.5))

    def chance(most: float) -> float:
        return scale * most * rng.random() * (rng.random() < 0.7)

    return Faults(*map(chance, (0.06, 0.06, 0.04, 0.2, 0.02, 0.04, 0.01)))


def draw_terms(rng: Random, n: int, coordinates: int) -> Terms:
    """Legal numbers for ``n`` devices, the tight ones more often."""
    bits = rng.choice((16, 24, 32))
    if rng.random() < 0.3 and n >= 5:
        drawn = rng.randint(n - 3, n - 2)
        t = rng.randint(drawn + 1, n - 1)
        return Terms(t, rng.randint(t, n), 0, coordinates, bits, drawn)
    colluders = rng.choice((0, 0, 1)) if n > 3 else 0
    least = least_threshold(n, colluders)
    t = max(least, rng.choice((least, least, least, n - 1)))
    return Terms(t, min(n, t + rng.choice((0, 0, 1))), colluders, coordinates, bits)


def member(number: int, n: int, terms: Terms) -> Member:
    """A device that insists on these very terms."""
    limits = Limits(
        Fraction(terms.colluders, n),
        terms.min_survivors - terms.colluders,
        terms.min_survivors,
        terms.coordinates,
        terms.word_bits,
        terms.neighbours,
    )
    return Member(
        *(number, SIGNERS[number], ROSTER, KEYS[SERVER], TASK, PLAN),
        lambda round_: limits,
    )


def plan_of(terms: Terms) -> SimpleNamespace:
    """What ``secure`` and ``run_round`` ask of a plan; a step of its grid is 1."""
    bare = NonPrivate(Unit.USER, Relation.ZERO_OUT, terms.coordinates)
    release = Release(dict.fromkeys(Adversary, bare), None)
    stage = Stage(
        *(Purpose.TRAINING, 1, MOST_REQUESTS),
        coordinates=terms.coordinates,
        clip=2.0**24,
        multiplier=None,
        release=release,
    )
    return SimpleNamespace(
        digest=PLAN,
        threshold=terms.threshold,
        min_survivors=terms.min_survivors,
        colluders=terms.colluders,
        divisor=1,
        training=stage,
        stage=lambda number: stage,
        spec=SimpleNamespace(
            word_bits=terms.word_bits,
            rounds=ROUNDS,
            noise=Noise.NONE,
            clip=1.0,
            counts=SimpleNamespace(neighbours=terms.neighbours),
        ),
    )
