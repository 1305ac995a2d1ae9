"""The chosen option against each other one: Bradley-Terry.

Source: Bradley and Terry (1952), *Rank Analysis of Incomplete Block Designs*, the model
of a single comparison. Departures: a choice among K options counts as its K - 1 pairs,
summed, still as one record; ``margin`` is the usual shift of the difference in rewards.
"""

from torch import Tensor
from torch.nn.functional import softplus


def loss(scores: Tensor, choice: Tensor, *, margin: float = 0.0) -> Tensor:
    """Sum over the options j that were not chosen of -log sigmoid(s_c - s_j - margin).

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf and
            add nothing.
        choice: Index of the chosen option c, ``[records]``.
        margin: By how much the chosen option should win, in units of reward.

    Returns:
        One number a record, in nats.

    Does not give: a likelihood for K > 2; the pairs of one choice are not independent.

    >>> import torch
    >>> s = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0]))  # twice log(1 + 1/e)
    tensor([0.6265], dtype=torch.float64)
    """
    chosen = scores.gather(1, choice[:, None])
    pairs = softplus(scores - chosen + margin)
    itself = scores.new_zeros(()).add(margin)
    return pairs.sum(1) - softplus(itself)
