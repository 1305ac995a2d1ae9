"""Where an adapter goes, and what every kind of adapter is once it is there.

Guarantees: ``Adapted`` names every trained parameter in a stable order and says where
each starts, from a public seed; what is ``frozen`` is public and the same for everyone.

Does not: keep any randomness secret; the seed is a public constant of the plan.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.models.bases import Base

Named = tuple[tuple[str, nn.Parameter], ...]
Top = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Adapted:
    """An adapter on a base.

    Args:
        base: with the adapter in it; weights are those of the frozen base.
        module: everything trainable is inside; what the tape records over.
        parameters: the trained ones, by name, in a stable order.
        start: where each of them starts.
        depth: how many of the base's layers lie below everything that is trained.
        top: from hidden states below layer ``depth``, their mask and preferences
            ``[rows, objectives]`` to the base's output.
        pooled: what becomes of pooled hidden states on their way to the head.
        frozen: numbers of the adapter that stay as they were drawn.
        objectives: how many weights a preference has; 0 where none is read.
        peft: peft's model where the adapter is one of peft's.
    """

    base: Base
    module: nn.Module
    parameters: Named
    start: Mapping[str, Float]
    depth: int
    top: Top
    pooled: Callable[[Tensor], Tensor] = lambda pooled: pooled
    frozen: Named = ()
    objectives: int = 0
    peft: Any = field(default=None)


class RowWise(nn.Module, ABC):
    """A layer with small weights of its own, which may differ from row to row.

    The tape hands ``through`` one copy of each trained weight a row; the plain forward
    hands it one copy for all.
    """

    names: tuple[str, ...]

    @abstractmethod
    def through(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The layer's output.

        Args:
            x: ``[rows, tokens, width]``.
            weights: by name, ``[rows, *shape]`` or ``[1, *shape]``.
        """

    def forward(self, x: Tensor) -> Tensor:
        """The same weights for every row."""
        return self.through(x, {name: getattr(self, name)[None] for name in self.names})


def check_layers(layers: str) -> None:
    """Refuse what is neither ``"all"`` nor ``"last:N"``."""
    if not re.fullmatch(r"all|last:[1-9]\d*", layers):
        raise InputError(
            f'adapter.layers = {layers!r}, must be "all" or "last:N", N >= 1'
        )


def check_positive(name: str, value: float) -> None:
    """Refuse a number that is not above 0 and finite."""
    if not 0 < value < float("inf"):
        raise InputError(f"adapter.{name} = {value}, must be above 0 and finite")


def check_whole(name: str, value: int, least: int = 1) -> None:
    """Refuse a whole number below ``least``."""
    if value < least:
        raise InputError(f"adapter.{name} = {value}, must be {least} or more")


def check_named(targets: Sequence[str]) -> None:
    """Refuse an adapter without a target."""
    if not targets:
        raise InputError("adapter.targets is empty; name at least one linear layer")


def first_layer(layers: str, depth: int) -> int:
    """Index of the lowest adapted layer among ``depth`` layers.

    Raises:
        InputError: there are fewer layers than asked for.

    >>> first_layer("last:2", 6)
    4
    """
    if layers == "all":
        return 0
    count = int(layers.removeprefix("last:"))
    if count > depth:
        raise InputError(
            f"adapter.layers = {layers!r}: the encoder has {depth} layers; "
            f'set "last:{depth}" or "all"'
        )
    return depth - count


def is_linear(module: nn.Module) -> bool:
    """Whether it is a linear layer; GPT-2 calls its own ``Conv1D``."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def widths(layer: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear layer."""
    first, second = (int(size) for size in layer.weight.shape)
    return (second, first) if isinstance(layer, nn.Linear) else (first, second)


def check_targets(layers: Sequence[nn.Module], targets: Sequence[str]) -> None:
    """Refuse a target that no chosen layer has.

    Raises:
        InputError: the message names the linear layers that there are.
    """
    names = [name for name, m in layers[0].named_modules() if is_linear(m)]
    for target in targets:
        if not any(matches(name, target) for name in names):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in names}))
            raise InputError(
                f"adapter.targets: the encoder has no linear layer {target!r}; "
                f"it has {known}"
            )


def matches(name: str, target: str) -> bool:
    """Whether a module's name ends in a target.

    >>> matches("attention.self.query", "query"), matches("my_query", "query")
    (True, False)
    """
    return name == target or name.endswith("." + target)


def uniform(draw: np.random.Generator, shape: tuple[int, ...], inputs: int) -> Float:
    """Uniform in +-1/sqrt(inputs): Kaiming's bound with a = sqrt(5), as peft has it."""
    bound = inputs**-0.5
    return draw.uniform(-bound, bound, shape)
