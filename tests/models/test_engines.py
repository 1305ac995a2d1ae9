"""One pass against the loop: every architecture, every adapter, scores and policies."""

import numpy as np
import pytest
import torch

from fedpref.core.types import Objective, Unit
from fedpref.errors import InputError, ObjectiveError
from fedpref.models import tape
from fedpref.models.folding import Given
from fedpref.models.gradients import Engine, contribution, unit_gradients
from fedpref.models.items import public_preferences
from fedpref.objectives import load

ADAPTERS = (
    *("lora", "rslora", "ffa", "pblora", "pblora_all"),
    *("output", "residual", "head", "bare"),
)


@pytest.fixture
def dpo():
    return load("dpo", {}, unit=Unit.USER)


def _given(records):
    weights = public_preferences(len(records), 2, concentration=0.5, seed=4)
    return Given(np.array([0.3]), weights, ("a", "b"))


def _both(model, objective, records, unit=Unit.USER, **how):
    given = _given(records)
    return [
        unit_gradients(
            model, objective, records, unit=unit, engine=engine, given=given, **how
        )
        for engine in Engine
    ]


def _agree(layout, found, expected, tolerance=1e-6):
    assert found.shape == expected.shape == (len(found), layout.size)
    whole = np.linalg.norm(expected, axis=1)
    assert whole.min() > 0
    for block, part in layout.parts():  # no block hides behind a larger one
        own = np.linalg.norm(expected[:, part], axis=1)
        apart = np.linalg.norm(found[:, part] - expected[:, part], axis=1)
        # What shifts every score alike has no gradient but rounding.
        least = np.maximum(1e-3 * own.max(), 1e-6 * whole)
        assert (apart <= tolerance * np.maximum(own, least)).all(), block.name
        assert own.max() > 1e-6 * whole.max() or block.name == "repcali_bias"


# Every adapter on each kind of layer; the others have the same layers.
CASES = [(f, a) for f in ("bert", "gpt2", "llama") for a in ADAPTERS]
CASES += [(f, a) for f in ("qwen2", "qwen3") for a in ("lora", "pblora", "residual")]


@pytest.mark.parametrize(("family", "adapter"), CASES)
def test_scores(build, people, softmax, family, adapter):
    model, records = build(family, adapter=adapter), people(1, users=3, each=2)
    _agree(model.layout, *_both(model, softmax, records))


@pytest.mark.parametrize(
    ("family", "adapter"), [(f, a) for f, a in CASES if f != "bert" and a != "head"]
)
def test_log_probabilities(build_policy, people, dpo, family, adapter):
    model = build_policy(family, adapter=adapter)
    records = people(1, users=3, each=2, options=(2,), prompts=True)
    _agree(model.layout, *_both(model, dpo, records))


@pytest.mark.parametrize("unit", [Unit.USER, Unit.RECORD])
@pytest.mark.parametrize("name", ["simpo", "orpo", "ipo", "parm", "sft", "infopo"])
def test_paired_objectives_of_a_policy(build_policy, people, name, unit):
    model = build_policy(adapter="pblora")
    records = people(2, users=3, each=2, options=(2,), prompts=True)
    objective = load(name, {}, unit=unit)
    _agree(model.layout, *_both(model, objective, records, unit))


@pytest.mark.parametrize("name", ["kto_zero", "kto_user", "kto_lagged", "bco"])
def test_unpaired_objectives_of_a_policy(build_policy, people, name):
    model = build_policy()
    records = people(2, users=3, each=2, prompts=True, thumbs=True)
    objective = load(name, {}, unit=Unit.USER)
    layout = contribution(model, objective)
    assert layout.size == model.layout.size + (name == "kto_lagged")
    _agree(layout, *_both(model, objective, records))


@pytest.mark.parametrize("unit", [Unit.USER, Unit.RECORD])
def test_a_lagged_objective_adds_one_coordinate(build, people, unit):
    """Against a second computation: weighted means of clipped means of scores."""
    model, records = build(), people(3)
    objective = load("bsr_lagged", {"bound": 0.01}, unit=unit)
    found, loop = _both(model, objective, records, unit)
    _agree(contribution(model, objective), found, loop)
    scale, expected, weights = objective.hyper["statistic_scale"], {}, {}
    for i, record in enumerate(records):
        mean = np.clip(model.scores(record.texts).mean(), -0.01, 0.01)
        key = record.user if unit is Unit.USER else i
        expected[key] = expected.get(key, 0.0) + record.weight * scale * mean
        weights[key] = weights.get(key, 0.0) + record.weight
    means = np.array(list(expected.values())) / list(weights.values())
    assert np.allclose(found[:, -1], means, rtol=1e-9, atol=0)
    assert np.abs(found[:, -1]).max() > 0
    same = unit_gradients(
        model, load("bt", {}, unit=unit), records, unit=unit
    )  # without the released mean there is nothing but bt
    moved = unit_gradients(
        model, objective, records, unit=unit, given=Given(previous=np.zeros(1))
    )
    assert np.allclose(moved[:, :-1], same, rtol=1e-9, atol=1e-12)


def test_a_statistic_of_other_records_needs_the_user_as_the_unit(build_policy, people):
    records = people(2, users=3, each=2, prompts=True, thumbs=True)
    objective = load("kto_lagged", {}, unit=Unit.USER)
    with pytest.raises(ObjectiveError, match=r'privacy\.unit = "user"'):
        _both(build_policy(), objective, records, Unit.RECORD)


