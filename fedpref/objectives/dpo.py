"""Direct preference optimisation: Bradley-Terry on log-ratios to a frozen base.

Source: Rafailov et al. (2023), *Direct Preference Optimization*, the loss as released
in TRL. Departures: a choice among K options counts as its K - 1 pairs, summed.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import log_ratios, pair_sum

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.POLICY,
    source="DPO, Rafailov et al. (2023)",
    ranges={"beta": POSITIVE},
    bound="beta",
)


def loss(
    policy: Tensor, reference: Tensor, choice: Tensor, *, beta: float = 0.1
) -> Tensor:
    """Sum over the options j not chosen of -log sigmoid(beta (s_c - s_j)).

    Here s = log policy - log reference.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, K]``; absent
            options are -inf.
        reference: The same under the frozen base.
        choice: Index of the chosen option c, ``[records]``.
        beta: How closely the policy is tied to the base, in 1 / nat.

    Returns:
        One number a record, in nats.

    Does not give: a chosen response that becomes likelier; only the difference counts.

    >>> import torch
    >>> policy = torch.tensor([[-5.0, -12.0]], dtype=torch.float64)
    >>> base = torch.tensor([[-6.0, -8.0]], dtype=torch.float64)
    >>> loss(policy, base, torch.tensor([0]), beta=0.2)  # log(1 + exp(-0.2 · 5))
    tensor([0.3133], dtype=torch.float64)
    """
    s = log_ratios(policy, reference)
    return pair_sum(s, choice, lambda won, lost: softplus(beta * (lost - won)))
