"""Thumbs against a point of zero that everybody shifts: KTO as published.

Source: Ethayarajh et al. (2024), KTO as released in HALOs and TRL: z0 is the mean over
the batch of log-ratios of mismatched completions, at least 0 and held fixed.
Departures: which completion stands in for which is the caller's choice.

Refused with noise: one person's records move z0, and with it everybody's gradient.
"""

from torch import Tensor

from fedpref.objectives._about import About, Coupling, Takes, Trains
from fedpref.objectives._kto import BOUND, RANGES, value
from fedpref.objectives._terms import single_ratio

ABOUT = About(
    takes=Takes.THUMB,
    trains=Trains.POLICY,
    source="KTO, Ethayarajh et al. (2024)",
    ranges=RANGES,
    bound=BOUND,
    coupling=Coupling.BATCH,
    safe=("kto_user", "kto_lagged", "kto_zero"),
    pairs=True,
)


def loss(
    policy: Tensor,
    reference: Tensor,
    mismatched: Tensor,
    label: Tensor,
    *,
    beta: float = 0.1,
    desirable: float = 1.0,
    undesirable: float = 1.0,
) -> Tensor:
    """As ``kto_zero`` on s - z0, with z0 = max(0, mean of ``mismatched``).

    Args:
        policy: Log-probability summed over response tokens, ``[records, 1]``.
        reference: The same under the frozen base.
        mismatched: Log-ratio of a prompt with another completion of the batch,
            ``[records]``. No gradient flows into it.
        label: Thumbs up (1) or down (0), ``[records]``.
        beta: In 1 / nat.
        desirable: Weight of thumbs up.
        undesirable: Weight of thumbs down.

    Returns:
        One number a record, between 0 and its weight.

    Raises:
        ObjectiveError: records have several options.

    Does not give: any bound on what one person changes in the sum.

    >>> import torch
    >>> s = torch.tensor([[3.0], [3.0]], dtype=torch.float64)
    >>> other = torch.tensor([2.0, 0.0], dtype=torch.float64)
    >>> loss(s, 0 * s, other, torch.tensor([1, 0]), beta=0.5)  # z0 = 1
    tensor([0.2689, 0.7311], dtype=torch.float64)
    """
    zero = mismatched.detach().mean().clamp(min=0)
    weights = {"desirable": desirable, "undesirable": undesirable}
    return value(single_ratio(policy, reference), label, zero, beta=beta, **weights)
