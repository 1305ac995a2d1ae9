"""Skellam noise: closed form and comparison, against exact sums over the integers."""

from fractions import Fraction
from math import exp, inf, log, log1p

import numpy as np
import pytest
from scipy.special import ive, logsumexp

from fedpref.core import accounting, composition, skellam
from fedpref.core.accounting import epsilon, epsilon_of
from fedpref.core.closeness import closeness
from fedpref.core.events import (
    GaussianSum,
    PoissonGaussianSum,
    PoissonSkellamSum,
    SkellamSum,
)
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.core.skellam import divergence, draws, price, sampled_divergence, twin
from fedpref.core.types import Relation, Unit
from fedpref.errors import UnsupportedEvent

USER = (Unit.USER, Relation.ZERO_OUT)


def one(stddev, shift, coordinates=1):
    variance = Fraction(stddev) ** 2
    return SkellamSum(*USER, shift**2, shift, variance, coordinates)


def sampled(rate, stddev, shift, coordinates=1):
    variance = Fraction(stddev) ** 2
    return PoissonSkellamSum(*USER, rate, shift**2, shift, variance, coordinates)


def pair(stddev, shift, rate=1.0):
    """Laws without and with a unit that adds ``shift`` to one coordinate."""
    reach = 10 * stddev + shift
    x = np.arange(-reach, reach + shift + 1)
    without, shifted = ive(np.abs(x), stddev**2), ive(np.abs(x - shift), stddev**2)
    return without, (1 - rate) * without + rate * shifted


def exact_epsilon(stddev, shift, delta):
    p, q = pair(stddev, shift)
    low, high = 0.0, 50.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        spent = np.maximum(q - exp(middle) * p, 0).sum()
        low, high = (low, middle) if spent <= delta else (middle, high)
    return low


def twin_epsilon(event, rounds=1):
    """Exact epsilon of the Gaussian twin, as a function of delta."""
    size = rounds * event.sensitivity_squared / twin(event).variance
    return lambda delta: gaussian_epsilon(size, delta)


# The closed form


@pytest.mark.parametrize(("stddev", "shift"), [(5, 3), (10, 10), (60, 30)])
@pytest.mark.parametrize("order", [2, 5, 16])
def test_closed_form_is_never_below_the_exact_divergence(stddev, shift, order) -> None:
    p, q = pair(stddev, shift)
    keep = (p > 0) & (q > 0)
    terms = order * np.log(q[keep]) + (1 - order) * np.log(p[keep])
    exact = logsumexp(terms) / (order - 1)
    found = divergence(order, shift**2, shift, stddev**2)
    assert exact <= found
    if order * shift < stddev**2 / 10:
        assert found <= exact * 1.02


def test_closed_form_by_hand() -> None:
    assert divergence(3, 4.0, 2.0, 10.0) == pytest.approx(0.6 + min(32 / 400, 6 / 20))
    assert divergence(3, 4.0, 2.0, 1.0) == pytest.approx(6 + min(32 / 4, 6 / 2))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("order", [2, 3, 8, 20])
def test_sampled_divergence_is_never_below_the_exact_one(rate, order) -> None:
    stddev, shift = 20, 20
    p, q = pair(stddev, shift, rate)
    keep = (p > 1e-300) & (q > 1e-300)
    exact = max(
        logsumexp(order * np.log(a[keep]) + (1 - order) * np.log(b[keep])) / (order - 1)
        for a, b in ((p, q), (q, p))
    )

    def plain(order):
        return divergence(order, shift**2, shift, stddev**2)

    found = sampled_divergence(order, rate, plain)
    assert exact <= found
    assert found <= plain(order) + log(3)
    assert sampled_divergence(order, 1.0, plain) == plain(order)


def test_sampled_divergence_by_hand() -> None:
    """At order 2: log[(1 - q)(1 + q) + q^2 e^eps(2)]."""
    found = sampled_divergence(2, 0.25, lambda order: 0.7)
    assert found == pytest.approx(log(0.75 * 1.25 + 0.0625 * exp(0.7)), rel=1e-12)
    third = 0.75**2 * 1.5 + 3 * 0.0625 * 0.75 * exp(0.7) + 3 * 0.25**3 * exp(1.4)
    found = sampled_divergence(3, 0.25, lambda order: 0.7)
    assert found == pytest.approx(log(third) / 2, rel=1e-12)


