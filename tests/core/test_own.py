"""A person's own book against closed forms and a count that is made here."""

from collections import Counter
from fractions import Fraction
from math import erfc, exp, inf, log, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.core import own
from fedpref.core.accounting import epsilon_of
from fedpref.core.events import (
    GaussianSum,
    NonPrivate,
    PoissonSkellamSum,
    RandomisedResponse,
    SkellamSum,
)
from fedpref.core.own import OwnBook, own_event, own_steps
from fedpref.core.scale import choose_scale
from fedpref.core.types import Relation, Unit
from fedpref.errors import BudgetError, IntegrityError, PlanError, UnsupportedEvent

DELTA = 1e-5
USER = (Unit.USER, Relation.ZERO_OUT)
STEP = 2**24


def gaussian(multiplier: float, part: float = 1.0) -> GaussianSum:
    """Noise for a whole clip, and a person whose clip is ``part`` of it."""
    variance = Fraction(round(multiplier * STEP)) ** 2
    return GaussianSum(*USER, round(part * STEP) ** 2, variance, 16)


def scale(multiplier=10):
    return choose_scale(
        coordinates=16,
        noise_multiplier=Fraction(multiplier),
        clients=40,
        contributors=32,
        units_per_client=1,
        word_bits=24,
        rotated=False,
    )


def skellam(found) -> SkellamSum:
    sums = (found.limit, found.l1_limit, Fraction(found.variance), found.coordinates)
    return SkellamSum(*USER, *sums)


def exact_delta(mu: float, epsilon: float) -> float:
    """Balle and Wang (2018), theorem 8, for one Gaussian of size ``mu``."""

    def phi(x: float) -> float:
        return erfc(-x / sqrt(2)) / 2

    a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    return phi(a) - exp(epsilon) * phi(b)


def filled(book: OwnBook, event) -> OwnBook:
    for number in range(1, 300):
        if not own.affords(book, event):
            return book
        book = own.charge(book, number, event)
    raise AssertionError("a cap without an end")


# The price is that of one's own events


@pytest.mark.parametrize("part", [1.0, 0.5, 0.28])
@pytest.mark.parametrize("cap", [0.25, 0.5, 1.0])
def test_as_many_rounds_as_the_exact_formula_allows(part, cap) -> None:
    """Own sensitivity, the others' noise: mu = part sqrt(n) / z."""
    multiplier, most = 11.8, 200
    allowed = [
        n
        for n in range(1, most + 1)
        if exact_delta(part * sqrt(n) / multiplier, cap) <= DELTA
    ]
    event = gaussian(multiplier, part)
    book = filled(own.open_book([(event, most)], cap=cap, delta=DELTA), event)
    assert len(book.sent) == (allowed[-1] if allowed else 0)
    assert own.spent(book).epsilon <= cap


def rdp_bound(event: SkellamSum, rounds: int) -> float:
    """accounting.md section 2, closed form, converted as Canonne et al. (2020) do."""
    square, l1, v = event.sensitivity_squared, event.sensitivity_l1, event.variance
    best = inf
    for a in range(2, 2000):
        extra = min(
            ((2 * a - 1) * square + 6 * l1) / (4 * v * v), Fraction(3 * l1) / (2 * v)
        )
        one = float(a * square / (2 * v) + extra)
        best = min(best, rounds * one + log(1 - 1 / a) - log(DELTA * a) / (a - 1))
    return best


@pytest.mark.parametrize("steps_part", [1.0, 0.5, 0.1])
def test_a_price_with_shares_of_noise_lies_between_two_others(steps_part) -> None:
    """Not below Gaussian noise of the same size, not above the closed form."""
    found = scale()
    steps = int(found.steps * steps_part)
    square = steps * steps + steps + 16 // 4 + 2  # hand arithmetic for d = 16
    event = own_event(skellam(found), square)
    book = filled(own.open_book([(event, 10)], cap=50.0, delta=DELTA), event)
    spent = own.spent(book).epsilon
    mu = sqrt(10 * square / found.variance)
    assert exact_delta(mu, spent) <= DELTA
    assert spent <= rdp_bound(event, 10)
    assert exact_delta(mu, spent * 0.95) > DELTA  # and close to the former


def test_an_own_bound_of_the_whole_clip_is_the_plans() -> None:
    found = scale()
    assert own_event(skellam(found), found.limit) == skellam(found)


@pytest.mark.parametrize("square", [1, 4, 17, 10_000])
def test_an_own_sum_of_absolute_values_is_a_bound(square) -> None:
    """No 16 integers of that squared norm have a larger one."""
    found = own_event(skellam(scale()), square)
    assert found.sensitivity_l1 <= min(square, 4 * sqrt(square))
    assert found.sensitivity_l1 >= min(square, int(sqrt(square)))
    assert found.variance == scale().variance  # the others' noise stays


