"""What many people learn together, under one sealed plan per person.

Guarantees: everything that leaves a device passes through ``fedpref.study.noisy`` under
one plan at user level: everybody in every round, zero-out, noise from the devices. The
plan's epsilon is that of all releases together: weights, or weights and basis, or
prototypes, and the second moment where there is one. What a person fits on their own
device (an offset, a personal vector, a cluster) enters only what they send, clipped.
With epsilon infinite the same code runs without noise.

Does not give: privacy where the entropy is seeded, as it is in studies: whoever knows
the seed can subtract the noise. Nothing is booked in a ledger. No messages are sent:
sums have the law of the protocol's, not its bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import inf, isinf, sqrt

import numpy as np

from fedpref.core.entropy import Entropy
from fedpref.core.types import Adversary, Float
from fedpref.errors import InputError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.optimisers import sgd
from fedpref.stages import Moment, Purpose
from fedpref.study import sent
from fedpref.study.answers import Answers
from fedpref.study.noisy import noisy_sum
from fedpref.study.plans import plan_of
from fedpref.study.prior import covariance
from fedpref.study.settings import AVERAGE_LAST, MOMENTUM, Learning, Settings, level_of


class Shape(StrEnum):
    """What is released."""

    WEIGHTS = "weights"
    MOMENT = "weights and second moment"
    BASIS = "weights and basis"
    PROTOTYPES = "prototypes"


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """What a device needs of the others to start from, all of it released.

    Attributes:
        weights: ``[d]``; the mean of the prototypes where there are any.
        covariance: Of personal offsets, ``[d, d]``, or ``None``: the public prior.
        basis: ``[d, K]``: a person's are ``weights + basis @ own``; or ``None``.
        prototypes: ``[K, d]``, or ``None``.
        plan: The sealed plan; its epsilon is the price of all of the above together.
        private: Whether noise was drawn and nobody can draw it again.
        notes: What a reader of results should know.
    """

    weights: Float
    covariance: Float | None
    basis: Float | None
    prototypes: Float | None
    plan: PrivacyPlan
    private: bool
    notes: tuple[str, ...] = ()

    @property
    def epsilon(self) -> float:
        """Against the adversary of the plan, all releases together."""
        if self.plan.noise_multiplier is None:
            return inf
        return self.plan.spent(self.plan.reserved_rounds, self.against).epsilon

    @property
    def against(self) -> Adversary:
        """Against whom the epsilon holds."""
        return self.plan.spec.against

    def lines(self) -> tuple[str, ...]:
        """What was released and its price, a line each."""
        stages = [
            f"{stage.purpose}: {stage.rounds} x {stage.coordinates} numbers, "
            + ("no noise" if stage.multiplier is None else _noise(stage.multiplier))
            for stage in self.plan.stages
        ]
        if self.plan.noise_multiplier is None:
            return (*stages, "all together: epsilon infinite")
        return (
            *stages,
            f"all together: epsilon {self.epsilon:.3g} per person at delta "
            f"{self.plan.delta:g} against the {self.against}",
        )


def fit(
    answers: Answers,
    settings: Settings,
    epsilon: float,
    entropy: Entropy,
    *,
    shape: Shape = Shape.WEIGHTS,
) -> Population:
    """Learn from everybody in ``answers`` under one plan.

    Args:
        answers: Of the training people, also of those without any.
        settings: Public constants.
        epsilon: Of everything that is released, per person; infinite without noise.
        entropy: Source of rounding and noise.
        shape: What is released. Below ``settings.moment_from`` the second moment does
            not earn its budget: then all of it goes to the weights.

    Raises:
        PlanError: No plan keeps this epsilon.
    """
    size = answers.features.shape[1]
    notes: tuple[str, ...] = ()
    if shape is Shape.MOMENT and epsilon < settings.moment_from:
        shape = Shape.WEIGHTS
        notes = (
            f"total epsilon {epsilon:g} is below {settings.moment_from:g}: no second "
            "moment is released, the public prior is used",
        )
    model = _model(shape, settings, size)
    plan = plan_of(
        len(answers.people), model.start.size, model.learning, epsilon, model.moment
    )
    level = level_of(settings, weights=shape in (Shape.WEIGHTS, Shape.MOMENT))
    shaped = sent.levelled(answers, level)
    vector = _train(shaped, model, plan, entropy)
    found = {
        name: sent.unlevelled(value, answers, level, axis=int(name == "prototypes"))
        for name, value in model.read(vector).items()
    }
    learned = None
    if model.moment is not None:
        learned, more = _covariance(
            answers, found["weights"], settings, plan, model.moment, entropy
        )
        notes += more
    return Population(
        weights=found["weights"],
        covariance=learned,
        basis=found.get("basis"),
        prototypes=found.get("prototypes"),
        plan=plan,
        private=entropy.private and not isinf(epsilon),
        notes=notes,
    )


@dataclass(frozen=True)
class _Model:
    """One thing to train: where it starts, what people send, what is read off it."""

    start: Float
    learning: Learning
    rows: Callable[[Answers, Float], Float]
    read: Callable[[Float], dict[str, Float]]
    moment: Moment | None = None


def _model(shape: Shape, settings: Settings, size: int) -> _Model:
    if shape is Shape.BASIS:
        basis = sent.Basis(
            size, settings.rank, settings.basis_length, settings.basis_scale
        )
        return _Model(basis.start(), settings.basis, basis.rows, basis.read)
    if shape is Shape.PROTOTYPES:
        mixture = sent.Prototypes(size, settings.clusters, settings.prior)
        return _Model(mixture.start(), settings.prototypes, mixture.rows, mixture.read)
    moment = None
    if shape is Shape.MOMENT:
        norm = settings.moment_norm * settings.prior * sqrt(size)
        moment = Moment(size, norm, settings.moment_share)
    return _Model(
        np.zeros(size),
        settings.weights,
        weight_rows(settings),
        lambda vector: {"weights": vector},
        moment,
    )


def weight_rows(settings: Settings) -> Callable[[Answers, Float], Float]:
    """What people send while weights alone are learned."""
    if not settings.offsets:
        return sent.weight_rows
    return lambda answers, weights: sent.offset_rows(
        answers, weights, settings.prior, settings.noise
    )


def _train(
    answers: Answers, model: _Model, plan: PrivacyPlan, entropy: Entropy
) -> Float:
    """Momentum SGD on noisy sums; the mean of the last iterates is released."""
    optimiser = sgd(lr=model.learning.lr, momentum=MOMENTUM)
    vector, state = model.start, optimiser.init(model.start.size)
    rounds = plan.spec.rounds
    variance = plan.training.noise_variance(plan.spec.units) / plan.divisor**2
    kept = []
    for number in range(1, rounds + 1):
        rows = model.rows(answers, vector)
        total = noisy_sum(
            rows, plan.training, entropy=entropy, purpose=_purpose(plan, number)
        )
        # People send ascent directions; optimisers take descent gradients.
        step, state = optimiser.update(
            -total / plan.divisor, state, model=vector, variance=variance
        )
        vector = vector + step
        if number > rounds * (1 - AVERAGE_LAST):
            kept.append(vector)
    return np.asarray(np.mean(kept, axis=0))


def _covariance(
    answers: Answers,
    weights: Float,
    settings: Settings,
    plan: PrivacyPlan,
    moment: Moment,
    entropy: Entropy,
) -> tuple[Float | None, tuple[str, ...]]:
    """The covariance of offsets, or ``None`` with the reason."""
    stage = plan.require(Purpose.MOMENT)
    rows = sent.moment_rows(
        answers, weights, settings.prior, moment, stage, noise=settings.noise
    )
    total = noisy_sum(rows, stage, entropy=entropy, purpose=_purpose(plan, stage.first))
    mean = total[: moment.size] / plan.divisor * moment.norm**2
    floor = settings.moment_floor * settings.prior**2
    try:
        found = covariance(mean, floor=floor, inflation=settings.moment_factor)
    except InputError as error:
        return None, (f"{error}; here the public prior is used",)
    return found, ()


def _purpose(plan: PrivacyPlan, number: int) -> str:
    """Of the randomness of one release: no two of them share any."""
    return f"{plan.digest.hex()}/{number}"


def _noise(multiplier: Fraction) -> str:
    return f"noise {float(multiplier):.3g} times one person's bound"
