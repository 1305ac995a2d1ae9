"""Thumbs as a classifier of densities that stays bounded: the follow-up of DDRO.

Source: RDRO (arXiv 2604.04410), (1 + a) softplus(s) - s for thumbs up and (1 - a)
softplus(s) for thumbs down, in its released code. No departures.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import SHARE, About, Takes, Trains
from fedpref.objectives._terms import single_ratio

ABOUT = About(
    takes=Takes.THUMB,
    trains=Trains.POLICY,
    source="RDRO (arXiv 2604.04410), released code",
    ranges={"share": SHARE},
    bound="1",
)


def loss(
    policy: Tensor, reference: Tensor, label: Tensor, *, share: float = 0.5
) -> Tensor:
    """Up: (1 + share) softplus(s) - s. Down: (1 - share) softplus(s).

    Here s = log policy - log reference. Derivatives lie in (-1, share) for thumbs up
    and in (0, 1 - share) for thumbs down.

    Args:
        policy: Log-probability summed over response tokens, ``[records, 1]``.
        reference: The same under the frozen base.
        label: Thumbs up (1) or down (0), ``[records]``.
        share: Share of thumbs up: a public number, never counted in private records.

    Returns:
        One number a record, in nats.

    Raises:
        ObjectiveError: records have several options.

    Does not give: equal say for short and long texts, as s is a sum over tokens; the
    ratio of densities, unless thumbs up and down count alike: where they are not
    equally many, give records the weights 1 / share and 1 / (1 - share).

    >>> import torch
    >>> s = torch.ones((2, 1), dtype=torch.float64)
    >>> loss(s, 0 * s, torch.tensor([1, 0]))  # 1.5 · 1.3133 - 1, and 0.5 · 1.3133
    tensor([0.9699, 0.6566], dtype=torch.float64)
    """
    s = single_ratio(policy, reference)
    up, down = (1 + share) * softplus(s) - s, (1 - share) * softplus(s)
    return torch.where(label.bool(), up, down)
