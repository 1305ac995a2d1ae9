"""Likelihood of the chosen response, and its odds against the other: ORPO.

Source: Hong et al. (2024), ORPO, -a_w - strength · log sigmoid(log odds_w - log
odds_l) with odds = P / (1 - P) and P = exp a, a the average log-probability, as
released in TRL. Departures: each response is averaged over its own tokens;
``gap`` is the clamp, and past a = -gap the log-odds go on as a straight line, because
their derivative 1 / (1 - P) grows without bound; a choice among K options has one
likelihood term and K - 1 odds terms.
"""

from math import expm1

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import DISTANCE, NOT_NEGATIVE, About, Takes, Trains
from fedpref.objectives._terms import of_chosen, pair_sum, per_token

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.POLICY,
    source="ORPO, Hong et al. (2024), as released in TRL",
    ranges={"strength": NOT_NEGATIVE, "gap": DISTANCE},
    bound="1 + strength / (1 - exp(-gap))",
)


def loss(
    policy: Tensor,
    lengths: Tensor,
    choice: Tensor,
    *,
    strength: float = 0.1,
    gap: float = 0.1,
) -> Tensor:
    """-a_c, plus strength · sum over the others j of -log sigmoid(o_c - o_j).

    Here a = log policy / length and o = a - log(1 - exp a), its log-odds.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, K]``; absent
            options are -inf.
        lengths: Response tokens, ``[records, K]``.
        choice: Index of the chosen option c, ``[records]``.
        strength: Of the odds term.
        gap: Above ``a = -gap`` (in nats a token) log-odds are a straight line, and
            their derivative stays at 1 / (1 - exp(-gap)).

    Returns:
        One number a record, in nats.

    Does not give: a policy that stays near a base; there is none in it.

    >>> import torch
    >>> policy = torch.tensor([[1 / 4, 1 / 3]], dtype=torch.float64).log()
    >>> loss(policy, torch.tensor([[2, 1]]), torch.tensor([0]))  # odds 1 and 1/2
    tensor([0.7337], dtype=torch.float64)
    """
    mean = per_token(policy, lengths)
    slope = -1 / expm1(-gap)

    def log_odds(a: Tensor) -> Tensor:
        inside = a.clamp(max=-gap)
        return inside - (-inside.expm1()).log() + slope * (a + gap).relu()

    def term(won: Tensor, lost: Tensor) -> Tensor:
        return softplus(log_odds(lost) - log_odds(won))

    return strength * pair_sum(mean, choice, term) - of_chosen(mean, choice)
