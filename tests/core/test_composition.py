"""Composition against brute force, and what is kept against starting from scratch."""

from itertools import product
from math import comb, exp, inf, log
from threading import Thread

import dp_accounting
import pytest
from dp_accounting import NeighboringRelation
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from scipy.optimize import brentq

from fedpref.core import composition
from fedpref.core.composition import Gaussian, Response, pld, rdp, rdp_total

COARSE = 1e-3


@pytest.fixture(autouse=True)
def fresh():
    composition.forget()
    yield
    composition.forget()


def raw(mechanism):
    """The same mechanism in dp-accounting's own words."""
    if isinstance(mechanism, Response):
        return dp_accounting.RandomizedResponseDpEvent(
            mechanism.noise, mechanism.options
        )
    noise = dp_accounting.GaussianDpEvent(mechanism.noise_multiplier)
    if mechanism.rate >= 1:
        return noise
    return dp_accounting.PoissonSampledDpEvent(mechanism.rate, noise)


def relation(mechanism):
    if isinstance(mechanism, Response):
        return NeighboringRelation.REPLACE_ONE
    return NeighboringRelation.REPLACE_SPECIAL


MECHANISMS = [
    Gaussian(1.0, 2.5),
    Gaussian(0.1, 1.0),
    Gaussian(0.01, 0.8),
    Response(2, 0.5),
    Response(5, 0.75),
]


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=str)
def test_n_times_an_event_is_n_events(mechanism) -> None:
    """Each of dp-accounting's accountants is given the event n times, one by one."""
    delta = 1e-5
    one_by_one = PLDAccountant(relation(mechanism), value_discretization_interval=1e-3)
    divergences = RdpAccountant(neighboring_relation=relation(mechanism))
    for _ in range(4):
        one_by_one.compose(raw(mechanism))
        divergences.compose(raw(mechanism))
    ours = pld(((mechanism, 4),), COARSE)(delta)
    assert ours == pytest.approx(one_by_one.get_epsilon(delta), rel=1e-3)
    assert rdp(((mechanism, 4),))(delta) == pytest.approx(
        divergences.get_epsilon(delta)
    )
    assert ours > pld(((mechanism, 3),), COARSE)(delta)


def test_different_mechanisms_together() -> None:
    counts = (
        (Gaussian(0.1, 1.0), 20),
        (Gaussian(0.2, 2.0), 5),
        (Gaussian(1.0, 8.0), 3),
    )
    by_pld = PLDAccountant(value_discretization_interval=1e-3)
    by_rdp = RdpAccountant()
    for mechanism, count in counts:
        by_pld.compose(raw(mechanism), count)
        by_rdp.compose(raw(mechanism), count)
    for delta in (1e-4, 1e-7):
        assert pld(counts, COARSE)(delta) == pytest.approx(
            by_pld.get_epsilon(delta), rel=1e-4
        )
        assert rdp(counts)(delta) == pytest.approx(by_rdp.get_epsilon(delta))


def exact_response_epsilon(options: int, noise: float, rounds: int, delta: float):
    """Every outcome of every round, counted: hits on either answer, and others."""
    low, high = noise / options, 1 - noise + noise / options
    step = log(high / low)
    outcomes: dict[int, float] = {}
    for up in range(rounds + 1):
        for down in range(rounds + 1 - up):
            rest = rounds - up - down
            if rest and options == 2:
                continue
            ways = comb(rounds, up) * comb(rounds - up, down)
            chance = high**up * low**down * ((options - 2) * low) ** rest
            outcomes[up - down] = outcomes.get(up - down, 0) + ways * chance
    assert sum(outcomes.values()) == pytest.approx(1)

    def excess(epsilon: float) -> float:
        gain = (
            p * (1 - exp(epsilon - k * step))
            for k, p in outcomes.items()
            if k * step > epsilon
        )
        return sum(gain) - delta

    return brentq(excess, 0, rounds * step)


@pytest.mark.parametrize(
    ("options", "noise", "rounds", "delta"),
    [(2, 0.5, 1, 1e-5), (2, 0.8, 30, 1e-6), (4, 0.6, 12, 1e-4), (9, 0.9, 40, 1e-3)],
)
def test_randomised_response_against_every_outcome(
    options, noise, rounds, delta
) -> None:
    """The accountant class of dp-accounting 0.6 forgets the count; ours must not."""
    counts = ((Response(options, noise), rounds),)
    exact = exact_response_epsilon(options, noise, rounds, delta)
    by_pld = pld(counts, 1e-4)(delta)
    assert exact - 1e-9 <= by_pld <= exact + rounds * 1e-4
    assert exact <= rdp(counts)(delta) + 1e-9


