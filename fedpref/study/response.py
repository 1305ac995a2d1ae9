"""How what is learned together answers to one person more or less, to first order.

Guarantees: derivatives are taken along the rounds without noise, of the clipped sums
that a plan releases. Does not give: exact effects. The curvature is found at a few
points of the path, and it is meant for those who attack a release.
"""

from collections.abc import Callable
from math import sqrt

import numpy as np

from fedpref.core.clip import clip_units
from fedpref.core.moments import unsvec
from fedpref.core.types import Float
from fedpref.study.settings import AVERAGE_LAST, MOMENTUM, Learning, Settings

_DERIVATIVES = 2  # times in training at which the curvature is found
_STEP = 1e-4

Rows = Callable[[Float], Float]
"""A vector -> what each person would send, before the clip, ``[people, size]``."""


def floored(mean: Float, change: Float, settings: Settings) -> Float:
    """How the covariance made of ``mean`` moves where it changes, ``[people, size]``.

    The derivative of a function of a symmetric matrix has divided differences of the
    function of its eigenvalues (Daleckii and Krein).
    """
    floor = settings.moment_floor * settings.prior**2
    values, vectors = np.linalg.eigh(unsvec(mean))
    made = np.maximum(values, floor)
    apart = values[:, None] - values
    near = np.abs(apart) < 1e-9
    ratio = np.where(near, (values > floor)[:, None], 0.0)
    ratio = ratio + np.where(near, 0, (made[:, None] - made) / (apart + near))
    inner = vectors.T @ np.stack([unsvec(one) for one in change]) @ vectors
    outer = vectors @ (ratio * inner) @ vectors.T
    row, column = np.triu_indices(len(values))
    weights = np.where(row == column, 1.0, sqrt(2))
    return np.asarray(settings.moment_factor * outer[:, row, column] * weights)


def path(rows: Rows, learning: Learning, start: Float) -> list[Float]:
    """Where training passes without noise: before each round, and its release."""
    vector, velocity, passed = start, np.zeros_like(start), [start]
    for _ in range(learning.rounds):
        units = clip_units(rows(vector), learning.clip).rows
        velocity = MOMENTUM * velocity + units.mean(axis=0) / learning.clip
        vector = vector + learning.lr * velocity
        passed.append(vector)
    kept = _kept(learning.rounds)
    return [*passed[:-1], np.asarray(np.mean(passed[1:][-kept:], axis=0))]


def _kept(rounds: int) -> int:
    """Iterates that the release is the mean of."""
    return sum(number > rounds * (1 - AVERAGE_LAST) for number in range(1, rounds + 1))


def moved(rows: Rows, learning: Learning, passed: list[Float], half: float) -> Float:
    """The derivative of the release by each person's presence, ``[people, size]``."""
    every = -(-learning.rounds // _DERIVATIVES)

    def sums(vector: Float) -> Float:
        return clip_units(rows(vector), learning.clip).rows

    change = velocity = total = np.zeros(())
    curve = np.zeros(())
    kept = _kept(learning.rounds)
    for number, vector in enumerate(passed[:-1]):
        own = sums(vector) / learning.clip
        if number == 0:
            change, velocity, total = (np.zeros_like(own) for _ in range(3))
        if number % every == 0:
            mean = own.mean(axis=0) * learning.clip
            curve = slope(sums, vector, mean) / learning.clip
        velocity = MOMENTUM * velocity + own / half + change @ curve
        change = change + learning.lr * velocity
        if number >= learning.rounds - kept:
            total = total + change / kept
    return np.asarray(total)


def slope(rows: Rows, at: Float, mean: Float) -> Float:
    """Derivative of the mean row, ``[size, numbers]``, by forward differences."""
    people = len(rows(at))
    found = np.empty((len(at), len(mean)))
    for number in range(len(at)):
        near = at.copy()
        near[number] += _STEP
        found[number] = (rows(near).sum(axis=0) / people - mean) / _STEP
    return found
