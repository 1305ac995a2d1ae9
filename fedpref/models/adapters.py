"""LoRA on chosen layers of a frozen base, through peft; and the door to every adapter.

Guarantees: only the named linear layers of the chosen top layers get an adapter, with
no dropout and no variant; the adapted base starts exactly as the frozen one (B = 0); A
is drawn from a public seed, so every party starts from the same numbers. With
``freeze_a`` it stays there, and averaging B is then averaging B A.

Does not: keep any randomness secret; the seed is a public constant of the plan.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedpref.core.types import Float
from fedpref.models.bases import Base, twin, upper
from fedpref.models.pblora import PBLoRA, adapt_pblora
from fedpref.models.placement import (
    Adapted,
    Named,
    check_layers,
    check_named,
    check_positive,
    check_targets,
    check_whole,
    first_layer,
    uniform,
)
from fedpref.models.repcali import RepCali, adapt_repcali


@dataclass(frozen=True)
class Adapter:
    """Settings of a LoRA adapter (Hu et al. 2021).

    Args:
        rank: inner dimension of each update ``B A``.
        targets: names of linear layers, such as ``("query", "value")``.
        layers: ``"last:N"`` or ``"all"``.
        alpha: peft multiplies ``B A`` by ``alpha / rank``, or by ``alpha / sqrt(rank)``
            with ``rslora``; ``2 * rank`` by default, with ``rslora`` 8.
        scale: of the adapter's blocks in the trained vector (``core.types.Block``).
        seed: public seed of the start of A.
        rslora: the scale of Kalajdzievski (2023, *A Rank Stabilization Scaling Factor
            for Fine-Tuning with LoRA*), which does not shrink as the rank grows.
        freeze_a: train B alone (Sun et al. 2024, *Improving LoRA in Privacy-preserving
            Federated Learning*): what is averaged is then linear in what is trained.

    >>> Adapter(rank=4, targets=("query",), layers="last:2").first(6)
    4
    """

    rank: int
    targets: tuple[str, ...]
    layers: str = "last:1"
    alpha: float | None = None
    scale: float = 0.1
    seed: int = 0
    rslora: bool = False
    freeze_a: bool = False

    def __post_init__(self) -> None:
        check_whole("r", self.rank)
        check_named(self.targets)
        check_positive("scale", self.scale)
        if self.alpha is not None:
            check_positive("alpha", self.alpha)
        check_layers(self.layers)

    def first(self, depth: int) -> int:
        """Index of the lowest adapted layer among ``depth`` layers.

        Raises:
            InputError: there are fewer layers than asked for.
        """
        return first_layer(self.layers, depth)


AnyAdapter = Adapter | PBLoRA | RepCali
KINDS: Mapping[str, type[AnyAdapter]] = {
    "lora": Adapter,
    "pblora": PBLoRA,
    "repcali": RepCali,
}
"""By the name that scenarios and saved models call them."""


def adapt(base: Base, adapter: AnyAdapter) -> Adapted:
    """Put an adapter on a twin of ``base``, which itself stays as it is.

    Raises:
        InputError: the base lacks a layer or a target that the settings name.
    """
    if isinstance(adapter, PBLoRA):
        return adapt_pblora(base, adapter)
    if isinstance(adapter, RepCali):
        return adapt_repcali(base, adapter)
    return _adapt_lora(base, adapter)


def start(
    parameters: Sequence[tuple[str, nn.Parameter]], seed: int
) -> dict[str, Float]:
    """Where LoRA starts: A uniform in +-1/sqrt(inputs) from ``seed``, B zero."""
    draw = np.random.default_rng(seed)
    return {
        name: uniform(draw, tuple(parameter.shape), parameter.shape[1])
        if ".lora_A." in name
        else np.zeros(tuple(parameter.shape))
        for name, parameter in parameters
    }


def _adapt_lora(base: Base, adapter: Adapter) -> Adapted:
    copy = twin(base)
    depth = adapter.first(copy.depth)
    check_targets(list(copy.family.layers(copy.backbone))[depth:], adapter.targets)
    model = _peft_model(copy, adapter, depth)
    named = tuple(
        (_short(name), p) for name, p in model.named_parameters() if p.requires_grad
    )
    values = start(named, adapter.seed)
    frozen: Named = ()
    if adapter.freeze_a:
        frozen = tuple((name, p) for name, p in named if ".lora_A." in name)
        named = tuple((name, p) for name, p in named if ".lora_A." not in name)
        for name, parameter in frozen:
            parameter.requires_grad_(False)
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(values.pop(name)))

    def top(hidden: Tensor, mask: Tensor, _: Tensor | None) -> Tensor:
        return upper(copy, hidden, mask, depth)

    return Adapted(copy, model, named, values, depth, top, frozen=frozen, peft=model)


def _peft_model(base: Base, adapter: Adapter, depth: int) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha or (8.0 if adapter.rslora else 2 * adapter.rank),
        use_rslora=adapter.rslora,
        fan_in_fan_out=base.family.transposed,
        lora_dropout=0.0,
        bias="none",
        target_modules=sorted(adapter.targets),
        layers_to_transform=list(range(depth, base.depth)),
        layers_pattern=base.family.layers_pattern,
        base_model_name_or_path=base.name,
        task_type=TaskType.FEATURE_EXTRACTION,
    )
    with warnings.catch_warnings():
        # peft 0.21 asks transformers 5 about gradient checkpointing by an old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        model = get_peft_model(base.backbone, config, autocast_adapter_dtype=False)
    return model.to(base.dtype).eval()


def _short(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".default.", ".")
