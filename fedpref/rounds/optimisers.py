"""Server optimisers: pairs of pure functions ``(init, update)``.

They see released sums only, so whatever they do is post-processing and costs nothing.
``update`` takes the mean update (a descent *gradient*) and returns the step to add.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fedpref.core.types import Float

State = Mapping[str, Float]


@dataclass(frozen=True)
class Optimiser:
    """``init(size) -> state`` and ``update(gradient, state) -> (step, state)``."""

    name: str
    init: Callable[[int], State]
    update: Callable[[Float, State], tuple[Float, State]]


def sgd(*, lr: float = 1.0, momentum: float = 0.9) -> Optimiser:
    """Gradient descent with heavy-ball momentum (Polyak, 1964).

    v <- momentum v + g; step = -lr v.

    >>> descent = sgd(lr=0.5, momentum=0.9)
    >>> step, state = descent.update(np.ones(1), descent.init(1))
    >>> step, state = descent.update(np.ones(1), state)
    >>> step.tolist()
    [-0.95]
    """

    def init(size: int) -> State:
        return {"velocity": np.zeros(size)}

    def update(gradient: Float, state: State) -> tuple[Float, State]:
        velocity = momentum * state["velocity"] + gradient
        return -lr * velocity, {"velocity": velocity}

    return Optimiser("sgd", init, update)


def adam(
    *, lr: float = 0.1, beta1: float = 0.9, beta2: float = 0.99, eps: float = 1e-8
) -> Optimiser:
    """Adam (Kingma and Ba, 2015, algorithm 1) on the released mean.

    The second moment holds the square of the noise too; nothing corrects for it here.

    >>> step, _ = adam(lr=0.1).update(np.array([3.0]), adam(lr=0.1).init(1))
    >>> step.round(6).tolist()  # the first step has length lr whatever the gradient
    [-0.1]
    """

    def init(size: int) -> State:
        return {
            "first": np.zeros(size),
            "second": np.zeros(size),
            "steps": np.zeros(1),
        }

    def update(gradient: Float, state: State) -> tuple[Float, State]:
        steps = state["steps"] + 1
        first = beta1 * state["first"] + (1 - beta1) * gradient
        second = beta2 * state["second"] + (1 - beta2) * gradient**2
        mean = first / (1 - beta1**steps)
        spread = np.sqrt(second / (1 - beta2**steps))
        step = -lr * mean / (spread + eps)
        return step, {"first": first, "second": second, "steps": steps}

    return Optimiser("adam", init, update)
