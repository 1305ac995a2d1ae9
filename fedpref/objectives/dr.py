"""Bradley-Terry, and each reward on its own side of zero.

Source: the baseline DR of BSR (arXiv 2505.07271), BT - log sigmoid(r_w) - log
sigmoid(-r_l) in its released code. Departures: for K > 2 options the pairs are summed,
the chosen reward counts once, and every other reward once.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import About, Takes, Trains
from fedpref.objectives._terms import of_chosen, pair_sum

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="baseline in the code of BSR (arXiv 2505.07271)",
    bound="2",
)


def loss(scores: Tensor, choice: Tensor) -> Tensor:
    """-log sigmoid(s_c) - sum over the others j of log sigmoid(s_c - s_j), (-s_j).

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option c, ``[records]``.

    Returns:
        One number a record, in nats.

    Does not give: a reward that may be shifted; zero is now the line between a text
    that is chosen and one that is not.

    >>> import torch
    >>> s = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0]))  # 0.1269 + twice 0.3133
    tensor([0.7535], dtype=torch.float64)
    """

    def term(won: Tensor, lost: Tensor) -> Tensor:
        return softplus(lost - won) + softplus(lost)

    return softplus(-of_chosen(scores, choice)) + pair_sum(scores, choice, term)
