"""PBLoRA: a low-rank update that depends on the preference among objectives.

    y = base(x) + alpha / r2 * (B1 W1 A1 + B2 (sum_k p_k W2_k) A2) x

A is ``[r1 + r2, inputs]``, B ``[outputs, r1 + r2]``, W1 ``[r1, r1]``, W2 ``[k, r2,
r2]``, and p is a row's preference, k weights. A, the block-diagonal middle and B are
applied one after the other; the product of the three is never formed.

Source: PARM (arXiv 2505.06274) and its released code. Reconstruction where only the
code was readable. Departures: p belongs to a row, not to a batch; ``train = "middle"``
(W1 and W2 alone, A and B random and fixed, W = 0 at the start) is ours: the update is
linear in W, so averaging W is averaging the update.

Guarantees: at the start the adapted base is the frozen one, for every preference; the
output of a row depends on that row and its own preference.

Does not: make a preference public. A person's own stays on the device, inside the
clipped contribution.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.models.bases import Base, twin, upper
from fedpref.models.placement import (
    Adapted,
    RowWise,
    check_layers,
    check_named,
    check_positive,
    check_targets,
    check_whole,
    first_layer,
    is_linear,
    matches,
    uniform,
    widths,
)

WEIGHTS = ("pblora_A", "pblora_B", "pblora_W1", "pblora_W2")
MIDDLE = WEIGHTS[2:]


@dataclass(frozen=True)
class PBLoRA:
    """Settings of a PBLoRA adapter.

    Args:
        targets: names of linear layers.
        objectives: k, how many weights a preference has.
        shared: r1, the rank that every preference shares.
        preferred: r2, the rank that depends on the preference.
        layers: ``"last:N"`` or ``"all"``.
        alpha: the update is multiplied by ``alpha / preferred``; ``2 * preferred`` by
            default, as in the released settings.
        train: ``"middle"``: W1 and W2, shared² + objectives * preferred² numbers a
            layer; ``"all"``: A and B too, with B = 0 at the start.
        scale: of the adapter's blocks in the trained vector (``core.types.Block``).
        seed: public seed of everything that is drawn.

    >>> PBLoRA(("q_proj",), objectives=2).middle_numbers
    48
    """

    targets: tuple[str, ...]
    objectives: int
    shared: int = 4
    preferred: int = 4
    layers: str = "last:1"
    alpha: float | None = None
    train: Literal["middle", "all"] = "middle"
    scale: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_named(self.targets)
        check_whole("objectives", self.objectives)
        check_whole("shared", self.shared)
        check_whole("preferred", self.preferred)
        check_layers(self.layers)
        check_positive("scale", self.scale)
        if self.alpha is not None:
            check_positive("alpha", self.alpha)
        if self.train not in ("middle", "all"):
            raise InputError(
                f'adapter.train = {self.train!r}, must be "middle" or "all"'
            )

    @property
    def middle_numbers(self) -> int:
        """Numbers of W1 and W2 in one layer."""
        return self.shared**2 + self.objectives * self.preferred**2


class Preference:
    """The preferences of the rows that are on their way through: ``[rows, k]``.

    Without any, all objectives count alike.
    """

    def __init__(self, objectives: int) -> None:
        self._alike = torch.full((1, objectives), 1 / objectives, dtype=torch.float64)
        self.value = self._alike

    @contextmanager
    def of(self, value: Tensor | None) -> Iterator[None]:
        """Rows inside have these; ``None`` for all alike."""
        before, self.value = self.value, self._alike if value is None else value
        try:
            yield
        finally:
            self.value = before


class PBLinear(RowWise):
    """A linear layer with its update."""

    names = WEIGHTS

    def __init__(self, layer: Any, settings: PBLoRA, preference: Preference) -> None:
        super().__init__()
        inputs, outputs = widths(layer)
        r1, r2, like = settings.shared, settings.preferred, layer.weight
        self.base_layer = layer
        self.pblora_A = nn.Parameter(like.new_zeros(r1 + r2, inputs))
        self.pblora_B = nn.Parameter(like.new_zeros(outputs, r1 + r2))
        self.pblora_W1 = nn.Parameter(like.new_zeros(r1, r1))
        self.pblora_W2 = nn.Parameter(like.new_zeros(settings.objectives, r2, r2))
        self.scaling = (settings.alpha or 2 * r2) / r2
        self._shared, self._preference = r1, preference

    def through(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """``base(x) + scaling * B (W1 | sum_k p_k W2_k) A x``, row by row."""
        down, up, shared, preferred = (weights[name] for name in WEIGHTS)
        preference = self._preference.value.to(x.dtype)
        if len(preference) not in (1, len(x)):
            raise InputError(
                f"preferences = {len(preference)}, must be one a row: {len(x)}"
            )
        inner = x @ down.transpose(1, 2)
        first, second = inner[..., : self._shared], inner[..., self._shared :]
        mixed = (preference[:, :, None, None] * preferred).sum(1)
        middle = torch.cat(
            [first @ shared.transpose(1, 2), second @ mixed.transpose(1, 2)], dim=-1
        )
        out: Tensor = self.base_layer(x)
        return out + self.scaling * (middle @ up.transpose(1, 2))


def adapt_pblora(base: Base, settings: PBLoRA) -> Adapted:
    """Put the adapter on a twin of ``base``."""
    copy = twin(base)
    depth = first_layer(settings.layers, copy.depth)
    layers = list(copy.family.layers(copy.backbone))[depth:]
    check_targets(layers, settings.targets)
    preference = Preference(settings.objectives)
    for layer in layers:
        _replace(layer, settings, preference)
    trained = MIDDLE if settings.train == "middle" else WEIGHTS
    named = [(n, p) for n, p in copy.backbone.named_parameters() if _own(n) in WEIGHTS]
    values = _start(named, settings)
    for name, parameter in named:
        parameter.requires_grad_(_own(name) in trained)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values[name]))

    def top(hidden: Tensor, mask: Tensor, given: Tensor | None) -> Tensor:
        return upper(copy, hidden, mask, depth, around=lambda: preference.of(given))

    return Adapted(
        base=copy,
        module=copy.backbone,
        parameters=tuple((n, p) for n, p in named if p.requires_grad),
        start={n: values[n] for n, p in named if p.requires_grad},
        depth=depth,
        top=top,
        frozen=tuple((n, p) for n, p in named if not p.requires_grad),
        objectives=settings.objectives,
    )


def _replace(layer: nn.Module, settings: PBLoRA, preference: Preference) -> None:
    for name, module in list(layer.named_modules()):
        wanted = any(matches(name, target) for target in settings.targets)
        if wanted and is_linear(module):
            parent, _, own = name.rpartition(".")
            adapted = PBLinear(module, settings, preference)
            setattr(layer.get_submodule(parent), own, adapted)


def _start(named: list[tuple[str, nn.Parameter]], settings: PBLoRA) -> dict[str, Float]:
    """All from the seed, but zero: W where it alone is trained, else B."""
    zero = MIDDLE if settings.train == "middle" else ("pblora_B",)
    draw = np.random.default_rng(settings.seed)
    values = {}
    for name, parameter in named:
        shape = tuple(parameter.shape)
        # The released code keeps W2 as k rows of r2² numbers, and draws it as such.
        inputs = int(np.prod(shape[1:]))
        values[name] = (
            np.zeros(shape) if _own(name) in zero else uniform(draw, shape, inputs)
        )
    return values


def _own(name: str) -> str:
    return name.rpartition(".")[2]
