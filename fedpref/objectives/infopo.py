"""Likelihood of the chosen response, and a push away from the others that fades.

Reconstruction of InfoPO (arXiv 2505.08507), whose loss could not be read: a bound on
mutual information in place of Bradley-Terry, -log policy(y_w) + policy(y_l) /
reference(y_l), which the first author's code for DIL has as an option. Departures:
``clamp``; past s = clamp the ratio e^s goes on as a straight line. A choice among K
options has one likelihood term and K - 1 ratio terms.
"""

from torch import Tensor

from fedpref.objectives._about import EXPONENT, About, Takes, Trains
from fedpref.objectives._terms import exponential, log_ratios, of_chosen, pair_sum

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.POLICY,
    source="reconstruction of InfoPO (arXiv 2505.08507)",
    ranges={"clamp": EXPONENT},
    bound="max(1, exp(clamp))",
)


def loss(
    policy: Tensor, reference: Tensor, choice: Tensor, *, clamp: float = 1.0
) -> Tensor:
    """-log policy of the chosen option, plus the sum over the others j of e^s_j.

    Here s = log policy - log reference.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, K]``; absent
            options are -inf.
        reference: The same under the frozen base.
        choice: Index of the chosen option, ``[records]``.
        clamp: Above ``s = clamp`` (in nats) e^s is a straight line, and its derivative
            stays at exp(clamp).

    Returns:
        One number a record, in nats.

    Does not give: the distribution of chosen responses as the minimum, unless the
    others are drawn from the base.

    >>> import torch
    >>> policy = torch.tensor([[-5.0, -9.0]], dtype=torch.float64)
    >>> base = torch.tensor([[-6.0, -8.0]], dtype=torch.float64)
    >>> loss(policy, base, torch.tensor([0]))  # 5 + 1/e
    tensor([5.3679], dtype=torch.float64)
    """
    s = log_ratios(policy, reference)
    pushed = pair_sum(s, choice, lambda _, lost: exponential(lost, clamp))
    return pushed - of_chosen(policy, choice)
