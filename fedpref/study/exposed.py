"""What a released population shows, as one vector, for those who attack it.

Guarantees: the vector has every number that devices get to use: weights; weights and
covariance; weights and basis; prototypes. ``release`` trains with the code of
``fedpref.study.population``, people who are outside being silent: they take part in the
sums with zeros, as the plan's relation (zero-out) has it.

Does not give: the sums of single rounds. ``influence`` is a first-order estimate for
an attacker, by derivatives of the rounds without noise.
"""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fedpref.core.entropy import Entropy
from fedpref.core.moments import shorten, svec, unsvec
from fedpref.core.types import Float
from fedpref.study import response, sent
from fedpref.study.answers import Answers, only
from fedpref.study.likelihood import log_likelihood, map_offsets
from fedpref.study.population import Population, Shape, fit, weight_rows
from fedpref.study.prior import isotropic
from fedpref.study.response import Rows
from fedpref.study.settings import Learning, Settings, level_of


@dataclass(frozen=True, eq=False, repr=False)
class Exposed:
    """One shape of population of the same people, at one total epsilon.

    Args:
        answers: Of everybody who may be asked.
        settings: Public constants for a run in which all of them take part.
        epsilon: Total per person; infinite without noise.
        shape: What is released.
    """

    answers: Answers
    settings: Settings
    epsilon: float
    shape: Shape

    def population(self, inside: NDArray[np.bool_], entropy: Entropy) -> Population:
        """Learned from those who are inside, ``[people]``; the others are silent.

        Half the people say something, so public constants make up for the divisor,
        which counts all: what is learned is what the half would learn under a plan of
        its own, with the noise of that plan.
        """
        heard = only(self.answers, inside[self.answers.user])
        return fit(
            heard, _halved(self.settings), self.epsilon, entropy, shape=self.shape
        )

    def release(self, inside: NDArray[np.bool_], entropy: Entropy) -> Float:
        """The released numbers of :meth:`population`, ``[size]``."""
        found = self.population(inside, entropy)
        if found.prototypes is not None:
            return found.prototypes.ravel()
        if found.basis is not None:
            return np.concatenate([found.weights, found.basis.ravel()])
        if self.shape is not Shape.MOMENT:
            return found.weights
        prior = found.covariance
        if prior is None:  # it projected to zero: devices use the public prior
            prior = isotropic(len(found.weights), self.settings.prior)
        return np.concatenate([found.weights, _triangle(prior)])

    def likelihood(self, released: Float) -> Float:
        """Log-likelihood of each person's answers, own weights integrated out.

        By Laplace's approximation where there are personal weights. ``[people]``.
        """
        d, answers, noise = self._size, self.answers, self.settings.noise
        if self.shape is Shape.WEIGHTS:
            return log_likelihood(answers, released, noise=noise)
        if self.shape is Shape.PROTOTYPES:
            each = [
                log_likelihood(answers, own, noise=noise)
                for own in released.reshape(self.settings.clusters, d)
            ]
            return np.asarray(np.logaddexp.reduce(each, axis=0) - np.log(len(each)))
        weights, rest = released[:d], released[d:]
        if self.shape is Shape.MOMENT:
            return _evidence(answers, weights, unsvec(rest), noise)
        basis = rest.reshape(d, self.settings.rank)
        seen = np.column_stack([answers.features @ weights, answers.features @ basis])
        narrow = replace(answers, features=seen)
        start = np.eye(seen.shape[1])[0]
        prior = np.diag([1e-6] + [1.0] * self.settings.rank)  # the weights stand still
        return _evidence(narrow, start, prior, noise)

    def influence(self) -> Float:
        """How the release moves with each person's presence, ``[people, size]``.

        Differentiates the rounds without noise, from everybody, along the path; the
        curvature is taken at a few points of it.
        """
        rows, learning, start = self._training()
        half = len(self.answers.people) / 2
        path = response.path(rows, learning, start)
        level = self._level()
        moved = response.moved(rows, learning, path, half) * level
        if self.shape is not Shape.MOMENT:
            return moved
        weights = path[-1] * level
        own = self._moments(weights)
        mean = own.mean(axis=0)
        change = own / half + moved @ response.slope(self._moments, weights, mean)
        return np.concatenate(
            [moved, response.floored(mean, change, self.settings)], axis=1
        )

    @property
    def _size(self) -> int:
        return self.answers.dimension

    @property
    def _constant(self) -> float:
        weights = self.shape in (Shape.WEIGHTS, Shape.MOMENT)
        return level_of(self.settings, weights=weights)

    def _training(self) -> tuple[Rows, Learning, Float]:
        """Unclipped rows at a vector, constants and start of training."""
        s, d = self.settings, self._size
        answers = sent.levelled(self.answers, self._constant)
        if self.shape is Shape.BASIS:
            basis = sent.Basis(d, s.rank, s.basis_length, s.basis_scale)
            return lambda v: basis.rows(answers, v), s.basis, basis.start()
        if self.shape is Shape.PROTOTYPES:
            mixture = sent.Prototypes(d, s.clusters, s.prior)
            return lambda v: mixture.rows(answers, v), s.prototypes, mixture.start()
        rows = weight_rows(s)
        return lambda v: rows(answers, v), s.weights, np.zeros(d)

    def _level(self) -> Float:
        """What each trained number is multiplied by when it is released."""
        s, d = self.settings, self._size
        wide = np.ones(d)
        wide = sent.unlevelled(wide, self.answers, self._constant)
        if self.shape is Shape.BASIS:
            return np.concatenate([wide, np.repeat(wide, s.rank)])
        return np.tile(wide, s.clusters) if self.shape is Shape.PROTOTYPES else wide

    def _moments(self, weights: Float) -> Float:
        """Each person's ``svec(b b')``, ``[people, d (d + 1) / 2]``."""
        s = self.settings
        norm = s.moment_norm * s.prior * sqrt(self._size)
        precision = np.eye(self._size) / s.prior**2
        offsets = map_offsets(self.answers, weights, precision, noise=s.noise).mean
        return np.stack([svec(shorten(offset, norm)) for offset in offsets])


def _halved(settings: Settings) -> Settings:
    """Constants that undo a divisor that is twice what is heard."""

    def twice(learning: Learning) -> Learning:
        return replace(learning, lr=2 * learning.lr)

    return replace(
        settings,
        weights=twice(settings.weights),
        basis=twice(settings.basis),
        prototypes=twice(settings.prototypes),
        moment_factor=2 * settings.moment_factor,
        moment_floor=settings.moment_floor / 2,
    )


def _evidence(
    answers: Answers, weights: Float, covariance: Float, noise: float
) -> Float:
    """Laplace's log-likelihood with personal offsets integrated out, ``[people]``."""
    precision = np.linalg.inv(covariance)
    precision = (precision + precision.T) / 2
    found = map_offsets(answers, weights, precision, noise=noise)
    fits = log_likelihood(answers, weights + found.mean, noise=noise)
    prior = np.einsum("pi,ij,pj->p", found.mean, precision, found.mean)
    volume = np.linalg.slogdet(found.covariance)[1] + np.linalg.slogdet(precision)[1]
    return np.asarray(fits - prior / 2 + volume / 2)


def _triangle(matrix: Float) -> Float:
    """The numbers of which ``unsvec`` makes this symmetric matrix."""
    row, column = np.triu_indices(len(matrix))
    return np.asarray(matrix[row, column] * np.where(row == column, 1.0, sqrt(2)))
