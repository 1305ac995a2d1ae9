"""A reward model: a score for a text, from a frozen base and few trained numbers.

    score(text) = head . features(text),   features = whitening' (pool(base) - mean)

Trained are the head, from zero, and an adapter where asked for. All of them lie in one
flat float64 vector: parameter = start + scale * vector block.

Guarantees: the score of a text depends on that text, its preference and the vector
alone (other texts of a batch change it by rounding at most); a text's activations below
the adapter are computed once; the vector starts at zero, where every score is zero.

Does not: limit the memory of that cache, which holds what was read (on a device, its
owner's own texts); distinguish texts that only differ beyond the base's length.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fedpref.core.types import Float, Record
from fedpref.errors import InputError
from fedpref.models import bases, padding
from fedpref.models.adapters import AnyAdapter
from fedpref.models.bases import Base
from fedpref.models.features import FeatureMap, fit_features
from fedpref.models.items import AnyItem, items_of, preferences_of, text_of
from fedpref.models.trained import Batch, Trained, Valued

HEAD = "head"
EMBED_TOKENS = 4096  # a batch whose activations stay in cache: 30 % less time


class RewardModel(Trained):
    """Head and optional adapter on a frozen base; see the module's docstring.

    Args:
        base: the frozen base; it is shared, never changed.
        features: the map fitted on the public catalogue.
        adapter: settings; None trains the head alone, and then texts are embedded
            once and never pass through the base again.
        start: parameters by block name where training starts, if not the usual ones.
    """

    provides = frozenset(
        ["scores", "choice", "label", "labels", "group", "previous", "preference"]
    )

    def __init__(
        self,
        base: Base,
        features: FeatureMap,
        adapter: AnyAdapter | None = None,
        start: Mapping[str, Float] | None = None,
    ) -> None:
        if features.mean.shape != (base.hidden,):
            raise InputError(
                f"features are for width {len(features.mean)}, the encoder "
                f"{base.name} has {base.hidden}: fit them on this encoder"
            )
        super().__init__(base, adapter)
        self.features_map = features
        self._rows: dict[str, Tensor] = {}
        self._mean = torch.from_numpy(features.mean)
        self._whitening = torch.from_numpy(features.whitening)
        self.begin({HEAD: np.zeros(features.size)}, start)

    @property
    def head(self) -> Tensor:
        """The current head, float64 ``[features]``."""
        return torch.from_numpy(self._values[HEAD])

    def scores(self, texts: Sequence[AnyItem]) -> Float:
        """Score of each text, ``[texts]``, without gradients."""
        scores: Float = self.features(texts) @ self.head.numpy()
        return scores

    def features(self, texts: Sequence[AnyItem]) -> Float:
        """What the head reads, ``[texts, features]``, with the adapter as it is now."""
        with torch.no_grad():
            return self.feature_graph(texts).numpy()

    def feature_graph(self, texts: Sequence[AnyItem]) -> Tensor:
        """The same as a float64 tensor through which the adapter gets gradients."""
        self._cache(texts)
        if not texts:
            return torch.zeros(0, self.features_map.size, dtype=torch.float64)
        if self.adapted is None:
            return torch.stack([self._rows[text_of(text)] for text in texts])
        parts, order = [], []
        for batch in self.batches(texts):
            parts.append(self.batch_features(batch))
            order += batch.positions
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    def items(
        self, record: Record, preference: tuple[float, ...]
    ) -> tuple[AnyItem, ...]:
        """Plain texts where no preference is read or given, as in catalogues."""
        weighed = self.objectives and preference
        return items_of(record, preference) if weighed else record.texts

    def batches(self, texts: Sequence[AnyItem]) -> Iterator[Batch]:
        """Cached activations below the adapter, in batches of similar length."""
        self._cache(texts)
        rows = [self._rows[text_of(text)] for text in texts]
        for positions in padding.batches([len(row) for row in rows]):
            hidden, mask = padding.pad([rows[i] for i in positions])
            given = preferences_of([texts[i] for i in positions], self.objectives)
            yield Batch(positions, hidden, mask, given)

    def batch_features(self, batch: Batch) -> Tensor:
        """Features ``[rows, features]`` of a batch, float64, through the adapter."""
        assert self.adapted is not None
        top = self.adapted.top(batch.hidden, batch.mask, batch.preference)
        pooled = bases.pool(self.base, top, batch.mask)
        return self._whiten(self.adapted.pooled(pooled))

    def valued(self, batch: Batch) -> Valued:
        """Scores of a batch; the head's gradient is the features themselves."""
        features = self.batch_features(batch)
        return Valued(features @ self.head, {HEAD: features.detach()})

    def graph(self, texts: Sequence[AnyItem]) -> tuple[Tensor, list[Tensor]]:
        """Scores with a graph to the adapter's parameters and a copy of the head."""
        head = self.head.clone().requires_grad_()
        leaves = [parameter for _, parameter in self.trainable] + [head]
        return self.feature_graph(texts) @ head, leaves

    def fixed(self, texts: Sequence[AnyItem]) -> tuple[Float, Float] | None:
        """Without an adapter: the features are the gradients."""
        if self.adapted is not None:
            return None
        frozen = self.features(texts)
        return frozen @ self.head.numpy(), frozen

    def _whiten(self, pooled: Tensor) -> Tensor:
        return (pooled.double() - self._mean) @ self._whitening

    def _cache(self, items: Sequence[AnyItem]) -> None:
        """Run what lies below the adapter for the texts not met before."""
        texts = dict.fromkeys(text_of(item) for item in items)
        new = [text for text in texts if text not in self._rows]
        ids = bases.tokenize(self.base, new)
        for positions in padding.batches([len(row) for row in ids]):
            below = bases.lower(self.base, [ids[i] for i in positions], self.depth)
            rows = below if self.adapter else [self._frozen(row) for row in below]
            self._rows |= zip((new[i] for i in positions), rows, strict=True)

    def _frozen(self, row: Tensor) -> Tensor:
        """Without an adapter nothing changes: the features themselves are kept."""
        return self._whiten(_pooled(self.base, row, self.depth))[0]


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
    """Pooled embeddings of the frozen base, float64 ``[texts, hidden]``."""
    ids = bases.tokenize(base, texts)
    out = np.empty((len(texts), base.hidden))
    for positions in padding.batches([len(row) for row in ids], tokens=EMBED_TOKENS):
        below = bases.lower(base, [ids[i] for i in positions], base.depth)
        for position, row in zip(positions, below, strict=True):
            out[position] = _pooled(base, row, base.depth)[0].double().numpy()
    return out


def _pooled(base: Base, row: Tensor, depth: int) -> Tensor:
    with torch.no_grad():
        mask = torch.ones(1, len(row), dtype=torch.bool)
        return bases.pool(base, bases.upper(base, row[None], mask, depth), mask)
