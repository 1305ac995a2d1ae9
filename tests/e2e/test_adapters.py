"""Runs with other adapters than plain LoRA: trained, saved, and read back."""

import json

import numpy as np
import pytest

from fedpref import load_reward
from fedpref.simulation import setup, simulate
from fedpref.transport import in_process

ADAPTERS = {
    "repcali": 'model.adapter={kind="repcali", place="residual"}',
    "pblora": 'model.adapter={kind="pblora", shared=2, preferred=3, targets=["value"]}',
    "rslora": 'model.adapter={r=2, targets=["query"], rslora=true, freeze_a=true}',
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_run_trains_the_adapter_that_its_scenario_names(few, tmp_path, name) -> None:
    job = few(ADAPTERS[name], "secagg.mode=sum", "cohort.rounds=2")
    made = setup.prepare(job)
    run = simulate(job, tmp_path / "run", carry=in_process.carry).folder
    about = json.loads((run / "model.json").read_text())
    assert about["adapter"]["kind"] == job.model.adapter.kind
    plan = json.loads((run / "plan.json").read_text())
    assert plan["stages"][0]["coordinates"] == made.model.layout.size
    before = made.model.vector
    reward = load_reward(run)
    texts = ["Short and plain.", "Another text, which nobody was asked about."]
    made.model.set(np.zeros_like(before))
    found = np.asarray(reward.score(texts))
    assert found.shape == (2,)
    assert np.abs(found - made.model.scores(texts)).max() > 1e-6
