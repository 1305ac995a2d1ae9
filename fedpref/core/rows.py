"""Rows of the privacy ledger: canonical bodies, chained so that nothing can change.

Guarantees: h_n = SHA-256(h_{n-1} || SHA-256(row_n)); a body has exactly one byte form,
and events in it are exact rationals. Does not give: a meaning; ``fedpref.core.ledger``
says which rows may follow which.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from itertools import accumulate
from typing import Any

from fedpref.core.accounting import epsilon_of
from fedpref.core.currencies import SEALED, Currency
from fedpref.core.events import Event, from_json, to_json
from fedpref.core.types import Adversary, Relation, Unit

SCHEMA = 3
GENESIS = bytes(32)


class Kind(StrEnum):
    """What a row says."""

    OPENED = "opened"
    RESERVED = "reserved"
    UNMASKING = "unmasking"
    RELEASED = "released"
    ABORTED = "aborted"
    CLOSED = "closed"


@dataclass(frozen=True)
class Row:
    """One link of the chain; ``body`` is canonical JSON, ``head`` the hash after it."""

    seq: int
    kind: Kind
    body: str
    head: bytes


@dataclass(frozen=True)
class Cap:
    """What may be spent on one population in one data window, for one unit.

    ``epsilon`` binds the total against ``against``. With sealed plans ``delta`` binds
    the sum of their deltas; in an adaptive currency it is that of everything.
    """

    population: str
    window: str
    unit: Unit
    relation: Relation
    against: Adversary
    epsilon: float
    delta: float
    currency: Currency = SEALED


@dataclass(frozen=True)
class Part:
    """Releases of one kind in a sealed plan, and what one of them is to whom."""

    rounds: int
    per_round: Mapping[Adversary, Event]


@dataclass(frozen=True)
class Reservation:
    """A sealed plan: everything that it will release, by adversary, and its delta.

    Releases are numbered from 1 through the parts in their order. ``seeded``: its noise
    can be drawn again by whoever knows the seed. ``unmasked``: a simulation has left
    out the masks that its events against the server stand for.
    """

    run: str
    plan: str
    unit: Unit
    relation: Relation
    parts: tuple[Part, ...]
    delta: float
    seeded: bool = False
    unmasked: bool = False

    @property
    def rounds(self) -> int:
        """Releases of all parts, which is the last number."""
        return sum(part.rounds for part in self.parts)

    @property
    def firsts(self) -> tuple[int, ...]:
        """The number of the first release of each part."""
        before = accumulate((part.rounds for part in self.parts), initial=0)
        return tuple(number + 1 for number in before)[:-1]

    def position(self, number: int) -> int:
        """Which part release ``number`` belongs to, counted from 0."""
        return bisect_right(self.firsts, number) - 1

    def counts(
        self, adversary: Adversary, used: Sequence[int] | None = None
    ) -> list[tuple[Event, int]]:
        """What ``adversary`` sees of each part, and how often it happens.

        Args:
            adversary: Who sees it.
            used: Releases of each part; all of them by default.
        """
        often = [part.rounds for part in self.parts] if used is None else used
        seen = [part.per_round[adversary] for part in self.parts]
        return list(zip(seen, often, strict=True))

    def epsilon(self, adversary: Adversary, used: Sequence[int] | None = None) -> float:
        """Price against ``adversary`` of ``counts``, composed together."""
        return epsilon_of(self.counts(adversary, used), self.delta).epsilon


def next_row(seq: int, head: bytes, kind: Kind, body: Mapping[str, Any]) -> Row:
    """The row that follows number ``seq``, whose head is ``head``."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    row = Row(seq + 1, kind, text, b"")
    return replace(row, head=link(head, row))


def link(previous: bytes, row: Row) -> bytes:
    """The head after ``row``, given the head before it."""
    return sha256(previous + row_hash(row)).digest()


def row_hash(row: Row) -> bytes:
    """SHA-256 of a row without its head; devices get these to follow the chain."""
    content = json.dumps([SCHEMA, row.seq, row.kind, row.body]).encode()
    return sha256(content).digest()


def _number(value: float) -> str:
    """Exact and readable: repr of a float reads back to the same float."""
    return repr(float(value))


def cap_json(cap: Cap) -> dict[str, Any]:
    """Body of the row that opens a cap."""
    return {
        "schema": SCHEMA,
        "population": cap.population,
        "window": cap.window,
        "unit": cap.unit,
        "relation": cap.relation,
        "against": cap.against,
        "epsilon": _number(cap.epsilon),
        "delta": _number(cap.delta),
        "currency": str(cap.currency),
    }


def cap_from(body: Mapping[str, Any]) -> Cap:
    """The cap in a body; ValueError, KeyError or TypeError if it is none."""
    if body["schema"] != SCHEMA:
        raise ValueError(f"schema = {body['schema']}, must be {SCHEMA}")
    return Cap(
        str(body["population"]),
        str(body["window"]),
        Unit(body["unit"]),
        Relation(body["relation"]),
        Adversary(body["against"]),
        float(body["epsilon"]),
        float(body["delta"]),
        Currency.parse(str(body["currency"])),
    )


def reservation_json(plan: Reservation) -> dict[str, Any]:
    """Body of the row that reserves a plan."""
    return {
        "run": plan.run,
        "plan": plan.plan,
        "unit": plan.unit,
        "relation": plan.relation,
        "parts": [_part_json(part) for part in plan.parts],
        "delta": _number(plan.delta),
        "seeded": plan.seeded,
        "unmasked": plan.unmasked,
    }


def _part_json(part: Part) -> dict[str, Any]:
    seen = {str(who): to_json(event) for who, event in part.per_round.items()}
    return {"rounds": part.rounds, "per_round": seen}


def reservation_from(body: Mapping[str, Any]) -> Reservation:
    """The plan in a body; errors as for a cap."""
    plan = Reservation(
        str(body["run"]),
        str(body["plan"]),
        Unit(body["unit"]),
        Relation(body["relation"]),
        tuple(_part_from(part) for part in body["parts"]),
        float(body["delta"]),
        body["seeded"],
        body["unmasked"],
    )
    if type(plan.seeded) is not bool or type(plan.unmasked) is not bool:
        raise TypeError("seeded or unmasked is neither true nor false")
    if not plan.parts or not 0 < plan.delta < 1:
        raise ValueError("incomplete reservation")
    events = [event for part in plan.parts for event in part.per_round.values()]
    if any((e.unit, e.relation) != (plan.unit, plan.relation) for e in events):
        raise ValueError("events of another unit or relation")
    return plan


def _part_from(body: Mapping[str, Any]) -> Part:
    per_round = {Adversary(k): from_json(v) for k, v in body["per_round"].items()}
    part = Part(int(body["rounds"]), per_round)
    if set(per_round) != set(Adversary) or part.rounds < 1:
        raise ValueError("incomplete part")
    return part
