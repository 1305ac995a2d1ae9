"""What devices insist on in the secure sum is what their plan counts on."""

from fractions import Fraction

import pytest

from fedpref.core.types import Noise
from fedpref.errors import MessageError
from fedpref.rounds.limits import limits_of
from fedpref.rounds.secure import terms_of


@pytest.fixture
def plan(make_plan):
    return make_plan(
        noise=Noise.DISTRIBUTED,
        units=10,
        colluders=0.1,
        min_survivors=0.8,
        evaluation=True,
    )


def test_devices_insist_on_what_the_plan_counts_on(plan) -> None:
    """What the server offers is what a device of the same plan accepts, and no less."""
    limits, terms = limits_of(plan, 1), terms_of(plan, 1)
    assert limits.colluders == Fraction(1, 10)
    assert limits.contributors == plan.min_survivors - plan.colluders == 7
    assert limits.min_survivors == terms.min_survivors == 8
    assert (limits.coordinates, limits.word_bits) == (3, 24)
    assert (terms.coordinates, terms.word_bits) == (3, 24)
    assert terms.threshold == plan.threshold
    assert limits.neighbours == terms.neighbours == 0
    assert limits.problems(terms, 10) == []


def test_a_number_that_the_plan_has_not(plan) -> None:
    assert plan.reserved_rounds == 4
    limits_of(plan, 4)
    for number in (0, 5):
        with pytest.raises(MessageError, match=f"round = {number}, but the plan has 4"):
            limits_of(plan, number)
