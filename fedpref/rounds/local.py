"""Several steps on the device in place of one gradient.

Source: the local steps of federated averaging (McMahan et al. 2017). A round's mean is
divided by the plan's clip, so plain averaging of where devices came to is a server's
``sgd`` with lr = clip and momentum 0, where nobody is clipped.

Guarantees: what a device answers is a function of its own person's records and of what
was sent to it, so a clip of it bounds the person as before, whatever the optimiser or
the number of steps; it is a descent direction in model units, like a gradient.

Does not: add noise or clip anything; ``rounds.contribution`` does, next. It does not
serve plans whose unit is a record: steps mix all records of a person.
"""

import numpy as np

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.rounds.contribution import Gradient
from fedpref.rounds.optimisers import Optimiser


def after_steps(
    gradient: Gradient, optimiser: Optimiser, *, steps: int, size: int
) -> Gradient:
    """The way that ``steps`` local steps go back: model sent minus model reached.

    Args:
        gradient: The person's gradient, one row; what it has behind the model's
            coordinates (a statistic) is taken where the model was sent to.
        optimiser: Starts anew in each round. Local gradients carry no noise, so it is
            told a variance of 0.
        steps: 1 or more. One step of ``sgd`` with lr 1 gives the gradient itself.
        size: Coordinates of the model; what was sent behind them stays what it is.

    Raises:
        InputError: ``steps`` is below 1; or, when called, there is not one row.

    Does not give: FedAvg's weights; everybody counts alike, whatever their number of
    records. A model that drifts far from what was sent is cut by the clip.

    >>> from fedpref.rounds.optimisers import sgd
    >>> to_three = lambda model: (model - 3.0)[None]
    >>> moved = after_steps(to_three, sgd(lr=0.5, momentum=0.0), steps=2, size=1)
    >>> moved(np.zeros(1)).tolist()  # 0, 1.5, 2.25
    [[-2.25]]
    """
    if steps < 1:
        raise InputError(f"steps = {steps}, must be at least 1")

    def moved(sent: Float) -> Float:
        at, behind = np.split(sent, [size])
        state = optimiser.init(size)
        statistic = None
        for _ in range(steps):
            row = _only(gradient(np.concatenate([at, behind])))
            statistic = row[size:] if statistic is None else statistic
            change, state = optimiser.update(row[:size], state, model=at, variance=0.0)
            at = at + change
        return np.concatenate([sent[:size] - at, statistic])[None]

    return moved


def _only(rows: Float) -> Float:
    if len(rows) != 1:
        raise InputError(f"units = {len(rows)}, must be 1: steps are of one person")
    row: Float = rows[0]
    return row
