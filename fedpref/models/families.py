"""How each supported architecture is taken apart: one ``Family`` each.

Guarantees: running ``embed``, every layer with ``context`` and ``finish`` gives what
the architecture's own forward gives at real tokens; no token sees padding.

Does not: cover sliding-window attention (``bases`` refuses it where a text could be
longer than the window), or padding anywhere but on the right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """How one architecture is taken apart.

    ``embed(backbone, ids)`` gives the hidden states below the first layer,
    ``context(backbone, hidden, mask)`` the keyword arguments of every layer,
    ``finish(backbone, hidden)`` what follows the last one, and ``pool(hidden, mask)``
    the one vector a row that a reward head reads, ``[rows, hidden]``. ``transposed``
    says that linear layers are ``Conv1D``, whose weights are ``[in, out]``.
    """

    layers: Callable[[Any], nn.ModuleList]
    layers_pattern: str
    embed: Callable[[Any, Tensor], Tensor]
    context: Callable[[Any, Tensor, Tensor], Mapping[str, Any]]
    finish: Callable[[Any, Tensor], Tensor]
    pool: Callable[[Tensor, Tensor], Tensor]
    transposed: bool = False


def mean_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens, ``[rows, hidden]``: usual for encoders."""
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def last_token(hidden: Tensor, mask: Tensor) -> Tensor:
    """The last real token, ``[rows, hidden]``: the one that has seen all others.

    >>> hidden = torch.arange(6.0).reshape(2, 3, 1)
    >>> last_token(hidden, torch.tensor([[True, False, False], [True, True, True]]))
    tensor([[0.],
            [5.]])
    """
    return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where attention is allowed, the lowest finite number elsewhere."""
    bias = torch.zeros(allowed.shape, dtype=dtype)
    return bias.masked_fill(~allowed, torch.finfo(dtype).min)


def _bert_context(_: Any, hidden: Tensor, mask: Tensor) -> Mapping[str, Any]:
    return {"attention_mask": _additive(mask[:, None, None, :], hidden.dtype)}


def _causal(hidden: Tensor, mask: Tensor) -> Tensor:
    # Padding is on the right, so a real token never attends to it under the causal
    # mask, positions count from 0 in every row, and no row of the mask is empty.
    length = hidden.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return _additive(causal[None, None] & mask[:, None, None, :], hidden.dtype)


def _rotary_context(backbone: Any, hidden: Tensor, mask: Tensor) -> Mapping[str, Any]:
    positions = torch.arange(hidden.shape[1])[None, :]
    return {
        "attention_mask": _causal(hidden, mask),
        "position_ids": positions,
        "position_embeddings": backbone.rotary_emb(hidden, positions),
    }


def _gpt2_embed(backbone: Any, ids: Tensor) -> Tensor:
    positions = torch.arange(ids.shape[1])[None, :]
    embedded: Tensor = backbone.wte(ids) + backbone.wpe(positions)
    return embedded


BERT = Family(
    layers=lambda backbone: backbone.encoder.layer,
    layers_pattern="layer",
    embed=lambda backbone, ids: backbone.embeddings(input_ids=ids),
    context=_bert_context,
    finish=lambda _, hidden: hidden,
    pool=mean_of_tokens,
)
LLAMA = Family(
    layers=lambda backbone: backbone.layers,
    layers_pattern="layers",
    embed=lambda backbone, ids: backbone.embed_tokens(ids),
    context=_rotary_context,
    finish=lambda backbone, hidden: backbone.norm(hidden),
    pool=last_token,
)
GPT2 = Family(
    layers=lambda backbone: backbone.h,
    layers_pattern="h",
    embed=_gpt2_embed,
    context=lambda _, hidden, mask: {"attention_mask": _causal(hidden, mask)},
    finish=lambda backbone, hidden: backbone.ln_f(hidden),
    pool=last_token,
    transposed=True,
)

FAMILIES: Mapping[str, Family] = {
    "BertModel": BERT,
    "GPT2Model": GPT2,
    "LlamaModel": LLAMA,
    "Qwen2Model": LLAMA,  # the same parts under the same names
    "Qwen3Model": LLAMA,
}
