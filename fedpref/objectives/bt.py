"""The chosen option against each other one: Bradley-Terry.

Source: Bradley and Terry (1952), *Rank Analysis of Incomplete Block Designs*, the model
of a single comparison. Departures: a choice among K options counts as its K - 1 pairs,
summed, still as one record; ``margin`` is the usual shift of the difference in rewards;
``smoothing`` counts every answer as wrong with that probability.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.objectives._about import ANY, BELOW_HALF, About, Takes, Trains
from fedpref.objectives._terms import pair_sum

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="Bradley and Terry (1952)",
    ranges={"margin": ANY, "smoothing": BELOW_HALF},
    bound="1 - smoothing",
)


def loss(
    scores: Tensor, choice: Tensor, *, margin: float = 0.0, smoothing: float = 0.0
) -> Tensor:
    """Sum over the options j that were not chosen, with d = s_c - s_j - margin.

    -(1 - smoothing) log sigmoid(d) - smoothing log sigmoid(-d).

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf and
            add nothing.
        choice: Index of the chosen option c, ``[records]``.
        margin: By how much the chosen option should win, in units of reward.
        smoothing: Assumed share of answers that are the wrong way round.

    Returns:
        One number a record, in nats.

    Does not give: a likelihood for K > 2; the pairs of one choice are not independent.

    >>> import torch
    >>> s = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0]))  # twice log(1 + 1/e)
    tensor([0.6265], dtype=torch.float64)
    """

    def term(won: Tensor, lost: Tensor) -> Tensor:
        d = won - lost - margin
        return (1 - smoothing) * softplus(-d) + smoothing * softplus(d)

    return pair_sum(scores, choice, term)