def test_divergence_of_a_response_by_hand() -> None:
    """sum p^a q^(1-a) over both hits and the one other option."""
    noise, options, order = 0.6, 3, 4
    low, high = noise / options, 1 - noise + noise / options
    moment = high**4 * low**-3 + low**4 * high**-3 + low
    (found,) = rdp_total(((Response(options, noise), 5),), (float(order),))
    assert found == pytest.approx(5 * log(moment) / 3)


def test_divergence_of_a_sampled_gaussian_by_its_binomial_sum() -> None:
    """Mironov, Talwar and Zhang (2019), equation 7, for integer orders."""
    q, z, order = 0.1, 1.3, 6
    moment = sum(
        comb(order, k) * (1 - q) ** (order - k) * q**k * exp((k * k - k) / (2 * z * z))
        for k in range(order + 1)
    )
    (found,) = rdp_total(((Gaussian(q, z), 3),), (float(order),))
    assert found == pytest.approx(3 * log(moment) / (order - 1))


def test_a_uniform_answer_costs_nothing() -> None:
    counts = ((Response(4, 1.0), 10),)
    assert pld(counts, COARSE)(1e-5) == 0
    assert rdp(counts)(1e-5) == 0


def ledger(rounds):
    """Four classes, one of them not sampled."""
    return tuple(
        (Gaussian(rate, z), count)
        for (rate, z), count in zip(
            [(0.01, 0.9), (0.02, 1.1), (0.05, 1.4), (1.0, 20.0)], rounds, strict=True
        )
        if count
    )


def test_what_is_kept_does_not_change_the_result(monkeypatch) -> None:
    monkeypatch.setattr(composition, "_OLDEST", 16)  # 64 takes longer, no more
    rounds = [30, 0, 40, 5]
    for step in range(2 * composition._OLDEST):
        rounds[step % 4] += 1 + step % 3
        grown = pld(ledger(rounds), COARSE)
    ages = [age for _, age in composition._kept.values()]
    assert (
        5 <= max(ages) <= composition._OLDEST
    )  # built on one another, but not forever
    composition.forget()
    assert not composition._kept
    scratch = pld(ledger(rounds), COARSE)
    for delta in (1e-5, 1e-7):
        assert scratch(delta) == pytest.approx(grown(delta), abs=1e-6)


def test_a_total_is_never_built_on_one_that_holds_more() -> None:
    first = pld(ledger([9, 9, 9, 9]), COARSE)(1e-5)
    fewer = pld(ledger([8, 9, 0, 9]), COARSE)(1e-5)
    finer = pld(ledger([9, 9, 9, 9]), 5e-4)(1e-5)
    composition.forget()
    assert pld(ledger([8, 9, 0, 9]), COARSE)(1e-5) == fewer < first
    composition.forget()
    assert pld(ledger([9, 9, 9, 9]), 5e-4)(1e-5) == finer != first


def test_one_round_more_is_one_convolution(monkeypatch) -> None:
    """With every class there already, only the new round is composed."""
    pld(ledger([50, 60, 70, 8]), COARSE)
    asked = []
    real = composition._once
    monkeypatch.setattr(
        composition, "_once", lambda m, interval: asked.append(m) or real(m, interval)
    )
    pld(ledger([50, 61, 70, 8]), COARSE)
    assert asked[:-1] == [Gaussian(0.02, 1.1)]
    assert asked[-1].rate == 1.0  # the sum of all Gaussians that are not sampled


def test_memory_is_bounded() -> None:
    for count in range(1, 3 * composition._KEPT):
        pld(((Gaussian(0.01, 4.0), count),), 1e-2)
    assert len(composition._kept) <= composition._KEPT


def test_threads_agree() -> None:
    alone = {n: pld(ledger([n, 5, 5, 5]), COARSE)(1e-5) for n in range(1, 6)}
    composition.forget()
    together: dict[int, float] = {}

    def ask(n: int) -> None:
        together[n] = pld(ledger([n, 5, 5, 5]), COARSE)(1e-5)

    threads = [Thread(target=ask, args=(n,)) for n in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == pytest.approx(alone, abs=1e-6)


def test_a_coarser_grid_prices_higher() -> None:
    """Both are upper bounds; the coarse one must not dip below the fine one."""
    for rate, z, count in product((0.01, 0.2), (0.9,), (1, 100)):
        counts = ((Gaussian(rate, z), count),)
        fine = pld(counts, 1e-4)(1e-5)
        assert fine - 1e-6 <= pld(counts, COARSE)(1e-5) <= fine * 1.02 + 0.02


def test_delta_zero_has_no_price_by_either_accountant() -> None:
    counts = ((Gaussian(0.1, 1.0), 3),)
    assert rdp(counts)(0.0) == inf
    assert pld(counts, COARSE)(0.0) == inf
