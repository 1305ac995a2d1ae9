"""Bradley-Terry with the mean reward held at zero, as it was released a round ago.

Source: BSR (arXiv 2505.07271), linearised here at a released mean: the gradient of
strength · m² is 2 · strength · m times that of the mean, and m may come from the round
before. Departures: that; m is a noised release, clipped to ``bound``, so that a record
depends on itself and on what is public. It is one more coordinate of each unit's
contribution, clipped and noised with the rest.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import (
    NOT_NEGATIVE,
    POSITIVE,
    About,
    Coupling,
    Takes,
    Trains,
)
from fedpref.objectives._terms import pair_sum, record_mean

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="BSR (arXiv 2505.07271), linearised at a released mean",
    ranges={"strength": NOT_NEGATIVE, "bound": POSITIVE, "statistic_scale": POSITIVE},
    bound="1 + strength * bound",
    coupling=Coupling.RELEASED,
)


def loss(
    scores: Tensor,
    choice: Tensor,
    previous: Tensor,
    *,
    strength: float = 0.1,
    bound: float = 5.0,
) -> Tensor:
    """BT of each record, plus 2 · strength · m · (mean reward of its options).

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option, ``[records]``.
        previous: m, the mean reward released in the round before, ``[1]``; 0 at first.
        strength: In 1 / reward².
        bound: m is clipped to this, in units of reward: no reward gets more than
            strength · bound from it, however large the noise was.

    Returns:
        One number a record, in nats. It may be negative.

    Does not give: a penalty before the second round, or one that is fresher than a
    round; with few people m is mostly noise. A contribution that is clipped is clipped
    with its statistic, and people who are away count as zeros: m is then too small.

    >>> import torch
    >>> s = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    >>> m = torch.tensor([0.5], dtype=torch.float64)
    >>> loss(s, torch.tensor([0]), m)  # 0.1269 + 2 · 0.1 · 0.5 · 1
    tensor([0.2269], dtype=torch.float64)
    """
    pairs = pair_sum(scores, choice, lambda won, lost: softplus(lost - won))
    mean = previous.detach().clamp(-bound, bound)
    return pairs + 2 * strength * mean * record_mean(scores)


def statistic(
    scores: Tensor, *, bound: float = 5.0, statistic_scale: float = 0.1
) -> Tensor:
    """Mean reward of each record's options, clipped to ±bound, times the scale.

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        bound: In units of reward.
        statistic_scale: Share of the common clip that the coordinate takes: a small
            one leaves more to the gradient and makes the release noisier.

    Returns:
        ``[records]``, at most ``statistic_scale * bound`` in size, without gradient.
    """
    return statistic_scale * record_mean(scores.detach()).clamp(-bound, bound)
