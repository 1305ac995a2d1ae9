"""The chosen option must win by a margin, and no more: the hinge loss on pairs.

Source: a baseline of BSR (arXiv 2505.07271), max(0, margin - d) in its released code.
Departures: a choice among K options counts as its K - 1 pairs, summed.
"""

from torch import Tensor
from torch.nn.functional import relu

from fedpref.objectives._about import POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import pair_sum

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="baseline in the code of BSR (arXiv 2505.07271)",
    ranges={"margin": POSITIVE},
    bound="1",
)


def loss(scores: Tensor, choice: Tensor, *, margin: float = 1.0) -> Tensor:
    """Sum over the options j that were not chosen of max(0, margin - (s_c - s_j)).

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option c, ``[records]``.
        margin: By how much the chosen option should win, in units of reward.

    Returns:
        One number a record, in units of reward.

    Does not give: probabilities; a gradient once every pair is won by the margin.

    >>> import torch
    >>> s = torch.tensor([[0.75, 0.5], [3.0, 0.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0, 0]))  # 1 - 0.25, and won by more than 1
    tensor([0.7500, 0.0000], dtype=torch.float64)
    """
    return pair_sum(scores, choice, lambda won, lost: relu(margin - (won - lost)))
