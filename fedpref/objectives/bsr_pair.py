"""Bradley-Terry with the two rewards of each pair centred at zero.

Source: the centring term c (r_w + r_l)² of TRL's reward trainer, whose documentation
suggests c = 0.01; a decomposable form of BSR (arXiv 2505.07271). Departures: ``clamp``,
past which the square is a straight line; K > 2 options count as K - 1 pairs.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import NOT_NEGATIVE, POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import pair_sum, square

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="centring term of TRL; BSR (arXiv 2505.07271) within a pair",
    ranges={"strength": NOT_NEGATIVE, "clamp": POSITIVE},
    bound="1 + 2 * strength * clamp",
)


def loss(
    scores: Tensor, choice: Tensor, *, strength: float = 0.01, clamp: float = 10.0
) -> Tensor:
    """Sum over the options j not chosen of BT + strength · (s_c + s_j)².

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option c, ``[records]``.
        strength: In 1 / reward².
        clamp: Past ``|s_c + s_j| = clamp``, in units of reward, the square is a
            straight line: no reward gets more than 2 · strength · clamp from a pair.

    Returns:
        One number a record, in nats.

    Does not give: room for pairs that are both good or both bad; it is stricter than a
    mean over many records.

    >>> import torch
    >>> s = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0]))  # log(1 + 1/e) + 0.01 · 9
    tensor([0.4033], dtype=torch.float64)
    """

    def term(won: Tensor, lost: Tensor) -> Tensor:
        return softplus(lost - won) + strength * square(won + lost, clamp)

    return pair_sum(scores, choice, term)
