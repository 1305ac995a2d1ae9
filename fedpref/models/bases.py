"""Frozen encoders, split at a depth.

Guarantees: the encoder is loaded from a local folder (no network), in evaluation mode
and with no trainable parameter; running ``lower`` and then ``upper`` gives what the
encoder's own forward gives, at any depth; padding changes a row by rounding only.

Does not: train, tokenise anything longer than ``max_tokens`` (the rest is cut off), or
support an architecture without a rule below. A new one is one more ``Family``.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedpref.errors import InputError, SetupError

MAX_TOKENS = 512


@dataclass(frozen=True)
class Family:
    """How one architecture is taken apart.

    ``embed(backbone, ids)`` gives the hidden states below the first layer,
    ``context(backbone, hidden, mask)`` the keyword arguments of every layer, and
    ``finish(backbone, hidden)`` what follows the last one.
    """

    layers: Callable[[Any], nn.ModuleList]
    layers_pattern: str
    embed: Callable[[Any, Tensor], Tensor]
    context: Callable[[Any, Tensor, Tensor], Mapping[str, Any]]
    finish: Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Base:
    """A frozen encoder with its tokenizer."""

    name: str
    backbone: Any
    tokenizer: Any
    family: Family
    max_tokens: int

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.family.layers(self.backbone))

    @property
    def hidden(self) -> int:
        """Width of the hidden states."""
        return int(self.backbone.config.hidden_size)

    @property
    def dtype(self) -> torch.dtype:
        """Element type of the weights, and so of the hidden states."""
        return next(iter(self.backbone.parameters())).dtype  # type: ignore[no-any-return]


def load_base(
    folder: Path, *, name: str | None = None, dtype: torch.dtype = torch.float32
) -> Base:
    """Load the encoder and tokenizer that lie in ``folder``.

    Args:
        folder: in the layout of ``save_pretrained`` (config, weights, tokenizer).
        name: what saved models call it; the folder's name by default.
        dtype: float32, or float64 in tests.

    Raises:
        SetupError: the folder is not there or cannot be read as a model.
        InputError: the architecture has no rule.
    """
    if not (folder / "config.json").is_file():
        raise SetupError(
            f"base = {folder}: no config.json there; fetch the model first"
        )
    from transformers import AutoModel, AutoTokenizer

    try:
        with _no_progress_bar():
            backbone = AutoModel.from_pretrained(
                str(folder), local_files_only=True, attn_implementation="sdpa"
            )
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True
            )
    except (OSError, ValueError) as error:
        raise SetupError(f"base = {folder}: cannot be loaded ({error})") from error
    return base_from(backbone, tokenizer, name=name or folder.name, dtype=dtype)


def base_from(
    backbone: Any, tokenizer: Any, *, name: str, dtype: torch.dtype = torch.float32
) -> Base:
    """Freeze ``backbone`` (in place) and pair it with its tokenizer and its rule.

    Raises:
        InputError: the architecture has no rule; the message names those that have.
    """
    family = FAMILIES.get(type(backbone).__name__)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise InputError(
            f"base = {name}: architecture {type(backbone).__name__} has no rule; "
            f"supported: {known}"
        )
    backbone.to(dtype).eval().requires_grad_(False)
    backbone.name_or_path = name  # peft writes it into saved adapters: no local path
    positions = int(backbone.config.max_position_embeddings)
    return Base(name, backbone, tokenizer, family, min(MAX_TOKENS, positions))


def twin(base: Base) -> Base:
    """The same encoder in new modules that share every weight, free to be adapted."""
    shared = {id(p): p for p in base.backbone.parameters()}
    backbone = copy.deepcopy(base.backbone, shared)
    return Base(base.name, backbone, base.tokenizer, base.family, base.max_tokens)


def tokenize(base: Base, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, cut at ``max_tokens``.

    Raises:
        InputError: a text has no token at all.
    """
    if not texts:
        return []
    encoded = base.tokenizer(list(texts), truncation=True, max_length=base.max_tokens)
    ids: list[list[int]] = encoded["input_ids"]
    empty = sum(not row for row in ids)
    if empty:
        raise InputError(
            f"texts without a token = {empty}, must be 0: an empty option?"
        )
    return ids


def lower(base: Base, ids: Sequence[Sequence[int]], depth: int) -> list[Tensor]:
    """Hidden states below layer ``depth``: ``[tokens, hidden]`` a row, unpadded."""
    rows = [torch.tensor(row) for row in ids]
    padded, mask = pad(rows)
    with torch.no_grad():
        hidden = base.family.embed(base.backbone, padded)
        hidden = _through(base, hidden, mask, slice(0, depth))
    return [hidden[i, : len(row)].clone() for i, row in enumerate(ids)]


def upper(base: Base, hidden: Tensor, mask: Tensor, depth: int) -> Tensor:
    """From the hidden states below layer ``depth`` to the encoder's output.

    Args:
        hidden: ``[rows, tokens, hidden]``, padded on the right.
        mask: ``[rows, tokens]``, True at real tokens.
        depth: how many layers ``hidden`` has already been through.
    """
    hidden = _through(base, hidden, mask, slice(depth, None))
    return base.family.finish(base.backbone, hidden)


def pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens, ``[rows, hidden]``."""
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack rows of different length; the mask is True where a row has a token."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True), mask


def batches(lengths: Sequence[int], tokens: int = 16384) -> Iterator[list[int]]:
    """Positions of rows of similar length, at most ``tokens`` padded tokens a batch.

    >>> list(batches([5, 1, 4, 1], tokens=10))
    [[1, 3], [2, 0]]
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[position] > tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def _through(base: Base, hidden: Tensor, mask: Tensor, which: slice) -> Tensor:
    context = base.family.context(base.backbone, hidden, mask)
    for layer in list(base.family.layers(base.backbone))[which]:
        hidden = layer(hidden, **context)
    return hidden


def _additive(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where attention is allowed, the lowest finite number elsewhere."""
    bias = torch.zeros(allowed.shape, dtype=dtype)
    return bias.masked_fill(~allowed, torch.finfo(dtype).min)


def _bert_context(_: Any, hidden: Tensor, mask: Tensor) -> Mapping[str, Any]:
    return {"attention_mask": _additive(mask[:, None, None, :], hidden.dtype)}


def _llama_context(backbone: Any, hidden: Tensor, mask: Tensor) -> Mapping[str, Any]:
    # Padding is on the right, so a real token never attends to it under the causal
    # mask, positions count from 0 in every row, and no row of the mask is empty.
    length = hidden.shape[1]
    positions = torch.arange(length)[None, :]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    allowed = causal[None, None] & mask[:, None, None, :]
    return {
        "attention_mask": _additive(allowed, hidden.dtype),
        "position_ids": positions,
        "position_embeddings": backbone.rotary_emb(hidden, positions),
    }


FAMILIES: Mapping[str, Family] = {
    "BertModel": Family(
        layers=lambda backbone: backbone.encoder.layer,
        layers_pattern="layer",
        embed=lambda backbone, ids: backbone.embeddings(input_ids=ids),
        context=_bert_context,
        finish=lambda _, hidden: hidden,
    ),
    "LlamaModel": Family(
        layers=lambda backbone: backbone.layers,
        layers_pattern="layers",
        embed=lambda backbone, ids: backbone.embed_tokens(ids),
        context=_llama_context,
        finish=lambda backbone, hidden: backbone.norm(hidden),
    ),
}


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
