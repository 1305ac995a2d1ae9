"""The models of a study by name: what each needs learned, and when it can be had.

Guarantees: a model at an epsilon rests on one population of exactly that epsilon, or on
nothing that others answered. A model that cannot be had at an epsilon is not replaced
by another one: it is left out, and ``UNFIT`` says why.

Does not measure: ``fedpref.study.curves`` does.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isinf

import numpy as np

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.study import boosting, models
from fedpref.study.answers import Revealed, reveal, with_features
from fedpref.study.cases import Case
from fedpref.study.models import Model
from fedpref.study.population import Population, Shape, fit
from fedpref.study.prior import isotropic
from fedpref.study.settings import Settings

WORDS = {
    "majority": "position or habit, the own one; under epsilon inf also that of the "
    "training people, counted in one place without noise",
    "population": "the pooled weights alone",
    "own": "own answers alone, public prior; nothing is learned together",
    "eb_public": "pooled weights and an own offset, public prior",
    "eb_moment": "the same with a released second moment as prior",
    "low_rank": "pooled weights and an own point in a shared basis",
    "clusters": "prototypes, mixed by what own answers say",
    "attributes": "eb_moment on one-hot attributes instead of words",
    "boosting": "gradient boosting on attributes, in one place without noise",
}
ALONE = ("majority", "own")  # at a finite epsilon: nothing of others, epsilon 0
UNFIT = "boosting is central: it has no noise and stands under epsilon inf alone"

_SHAPES = {
    "population": Shape.WEIGHTS,
    "eb_public": Shape.WEIGHTS,
    "eb_moment": Shape.MOMENT,
    "low_rank": Shape.BASIS,
    "clusters": Shape.PROTOTYPES,
    "attributes": Shape.MOMENT,
}


def check(names: Sequence[str]) -> None:
    """Whether these are models.

    Raises:
        InputError: One is not; the message has the nearest name.
    """
    for name in names:
        if name not in WORDS:
            near = difflib.get_close_matches(name, WORDS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(
                f"models = {name!r}: no such model; {hint}known: {', '.join(WORDS)}"
            )


@dataclass(eq=False)
class Learned:
    """What was learned of one case so far, so that models can share it."""

    case: Case
    settings: Settings
    populations: dict[tuple[Shape, bool, float], Population] = field(
        default_factory=dict
    )

    def population(self, name: str, epsilon: float) -> Population | None:
        """What ``name`` rests on at this epsilon; None if on nothing of others."""
        shape = _SHAPES.get(name)
        if shape is None:
            return None
        return self._fitted(shape, name == "attributes", epsilon)

    def model(
        self, name: str, epsilon: float, ks: Sequence[int]
    ) -> tuple[Model | None, bool]:
        """The model, or None where it cannot be had, and whether it reads attributes.

        Raises:
            InputError: The set has no attributes to read.
        """
        settings = self.settings
        if name == "majority":
            seen = self.case.train.words
            before = models.habits(seen) if isinf(epsilon) else {}
            return models.Habit(before), False
        if name == "own":
            size = self.case.train.words.dimension
            return models.own_only(size, settings.prior, settings.noise), False
        if name == "boosting":
            return (self._boosted(ks) if isinf(epsilon) else None), True
        found = self.population(name, epsilon)
        assert found is not None  # every other name has a shape
        return _personal(name, found, settings), name == "attributes"

    def _fitted(self, shape: Shape, attributes: bool, epsilon: float) -> Population:
        if shape is Shape.MOMENT and epsilon < self.settings.moment_from:
            shape = Shape.WEIGHTS
        key = (shape, attributes, epsilon)
        if key not in self.populations:
            side = self.case.train
            answers = side.attributes if attributes else side.words
            if answers is None:
                raise InputError(
                    f"models = 'attributes': {self.case.name} has no attributes"
                )
            entropy = self.case.entropy
            self.populations[key] = fit(
                answers, self.settings, epsilon, entropy, shape=shape
            )
        return self.populations[key]

    def _boosted(self, ks: Sequence[int]) -> Model:
        side = self.case.train
        rng = np.random.default_rng(self.case.number("boosting"))
        draw = reveal(side.words, ks, rng=rng)
        if side.attributes is not None:
            draw = with_features(draw, side.attributes.features)
        seed = self.case.number("trees") % 2**31
        return boosting.fit_boosted([draw], list(ks), seed=seed)


def seen_by(draw: Revealed, case: Case, attributes: bool) -> Revealed:
    """The draw with the features that a model reads."""
    if not attributes or case.test.attributes is None:
        return draw
    return with_features(draw, case.test.attributes.features)


def capped(basis: Float, longest: float) -> Float:
    """The directions of a basis, orthogonal, none longer than a public constant.

    A person's point is fitted as a maximum, not averaged over, and so training makes
    the basis longer and the points shorter. Post-processing of what was released.
    """
    directions, lengths, _ = np.linalg.svd(basis, full_matrices=False)
    return np.asarray(directions * np.minimum(lengths, longest))


def _personal(name: str, found: Population, settings: Settings) -> Model:
    """The model on the device, around what was released."""
    noise = settings.noise
    if name == "population":
        return models.Shared(found.weights, settings.noise_over_people)
    if name == "low_rank":
        assert found.basis is not None  # its shape releases one
        basis = capped(found.basis, settings.basis_cap)
        return models.low_rank(
            found.weights, basis, floor=settings.basis_floor, noise=noise
        )
    if name == "clusters":
        assert found.prototypes is not None  # its shape releases them
        return models.Prototypes(found.prototypes, noise=settings.noise_over_people)
    prior = found.covariance
    if name == "eb_public" or prior is None:
        prior = isotropic(len(found.weights), settings.prior)
    return models.Personal(found.weights, prior, noise)