# The comparison


@pytest.mark.parametrize("stddev", [5, 10, 30, 100])
@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_one_coordinate_is_never_cheaper_than_it_is(stddev, ratio) -> None:
    shift = round(stddev * ratio)
    event = one(stddev, shift)
    for delta in (1e-3, 1e-6):
        exact = exact_epsilon(stddev, shift, delta)
        found = price(draws([(event, 1)]), twin_epsilon(event), delta)
        assert exact <= found
        if stddev == 100:
            assert found <= exact * 1.05 + 0.05
        assert exact <= epsilon([event], delta).epsilon


def test_the_twin_alone_is_not_a_bound() -> None:
    """What the spread is for: the mutation that drops it claims too little."""
    event, delta = one(8, 4), 0.1
    exact = exact_epsilon(8, 4, delta)
    assert twin_epsilon(event)(delta) < exact - 5e-4
    assert price(draws([(event, 1)]), twin_epsilon(event), delta) >= exact


def least_epsilon(stddev, shift, rate, rounds, delta, step=1e-5, size=2**21):
    """A lower bound by convolution: losses rounded down, the largest left out."""
    p, q = pair(stddev, shift, rate)
    keep = (p > 0) & (q > 0)
    best = 0.0
    for a, b in ((p[keep], q[keep]), (q[keep], p[keep])):
        loss = np.log(b / a)
        first = np.floor(loss.min() / step)
        place = (np.floor(loss / step) - first).astype(int)
        fits = place < size
        mass = np.bincount(place[fits], weights=b[fits], minlength=size)
        total = np.fft.irfft(np.fft.rfft(mass) ** rounds, size)
        level = (np.arange(size) + first * rounds) * step
        above = np.cumsum(total[::-1])[::-1]
        below = np.cumsum((total * np.exp(-level))[::-1])[::-1]
        spent = above - np.exp(np.minimum(level, 50)) * below
        best = max(best, float(level[np.nonzero(spent > delta)[0].max()]))
    return best


@pytest.mark.parametrize(("stddev", "known"), [(50, 5.1455), (200, 5.1478)])
def test_fifty_sampled_rounds_are_never_cheaper_than_they_are(stddev, known) -> None:
    exact = least_epsilon(stddev, stddev, 0.1, 50, 1e-5)
    assert exact == pytest.approx(known, abs=2e-4)
    event = sampled(Fraction(1, 10), stddev, stddev)
    found = epsilon_of([(event, 50)], 1e-5)
    assert exact <= found.epsilon <= exact * (1.03 if stddev == 50 else 1.005)
    assert found.accountant == "comparison+pld"


def test_price_is_the_formula() -> None:
    event, delta = one(1000, 500, 10**5), 1e-5
    noises = draws([(event, 10)])
    assert noises == ((Fraction(10**6), 10**6),)
    ideal = twin_epsilon(event, 10)
    found = price(noises, ideal, delta)
    close = closeness(noises, delta / (250 * (1 + exp(ideal(delta / 2) + 0.5))))
    at = exp(close.spread)
    claimed = found - 2 * close.spread
    rest = (delta - close.slack * (1 + at * exp(ideal(delta / 2)))) / at
    assert claimed == pytest.approx(ideal(rest), rel=1e-12)
    assert at * rest + close.slack * (1 + at * exp(claimed)) <= delta
    assert close.slack * (1 + at * exp(claimed)) < delta / 100
    assert close.spread == pytest.approx(0.0016, abs=2e-4)


def test_too_little_noise_has_no_comparison() -> None:
    rough = one(3, 3)
    assert price(draws([(rough, 1)]), lambda delta: 1.0, 1e-5) == inf
    assert epsilon([rough], 1e-5).accountant == "rdp"


def test_twin_keeps_everything_but_a_twelfth() -> None:
    assert twin(one(10, 7, 3)) == GaussianSum(*USER, 49, Fraction(1199, 12), 3)
    assert twin(sampled(Fraction(1, 7), 10, 7, 3)) == PoissonGaussianSum(
        *USER, Fraction(1, 7), 49, Fraction(1199, 12), 3
    )


