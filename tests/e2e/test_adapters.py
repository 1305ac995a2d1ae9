"""Runs with other adapters than plain LoRA: trained, saved, and read back."""

import json

import numpy as np
import pytest

from fedpref import load_reward
from fedpref.simulation import setup, simulate
from fedpref.transport import in_process

ADAPTERS = {
    "repcali": {"kind": "repcali", "place": "residual", "strength": 0.5},
    "pblora": {"kind": "pblora", "shared": 2, "preferred": 3, "targets": ["value"]},
    "rslora": {
        "kind": "lora",
        "r": 2,
        "targets": ["query"],
        "rslora": True,
        "freeze_a": True,
    },
}
SAVED_AS = {"r": "rank"}
ONE_ROUND = ("cohort.rounds=1", "evaluate.every=0")


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_run_trains_the_adapter_that_its_scenario_names(few, tmp_path, name) -> None:
    asked = ADAPTERS[name]
    keys = [f"model.adapter.{key}={json.dumps(value)}" for key, value in asked.items()]
    job = few(*keys, "secagg.mode=sum", "cohort.rounds=2")
    made = setup.prepare(job)
    run = simulate(job, tmp_path / "run", carry=in_process.carry).folder
    about = json.loads((run / "model.json").read_text())
    saved = about["adapter"]
    assert saved["kind"] == job.model.adapter.kind
    assert {key: saved[SAVED_AS.get(key, key)] for key in asked} == asked
    plan = json.loads((run / "plan.json").read_text())
    assert plan["stages"][0]["coordinates"] == made.model.layout.size
    before = made.model.vector
    reward = load_reward(run)
    texts = ["Short and plain.", "Another text, which nobody was asked about."]
    made.model.set(np.zeros_like(before))
    found = np.asarray(reward.score(texts))
    assert found.shape == (2,)
    assert np.abs(found - made.model.scores(texts)).max() > 1e-6


@pytest.mark.parametrize("name", ADAPTERS)
def test_no_device_fails_where_texts_are_public(scenario, tmp_path, name) -> None:
    """Gradients of a public catalogue are computed once, for everybody."""
    keys = [f"model.adapter.{k}={json.dumps(v)}" for k, v in ADAPTERS[name].items()]
    job = scenario("linear_head", *keys, "data.records_per_person=1", *ONE_ROUND)
    result = simulate(job, tmp_path / "run", carry=in_process.carry)
    assert result.failures == 0
