"""Several objectives at once, mixed by a preference: the loss of PARM.

Source: PARM (arXiv 2505.06274), the sum over objectives k of a_k l_k with l_k = -log
sigmoid(beta (log policy(y_w) - log policy(y_l)) - margin), w and l by the k-th label,
in its released code. Departures: one ``beta`` for all objectives; an objective without
an answer adds nothing, and the others are not scaled up for it.
"""

from torch import Tensor
from torch.nn.functional import softplus

from fedpref.errors import ObjectiveError
from fedpref.objectives._about import NOT_NEGATIVE, POSITIVE, About, Takes, Trains

ABOUT = About(
    takes=Takes.LABELS,
    trains=Trains.POLICY,
    source="PARM (arXiv 2505.06274), released code",
    ranges={"beta": POSITIVE, "margin": NOT_NEGATIVE},
    bound="beta",
)


def loss(
    policy: Tensor,
    labels: Tensor,
    preference: Tensor,
    *,
    beta: float = 0.01,
    margin: float = 0.0,
) -> Tensor:
    """Sum over the objectives k of a_k · -log sigmoid(beta (p_w - p_l) - margin).

    Args:
        policy: Log-probabilities p of both responses, summed over tokens, under the
            model at this preference, ``[records, 2]``.
        labels: Index of the winner by each objective, ``[records, objectives]``; the
            two may differ. -1: no answer, which adds nothing.
        preference: Weights a of the objectives, ``[records, objectives]``, 0 or more,
            each row of sum 1: public randomness, or a person's own, which then stays on
            their device.
        beta: Scale of the implicit reward, in 1 / nat.
        margin: By how much a winner should win.

    Returns:
        One number a record, in nats.

    Raises:
        ObjectiveError: records do not have two responses, or there are fewer than two
            objectives.

    Does not give: a base to stay near; responses of different length on equal terms.

    >>> import torch
    >>> policy = torch.tensor([[-5.0, -7.0]], dtype=torch.float64)
    >>> split, weights = torch.tensor([[0, 1]]), torch.tensor([[0.75, 0.25]]).double()
    >>> loss(policy, split, weights, beta=0.5)  # 0.75 · 0.3133 + 0.25 · 1.3133
    tensor([0.5633], dtype=torch.float64)
    """
    if policy.shape[1] != 2 or labels.shape[1] < 2:
        raise ObjectiveError(
            f"responses = {policy.shape[1]} and objectives = {labels.shape[1]}, must "
            "be 2 and at least 2; for one objective use dpo or simpo"
        )
    first = policy[:, :1] - policy[:, 1:]
    won_by = first * (1 - 2 * labels.clamp(min=0))
    terms = preference * softplus(margin - beta * won_by)
    return terms.masked_fill(labels.lt(0), 0.0).sum(1)
