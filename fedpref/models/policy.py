"""A policy: the log-probability of a response to a prompt, and that of the frozen base.

    policy(prompt, response) = sum over response tokens of log p(token | what precedes)

Trained is an adapter on a frozen causal language model. The reference is the same model
with the adapter off: the base itself, whose weights the adapted one shares.

Guarantees: the value of an item depends on that item and the vector alone (other items
of a batch change it by rounding at most); prompt tokens and padding add nothing; at the
start it equals the reference (for RepCali with ``restore``).

Does not: generate; limit the memory of its cache, which holds what was read; mark the
end of a response that was cut at the base's length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad as pad_to

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.models import bases, padding
from fedpref.models.adapters import AnyAdapter
from fedpref.models.bases import Base
from fedpref.models.items import AnyItem, Item, preferences_of
from fedpref.models.repcali import RepCali
from fedpref.models.trained import Batch, Trained, Valued

BATCH_TOKENS = 1024  # each response token has one logit for each word: few at a time

Words = tuple[str, str]


class PolicyModel(Trained):
    """An adapter on a frozen causal language model; see the module's docstring.

    Args:
        base: with its map to tokens (``load_base(..., policy=True)``); it is shared,
            never changed.
        adapter: settings.
        start: parameters by block name where training starts, if not the usual ones.

    Raises:
        InputError: the base cannot predict tokens.
    """

    provides = frozenset(
        [
            *("policy", "reference", "lengths", "mismatched", "choice", "label"),
            *("labels", "group", "previous", "preference"),
        ]
    )

    def __init__(
        self,
        base: Base,
        adapter: AnyAdapter,
        start: Mapping[str, Float] | None = None,
    ) -> None:
        if base.unembed is None:
            raise InputError(
                f"base = {base.name} has no map to tokens, which a policy needs: load "
                "a causal language model with policy = True"
            )
        # A policy's head reads every token, so before the head is after the base.
        if isinstance(adapter, RepCali) and adapter.place == "head":
            adapter = replace(adapter, place="output")
        super().__init__(base, adapter)
        self._ids: dict[Words, tuple[list[int], int]] = {}
        self._rows: dict[Words, Tensor] = {}
        self._reference: dict[Words, float] = {}
        self.begin({}, start)

    def log_probabilities(self, items: Sequence[AnyItem]) -> Float:
        """Log-probability of each response, ``[items]``, without gradients."""
        return self.values(items)

    def known(self, name: str, items: Sequence[AnyItem]) -> Float:
        """``reference``: log-probabilities of the base; ``lengths``: response tokens.

        Raises:
            InputError: another name.
        """
        self._cache(items)
        words = [_words(item) for item in items]
        if name == "lengths":
            counted = [self._ids[pair] for pair in words]
            return np.array([float(len(ids) - first) for ids, first in counted])
        if name != "reference":
            return super().known(name, items)
        missing = (pair for pair in words if pair not in self._reference)
        new = [Item(*pair) for pair in dict.fromkeys(missing)]
        for batch in self.batches(new):
            with torch.no_grad():
                top = bases.upper(self.base, batch.hidden, batch.mask, self.depth)
                values = self._of(top, batch)
            for place, value in zip(batch.positions, values.tolist(), strict=True):
                self._reference[_words(new[place])] = value
        return np.array([self._reference[pair] for pair in words])

    def batches(self, items: Sequence[AnyItem]) -> Iterator[Batch]:
        """Cached activations below the adapter, in batches of similar length."""
        self._cache(items)
        words = [_words(item) for item in items]
        lengths = [len(self._rows[pair]) for pair in words]
        for positions in padding.batches(lengths, tokens=BATCH_TOKENS):
            hidden, mask = padding.pad([self._rows[words[i]] for i in positions])
            chosen = [self._ids[words[i]] for i in positions]
            targets = torch.stack([_targets(*one, mask.shape[1]) for one in chosen])
            given = preferences_of([items[i] for i in positions], self.objectives)
            yield Batch(positions, hidden, mask, given, targets)

    def valued(self, batch: Batch) -> Valued:
        """Log-probabilities of a batch, ``[rows]``."""
        assert self.adapted is not None
        top = self.adapted.top(batch.hidden, batch.mask, batch.preference)
        return Valued(self._of(top, batch), {})

    def graph(self, items: Sequence[AnyItem]) -> tuple[Tensor, list[Tensor]]:
        """Log-probabilities with a graph to the adapter's parameters."""
        parts, order = [torch.zeros(0, dtype=torch.float64)], []
        for batch in self.batches(items):
            parts.append(self.valued(batch).values)
            order += batch.positions
        values = torch.cat(parts)[torch.from_numpy(np.argsort(order))]
        return values, [parameter for _, parameter in self.trainable]

    def _of(self, top: Tensor, batch: Batch) -> Tensor:
        """Sum of log-probabilities of each row's targets, float64."""
        assert batch.targets is not None
        row, place = torch.nonzero(batch.targets >= 0, as_tuple=True)
        logits = self.base.unembed(top[row, place])
        wanted = batch.targets[row, place]
        each = logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0].double()
        return torch.zeros(len(top), dtype=torch.float64).index_add(0, row, each)

    def _cache(self, items: Sequence[AnyItem]) -> None:
        """Tokenise and run what lies below the adapter for what was not met before."""
        words = dict.fromkeys(_words(item) for item in items)
        new = [pair for pair in words if pair not in self._rows]
        found = [self._tokens(*pair) for pair in new]
        for positions in padding.batches([len(ids) for ids, _ in found]):
            below = bases.lower(self.base, [found[i][0] for i in positions], self.depth)
            self._rows |= zip((new[i] for i in positions), below, strict=True)
        self._ids |= zip(new, found, strict=True)

    def _tokens(self, prompt: str, response: str) -> tuple[list[int], int]:
        """Tokens of both, and where the response begins.

        Each is tokenised on its own, so that the border does not depend on what
        follows. A long prompt loses its beginning, a long response its end.
        """
        tokenizer = self.base.tokenizer
        after = tokenizer(response, add_special_tokens=False)["input_ids"]
        if not after:
            raise InputError(
                "a response has no token, must have one or more: an empty completion?"
            )
        if tokenizer.eos_token_id is not None:
            after = [*after, tokenizer.eos_token_id]
        before = tokenizer(prompt)["input_ids"] if prompt else []
        before = before or [i for i in (tokenizer.bos_token_id,) if i is not None]
        if not before:
            raise InputError(
                "a prompt has no token, and the tokenizer no beginning of text in its "
                "place: give every record a prompt"
            )
        after = after[: self.base.max_tokens - 1]
        before = before[-(self.base.max_tokens - len(after)) :]
        return [*before, *after], len(before)


def _words(item: AnyItem) -> Words:
    return ("", item) if isinstance(item, str) else (item.prompt, item.response)


def _targets(ids: list[int], first: int, width: int) -> Tensor:
    """The response's tokens, each one place early; -1 elsewhere. ``[width]``

    >>> _targets([7, 8, 9], 1, 5).tolist()
    [8, 9, -1, -1, -1]
    """
    late = torch.tensor([-1] * first + ids[first:])[1:]
    return pad_to(late, (0, width - len(late)), value=-1)
