"""A server's disk in memory: what its journal writes, with a crash before or after.

The journal itself is the one of a run (``fedpref.simulation.journal``); ledger rows are
made and replayed by ``fedpref.core.ledger``.
"""

import json
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from fedpref.core import ledger as core
from fedpref.core.book import Book
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Cap, Kind, Part, Reservation, Row, row_hash
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import IntegrityError
from fedpref.rounds.secure import Head
from fedpref.simulation.journal import RunJournal

RUN, SEAL = "run", bytes(32)
ROUNDS = 6
RARE = 3.0  # weight of places that a round comes by once
USER = (Unit.USER, Relation.ZERO_OUT)
CAP = Cap("people", "2026", *USER, Adversary.OUTSIDER, 8.0, 1e-4)


@lru_cache
def reserved() -> tuple[Row, ...]:
    """The rows of a ledger with one sealed plan in it."""
    noise, bare = GaussianSum(*USER, 1, Fraction(640), 8), NonPrivate(*USER, 8)
    per_round = {Adversary.OUTSIDER: noise, Adversary.SERVER: bare}
    plan = Reservation(RUN, "plan", *USER, (Part(ROUNDS, per_round),), 1e-6)
    first = core.open_cap(Book(), CAP)
    return first, core.reserve(core.replay([first]), plan)


class Rows:
    """Stands in for ``fedpref.store.ledger.Ledger``."""

    def __init__(self, point: Callable[..., None], watch):
        self.rows, self.book = reserved(), core.replay(reserved())
        self.charged: list[str] = []
        self._point, self._watch = point, watch

    def append(self, step: Callable[[Book], Row]) -> Row:
        row = step(self.book)
        name = row.kind.value
        self._point(f"before {name}", RARE)
        self.book = core.replay((row,), self.book)
        self.rows = (*self.rows, row)
        body = json.loads(row.body)
        if row.kind is Kind.UNMASKING:
            self.charged.append(body["digest"])
        if row.kind is Kind.RELEASED:
            self._watch.released(body["round"], self.charged[-1])
        self._point(f"after {name}", RARE)
        return row


class Folder:
    """Stands in for ``fedpref.simulation.folder.RunFolder``."""

    path = "the folder"

    def __init__(self, point: Callable[..., None], watch):
        self._files: dict[str, tuple] = {}
        self._point, self._watch = point, watch

    def _put(self, name: str, *value) -> None:
        self._point(f"before {name}", RARE)
        self._files[name] = value
        self._point(f"after {name}", RARE)

    def _get(self, name: str) -> tuple:
        if name not in self._files:
            raise IntegrityError(f"{name} is missing")
        return self._files[name]

    @property
    def has_pending(self) -> bool:
        return "pending" in self._files

    @property
    def has_record(self) -> bool:
        return "record" in self._files

    def save_pending(self, noisy, digest: bytes, seal: bytes) -> None:
        self._watch.opened(noisy, digest.hex())
        self._put("pending", noisy, digest)

    def load_pending(self, seal: bytes):
        return self._get("pending")

    def save_record(self, record: bytes, seal: bytes) -> None:
        self._put("record", record)

    def load_record(self, seal: bytes) -> bytes:
        return self._get("record")[0]

    def drop_pending(self) -> None:
        self._files.pop("pending", None)
        self._point("between two files")
        self._files.pop("record", None)

    def save_state(self, state, seal: bytes) -> None:
        self._put("state", state)

    def load_state(self, seal: bytes):
        return self._files["state"][0] if "state" in self._files else None


class Journal(RunJournal):
    """A run's journal over :class:`Rows` and :class:`Folder`."""

    def head(self) -> Head:
        return Head(tuple(map(row_hash, self.ledger.rows)), self.ledger.book.head)
