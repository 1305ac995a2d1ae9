"""Epsilons against dp-accounting fed with raw events, and against a closed form."""

from fractions import Fraction
from math import erfc, exp, inf, sqrt

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy.optimize import brentq

from fedpref.core import accounting
from fedpref.core.accounting import Spent, calibrate, epsilon
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.types import Relation, Unit
from fedpref.errors import PlanError, UnsupportedEvent


def gaussian(multiplier: float, coordinates: int = 16, unit: Unit = Unit.USER):
    sensitivity = 2**24
    variance = Fraction(round(multiplier * sensitivity)) ** 2
    return GaussianSum(unit, Relation.ZERO_OUT, sensitivity**2, variance, coordinates)


def exact_epsilon(multiplier: float, rounds: int, delta: float) -> float:
    """Balle and Wang (2018), theorem 8, for one Gaussian of the composed size."""
    mu = sqrt(rounds) / multiplier

    def gap(value: float) -> float:
        def cdf(x: float) -> float:
            return 0.5 * erfc(-x / sqrt(2))

        above = cdf(mu / 2 - value / mu)
        return above - exp(value) * cdf(-mu / 2 - value / mu) - delta

    return brentq(gap, 0, 100)


@pytest.mark.parametrize("multiplier", [1.9, 6.3, 11.8, 42.0])
def test_equals_dp_accounting_on_the_raw_events(multiplier) -> None:
    raw = dp_accounting.GaussianDpEvent(multiplier)
    pld = PLDAccountant(value_discretization_interval=1e-4)
    rdp = RdpAccountant()
    for _ in range(10):
        pld.compose(raw)
        rdp.compose(raw)
    expected = min(pld.get_epsilon(1e-5), rdp.get_epsilon(1e-5))
    spent = epsilon([gaussian(multiplier)] * 10, 1e-5)
    assert spent.epsilon == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("multiplier", "rounds"), [(2.0, 1), (11.8, 10), (5.0, 60)])
def test_is_never_below_the_exact_gaussian_and_within_a_percent(
    multiplier, rounds
) -> None:
    spent = epsilon([gaussian(multiplier)] * rounds, 1e-5).epsilon
    exact = exact_epsilon(multiplier, rounds, 1e-5)
    assert exact <= spent <= exact * 1.01


def test_composing_once_with_a_count_is_composing_many_times() -> None:
    """Ten equal events cost what ten nearly equal ones do, one by one."""
    together = epsilon([gaussian(5.0)] * 6, 1e-5).epsilon
    apart = epsilon([gaussian(5.0 + i * 1e-7) for i in range(6)], 1e-5).epsilon
    assert together == pytest.approx(apart, rel=1e-3)


def test_nothing_costs_nothing_and_no_noise_costs_everything() -> None:
    assert epsilon([], 1e-5) == Spent(0.0, None)
    bare = NonPrivate(Unit.USER, Relation.ZERO_OUT, 16)
    assert epsilon([gaussian(5.0), bare], 1e-5) == Spent(inf, None)


def test_units_are_never_added() -> None:
    with pytest.raises(UnsupportedEvent, match="never added"):
        epsilon([gaussian(5.0), gaussian(5.0, unit=Unit.RECORD)], 1e-5)


def test_an_unknown_event_is_refused_by_name() -> None:
    class Shuffled:
        unit, relation, coordinates = Unit.USER, Relation.ZERO_OUT, 16

    with pytest.raises(UnsupportedEvent, match="Shuffled"):
        epsilon([Shuffled()], 1e-5)  # type: ignore[list-item]


def test_smaller_total_is_reported_never_a_minimum_an_event(
    monkeypatch, request
) -> None:
    calls = []

    def fixed(value):
        def accountant(multipliers):
            calls.append(sum(count for _, count in multipliers))
            return lambda delta: value

        return accountant

    monkeypatch.setattr(accounting, "_pld", fixed(3.0))
    monkeypatch.setattr(accounting, "_rdp", fixed(2.0))
    accounting._gaussian_total.cache_clear()
    request.addfinalizer(accounting._gaussian_total.cache_clear)
    assert epsilon([gaussian(5.0), gaussian(9.0)], 1e-5) == Spent(2.0, "rdp")
    assert calls == [2, 2]  # each accountant saw the whole list


def test_what_the_sampler_cannot_reach_is_taken_off_delta() -> None:
    """A made-up sampler that misses half of delta leaves the other half."""

    def ideal(delta: float) -> float:
        return -delta  # any falling function of delta

    assert accounting._without_tail(ideal, 1e-5, 0.0) == pytest.approx(-1e-5)
    missing = 1e-6
    coarse = ideal(1e-5 / 2)
    expected = 1e-5 - (1 + exp(coarse)) * missing
    assert accounting._without_tail(ideal, 1e-5, missing) == pytest.approx(-expected)
    assert accounting._without_tail(ideal, 1e-5, 1e-5) == inf


def test_the_tail_of_every_event_reaches_the_total(monkeypatch, request) -> None:
    accounting._gaussian_total.cache_clear()
    request.addfinalizer(accounting._gaussian_total.cache_clear)
    before = epsilon([gaussian(5.0)] * 3, 1e-5).epsilon
    monkeypatch.setattr(accounting, "tail_mass", lambda coordinates: 1e-9 * coordinates)
    assert epsilon([gaussian(5.0)] * 3, 1e-5).epsilon > before
    assert epsilon([gaussian(5.0, 10**6)] * 3, 1e-5).epsilon == inf


@pytest.mark.parametrize("start", [0.01, 1.0, 50.0])
def test_calibration_never_ends_above_the_target(start) -> None:
    """A price without noise of its own, so that the last digits count."""
    for target in (0.3, 1.0, 7.0):

        def price(multiplier: Fraction) -> Spent:
            return Spent(1 / float(multiplier), "made up")

        multiplier, spent = calibrate(price, target, start=start)
        assert spent.epsilon <= target
        assert 1 / float(multiplier) == spent.epsilon
        assert float(multiplier) == pytest.approx(1 / target, rel=1e-4)


@pytest.mark.parametrize("target", [0.25, 1.0, 8.0])
def test_calibration_is_on_the_private_side_and_tight(target) -> None:
    def price(multiplier: Fraction) -> Spent:
        return epsilon([gaussian(float(multiplier))] * 10, 1e-5)

    multiplier, spent = calibrate(price, target, start=3.0)
    assert spent.epsilon <= target
    assert price(multiplier * Fraction(9999, 10000)).epsilon > target


def test_halving_the_noise_breaks_the_target() -> None:
    def price(multiplier: Fraction) -> Spent:
        return epsilon([gaussian(float(multiplier))] * 10, 1e-5)

    multiplier, _ = calibrate(price, 1.0, start=3.0)
    assert price(multiplier / 2).epsilon > 2.0


def test_an_unreachable_target_says_what_can_be_done() -> None:
    def price(multiplier: Fraction) -> Spent:
        return epsilon([gaussian(float(multiplier))], 1e-5)

    with pytest.raises(PlanError, match=r"target_epsilon = 1e-09 .* raise target_eps"):
        calibrate(price, 1e-9, start=1.0)


def test_noise_multiplier_of_an_event_errs_towards_less_noise() -> None:
    event = gaussian(11.8)
    exact = Fraction(event.variance, event.sensitivity_squared)
    assert Fraction(event.noise_multiplier) ** 2 <= exact