def test_a_statistic_that_is_not_finite_takes_its_whole_row(build, people):
    def statistic(scores):
        return torch.where(torch.arange(len(scores)) == 4, torch.nan, 1.0)

    plain = load("bt", {}, unit=Unit.USER)
    objective = Objective("own", plain.loss, plain.needs, statistic=statistic)
    records = people(3)
    rows = unit_gradients(build(), objective, records, unit=Unit.USER)
    broken = list(dict.fromkeys(r.user for r in records)).index(records[4].user)
    assert np.isnan(rows[broken, -1])
    assert np.isfinite(np.delete(rows, broken, axis=0)).all()


@pytest.mark.parametrize("adapter", ["lora", "pblora", "residual"])
@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_gradient_checkpointing_changes_memory_alone(
    build, people, softmax, family, adapter, monkeypatch
):
    plain, records = build(family, adapter=adapter), people(4, users=3, each=2)
    expected = _both(plain, softmax, records)
    model = build(family, adapter=adapter)
    assert not model.adapted.base.checkpointing
    model.adapted.base.backbone.activation_checkpointing_enable()
    assert model.adapted.base.checkpointing
    layer = model.adapted.base.family.layers(model.adapted.base.backbone)[-1]
    runs, real = [], layer.forward
    monkeypatch.setattr(
        layer, "forward", lambda *a, **k: runs.append(1) or real(*a, **k)
    )
    one, loop = _both(model, softmax, records)
    _agree(model.layout, one, expected[0])
    _agree(model.layout, loop, expected[1])
    assert len(runs) == 2 * (1 + 3)  # one pass and three people, each there and back


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("engine", list(Engine))
def test_no_records_no_forward(build, build_policy, softmax, dpo, engine, adapter):
    for model, objective in (
        (build(adapter=adapter), softmax),
        (build_policy(adapter=adapter), dpo),
    ):
        model.graph = model.batches = None
        rows = unit_gradients(model, objective, [], unit=Unit.USER, engine=engine)
        assert rows.shape == (0, model.layout.size)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_gradients_are_finite_differences(build_policy, build, people, adapter):
    """The vector's own gradient: block scales, and the rank of rsLoRA, are in it."""
    draw, step = np.random.default_rng(0), 1e-5
    for model, objective, records in (
        (build(adapter=adapter), load("bt", {}, unit=Unit.USER), people(5, users=2)),
        (
            build_policy("gpt2", adapter=adapter),
            load("simpo", {}, unit=Unit.USER),
            people(5, users=2, options=(2,), prompts=True),
        ),
    ):
        given, at = _given(records), model.vector
        found = unit_gradients(model, objective, records, unit=Unit.USER, given=given)
        for _ in range(2):
            direction = draw.standard_normal(len(at))
            ends = []
            for sign in (1, -1):
                model.set(at + sign * step * direction)
                ends.append(_losses(model, objective, records, given))
            expected = (ends[0] - ends[1]) / (2 * step)
            assert np.allclose(found @ direction, expected, rtol=1e-5, atol=1e-7)


def _losses(model, objective, records, given):
    """Each person's loss, from values alone."""
    from fedpref.models.folding import fold
    from fedpref.models.losses import record_losses

    rows = given.preference.tolist()
    items = [model.items(r, tuple(w)) for r, w in zip(records, rows, strict=True)]
    folding = fold(records, Unit.USER, given, items)
    values = torch.from_numpy(model.values(folding.texts))
    known = {}
    if "lengths" in objective.needs:
        known["lengths"] = model.known("lengths", folding.texts)
    each = record_losses(objective, folding, values, known).numpy()
    return np.bincount(folding.unit, each)


@pytest.mark.parametrize("adapter", ["lora", "pblora", "output"])
def test_a_poisoned_person_changes_no_bit_of_another_row(build, people, dpo, adapter):
    """Also where rows of one batch have weights of their own."""
    model, records = build("gpt2", adapter=adapter), people(6)
    objective = load("bt", {}, unit=Unit.USER)
    given = _given(records)
    clean = unit_gradients(model, objective, records, unit=Unit.USER, given=given)
    poisoned = _given(records)
    victims = [i for i, r in enumerate(records) if r.user == "user 2"]
    poisoned.preference[victims] = np.nan
    found = unit_gradients(model, objective, records, unit=Unit.USER, given=poisoned)
    order = list(dict.fromkeys(r.user for r in records))
    others = [i for i, user in enumerate(order) if user != "user 2"]
    if adapter == "pblora":
        assert np.isnan(found[order.index("user 2")]).all()
        assert np.allclose(found[others], clean[others], rtol=1e-9)
    else:
        assert np.array_equal(found, clean)


def test_preferences_that_do_not_fit_are_refused(build, people, softmax):
    records = people(6)
    for shape, message in (((3, 2), "one a record"), ((len(records), 3), "must be 2")):
        with pytest.raises(InputError, match=message):
            unit_gradients(
                build(adapter="pblora"),
                softmax,
                records,
                unit=Unit.USER,
                given=Given(preference=np.full(shape, 0.5)),
            )


@pytest.mark.parametrize("adapter", ["pblora", "output", "residual"])
def test_copies_are_gone_outside(build, catalogue, adapter):
    model = build(adapter=adapter)
    (batch,) = model.batches(catalogue)
    layers = [m for m in model.adapted.module.modules() if isinstance(m, tape.RowWise)]
    assert layers
    with tape.recording(model.adapted.module, model.trainable, len(catalogue)):
        inside = model.batch_features(batch).detach()
        assert all("forward" in vars(layer) for layer in layers)
    assert not any("forward" in vars(layer) for layer in layers)
    assert (model.batch_features(batch).detach() - inside).abs().max() < 1e-12
    with (
        pytest.raises(InputError, match=r"first dimension of 24, must be .* rows 7"),
        tape.recording(model.adapted.module, model.trainable, 7),
    ):
        model.batch_features(batch)
