"""What a model puts one number on: a response to a prompt, under a preference.

Guarantees: two items are equal exactly where every model gives them the same number;
``repr`` shows nothing, as items are made of private records.

Does not: tokenise. A text without a preference may stand for its item as a plain
string, as in public catalogues.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedpref.core.types import Float, Record
from fedpref.errors import InputError


@dataclass(frozen=True, repr=False)
class Item:
    """A response, what it answers, and the weights of the objectives."""

    prompt: str
    response: str
    preference: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """Prompt and response as a reward model reads them."""
        return f"{self.prompt}\n{self.response}" if self.prompt else self.response

    def __repr__(self) -> str:
        return "Item(contents hidden)"


AnyItem = str | Item


def text_of(item: AnyItem) -> str:
    """What a reward model reads."""
    return item if isinstance(item, str) else item.text


def items_of(record: Record, preference: tuple[float, ...] = ()) -> tuple[Item, ...]:
    """One item for each option of a record."""
    return tuple(Item(record.prompt, option, preference) for option in record.options)


def preferences_of(items: Sequence[AnyItem], objectives: int) -> Tensor | None:
    """Weights of each item, float64 ``[items, objectives]``; those without count alike.

    ``None`` where a model has no objectives to weigh.

    Raises:
        InputError: an item has weights of another number.
    """
    if not objectives:
        return None
    alike = (1 / objectives,) * objectives
    rows = [(alike if isinstance(i, str) else i.preference or alike) for i in items]
    if any(len(row) != objectives for row in rows):
        raise InputError(
            f"weights of a preference = {max(map(len, rows))}, must be {objectives}: "
            "one for each objective of the adapter"
        )
    return torch.tensor(rows, dtype=torch.float64)


def public_preferences(
    records: int, objectives: int, *, concentration: float, seed: int
) -> Float:
    """Preferences drawn for the records of a round, Dirichlet, ``[records, k]``.

    They are drawn from a public seed and depend on nobody's answers.

    Args:
        records: how many.
        objectives: k.
        concentration: of each objective; 0.5 in PARM's released settings.
        seed: public.

    >>> drawn = public_preferences(2, 3, concentration=0.5, seed=0)
    >>> drawn.shape, drawn.sum(axis=1).round(12).tolist()
    ((2, 3), [1.0, 1.0])
    """
    draw = np.random.default_rng(seed)
    return draw.dirichlet(np.full(objectives, concentration), size=records)
