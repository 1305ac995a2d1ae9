"""From records to units: which items a unit speaks about, and in which of its records.

Guarantees: a record is one record, however many options it has; users, units and items
are numbered in order of first appearance; what is public about a round is kept apart
from what is in the records.

Does not: put a number on anything; that is ``losses``, and the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedpref.core.types import Float, Integer, Record, Unit
from fedpref.errors import InputError
from fedpref.models.items import AnyItem, Item

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, repr=False)
class Given:
    """What an objective may ask for that is not in the records.

    Args:
        previous: statistic that the plan released in the round before, ``[1]``.
        preference: weights of the objectives, ``[records, k]``, drawn in public
            (``items.public_preferences``) or a person's own.
        objectives: names of the objectives, in the order of ``labels``' columns.
    """

    previous: Float | None = None
    preference: Float | None = None
    objectives: tuple[str, ...] = ()

    def of(self, rows: Sequence[int]) -> "Given":
        """The same for some of the records."""
        chosen = None if self.preference is None else self.preference[list(rows)]
        return Given(self.previous, chosen, self.objectives)


NOTHING = Given()


@dataclass(frozen=True, eq=False, repr=False)
class Folding:
    """How records refer to distinct items and belong to units. Private, all of it.

    ``texts``: the distinct items in order of first appearance, T of them.
    ``index``: ``[records, K]``, which item each option is, -1 where there is none.
    ``choice``, ``label``, ``group``, ``unit``, ``weight``: ``[records]``; ``choice``
    and ``label`` are -1 where a record has none, ``group`` numbers the users and
    ``unit`` the units. ``labels``: ``[records, objectives]``, -1 where not answered.
    ``given``: what is not in the records.
    """

    texts: tuple[AnyItem, ...]
    index: Integer
    choice: Integer
    label: Integer
    labels: Integer
    group: Integer
    unit: Integer
    weight: Float
    given: Given

    @property
    def units(self) -> int:
        """Number of units."""
        return int(self.unit.max(initial=-1)) + 1

    @property
    def touched(self) -> Mask:
        """``[units, T]``: whether a unit has an item among its options."""
        out = np.zeros((self.units, len(self.texts)), dtype=np.bool_)
        record, option = np.nonzero(self.index >= 0)
        out[self.unit[record], self.index[record, option]] = True
        return out

    @property
    def mismatched(self) -> tuple[tuple[int, Item], ...]:
        """Records whose user has others, each prompt with the next one's response.

        The next record of the same user, the first one after the last; its chosen
        option, the first one where it has no choice.
        """
        own: dict[int, list[int]] = {}
        for record, user in enumerate(self.group):
            own.setdefault(int(user), []).append(record)
        pairs = []
        for records in own.values():
            if len(records) < 2:
                continue
            for here, there in zip(records, records[1:] + records[:1], strict=True):
                mine = self.texts[self.index[here, 0]]
                other = self.texts[self.index[there, max(self.choice[there], 0)]]
                assert isinstance(mine, Item)
                assert isinstance(other, Item)
                pairs.append((here, Item(mine.prompt, other.response, mine.preference)))
        return tuple(sorted(pairs, key=lambda pair: pair[0]))


def fold(
    records: Sequence[Record],
    unit: Unit,
    given: Given = NOTHING,
    options: Sequence[Sequence[AnyItem]] | None = None,
) -> Folding:
    """Number items, users and units in order of first appearance.

    Args:
        records: any number.
        unit: USER or RECORD.
        given: what is not in the records.
        options: items of each record; its texts by default.

    Raises:
        InputError: ``given.preference`` is not a row a record.
    """
    if given.preference is not None and len(given.preference) != len(records):
        raise InputError(
            f"preferences = {len(given.preference)}, must be one a record: "
            f"{len(records)}"
        )
    texts: dict[AnyItem, int] = {}
    users: dict[str, int] = {}
    width = max((len(record.options) for record in records), default=0)
    index = np.full((len(records), width), -1, dtype=np.int64)
    for i, record in enumerate(records):
        users.setdefault(record.user, len(users))
        for j, text in enumerate(record.texts if options is None else options[i]):
            index[i, j] = texts.setdefault(text, len(texts))
    group = np.array([users[record.user] for record in records], dtype=np.int64)
    return Folding(
        texts=tuple(texts),
        index=index,
        choice=_numbers([record.choice for record in records]),
        label=_numbers([record.label for record in records]),
        labels=np.array(
            [[r.labels.get(name, -1) for name in given.objectives] for r in records],
            dtype=np.int64,
        ).reshape(len(records), len(given.objectives)),
        group=group,
        unit=group if unit is Unit.USER else np.arange(len(records), dtype=np.int64),
        weight=np.array([record.weight for record in records], dtype=np.float64),
        given=given,
    )


def _numbers(values: Sequence[int | None]) -> Integer:
    return np.array([-1 if v is None else int(v) for v in values], dtype=np.int64)
