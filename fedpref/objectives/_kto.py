"""The value function of KTO; its forms differ in the point of zero."""

import torch
from torch import Tensor

from fedpref.objectives._about import POSITIVE

RANGES = {"beta": POSITIVE, "desirable": POSITIVE, "undesirable": POSITIVE}
BOUND = "max(desirable, undesirable) * beta / 4"


def value(
    s: Tensor,
    label: Tensor,
    zero: Tensor | float,
    *,
    beta: float,
    desirable: float,
    undesirable: float,
) -> Tensor:
    """Loss of each thumb, ``[records]``.

    Up: desirable (1 - sigmoid(beta (s - zero))).
    Down: undesirable (1 - sigmoid(beta (zero - s))).
    """
    up = desirable * torch.sigmoid(beta * (zero - s))
    down = undesirable * torch.sigmoid(beta * (s - zero))
    return torch.where(label.bool(), up, down)
