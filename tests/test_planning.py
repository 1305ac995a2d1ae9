"""Planning against closed forms, exact fractions, and what a run would seal."""

from dataclasses import replace
from fractions import Fraction
from math import exp, inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.errors import PlanError
from fedpref.plan import PrivacySpec
from fedpref.planning import EPSILONS, solve, table
from fedpref.questions import Place, Question, Takes

OUT, SERVER = Adversary.OUTSIDER, Adversary.SERVER


def ask(
    unit=Unit.USER, noise=Place.CENTRAL, takes=Takes.ALL, *, people=(500, 500), **kw
):
    return Question(*people, unit, noise, takes, **kw)


def label(**kw):
    return ask(Unit.LABEL, Place.LABEL, **kw)


def sealed_spec(noise, against, **change):
    spec = PrivacySpec(
        unit=Unit.USER,
        noise=noise,
        participation=Participation.ALL,
        against=against,
        target_epsilon=1.0,
        delta=None,
        clip=8.0,
        rounds=10,
        spare_rounds=0,
        units=500,
        cohort=500,
        units_per_client=1,
        sampling_prob=Fraction(1),
        coordinates=10**6,
        min_survivors=0.9,
        colluders=0.1,
        word_bits=24,
        complete_graph=True,
    )
    return replace(spec, **change).calibrate()


def devices(takes=Takes.ALL, *, people=(500, 500), unit=Unit.USER, **kw):
    return ask(unit, Place.DISTRIBUTED, takes, people=people, **kw)


def exact_gaussian(multiplier: float, rounds: int, delta: float) -> float:
    """Balle and Wang (2018): rounds at z are one release at z / sqrt(rounds)."""
    mu = sqrt(rounds) / multiplier

    def excess(eps: float) -> float:
        return (
            norm.cdf(mu / 2 - eps / mu)
            - exp(eps) * norm.cdf(-mu / 2 - eps / mu)
            - delta
        )

    return brentq(excess, 0, 60, xtol=1e-12)


@pytest.mark.parametrize(("z", "rounds"), [(12.0, 10), (4.0, 3), (40.0, 200)])
def test_epsilon_is_the_exact_one_or_a_little_above(z, rounds) -> None:
    answer = solve(ask(rounds=rounds, noise_multiplier=z))
    exact = exact_gaussian(z, rounds, 1e-5)
    assert exact * (1 - 1e-9) <= answer.epsilon[OUT] <= exact * 1.02
    assert answer.epsilon[SERVER] == inf


def test_noise_is_that_of_the_plan_that_a_run_would_seal() -> None:
    answer = solve(ask(rounds=10, epsilon=1.0))
    sealed = sealed_spec(Noise.CENTRAL, OUT, coordinates=99)
    assert answer.multiplier is not None
    assert float(answer.multiplier) == pytest.approx(
        float(sealed.noise_multiplier), rel=3e-5
    )
    assert 0.999 < answer.epsilon[OUT] <= 1.0
    assert answer.question.chosen_delta == sealed.delta == 1e-5


def test_distributed_noise_is_that_of_the_plan_that_a_run_would_seal() -> None:
    answer = solve(devices(rounds=10, epsilon=1.0))
    sealed = sealed_spec(Noise.DISTRIBUTED, SERVER)
    assert answer.multiplier == sealed.noise_multiplier
    assert answer.epsilon == {
        who: spent.epsilon for who, spent in sealed.epsilons(10).items()
    }
    assert 0.999 < answer.epsilon[SERVER] <= 1.0


def test_own_coins_count_against_everybody() -> None:
    given_ = {"people": (500, 100), "rounds": 10, "noise_multiplier": 3.0}
    hidden = solve(devices(Takes.HIDDEN, **given_))
    assert hidden.epsilon[SERVER] == hidden.epsilon[OUT] == hidden.price
    everybody = solve(devices(rounds=10, noise_multiplier=3.0))
    assert hidden.price < everybody.price / 3
    assert hidden.unsampled == pytest.approx(everybody.price, rel=1e-3)
    record = solve(devices(Takes.HIDDEN, unit=Unit.RECORD, **given_))
    assert record.price == pytest.approx(hidden.price, rel=1e-9)


def test_a_draw_of_devices_counts_against_outsiders_alone() -> None:
    given_ = {"people": (100_000, 2000), "rounds": 10, "noise_multiplier": 4.0}
    drawn = solve(devices(Takes.SERVER, min_survivors=0.6, **given_))
    named = solve(devices(Takes.FIXED, min_survivors=0.6, **given_))
    assert drawn.question.amplified
    assert drawn.epsilon[SERVER] == pytest.approx(named.price, rel=1e-3)
    assert drawn.epsilon[OUT] < drawn.epsilon[SERVER] / 5
    assert not devices(Takes.SERVER, **given_).amplified  # 90 % must answer
    record = {**given_, "unit": Unit.RECORD, "min_survivors": 0.6}
    assert not devices(Takes.SERVER, **record).amplified


