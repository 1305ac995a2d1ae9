"""Bradley-Terry with the mean reward of each person's own texts held at zero.

Source: BSR (arXiv 2505.07271), with the batch replaced by the records of one person, so
that the coupling stays inside the protected unit. Departures: that, and ``clamp``: the
square goes on as a straight line where the mean is far from zero. The strength does not
grow with the number of records; the published one is lambda times the batch.
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
from fedpref.objectives._terms import group_mean, pair_sum, record_mean, square

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="BSR (arXiv 2505.07271), a person in place of the batch",
    ranges={"strength": NOT_NEGATIVE, "clamp": POSITIVE},
    bound="1 + strength * clamp",
    coupling=Coupling.USER,
    safe=("bsr_lagged", "bsr_pair", "reward_norm"),
)


def loss(
    scores: Tensor,
    choice: Tensor,
    group: Tensor,
    *,
    strength: float = 0.1,
    clamp: float = 10.0,
) -> Tensor:
    """BT of each record, plus strength · m², m the mean reward of its user's records.

    Summed over a user's n records that is n times (mean BT + strength · m²): the term
    of a user, n · strength · m², is divided equally among the records.

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option, ``[records]``.
        group: Number of each record's user, ``[records]``.
        strength: In 1 / reward².
        clamp: Past ``|m| = clamp``, in units of reward, the square is a straight line
            of slope 2 · clamp: no reward gets more than strength · clamp from it.

    Returns:
        One number a record, in nats.

    Does not give: rewards that differ between people by a constant, as each person's
    own mean is pulled to zero; a mean that heeds the weights of records.

    >>> import torch
    >>> s = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    >>> user = torch.tensor([0, 0, 1])
    >>> loss(s, torch.tensor([0, 0, 0]), user)  # 0.1269, 0.6931; m = 1: + 0.1
    tensor([0.2269, 0.7931, 0.6931], dtype=torch.float64)
    """
    pairs = pair_sum(scores, choice, lambda won, lost: softplus(lost - won))
    mean = group_mean(record_mean(scores), group)
    return pairs + strength * square(mean, clamp)
