"""Weight gradients of each row of a batch, recorded during one ordinary backward pass.

Guarantees: inside ``recording`` every adapted layer computes what it computes outside,
and its backward leaves ``[rows, *shape]`` on the tape, one gradient a row, in place of
the summed one; outside, the model is as it was, also after an exception. What has no
rule here is refused before the first forward: a trainable parameter that is neither a
plain LoRA weight nor of a ``RowWise`` layer, a layer whose first dimension is not the
number of rows.

Does not: notice a model that mixes rows (batch normalisation); no supported encoder
does, and ``gradients.self_test`` compares with separate passes before a run.

For LoRA the idea is Goodfellow 2015 (gradient of a linear layer = outgoing gradient
times input, a row at a time), with the thin side of the product contracted first. The
few weights of a ``RowWise`` layer are handed to it in one copy a row, and autograd
gives the gradient of each copy.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fedpref.errors import FedprefError, InputError
from fedpref.models.placement import RowWise

Forward = Callable[[Tensor], Tensor]
Rule = tuple[Any, Forward, list[nn.Parameter]]  # a layer, its forward, what it covers

REMEDY = 'set model.engine = "loop", which has no such limit'


@dataclass(eq=False, repr=False)
class Tape:
    """Gradients by parameter name, ``[rows, *shape]`` each, filled by a backward."""

    rows: int
    gradients: dict[str, Tensor] = field(default_factory=dict)

    def add(self, name: str, gradient: Tensor) -> None:
        """Record; a parameter used twice in a pass gets the sum."""
        seen = self.gradients.get(name)
        self.gradients[name] = gradient if seen is None else seen + gradient


@contextmanager
def recording(
    model: nn.Module, parameters: Sequence[tuple[str, nn.Parameter]], rows: int
) -> Iterator[Tape]:
    """Record per-row gradients of ``parameters`` in the forwards run inside.

    Args:
        model: peft's model, or a module with ``RowWise`` layers.
        parameters: every trainable parameter with the name it gets on the tape.
        rows: first dimension of every batch that runs inside.

    Raises:
        InputError: something trainable has no rule.
    """
    name_of = {id(p): name for name, p in parameters}
    tape = Tape(rows)
    layers = [*_lora_layers(model, name_of, tape), *_row_wise(model, name_of, tape)]
    _check_all_covered(model, {id(p) for _, _, known in layers for p in known})
    try:
        for layer, forward, _ in layers:
            layer.forward = forward
        yield tape
    finally:
        for layer, _, _ in layers:
            layer.__dict__.pop("forward", None)


def complete(tape: Tape, parameters: Sequence[tuple[str, nn.Parameter]]) -> None:
    """Refuse a tape on which a parameter's gradient is missing.

    Raises:
        FedprefError: a layer was bypassed, so its gradient is unknown, not zero.
    """
    missing = [name for name, _ in parameters if name not in tape.gradients]
    if missing:
        raise FedprefError(f"no gradient was recorded for {missing[0]}; {REMEDY}")


def _lora_layers(
    model: nn.Module, name_of: dict[int, str], tape: Tape
) -> Iterator[Rule]:
    from peft.tuners.lora.layer import Linear

    candidates: list[Any] = [m for m in model.modules() if type(m) is Linear]
    for layer in candidates:
        if not _is_plain(layer):
            continue
        adapter = layer.active_adapters[0]
        down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
        fixed = not down.requires_grad  # a public A that nobody trains
        if id(up) in name_of and (fixed or id(down) in name_of):
            names = (None if fixed else name_of[id(down)], name_of[id(up)])
            yield layer, _recorder(layer, names, tape), [down, up]


def _row_wise(model: nn.Module, name_of: dict[int, str], tape: Tape) -> Iterator[Rule]:
    """Layers that take one copy of each weight a row."""

    def recorder(layer: RowWise) -> Forward:
        def forward(x: Tensor) -> Tensor:
            _check_rows(x, tape, type(layer).__name__)
            weights = {}
            for name in layer.names:
                weight = getattr(layer, name)
                known = name_of.get(id(weight))
                copies: Any = _Copies.apply
                weights[name] = copies(weight, tape, known) if known else weight[None]
            return layer.through(x, weights)

        return forward

    for layer in model.modules():
        if isinstance(layer, RowWise):
            own = [getattr(layer, name) for name in layer.names]
            yield layer, recorder(layer), [p for p in own if id(p) in name_of]


def _check_all_covered(model: nn.Module, covered: set[int]) -> None:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in covered:
            raise InputError(f"trainable parameter {name} has no rule; {REMEDY}")


def _check_rows(x: Tensor, tape: Tape, name: str) -> None:
    if x.shape[0] != tape.rows:
        raise InputError(
            f"a layer with {name} got a first dimension of {x.shape[0]}, must "
            f"be the number of rows {tape.rows}; {REMEDY}"
        )


def _is_plain(layer: Any) -> bool:
    """One active adapter, no variant (DoRA, ...), no dropout, no bias, not merged."""
    if len(layer.active_adapters) != 1 or layer.merged or layer.disable_adapters:
        return False
    adapter = layer.active_adapters[0]
    if adapter not in layer.lora_A or adapter in layer.lora_variant:
        return False
    dropout = layer.lora_dropout[adapter]
    quiet = not dropout.training or getattr(dropout, "p", 0.0) == 0.0
    return bool(quiet and layer.lora_B[adapter].bias is None)


def _recorder(layer: Any, names: tuple[str | None, str], tape: Tape) -> Forward:
    adapter = layer.active_adapters[0]
    down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    scaling = float(layer.scaling[adapter])

    def forward(x: Tensor) -> Tensor:
        _check_rows(x, tape, names[1])
        below = layer.base_layer(x)
        apply: Any = _LoRA.apply
        out: Tensor = apply(x, below, down, up, scaling, tape, names)
        return out

    return forward


class _LoRA(torch.autograd.Function):
    """``below + scaling * x A' B'``; backward records each row's own gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        below: Tensor,
        down: Tensor,
        up: Tensor,
        scaling: float,
        tape: Tape,
        names: tuple[str | None, str],
    ) -> Tensor:
        inner = x @ down.t()
        ctx.save_for_backward(x, inner, down, up)
        ctx.scaling, ctx.tape, ctx.names = scaling, tape, names
        flat = torch.addmm(
            below.flatten(0, -2), inner.flatten(0, -2), up.t(), alpha=scaling
        )
        return flat.view_as(below)

    @staticmethod
    def backward(ctx: Any, *outgoing: Tensor) -> tuple[Tensor | None, ...]:
        (out,) = outgoing
        x, inner, down, up = ctx.saved_tensors
        scaled = (out @ up).mul_(ctx.scaling)
        ctx.tape.add(ctx.names[1], _per_row(out, inner).mul_(ctx.scaling))
        if ctx.names[0] is not None:
            ctx.tape.add(ctx.names[0], _per_row(scaled, x))
        into_x = scaled @ down if ctx.needs_input_grad[0] else None
        into_below = out if ctx.needs_input_grad[1] else None
        return into_x, into_below, None, None, None, None, None


class _Copies(torch.autograd.Function):
    """One copy of a weight a row; backward records the gradient of each copy."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, tape: Tape, name: str) -> Tensor:
        ctx.tape, ctx.name = tape, name
        return weight.expand(tape.rows, *weight.shape)

    @staticmethod
    def backward(ctx: Any, *outgoing: Tensor) -> tuple[Tensor | None, ...]:
        ctx.tape.add(ctx.name, outgoing[0])
        return None, None, None


def _per_row(outgoing: Tensor, x: Tensor) -> Tensor:
    """``outgoing' x`` of each row: ``[rows, out, in]`` from ``[rows, ..., out|in]``."""
    rows = x.shape[0]
    a = outgoing.reshape(rows, -1, outgoing.shape[-1])
    b = x.reshape(rows, -1, x.shape[-1])
    # The rank is the thin side. With it as the left factor the kernel is up to three
    # times faster than the other way round.
    if a.shape[-1] > b.shape[-1]:
        return torch.bmm(b.transpose(1, 2), a).transpose(1, 2)
    return torch.bmm(a.transpose(1, 2), b)
