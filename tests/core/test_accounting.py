"""Epsilons against dp-accounting fed with raw events, closed forms and a bracket."""

from dataclasses import replace
from fractions import Fraction
from math import erfc, exp, inf, log, sqrt

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy.optimize import brentq

from fedpref.core import accounting, composition
from fedpref.core.accounting import (
    Spent,
    calibrate,
    epsilon,
    epsilon_of,
)
from fedpref.core.currencies import gaussian_mu_squared, rdp_at
from fedpref.core.events import (
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    RandomisedResponse,
)
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.core.types import Relation, Unit
from fedpref.errors import PlanError, UnsupportedEvent

LABEL = (Unit.LABEL, Relation.REPLACE_LABEL)


def gaussian(multiplier: float, coordinates: int = 16, unit: Unit = Unit.USER):
    sensitivity = 2**24
    variance = Fraction(round(multiplier * sensitivity)) ** 2
    return GaussianSum(unit, Relation.ZERO_OUT, sensitivity**2, variance, coordinates)


def sampled(q: float, multiplier: float, coordinates: int = 16):
    plain = gaussian(multiplier, coordinates)
    return PoissonGaussianSum(
        plain.unit,
        plain.relation,
        Fraction(str(q)),
        plain.sensitivity_squared,
        plain.variance,
        coordinates,
    )


def event(q: float, multiplier: float):
    return gaussian(multiplier) if q == 1 else sampled(q, multiplier)


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
def test_unsampled_gaussians_cost_what_the_exact_one_does(multiplier, rounds) -> None:
    spent = epsilon([gaussian(multiplier)] * rounds, 1e-5).epsilon
    exact = exact_epsilon(multiplier, rounds, 1e-5)
    assert exact * (1 - 1e-8) <= spent <= exact * (1 + 1e-6)


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
        def accountant(counts, *interval):
            calls.append(sum(count for _, count in counts))
            return lambda delta: value

        return accountant

    monkeypatch.setattr(composition, "pld", fixed(3.0))
    monkeypatch.setattr(composition, "rdp", fixed(2.0))
    accounting.forget()
    request.addfinalizer(accounting.forget)
    events = [sampled(0.1, 5.0), sampled(0.1, 9.0)]
    assert epsilon(events, 1e-5) == Spent(2.0, "rdp")
    assert calls == [2, 2]  # each accountant saw the whole list
    assert epsilon([gaussian(5.0), sampled(0.1, 9.0)], 1e-5) == Spent(2.0, "rdp")


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
    accounting.forget()
    request.addfinalizer(accounting.forget)
    before = epsilon([gaussian(5.0)] * 3, 1e-5).epsilon
    monkeypatch.setattr(accounting, "tail_mass", lambda coordinates: 1e-9 * coordinates)
    accounting.forget()
    assert epsilon([gaussian(5.0)] * 3, 1e-5).epsilon > before
    assert epsilon([gaussian(5.0, 10**6)] * 3, 1e-5).epsilon == inf
    assert epsilon([sampled(0.01, 5.0, 10**6)] * 3, 1e-5).epsilon == inf


def test_secret_coins_are_taken_off_whoever_adds_the_noise() -> None:
    """The same sum without coins has the noise's own error alone."""
    coins = accounting.unreachable([(sampled(0.01, 5.0), 3)])
    assert coins - accounting.unreachable([(gaussian(5.0), 3)]) == 3 * 2.0**-64


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


# Sampled, mixed and counted events


GRID = [  # pairs of sampling probability, noise multiplier and rounds; delta
    ([(0.01, 1.0, 1000)], 1e-5),
    ([(0.1, 1.0, 50)], 1e-5),
    ([(0.02, 0.8, 60)], 1e-6),
    ([(0.2, 4.0, 100)], 1e-7),
    ([(1, 6.3, 10)], 1e-5),
    ([(1, 50.0, 2000)], 1e-6),
    ([(0.1, 1.0, 50), (1, 10.0, 30)], 1e-5),
    ([(0.01, 1.2, 50), (0.05, 2.0, 20), (1, 20.0, 10)], 1e-6),
]


