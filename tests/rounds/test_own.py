"""Own limits in a round: what is bounded, who is spent, and that it does not show."""

from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from fedpref.core.accounting import epsilon
from fedpref.core.entropy import SeededEntropy
from fedpref.core.grid import squared_norm, to_reals
from fedpref.core.types import Noise, Participation, Unit
from fedpref.errors import BudgetError, PlanError
from fedpref.rounds.contribution import Turn, contribute
from fedpref.rounds.own import Keeper, Limits, bound, event_of, fitting, opened, turn
from fedpref.stages import Moment

FREE = 1e6  # a cap that nothing here reaches


def loud(vector):
    return np.full((1, 3), 9.0)


def silent(vector):
    return np.zeros((1, 3))


def keeper(plan, cap=FREE, clip=2.0, gradient=loud, answered=(), **more):
    def make(number, model, now):
        return contribute(
            number,
            model,
            device=1,
            plan=plan,
            gradient=gradient,
            entropy=SeededEntropy(1),
            own=now,
            **more,
        )

    return Keeper(plan, Limits(cap, clip), make, answered)


def ask(made, plan, number=1):
    return made(number, np.zeros(plan.spec.coordinates))


def priced(plan, sent):
    """What contributions with these bounds cost, apart from the code that decides."""
    events = [event_of(plan, plan.stage(n), square) for n, square in sent]
    return epsilon(events, plan.delta).epsilon


def costs(plan, rounds, clip=2.0):
    """Price of so many contributions with an own clip."""
    _, square = bound(plan.training, clip)
    return priced(plan, [(1, square)] * rounds)


# The bound


@pytest.mark.parametrize("word_bits", [16, 24])
@pytest.mark.parametrize("clip", [2.0, 1.0, 0.3])
def test_a_contribution_is_within_its_owners_bound(
    make_plan, quiet, word_bits, clip
) -> None:
    """The measured distance from nothing, in integers, is what is charged for."""
    plan = make_plan(noise=Noise.DISTRIBUTED, word_bits=word_bits)
    made = keeper(plan, clip=clip)
    for number in range(1, 4):
        update = ask(made, plan, number).update
        length = float(np.sqrt(squared_norm(update))) * plan.grid.step
        assert length == pytest.approx(clip, abs=2 * plan.grid.step)
        square = dict(made.sent)[number]
        event = event_of(plan, plan.training, square)
        assert squared_norm(update) <= event.sensitivity_squared
        assert int(np.abs(update).sum()) <= event.sensitivity_l1
        assert square <= plan.sensitivity_squared
    assert (square < plan.sensitivity_squared) == (clip < 2.0)


def test_a_trusted_server_gets_the_own_bound_too(make_plan) -> None:
    plan = make_plan()
    made = keeper(plan, clip=0.5)
    update = ask(made, plan).update
    assert to_reals(update, plan.grid) == pytest.approx(np.full(3, 0.5 / 3**0.5))
    assert squared_norm(update) <= dict(made.sent)[1] == bound(plan.training, 0.5)[1]


def test_every_stage_has_the_own_bound(make_plan, quiet) -> None:
    moment = Moment(2, 3.0, Fraction(1, 2))
    plan = make_plan(noise=Noise.DISTRIBUTED, moment=moment, evaluation=True)
    made = keeper(
        plan,
        clip=0.5,
        offset=lambda v: np.array([3.0, 0.0]),
        statistics=lambda v: np.ones(3),
    )
    for number in (1, 4, 5):
        stage = plan.stage(number)
        update = ask(made, plan, number).update
        assert update.any()
        assert squared_norm(update) <= bound(stage, 0.5)[1] < stage.sensitivity_squared
        real = to_reals(update, stage.grid)
        assert np.linalg.norm(real) == pytest.approx(0.5, rel=0.02)
    assert [n for n, _ in made.sent] == [1, 4, 5]


def test_each_record_has_the_own_bound(make_plan, quiet) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, unit=Unit.RECORD, units_per_client=3)
    made = contribute(
        1,
        np.zeros(3),
        device=1,
        plan=plan,
        gradient=lambda v: 9.0 * np.eye(3),
        entropy=SeededEntropy(1),
        own=Turn(*bound(plan.training, 0.5), speaks=True),
    )
    real = to_reals(made.update, plan.grid)
    assert real == pytest.approx(np.full(3, 0.5), abs=2 * plan.grid.step)


