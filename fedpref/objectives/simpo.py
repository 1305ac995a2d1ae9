"""Log-probabilities per token, without a base: SimPO.

Source: Meng et al. (2024), SimPO, -log sigmoid(beta a_w - beta a_l - gamma) on average
log-probabilities a, as released in HALOs. Departures: a smaller default than the
release has (beta 10, gamma 0.3 beta); a choice among K options counts as its K - 1
pairs, summed.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import NOT_NEGATIVE, POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import pair_sum, per_token

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.POLICY,
    source="SimPO, Meng et al. (2024), as released in HALOs",
    ranges={"beta": POSITIVE, "gamma": NOT_NEGATIVE},
    bound="beta",
)


def loss(
    policy: Tensor,
    lengths: Tensor,
    choice: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 0.6,
) -> Tensor:
    """Sum over the options j not chosen of -log sigmoid(beta (a_c - a_j) - gamma).

    Here a = log policy / length.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, K]``; absent
            options are -inf.
        lengths: Response tokens, ``[records, K]``.
        choice: Index of the chosen option c, ``[records]``.
        beta: In tokens / nat. The derivative by a response's summed log-probability is
            at most beta / length.
        gamma: By how much the chosen one should win.

    Returns:
        One number a record, in nats.

    Does not give: a policy that stays near a base; there is none in it.

    >>> import torch
    >>> policy = torch.tensor([[-4.0, -9.0]], dtype=torch.float64)
    >>> tokens = torch.tensor([[4, 6]])
    >>> loss(policy, tokens, torch.tensor([0]), beta=2.0, gamma=1.0)  # 2 · 0.5 - 1
    tensor([0.6931], dtype=torch.float64)
    """
    mean = per_token(policy, lengths)

    def term(won: Tensor, lost: Tensor) -> Tensor:
        return softplus(gamma - beta * (won - lost))

    return pair_sum(mean, choice, term)
