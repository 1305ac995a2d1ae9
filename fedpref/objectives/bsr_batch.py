"""Bradley-Terry with the mean reward of the whole batch held at zero: BSR as published.

Source: batch-wise sum-to-zero regularisation, BSR (arXiv 2505.07271): mean BT +
lambda · B · m² over the B pairs of a batch, m the mean of their 2 B rewards, in its
released code. Departures: B is the number of records of the call, whatever device it
runs on; a record's mean counts once, which for pairs is the same; every record carries
an equal share, so that the sum over records is B times the published mean.

Refused with noise: m multiplies everybody's gradient, so one person moves the clipped
sum by more than the clip, by an excess that grows with B.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import NOT_NEGATIVE, About, Coupling, Takes, Trains
from fedpref.objectives._terms import pair_sum, record_mean

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="BSR (arXiv 2505.07271), released code",
    ranges={"strength": NOT_NEGATIVE},
    coupling=Coupling.BATCH,
    safe=("bsr_user", "bsr_lagged", "bsr_pair"),
)


def loss(scores: Tensor, choice: Tensor, *, strength: float = 1e-3) -> Tensor:
    """BT of each record, plus strength · B · m².

    Args:
        scores: Rewards of the options, ``[B, K]``; absent options score -inf.
        choice: Index of the chosen option, ``[B]``.
        strength: lambda, in 1 / reward².

    Returns:
        One number a record, in nats.

    Does not give: any bound on what one person changes, or on its derivatives; a limit
    on rewards far from zero that cancel each other.

    >>> import torch
    >>> s = torch.tensor([[2.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0, 0]), strength=0.5)  # 0.1269, 0.6931; m = 1: + 1
    tensor([1.1269, 1.6931], dtype=torch.float64)
    """
    pairs = pair_sum(scores, choice, lambda won, lost: softplus(lost - won))
    return pairs + strength * len(scores) * record_mean(scores).mean().square()