def test_its_loss_distribution_is_refused() -> None:
    """Where it is wanted the twin is priced; nothing else may take its place."""
    event = sampled(Fraction(1, 2), 100, 50)
    with pytest.raises(UnsupportedEvent, match="Skellam"):
        composition.pld(accounting.mechanisms([(event, 1)]), 1e-3)


# Lists


@pytest.mark.parametrize("event", [one(500, 200, 9), sampled(Fraction(1, 5), 500, 400)])
def test_an_event_so_many_times_is_so_many_events(event) -> None:
    assert epsilon([event] * 7, 1e-5) == epsilon_of([(event, 7)], 1e-5)
    assert epsilon_of([(event, 3), (event, 4)], 1e-5).epsilon == pytest.approx(
        epsilon_of([(event, 7)], 1e-5).epsilon, rel=1e-9
    )


def test_a_list_of_both_laws_costs_more_than_either() -> None:
    event = one(4000, 1000, 1000)
    plain = GaussianSum(*USER, 1, Fraction(16), 1000)
    both = epsilon([event, plain], 1e-5)
    alone = epsilon([event], 1e-5).epsilon, epsilon([plain], 1e-5).epsilon
    assert max(alone) < both.epsilon < sum(alone)
    assert both.accountant == "comparison+exact"
    ideal = epsilon([twin(event), plain], 1e-5).epsilon
    assert ideal < both.epsilon < ideal + 1e-3
    coins = PoissonGaussianSum(*USER, Fraction(1, 2), 1, Fraction(16), 1000)
    mixed = epsilon_of([(event, 1), (coins, 2)], 1e-5, interval=1e-3)
    assert alone[0] < mixed.epsilon < both.epsilon
    assert mixed.accountant == "comparison+pld"


def test_the_whole_list_is_compared_at_once() -> None:
    """Ten rounds share one spread; ten times the spread of one would be more."""
    event = one(200, 40, 10**5)
    found = epsilon_of([(event, 10)], 1e-5).epsilon
    ideal = epsilon_of([(twin(event), 10)], 1e-5).epsilon
    spread = closeness(((Fraction(200**2), 10**6),), 1e-9).spread
    assert 1.5 * spread < found - ideal < 4 * spread


def test_rdp_is_taken_where_it_is_smaller() -> None:
    event = one(60, 6, 10**8)
    assert epsilon([event], 1e-5).accountant == "rdp"
    orders = [float(order) for order in range(2, 65)]
    bounds = [
        divergence(int(a), 36, 6, 3600) + log1p(-1 / a) - log(1e-5 * a) / (a - 1)
        for a in orders
    ]
    assert epsilon([event], 1e-5).epsilon == pytest.approx(min(bounds), rel=1e-6)


def test_what_the_sampler_misses_is_paid(monkeypatch) -> None:
    event = one(1000, 500, 100)
    before = epsilon([event], 1e-5).epsilon
    accounting.forget()
    monkeypatch.setattr(accounting, "sampler_error", lambda coordinates: 2.0**-46)
    after = epsilon([event], 1e-5).epsilon
    accounting.forget()
    assert before < after < before * 1.2
    monkeypatch.setattr(accounting, "sampler_error", lambda coordinates: 2.0**-20)
    assert epsilon([event], 1e-5).epsilon == inf
    accounting.forget()


def test_at_delta_zero_there_is_no_price() -> None:
    assert epsilon([one(1000, 500)], 0.0).epsilon == inf


def test_dropping_the_spread_is_noticed(monkeypatch) -> None:
    """The one-coordinate test above stands guard over the spread in ``price``."""
    event, delta = one(8, 4), 0.1
    nothing = type(closeness(((Fraction(25), 1),), 1e-9))(0.0, 1e-15)
    monkeypatch.setattr(skellam, "closeness", lambda noises, missed: nothing)
    broken = price(draws([(event, 1)]), twin_epsilon(event), delta)
    assert broken < exact_epsilon(8, 4, delta)
