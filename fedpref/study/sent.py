"""What one person's device sends, given what was released so far: rows to be clipped.

Guarantees: a person's row depends on that person's answers and on released values
alone; a person without answers sends zeros. The offset, personal vector or cluster that
a device fits on the way is used for its own row only.

Does not clip, round or add noise: ``fedpref.study.noisy`` does, to all rows alike.
"""

from dataclasses import dataclass, replace

import numpy as np

from fedpref.core.moments import shorten, svec
from fedpref.core.types import Float
from fedpref.stages import Moment, Stage
from fedpref.study.answers import Answers, Kind
from fedpref.study.likelihood import (
    NOISE,
    curvature,
    gradients,
    log_likelihood,
    map_offsets,
)

_FIXED = 1e6  # precision of a coordinate that is not fitted


def levelled(answers: Answers, level: float) -> Answers:
    """The same answers; for ratings with ``level`` in place of the constant feature."""
    if answers.kind is not Kind.RATING:
        return answers
    rows = answers.features.copy()
    rows[:, -1] *= level
    return replace(answers, features=rows)


def unlevelled(
    learned: Float, answers: Answers, level: float, *, axis: int = 0
) -> Float:
    """What was learned on :func:`levelled` answers, for the answers themselves.

    Of weights ``[d]`` and a basis ``[d, K]`` the last row is multiplied by ``level``;
    of prototypes ``[K, d]`` the last column, with ``axis = 1``.
    """
    if answers.kind is not Kind.RATING:
        return learned
    found = learned.copy()
    np.moveaxis(found, axis, 0)[-1] *= level
    return found


def weight_rows(answers: Answers, weights: Float) -> Float:
    """Each person's summed gradient, ``[people, d]``."""
    return gradients(answers, weights)


def offset_rows(answers: Answers, weights: Float, prior: float, noise: float) -> Float:
    """Each person's most probable offset under the public prior, ``[people, d]``.

    For ratings it is ``prior**2`` times the gradient of their likelihood with own
    weights integrated out, so that a person's level does not drown what they share with
    others; adding the mean to the weights is a step of expectation maximisation.
    """
    precision = np.eye(len(weights)) / prior**2
    return map_offsets(answers, weights, precision, noise=noise).mean


def moment_rows(
    answers: Answers,
    weights: Float,
    prior: float,
    moment: Moment,
    stage: Stage,
    *,
    noise: float = NOISE,
) -> Float:
    """Each person's ``svec(b b')``, ``[people, coordinates of the stage]``.

    ``b`` is the maximum a posteriori offset under the public prior, shortened to the
    moment's norm; the row is scaled so that the longest offset fills the clip.
    ``noise`` is that of a rating given its utility.
    """
    offsets = offset_rows(answers, weights, prior, noise)
    rows = np.zeros((len(offsets), stage.coordinates))
    for row, offset in zip(rows, offsets, strict=True):
        row[: moment.size] = svec(shorten(offset, moment.norm))
    return rows * (stage.clip / moment.norm**2)


@dataclass(frozen=True)
class Basis:
    """Weights and a shared basis, learned together: ``w_u = w + V z_u``.

    The shape of LoRe (methods.md section 14), with a Gaussian prior on ``z_u`` in place
    of a simplex. ``z_u`` is fitted on the device under a standard normal prior for the
    released ``w`` and ``V``. With ``g`` the gradient in the weights there, ``H`` minus
    the second derivative and ``S = (I + V'HV)^-1`` the covariance that is left, the
    person's gradient in ``V`` is ``g z_u' - H V S``: of the expected log-likelihood,
    expectation maximisation under Laplace's approximation (exact for ratings). Without
    the second part training lengthens the basis without end.

    Args:
        size: Weights, d.
        rank: Columns of V, K.
        length: Of a column of V at the start.
        scale: V is this times its trained numbers: below 1 the basis moves more slowly
            and leaves more of the shared clip to the weights.
    """

    size: int
    rank: int
    length: float
    scale: float

    def start(self) -> Float:
        """Zero weights and a public orthogonal basis, ``[d (1 + K)]``."""
        draw = np.random.default_rng(0).standard_normal((self.size, self.rank))
        basis = np.linalg.qr(draw)[0] if self.rank <= self.size else draw
        first = self.length / self.scale * basis
        return np.concatenate([np.zeros(self.size), first.ravel()])

    def read(self, vector: Float) -> dict[str, Float]:
        """Weights ``[d]`` and basis ``[d, K]``."""
        basis = self.scale * vector[self.size :].reshape(self.size, self.rank)
        return {"weights": vector[: self.size], "basis": basis}

    def rows(self, answers: Answers, vector: Float) -> Float:
        """Each person's gradient in both, ``[people, d (1 + K)]``."""
        found = self.read(vector)
        basis = found["basis"]
        own = personal(answers, found["weights"], basis)
        there = found["weights"] + own @ basis.T
        slope = gradients(answers, there)
        bent = curvature(answers, there) @ basis
        left = np.linalg.inv(np.eye(self.rank) + basis.T @ bent)
        outer = self.scale * (slope[:, :, None] * own[:, None, :] - bent @ left)
        return np.concatenate([slope, outer.reshape(len(slope), -1)], axis=1)


def personal(answers: Answers, weights: Float, basis: Float) -> Float:
    """Each person's vector ``z``, ``[people, K]``: the maximum under a normal prior."""
    seen = np.column_stack([answers.features @ weights, answers.features @ basis])
    narrow = replace(answers, features=seen)
    start = np.zeros(seen.shape[1])
    start[0] = 1.0
    precision = np.diag([_FIXED] + [1.0] * basis.shape[1])
    return map_offsets(narrow, start, precision).mean[:, 1:]


@dataclass(frozen=True)
class Prototypes:
    """K sets of weights; each person adds to those that explain their answers.

    The expectation step of a mixture on the device: a person's gradient goes to each
    prototype with the chance that it is theirs, all equally likely before.
    """

    size: int
    count: int
    prior: float

    def start(self) -> Float:
        """Public small random prototypes, ``[K d]``: equal ones would stay equal."""
        draw = np.random.default_rng(0).standard_normal((self.count, self.size))
        return np.asarray(0.2 * self.prior * draw.ravel())

    def read(self, vector: Float) -> dict[str, Float]:
        """Prototypes ``[K, d]`` and their mean."""
        prototypes = vector.reshape(self.count, self.size)
        return {"weights": prototypes.mean(axis=0), "prototypes": prototypes}

    def rows(self, answers: Answers, vector: Float) -> Float:
        """Each person's gradients by prototype, ``[people, K d]``."""
        prototypes = self.read(vector)["prototypes"]
        likely = np.column_stack([log_likelihood(answers, w) for w in prototypes])
        likely -= likely.max(axis=1, keepdims=True)
        share = np.exp(likely) / np.exp(likely).sum(axis=1, keepdims=True)
        slopes = [gradients(answers, weights) for weights in prototypes]
        parts = [s[:, None] * g for s, g in zip(share.T, slopes, strict=True)]
        return np.concatenate(parts, axis=1)
