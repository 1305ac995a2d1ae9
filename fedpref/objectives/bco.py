"""Thumbs as the labels of a binary classifier whose logit is the log-ratio.

Source: BCO (arXiv 2404.04656), -log sigmoid(±(beta s - delta)) as released in TRL.
Departures: delta is a public constant, where the release takes a running mean of
rewards over batches, which couples them; no weights against a shift of prompts.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import ANY, POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import single_ratio

ABOUT = About(
    takes=Takes.THUMB,
    trains=Trains.POLICY,
    source="BCO (arXiv 2404.04656), with a constant shift",
    ranges={"beta": POSITIVE, "shift": ANY},
    bound="beta",
)


def loss(
    policy: Tensor,
    reference: Tensor,
    label: Tensor,
    *,
    beta: float = 0.1,
    shift: float = 0.0,
) -> Tensor:
    """Up: -log sigmoid(beta s - shift). Down: -log sigmoid(shift - beta s).

    Here s = log policy - log reference.

    Args:
        policy: Log-probability summed over response tokens, ``[records, 1]``.
        reference: The same under the frozen base.
        label: Thumbs up (1) or down (0), ``[records]``.
        beta: In 1 / nat.
        shift: The reward at which a thumb up and a thumb down are equally likely.

    Returns:
        One number a record, in nats.

    Raises:
        ObjectiveError: records have several options.

    Does not give: a shift that follows the rewards.

    >>> import torch
    >>> s = torch.full((2, 1), 4.0, dtype=torch.float64)
    >>> loss(s, 0 * s, torch.tensor([1, 0]), beta=0.5, shift=1.0)  # ± (2 - 1)
    tensor([0.3133, 1.3133], dtype=torch.float64)
    """
    logit = beta * single_ratio(policy, reference) - shift
    return torch.where(label.bool(), softplus(-logit), softplus(logit))
