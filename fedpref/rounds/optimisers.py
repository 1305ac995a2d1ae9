"""Optimisers: pairs of pure functions ``(init, update)``.

They see released means only, so whatever they do is post-processing and costs nothing.
``update`` takes a mean (a descent *gradient*), the model it was taken at and the
variance of the noise in each of its coordinates, which is public; it returns the step
to add. A device may use the same functions for noisy local steps of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedpref.core.types import Float

State = Mapping[str, Float]


class Update(Protocol):
    """One step; ``variance`` is that of the noise in a coordinate, model units."""

    def __call__(
        self, gradient: Float, state: State, *, model: Float, variance: float
    ) -> tuple[Float, State]:
        """The step to add to ``model``, and the new state."""


@dataclass(frozen=True)
class Optimiser:
    """``init(size) -> state`` and ``update``, see :class:`Update`."""

    name: str
    init: Callable[[int], State]
    update: Update


def sgd(*, lr: float = 1.0, momentum: float = 0.9) -> Optimiser:
    """Gradient descent with heavy-ball momentum (Polyak, 1964).

    v <- momentum v + g; step = -lr v.

    >>> descent, at = sgd(lr=0.5, momentum=0.9), {"model": np.zeros(1), "variance": 0.0}
    >>> step, state = descent.update(np.ones(1), descent.init(1), **at)
    >>> step, state = descent.update(np.ones(1), state, **at)
    >>> step.tolist()
    [-0.95]
    """

    def init(size: int) -> State:
        return {"velocity": np.zeros(size)}

    def update(
        gradient: Float, state: State, *, model: Float, variance: float
    ) -> tuple[Float, State]:
        velocity = momentum * state["velocity"] + gradient
        return -lr * velocity, {"velocity": velocity}

    return Optimiser("sgd", init, update)


def adam(
    *, lr: float = 0.1, beta1: float = 0.9, beta2: float = 0.99, eps: float = 1e-8
) -> Optimiser:
    """Adam (Kingma and Ba, 2015, algorithm 1) on the released mean.

    The second moment holds the square of the noise too; nothing corrects for it here.

    >>> first, at = adam(lr=0.1), {"model": np.zeros(1), "variance": 0.0}
    >>> step, _ = first.update(np.array([3.0]), first.init(1), **at)
    >>> step.round(6).tolist()  # the first step has length lr whatever the gradient
    [-0.1]
    """

    def init(size: int) -> State:
        return {
            "first": np.zeros(size),
            "second": np.zeros(size),
            "steps": np.zeros(1),
        }

    def update(
        gradient: Float, state: State, *, model: Float, variance: float
    ) -> tuple[Float, State]:
        steps = state["steps"] + 1
        first = beta1 * state["first"] + (1 - beta1) * gradient
        second = beta2 * state["second"] + (1 - beta2) * gradient**2
        mean = first / (1 - beta1**steps)
        spread = np.sqrt(second / (1 - beta2**steps))
        step = -lr * mean / (spread + eps)
        return step, {"first": first, "second": second, "steps": steps}

    return Optimiser("adam", init, update)


def dp_adamw(
    *,
    lr: float = 0.1,
    beta1: float = 0.9,
    beta2: float = 0.99,
    floor: float = 1e-4,
    decay: float = 0.0,
) -> Optimiser:
    """DP-AdamW: Adam that knows how much of its second moment is noise.

    Source: a *reconstruction* of the optimiser of Chen et al. (2025), *Improved
    Algorithms for Differentially Private Language Model Alignment*, from a description
    of it. With released mean g, its noise of variance s^2 a coordinate, and model x:

        m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
        n <- beta2 n + (1 - beta2) s^2        the noise in v, on average
        u  = max((v - n) / (1 - beta2^t), floor)
        step = -lr m / (1 - beta1^t) / sqrt(u) - lr decay x

    Departures: s^2 is what was added to this very mean (the description drops the clip
    and the divisor, and has it constant); bias factors are Adam's; ``floor`` stands in
    place of a small epsilon, without which coordinates that are all noise would get
    steps without bound. Decay is decoupled (Loshchilov and Hutter, 2019).

    Args:
        lr: Step of a coordinate whose mean, without its noise, keeps its size and sign
            and has a square above ``floor``; single steps may be longer.
        beta1: Memory of the mean.
        beta2: Memory of the second moment, and of the noise in it.
        floor: Least second moment, in squared units of the mean; the setting that
            matters most. Below it a step is proportional to the mean, as in ``sgd``.
        decay: Part of the model that a step of ``lr`` = 1 takes off.

    >>> noisy, at = dp_adamw(lr=0.1, floor=1.0), {"model": np.zeros(1), "variance": 5.0}
    >>> step, _ = noisy.update(np.array([3.0]), noisy.init(1), **at)
    >>> step.round(6).tolist()  # -0.1 * 3 / sqrt(9 - 5)
    [-0.15]
    """

    def init(size: int) -> State:
        return {
            "first": np.zeros(size),
            "second": np.zeros(size),
            "noise": np.zeros(1),
            "steps": np.zeros(1),
        }

    def update(
        gradient: Float, state: State, *, model: Float, variance: float
    ) -> tuple[Float, State]:
        steps = state["steps"] + 1
        first = beta1 * state["first"] + (1 - beta1) * gradient
        second = beta2 * state["second"] + (1 - beta2) * gradient**2
        noise = beta2 * state["noise"] + (1 - beta2) * variance
        mean = first / (1 - beta1**steps)
        signal = np.maximum((second - noise) / (1 - beta2**steps), floor)
        step = -lr * (mean / np.sqrt(signal) + decay * model)
        after = {"first": first, "second": second, "noise": noise, "steps": steps}
        return step, after

    return Optimiser("dp_adamw", init, update)