def test_nothing_is_claimed_against_the_server_in_a_crowd() -> None:
    answer = solve(devices(people=(5000, 5000), rounds=10, epsilon=1.0))
    assert answer.epsilon[SERVER] == inf
    assert 0.99 < answer.epsilon[OUT] <= 1.0
    assert answer.question.bound is OUT


def test_the_table_of_distributed_noise() -> None:
    rows = table(solve(devices(rounds=10, epsilon=1.0, coordinates=6000)))
    assert [row.question.epsilon for row in rows] == list(EPSILONS)
    noise = [float(row.multiplier) for row in rows if row.multiplier]
    for row, z in zip(rows, noise, strict=True):
        assert exact_gaussian(z, 10, 1e-5) <= row.question.epsilon


def test_a_threshold_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlanError, match="nearest plans that work"):
        solve(devices(rounds=10, epsilon=1.0, min_survivors=0.5))


def test_rounds_are_the_most_that_fit() -> None:
    found = solve(ask(epsilon=3.0, noise_multiplier=10.0))
    assert found.rounds is not None
    assert found.price <= 3.0
    more = solve(ask(rounds=found.rounds + 1, noise_multiplier=10.0))
    assert more.price > 3.0


def test_not_even_one_round() -> None:
    with pytest.raises(PlanError, match="one round costs more than epsilon"):
        solve(ask(epsilon=0.5, noise_multiplier=1.0))


def test_a_secret_draw_counts_against_outsiders_only_and_is_true() -> None:
    prv = pytest.importorskip("prv_accountant")
    asked = ask(takes=Takes.SERVER, people=(5000, 500), rounds=20, noise_multiplier=1.5)
    answer = solve(asked)
    accountant = prv.PRVAccountant(
        prvs=prv.PoissonSubsampledGaussianMechanism(0.1, 1.5),
        max_self_compositions=20,
        eps_error=0.01,
        delta_error=1e-8,
    )
    low, _, high = accountant.compute_epsilon(1e-5, 20)
    assert low <= answer.epsilon[OUT] <= high * 1.02
    assert answer.epsilon[SERVER] == inf
    assert answer.unsampled == pytest.approx(exact_gaussian(1.5, 20, 1e-5), rel=0.02)
    everybody = solve(ask(people=(5000, 500), rounds=20, noise_multiplier=1.5))
    assert everybody.price == pytest.approx(answer.unsampled, rel=1e-9)
    assert everybody.sampled == pytest.approx(answer.price, rel=1e-9)


def test_a_draw_of_people_gives_no_amplification_to_a_record() -> None:
    """A person's other records, far away, show whether the person was drawn."""
    given_ = {"people": (5000, 500), "rounds": 1, "noise_multiplier": 1.0}
    amplified = solve(ask(takes=Takes.SERVER, **given_))
    record = solve(ask(Unit.RECORD, takes=Takes.SERVER, **given_))

    x = np.linspace(-12, 40, 200_001)
    other, q = 20.0, 0.1
    with_record = (1 - q) * norm.pdf(x) + q * norm.pdf(x - other)
    without = (1 - q) * norm.pdf(x) + q * norm.pdf(x - other + 1)

    def delta_at(eps: float) -> float:
        excess = np.maximum(with_record - exp(eps) * without, 0.0)
        return float(excess.sum() * (x[1] - x[0]))

    assert delta_at(amplified.price) > 100 * 1e-5  # the amplified claim would be false
    assert delta_at(record.price) <= 1e-5
    assert record.price == solve(ask(Unit.RECORD, **given_)).price


@given(eps=st.floats(0.01, 40), options=st.integers(2, 1000))
def test_labels_are_kept_as_often_as_epsilon_allows(eps, options) -> None:
    answer = solve(label(epsilon=eps, options=options))
    keep = answer.keep
    assert keep is not None
    ratio = keep * (options - 1) / (1 - keep)
    assert ratio <= Fraction(exp(eps)) * (1 + Fraction(1, 10**14))
    assert float(ratio) == pytest.approx(exp(eps), rel=1e-9)
    assert answer.price <= eps * (1 + 1e-12)
    assert answer.epsilon[SERVER] == answer.epsilon[OUT]
    assert answer.question.chosen_delta == 0.0


