"""A reward model: a score for a text, from a frozen encoder and few trained numbers.

    score(text) = head . features(text),   features = whitening' (pool(encoder) - mean)

Trained are the head, from zero, and a LoRA adapter on the top layers where asked for.
All of them lie in one flat float64 vector: parameter = start + scale * vector block.

Guarantees: the score of a text depends on that text and the vector alone (other texts
of a batch change it by rounding at most); a text's activations below the adapter are
computed once; the vector starts at zero, where every score is zero.

Does not: limit the memory of that cache, which holds what was read (on a device, its
owner's own texts); distinguish texts that only differ beyond the encoder's length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fedpref.core.types import Block, Float, Layout
from fedpref.errors import InputError
from fedpref.models import adapters, bases
from fedpref.models.adapters import Adapted, Adapter
from fedpref.models.bases import Base
from fedpref.models.features import FeatureMap, fit_features

HEAD = "head"
EMBED_TOKENS = 4096  # a batch whose activations stay in cache: 30 % less time


@dataclass(frozen=True, eq=False, repr=False)
class Batch:
    """Cached activations of some texts, padded to one length.

    ``positions`` says which of the asked-for texts the rows are; ``hidden`` is
    ``[rows, tokens, hidden]`` and ``mask`` ``[rows, tokens]``.
    """

    positions: list[int]
    hidden: Tensor
    mask: Tensor


class RewardModel:
    """Head and optional adapter on a frozen encoder; see the module's docstring.

    Args:
        base: the frozen encoder; it is shared, never changed.
        features: the map fitted on the public catalogue.
        adapter: LoRA settings; None trains the head alone, and then texts are embedded
            once and never pass through the encoder again.
        start: parameters by block name where training starts, if not the usual ones.
    """

    layout: Layout

    def __init__(
        self,
        base: Base,
        features: FeatureMap,
        adapter: Adapter | None = None,
        start: Mapping[str, Float] | None = None,
    ) -> None:
        if features.mean.shape != (base.hidden,):
            raise InputError(
                f"features are for width {len(features.mean)}, the encoder "
                f"{base.name} has {base.hidden}: fit them on this encoder"
            )
        self.base = base
        self.features_map = features
        self.adapter = adapter
        self.adapted: Adapted | None = (
            adapters.adapt(base, adapter) if adapter else None
        )
        self._depth = adapter.first(base.depth) if adapter else base.depth
        self._rows: dict[str, Tensor] = {}
        self._mean = torch.from_numpy(features.mean)
        self._whitening = torch.from_numpy(features.whitening)
        usual = {HEAD: np.zeros(features.size)}
        if adapter:
            usual |= adapters.start(self.trainable, adapter.seed)
        self.start: Mapping[str, Float] = usual if start is None else dict(start)
        self.layout = _layout(self.trainable, adapter, features.size)
        _check_start(self.layout, self.start)
        self.set(self.initial())

    @property
    def trainable(self) -> tuple[tuple[str, nn.Parameter], ...]:
        """The adapter's parameters by block name; the head is not a module's."""
        return self.adapted.parameters if self.adapted else ()

    @property
    def vector(self) -> Float:
        """The current vector, ``[size]`` (a copy)."""
        return self._vector.copy()

    @property
    def head(self) -> Tensor:
        """The current head, float64 ``[features]``."""
        return self._head

    def initial(self) -> Float:
        """The vector before training: zeros, ``[size]``."""
        return np.zeros(self.layout.size)

    def set(self, vector: Float) -> None:
        """Move to ``vector``; adapter weights are rounded to the encoder's type."""
        values = parameters_at(self.layout, self.start, vector)
        with torch.no_grad():
            for name, parameter in self.trainable:
                parameter.copy_(torch.from_numpy(values[name]))
        self._head = torch.from_numpy(values[HEAD])
        self._vector = vector.astype(np.float64)

    def scores(self, texts: Sequence[str]) -> Float:
        """Score of each text, ``[texts]``, without gradients."""
        scores: Float = self.features(texts) @ self._head.numpy()
        return scores

    def features(self, texts: Sequence[str]) -> Float:
        """What the head reads, ``[texts, features]``, with the adapter as it is now."""
        with torch.no_grad():
            return self.feature_graph(texts).numpy()

    def feature_graph(self, texts: Sequence[str]) -> Tensor:
        """The same as a float64 tensor through which the adapter gets gradients."""
        self._cache(texts)
        if not texts:
            return torch.zeros(0, self.features_map.size, dtype=torch.float64)
        if self.adapted is None:
            return torch.stack([self._rows[text] for text in texts])
        parts, order = [], []
        for batch in self.batches(texts):
            parts.append(self.batch_features(batch))
            order += batch.positions
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    def batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Cached activations below the adapter, in batches of similar length."""
        self._cache(texts)
        rows = [self._rows[text] for text in texts]
        for positions in bases.batches([len(row) for row in rows]):
            hidden, mask = bases.pad([rows[i] for i in positions])
            yield Batch(positions, hidden, mask)

    def batch_features(self, batch: Batch) -> Tensor:
        """Features ``[rows, features]`` of a batch, float64, through the adapter."""
        assert self.adapted is not None
        top = bases.upper(self.adapted.base, batch.hidden, batch.mask, self._depth)
        return self._whiten(bases.pool(top, batch.mask))

    def _whiten(self, pooled: Tensor) -> Tensor:
        return (pooled.double() - self._mean) @ self._whitening

    def _cache(self, texts: Sequence[str]) -> None:
        """Run what lies below the adapter for the texts not met before."""
        new = list(dict.fromkeys(text for text in texts if text not in self._rows))
        ids = bases.tokenize(self.base, new)
        for positions in bases.batches([len(row) for row in ids]):
            below = bases.lower(self.base, [ids[i] for i in positions], self._depth)
            rows = below if self.adapter else [self._frozen(row) for row in below]
            self._rows |= zip((new[i] for i in positions), rows, strict=True)

    def _frozen(self, row: Tensor) -> Tensor:
        """Without an adapter nothing changes: the features themselves are kept."""
        return self._whiten(_pooled(self.base, row, self._depth))[0]


def public_features(base: Base, catalogue: Sequence[str], features: int) -> FeatureMap:
    """Fit the feature map on frozen embeddings of the distinct PUBLIC texts.

    Raises:
        InputError: fewer usable directions than ``features``.
    """
    distinct = list(dict.fromkeys(catalogue))
    if not distinct:
        raise InputError("the public catalogue is empty; features need public texts")
    return fit_features(embed(base, distinct), features)


def embed(base: Base, texts: Sequence[str]) -> Float:
    """Mean-pooled embeddings of the frozen encoder, float64 ``[texts, hidden]``."""
    ids = bases.tokenize(base, texts)
    out = np.empty((len(texts), base.hidden))
    for positions in bases.batches([len(row) for row in ids], tokens=EMBED_TOKENS):
        below = bases.lower(base, [ids[i] for i in positions], base.depth)
        for position, row in zip(positions, below, strict=True):
            out[position] = _pooled(base, row, base.depth)[0].double().numpy()
    return out


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


def _pooled(base: Base, row: Tensor, depth: int) -> Tensor:
    with torch.no_grad():
        mask = torch.ones(1, len(row), dtype=torch.bool)
        return bases.pool(bases.upper(base, row[None], mask, depth), mask)


def _layout(
    trainable: Sequence[tuple[str, nn.Parameter]], adapter: Adapter | None, head: int
) -> Layout:
    scale = adapter.scale if adapter else 1.0
    blocks = [Block(name, tuple(p.shape), scale) for name, p in trainable]
    return Layout((*blocks, Block(HEAD, (head,))))
