"""Intervals over people and seeds, gains, and what an entry holds."""

import numpy as np
import pytest

from fedpref.errors import InputError
from fedpref.study import result
from fedpref.study.measure import Measured


def _measured(wins, asked, people=None, **values) -> Measured:
    names = people or tuple(f"p{n}" for n in range(len(wins)))
    given = {
        "choice_accuracy": 0.5,
        "pair_accuracy": None,
        "macro_f1": 0.4,
        "log_loss": 0.6,
        "ece": 0.1,
        **values,
    }
    return Measured(
        accuracy=float(np.sum(wins) / np.sum(asked)),
        records=int(np.sum(asked)),
        wins=np.array(wins, float),
        asked=np.array(asked),
        people=names,
        **given,
    )


def test_draws_add_up_within_a_seed_and_people_are_matched_by_name() -> None:
    one = _measured([1, 2], [2, 2], ("a", "b"))
    two = _measured([2, 0], [2, 0], ("b", "c"))
    found = result.tally([(1, one), (1, one), (2, two)])
    assert found.people == ("a", "b")  # c was asked nothing
    assert found.wins.tolist() == [[2, 4], [0, 2]]
    assert found.asked.tolist() == [[4, 4], [0, 2]]
    assert found.accuracy == pytest.approx(8 / 10)
    assert found.per_user.tolist() == [0.5, 1.0]


def test_the_interval_of_many_alike_people_is_that_of_a_mean() -> None:
    rng = np.random.default_rng(5)
    wins = rng.binomial(10, 0.7, 400).astype(float)
    low, high = result.interval(wins[None], np.full((1, 400), 10.0))
    spread = wins.std() / 10 / np.sqrt(400)
    assert low == pytest.approx(wins.mean() / 10 - 1.96 * spread, abs=0.3 * spread)
    assert high == pytest.approx(wins.mean() / 10 + 1.96 * spread, abs=0.3 * spread)


def test_seeds_that_differ_widen_the_interval() -> None:
    same = np.full((5, 50), 7.0)
    apart = same + np.array([-3, -1.5, 0, 1.5, 3])[:, None]
    asked = np.full((5, 50), 10.0)
    assert np.ptp(result.interval(same, asked)) < 1e-12
    assert np.ptp(result.interval(apart, asked)) > 0.2


def test_a_gain_is_paired() -> None:
    wins = np.arange(1, 41) % 9
    base = _measured(wins, [9] * 40)
    better = _measured(wins + 1, [9] * 40)
    gained = result.gain([(1, better)], [(1, base)])
    assert gained["value"] == pytest.approx(1 / 9)
    assert np.allclose(gained["ci95"], 1 / 9)  # everybody gains the same
    other = _measured(wins[:-1], [9] * 39)
    with pytest.raises(InputError, match="same answers"):
        result.gain([(1, base)], [(1, other)])


def test_an_entry_holds_everything_and_no_name() -> None:
    wins = [n % 5 for n in range(30)]
    one = _measured(wins, [4] * 30, ece=0.1)
    two = _measured([4] * 30, [4] * 30, ece=0.3)
    people = {f"p{n}": {"city": "yes" if n < 20 else "no"} for n in range(30)}
    entry = result.cell([(1, one), (2, two)], people)
    assert entry["accuracy"] == pytest.approx((sum(wins) + 120) / 240)
    assert entry["ece"] == pytest.approx(0.2)
    assert entry["pair_accuracy"] is None
    assert entry["users"] == 30
    worst = np.sort((np.array(wins) + 4) / 8)[:3].mean()
    assert entry["worst_decile"] == pytest.approx(worst)
    assert entry["groups"]["city"]["yes"]["users"] == 20
    assert entry["sd_over_seeds"] == pytest.approx(np.std([sum(wins) / 120, 1], ddof=1))
    assert "p7" not in str(entry)
    assert result.cell([(1, one)], {})["sd_over_seeds"] is None


def test_nothing_to_add_up_is_refused() -> None:
    with pytest.raises(InputError, match="measurements = 0"):
        result.tally([])
