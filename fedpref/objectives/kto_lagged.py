"""Thumbs against a point of zero that was released a round ago: KTO made decomposable.

Source: Ethayarajh et al. (2024), KTO as released in HALOs and TRL. Departures: z0 is
the mean of mismatched log-ratios that the round before has released, with its noise,
between 0 and ``bound``. It is one more coordinate of each unit's contribution, clipped
and noised with the rest.
"""

from torch import Tensor

from fedpref.objectives._about import POSITIVE, About, Coupling, Takes, Trains
from fedpref.objectives._kto import BOUND, RANGES, value
from fedpref.objectives._terms import single_ratio

ABOUT = About(
    takes=Takes.THUMB,
    trains=Trains.POLICY,
    source="KTO, Ethayarajh et al. (2024), with a released z0",
    ranges=RANGES | {"bound": POSITIVE, "statistic_scale": POSITIVE},
    bound=BOUND,
    coupling=Coupling.RELEASED,
    safe=("kto_zero",),
    pairs=True,
)


def loss(
    policy: Tensor,
    reference: Tensor,
    label: Tensor,
    previous: Tensor,
    *,
    beta: float = 0.1,
    desirable: float = 1.0,
    undesirable: float = 1.0,
    bound: float = 20.0,
) -> Tensor:
    """As ``kto_zero`` on s - z0, with z0 = ``previous`` between 0 and ``bound``.

    Args:
        policy: Log-probability summed over response tokens, ``[records, 1]``.
        reference: The same under the frozen base.
        label: Thumbs up (1) or down (0), ``[records]``.
        previous: The mean released in the round before, ``[1]``, in nats; 0 at first.
        beta: In 1 / nat.
        desirable: Weight of thumbs up.
        undesirable: Weight of thumbs down.
        bound: Largest z0, in nats.

    Returns:
        One number a record, between 0 and its weight.

    Raises:
        ObjectiveError: records have several options.

    Does not give: a z0 of the present policy; with few people it is mostly noise. A
    contribution that is clipped is clipped with its statistic, so z0 is then too small.
    Mismatched pairs are of one person, so it is refused unless the person is the unit.

    >>> import torch
    >>> s = torch.tensor([[3.0], [3.0]], dtype=torch.float64)
    >>> zero = torch.tensor([1.0], dtype=torch.float64)
    >>> loss(s, 0 * s, torch.tensor([1, 0]), zero, beta=0.5)  # 0.5 · (3 - 1)
    tensor([0.2689, 0.7311], dtype=torch.float64)
    """
    zero = previous.detach().clamp(0, bound)
    weights = {"desirable": desirable, "undesirable": undesirable}
    return value(single_ratio(policy, reference), label, zero, beta=beta, **weights)


def statistic(
    mismatched: Tensor, *, bound: float = 20.0, statistic_scale: float = 0.025
) -> Tensor:
    """Log-ratio with another completion, clipped to ±bound, times the scale.

    Args:
        mismatched: ``[records]``, in nats.
        bound: In nats.
        statistic_scale: Share of the common clip that the coordinate takes: a small
            one leaves more to the gradient and makes the release noisier.

    Returns:
        ``[records]``, at most ``statistic_scale * bound`` in size, without gradient.
    """
    return statistic_scale * mismatched.detach().clamp(-bound, bound)