def test_label_epsilon_from_keep() -> None:
    answer = solve(label(keep=0.75, options=2))
    assert answer.price == pytest.approx(np.log(3), rel=1e-12)
    assert answer.price >= np.log(3)


@given(percent=st.integers(0, 99), cohort=st.integers(2, 10_000))
def test_a_share_becomes_a_count_on_the_safe_side(percent, cohort) -> None:
    asked = ask(people=(cohort, cohort), rounds=1, epsilon=1.0, colluders=percent / 100)
    assert asked.count(asked.colluders) == -(-percent * cohort // 100)


def test_delta_by_default() -> None:
    assert ask(rounds=1, epsilon=1.0).chosen_delta == 1e-5
    asked = ask(people=(10**6, 10**6), rounds=1, epsilon=1.0)
    assert asked.chosen_delta == 1e-7


def test_the_table_asks_for_less_noise_as_epsilon_grows() -> None:
    rows = table(solve(ask(rounds=10, epsilon=1.0)))
    assert [row.question.epsilon for row in rows] == list(EPSILONS)
    noise = [float(row.multiplier) for row in rows if row.multiplier]
    assert len(noise) == len(EPSILONS)
    assert noise == sorted(noise, reverse=True)
    for row, z in zip(rows, noise, strict=True):
        assert exact_gaussian(z, 10, 1e-5) <= row.question.epsilon


def test_the_table_counts_rounds_where_rounds_were_asked_for() -> None:
    rows = table(solve(ask(epsilon=2.0, noise_multiplier=5.0)))
    assert next(row.question.epsilon for row in rows) > 0.25  # not even one round
    rounds = [row.rounds for row in rows]
    assert rounds == sorted(set(rounds))


def test_the_table_of_labels() -> None:
    rows = table(solve(label(keep=0.6, options=4)))
    assert [row.price for row in rows] == pytest.approx(list(EPSILONS), rel=1e-9)


@pytest.mark.parametrize(
    ("make", "needle"),
    [
        (lambda: ask(rounds=1), "give two of rounds, epsilon and noise_multiplier"),
        (lambda: ask(rounds=1, epsilon=1.0, noise_multiplier=2.0), "give two of"),
        (
            lambda: ask(Unit.RECORD, Place.DEVICE, rounds=1, epsilon=1.0),
            "before devices train on their own",
        ),
        (lambda: devices(rounds=1, epsilon=1.0, coordinates=0), "coordinates = 0"),
        (lambda: ask(rounds=1, epsilon=1.0, coordinates=9), "belong to noise = dist"),
        (lambda: devices(rounds=1, epsilon=1.0, min_survivors=0), "min_survivors = 0"),
        (lambda: ask(takes=Takes.HIDDEN, rounds=1, epsilon=1.0), "needs noise = distr"),
        (lambda: ask(rounds=1, epsilon=1.0, against=SERVER), "epsilon is infinite"),
        (lambda: ask(Unit.LABEL, rounds=1, epsilon=1.0), "label goes with label"),
        (lambda: ask(noise=Place.LABEL, epsilon=1.0), "label goes with label"),
        (lambda: label(), "either epsilon or keep"),
        (lambda: label(epsilon=1.0, keep=0.9), "either epsilon or keep"),
        (lambda: label(keep=0.2, options=4), "must be >= 1/options"),
        (lambda: label(epsilon=1.0, noise_multiplier=1.0), "has no noise_multiplier"),
        (lambda: ask(rounds=1, epsilon=1.0, keep=0.9), "belong to noise = label"),
        (lambda: ask(rounds=0, epsilon=1.0), "rounds = 0"),
        (lambda: ask(rounds=1, epsilon=-1.0), "epsilon = -1"),
        (lambda: ask(rounds=1, epsilon=float("nan")), "epsilon = nan"),
        (
            lambda: ask(rounds=1, noise_multiplier=float("inf")),
            "noise_multiplier = inf",
        ),
        (lambda: ask(rounds=1, epsilon=1.0, delta=0.1), "delta = 0.1"),
        (lambda: ask(rounds=1, epsilon=1.0, colluders=1.5), "colluders = 1.5"),
        (lambda: ask(rounds=1, epsilon=1.0, min_survivors=501), "min_survivors = 501"),
        (lambda: ask(people=(10, 11), rounds=1, epsilon=1.0), "cohort = 11"),
    ],
)
def test_refuses(make, needle) -> None:
    with pytest.raises(PlanError, match=needle):
        make()


def test_all_problems_at_once() -> None:
    with pytest.raises(PlanError) as caught:
        ask(people=(1, 5), rounds=0, epsilon=1.0)
    assert all(name in str(caught.value) for name in ("users", "cohort", "rounds"))