def test_the_plans_clip_changes_no_bit(make_plan) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED)
    usual = contribute(
        1, np.zeros(3), device=1, plan=plan, gradient=loud, entropy=SeededEntropy(1)
    )
    assert np.array_equal(ask(keeper(plan), plan).update, usual.update)
    assert bound(plan.training, 2.0) == (2.0, plan.sensitivity_squared)


# Who is spent


def test_who_is_spent_says_noise_alone_and_pays_nothing(make_plan) -> None:
    """Bit for bit what a device without data says; the work is done all the same."""
    plan, calls = make_plan(noise=Noise.DISTRIBUTED, rounds=5), []

    def counted(vector):
        calls.append(1)
        return loud(vector)

    cap = (costs(plan, 2) + costs(plan, 3)) / 2
    made, nothing = keeper(plan, cap, gradient=counted), keeper(plan, gradient=silent)
    for number in range(1, 6):
        update = ask(made, plan, number).update
        without = ask(nothing, plan, number).update
        assert np.array_equal(update, without) == (number > 2)
        assert update.any()
    assert len(calls) == 5
    assert [number for number, _ in made.sent] == [1, 2]
    assert priced(plan, made.sent) <= cap < priced(plan, [*made.sent, made.sent[0]])


def test_who_is_spent_says_nothing_in_any_stage(make_plan) -> None:
    moment = Moment(2, 3.0, Fraction(1, 2))
    plan = make_plan(noise=Noise.DISTRIBUTED, moment=moment, evaluation=True)
    calls = []
    made = keeper(
        plan,
        costs(plan, 3) * (1 + 1e-9),
        offset=lambda v: calls.append("moment") or np.ones(2),
        statistics=lambda v: calls.append("evaluation") or np.ones(3),
    )
    nothing = keeper(
        plan,
        gradient=silent,
        offset=lambda v: np.zeros(2),
        statistics=lambda v: np.zeros(3),
    )
    same = [
        np.array_equal(ask(made, plan, n).update, ask(nothing, plan, n).update)
        for n in range(1, 6)
    ]
    assert same == [False] * 3 + [True] * 2
    assert calls == ["moment", "evaluation"]


@pytest.mark.parametrize("gradient", [loud, silent, lambda v: np.full((1, 3), np.nan)])
def test_being_spent_does_not_depend_on_the_data(make_plan, gradient) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, rounds=5)
    made = keeper(plan, costs(plan, 2) * (1 + 1e-9), gradient=gradient)
    for number in range(1, 6):
        ask(made, plan, number)
    assert [number for number, _ in made.sent] == [1, 2]


def test_a_coin_that_says_no_is_charged_all_the_same(make_plan, quiet) -> None:
    plan = make_plan(
        noise=Noise.DISTRIBUTED,
        participation=Participation.HIDDEN,
        sampling_prob=Fraction(1, 2),
        rounds=8,
    )
    made = keeper(plan)
    heads = [bool(ask(made, plan, number).update.any()) for number in range(1, 9)]
    assert 0 < sum(heads) < 8
    assert len(made.sent) == 8


def test_without_noise_of_its_own_a_device_that_is_spent_refuses(make_plan) -> None:
    plan, calls = make_plan(rounds=4), []

    def counted(vector):
        calls.append(1)
        return loud(vector)

    made = keeper(plan, costs(plan, 1) * (1 + 1e-9), gradient=counted)
    ask(made, plan)
    with pytest.raises(BudgetError) as caught:
        ask(made, plan, 2)
    assert str(caught.value) == "this device's own budget is spent"
    assert len(made.sent) == len(calls) == 1


def test_a_refund_makes_room_and_a_restart_does_not(make_plan) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, rounds=5)
    cap = costs(plan, 2) * (1 + 1e-9)
    made = keeper(plan, cap)
    for number in (1, 2, 3):
        ask(made, plan, number)
    again = keeper(plan, cap, answered=range(1, 4))
    assert again.sent == made.sent
    assert not any(ask(again, plan, n).bound for n in (4, 5))
    made.refund(1)
    made.refund(3)  # nothing was charged in it
    assert ask(made, plan, 4).bound
    assert not ask(made, plan, 5).bound
    assert [number for number, _ in made.sent] == [2, 4]


