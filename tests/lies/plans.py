"""A small plan with three kinds of stages, not priced: pricing takes seconds."""

from fractions import Fraction
from functools import cache

from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.stages import Moment

TRAINING, MOMENT, EVALUATION = (1, 2, 3), 4, 5
"""Numbers of the requests."""
COORDINATES, PRODUCTS = 6, 10
"""Length of an answer in training and evaluation, and of a second moment."""


@cache
def plan() -> PrivacyPlan:
    """Three rounds of training, one second moment, one evaluation."""
    spec = PrivacySpec(
        unit=Unit.USER,
        noise=Noise.DISTRIBUTED,
        participation=Participation.ALL,
        against=Adversary.SERVER,
        target_epsilon=1.0,
        delta=1e-5,
        clip=2.0,
        rounds=3,
        spare_rounds=0,
        units=5,
        cohort=5,
        units_per_client=1,
        sampling_prob=Fraction(1),
        coordinates=COORDINATES,
        min_survivors=0.75,
        colluders=0.0,
        word_bits=24,
        complete_graph=True,
        evaluation=True,
        moment=Moment(4, 5.0, Fraction(1, 2)),
    )
    found = object.__new__(PrivacyPlan)  # without its __post_init__, which prices it
    object.__setattr__(found, "spec", spec)
    object.__setattr__(found, "noise_multiplier", Fraction(40))
    return found
