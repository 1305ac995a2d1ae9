"""Thumbs against a fixed point of zero: KTO without its estimate of divergence.

Source: Ethayarajh et al. (2024), KTO as released in HALOs and TRL, with z0 = 0; TRL has
it as ``apo_zero_unpaired``. Departures: z0 = 0 in place of the mean over a batch.
"""

from torch import Tensor

from fedpref.objectives._about import About, Takes, Trains
from fedpref.objectives._kto import BOUND, RANGES, value
from fedpref.objectives._terms import single_ratio

ABOUT = About(
    takes=Takes.THUMB,
    trains=Trains.POLICY,
    source="KTO, Ethayarajh et al. (2024), with z0 = 0",
    ranges=RANGES,
    bound=BOUND,
)


def loss(
    policy: Tensor,
    reference: Tensor,
    label: Tensor,
    *,
    beta: float = 0.1,
    desirable: float = 1.0,
    undesirable: float = 1.0,
) -> Tensor:
    """Up: desirable (1 - sigmoid(beta s)). Down: undesirable (1 - sigmoid(-beta s)).

    Here s = log policy - log reference.

    Args:
        policy: Log-probability summed over response tokens, ``[records, 1]``.
        reference: The same under the frozen base.
        label: Thumbs up (1) or down (0), ``[records]``.
        beta: In 1 / nat.
        desirable: Weight of thumbs up.
        undesirable: Weight of thumbs down.

    Returns:
        One number a record, between 0 and its weight.

    Raises:
        ObjectiveError: records have several options.

    Does not give: a zero that moves with the policy, so that all completions may become
    likelier, or less likely, together.

    >>> import torch
    >>> s = torch.tensor([[2.0], [2.0]], dtype=torch.float64)
    >>> loss(s, 0 * s, torch.tensor([1, 0]), beta=0.5)  # 1 / (1 + e), and the rest
    tensor([0.2689, 0.7311], dtype=torch.float64)
    """
    s = single_ratio(policy, reference)
    weights = {"desirable": desirable, "undesirable": undesirable}
    return value(s, label, 0.0, beta=beta, **weights)
