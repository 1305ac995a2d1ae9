"""Sums in one process against rounding row by row and against shares one by one."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from fedpref.core.clip import clip_units
from fedpref.core.entropy import SeededEntropy
from fedpref.core.grid import round_units
from fedpref.core.noise import skellam
from fedpref.core.types import BoundedRows
from fedpref.errors import PlanError
from fedpref.study import noisy
from fedpref.study.population import plan_of
from fedpref.study.settings import Learning

KEYS = (b"a" * 32, b"b" * 32)


@pytest.fixture(scope="module")
def stage():
    return plan_of(50, 6, Learning(rounds=4, lr=1.0, clip=2.0), 1.0).training


def _rows(people: int, size: int, length: float = 3.0):
    draw = np.random.default_rng(4).standard_normal((people, size))
    return length * draw / np.linalg.norm(draw, axis=1, keepdims=True)


def test_each_persons_rounded_row_keeps_the_bound_of_the_plan(stage) -> None:
    limit = stage.sensitivity_squared
    for number in range(200):
        row = clip_units(_rows(200, 6)[number : number + 1], stage.clip)
        found = noisy.rounded_sum(row, stage, key=number.to_bytes(32, "big"))
        assert int(found @ found) <= limit


def test_a_row_beyond_any_draw_is_truncated_and_one_beyond_the_bound_is_dropped(
    stage,
) -> None:
    # Every coordinate half a step above a whole one: rounding up any of them breaks a
    # limit that truncation just keeps.
    class Tight:
        grid = stage.grid
        sensitivity_squared = 3 * 10**2

    just = np.full((1, 3), 10.999999 * stage.grid.step)
    found = noisy.rounded_sum(BoundedRows(just, 1.0, 0), Tight, key=bytes(32))
    assert found.tolist() == [10, 10, 10]
    far = np.full((1, 3), 11.5 * stage.grid.step)
    found = noisy.rounded_sum(BoundedRows(far, 1.0, 0), Tight, key=bytes(32))
    assert found.tolist() == [0, 0, 0]


def test_rounding_keeps_the_mean_and_has_the_law_of_row_by_row(stage) -> None:
    rows = np.repeat(np.array([[0.3, -0.7, 0.25, 0.0, 0.5, -0.1]]), 4000, axis=0)
    units = BoundedRows(rows * stage.grid.step, stage.clip, 0)
    ours = noisy.rounded_sum(units, stage, key=KEYS[0])
    theirs = round_units(units, stage.grid, stage.sensitivity_squared, key=KEYS[1])
    spread = np.sqrt(4000 * (rows[0] % 1) * (1 - rows[0] % 1))
    assert (np.abs(ours - 4000 * rows[0]) <= 5 * spread).all()
    assert (np.abs(theirs.sum(axis=0) - 4000 * rows[0]) <= 5 * spread).all()


def test_whole_rows_are_summed_exactly(stage) -> None:
    rows = np.array([[3.0, -2.0, 0, 0, 0, 1], [1.0, 1.0, 1, 1, 1, 1]])
    units = BoundedRows(rows * stage.grid.step, stage.clip, 0)
    found = noisy.rounded_sum(units, stage, key=KEYS[0])
    assert found.tolist() == [4, -1, 1, 1, 1, 2]


def test_shares_drawn_at_once_have_the_law_of_shares_drawn_one_by_one() -> None:
    at_once = noisy.shares(20_000, 9 * 7, keys=KEYS)
    single = skellam(9 * 20_000, 7, key=bytes(32)).reshape(9, -1).sum(axis=0)
    for drawn in (at_once, single):
        counts = np.bincount(np.clip(drawn + 25, 0, 50), minlength=51)
        law = stats.skellam.pmf(np.arange(-25, 26), 31.5, 31.5)
        law[[0, -1]] += (1 - law.sum()) / 2
        assert stats.chisquare(counts, 20_000 * law).pvalue > 1e-4


def test_a_variance_beyond_the_tables_is_split_without_loss(monkeypatch) -> None:
    asked = []

    def spy(count, variance, *, key):
        asked.append((count, variance, key))
        return np.zeros(count, np.int64)

    monkeypatch.setattr(noisy, "skellam", spy)
    variance = 2 * noisy.MOST_VARIANCE + 5
    noisy.shares(4, variance, keys=KEYS)
    assert sum(count // 4 * size for count, size, _ in asked) == variance
    assert all(size <= noisy.MOST_VARIANCE for _, size, _ in asked)
    assert len({key for *_, key in asked}) == len(asked)


def test_rounding_and_both_parts_of_the_noise_have_keys_of_their_own(
    stage, monkeypatch
) -> None:
    used = []
    real = noisy.rounded_sum

    def rounded(units, stage, *, key):
        used.append(key)
        return real(units, stage, key=key)

    def spy(count, variance, *, keys):
        used.extend(keys)
        return np.zeros(count, np.int64)

    monkeypatch.setattr(noisy, "rounded_sum", rounded)
    monkeypatch.setattr(noisy, "shares", spy)
    for purpose in ("1", "2"):
        noisy.noisy_sum(_rows(3, 6), stage, entropy=SeededEntropy(1), purpose=purpose)
    assert len(used) == len(set(used)) == 6


def test_no_noise_where_there_is_none_and_no_variance_of_zero() -> None:
    with pytest.raises(PlanError, match="variance = 0"):
        noisy.shares(3, 0, keys=KEYS)


def test_the_released_sum_has_the_noise_of_all_devices(stage) -> None:
    people = 50
    draws = np.array(
        [
            noisy.noisy_sum(
                np.zeros((people, 6)), stage, entropy=SeededEntropy(1), purpose=str(n)
            )
            for n in range(400)
        ]
    )
    expected = people * stage.share_variance * stage.grid.step**2
    ratio = draws.var() / expected
    assert 0.88 < ratio < 1.12  # 2,400 numbers: six standard deviations are 0.17
    # ... which is what the plan asks of fewer: survivors that are not colluding.
    counted = float(stage.noise_variance_grid) * stage.grid.step**2
    assert expected >= counted
    assert Fraction(people) * stage.share_variance > stage.noise_variance_grid


def test_people_are_clipped_and_the_purpose_decides_the_noise(stage) -> None:
    bare = plan_of(50, 6, Learning(4, 1.0, 2.0), float("inf")).training
    rows = _rows(50, 6, length=100.0)
    total = noisy.noisy_sum(rows, bare, entropy=SeededEntropy(1), purpose="x")
    assert np.allclose(total, 2.0 * (rows / 100.0).sum(axis=0), atol=1e-4)
    one, same, other = (
        noisy.noisy_sum(rows, stage, entropy=SeededEntropy(1), purpose=name)
        for name in ("1", "1", "2")
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
