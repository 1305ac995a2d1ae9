"""A statistic that an objective asks for travels behind the model, round by round."""

from types import SimpleNamespace

import numpy as np
import pytest

from fedpref.core.types import Noise
from fedpref.rounds.optimisers import sgd
from fedpref.rounds.server import Noisy, run_after, run_round, start

PLAIN = sgd(lr=1.0, momentum=0.5)
JOURNAL = SimpleNamespace(pending=lambda number: None, settle=lambda state: None)


@pytest.fixture
def play(make_plan):
    """Two rounds of three weights and one statistic; what devices were sent."""
    plan = make_plan(noise=Noise.NONE, coordinates=4)
    unit = plan.divisor / plan.training.grid.step

    def run(sums):
        state, sent = start(np.zeros(3), PLAIN, statistics=1), []
        for number, total in enumerate(sums, start=1):

            def gather(number, model, total=total):
                sent.append(model.tolist())
                return Noisy(np.round(np.array(total) * unit).astype(np.int64), 4)

            state = run_round(
                number,
                state,
                plan=plan,
                optimiser=PLAIN,
                average_last=1.0,
                gather=gather,
                journal=JOURNAL,
            )
        return state, sent

    return run


def test_the_next_round_is_told_what_the_last_one_released(play) -> None:
    state, sent = play([[1, 0, 0, 0.25], [0, 0, 0, -0.5]])
    assert sent == [[0, 0, 0, 0], pytest.approx([-1, 0, 0, 0.5])]
    assert state.statistic.tolist() == pytest.approx([-1.0])  # a clip of 2


def test_it_moves_no_weight_and_is_not_averaged(play) -> None:
    state, _ = play([[1, 0, 0, 0.25], [0, 0, 0, -0.5]])
    again, _ = play([[1, 0, 0, 7.0], [0, 0, 0, 7.0]])
    assert state.model.tolist() == again.model.tolist()
    assert state.released.shape == state.model.shape == (3,)
    assert state.optimiser["velocity"].shape == (3,)


def test_later_releases_are_sent_it_too(play) -> None:
    """Devices of one plan get vectors of one length, whatever they are asked for."""
    state, _ = play([[1, 0, 0, 0.25]])
    sent = []

    def gather(number, model):
        sent.append(model.tolist())
        return Noisy(np.zeros(3, np.int64), 4)

    run_after(4, state, keep=lambda noisy, s: s, gather=gather, journal=JOURNAL)
    assert sent == [pytest.approx([-1, 0, 0, 0.5])]
