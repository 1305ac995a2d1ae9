"""LoRA on chosen layers of a frozen encoder, through peft.

Guarantees: only the named linear layers of the chosen top layers get an adapter, with
no dropout and no variant; the adapted encoder starts exactly as the frozen one
(B = 0); A is drawn from a public seed, so every party starts from the same numbers.

Does not: keep any randomness secret; the seed is a public constant of the plan.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.models.bases import Base, twin


@dataclass(frozen=True)
class Adapter:
    """Settings of a LoRA adapter (Hu et al. 2021).

    Args:
        rank: inner dimension of each update ``B A``.
        targets: names of linear layers, such as ``("query", "value")``.
        layers: ``"last:N"`` or ``"all"``.
        alpha: peft multiplies ``B A`` by ``alpha / rank``; ``2 * rank`` by default.
        scale: of the adapter's blocks in the trained vector (``core.types.Block``).
        seed: public seed of the start of A.

    >>> Adapter(rank=4, targets=("query",), layers="last:2").first(6)
    4
    """

    rank: int
    targets: tuple[str, ...]
    layers: str = "last:1"
    alpha: float | None = None
    scale: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InputError(f"adapter.r = {self.rank}, must be 1 or more")
        if not self.targets:
            raise InputError("adapter.targets is empty; name at least one linear layer")
        if not 0 < self.scale < float("inf"):
            raise InputError(
                f"adapter.scale = {self.scale}, must be above 0 and finite"
            )
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            raise InputError(
                f"adapter.alpha = {self.alpha}, must be above 0 and finite"
            )
        if not re.fullmatch(r"all|last:[1-9]\d*", self.layers):
            raise InputError(
                f'adapter.layers = {self.layers!r}, must be "all" or "last:N", N >= 1'
            )

    def first(self, depth: int) -> int:
        """Index of the lowest adapted layer among ``depth`` layers.

        Raises:
            InputError: there are fewer layers than asked for.
        """
        if self.layers == "all":
            return 0
        count = int(self.layers.removeprefix("last:"))
        if count > depth:
            raise InputError(
                f"adapter.layers = {self.layers!r}: the encoder has {depth} layers; "
                f'set "last:{depth}" or "all"'
            )
        return depth - count


@dataclass(frozen=True, eq=False, repr=False)
class Adapted:
    """An adapted encoder: peft's model, and its parameters in a stable order."""

    base: Base
    peft: Any
    parameters: tuple[tuple[str, nn.Parameter], ...]


def adapt(base: Base, adapter: Adapter) -> Adapted:
    """Put the adapter on a twin of ``base``, which itself stays as it is.

    Raises:
        InputError: a target that no chosen layer has; the message names those it has.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    copy = twin(base)
    layers = list(copy.family.layers(copy.backbone))
    first = adapter.first(len(layers))
    _check_targets(layers[first:], adapter.targets)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha or 2 * adapter.rank,
        lora_dropout=0.0,
        bias="none",
        target_modules=sorted(adapter.targets),
        layers_to_transform=list(range(first, len(layers))),
        layers_pattern=copy.family.layers_pattern,
        base_model_name_or_path=base.name,
        task_type=TaskType.FEATURE_EXTRACTION,
    )
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5 about gradient checkpointing by an old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        model = get_peft_model(copy.backbone, config, autocast_adapter_dtype=False)
    model.to(base.dtype).eval()
    parameters = tuple(
        (_short(name), p) for name, p in model.named_parameters() if p.requires_grad
    )
    return Adapted(copy, model, parameters)


def start(
    parameters: Sequence[tuple[str, nn.Parameter]], seed: int
) -> dict[str, Float]:
    """Where training starts: A uniform in +-1/sqrt(inputs) from ``seed``, B zero."""
    draw = np.random.default_rng(seed)
    values = {}
    for name, parameter in parameters:
        shape = tuple(parameter.shape)
        bound = shape[1] ** -0.5 if ".lora_A." in name else 0.0
        values[name] = draw.uniform(-bound, bound, shape) if bound else np.zeros(shape)
    return values


def _check_targets(layers: Sequence[nn.Module], targets: Sequence[str]) -> None:
    names = [n for n, m in layers[0].named_modules() if isinstance(m, nn.Linear)]
    for target in targets:
        if not any(name == target or name.endswith("." + target) for name in names):
            known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in names}))
            raise InputError(
                f"adapter.targets: the encoder has no linear layer {target!r}; "
                f"it has {known}"
            )


def _short(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".default.", ".")
