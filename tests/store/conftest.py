"""One cap, one plan, the steps of a round, and a ledger of them."""

import sqlite3
from contextlib import closing
from fractions import Fraction

import pytest

from fedpref.core import ledger as core
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Cap, Part, Reservation
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.store.ledger import Ledger


@pytest.fixture(scope="session")
def cap() -> Cap:
    return Cap(
        "people", "2026", Unit.USER, Relation.ZERO_OUT, Adversary.OUTSIDER, 8.0, 1e-4
    )


@pytest.fixture(scope="session")
def reservation(cap):
    """``reservation(run, rounds)``: a sealed plan, every time of the same event."""

    def make(run="a", rounds=4) -> Reservation:
        per_round = {
            Adversary.OUTSIDER: GaussianSum(cap.unit, cap.relation, 1, Fraction(64), 8),
            Adversary.SERVER: NonPrivate(cap.unit, cap.relation, 8),
        }
        parts = (Part(rounds, per_round),)
        return Reservation(run, "p", cap.unit, cap.relation, parts, 1e-6)

    return make


@pytest.fixture(scope="session")
def steps(cap, reservation):
    """The rows of a plan with two finished rounds, as steps for ``append``."""
    return (
        lambda book: core.open_cap(book, cap),
        lambda book: core.reserve(book, reservation()),
        lambda book: core.unmask(book, "a", 1, "d1"),
        lambda book: core.release(book, "a", 1, "m1"),
        lambda book: core.unmask(book, "a", 2, "d2"),
        lambda book: core.release(book, "a", 2, "m2"),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def filled(path, steps):
    """A closed ledger of six rows."""
    with Ledger.open(path) as ledger:
        for step in steps:
            ledger.append(step)
    return path


@pytest.fixture(scope="session")
def files():
    """``files(path)``: what lies there, to compare with later."""

    def read(path) -> dict[str, bytes]:
        """Database, log and head copy; no lock, nor the index that is made anew."""
        kept = [
            p for p in path.parent.iterdir() if not p.name.endswith(("lock", "-shm"))
        ]
        return {p.name: p.read_bytes() for p in kept if p.stat().st_size}

    return read


@pytest.fixture(scope="session")
def raw():
    """``raw(path, statement, *values)``: SQL by somebody else."""

    def run(path, statement, *values):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            return db.execute(statement, values).fetchall()

    return run
