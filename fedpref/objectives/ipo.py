"""Log-ratios that differ by a fixed amount, not by ever more: IPO.

Source: Azar et al. (2023), IPO, equation 17 by TRL's reading of it; TRL and HALOs use
log-probabilities per token there, and so does this. Departures: ``clamp``, past which
the square is a straight line (at the start its slope is already -1 / tau); a choice
among K options counts as its K - 1 pairs, summed.
"""

from torch import Tensor

from fedpref.objectives._about import POSITIVE, About, Takes, Trains
from fedpref.objectives._terms import log_ratios, pair_sum, per_token, square

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.POLICY,
    source="IPO, Azar et al. (2023), as released in TRL and HALOs",
    ranges={"tau": POSITIVE, "clamp": POSITIVE},
    bound="2 * clamp",
)


def loss(
    policy: Tensor,
    reference: Tensor,
    lengths: Tensor,
    choice: Tensor,
    *,
    tau: float = 0.1,
    clamp: float = 10.0,
) -> Tensor:
    """Sum over the options j not chosen of (s_c - s_j - 1 / (2 tau))².

    Here s = (log policy - log reference) / length.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, K]``; absent
            options are -inf.
        reference: The same under the frozen base.
        lengths: Response tokens, ``[records, K]``.
        choice: Index of the chosen option c, ``[records]``.
        tau: The wanted difference is 1 / (2 tau) nats a token.
        clamp: Past this distance from the wanted difference the square is a straight
            line: derivatives are at most 2 · clamp per nat a token.

    Returns:
        One number a record, in nats² per token².

    Does not give: a likelihood; probabilities of choices.

    >>> import torch
    >>> policy = torch.tensor([[-4.0, -9.0]], dtype=torch.float64)
    >>> base = torch.tensor([[-6.0, -8.0]], dtype=torch.float64)
    >>> tokens = torch.tensor([[2, 1]])
    >>> loss(policy, base, tokens, torch.tensor([0]), tau=0.5)  # (1 + 1 - 1)²
    tensor([1.], dtype=torch.float64)
    """
    s = per_token(log_ratios(policy, reference), lengths)

    def term(won: Tensor, lost: Tensor) -> Tensor:
        return square(won - lost - 1 / (2 * tau), clamp)

    return pair_sum(s, choice, term)
