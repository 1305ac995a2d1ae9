from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare

from fedpref.core.entropy import uniform_words
from fedpref.errors import PlanError
from fedpref.secagg import neighbours
from fedpref.secagg.neighbours import (
    draw_neighbours,
    least_threshold,
    regular,
    threshold,
)

KEY = bytes(range(32))


@pytest.mark.parametrize("n", range(1, 60))
def test_thresholds_leave_no_room_for_two_lists(n) -> None:
    """An honest holder serves one list, a colluder two: 2 t > n + C, no more."""
    for c in range(n):
        least = least_threshold(n, c)
        assert 2 * least > n + c
        assert 2 * (least - 1) <= n + c
        assert threshold(n, c) >= max(least, 2 * n / 3)
        assert threshold(n, c) in (least, 2 * n // 3 + 1)


@pytest.mark.parametrize(("n", "c", "t"), [(32, 0, 22), (100, 10, 67), (293, 30, 196)])
def test_default_thresholds(n, c, t) -> None:
    assert threshold(n, c) == t


@pytest.mark.parametrize(
    ("n", "percent", "expected"),
    [
        (100, 10, (30, 21)),
        (200, 10, (58, 40)),
        (500, 10, (90, 62)),
        (1000, 10, (112, 77)),
        (10**4, 10, (140, 96)),
        (10**6, 10, (166, 113)),
        (1000, 5, (60, 42)),
        (10**6, 5, (84, 58)),
    ],
)
def test_regular_graphs_as_published_with_the_protocol(n, percent, expected) -> None:
    assert regular(n, n * percent // 100, n * percent // 100) == expected


def test_tails_by_exact_counting() -> None:
    """Four marked of nine others, three neighbours: fractions by hand."""
    assert neighbours._tail(10, 4, 3, 0) == pytest.approx(1)
    assert neighbours._tail(10, 4, 3, 3) == pytest.approx(4 / 84)
    assert neighbours._tail(10, 4, 3, 2) == pytest.approx((4 + 6 * 5) / 84)


@pytest.mark.parametrize("numbers", [(20, 6, 6), (10, 5, 5), (10, -1, 0), (5, 0, 0)])
def test_graphs_that_do_not_exist_are_refused(numbers) -> None:
    with pytest.raises(PlanError, match="colluders"):
        regular(*numbers)


def test_draws_are_rising_distinct_others() -> None:
    cohort = [3, 5, 8, 9, 20, 21, 40]
    for key, me in product(range(20), cohort):
        found = draw_neighbours(me, cohort, 4, key=key.to_bytes(32, "little"))
        assert list(found) == sorted(set(found))
        assert len(found) == 4
        assert set(found) <= set(cohort) - {me}


def test_every_set_is_equally_likely() -> None:
    """Three of six others: 20 sets, 4,000 keys."""
    counts: dict[tuple[int, ...], int] = {}
    for i in range(4000):
        found = draw_neighbours(4, range(1, 8), 3, key=i.to_bytes(32, "little"))
        counts[found] = counts.get(found, 0) + 1
    assert len(counts) == 20
    assert chisquare(list(counts.values())).pvalue > 1e-6


def test_words_that_would_favour_small_numbers_are_thrown_away() -> None:
    top = 2**64 - 1  # 2**64 = 1 modulo 3: the last value alone is left over
    assert neighbours._below([3, 2], [top, 5, 9]) == [2, 1]
    assert neighbours._below([3], [top - 1]) == [2]
    assert neighbours._below([3, 3], [top, 1]) == [1]


def test_more_words_are_taken_when_some_are_thrown_away(monkeypatch) -> None:
    asked = []

    def unlucky(count, *, key):
        asked.append(count)
        words = uniform_words(count, key=key)
        words[:4] = np.uint64(2**64 - 1)
        return words

    monkeypatch.setattr(neighbours, "uniform_words", unlucky)
    found = draw_neighbours(1, range(1, 8), 3, key=KEY)
    assert asked == [6, 13]
    assert len(set(found)) == 3


def test_none_are_drawn_on_the_complete_graph() -> None:
    assert draw_neighbours(1, [1, 2, 3], 0, key=KEY) == ()
    assert draw_neighbours(1, [1], 0, key=KEY) == ()


@pytest.mark.parametrize("count", [-1, 3])
def test_more_than_there_are_is_refused(count) -> None:
    with pytest.raises(PlanError, match=f"neighbours = {count}"):
        draw_neighbours(1, [1, 2, 3], count, key=KEY)
