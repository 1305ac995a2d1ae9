"""Local steps: by hand, against one gradient, and within the clip whatever they do."""

import numpy as np
import pytest

from fedpref.errors import InputError
from fedpref.rounds.local import after_steps
from fedpref.rounds.optimisers import adam, dp_adamw, sgd

OPTIMISERS = [sgd(lr=0.3), adam(lr=0.2), dp_adamw(lr=0.2, decay=0.1)]


def test_one_step_of_plain_descent_is_the_gradient(toward) -> None:
    gradient, sent = toward([1.0, -2.0]), np.array([0.5, 0.25])
    one = after_steps(gradient, sgd(lr=1.0, momentum=0.0), steps=1, size=2)
    assert (one(sent) == gradient(sent)).all()


def test_steps_by_hand(toward) -> None:
    """Momentum .5, lr .1, goal 10: gradients 10, 9 and 7.6 at 0, 1 and 2.4."""
    moved = after_steps(toward([10.0]), sgd(lr=0.1, momentum=0.5), steps=3, size=1)
    # v: 10; .5 * 10 + 9 = 14; .5 * 14 + 7.6 = 14.6; the way is a tenth of their sum.
    assert moved(np.zeros(1))[0] == pytest.approx([-(10 + 14 + 14.6) / 10])


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda o: o.name)
def test_the_optimiser_starts_anew_in_each_round(toward, optimiser) -> None:
    moved = after_steps(toward([3.0, 1.0]), optimiser, steps=4, size=2)
    sent = np.array([0.2, -0.4])
    assert (moved(sent) == moved(sent)).all()
    assert not np.allclose(moved(sent), toward([3.0, 1.0])(sent))


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda o: o.name)
def test_the_clip_bounds_whatever_the_steps_do(
    toward, optimiser, make_plan, contributing
) -> None:
    plan = make_plan()
    far = after_steps(toward([1e6, 1e6, -1e6]), optimiser, steps=50, size=3)
    found = contributing(plan, far)(1, np.zeros(3))
    bound = plan.stage(1).sensitivity_squared
    assert 0 < int((found.update.astype(object) ** 2).sum()) <= bound
    assert found.bound <= bound
    assert not found.failed


def test_what_is_sent_behind_the_model_stays_and_the_statistic_is_the_first() -> None:
    seen = []

    def gradient(vector):
        seen.append(vector.copy())
        return np.array([[1.0, 10.0 * len(seen)]])

    moved = after_steps(gradient, sgd(lr=1.0, momentum=0.0), steps=3, size=1)
    assert moved(np.array([5.0, 0.7])).tolist() == [[3.0, 10.0]]
    assert [row.tolist() for row in seen] == [[5.0, 0.7], [4.0, 0.7], [3.0, 0.7]]


def test_what_cannot_be_stepped_is_refused(toward) -> None:
    with pytest.raises(InputError, match=r"steps = 0, must be at least 1"):
        after_steps(toward([1.0]), sgd(), steps=0, size=1)
    for rows in (np.ones((2, 1)), np.ones((0, 1))):
        with pytest.raises(InputError, match=rf"units = {len(rows)}, must be 1"):
            after_steps(lambda _, r=rows: r, sgd(), steps=1, size=1)(np.zeros(1))


def test_a_device_whose_gradient_breaks_on_the_way_sends_zeros(
    make_plan, contributing
) -> None:
    plan = make_plan()

    def gradient(vector):
        return np.full((1, 3), np.nan if vector.any() else 1.0)

    found = contributing(plan, after_steps(gradient, sgd(), steps=2, size=3))
    made = found(1, np.zeros(3))
    assert made.failed
    assert not made.update.any()
