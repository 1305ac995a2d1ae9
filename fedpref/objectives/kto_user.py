"""Thumbs against a point of zero that is each person's own: KTO within a user.

Source: Ethayarajh et al. (2024), KTO as released in HALOs and TRL, where z0 is the mean
over a batch of log-ratios of mismatched completions, at least 0 and held fixed.
Departures: the mean is over one person's records, and mismatched completions are that
person's own, so that the coupling stays inside the protected unit.
"""

from torch import Tensor

from fedpref.objectives._about import About, Coupling, Takes, Trains
from fedpref.objectives._kto import BOUND, RANGES, value
from fedpref.objectives._terms import group_mean, single_ratio

ABOUT = About(
    takes=Takes.THUMB,
    trains=Trains.POLICY,
    source="KTO, Ethayarajh et al. (2024), a person in place of the batch",
    ranges=RANGES,
    bound=BOUND,
    coupling=Coupling.USER,
    safe=("kto_zero",),
    pairs=True,
)


def loss(
    policy: Tensor,
    reference: Tensor,
    mismatched: Tensor,
    label: Tensor,
    group: Tensor,
    *,
    beta: float = 0.1,
    desirable: float = 1.0,
    undesirable: float = 1.0,
) -> Tensor:
    """As ``kto_zero`` on s - z0, z0 = max(0, mean of the user's ``mismatched``).

    Args:
        policy: Log-probability summed over response tokens, ``[records, 1]``.
        reference: The same under the frozen base.
        mismatched: Log-ratio of a prompt with another of the user's completions,
            ``[records]``; 0 where the user has one record. No gradient flows into it.
        label: Thumbs up (1) or down (0), ``[records]``.
        group: Number of each record's user, ``[records]``.
        beta: In 1 / nat.
        desirable: Weight of thumbs up.
        undesirable: Weight of thumbs down.

    Returns:
        One number a record, between 0 and its weight.

    Raises:
        ObjectiveError: records have several options.

    Does not give: a good estimate of z0 for people with few records.

    >>> import torch
    >>> s = torch.tensor([[3.0], [3.0]], dtype=torch.float64)
    >>> other = torch.tensor([2.0, 0.0], dtype=torch.float64)
    >>> thumbs, user = torch.tensor([1, 0]), torch.tensor([0, 0])
    >>> loss(s, 0 * s, other, thumbs, user, beta=0.5)  # z0 = 1, so 0.5 · (3 - 1)
    tensor([0.2689, 0.7311], dtype=torch.float64)
    """
    zero = group_mean(mismatched.detach(), group).clamp(min=0)
    weights = {"desirable": desirable, "undesirable": undesirable}
    return value(single_ratio(policy, reference), label, zero, beta=beta, **weights)
