import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.report.figures import (
    axis,
    comparisons,
    histogram,
    line,
    reliability,
)
from fedpref.report.schema import Baseline, Bin, Heldout


@given(st.floats(-10, 10), st.floats(1e-3, 100), st.integers(2, 9))
def test_axis_covers_and_is_even(low, width, steps):
    found = axis(low, low + width, steps=steps)
    dust = 1e-9 + 1e-8 * width  # a billionth of a step, and steps are up to 10 widths
    assert found.low <= low + dust
    assert found.high >= low + width - dust
    values = [value for value, _ in found.ticks]
    gaps = [b - a for a, b in itertools.pairwise(values)]
    assert max(gaps) == pytest.approx(min(gaps), rel=1e-6)
    assert len(values) <= 2.5 * steps + 2
    labels = [label for _, label in found.ticks]
    assert len(set(labels)) == len(labels)


def test_axis_positions():
    found = axis(0.5, 0.75)
    assert (found.at(0.5), found.at(0.625), found.at(0.75)) == (0, 50, 100)
    assert (found.at(0.1), found.at(0.9)) == (0, 100)


def test_histogram_counts_everybody_once():
    values = [0.0, 0.05, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0]
    found = histogram(values, 0.45)
    counts = [bar.count for bar in found.bars]
    assert counts == [2, 1, 0, 1, 0, 1, 0, 1, 0, 2]
    assert found.mean == 45
    assert max(bar.count for bar in found.bars) <= found.y.high
    # float dust: 3 of 10 pairs is .3 and belongs to 30-40
    assert histogram([0.1 + 0.2, 0.7 * 1], 0.5).bars[3].count == 1


def test_histogram_of_many_people_is_finer():
    assert len(histogram([0.5] * 199, 0.5).bars) == 10
    found = histogram([k / 1000 for k in range(1001)], 0.5)
    assert len(found.bars) == 20
    assert sum(bar.count for bar in found.bars) == 1001
    assert found.bars[0].label == "0–5"


@pytest.mark.parametrize("rounds", [1, 2, 7, 10, 13, 40, 100, 1234])
def test_line_spans_the_rounds(rounds):
    values = [(k, 0.5 + 0.2 * k / rounds) for k in range(1, rounds + 1)]
    found = line(values, [""] * rounds, fractions=True, floor=0.5)
    ticks = [value for value, _ in found.x.ticks]
    assert ticks[0] == 1
    assert ticks[-1] == rounds
    assert len(ticks) <= 7
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y, _ in found.points)
    if rounds > 1:
        assert found.points[0][0] == 0
        assert found.points[-1][0] == 100
        assert found.points[0][1] > found.points[-1][1]  # up on the page is more
        gaps = [b - a for a, b in itertools.pairwise(ticks)]
        assert min(gaps) * 12 >= rounds - 1 or rounds <= 12  # labels keep apart


def test_line_makes_room_for_its_target():
    found = line([(1, 0.2), (2, 0.4)], ["", ""], fractions=False, floor=0, target=1.0)
    assert found.y.high >= 1
    assert found.target == pytest.approx(100 - found.y.at(1.0))


def make_bin(count, confidence, accuracy):
    return Bin(
        lower=0.5, upper=0.55, count=count, confidence=confidence, accuracy=accuracy
    )


def test_reliability_leaves_out_empty_bins_and_keeps_low_ones():
    bins = [make_bin(90, 0.52, 0.41), make_bin(0, None, None), make_bin(10, 0.9, 0.95)]
    x, y, dots = reliability(bins)
    assert len(dots) == 2
    assert y.low <= 0.41
    assert dots[0].radius > dots[1].radius
    assert dots[1].x == pytest.approx(x.at(0.9))
    assert dots[1].y == pytest.approx(100 - y.at(0.95))


def make_baseline(accuracy, *, private=True, epsilon=1.0, subset=None):
    return Baseline(
        accuracy=accuracy,
        ci95=(accuracy - 0.02, accuracy + 0.02),
        private=private,
        epsilon=epsilon,
        subset=subset,
    )


def test_comparisons_keep_subsets_apart(run):
    heldout = Heldout(
        accuracy=0.7,
        ci95=(0.66, 0.74),
        choice_accuracy=0.4,
        log_loss=0.5,
        ece=0.1,
        users=3,
        records=4,
        pairs=5,
        bins=(),
        per_user=(0.5,),
    )
    baselines = {
        "low": make_baseline(0.45, private=False),
        "late": make_baseline(0.8, subset="answers 9 and later"),
        "this run, late": make_baseline(0.69, subset="answers 9 and later"),
        "head": make_baseline(0.71),
    }
    whole, late = comparisons(heldout, baselines, note="", seeded=False)
    assert [row.name for row in whole.rows] == ["This run", "low", "head"]
    assert [row.kind for row in whole.rows] == ["run", "open", "private"]
    assert [row.name for row in late.rows] == ["late", "this run, late"]
    assert [row.kind for row in late.rows] == ["private", "run"]
    assert whole.run == whole.axis.at(0.7)
    assert late.run is None  # the run's own line is about other answers
    assert whole.axis == late.axis
    assert whole.axis.low <= 0.43
    for row in (*whole.rows, *late.rows):
        assert 0 <= row.low <= row.x <= row.high <= 100
    seeded, _ = comparisons(heldout, baselines, note="", seeded=True)
    assert [row.kind for row in seeded.rows] == ["run", "open", "open"]
