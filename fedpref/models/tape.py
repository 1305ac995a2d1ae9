"""Weight gradients of each row of a batch, recorded during one ordinary backward pass.

Guarantees: inside ``recording`` every LoRA layer computes what peft computes, and its
backward leaves ``[rows, *shape]`` on the tape, one gradient a row, in place of the
summed one; outside, the model is stock peft again, also after an exception. What has
no rule here is refused before the first forward: a trainable parameter that is not a
plain LoRA weight, a layer whose first dimension is not the number of rows.

Does not: notice a model that mixes rows (batch normalisation); no supported encoder
does, and ``gradients.self_test`` compares with separate passes before a run.

The idea is Goodfellow 2015 (gradient of a linear layer = outgoing gradient times
input, a row at a time), with the thin side of the product contracted first.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fedpref.errors import FedprefError, InputError

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
        model: peft's model.
        parameters: every trainable parameter with the name it gets on the tape.
        rows: first dimension of every batch that runs inside.

    Raises:
        InputError: something trainable has no rule.
    """
    layers = _plain_lora_layers(model, dict(parameters))
    tape = Tape(rows)
    try:
        for layer, names in layers:
            layer.forward = _recorder(layer, names, tape)
        yield tape
    finally:
        for layer, _ in layers:
            layer.__dict__.pop("forward", None)


def complete(tape: Tape, parameters: Sequence[tuple[str, nn.Parameter]]) -> None:
    """Refuse a tape on which a parameter's gradient is missing.

    Raises:
        FedprefError: a layer was bypassed, so its gradient is unknown, not zero.
    """
    missing = [name for name, _ in parameters if name not in tape.gradients]
    if missing:
        raise FedprefError(f"no gradient was recorded for {missing[0]}; {REMEDY}")


def _plain_lora_layers(
    model: nn.Module, parameters: dict[str, nn.Parameter]
) -> list[tuple[Any, tuple[str, str]]]:
    from peft.tuners.lora.layer import Linear

    name_of = {id(p): name for name, p in parameters.items()}
    layers: list[tuple[Any, tuple[str, str]]] = []
    covered = set()
    candidates: list[Any] = [m for m in model.modules() if type(m) is Linear]
    for layer in candidates:
        if not _is_plain(layer):
            continue
        adapter = layer.active_adapters[0]
        pair = (layer.lora_A[adapter].weight, layer.lora_B[adapter].weight)
        if all(id(p) in name_of for p in pair):
            layers.append((layer, (name_of[id(pair[0])], name_of[id(pair[1])])))
            covered |= {id(p) for p in pair}
    for p_name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in covered:
            raise InputError(f"trainable parameter {p_name} has no rule; {REMEDY}")
    return layers


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


def _recorder(layer: Any, names: tuple[str, str], tape: Tape) -> Any:
    adapter = layer.active_adapters[0]
    down, up = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    scaling = float(layer.scaling[adapter])

    def forward(x: Tensor) -> Tensor:
        if x.shape[0] != tape.rows:
            raise InputError(
                f"a layer with {names[0]} got a first dimension of {x.shape[0]}, must "
                f"be the number of rows {tape.rows}; {REMEDY}"
            )
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
        names: tuple[str, str],
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
        ctx.tape.add(ctx.names[0], _per_row(scaled, x))
        into_x = scaled @ down if ctx.needs_input_grad[0] else None
        into_below = out if ctx.needs_input_grad[1] else None
        return into_x, into_below, None, None, None, None, None


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
