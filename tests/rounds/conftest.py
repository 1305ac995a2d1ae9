from fractions import Fraction

import numpy as np
import pytest

from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.plan import PrivacyPlan, PrivacySpec


@pytest.fixture
def make_plan():
    def make(*, noise=Noise.CENTRAL, units=4, coordinates=3, rounds=3, **change):
        spec = PrivacySpec(
            unit=Unit.USER,
            noise=noise,
            participation=Participation.ALL,
            against=Adversary.OUTSIDER,
            target_epsilon=1.0 if noise is Noise.CENTRAL else None,
            delta=1e-5,
            clip=change.pop("clip", 2.0),
            rounds=rounds,
            units=units,
            coordinates=coordinates,
            min_survivors=change.pop("min_survivors", 0.5),
        )
        assert not change
        return PrivacyPlan(spec, Fraction(40) if noise is Noise.CENTRAL else None)

    return make


@pytest.fixture
def toward():
    """Gradient of a person who wants the model to move towards ``goal``."""

    def make(goal):
        return lambda vector: (vector - np.asarray(goal, float))[None]

    return make
