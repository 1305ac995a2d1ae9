"""Bradley-Terry with every reward pulled to zero.

Source: none in print; the term strength · (r_w² + r_l²) is what penalises large rewards
one by one, where BSR (arXiv 2505.07271) penalises their sum. Departures: ``clamp``,
past which the square is a straight line; K > 2 options count as K - 1 pairs of BT and
as K rewards.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import NOT_NEGATIVE, POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import of_chosen, pair_sum, square

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="derived here, beside BSR (arXiv 2505.07271)",
    ranges={"strength": NOT_NEGATIVE, "clamp": POSITIVE},
    bound="1 + 2 * strength * clamp",
)


def loss(
    scores: Tensor, choice: Tensor, *, strength: float = 0.01, clamp: float = 10.0
) -> Tensor:
    """BT of each record, plus strength times the sum of its squared rewards.

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option, ``[records]``.
        strength: In 1 / reward².
        clamp: Past ``|s| = clamp``, in units of reward, the square is a straight line:
            no reward gets more than 2 · strength · clamp from it.

    Returns:
        One number a record, in nats.

    Does not give: rewards of any wanted size; the pull is there however few pairs
    contradict it.

    >>> import torch
    >>> s = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0]))  # log(1 + 1/e) + 0.01 · (4 + 1)
    tensor([0.3633], dtype=torch.float64)
    """

    def term(won: Tensor, lost: Tensor) -> Tensor:
        return softplus(lost - won) + strength * square(lost, clamp)

    chosen = strength * square(of_chosen(scores, choice), clamp)
    return chosen + pair_sum(scores, choice, term)
