"""Choice among K options: Luce's choice rule, the first stage of Plackett-Luce.

Source: Luce (1959), *Individual Choice Behavior*; Plackett (1975), *The Analysis of
Permutations*, of whose ranking model this is the probability of the first place. The
same likelihood is McFadden's (1974) conditional logit. No departures.
"""

from torch import Tensor

from fedpref.objectives._about import About, Takes, Trains

ABOUT = About(
    takes=Takes.CHOICE,
    trains=Trains.REWARD,
    source="Luce (1959), Plackett (1975)",
    bound="1",
)


def loss(scores: Tensor, choice: Tensor) -> Tensor:
    """Negative log-probability of each choice.

    -log( exp s_c / sum_j exp s_j ), where c is the chosen option.

    Args:
        scores: Rewards of the options, ``[records, K]``; absent options score -inf.
        choice: Index of the chosen option, ``[records]``.

    Returns:
        One number a record, in nats.

    Does not give: a bound on the gradient with respect to the model; the coefficients
    of one record have Euclidean norm at most sqrt(2).

    >>> import torch
    >>> s = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    >>> loss(s, torch.tensor([0, 0]))  # log 2 and log(1 + 1/e)
    tensor([0.6931, 0.3133], dtype=torch.float64)
    """
    chosen = scores.gather(1, choice[:, None]).squeeze(1)
    return scores.logsumexp(1) - chosen