# Limits and plans


@pytest.mark.parametrize("noise", [Noise.DISTRIBUTED, Noise.CENTRAL])
def test_a_fitting_clip_keeps_the_whole_plan_and_no_larger_one_does(
    make_plan, noise
) -> None:
    moment = Moment(2, 3.0, Fraction(1, 2))
    plan = make_plan(noise=noise, moment=moment, evaluation=True)
    cap = costs(plan, 3) / 2
    clip = fitting(plan, cap)
    for larger in (False, True):
        mine = clip + larger * plan.spec.clip / 1024
        made = keeper(
            plan,
            FREE,
            mine,
            offset=lambda v: np.ones(2),
            statistics=lambda v: np.ones(3),
        )
        for number in range(1, 6):
            ask(made, plan, number)
        assert (priced(plan, made.sent) > cap) == larger
    assert fitting(plan, FREE) == plan.spec.clip


@pytest.mark.parametrize(("multiplier", "least"), [(40, 8), (400, 86)])
def test_where_nothing_fits_the_clip_is_one_step(make_plan, multiplier, least) -> None:
    """A grid of 129 or 12 steps: 1024 / 129 and 1024 / 12, rounded up."""
    plan = make_plan(noise=Noise.DISTRIBUTED, multiplier=multiplier)
    assert plan.scale.steps == {40: 129, 400: 12}[multiplier]
    clip = fitting(plan, 1e-9)
    assert clip == plan.spec.clip * least / 1024
    assert sum(count for _, count in opened(plan, Limits(1e-9, clip)).allowed) == 0
    assert bound(plan.training, clip)[0] == plan.grid.step


def test_a_cap_of_a_person_needs_a_plan_about_people(make_plan) -> None:
    """Three records of one person cost more than the cap of each."""
    plan = make_plan(noise=Noise.DISTRIBUTED, unit=Unit.RECORD, units_per_client=3)
    for refused in (lambda: keeper(plan), lambda: fitting(plan, 1.0)):
        with pytest.raises(PlanError, match="unit = record: a cap is a person's"):
            refused()


def test_limits_that_no_plan_can_keep(make_plan) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED)
    for clip in (2.0000001, 0.0, 1e-9):
        with pytest.raises(PlanError, match="own clip"):
            opened(plan, Limits(1.0, clip))
    with pytest.raises(PlanError, match="own clip"):
        opened(make_plan(), Limits(1.0, 2.0000001))
    with pytest.raises(PlanError, match="noise = none"):
        opened(make_plan(noise=Noise.NONE), Limits(1.0, 1.0))


def test_a_draw_that_devices_do_not_see_is_refused(make_plan) -> None:
    change = {
        "participation": Participation.SERVER,
        "units": 100_000,
        "cohort": 2_000,
        "delta": 1e-6,
        "min_survivors": 0.6,
    }
    plan = make_plan(**change)
    assert plan.event.sampling_prob < 1  # amplified, and a device cannot count it
    with pytest.raises(PlanError, match="a device does not see"):
        opened(plan, Limits(1.0, 1.0))


def test_nothing_is_shown(make_plan) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED)
    limits = Limits(0.123, 0.456)
    now = turn(plan, limits, opened(plan, limits), 1)
    made = keeper(plan, 0.123, 0.456)
    shown = [
        repr(x) for x in (limits, now, made, ask(made, plan), opened(plan, limits))
    ]
    assert not any(text in " ".join(shown) for text in ("123", "456", "True", "False"))
    assert isinstance(now, Turn)


def test_partial_is_enough_to_make_a_keeper(make_plan) -> None:
    """The form in which a device is built: everything but the turn is bound."""
    plan = make_plan(noise=Noise.DISTRIBUTED)
    made = partial(
        contribute, device=1, plan=plan, gradient=loud, entropy=SeededEntropy(1)
    )
    mine = Keeper(plan, Limits(FREE, 1.0), lambda n, m, now: made(n, m, own=now))
    assert ask(mine, plan).bound == bound(plan.training, 1.0)[1]
