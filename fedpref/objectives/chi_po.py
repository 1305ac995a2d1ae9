"""DPO with a link that also grows like the ratio itself: chi-squared preferences.

Reconstruction of chi-PO (Huang et al., arXiv 2407.13399), of which the abstract was
readable: DPO with phi(u) = u + log u in place of log u, the difference clipped to twice
the largest reward. Departures: ``clamp``; past s = clamp the ratio e^s goes on as a
straight line. A choice among K options counts as its K - 1 pairs, summed.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import EXPONENT, POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import exponential, log_ratios, pair_sum

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.POLICY,
    source="reconstruction of chi-PO (arXiv 2407.13399)",
    ranges={"beta": POSITIVE, "reward": POSITIVE, "clamp": EXPONENT},
    bound="beta * (1 + exp(clamp))",
)


def loss(
    policy: Tensor,
    reference: Tensor,
    choice: Tensor,
    *,
    beta: float = 0.1,
    reward: float = 5.0,
    clamp: float = 2.0,
) -> Tensor:
    """Sum over the options j not chosen of -log sigmoid(clip(beta (phi_c - phi_j))).

    Here phi = e^s + s and s = log policy - log reference.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, K]``; absent
            options are -inf.
        reference: The same under the frozen base.
        choice: Index of the chosen option c, ``[records]``.
        beta: How closely the policy is tied to the base, in 1 / nat.
        reward: Largest reward R; differences are clipped to ±2 R, and a pair beyond
            has no gradient.
        clamp: Above ``s = clamp`` (in nats) e^s is a straight line, and its derivative
            stays at exp(clamp).

    Returns:
        One number a record, in nats.

    Does not give: the guarantee of the paper, which is about e^s without a clamp; a
    gradient for pairs that are wrong by more than 2 R.

    >>> import torch
    >>> policy = torch.tensor([[-2.0, -3.0]], dtype=torch.float64)
    >>> base = torch.tensor([[-2.0, -2.0]], dtype=torch.float64)
    >>> loss(policy, base, torch.tensor([0]), beta=1.0)  # d = (1 + 0) - (1/e - 1)
    tensor([0.1786], dtype=torch.float64)
    """
    s = log_ratios(policy, reference)

    def phi(s: Tensor) -> Tensor:
        return exponential(s, clamp) + s

    def term(won: Tensor, lost: Tensor) -> Tensor:
        difference = beta * (phi(won) - phi(lost))
        return softplus(-difference.clamp(-2 * reward, 2 * reward))

    return pair_sum(s, choice, term)
