"""One person moves the sum by at most the stated bound: every objective, every engine.

The path from records to the integer sum is the product's own; neighbours are random.
"""

from dataclasses import replace
from math import isqrt

import numpy as np
import pytest

from fedpref import objectives
from fedpref.core.clip import clip_units
from fedpref.core.grid import squared_norm, sum_on_grid
from fedpref.core.types import Grid, Unit
from fedpref.models.gradients import Engine, SharedJacobian, unit_gradients

CLIP = 0.05  # small against these gradients, so that clipping is what bounds them
ENGINES = ["one_pass", "loop", "shared"]


@pytest.fixture(params=objectives.names())
def objective(request):
    return objectives.load(request.param, {}, unit=Unit.USER)


@pytest.fixture(scope="module")
def model(build):
    return build("bert")


def summed(model, objective, records, unit, engine, catalogue):
    how = {"engine": Engine.LOOP} if engine == "loop" else {}
    if engine == "shared":
        how = {"jacobian": SharedJacobian(model, catalogue)}
    rows = unit_gradients(model, objective, records, unit=unit, **how)
    return sum_on_grid(clip_units(rows, CLIP), Grid.for_clip(CLIP))


def steps_moved(a, b) -> int:
    """Distance of two integer sums, rounded up, in grid steps."""
    square = squared_norm(a.total - b.total)
    return isqrt(square) + (isqrt(square) ** 2 < square)


def neighbours(records, person, draw):
    """The same data with everything of ``person`` away, and with other answers."""
    others = [r for r in records if r.user != person]
    yield others
    yield [
        replace(r, choice=int(draw.integers(len(r.options))), weight=9.0)
        if r.user == person
        else r
        for r in records
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_zeroing_one_person_moves_the_sum_by_at_most_the_bound(
    model, objective, people, catalogue, engine
) -> None:
    draw = np.random.default_rng(0)
    bound = isqrt(Grid.for_clip(CLIP).sensitivity_squared(CLIP)) + 1
    for seed in range(2):
        records = people(seed, users=3, each=2)
        whole = summed(model, objective, records, Unit.USER, engine, catalogue)
        assert whole.sensitivity_squared <= bound**2
        person = str(draw.choice([r.user for r in records]))
        without, changed = neighbours(records, person, draw)
        away = summed(model, objective, without, Unit.USER, engine, catalogue)
        assert steps_moved(whole, away) <= bound
        # Replacing a contribution by another one may move the sum twice as far.
        other = summed(model, objective, changed, Unit.USER, engine, catalogue)
        assert steps_moved(whole, other) <= 2 * bound


def test_clipping_records_where_people_are_the_unit_breaks_the_bound(
    model, objective, people, catalogue
) -> None:
    """The mutation that the test above must see: rows of a person clipped apart."""
    records = people(0)
    bound = isqrt(Grid.for_clip(CLIP).sensitivity_squared(CLIP)) + 1
    whole = summed(model, objective, records, Unit.RECORD, "one_pass", catalogue)
    moved = []
    for person in {r.user for r in records}:
        rest = [r for r in records if r.user != person]
        away = summed(model, objective, rest, Unit.RECORD, "one_pass", catalogue)
        moved.append(steps_moved(whole, away))
    assert max(moved) > bound


def test_a_sum_that_is_not_clipped_breaks_the_bound(model, objective, people) -> None:
    records = people(0)
    rows = unit_gradients(model, objective, records, unit=Unit.USER)
    assert np.linalg.norm(rows, axis=1).max() > 2 * CLIP
