"""DPO on answers of which a known share was turned round: unbiased for the true ones.

Source: Chowdhury et al. (arXiv 2403.00409), ((1 - p) l(w, l) - p l(l, w)) / (1 - 2p),
as released in TRL ("robust"). No departures. Answers that go through randomised
response at epsilon are turned with p = 1 / (1 + e^epsilon).
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.errors import ObjectiveError
from fedpref.objectives._about import BELOW_HALF, POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import log_ratios, pair_sum

ABOUT = About(
    takes=Takes.PAIR,
    trains=Trains.POLICY,
    source="robust DPO, Chowdhury et al. (arXiv 2403.00409)",
    ranges={"beta": POSITIVE, "flip": BELOW_HALF},
    bound="beta * (1 - flip) / (1 - 2 * flip)",
)


def loss(
    policy: Tensor,
    reference: Tensor,
    choice: Tensor,
    *,
    beta: float = 0.1,
    flip: float = 0.1,
) -> Tensor:
    """(-(1 - p) log sigmoid(d) + p log sigmoid(-d)) / (1 - 2p), with p = flip.

    Here d = beta (s_w - s_l) and s = log policy - log reference.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, 2]``.
        reference: The same under the frozen base.
        choice: Index of the chosen option as it was told, ``[records]``.
        beta: How closely the policy is tied to the base, in 1 / nat.
        flip: Probability with which an answer was turned round. With 2 options only:
            among more, a random answer is not the opposite one.

    Returns:
        One number a record, in nats. It may be negative.

    Raises:
        ObjectiveError: records do not have two options.

    Does not give: privacy of prompts and responses, where only answers were
    randomised; a small variance when p is near 1/2.

    >>> import torch
    >>> policy = torch.tensor([[-5.0, -12.0]], dtype=torch.float64)
    >>> base = torch.tensor([[-6.0, -8.0]], dtype=torch.float64)
    >>> one = torch.tensor([0])
    >>> loss(policy, base, one, beta=0.2, flip=0.25)  # 1.5 · 0.3133 - 0.5 · 1.3133
    tensor([-0.1867], dtype=torch.float64)
    """
    if policy.shape[1] != 2:
        raise ObjectiveError(
            f"options = {policy.shape[1]}, must be 2: the opposite of an answer is "
            "needed; use dpo for choices among more"
        )
    s = log_ratios(policy, reference)

    def term(won: Tensor, lost: Tensor) -> Tensor:
        d = beta * (won - lost)
        return ((1 - flip) * softplus(-d) - flip * softplus(d)) / (1 - 2 * flip)

    return pair_sum(s, choice, term)