def test_an_own_event_keeps_rate_and_noise() -> None:
    found = scale()
    sums = (found.limit, found.l1_limit, Fraction(found.variance), found.coordinates)
    event = PoissonSkellamSum(*USER, Fraction(1, 5), *sums)
    less = own_event(event, 100)
    assert (less.sampling_prob, less.variance) == (Fraction(1, 5), event.variance)
    assert less.sensitivity_squared == 100


def test_what_is_no_own_event() -> None:
    event = gaussian(10.0)
    for square in (0, -1, event.sensitivity_squared + 1):
        with pytest.raises(PlanError, match="own bound"):
            own_event(event, square)
    label = RandomisedResponse(Unit.LABEL, Relation.REPLACE_LABEL, 2, Fraction(2, 3))
    with pytest.raises(UnsupportedEvent, match="does not bound"):
        own_event(label, 5)
    bare = NonPrivate(*USER, 16)
    assert own_event(bare, 5) == bare
    book = own.open_book([(bare, 3)], cap=1e9, delta=DELTA)
    assert not own.affords(book, bare)


# What may follow what


SMALL, LARGE = gaussian(30.0), gaussian(8.0)


def test_later_kinds_get_what_earlier_ones_leave() -> None:
    offered = [(SMALL, 4), (LARGE, 1), (SMALL, 3)]
    everything = epsilon_of([(SMALL, 7), (LARGE, 1)], DELTA).epsilon
    book = own.open_book(offered, cap=everything, delta=DELTA)
    assert dict(book.allowed) == {SMALL: 7, LARGE: 1}
    training = epsilon_of([(SMALL, 4)], DELTA).epsilon
    book = own.open_book(offered, cap=training, delta=DELTA)
    assert dict(book.allowed) == {SMALL: 4, LARGE: 0}
    assert not own.affords(book, LARGE)
    assert not own.affords(book, gaussian(31.0))  # nothing that was not offered


ACTS = st.lists(
    st.tuples(st.sampled_from(["small", "large", "refund"]), st.integers(1, 12)),
    max_size=30,
)


@settings(max_examples=60)
@given(acts=ACTS, cap=st.floats(0.05, 1.2))
def test_no_history_passes_the_cap(acts, cap) -> None:
    """Whatever is asked, in whatever order, with refunds: priced from the outside."""
    book = own.open_book([(SMALL, 10), (LARGE, 2)], cap=cap, delta=DELTA)
    outside: dict[int, GaussianSum] = {}
    for kind, number in acts:
        if kind == "refund":
            book = own.refund(book, number)
            outside.pop(number, None)
            continue
        event = SMALL if kind == "small" else LARGE
        if number in outside:
            with pytest.raises(IntegrityError, match="charged before"):
                own.charge(book, number, event)
        elif own.affords(book, event):
            book = own.charge(book, number, event)
            outside[number] = event
        else:
            with pytest.raises(BudgetError):
                own.charge(book, number, event)
        mu2 = sum(float(e.sensitivity_squared / e.variance) for e in outside.values())
        assert not outside or exact_delta(sqrt(mu2), cap) <= DELTA * (1 + 1e-9)
    assert Counter(e for _, e in book.sent) == Counter(outside.values())


def test_nothing_is_shown() -> None:
    book = own.open_book([(LARGE, 2)], cap=0.987, delta=DELTA)
    book = own.charge(book, 1, LARGE)
    shown = [repr(book), str(book)]
    book = filled(own.open_book([(LARGE, 2)], cap=0.987, delta=DELTA), LARGE)
    with pytest.raises(BudgetError) as caught:
        own.charge(book, 99, LARGE)
    shown.append(str(caught.value))
    with pytest.raises(PlanError) as caught:
        own.open_book([(LARGE, 2)], cap=-0.987, delta=DELTA)
    shown.append(str(caught.value))
    for clip in (0.0, 987.0, 1e-9):
        with pytest.raises(PlanError) as caught:
            own_steps(clip, clip=4.0, steps=2000)
        shown.append(str(caught.value))
    assert not any("987" in text or "Gaussian" in text for text in shown)


@given(
    part=st.fractions(Fraction(1, 100), 1, max_denominator=10**6),
    steps=st.integers(200, 10**6),
)
def test_own_steps_are_rounded_down(part, steps) -> None:
    clip = 4.0
    mine = min(float(part * 4), clip)
    found = own_steps(mine, clip=clip, steps=steps)
    exact = Fraction(mine) * steps / 4
    assert found <= exact < found + 1
