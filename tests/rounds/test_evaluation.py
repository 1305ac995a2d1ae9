"""Federated evaluation: what devices say, what is released, and how sure it is."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from fedpref.core.entropy import OsEntropy, SeededEntropy
from fedpref.core.grid import squared_norm
from fedpref.core.types import Noise, Objective, Record, Unit
from fedpref.data.partition import hold_back
from fedpref.errors import MessageError, PlanError, TooFewSurvivors
from fedpref.evaluate.metrics import evaluate
from fedpref.objectives import load
from fedpref.rounds.client import ClientState, answer
from fedpref.rounds.contribution import contribute
from fedpref.rounds.evaluation import (
    keep,
    noise_stddev,
    read,
    share,
    sums,
)
from fedpref.rounds.optimisers import sgd
from fedpref.rounds.plain import plain
from fedpref.rounds.server import Noisy, reals, run_after, start
from fedpref.secagg.messages import Invitation, encode_invitation
from fedpref.simulation.device_work import client_gradients, client_statistics
from fedpref.simulation.training import _left
from fedpref.transport.in_process import SimulatedDevice, carry

# Pairs and choices right, of people with records; the last one has none.
PEOPLE = [(0.75, 1.0), (0.5, 0.0), (0.25, 0.5)]
SAID = [[2 * p - 1, 2 * c - 1, 1.0] for p, c in PEOPLE] + [[0.0, 0.0, 0.0]]


class Diary:
    """A journal in memory that remembers what happened, in order."""

    def __init__(self, pending=None):
        self.events, self.kept, self.state = [], pending, None

    def pending(self, round_):
        return self.kept

    def hold(self, round_, noisy, digest):
        self.events.append(("hold", round_))

    def charge(self, round_, digest):
        self.events.append(("charge", round_))

    def settle(self, state):
        self.events.append(("settle", state.round))

    def give_up(self, round_, *, refund):
        self.events.append(("give up", round_, refund))


def never(vector):
    raise AssertionError("a device trains in the evaluation")


def saying(values):
    return lambda vector: np.asarray(values, float)


def devices(plan, said, *, entropy=None):
    return {
        i: SimulatedDevice(
            plan,
            partial(
                contribute,
                device=i,
                plan=plan,
                gradient=never,
                entropy=entropy or SeededEntropy(1),
                statistics=saying(values),
            ),
        )
        for i, values in enumerate(said, 1)
    }


def evaluated(plan, endpoints, *, diary=None, state=None, number=None):
    """The evaluation of a plan, as the server runs it; the state and the journal."""
    diary, out = diary or Diary(), []
    if state is None:
        state = start(np.zeros(plan.spec.coordinates), sgd(lr=1.0, momentum=0.0))

    def drive(send):
        gather = plain(
            plan,
            range(1, plan.spec.units + 1),
            attempt=plan.reserved_rounds,
            entropy=SeededEntropy(1),
            send=send,
            journal=diary,
        )
        number_ = plan.reserved_rounds if number is None else number
        keeping = partial(keep, plan=plan)
        out.append(
            run_after(number_, state, keep=keeping, gather=gather, journal=diary)
        )

    carry(endpoints, drive)
    return out[0], diary


# --- what is released ----------------------------------------------------------------


def test_without_noise_the_counts_are_exact(make_plan) -> None:
    plan = make_plan(noise=Noise.NONE, coordinates=5, evaluation=True)
    state, diary = evaluated(plan, devices(plan, SAID))
    estimate = read(state.evaluation, state.survivors, plan)
    assert estimate.pairs.value == pytest.approx((0.75 + 0.5 + 0.25) / 3, abs=1e-6)
    assert estimate.choices.value == pytest.approx((1.0 + 0.0 + 0.5) / 3, abs=1e-6)
    assert estimate.people == pytest.approx(3, abs=1e-6)
    assert estimate.survivors == 4
    assert estimate.pairs.ci95 == (estimate.pairs.value,) * 2
    assert diary.events == [("hold", 4), ("charge", 4), ("settle", 4)]


def test_the_model_and_the_steps_stay_as_they_are(make_plan) -> None:
    plan = make_plan(noise=Noise.NONE, evaluation=True)
    model = np.array([0.5, -1.0, 2.0])
    before = start(model, sgd(lr=1.0, momentum=0.5))
    after, _ = evaluated(plan, devices(plan, SAID), state=before)
    assert np.array_equal(after.released, model)
    assert (after.round, after.steps) == (4, 0)
    assert after.evaluation.shape == (3,)


def test_the_released_model_is_the_one_that_is_asked_about(make_plan) -> None:
    """With averaging that is not the last iterate."""
    plan, asked = make_plan(noise=Noise.NONE, evaluation=True), []
    state = start(np.ones(3), sgd(lr=1.0, momentum=0.0))
    object.__setattr__(state, "last_sum", np.array([4.0, 2.0, 0.0]))
    object.__setattr__(state, "last_count", 2)

    def gather(number, model):
        asked.append(model)
        return Noisy(np.zeros(3, np.int64), 4)

    keeping = partial(keep, plan=plan)
    run_after(4, state, keep=keeping, gather=gather, journal=Diary())
    assert asked[0].tolist() == [2.0, 1.0, 0.0]


def test_a_sum_that_was_charged_before_a_crash_is_not_asked_for_again(
    make_plan,
) -> None:
    plan = make_plan(noise=Noise.NONE, evaluation=True)
    whole, _ = evaluated(plan, devices(plan, SAID))
    unit = plan.spec.clip / 3**0.5 / plan.grid.step
    kept = Noisy(np.rint(whole.evaluation * unit).astype(np.int64), 4)
    diary = Diary(pending=kept)
    again, _ = evaluated(plan, {}, diary=diary)
    assert again.evaluation == pytest.approx(whole.evaluation, abs=1e-6)
    assert diary.events == [("settle", 4)]


def test_too_few_devices_release_nothing(make_plan) -> None:
    plan, diary = make_plan(min_survivors=0.75, evaluation=True), Diary()
    with pytest.raises(TooFewSurvivors):
        evaluated(plan, devices(plan, SAID[:2]), diary=diary)
    assert diary.events == [("give up", 4, False)]


@pytest.mark.parametrize("bits", [24, 16])
def test_distributed_noise_comes_out_as_large_as_is_said(make_plan, bits) -> None:
    """All coordinates carry the same noise; here there are enough to measure it."""
    size = 4096
    plan = make_plan(
        noise=Noise.DISTRIBUTED, coordinates=size, word_bits=bits, evaluation=True
    )
    total = sum(
        contribute(
            plan.reserved_rounds,
            np.zeros(plan.words),
            device=i,
            plan=plan,
            gradient=never,
            entropy=OsEntropy(),
            statistics=saying([0.0, 0.0, 0.0]),
        ).update
        for i in range(1, 5)
    )
    noise = reals(total, plan.stages[-1], plan) * 3**0.5 / plan.spec.clip
    ratio = float((noise**2).sum()) / noise_stddev(4, plan) ** 2
    low, high = stats.chi2.ppf((1e-6, 1 - 1e-6), size)
    assert low < ratio < high
    assert not low < 4 * ratio < high
    assert sums(Noisy(total, 4), plan) == pytest.approx(noise[:3])


def test_central_noise_is_that_of_the_plan(make_plan) -> None:
    plan = make_plan(evaluation=True, multiplier=50)
    expected = 50 * 3**0.5  # the sensitivity is three statistics of 1
    assert noise_stddev(4, plan) == pytest.approx(expected, rel=1e-4)


# --- what a device says ---------------------------------------------------------------


def said(plan, statistics, number=None):
    return contribute(
        plan.reserved_rounds if number is None else number,
        np.zeros(plan.words),
        device=1,
        plan=plan,
        gradient=never,
        entropy=SeededEntropy(1),
        statistics=statistics,
    )


@pytest.mark.parametrize("values", [[1, 1, 1], [-1, 1, 1], [9, -9, 9], [1e300] * 3])
def test_an_answer_is_within_the_plans_bound(make_plan, quiet, values) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, coordinates=9, evaluation=True)
    made = said(plan, saying(values))
    assert squared_norm(made.update) <= plan.sensitivity_squared
    one = plan.spec.clip / 3**0.5 / plan.grid.step
    assert made.update[:3] == pytest.approx(one * np.clip(values, -1, 1), abs=1)
    assert np.abs(made.update[3:]).max() <= 1  # rounding alone


def test_no_statistic_counts_for_more_than_one(make_plan) -> None:
    """The norm alone would let a large one push the others out."""
    plan = make_plan(noise=Noise.NONE, evaluation=True)
    most, more = said(plan, saying([1, 0, 1])), said(plan, saying([5, 0, 1]))
    assert np.array_equal(most.update, more.update)


@pytest.mark.parametrize("kind", ["raises", "shape", "nan", "absent"])
def test_a_failure_is_noise_alone(make_plan, kind) -> None:
    def broken(vector):
        if kind == "raises":
            raise RuntimeError("secret text")
        return np.full(2 if kind == "shape" else 3, np.nan)

    plan = make_plan(noise=Noise.DISTRIBUTED, evaluation=True)
    failed = said(plan, None if kind == "absent" else broken)
    zero = said(plan, saying([0, 0, 0]))
    assert failed.failed
    assert not zero.failed
    assert np.array_equal(failed.update, zero.update)


def test_only_the_last_number_evaluates_and_it_never_trains(make_plan) -> None:
    plan = make_plan(noise=Noise.NONE, spare_rounds=2, evaluation=True)
    assert (plan.spec.training_rounds, plan.reserved_rounds) == (5, 6)
    for number in range(1, 6):
        assert said(plan, never, number).failed  # it would have trained
    assert not said(plan, saying([1, 1, 1])).failed
    bare = make_plan(noise=Noise.NONE, spare_rounds=2)
    assert said(bare, saying([1, 1, 1]), 5).failed


@pytest.mark.parametrize(
    ("round_", "asked", "left"),
    [(1, 0, True), (4, 4, True), (5, 4, True), (3, 5, False), (6, 5, False)],
)
def test_training_never_takes_the_evaluations_number(
    make_plan, round_, asked, left
) -> None:
    """Five requests may train, lost ones included; the sixth asks something else."""
    plan = make_plan(noise=Noise.NONE, spare_rounds=2, evaluation=True)
    journal = SimpleNamespace(
        next_round=lambda: round_,
        attempts=lambda: asked,
        pending=lambda number: None,
        kept=lambda number: None,
    )
    assert _left(SimpleNamespace(plan=plan), journal) is left


def test_a_device_evaluates_once(make_plan) -> None:
    plan = make_plan(noise=Noise.NONE, evaluation=True)
    made = partial(
        contribute,
        device=1,
        plan=plan,
        gradient=never,
        entropy=SeededEntropy(1),
        statistics=saying([1, 1, 1]),
    )

    def ask(number, value, state):
        model = np.full(3, value)
        request = encode_invitation(Invitation(number, plan.digest, model))
        return answer(request, state, plan=plan, contribute=made)

    reply, state = ask(4, 1.0, ClientState(last_round=3))
    assert ask(4, 1.0, state)[0] == reply
    for number in (4, 3, 5):  # again, training after it, beyond the plan
        with pytest.raises(MessageError):
            ask(number, 2.0, state)


# --- how sure -------------------------------------------------------------------------


@pytest.mark.parametrize(("people", "noise"), [(293, 18.0), (60, 18.0), (293, 1.0)])
def test_the_interval_covers_the_truth_as_often_as_it_says(people, noise) -> None:
    rng, truth, draws = np.random.default_rng(5), 0.7, 20_000
    tops = people * (2 * truth - 1) + noise * rng.standard_normal(draws)
    bottoms = people + noise * rng.standard_normal(draws)
    found = [share(a, h, noise) for a, h in zip(tops, bottoms, strict=True)]
    hits = sum(one.ci95[0] <= truth <= one.ci95[1] for one in found)
    low, high = stats.binom.ppf((1e-6, 1 - 1e-6), draws, 0.95)
    assert low <= hits <= high


def test_the_standard_deviation_is_that_of_many_draws() -> None:
    rng, noise = np.random.default_rng(6), 5.0
    tops = 120 + noise * rng.standard_normal(50_000)
    bottoms = 293 + noise * rng.standard_normal(50_000)
    values = [share(a, h, noise).value for a, h in zip(tops, bottoms, strict=True)]
    assert share(120, 293, noise).stddev == pytest.approx(np.std(values), rel=0.02)
    assert share(120, 293, noise).value == pytest.approx((1 + 120 / 293) / 2)


def test_the_interval_is_the_set_that_is_not_rejected() -> None:
    """Against a scan of every ratio, each tested on its own."""
    for top, bottom, noise in [(100, 300, 15.0), (-40, 90, 20.0), (290, 300, 30.0)]:
        ratios = np.linspace(-1, 1, 200_001)
        score = np.abs(top - ratios * bottom) / (noise * np.sqrt(1 + ratios**2))
        inside = (1 + ratios[score <= stats.norm.ppf(0.975)]) / 2
        expected = (inside.min(), inside.max())
        assert share(top, bottom, noise).ci95 == pytest.approx(expected, abs=1e-5)


def test_what_the_noise_hides_is_not_said() -> None:
    for people in (30.0, 0.0, -400.0):
        assert share(10.0, people, 18.0).ci95 == (0.0, 1.0)
        assert share(10.0, people, 18.0).value is None
    assert share(0.0, 0.0, 0.0).value is None  # nobody had records, and no noise


def test_a_share_is_a_share() -> None:
    found = share(310.0, 293.0, 18.0)
    assert found.value == found.ci95[1] == 1.0


# --- booked ---------------------------------------------------------------------------


def test_the_evaluation_is_paid_for(make_plan) -> None:
    plan, bare = make_plan(evaluation=True), make_plan()
    assert plan.reserved_rounds == bare.reserved_rounds + 1 == 4
    assert plan.digest != bare.digest
    assert plan.sealed()["spec"]["evaluation"] is True
    least = bare.spec.calibrate().noise_multiplier
    with pytest.raises(PlanError, match="more than target_epsilon"):
        make_plan(evaluation=True, multiplier=least)
    assert plan.spec.calibrate().noise_multiplier > least


def test_a_record_is_no_bound_for_an_evaluation(make_plan) -> None:
    with pytest.raises(PlanError, match=r"evaluate\.federated = false"):
        make_plan(noise=Noise.DISTRIBUTED, unit=Unit.RECORD, evaluation=True)
    with pytest.raises(PlanError, match=r"coordinates = 2, must be >= 3"):
        make_plan(coordinates=2, evaluation=True)


# --- on the device --------------------------------------------------------------------


def flipped(record: Record) -> Record:
    last = len(record.options) - 1
    return Record(record.user, record.prompt, record.options, last - record.choice)


@pytest.fixture
def setup(build, people, catalogue, make_plan):
    """Five people on a tiny encoder; ``setup(records, evaluation)``."""
    objective: Objective = load("plackett_luce", {}, unit=Unit.USER)

    def make(records, evaluation=True):
        model = build(adapter=None)
        own = {}
        for record in records:
            own.setdefault(record.user, []).append(record)
        spec = SimpleNamespace(unit=Unit.USER, evaluation=evaluation)
        return SimpleNamespace(
            model=model,
            objective=objective,
            plan=SimpleNamespace(spec=spec),
            scenario=SimpleNamespace(
                model=SimpleNamespace(engine="one_pass"), local=None
            ),
            dataset=SimpleNamespace(catalogue=catalogue, texts_public=True),
            split=SimpleNamespace(train={u: tuple(r) for u, r in own.items()}),
        )

    return make


def test_held_back_records_are_never_trained_on(setup, people) -> None:
    records = people(3, each=6, options=(2, 4))
    held = {id(r) for u in {r.user for r in records} for r in _held(records, u)}
    other = [flipped(r) if id(r) in held else r for r in records]
    kept = [r if id(r) in held else flipped(r) for r in records]

    def gradients(given, **options):
        made = setup(given, **options)
        return {u: g(made.model.vector) for u, g in client_gradients(made).items()}

    before = gradients(records)
    assert len(held) == 5
    for user, row in gradients(other).items():
        assert np.array_equal(row, before[user])
    for user, row in gradients(kept).items():
        assert not np.array_equal(row, before[user])
    for user, row in gradients(records, evaluation=False).items():
        assert not np.array_equal(row, before[user])  # without it all are trained on


def _held(records, user):
    return hold_back(r for r in records if r.user == user)[1]


def test_statistics_are_about_the_held_back_records(setup, people) -> None:
    records = people(4, each=11)
    made = setup(records)
    vector = 0.3 * np.random.default_rng(1).standard_normal(made.model.layout.size)
    for user, statistics in client_statistics(made).items():
        found, held = statistics(vector), _held(records, user)
        assert len(held) == 2
        made.model.set(vector)
        expected = evaluate(made.model.scores, {user: held})
        assert found.tolist() == pytest.approx(
            [2 * expected.accuracy - 1, 2 * expected.choice_accuracy - 1, 1.0]
        )


def test_statistics_follow_the_model_and_are_zero_without_records(
    setup, people
) -> None:
    made = setup([*people(4, each=11), people(5, users=1, each=1)[0]])
    one = Record("lone", "", ("w1", "w2"), choice=0)
    made.split.train["lone"] = (one,)
    questions = client_statistics(made)
    vector = 0.3 * np.random.default_rng(1).standard_normal(made.model.layout.size)
    assert questions["lone"](vector).tolist() == [0.0, 0.0, 0.0]
    right = np.array([ask(vector) for user, ask in questions.items() if user != "lone"])
    wrong = np.array(
        [ask(-vector) for user, ask in questions.items() if user != "lone"]
    )
    assert wrong[:, 0] == pytest.approx(-right[:, 0])  # the other way round
    assert not np.array_equal(wrong, right)
