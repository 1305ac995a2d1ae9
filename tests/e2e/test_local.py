"""Scenarios whose devices take several steps before they answer."""

import numpy as np
import pytest

from fedpref.core.entropy import SeededEntropy
from fedpref.core.types import Noise, Unit
from fedpref.errors import ScenarioError
from fedpref.models.gradients import unit_gradients
from fedpref.simulation import device_work, setup, simulate
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.training import train
from fedpref.transport import in_process

LOCAL = ("local.steps=3", "local.optimiser=adam", "local.lr=0.05", "secagg.mode=sum")


@pytest.mark.parametrize("adapter", [(), ("model.adapter={r=1}",)])
def test_devices_answer_how_far_they_came(few, adapter) -> None:
    """Against three steps of Adam written out, on gradients of the loop."""
    made = setup.prepare(few(*LOCAL, *adapter))
    vector = np.linspace(-0.5, 0.5, made.model.layout.size)
    for user, answer in list(device_work.client_gradients(made).items())[:2]:
        found = answer(vector)
        at, first, second = vector.copy(), 0.0, 0.0
        for step in (1, 2, 3):
            made.model.set(at)
            (row,) = unit_gradients(
                made.model, made.objective, made.split.train[user], unit=Unit.USER
            )
            first, second = 0.9 * first + 0.1 * row, 0.99 * second + 0.01 * row**2
            mean, size = first / (1 - 0.9**step), second / (1 - 0.99**step)
            at = at - 0.05 * mean / (np.sqrt(size) + 1e-8)
        assert found.shape == (1, vector.size)
        assert np.allclose(found[0], vector - at, rtol=1e-9, atol=1e-12)


def test_a_run_with_local_steps_reaches_another_model(few, tmp_path, model_bytes):
    run = {
        name: simulate(few(*keys), tmp_path / name, carry=in_process.carry).folder
        for name, keys in {"local": LOCAL, "again": LOCAL, "plain": LOCAL[3:]}.items()
    }
    made = {name: model_bytes(folder) for name, folder in run.items()}
    assert made["local"] == made["again"] != made["plain"]
    assert "[local]" in (run["local"] / "scenario.toml").read_text()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("local.steps=0",), "local.steps = 0: Input should be greater than"),
        (("local.lr=1.0",), "local.steps: missing"),
        (("local.steps=2", "local.average_last=0.5"), "average_last: unknown key"),
        (("local.steps=2", "local.momentum=0.5", "local.optimiser=adam"), "belong"),
        (("local.steps=2", "privacy.unit=record"), "steps mix the records of a person"),
    ],
)
def test_what_makes_no_sense_is_refused(few, keys, words) -> None:
    with pytest.raises(ScenarioError, match=words):
        few(*keys)


def test_a_server_rate_of_the_clip_is_federated_averaging(few) -> None:
    """Without noise, where nobody is clipped: the mean of where devices came to."""
    step = ("server.lr=16.0", "server.momentum=0.0", "server.average_last=0")
    job = few("local.steps=2", "local.lr=0.1", *step, "cohort.rounds=1")
    bare = {"noise": Noise.NONE, "target_epsilon": None, "against": None, "clip": 16.0}
    loose = job.privacy.model_copy(update=bare)
    made = setup.prepare(job.model_copy(update={"privacy": loose}))
    start = made.model.initial()
    reached = [start - g(start)[0] for g in device_work.client_gradients(made).values()]
    entropy, journal = SeededEntropy(1), NoJournal()
    done = train(made, entropy=entropy, carry=in_process.carry, journal=journal)
    mean = np.mean(reached, axis=0)
    assert np.abs(mean).max() > 1e-3
    assert np.allclose(done.state.released, mean, rtol=0, atol=1e-4)  # of the grid
