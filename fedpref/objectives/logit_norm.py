"""Bradley-Terry on rewards divided by their own length, so that only angles count.

Source: a baseline of BSR (arXiv 2505.07271), -log sigmoid(d / sqrt(r_w² + r_l²)) in its
released code. Departures: ``floor`` is the clamp. The length is sqrt(r_w² + r_l² +
floor²), because without it the derivative grows without bound towards r = 0, where a
model starts. K > 2 options count as K - 1 pairs, each with a length of its own.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import DISTANCE, About, Takes, Trains
from fedpref.objectives._terms import pair_sum

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="baseline in the code of BSR (arXiv 2505.07271)",
    ranges={"floor": DISTANCE},
    bound="1 / floor",
)


def loss(scores: Tensor, choice: Tensor, *, floor: float = 0.1) -> Tensor:
    """Sum over the options j not chosen of -log sigmoid((s_c - s_j) / length).

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option c, ``[records]``.
        floor: Least length, in units of reward. Derivatives are at most 1 / floor;
            rewards that are small against it are treated as by ``bt`` on r / floor.

    Returns:
        One number a record, in nats.

    Does not give: a loss that falls whenever the chosen reward rises; where both
    rewards grow together, their ratio is all that counts.

    >>> import torch
    >>> s = torch.tensor([[4.0, 0.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0]), floor=3.0)  # 4 / 5: log(1 + exp(-0.8))
    tensor([0.3711], dtype=torch.float64)
    """

    def term(won: Tensor, lost: Tensor) -> Tensor:
        length = (won.square() + lost.square() + floor**2).sqrt()
        return softplus((lost - won) / length)

    return pair_sum(scores, choice, term)
