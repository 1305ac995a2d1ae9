import numpy as np
import pytest
from scipy.special import ndtr, softmax

from fedpref.study import predictive
from fedpref.study.likelihood import NOISE, utilities
from fedpref.study.models import Personal, Shared
from fedpref.study.predictive import choice

DRAWS = 5_000


def simulated(asked, utility, rows):
    """Mean softmax of each menu under N(utility, rows rows'), and 95 % quantiles."""
    rng = np.random.default_rng(0)
    mean, low, high = [], [], []
    ends = [*asked.start[1:], len(asked.text)]
    for begin, end in zip(asked.start, ends, strict=True):
        own = rows[begin:end]
        drawn = utility[begin:end] + rng.normal(size=(DRAWS, own.shape[1])) @ own.T
        chance = softmax(drawn, axis=1)
        mean.append(chance.mean(axis=0))
        low.append(np.quantile(chance, 0.025, axis=0))
        high.append(np.quantile(chance, 0.975, axis=0))
    return tuple(np.concatenate(parts) for parts in (mean, low, high))


@pytest.fixture
def uncertain(choosers):
    """Answers, utilities and a row an option for their uncertainty."""

    def make(options, scale):
        asked = choosers(20, answers=3, options=options).answers
        rng = np.random.default_rng(4)
        utility = rng.normal(size=len(asked.text)) * 1.5
        return asked, utility, scale * rng.normal(size=(len(asked.text), 3))

    return make


@pytest.mark.parametrize(
    ("options", "scale", "off"),
    [
        ((2, 2), 0.5, 0.015),
        ((2, 2), 1.5, 0.02),
        ((4, 4), 0.5, 0.08),
        ((4, 4), 1.5, 0.17),
    ],
)
def test_average_against_simulation(uncertain, options, scale, off):
    asked, utility, rows = uncertain(options, scale)
    expected, _, _ = simulated(asked, utility, rows)
    # no prior variance: the utilities are taken as personal ones
    found = choice(asked, utility, np.zeros_like(rows), rows)
    assert np.abs(found.probability - expected).max() < off
    # and it does much better than ignoring the uncertainty
    plain = choice(asked, utility, np.zeros_like(rows), np.zeros_like(rows))
    ignoring = np.abs(plain.probability - expected)
    assert np.abs(found.probability - expected).mean() < 0.5 * ignoring.mean()


@pytest.mark.parametrize(("options", "off"), [((2, 2), 0.005), ((4, 4), 0.03)])
def test_interval_against_simulation(uncertain, options, off):
    asked, utility, rows = uncertain(options, 0.5)
    _, low, high = simulated(asked, utility, rows)
    found = choice(asked, utility, np.zeros_like(rows), rows)
    assert np.abs(found.low - low).mean() < off
    assert np.abs(found.high - high).mean() < off


def test_without_uncertainty_it_is_the_softmax(uncertain):
    asked, utility, rows = uncertain((2, 4), 1.0)
    nothing = np.zeros_like(rows)
    found = choice(asked, utility, nothing, nothing)
    ends = asked.start[1:]
    plain = np.concatenate([softmax(own) for own in np.split(utility, ends)])
    for values in (found.probability, found.low, found.high):
        assert values == pytest.approx(plain, abs=1e-9)
    assert np.array_equal(found.utility, utility)


def test_an_uncertainty_that_all_options_share_is_none(uncertain):
    asked, utility, rows = uncertain((2, 4), 1.0)
    same = np.ones_like(rows) * 5
    nothing = np.zeros_like(rows)
    found = choice(asked, utility, nothing, same)
    plain = choice(asked, utility, nothing, nothing)
    assert found.probability == pytest.approx(plain.probability)


def test_far_apart_options_do_not_overflow(uncertain):
    asked, utility, rows = uncertain((2, 4), 1.0)
    found = choice(asked, 1e4 * utility, rows, 0.1 * rows)
    assert np.isfinite(found.probability).all()
    sums = np.add.reduceat(found.probability, asked.start)
    assert sums == pytest.approx(np.ones(len(sums)))


def test_ratings_against_simulation():
    rng = np.random.default_rng(1)
    mean, variance, noise = rng.normal(size=8) / 3, rng.random(8) / 10, 0.3
    found = predictive.rating(mean, variance, noise)
    drawn = mean + np.sqrt(variance) * rng.normal(size=(100_000, 8))
    chance = ndtr(drawn / noise)
    assert found.probability == pytest.approx(chance.mean(axis=0), abs=5e-3)
    low, high = np.quantile(chance, (0.025, 0.975), axis=0)
    assert found.low == pytest.approx(low, abs=8e-3)
    assert found.high == pytest.approx(high, abs=8e-3)


def test_intervals_hold_the_true_chance_of_a_person(raters, halves):
    made = raters(300, answers=12, spread=0.3, noise=0.2)
    prior = np.array([0.3, -0.2, 0.1, 0.0, 0.1])
    revealed, asked = halves(made.answers, 6)
    found = Personal(prior, 0.09 * np.eye(5), 0.2).predict(revealed, asked)
    truth = ndtr(utilities(asked, made.weights) / 0.2)
    inside = ((found.low <= truth) & (truth <= found.high)).mean()
    assert 0.93 < inside < 0.97


def test_probabilities_of_choices_are_calibrated(choosers, halves):
    # averaged over people the shared weights shrink: fitted ones are about this long
    spread = 1.5
    made = choosers(600, answers=8, spread=spread, options=(2, 2), seed=3)
    shrunk = np.array([1.0, -1.0, 0.5, 0.0]) / np.sqrt(1 + np.pi / 8 * spread**2 * 2)
    model = Personal(shrunk, spread**2 * np.eye(4))
    revealed, asked = halves(made.answers, 5)
    found = model.predict(revealed, asked).probability
    hit = np.zeros(len(asked.text))
    hit[asked.chosen] = 1
    for begin in np.arange(0.1, 0.9, 0.2):
        near = (found >= begin) & (found < begin + 0.2)
        assert near.sum() > 100
        assert found[near].mean() == pytest.approx(hit[near].mean(), abs=0.1)


def test_surer_than_the_shared_weights_once_answers_are_seen(choosers, halves):
    made = choosers(40, answers=30, spread=2.0)
    revealed, asked = halves(made.answers, 20)
    shared = np.array([0.5, -0.5, 0.25, 0.0])
    personal = Personal(shared, 4 * np.eye(4)).predict(revealed, asked)
    plain = Shared(shared, NOISE).predict(revealed, asked)
    loss = [-np.log(p.probability[asked.chosen]).mean() for p in (personal, plain)]
    assert loss[0] < loss[1] - 0.1
