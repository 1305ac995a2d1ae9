"""Thumbs as a ratio of densities: how much likelier disliked texts are than liked ones.

Reconstruction of DDRO (arXiv 2505.07558), of which neither code nor the choice of
divergence could be read. With t the share of thumbs up and the base taken for the
mixture of both kinds, the ratio is g = (e^-s - t) / (1 - t); the divergence here is the
logistic one, log(1 + g) for thumbs up and log(1 + 1 / g) for thumbs down. Departures:
``gap`` is the clamp. g is positive only below s = -log t; from ``gap`` nats before that
point both terms go on as straight lines.
"""

from math import exp, log

import torch
from torch import Tensor

from fedpref.objectives._about import DISTANCE, SHARE, About, Takes, Trains
from fedpref.objectives._terms import single_ratio

ABOUT = About(
    takes=Takes.THUMB,
    trains=Trains.POLICY,
    source="reconstruction of DDRO (arXiv 2505.07558)",
    ranges={"share": SHARE, "gap": DISTANCE},
    bound="max(1, share / (1 - share), 1 / (1 - exp(-gap)))",
)


def loss(
    policy: Tensor,
    reference: Tensor,
    label: Tensor,
    *,
    share: float = 0.5,
    gap: float = 0.1,
) -> Tensor:
    """Up: log(1 + g). Down: log(1 + 1 / g), with g = (e^-s - share) / (1 - share).

    Here s = log policy - log reference.

    Args:
        policy: Log-probability summed over response tokens, ``[records, 1]``.
        reference: The same under the frozen base.
        label: Thumbs up (1) or down (0), ``[records]``.
        share: t, the share of thumbs up: a public number, never counted in private
            records.
        gap: From ``s = -log(share) - gap`` (in nats) on, both terms are straight
            lines; the derivative of a thumb down stays below 1 / (1 - exp(-gap)).

    Returns:
        One number a record, in nats. A thumb up may be negative far past the clamp.

    Raises:
        ObjectiveError: records have several options.

    Does not give: a sensible ratio where the base did not write the texts; equal say
    for short and long texts; the ratio at all, unless thumbs up and down count alike:
    where they are not equally many, give records the weights 1 / share and
    1 / (1 - share).

    >>> import torch
    >>> s = torch.zeros((2, 1), dtype=torch.float64)
    >>> loss(s, s, torch.tensor([1, 0]))  # g = 1: log 2 both
    tensor([0.6931, 0.6931], dtype=torch.float64)
    """
    edge = -log(share) - gap
    s = single_ratio(policy, reference)
    inside, beyond = s.clamp(max=edge), (s - edge).relu()
    grown = torch.log1p((1 - 2 * share) * inside.exp())
    up = grown - inside - log(1 - share)
    down = grown - torch.log1p(-share * inside.exp())
    up_slope = -1 / (1 + (1 - 2 * share) * exp(edge))
    # 1 - share e^s is 1 - exp(-gap) at the edge
    down_slope = exp(edge) * (1 - share) * -up_slope / (1 - exp(-gap))
    return torch.where(label.bool(), up + up_slope * beyond, down + down_slope * beyond)
