"""Events: what can be made, what is read back, and on which side floats err."""

import json
from fractions import Fraction
from math import isqrt, log

import mpmath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.core.events import (
    MECHANISMS,
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    PoissonSkellamSum,
    RandomisedResponse,
    SkellamSum,
    from_json,
    to_json,
)
from fedpref.core.types import Relation, Unit
from fedpref.errors import InputError, UnsupportedEvent

USER = (Unit.USER, Relation.ZERO_OUT)
LABEL = (Unit.LABEL, Relation.REPLACE_LABEL)

units = st.sampled_from([Unit.USER, Unit.RECORD])
squares = st.integers(1, 2**60)
ratios = st.fractions(Fraction(1, 1000), 10**6, max_denominator=10**6)
coordinates = st.integers(1, 10**9)
probabilities = st.fractions(Fraction(1, 10**9), 1, max_denominator=10**9)


@st.composite
def gaussians(draw):
    square = draw(squares)
    noise = (square, draw(ratios) * square, draw(coordinates))
    return GaussianSum(draw(units), Relation.ZERO_OUT, *noise)


@st.composite
def sampled(draw):
    plain = draw(gaussians())
    return PoissonGaussianSum(
        plain.unit,
        plain.relation,
        draw(probabilities),
        plain.sensitivity_squared,
        plain.variance,
        plain.coordinates,
    )


@st.composite
def shares(draw):
    plain = draw(gaussians())
    most = isqrt(plain.sensitivity_squared) + draw(st.integers(0, 2**40))
    variance = max(plain.variance, Fraction(1))
    sums = (plain.sensitivity_squared, most, variance, plain.coordinates)
    if draw(st.booleans()):
        return SkellamSum(plain.unit, plain.relation, *sums)
    return PoissonSkellamSum(plain.unit, plain.relation, draw(probabilities), *sums)


@st.composite
def responses(draw):
    options = draw(st.integers(2, 1000))
    above = draw(st.fractions(0, Fraction(10**6, 10**6 + 1), max_denominator=10**7))
    least = Fraction(1, options)
    return RandomisedResponse(*LABEL, options, least + (1 - least) * above)


bare = st.builds(NonPrivate, units, st.just(Relation.ZERO_OUT), coordinates)
events = st.one_of(gaussians(), sampled(), shares(), responses(), bare)


@given(events)
def test_json_and_back_is_the_same_event(event) -> None:
    text = json.dumps(to_json(event), allow_nan=False)
    assert from_json(json.loads(text)) == event
    assert hash(from_json(json.loads(text))) == hash(event)


def example(name):
    return {
        "gaussian": GaussianSum(*USER, 4, Fraction(7, 3), 16),
        "poisson-gaussian": PoissonGaussianSum(
            *USER, Fraction(1, 3), 4, Fraction(7, 3), 16
        ),
        "skellam": SkellamSum(*USER, 5, 4, Fraction(7, 3), 16),
        "poisson-skellam": PoissonSkellamSum(
            *USER, Fraction(1, 3), 5, 4, Fraction(7, 3), 16
        ),
        "randomised-response": RandomisedResponse(*LABEL, 4, Fraction(2, 3)),
        "none": NonPrivate(*USER, 16),
    }[name]


def test_json_names_every_value_exactly() -> None:
    assert to_json(example("poisson-gaussian")) == {
        "mechanism": "poisson-gaussian",
        "unit": "user",
        "relation": "zero-out",
        "sampling_prob": "1/3",
        "sensitivity_squared": "4",
        "variance": "7/3",
        "coordinates": 16,
    }
    assert to_json(example("poisson-skellam")) == {
        "mechanism": "poisson-skellam",
        "unit": "user",
        "relation": "zero-out",
        "sampling_prob": "1/3",
        "sensitivity_squared": "5",
        "sensitivity_l1": "4",
        "variance": "7/3",
        "coordinates": 16,
    }
    assert to_json(example("randomised-response")) == {
        "mechanism": "randomised-response",
        "unit": "label",
        "relation": "replace-label",
        "options": 4,
        "keep": "2/3",
    }


WRONG = {
    "unit": ["person", "label", "", None, 1, []],
    "relation": ["add-remove", "replace-label", None, 0],
    "sensitivity_squared": ["0", "-4", "4/3", "04", "4.0", " 4", "1e9", 4, 4.0, None],
    "sensitivity_l1": ["1", "0", "-4", "9/2", "04", 4, 4.0, None],
    "variance": ["0", "-1", "14/6", "7/0", "nan", "inf", "1e99999999", 2.5, 7, None],
    "sampling_prob": ["0", "4/3", "2", "-1/3", "0.5", 0.5, 1, None, "1" * 5000],
    "coordinates": [0, -1, "16", 16.0, True, None],
    "options": [1, 0, -4, "4", 4.0, True, None, 2**40],
    "keep": ["1", "3/2", "1/5", "0", "4/6", 0.5, None],
}


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_wrong_field_is_refused(name) -> None:
    good = to_json(example(name))
    assert from_json(good) == example(name)
    for key in good.keys() - {"mechanism"}:
        swapped = WRONG["unit"][:1] if good["unit"] == "label" else WRONG["unit"]
        for value in swapped if key == "unit" else WRONG[key]:
            if {**good, key: value} == good:
                continue
            if (
                good["unit"] == "label"
                and key == "relation"
                and value == "replace-label"
            ):
                continue
            with pytest.raises(UnsupportedEvent):
                from_json({**good, key: value})
        with pytest.raises(UnsupportedEvent):
            from_json({k: v for k, v in good.items() if k != key})
    with pytest.raises(UnsupportedEvent):
        from_json({**good, "epsilon": "0"})