@pytest.mark.parametrize(("pairs", "delta"), GRID, ids=str)
def test_is_never_below_a_tight_bracket_and_within_two_percent_of_pld(
    pairs, delta
) -> None:
    """The bracket comes from another library and another method."""
    ours = epsilon_of([(event(q, z), n) for q, z, n in pairs], delta).epsilon
    reference = PLDAccountant(value_discretization_interval=1e-4)
    for q, z, n in pairs:
        raw = dp_accounting.GaussianDpEvent(z)
        reference.compose(
            raw if q == 1 else dp_accounting.PoissonSampledDpEvent(q, raw), n
        )
    assert ours <= reference.get_epsilon(delta) * 1.02
    low, high = _prv_bracket(pairs, delta)
    assert low <= ours <= high


def _prv_bracket(pairs, delta) -> tuple[float, float]:
    prv = pytest.importorskip(
        "prv_accountant", reason="the bracket needs: pip install prv-accountant"
    )
    mechanisms = [
        prv.GaussianMechanism(z)
        if q == 1
        else prv.PoissonSubsampledGaussianMechanism(
            sampling_probability=q, noise_multiplier=z
        )
        for q, z, _ in pairs
    ]
    rounds = [n for _, _, n in pairs]
    accountant = prv.PRVAccountant(
        prvs=mechanisms,
        max_self_compositions=rounds,
        eps_error=0.01,
        delta_error=delta / 1000,
    )
    low, _, high = accountant.compute_epsilon(delta, rounds)
    return low, high


@pytest.mark.parametrize(
    ("q", "multiplier", "rounds", "delta", "published"),
    [
        (0.01, 1.0, 1000, 1e-5, 1.83),
        (0.1, 1.0, 50, 1e-5, 5.15),
        (0.1, 2.0, 200, 1e-5, 3.36),
        (0.05, 0.8, 100, 1e-5, 5.74),
        (16 / 500, 1.0, 625, 1e-5, 5.153),
        (0.01, 1.0, 10_000, 1e-5, 6.188),
        (1, 50.0, 2000, 1e-5, 3.8486),
        (1e-3, 8.0, 100, 1e-10, 0.0067),
    ],
)
def test_known_numbers(q, multiplier, rounds, delta, published) -> None:
    """Measured with three libraries when the accountant was chosen."""
    digits = len(str(published).split(".")[1])
    found = epsilon_of([(event(q, multiplier), rounds)], delta).epsilon
    assert found == pytest.approx(published, abs=0.51 * 10**-digits)


EVERY_EVENT = [
    gaussian(5.0),
    sampled(0.05, 1.2),
    RandomisedResponse(*LABEL, 3, Fraction(1, 2)),
    RandomisedResponse(*LABEL, 2, Fraction(11, 20)),
    NonPrivate(Unit.USER, Relation.ZERO_OUT, 16),
]


@pytest.mark.parametrize("one", EVERY_EVENT, ids=lambda e: type(e).__name__)
def test_a_count_is_so_many_events(one) -> None:
    counted = epsilon_of([(one, 40)], 1e-5)
    assert epsilon([one] * 40, 1e-5) == counted
    assert epsilon_of([(one, 15), (one, 25)], 1e-5) == counted
    assert epsilon_of([(one, 40), (one, 0)], 1e-5) == counted
    assert epsilon_of([(one, 0)], 1e-5) == Spent(0.0, None)
    if not isinstance(one, NonPrivate):
        assert epsilon_of([(one, 41)], 1e-5).epsilon > counted.epsilon


def test_a_sampling_probability_of_one_is_no_sampling() -> None:
    always = epsilon_of([(sampled(1, 5.0), 10)], 1e-5)
    exact = epsilon_of([(gaussian(5.0), 10)], 1e-5)
    assert exact.accountant == "exact"
    assert exact.epsilon <= always.epsilon <= exact.epsilon * 1.001


@pytest.mark.parametrize(
    "worse",
    [
        lambda e: replace(e, variance=e.variance / 4),
        lambda e: replace(e, sampling_prob=Fraction(1)),
        lambda e: replace(e, sampling_prob=e.sampling_prob * 2),
        lambda e: replace(e, sensitivity_squared=e.sensitivity_squared * 2),
    ],
)
def test_less_noise_or_more_sampling_costs_more(worse) -> None:
    one = sampled(0.05, 2.0)
    cost = epsilon_of([(one, 30)], 1e-5).epsilon
    assert epsilon_of([(worse(one), 30)], 1e-5).epsilon > cost * 1.3


