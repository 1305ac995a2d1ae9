"""How likely people's answers are under linear utilities, and one person's best offset.

Guarantees: row ``i`` of every result depends on the answers of person ``i`` and on
shared weights alone (up to the order of floating-point sums); a person without answers
has a zero gradient, a zero offset, and the prior as posterior. Does not protect
anybody: nothing here adds noise, and offsets are meant to stay on the device.

A choice follows the conditional logit of McFadden (1974), one softmax a record; with
two options that is Bradley-Terry. A rating is its utility plus Gaussian noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from fedpref.core.types import Float, Integer
from fedpref.errors import FedprefError, InputError
from fedpref.study.answers import Answers, Kind, only

NOISE = 0.5  # public: standard deviation of a rating given its utility; 25 of 100
STEPS = 100
HALVINGS = 60
DONE = 1e-12  # of the loss: so little is left to gain
ROUNDING = 2.0**-46  # of the sizes of its terms: what arithmetic cannot tell from none
BLOCK = 2**22  # floats of one batch of people


@dataclass(frozen=True, repr=False, eq=False)
class Offsets:
    """Gaussian posterior of each person's own weights, around shared ones.

    ``mean [people, d]`` is the most probable offset; ``covariance [people, d, d]`` is
    the inverse of the curvature there (Laplace's approximation; exact for ratings).
    """

    mean: Float
    covariance: Float

    def __repr__(self) -> str:
        return f"Offsets(shape={self.mean.shape}, contents hidden)"


def utilities(answers: Answers, weights: Float) -> Float:
    """Utility of each option to the person who answered, ``[options]``.

    Args:
        answers: with features ``[texts, d]``.
        weights: ``[d]``, the same for all, or ``[people, d]``.
    """
    if weights.ndim == 1:
        return np.asarray((answers.features @ weights)[answers.text])
    owner = answers.owner
    texts = len(answers.features)
    if len(weights) * texts <= len(owner) * answers.dimension:
        return np.asarray((weights @ answers.features.T)[owner, answers.text])
    return np.asarray((answers.features[answers.text] * weights[owner]).sum(axis=1))


def chances(answers: Answers, utility: Float) -> Float:
    """Softmax within each record, ``[options]``."""
    record, start = answers.record, answers.start
    if not len(start):
        return utility
    shifted = np.exp(utility - np.maximum.reduceat(utility, start)[record])
    return np.asarray(shifted / np.add.reduceat(shifted, start)[record])


def log_likelihood(answers: Answers, weights: Float, *, noise: float = NOISE) -> Float:
    """Log-likelihood of each person's answers in nats, ``[people]``.

    That of ratings leaves out the constant that does not depend on ``weights``.

    >>> rows = np.array([[1.0], [0.0]])
    >>> text, zero, one = np.array([0, 1]), np.array([0]), np.zeros(1)
    >>> pair = Answers(Kind.CHOICE, rows, text, zero, zero, one, zero, ("a",))
    >>> log_likelihood(pair, np.array([np.log(3)])).round(6) == np.log(0.75).round(6)
    array([ True])
    """
    each = _log_likelihoods(answers, utilities(answers, weights), noise)
    return np.bincount(answers.user, each, len(answers.people)).astype(np.float64)


def gradients(answers: Answers, weights: Float, *, noise: float = NOISE) -> Float:
    """Each person's direction of ascent, summed over their records, ``[people, d]``.

    Args:
        answers: of any number of people; who has no answer gets a zero row.
        weights: ``[d]``, the same for all, or ``[people, d]``.
        noise: standard deviation of a rating given its utility; not used for choices.
    """
    return _spread(answers, _pulls(answers, utilities(answers, weights), noise))


def residual(answers: Answers, weights: Float) -> float:
    """Root mean square of rating minus utility: a fitted ``noise``, not private."""
    gap = answers.value - utilities(answers, weights)
    return float(np.sqrt(np.mean(gap**2)))


def map_offsets(
    answers: Answers, base: Float, precision: Float, *, noise: float = NOISE
) -> Offsets:
    """Each person's most probable offset to ``base``, under a Gaussian prior.

    Maximises ``log-likelihood(base + b) - b' precision b / 2`` over the offset ``b`` by
    Newton's method with step halving, for many people at once. The function is strictly
    concave, so the maximum is unique.

    Args:
        answers: each person's own ones; without any the offset is zero.
        base: ``[d]``, the same for all, or ``[people, d]``.
        precision: ``[d, d]``, symmetric, positive definite.
        noise: standard deviation of a rating given its utility; not used for choices.

    Raises:
        InputError: ``precision`` has another shape or is not positive definite.
    """
    _require_precision(precision, answers.dimension)
    people, d = len(answers.people), answers.dimension
    base = np.broadcast_to(base, (people, d))
    mean = np.zeros((people, d))
    covariance = np.empty((people, d, d))
    for block in _blocks(answers):
        own = _of(answers, block)
        mean[block], hessian = _newton(own, base[block], precision, noise)
        covariance[block] = np.linalg.inv(hessian)
    return Offsets(mean, covariance)


def curvature(answers: Answers, weights: Float, *, noise: float = NOISE) -> Float:
    """Minus the second derivative of each log-likelihood, ``[people, d, d]``."""
    rows = answers.features[answers.text]
    if answers.kind is Kind.RATING:
        rows = rows / noise
    elif len(answers.start):
        chance = chances(answers, utilities(answers, weights))[:, None]
        mean = np.add.reduceat(chance * rows, answers.start)
        rows = np.sqrt(chance) * (rows - mean[answers.record])
    owner = answers.owner
    people, d = len(answers.people), answers.dimension
    options = np.bincount(owner, minlength=people)
    widest = int(options.max(initial=0))
    place = np.arange(len(owner)) - np.repeat(np.cumsum(options) - options, options)
    padded = np.zeros((people, widest, d))
    padded[owner, place] = rows
    return padded.transpose(0, 2, 1) @ padded


def _newton(
    answers: Answers, base: Float, precision: Float, noise: float
) -> tuple[Float, Float]:
    """The offsets ``[people, d]`` of one block and the Hessians there."""

    def loss(offset: Float) -> Float:
        prior = np.einsum("pi,ij,pj->p", offset, precision, offset) / 2
        fit: Float = prior - log_likelihood(answers, base + offset, noise=noise)
        return fit

    offset = np.zeros_like(base)
    now = loss(offset)
    moving = np.ones(len(base), dtype=bool)  # who is done stands still: rows stay apart
    for _ in range(STEPS):
        weights = base + offset
        hessian = precision + curvature(answers, weights, noise=noise)
        if not moving.any():
            return offset, hessian
        slope = offset @ precision - gradients(answers, weights, noise=noise)
        step = np.linalg.solve(hessian, slope[:, :, None])[:, :, 0]
        step[~moving] = 0
        decrement = np.einsum("pi,pi->p", slope, step)
        moving &= decrement > DONE * (1 + now) + _rounding(offset, precision)
        length = np.ones((len(base), 1))
        for _ in range(HALVINGS):
            then = loss(offset - length * step)
            worse = moving & (then > now - 0.1 * length[:, 0] * decrement)
            if not worse.any():
                break
            length[worse] /= 2
        offset, now = offset - length * step, then
    raise FedprefError(
        f"Newton's method: decrement = {decrement[moving].max():.3g} after {STEPS} "
        "steps; check that the features are of moderate size"
    )


def _rounding(offset: Float, precision: Float) -> Float:
    """What a loss under a stiff prior, a sum of terms that cancel, cannot tell."""
    size = np.abs(offset)
    terms = np.einsum("pi,ij,pj->p", size, np.abs(precision), size)
    return np.asarray(ROUNDING * terms)


def _log_likelihoods(answers: Answers, utility: Float, noise: float) -> Float:
    """Of each record, ``[records]``."""
    if answers.kind is Kind.RATING:
        return np.asarray(-(((answers.value - utility) / noise) ** 2) / 2)
    if not len(answers.start):
        return np.zeros(0)
    gap = utility - utility[answers.chosen][answers.record]
    top = np.maximum.reduceat(gap, answers.start)
    rest = np.add.reduceat(np.exp(gap - top[answers.record]), answers.start)
    return np.asarray(-top - np.log(rest))


def _pulls(answers: Answers, utility: Float, noise: float) -> Float:
    """Derivative of the log-likelihood by the utility of each option, ``[options]``."""
    if answers.kind is Kind.RATING:
        return np.asarray((answers.value - utility) / noise**2)
    pull = -chances(answers, utility)
    pull[answers.chosen] += 1
    return pull


def _spread(answers: Answers, pull: Float) -> Float:
    """Sum over each person's options of pull times features, ``[people, d]``."""
    shape = (len(answers.people), len(answers.features))
    by_text = csr_array((pull, (answers.owner, answers.text)), shape=shape)
    return np.asarray(by_text @ answers.features)


def _blocks(answers: Answers) -> Iterator[Integer]:
    """People in batches of bounded memory, together with others of like length."""
    options = np.bincount(answers.owner, minlength=len(answers.people))
    order = np.argsort(options, kind="stable")
    d, begin = answers.dimension, 0
    while begin < len(order):
        end = begin + 1
        while end < len(order):
            wide = max(int(options[order[end]]), d)
            if (end + 1 - begin) * wide * d > BLOCK:
                break
            end += 1
        yield np.sort(order[begin:end])
        begin = end


def _of(answers: Answers, block: Integer) -> Answers:
    """The answers of the people in ``block``, numbered anew from 0."""
    number = np.full(len(answers.people), -1)
    number[block] = np.arange(len(block))
    own = only(answers, number[answers.user] >= 0)
    names = tuple(answers.people[person] for person in block)
    return replace(own, user=number[own.user], people=names)


def _require_precision(precision: Float, d: int) -> None:
    if precision.shape != (d, d) or not np.allclose(precision, precision.T):
        raise InputError(
            f"precision: shape = {precision.shape}, must be symmetric ({d}, {d}); "
            "give the inverse of a prior covariance"
        )
    lowest = float(np.linalg.eigvalsh(precision)[0])
    if not lowest > 0:
        raise InputError(
            f"precision: smallest eigenvalue = {lowest:.3g}, must be positive: without "
            "a prior, answers that a linear score separates have no optimum"
        )