@pytest.mark.parametrize("name", ["shuffled", "poisson", "Gaussian", "", None, 3, []])
def test_an_unknown_mechanism_is_refused(name) -> None:
    with pytest.raises(InputError, match="mechanism"):
        from_json({**to_json(example("gaussian")), "mechanism": name})


@pytest.mark.parametrize("value", [[], None, "gaussian", {}, 3])
def test_what_is_no_event_at_all_is_refused(value) -> None:
    with pytest.raises(UnsupportedEvent):
        from_json(value)


def test_a_release_about_labels_is_never_a_release_about_people() -> None:
    for unit, relation in ((LABEL[0], USER[1]), (USER[0], LABEL[1])):
        with pytest.raises(UnsupportedEvent, match="relation"):
            GaussianSum(unit, relation, 1, Fraction(1), 16)
        with pytest.raises(UnsupportedEvent, match="relation"):
            NonPrivate(unit, relation, 16)
        with pytest.raises(UnsupportedEvent, match="label"):
            RandomisedResponse(unit, relation, 2, Fraction(3, 4))
    with pytest.raises(UnsupportedEvent):  # no sum has a bound for one label
        GaussianSum(*LABEL, 1, Fraction(1), 16)
    assert NonPrivate(*LABEL, 1).unit is Unit.LABEL


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: GaussianSum(*USER, 1, Fraction(0), 16), "variance"),
        (lambda: GaussianSum(*USER, 1, Fraction(2) ** 200, 16), "variance"),
        (lambda: GaussianSum(*USER, 0, Fraction(1), 16), "sensitivity_squared = 0"),
        (lambda: GaussianSum(*USER, 1, 1.0, 16), "variance = 1.0"),
        (lambda: GaussianSum(*USER, 1, Fraction(1), 0), "coordinates = 0"),
        (lambda: GaussianSum(*USER, 2**5000, Fraction(2**5000), 1), "bits"),
        (lambda: PoissonGaussianSum(*USER, 0.1, 1, Fraction(1), 1), "sampling_prob"),
        (lambda: SkellamSum(*USER, 16, 3, Fraction(9), 16), "sensitivity_l1 = 3"),
        (lambda: SkellamSum(*USER, 16, 4.0, Fraction(9), 16), "sensitivity_l1 = 4.0"),
        (lambda: SkellamSum(*USER, 1, 1, Fraction(1, 2), 16), "variance = 1/2"),
        (
            lambda: PoissonSkellamSum(*USER, Fraction(2), 1, 1, Fraction(1), 1),
            "sampling_prob = 2",
        ),
        (lambda: SkellamSum(*LABEL, 1, 1, Fraction(1), 16), "relation"),
        (lambda: NonPrivate("user", "zero-out", 16), "Unit and a Relation"),
        (lambda: RandomisedResponse(*LABEL, 3, Fraction(1, 4)), "keep = 1/4"),
    ],
)
def test_an_event_that_makes_no_sense_cannot_be_made(make, problem) -> None:
    with pytest.raises(UnsupportedEvent, match=problem):
        make()


@given(gaussians())
def test_noise_multiplier_errs_towards_less_noise(event) -> None:
    exact = event.variance / event.sensitivity_squared
    square = Fraction(event.noise_multiplier) ** 2
    assert exact * (1 - Fraction(1, 10**14)) < square <= exact


@given(st.one_of(sampled(), shares().filter(lambda e: hasattr(e, "sampling_prob"))))
def test_sampling_rate_errs_towards_taking_part(event) -> None:
    rate = Fraction(event.sampling_rate)
    assert event.sampling_prob <= rate <= 1
    assert rate <= event.sampling_prob * (1 + Fraction(1, 10**15))


@given(responses())
def test_epsilon_of_a_response_errs_upwards(event) -> None:
    odds = event.keep * (event.options - 1) / (1 - event.keep)
    with mpmath.workprec(200):
        exact = mpmath.log(mpmath.mpf(odds.numerator) / odds.denominator)
        assert exact <= event.epsilon <= exact * (1 + 1e-12) + 1e-13
    uniform = (1 - event.keep) * event.options / (event.options - 1)
    assert 0 <= uniform - Fraction(event.uniform) <= Fraction(1, 10**15)


def test_epsilon_of_a_response_by_hand() -> None:
    """Keep 3/4 of two: odds of 3. Keep e/(e + 3) of four: epsilon 1."""
    coin = RandomisedResponse(*LABEL, 2, Fraction(3, 4))
    assert coin.epsilon == pytest.approx(log(3))
    keep = Fraction(2.718281828459045) / (Fraction(2.718281828459045) + 3)
    assert RandomisedResponse(*LABEL, 4, keep).epsilon == pytest.approx(1)
    assert RandomisedResponse(*LABEL, 4, Fraction(1, 4)).epsilon == 0
