"""Policies in whole rounds: the same devices, sums and plan as for rewards."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from fedpref import objectives
from fedpref.core.entropy import SeededEntropy
from fedpref.core.types import Noise, Record, Unit
from fedpref.models.items import Item
from fedpref.simulation import setup
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.training import train
from fedpref.transport import in_process

GOOD, BAD = "w4 w5", "w6 w7"
PROMPTS = ("w1 w2 w3", "w1", "w8 w9", "w3 w3")


def records(user, place, thumbs):
    """Everybody wants one response: as choices, or as thumbs up and down."""
    prompt = PROMPTS[place % 3]
    if thumbs:
        answers = ((GOOD, True), (BAD, False))
        return tuple(Record(user, prompt, (a,), label=up) for a, up in answers)
    order = ((GOOD, BAD), (BAD, GOOD))[place % 2]
    return (Record(user, prompt, order, choice=order.index(GOOD)),)


@pytest.fixture(scope="module")
def prepared(few, build_policy):
    """``prepared(objective, adapter, *keys)``: eight people who train a policy."""

    def make(name, adapter, *keys, noise=Noise.DISTRIBUTED):
        job = few("privacy.clip=16.0", "cohort.rounds=2", "server.lr=10.0", *keys)
        if noise is Noise.NONE:
            bare = {"noise": noise, "target_epsilon": None, "against": None}
            job = job.model_copy(
                update={"privacy": job.privacy.model_copy(update=bare)}
            )
        made = setup.prepare(job)
        loss = objectives.load(name, {}, unit=Unit.USER, private=True)
        model = build_policy("llama", adapter=adapter, moved=False)
        thumbs = objectives.about(name).takes is objectives.Takes.THUMB
        train_ = {
            user: records(user, place, thumbs)
            for place, user in enumerate(made.split.train)
        }
        return replace(
            made,
            model=model,
            objective=loss,
            split=replace(made.split, train=MappingProxyType(train_)),
            dataset=replace(made.dataset, texts_public=False),
            plan=setup.calibrate(job, model, loss, len(train_)),
        )

    return make


def learnt(made, seed=1):
    return train(
        made, entropy=SeededEntropy(seed), carry=in_process.carry, journal=NoJournal()
    ).state


def margin(model, vector):
    """By how much the wanted response leads, over all prompts; one is nobody's."""
    model.set(vector)
    good, bad = (
        model.log_probabilities([Item(p, answer) for p in PROMPTS])
        for answer in (GOOD, BAD)
    )
    return float(np.mean(good - bad))


@pytest.mark.parametrize(
    ("name", "adapter"),
    [("dpo", "lora"), ("simpo", "pblora"), ("kto_lagged", "output")],
)
def test_a_policy_learns_what_people_want(prepared, name, adapter) -> None:
    made = prepared(name, adapter, noise=Noise.NONE)
    before = margin(made.model, made.model.initial())
    state = learnt(made)
    assert state.steps == 2
    assert margin(made.model, state.released) > before + 0.05


def test_the_protocol_and_the_sum_make_the_same_policy(prepared) -> None:
    """Noise from eight devices under masks is the noise of the same sum without."""
    one, other = (
        learnt(prepared("dpo", "pblora", f"secagg.mode={mode}"))
        for mode in ("protocol", "sum")
    )
    assert (one.released == other.released).all()
    assert np.abs(one.released).max() > 0
    again = learnt(prepared("dpo", "pblora", "secagg.mode=sum"), seed=2)
    assert (again.released != one.released).any()  # there was noise