def test_a_coarse_grid_is_an_upper_bound_too() -> None:
    counts = [(sampled(0.02, 0.9), 400), (gaussian(12.0), 20)]
    fine = epsilon_of(counts, 1e-5).epsilon
    assert fine <= epsilon_of(counts, 1e-5, interval=1e-3).epsilon <= fine * 1.01


def test_labels_add_up_without_delta_and_for_less_with_it() -> None:
    one = RandomisedResponse(*LABEL, 3, Fraction(3, 5))  # epsilon ln 3
    assert epsilon_of([(one, 7)], 0.0).accountant == "pure"
    assert epsilon_of([(one, 7)], 0.0).epsilon == pytest.approx(7 * log(3))
    two = RandomisedResponse(*LABEL, 2, Fraction(3, 4))
    both = epsilon_of([(one, 2), (two, 3)], 0.0).epsilon
    assert both == pytest.approx(5 * log(3))
    many = epsilon_of([(one, 100)], 1e-5)
    assert many.accountant in ("pld", "rdp")
    assert many.epsilon < 75 * log(3)


def test_labels_and_people_never_meet() -> None:
    answer = RandomisedResponse(*LABEL, 2, Fraction(3, 4))
    for other in (gaussian(5.0), NonPrivate(Unit.USER, Relation.ZERO_OUT, 1)):
        for order in ([answer, other], [other, answer]):
            with pytest.raises(UnsupportedEvent, match="never added"):
                epsilon(order, 1e-5)
    with pytest.raises(UnsupportedEvent, match="never added"):
        rdp_at([(answer, 1), (gaussian(5.0), 1)], 8)


@pytest.mark.parametrize("count", [-1, 1.5, "2", None, True])
def test_a_count_that_is_none_is_refused(count) -> None:
    with pytest.raises(PlanError, match="count"):
        epsilon_of([(gaussian(5.0), count)], 1e-5)


@pytest.mark.parametrize(
    ("delta", "interval"), [(1.0, 1e-4), (-1e-9, 1e-4), (float("nan"), 1e-4), (1e-5, 0)]
)
def test_a_delta_or_grid_that_makes_no_sense_is_refused(delta, interval) -> None:
    with pytest.raises(PlanError, match="delta"):
        epsilon_of([(gaussian(5.0), 1)], delta, interval=interval)


def test_hardly_any_noise_is_priced_without_filling_the_memory() -> None:
    """Ten million grid points would be needed; the tail of the sampler rules it out."""
    accounting.forget()
    assert epsilon_of([(gaussian(1e-3), 10)], 1e-5) == Spent(inf, None)
    plain = RandomisedResponse(*LABEL, 2, 1 - Fraction(1, 10**400))
    spent = epsilon_of([(plain, 2)], 1e-5)
    assert spent.accountant == "pure"
    assert spent.epsilon == pytest.approx(800 * log(10))
    assert composition._once.cache_info().currsize == 0


def test_a_thousand_different_variances_are_cheap_and_exact() -> None:
    """Realised noise differs every round; unsampled Gaussians add up before PLD."""
    counts = [(gaussian(40 + i / 100), 1) for i in range(1000)]
    exact = gaussian_epsilon(gaussian_mu_squared(counts), 1e-5)
    assert epsilon_of(counts, 1e-5) == Spent(exact, "exact")
    mixed = epsilon_of([*counts, (sampled(0.01, 1000.0), 1)], 1e-5)
    assert exact <= mixed.epsilon <= exact * 1.001


def test_plans_without_sampling_are_priced_without_the_accountants(
    monkeypatch, request
) -> None:
    """Importing them is most of what reading a ledger takes."""

    def imported(*args):
        raise AssertionError("dp_accounting would be imported")

    accounting.forget()
    request.addfinalizer(accounting.forget)
    for name in ("pld", "rdp", "rdp_total"):
        monkeypatch.setattr(composition, name, imported)
    assert epsilon_of([(gaussian(5.0), 10)], 1e-5).accountant == "exact"
    assert epsilon_of([(gaussian(5.0), 10)], 0.0) == Spent(inf, None)
    with pytest.raises(AssertionError, match="imported"):
        epsilon_of([(sampled(0.1, 5.0), 10)], 1e-5)


def test_noise_multiplier_of_an_event_errs_towards_less_noise() -> None:
    event = gaussian(11.8)
    exact = Fraction(event.variance, event.sensitivity_squared)
    assert Fraction(event.noise_multiplier) ** 2 <= exact
