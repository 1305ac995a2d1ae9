"""Frozen encoders and decoders, split at a depth.

Guarantees: the base is loaded from a local folder (no network), in evaluation mode and
with no trainable parameter; running ``lower`` and then ``upper`` gives what the base's
own forward gives, at any depth; padding changes a row by rounding only. Where gradient
checkpointing is switched on in the base, ``upper`` keeps a layer's input alone and
computes the layer again on the way back: the same numbers for less memory.

Does not: train, tokenise anything longer than ``max_tokens`` (the rest is cut off), or
support an architecture without a rule in ``families``.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fedpref.errors import InputError, SetupError
from fedpref.models.families import FAMILIES, Family
from fedpref.models.padding import pad

MAX_TOKENS = 512

Around = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, eq=False, repr=False)
class Base:
    """A frozen encoder or decoder with its tokenizer.

    ``unembed`` maps hidden states to the logits of tokens; None where it is not there.
    """

    name: str
    backbone: Any
    tokenizer: Any
    family: Family
    max_tokens: int
    unembed: Any = None

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

    @property
    def checkpointing(self) -> bool:
        """Whether gradient checkpointing is switched on in the layers."""
        layers = self.family.layers(self.backbone)
        return any(getattr(layer, "gradient_checkpointing", False) for layer in layers)


def load_base(
    folder: Path,
    *,
    name: str | None = None,
    dtype: torch.dtype = torch.float32,
    policy: bool = False,
) -> Base:
    """Load the base and tokenizer that lie in ``folder``.

    Args:
        folder: in the layout of ``save_pretrained`` (config, weights, tokenizer).
        name: what saved models call it; the folder's name by default.
        dtype: float32, or float64 in tests.
        policy: with the map from hidden states to tokens, which a policy needs.

    Raises:
        SetupError: the folder is not there or cannot be read as a model.
        InputError: the architecture has no rule.
    """
    if not (folder / "config.json").is_file():
        raise SetupError(
            f"base = {folder}: no config.json there; fetch the model first"
        )
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    kind = AutoModelForCausalLM if policy else AutoModel
    try:
        with _no_progress_bar():
            backbone = kind.from_pretrained(
                str(folder), local_files_only=True, attn_implementation="sdpa"
            )
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True
            )
    except (OSError, ValueError) as error:
        raise SetupError(f"base = {folder}: cannot be loaded ({error})") from error
    return base_from(backbone, tokenizer, name=name or folder.name, dtype=dtype)


def base_from(
    model: Any, tokenizer: Any, *, name: str, dtype: torch.dtype = torch.float32
) -> Base:
    """Freeze ``model`` (in place) and pair it with its tokenizer and its rule.

    Args:
        model: a backbone, or a causal language model: a backbone below a map to tokens.
        tokenizer: belongs to it.
        name: what saved models call it.
        dtype: of its weights from now on.

    Raises:
        InputError: the architecture has no rule; the message names those that have.
    """
    unembed = None
    if type(model).__name__ not in FAMILIES and hasattr(model, "base_model"):
        unembed = model.get_output_embeddings()
    backbone = model if unembed is None else model.base_model
    family = FAMILIES.get(type(backbone).__name__)
    if family is None:
        known = ", ".join(sorted(FAMILIES))
        raise InputError(
            f"base = {name}: architecture {type(backbone).__name__} has no rule; "
            f"supported: {known}"
        )
    model.to(dtype).eval().requires_grad_(False)
    backbone.name_or_path = name  # peft writes it into saved adapters: no local path
    longest = min(MAX_TOKENS, int(backbone.config.max_position_embeddings))
    if "sliding_attention" in (getattr(backbone.config, "layer_types", None) or ()):
        window = int(backbone.config.sliding_window)
        if window < longest:
            raise InputError(
                f"base = {name}: sliding window = {window}, must be >= {longest} or "
                "absent; take a base whose layers attend to the whole text"
            )
    return Base(name, backbone, tokenizer, family, longest, unembed)


def twin(base: Base) -> Base:
    """The same base in new modules that share every weight, free to be adapted."""
    shared = {id(p): p for p in base.backbone.parameters()}
    return replace(base, backbone=copy.deepcopy(base.backbone, shared))


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


def upper(
    base: Base,
    hidden: Tensor,
    mask: Tensor,
    depth: int,
    around: Around = nullcontext,
) -> Tensor:
    """From the hidden states below layer ``depth`` to the base's output.

    Args:
        base: the base, or an adapted twin of it.
        hidden: ``[rows, tokens, hidden]``, padded on the right.
        mask: ``[rows, tokens]``, True at real tokens.
        depth: how many layers ``hidden`` has already been through.
        around: entered around each layer, also when it is computed again.
    """
    hidden = _through(base, hidden, mask, slice(depth, None), around)
    return base.family.finish(base.backbone, hidden)


def pool(base: Base, hidden: Tensor, mask: Tensor) -> Tensor:
    """The one vector a row that a reward head reads, ``[rows, hidden]``."""
    return base.family.pool(hidden, mask)


def _through(
    base: Base, hidden: Tensor, mask: Tensor, which: slice, around: Around = nullcontext
) -> Tensor:
    context = base.family.context(base.backbone, hidden, mask)
    again = base.checkpointing and torch.is_grad_enabled()
    for layer in list(base.family.layers(base.backbone))[which]:

        def step(states: Tensor, layer: nn.Module = layer) -> Tensor:
            with around():
                out: Tensor = layer(states, **context)
            return out

        hidden = (
            checkpoint(step, hidden, use_reentrant=False) if again else step(hidden)
        )
    return hidden


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
