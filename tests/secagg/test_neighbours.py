from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, chisquare, hypergeom

from fedpref.core.entropy import uniform_words
from fedpref.errors import PlanError
from fedpref.secagg import neighbours
from fedpref.secagg.descriptor import Terms
from fedpref.secagg.neighbours import (
    draw_neighbours,
    drawn,
    least_threshold,
    threshold,
)

KEY = bytes(range(32))
ROOT = Path(__file__).resolve().parents[2]


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


TABLE = {  # clients, per cent of colluders and of dropouts: h, t (docs/protocol.md)
    (300, 10): (129, 141),
    (1000, 10): (209, 263),
    (10**4, 10): (673, 1001),
    (1000, 5): (147, 193),
    (10**4, 5): (333, 501),
}


@pytest.mark.parametrize(("setting", "expected"), TABLE.items())
def test_drawn_graphs_as_documented(setting, expected) -> None:
    n, percent = setting
    found = drawn(n, n * percent // 100, n * percent // 100)
    assert found == expected
    terms = Terms(found[1], n - n * percent // 100, n * percent // 100, 1, 24, found[0])
    terms.check(n)
    page = (ROOT / "docs/protocol.md").read_text("utf-8")
    assert f"{n:,} | {percent} % | {found[0]} | {found[1]:,} |" in page


@pytest.mark.parametrize(("n", "k"), [(200, 58), (500, 90), (1000, 112), (10**4, 140)])
def test_drawn_graphs_need_more_than_regular_ones(n, k) -> None:
    """The k of a k-regular graph for 10 % and 10 %; here the degree varies as well."""
    assert 2 * drawn(n, n // 10, n // 10)[0] > k


def graphs(n, h, count, seed):
    """Symmetric adjacency of ``count`` graphs, each client drawing h of the others."""
    rng = np.random.default_rng(seed)
    rows = np.arange(n)[:, None]
    for _ in range(count):
        order = rng.random((n, n), dtype=np.float32)
        np.fill_diagonal(order, 2)
        chosen = np.zeros((n, n), dtype=bool)
        chosen[rows, np.argpartition(order, h, axis=1)[:, :h]] = True
        yield chosen | chosen.T


def counts(n, colluders, dropouts, h, count):
    """Holders, colluding ones and live ones of every client of every graph.

    The first are bad, the last are gone: nobody chose them by the graph.
    """
    found = []
    for edges in graphs(n, h, count, seed=n + h):
        degree, bad = edges.sum(axis=1), edges[:, :colluders].sum(axis=1)
        left = edges[:, : n - dropouts].sum(axis=1)
        left[: n - dropouts] += 1  # a client that is left holds a share of its own
        found.append((degree + 1, bad, left))
    return np.array(found).swapaxes(0, 1)


@pytest.mark.parametrize(("n", "c", "d", "h"), [(40, 6, 8, 7), (60, 20, 5, 12)])
def test_tails_against_graphs_that_were_drawn(n, c, d, h) -> None:
    """Within five standard errors, down to chances of a few in a thousand."""
    holders, bad, left = counts(n, c, d, h, 1500)
    honest = (holders + bad)[:, c:]
    gone, stay = left[:, n - d :], left[:, : n - d] - 1
    seen = 0
    for least in range(2 * n):
        for sample, chance in (
            (honest - 1 >= least, neighbours._surplus(n, c, h, least)),
            (stay < least, neighbours._short(n, d, h, least)),
            (gone < least, neighbours._short(n, d - 1, h, least)),
        ):
            # clients of one graph are not independent: the error is that of graphs
            share = sample.mean(axis=1)
            error = max(share.std(), 0.01) / np.sqrt(len(share))
            assert share.mean() == pytest.approx(chance, abs=5 * error)
            seen += 0.001 < chance < 0.999
    assert seen > 20


def test_tails_by_exact_counting() -> None:
    """Three clients draw one of two others: every one of the eight graphs by hand."""
    ends = [{(0, a), (1, b), (2, c)} for a, b, c in product((1, 2), (0, 2), (0, 1))]
    met = [{x for e in edges if 0 in e for x in e if x} for edges in ends]
    both = sum(len(m) == 2 for m in met) / 8
    assert neighbours._short(3, 0, 1, 2) == pytest.approx(1 - both)
    lonely = sum(1 not in m for m in met) / 8  # client 2 is gone
    assert neighbours._short(3, 1, 1, 1) == pytest.approx(lonely)
    heavy = sum(len(m) + (2 in m) >= 3 for m in met) / 8
    assert neighbours._surplus(3, 1, 1, 3) == pytest.approx(heavy)


@pytest.mark.parametrize(("total", "marked", "draws"), [(9, 4, 3), (999, 100, 209)])
def test_draws_of_marked_others_are_hypergeometric(total, marked, draws) -> None:
    out = np.arange(-1, draws + 2)
    law = hypergeom.pmf(out, total, marked, draws)
    assert neighbours._drawn_of(marked, total, draws, out) == pytest.approx(law, 1e-9)


@pytest.mark.parametrize(("n", "stay", "h"), [(8, 6, 1), (8, 5, 2), (12, 12, 1)])
def test_split_bounds_the_graphs_that_fall_apart(n, stay, h) -> None:
    apart = []
    for edges in graphs(n, h, 2000, seed=1):
        reach = np.linalg.matrix_power(
            edges[:stay, :stay].astype(np.int64) + np.eye(stay, dtype=np.int64), stay
        )
        apart.append((reach == 0).any())
    bound = neighbours._split(n, stay, h)
    assert 0 < np.mean(apart) <= bound + 0.05
    assert neighbours._split(n, stay, n - 1) == 0


@pytest.mark.parametrize(("n", "graphs_"), [(500, 100), (1000, 30)])
def test_no_client_is_short_on_drawn_graphs(n, graphs_) -> None:
    """10 % bad and 10 % gone; a threshold for k-regular graphs fails most of these."""
    h, t = drawn(n, n // 10, n // 10)
    holders, bad, left = counts(n, n // 10, n // 10, h, graphs_)
    assert left.min() >= t
    assert holders.max() < 2 * t
    assert (holders + bad).max() < 2 * t


@pytest.mark.parametrize(("n", "c", "d"), [(283, 2, 40), (1000, 50, 50)])
def test_a_drawn_graph_keeps_every_bound_and_no_smaller_one_does(n, c, d) -> None:
    """The bounds as the docstring states them, for the least h and all below it."""
    h, t = drawn(n, c, d)

    def holds(h, t):
        refused = n * binom.sf(2 * t - 2 - h, n - 1 - h, h / (n - 1))
        short = (n - d) * neighbours._short(n, d, h, t - 1)
        short += d * neighbours._short(n, d - 1, h, t)
        open_ = n * neighbours._surplus(n, c, h, 2 * t - 1)
        split = neighbours._split(n, n - c - d, h)
        fits = t > max(h, c)
        return fits and refused + short <= 2**-30 and max(open_, split) <= 2**-40

    assert holds(h, t)
    assert not any(holds(h, lower) for lower in range(t - 3, t))
    for fewer in range(h - 4, h):
        middle = t - (h - fewer)
        assert not any(holds(fewer, at) for at in range(middle - 6, middle + 7))


def test_small_cohorts_are_sent_to_the_complete_graph() -> None:
    with pytest.raises(PlanError, match=r"no graph of drawn neighbours .* complete"):
        drawn(100, 10, 10)


@pytest.mark.parametrize("numbers", [(20, 6, 6), (10, 5, 5), (10, -1, 0)])
def test_graphs_that_do_not_exist_are_refused(numbers) -> None:
    with pytest.raises(PlanError, match="colluders"):
        drawn(*numbers)


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
