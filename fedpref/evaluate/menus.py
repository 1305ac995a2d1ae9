"""Choices of many people as flat arrays.

Guarantees: every option of every record appears once, in the order in which people,
records and options were given; a text appears once in ``texts`` however often it is
offered. Does not weight: a record's ``weight`` is a matter of training, and every
record counts the same here.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedpref.core.types import Float, Integer, Record
from fedpref.errors import InputError

People = Mapping[str, Sequence[Record]]


@dataclass(frozen=True, repr=False)
class Menus:
    """Choice sets, flattened: ``options`` below counts the options of all records.

    ``text [options]`` indexes ``texts``; ``start [records]`` is where a record's
    options begin; ``chosen [records]`` is the position of the chosen one among all
    options; ``user [records]`` numbers the people from 0; ``people`` is a fingerprint
    of who they are and how much they answered, so that two evaluations can be told to
    be about the same ones without keeping a name.
    """

    texts: tuple[str, ...]
    text: Integer
    start: Integer
    chosen: Integer
    user: Integer
    users: int
    people: str

    @property
    def size(self) -> Integer:
        """How many options each record offers, ``[records]``."""
        return np.diff(self.start, append=len(self.text))

    @property
    def record(self) -> Integer:
        """The record that each option belongs to, ``[options]``."""
        return np.repeat(np.arange(len(self.start)), self.size)

    @property
    def column(self) -> Integer:
        """Place of each option in its own record, from 0, ``[options]``."""
        return np.arange(len(self.text)) - self.start[self.record]

    @property
    def pairs(self) -> tuple[Integer, Integer]:
        """``(chosen, other)``: positions among all options, one row a pair."""
        others = np.ones(len(self.text), dtype=bool)
        others[self.chosen] = False
        other = np.flatnonzero(others)
        return self.chosen[self.record[other]], other

    def __repr__(self) -> str:
        return f"Menus(users={self.users}, records={len(self.start)}, contents hidden)"


def flatten(people: People) -> Menus:
    """Flatten the choices of ``people``; who has no record is left out.

    Raises:
        InputError: nobody has a record, or a record is not a choice among two or more.

    >>> menus = flatten({"a": [Record("a", "", ("x", "y", "z"), choice=2)],
    ...                  "b": [Record("b", "", ("y", "x"), choice=0)]})
    >>> menus.texts, menus.text.tolist(), menus.column.tolist()
    (('x', 'y', 'z'), [0, 1, 2, 1, 0], [0, 1, 2, 0, 1])
    >>> [side.tolist() for side in menus.pairs]
    [[2, 2, 3], [0, 1, 4]]
    """
    people = {user: records for user, records in people.items() if records}
    _require_choices(people)
    index: dict[str, int] = {}
    text: list[int] = []
    start: list[int] = []
    chosen: list[int] = []
    user: list[int] = []
    for number, records in enumerate(people.values()):
        for record in records:
            assert record.choice is not None  # _require_choices has seen to it
            start.append(len(text))
            chosen.append(len(text) + record.choice)
            user.append(number)
            text.extend(index.setdefault(t, len(index)) for t in record.texts)
    who = "\n".join(f"{len(records)} {name}" for name, records in people.items())
    return Menus(
        texts=tuple(index),
        text=np.array(text, dtype=np.int64),
        start=np.array(start, dtype=np.int64),
        chosen=np.array(chosen, dtype=np.int64),
        user=np.array(user, dtype=np.int64),
        users=len(people),
        people=hashlib.sha256(who.encode()).hexdigest(),
    )


def texts_of(menus: Menus, values: Float, name: str) -> Float:
    """``values`` as float64 with one row a distinct text, checked to be finite."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) != len(menus.texts):
        raise InputError(
            f"{name}: {len(array)} rows for {len(menus.texts)} texts; "
            "return one row a text, in the order given"
        )
    bad = int((~np.isfinite(array.reshape(len(array), -1)).all(axis=1)).sum())
    if bad:
        raise InputError(
            f"{name}: {bad} of {len(array)} texts have a value that is not finite; "
            "the model has diverged: train with a smaller server.lr"
        )
    return array


def _require_choices(people: People) -> None:
    records = [record for own in people.values() for record in own]
    if not records:
        raise InputError(
            "people = 0 with records, at least 1 is needed: give people with choices"
        )
    labels = sum(record.choice is None for record in records)
    if labels:
        raise InputError(
            f"{labels} of {len(records)} records have a label instead of a choice; "
            "a reward model is evaluated on choices: give records with 'chosen' and "
            "'rejected', or with 'options' and 'choice'"
        )
    short = sum(len(record.options) < 2 for record in records)
    if short:
        raise InputError(
            f"{short} of {len(records)} records offer fewer than 2 options; "
            "a choice needs at least 2"
        )
