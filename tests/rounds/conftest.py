from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from fedpref.core.entropy import SeededEntropy
from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.rounds import contribution
from fedpref.rounds.contribution import contribute

MULTIPLIER = {Noise.CENTRAL: 40, Noise.DISTRIBUTED: 40, Noise.NONE: None}


@pytest.fixture
def make_plan():
    def make(*, noise=Noise.CENTRAL, units=4, coordinates=3, rounds=3, **change):
        distributed = noise is Noise.DISTRIBUTED
        values = {
            "unit": Unit.USER,
            "noise": noise,
            "participation": Participation.ALL,
            "against": Adversary.SERVER if distributed else Adversary.OUTSIDER,
            "target_epsilon": None if noise is Noise.NONE else 1.0,
            "delta": 1e-5,
            "clip": 2.0,
            "rounds": rounds,
            "spare_rounds": 0,
            "units": units,
            "cohort": units,
            "units_per_client": 1,
            "sampling_prob": Fraction(1),
            "coordinates": coordinates,
            "min_survivors": 0.75 if distributed else 0.5,
            "colluders": 0.0,
            "word_bits": 24,
            "complete_graph": True,
        }
        multiplier = change.pop("multiplier", MULTIPLIER[noise])
        spec = PrivacySpec(**(values | change))
        return PrivacyPlan(spec, None if multiplier is None else Fraction(multiplier))

    return make


@pytest.fixture
def toward():
    """Gradient of a person who wants the model to move towards ``goal``."""

    def make(goal):
        return lambda vector: (vector - np.asarray(goal, float))[None]

    return make


@pytest.fixture
def quiet(monkeypatch):
    """Noise switched off, to see what is under it."""
    monkeypatch.setattr(
        contribution,
        "skellam",
        lambda count, variance, *, key: np.zeros(count, np.int64),
    )


@pytest.fixture
def contributing():
    """What a device with this gradient contributes."""

    def make(plan, gradient, *, device=1, entropy=None):
        return partial(
            contribute,
            device=device,
            plan=plan,
            gradient=gradient,
            entropy=entropy or SeededEntropy(1),
        )

    return make
