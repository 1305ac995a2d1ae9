"""Likelihood of the chosen response alone: supervised fine-tuning.

Source: maximum likelihood, -log policy / length. Departures: each response is divided
by its own number of tokens, because the usual mean over the tokens of a batch couples
its records; what was not chosen is not used.
"""

from torch import Tensor

from fedpref.objectives._about import About, Takes, Trains
from fedpref.objectives._terms import of_chosen, per_token

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.POLICY,
    source="maximum likelihood, per token of the response",
    bound="1",
)


def loss(policy: Tensor, lengths: Tensor, choice: Tensor) -> Tensor:
    """-log policy of the chosen option, per token.

    Args:
        policy: Log-probabilities summed over response tokens, ``[records, K]``; absent
            options are -inf.
        lengths: Response tokens, ``[records, K]``.
        choice: Index of the chosen option, ``[records]``.

    Returns:
        One number a record, in nats a token.

    Does not give: anything about the responses that were not chosen.

    >>> import torch
    >>> policy = torch.tensor([[-6.0, -9.0]], dtype=torch.float64)
    >>> loss(policy, torch.tensor([[4, 3]]), torch.tensor([0]))  # 6 / 4
    tensor([1.5000], dtype=torch.float64)
    """
    return -of_chosen(per_token(policy, lengths), choice)
