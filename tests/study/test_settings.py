"""The public constants: complete, and of a size that a plan can hold."""

from fractions import Fraction

import pytest

from fedpref.core.types import Noise
from fedpref.data.surveys import BY_NAME as SURVEYS
from fedpref.study.plans import plan_of
from fedpref.study.settings import BY_NAME, DEFAULT, settings_of


def test_every_survey_has_constants_and_others_get_the_default() -> None:
    assert set(BY_NAME) == set(SURVEYS)
    assert settings_of("somebody's own file") is DEFAULT


@pytest.mark.parametrize("name", list(BY_NAME))
def test_constants_lie_in_the_ranges_that_they_are_used_in(name) -> None:
    found = settings_of(name)
    assert list(found.ks) == sorted(set(found.ks))
    assert found.ks[0] == 0
    assert 0 < found.moment_share < 1
    assert isinstance(found.moment_share, Fraction)
    assert found.moment_floor > 0
    assert found.draws >= 1
    for learning in (found.weights, found.basis, found.prototypes):
        plan = plan_of(100, 4, learning, float("inf"))
        assert plan.spec.noise is Noise.NONE
        assert plan.spec.rounds == learning.rounds
