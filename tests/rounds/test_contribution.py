"""What one device puts into a sum, whatever its data are."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from fedpref.core.entropy import OsEntropy, SeededEntropy
from fedpref.core.grid import squared_norm, to_reals
from fedpref.core.rotation import rotate_back
from fedpref.core.types import Noise, Participation, Unit
from fedpref.rounds.contribution import coins, contribute, rotation_seed

ONE_HALF = Fraction(1, 2)


def made(plan, gradient, *, number=1, device=1, entropy=None):
    return contribute(
        number,
        np.zeros(plan.words),
        device=device,
        plan=plan,
        gradient=gradient,
        entropy=entropy or SeededEntropy(1),
    )


@pytest.mark.parametrize("size", [0.5, 3.0, 1e300])
def test_the_integer_norm_is_within_the_plans_bound(make_plan, quiet, size) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, coordinates=50)
    for number in range(1, 4):
        update = made(plan, lambda v: np.full((1, 50), size), number=number).update
        assert squared_norm(update) <= plan.sensitivity_squared
    real = to_reals(update, plan.grid)
    expected = np.full(50, min(size, 2.0 / 50**0.5))
    assert real == pytest.approx(expected, abs=plan.grid.step)


@pytest.mark.parametrize("kind", ["raises", "memory", "shape", "nan", "nothing"])
def test_a_failure_is_noise_alone_and_never_a_missing_answer(make_plan, kind) -> None:
    def broken(vector):
        if kind == "raises":
            raise RuntimeError("secret text")
        if kind == "memory":
            raise MemoryError
        shapes = {"shape": (2, 3), "nan": (1, 3), "nothing": (0,)}
        return np.full(shapes[kind], np.nan)

    plan = make_plan(noise=Noise.DISTRIBUTED)
    failed = made(plan, broken)
    zero = made(plan, lambda vector: np.zeros((1, 3)))
    assert failed.failed
    assert not zero.failed
    assert np.array_equal(failed.update, zero.update)  # the same noise, nothing else
    assert failed.update.any()


def test_the_share_of_noise_has_the_planned_variance(make_plan) -> None:
    """And the least allowed cohort together has the variance that is booked."""
    plan = make_plan(
        noise=Noise.DISTRIBUTED, units=5, coordinates=20_000, colluders=0.2
    )
    nothing = np.zeros((1, 20_000))
    least = plan.spec.counts.contributors
    shares = [made(plan, lambda v: nothing, device=i).update for i in range(least)]
    total = np.sum(shares, axis=0)

    def fits(values, variance) -> bool:
        low, high = stats.chi2.ppf((1e-6, 1 - 1e-6), 20_000)
        return bool(low < float((values**2).sum() / float(variance)) < high)

    assert fits(shares[0], plan.share_variance)
    assert fits(total, plan.event.variance)
    assert not fits(total, plan.event.variance / 2)
    assert not fits(total, plan.event.variance * 2)


def test_shares_differ_by_device_round_plan_and_entropy(make_plan) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED)
    other = make_plan(noise=Noise.DISTRIBUTED, rounds=2)

    def zero(vector):
        return np.zeros((1, 3))

    updates = [
        made(plan, zero).update,
        made(plan, zero, device=2).update,
        made(plan, zero, number=2).update,
        made(other, zero).update,
        made(plan, zero, entropy=SeededEntropy(2)).update,
        made(plan, zero, entropy=OsEntropy()).update,
        made(plan, zero, entropy=OsEntropy()).update,
    ]
    assert len({update.tobytes() for update in updates}) == len(updates)
    assert np.array_equal(made(plan, zero).update, updates[0])


def hidden_plan(make_plan, **change):
    return make_plan(
        noise=Noise.DISTRIBUTED,
        participation=Participation.HIDDEN,
        sampling_prob=ONE_HALF,
        **change,
    )


def test_a_hidden_coin_leaves_the_work_the_size_and_the_noise_alone(
    make_plan,
) -> None:
    plan, calls = hidden_plan(make_plan, rounds=40), []

    def gradient(vector):
        calls.append(1)
        return np.full((1, 3), 5.0)

    heads = tails = 0
    for number in range(1, 41):
        share = made(plan, lambda v: np.zeros((1, 3)), number=number).update
        update = made(plan, gradient, number=number).update
        if np.array_equal(update, share):
            tails += 1  # an exact zero under the same noise
        else:
            heads += 1
            real = to_reals(update - share, plan.grid)
            assert real == pytest.approx(np.full(3, 2 / 3**0.5), abs=plan.grid.step)
        assert update.shape == share.shape
    assert len(calls) == 40  # computed for either side of the coin
    assert min(heads, tails) > 8


def test_records_have_coins_of_their_own_and_a_public_cap(make_plan, quiet) -> None:
    plan = make_plan(
        noise=Noise.DISTRIBUTED,
        rounds=59,
        unit=Unit.RECORD,
        units=40,
        units_per_client=3,
        sampling_prob=ONE_HALF,
        min_survivors=0.9,
    )
    found = set()
    for number in range(1, 60):
        update = made(plan, lambda v: 9.0 * np.eye(4, 3), number=number).update
        found.add(tuple(update > plan.grid.step))
    assert len(found) == 8  # each record is in or out; the fourth never is
    assert made(make_plan(noise=Noise.DISTRIBUTED), lambda v: np.eye(4, 3)).failed


def test_a_rotated_vector_comes_back(make_plan, quiet) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, word_bits=16, coordinates=5)
    assert plan.words == 8
    goal = np.array([0.5, -1.0, 0.25, 0.0, 0.125])
    update = made(plan, lambda v: goal[None]).update
    reals = to_reals(update, plan.grid)
    back = rotate_back(reals, coordinates=5, seed=rotation_seed(plan))
    assert back == pytest.approx(goal, abs=4 * plan.grid.step)


def test_coins_fall_as_often_as_they_should() -> None:
    key = bytes(range(32))
    for probability in (Fraction(1, 10), Fraction(9, 10)):
        heads = coins(100_000, probability, key=key).sum()
        assert abs(heads - float(100_000 * probability)) < 5 * 100_000**0.5
    assert coins(1000, Fraction(1), key=key).all()
    assert coins(1000, Fraction(1, 2**65), key=key).sum() == 0


def test_what_is_rounded_does_not_depend_on_the_coin(make_plan, monkeypatch) -> None:
    """A row that is redrawn takes longer: it must be drawn whether it counts or not."""
    from fedpref.core import grid

    plan, seen = hidden_plan(make_plan, rounds=100, coordinates=64), []
    usual = grid.uniform_words

    def counting(count, **given):
        seen.append(given["lane"])
        return usual(count, **given)

    monkeypatch.setattr(grid, "uniform_words", counting)
    edge = np.linspace(9.0, 27.0, 64)[None]  # on the edge of the clip after it,
    # where about one draw in ten is too long
    work = {True: [], False: []}
    for number in range(1, 101):
        seen.clear()
        update = made(plan, lambda v: edge, number=number).update
        counted = list(seen)
        bare = made(plan, lambda v: np.zeros((1, 64)), number=number).update
        work[not np.array_equal(update, bare)].append(len(counted))
    assert min(map(len, work.values())) > 8
    assert max(work[True]) > 1
    assert max(work[False]) > 1  # redrawn although it does not count
