"""What reward models and policies share: a frozen base and one flat trained vector.

    parameter = start + scale * block of the vector

Guarantees: the vector starts at zero, where every parameter is at its public start;
what a model says of an item depends on that item and the vector alone.

Does not: say what that is. ``reward`` gives a score, ``policy`` a log-probability.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedpref.core.types import Block, Float, Layout, Record
from fedpref.errors import InputError
from fedpref.models.adapters import AnyAdapter, adapt
from fedpref.models.bases import Base
from fedpref.models.items import AnyItem, items_of
from fedpref.models.placement import Adapted, Named


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Cached activations of some items, padded to one length.

    ``positions`` says which of the asked-for items the rows are; ``hidden`` is
    ``[rows, tokens, hidden]``, ``mask`` ``[rows, tokens]`` and ``preference``
    ``[rows, objectives]``. A policy's ``targets`` ``[rows, tokens]`` are the response
    tokens, each where it is predicted; -1 elsewhere.
    """

    positions: list[int]
    hidden: Tensor
    mask: Tensor
    preference: Tensor | None = None
    targets: Tensor | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Valued:
    """Values of items ``[rows]``, float64 with their graph.

    ``rows`` holds gradients of each value that need no tape, ``[rows, *shape]`` by
    block name.
    """

    values: Tensor
    rows: Mapping[str, Tensor]


class Trained(ABC):
    """A model with a trained vector; see the module's docstring.

    Args:
        base: the frozen base; it is shared, never changed.
        adapter: settings; None for a model that trains a head alone.
    """

    provides: frozenset[str]
    """Names of objectives' arguments that this model can serve."""

    layout: Layout
    start: Mapping[str, Float]

    def __init__(self, base: Base, adapter: AnyAdapter | None) -> None:
        self.base = base
        self.adapter = adapter
        self.adapted: Adapted | None = adapt(base, adapter) if adapter else None
        self.depth = self.adapted.depth if self.adapted else base.depth

    def begin(
        self, own: Mapping[str, Float], start: Mapping[str, Float] | None
    ) -> None:
        """Lay out the adapter's blocks and then ``own``, and move to the start.

        Args:
            own: start of the blocks that are not the adapter's.
            start: parameters by block name where training starts, if not the usual.
        """
        scale = self.adapter.scale if self.adapter else 1.0
        blocks = [Block(name, tuple(p.shape), scale) for name, p in self.trainable]
        blocks += [Block(name, value.shape) for name, value in own.items()]
        usual = {**(self.adapted.start if self.adapted else {}), **own}
        self.start = usual if start is None else dict(start)
        self.layout = Layout(tuple(blocks))
        _check_start(self.layout, self.start)
        self.set(self.initial())

    @property
    def trainable(self) -> Named:
        """The adapter's parameters by block name; a head is not a module's."""
        return self.adapted.parameters if self.adapted else ()

    @property
    def objectives(self) -> int:
        """How many weights a preference has; 0 where the model reads none."""
        return self.adapted.objectives if self.adapted else 0

    @property
    def vector(self) -> Float:
        """The current vector, ``[size]`` (a copy)."""
        return self._vector.copy()

    def initial(self) -> Float:
        """The vector before training: zeros, ``[size]``."""
        return np.zeros(self.layout.size)

    def set(self, vector: Float) -> None:
        """Move to ``vector``; adapter weights are rounded to the base's type."""
        values = parameters_at(self.layout, self.start, vector)
        with torch.no_grad():
            for name, parameter in self.trainable:
                parameter.copy_(torch.from_numpy(values[name]))
        self._values = values
        self._vector = vector.astype(np.float64)

    def items(
        self, record: Record, preference: tuple[float, ...]
    ) -> tuple[AnyItem, ...]:
        """One item for each option of a record, without a preference it cannot read."""
        return items_of(record, preference if self.objectives else ())

    @abstractmethod
    def batches(self, items: Sequence[AnyItem]) -> Iterator[Batch]:
        """Cached activations below the adapter, in batches of similar length."""

    @abstractmethod
    def valued(self, batch: Batch) -> Valued:
        """What the model says of a batch's items."""

    @abstractmethod
    def graph(self, items: Sequence[AnyItem]) -> tuple[Tensor, list[Tensor]]:
        """Values ``[items]`` with a graph to the blocks, which come in their order."""

    def values(self, items: Sequence[AnyItem]) -> Float:
        """What the model says of each item, ``[items]``, without gradients."""
        with torch.no_grad():
            found: Float = self.graph(items)[0].numpy()
            return found

    def fixed(self, items: Sequence[AnyItem]) -> tuple[Float, Float] | None:
        """Values ``[items]`` and their gradients where no pass is needed for them."""
        return None

    def known(self, name: str, items: Sequence[AnyItem]) -> Float:
        """An argument of objectives that does not move with the vector, ``[items]``."""
        raise InputError(f"{name} is not what this model knows of an item")


def parameters_at(
    layout: Layout, start: Mapping[str, Float], vector: Float
) -> dict[str, Float]:
    """``start + scale * vector`` by block name, float64.

    Raises:
        InputError: the vector is not of the layout's size.
    """
    if vector.shape != (layout.size,):
        raise InputError(
            f"vector has shape {vector.shape}, must be ({layout.size},): "
            "is it from a model with other settings?"
        )
    parts = layout.split(vector)
    return {b.name: start[b.name] + b.scale * parts[b.name] for b in layout.blocks}


def _check_start(layout: Layout, start: Mapping[str, Float]) -> None:
    for block in layout.blocks:
        shape = start[block.name].shape if block.name in start else None
        if shape != block.shape:
            raise InputError(
                f"start of {block.name} has shape {shape}, must be {block.shape}: "
                "is it from a model with other settings?"
            )
