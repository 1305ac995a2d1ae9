"""Arithmetic that several objectives share: pairs, log-ratios, means, clamps.

Guarantees: row i of every result depends on row i alone, and :func:`group_mean` on the
rows of one group. An option that is absent (-inf) adds nothing and has gradient 0; one
that is NaN stays NaN, so that a broken record is seen. Clamped functions are continued
by a straight line: past the clamp the gradient stops growing and does not vanish.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fedpref.errors import ObjectiveError

ABSENT = float("-inf")


def pair_sum(
    values: Tensor, choice: Tensor, term: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Sum of ``term(chosen, other)`` over the options that were not chosen.

    Args:
        values: ``[records, K]``; absent options are -inf.
        choice: index of the chosen option, ``[records]``.
        term: of two broadcasting tensors; finite at finite values.

    Returns:
        ``[records]``; 0 where a record has a single option.

    >>> values = torch.tensor([[3.0, 1.0, ABSENT], [3.0, 1.0, 0.0]])
    >>> pair_sum(values, torch.tensor([0, 0]), lambda won, lost: won - lost)
    tensor([2., 5.])
    """
    others = values.ne(ABSENT).scatter(1, choice[:, None], False)
    won = values.gather(1, choice[:, None])
    terms = term(won, values.masked_fill(~others, 0.0))
    return terms.masked_fill(~others, 0.0).sum(1)


def of_chosen(values: Tensor, choice: Tensor) -> Tensor:
    """The value of the chosen option, ``[records]``."""
    return values.gather(1, choice[:, None]).squeeze(1)


def log_ratios(policy: Tensor, reference: Tensor) -> Tensor:
    """s = log policy - log reference of each option, -inf where it is absent."""
    absent = policy.eq(ABSENT)
    ratios = policy.masked_fill(absent, 0.0) - reference.masked_fill(absent, 0.0)
    return ratios.masked_fill(absent, ABSENT)


def per_token(values: Tensor, lengths: Tensor) -> Tensor:
    """``values / lengths``, -inf where an option is absent; a length is at least 1."""
    absent = values.eq(ABSENT)
    mean = values.masked_fill(absent, 0.0) / lengths.clamp(min=1)
    return mean.masked_fill(absent, ABSENT)


def single_ratio(policy: Tensor, reference: Tensor) -> Tensor:
    """s of the only completion, ``[records]``.

    Raises:
        ObjectiveError: records have several options.
    """
    if policy.shape[1] != 1:
        raise ObjectiveError(
            f"options = {policy.shape[1]}, must be 1: a thumb is about one completion; "
            "for choices use an objective such as dpo"
        )
    return (policy - reference).squeeze(1)


def record_mean(scores: Tensor) -> Tensor:
    """Mean reward of each record's options, ``[records]``."""
    present = scores.ne(ABSENT)
    return scores.masked_fill(~present, 0.0).sum(1) / present.sum(1)


def group_mean(values: Tensor, group: Tensor) -> Tensor:
    """Mean of ``values`` over the records of the same group, ``[records]``.

    >>> group_mean(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([7, 7, 2]))
    tensor([2., 2., 9.])
    """
    known, place = torch.unique(group, return_inverse=True)
    sums = values.new_zeros(len(known)).index_add(0, place, values)
    return (sums / torch.bincount(place, minlength=len(known)))[place]


def square(x: Tensor, clamp: float) -> Tensor:
    """x² up to ``|x| = clamp``, then a straight line of slope 2 clamp.

    >>> square(torch.tensor([1.0, -3.0]), 2.0)  # 1, and 2·2·3 - 2²
    tensor([1., 8.])
    """
    inside = x.clamp(-clamp, clamp)
    return inside * (2 * x - inside)


def exponential(x: Tensor, clamp: float) -> Tensor:
    """exp x up to ``x = clamp``, then a straight line of slope exp clamp.

    >>> exponential(torch.tensor([-1.0, 3.0]), 0.0)  # 1/e, and 1 + 3
    tensor([0.3679, 4.0000])
    """
    return x.clamp(max=clamp).exp() * (1 + (x - clamp).relu())
