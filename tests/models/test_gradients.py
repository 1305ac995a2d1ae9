"""Unit gradients: four oracles, row independence, sensitivity, the start-up test."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.core.types import Objective, Record, Unit
from fedpref.errors import FedprefError, InputError, ObjectiveError
from fedpref.models import jacobians, padding, tape
from fedpref.models.folding import fold
from fedpref.models.gradients import Engine, unit_gradients
from fedpref.models.jacobians import SharedJacobian, jacobian
from fedpref.models.losses import record_losses
from fedpref.models.reward import RewardModel
from fedpref.models.self_test import self_test

FAMILIES = ("bert", "llama")
TYPES = {torch.float64: 1e-6, torch.float32: 1e-5}


def _distance(found, expected):
    """Largest relative distance of a row."""
    lengths = np.linalg.norm(expected, axis=1)
    assert (lengths > 0).all()
    return float((np.linalg.norm(found - expected, axis=1) / lengths).max())


@pytest.mark.parametrize("unit", [Unit.USER, Unit.RECORD])
@pytest.mark.parametrize("dtype", list(TYPES), ids=["float64", "float32"])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_equals_the_loop(build, people, objective, family, dtype, unit):
    model, records = build(family, dtype), people(1)
    if unit is Unit.RECORD and "group" in objective.needs:
        with pytest.raises(ObjectiveError, match="couples the records"):
            unit_gradients(model, objective, records, unit=unit)
        return
    one, loop = (
        unit_gradients(model, objective, records, unit=unit, engine=engine)
        for engine in Engine
    )
    assert one.dtype == loop.dtype == np.float64
    assert one.shape == (5 if unit is Unit.USER else 15, model.layout.size)
    assert _distance(one, loop) <= TYPES[dtype]
    for block, part in model.layout.parts():  # no block hides behind a larger one
        own = np.abs(loop[:, part]).max()
        assert np.abs(one[:, part] - loop[:, part]).max() <= 10 * TYPES[dtype] * own
        assert own > 0, block.name


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("adapter", ["usual", None])
def test_gradients_are_finite_differences_of_the_loss(
    build, people, objective, adapter, engine
):
    """The vector's own gradient: block scales are in it."""
    model, records = build("bert", adapter=adapter), people(2, users=2)
    found = unit_gradients(model, objective, records, unit=Unit.USER, engine=engine)
    at, draw, step = model.vector, np.random.default_rng(0), 1e-5
    folding = fold(records, Unit.USER)

    def losses(vector):
        model.set(vector)
        scores = torch.from_numpy(model.scores(folding.texts))
        each = record_losses(objective, folding, scores).numpy()
        return np.bincount(folding.unit, each)

    for _ in range(4):
        direction = draw.standard_normal(len(at))
        ends = losses(at + step * direction) - losses(at - step * direction)
        assert np.allclose(found @ direction, ends / (2 * step), rtol=1e-6, atol=1e-8)


@contextmanager
def _opacus(model):
    """Opacus' hooks on the adapter's layers, and off again."""
    from opacus.grad_sample import GradSampleModule

    wrapped = GradSampleModule(model.adapted.peft, strict=False, loss_reduction="sum")
    try:
        for name, module in wrapped.named_modules():
            if "lora_A." in name or "lora_B." in name:
                module.train()  # Opacus records nothing in evaluation mode
        yield
    finally:
        wrapped.remove_hooks()
        for _, parameter in model.trainable:
            parameter.grad = parameter.grad_sample = None


def _backward_of_rows(model, records, objective):
    """Every option of every record as a row of its own; the order of the rows."""
    texts = [text for record in records for text in record.texts]
    starts = np.cumsum([0, *(len(r.options) for r in records)])
    folding = fold(records, Unit.RECORD)
    places = starts[:-1, None] + np.arange(folding.index.shape[1])
    direct = replace(folding, index=np.where(folding.index < 0, -1, places))
    (batch,) = model.batches(texts)
    order = np.argsort(batch.positions)
    features = model.batch_features(batch)[order]
    record_losses(objective, direct, features @ model.head).sum().backward()
    return order


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("family", FAMILIES)
def test_opacus_folded_by_unit_agrees(build, people, objective, family):
    model, records = build(family), people(3)
    with _opacus(model):
        order = _backward_of_rows(model, records, objective)
        rows = [p.grad_sample.flatten(1)[order] for _, p in model.trainable]
    adapter = torch.cat(rows, 1).numpy() * model.layout.scales[: -len(model.head)]
    owner = np.repeat(np.arange(len(records)), [len(r.options) for r in records])
    folding = fold(records, Unit.USER)
    folded = np.zeros((folding.units, adapter.shape[1]))
    np.add.at(folded, folding.unit[owner], adapter)
    found = unit_gradients(model, objective, records, unit=Unit.USER)
    assert _distance(found[:, : adapter.shape[1]], folded) < 1e-6


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_stock_clipping_of_rows_lets_a_pair_count_up_to_twice(
    build, catalogue, softmax
):
    """The defect that folding is for: Opacus' optimizer clips each row of a pair.

    Two texts whose scores pull the adapter in opposite directions show it best.
    """
    from opacus.optimizers import DPOptimizer

    model, clip = build("bert"), 1e-4
    directions = jacobian(model, catalogue)[1][:, : -len(model.head)]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    i, j = np.unravel_index((directions @ directions.T).argmin(), (24, 24))
    pair = Record("one", "", (catalogue[i], catalogue[j]), choice=0)
    with _opacus(model):
        stock = DPOptimizer(
            torch.optim.SGD([p for _, p in model.trainable], lr=1.0),
            noise_multiplier=0.0,
            max_grad_norm=clip,
            expected_batch_size=1,
            loss_reduction="sum",
        )
        _backward_of_rows(model, [pair], softmax)
        stock.clip_and_accumulate()
        summed = torch.cat([p.summed_grad.flatten() for _, p in model.trainable])
    assert 1.2 < float(summed.norm()) / clip <= 2 * (1 + 1e-9)
    own = unit_gradients(model, softmax, [pair], unit=Unit.RECORD)
    assert np.linalg.norm(own) > clip
    assert np.linalg.norm(_clipped(own, clip)) <= clip * (1 + 1e-9)


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_poisoned_unit_changes_no_other_row(build, people, objective, family, engine):
    model, records = build(family), people(5)
    victim = records[4].user
    clean = unit_gradients(model, objective, records, unit=Unit.USER, engine=engine)
    poisoned = [
        replace(r, weight=float("nan")) if i == 4 else r for i, r in enumerate(records)
    ]
    found = unit_gradients(model, objective, poisoned, unit=Unit.USER, engine=engine)
    order = list(dict.fromkeys(r.user for r in records))
    for i, user in enumerate(order):
        if user == victim:
            assert np.isnan(found[i]).all()
        else:
            assert np.array_equal(found[i], clean[i])


@pytest.mark.parametrize("engine", list(Engine))
def test_a_loss_that_is_not_finite_is_a_row_of_nan(build, catalogue, softmax, engine):
    """Whatever its gradient: what cannot be valued is not sent."""

    def broken(*, scores, choice):
        loss = softmax.loss(scores=scores, choice=choice)
        return loss + torch.where(choice == 1, torch.inf, 0.0)

    objective = Objective("broken", broken, softmax.needs)
    records = [Record(f"u{i}", "", catalogue[:2], choice=i) for i in (0, 1)]
    rows = unit_gradients(build(), objective, records, unit=Unit.USER, engine=engine)
    assert np.isfinite(rows[0]).all()
    assert np.isnan(rows[1]).all()


def test_another_units_answers_change_no_bit_of_a_row(build, people, objective):
    model, records = build(), people(6)
    changed = [
        replace(r, choice=(r.choice + 1) % len(r.options), weight=3.0)
        if r.user == "user 2"
        else r
        for r in records
    ]
    before, after = (
        unit_gradients(model, objective, rs, unit=Unit.USER)
        for rs in (records, changed)
    )
    order = list(dict.fromkeys(r.user for r in records))
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert same == [user != "user 2" for user in order]


def test_a_text_that_overflows_stays_with_those_who_named_it(build, people, softmax):
    model, records = build(), people(7)
    own = fold(records, Unit.USER)
    scores, rows = jacobian(model, own.texts)
    lonely = int(np.flatnonzero(own.touched.sum(0) == 1)[0])
    rows[lonely, 0] = np.inf
    found = unit_gradients(
        model,
        softmax,
        records,
        unit=Unit.USER,
        jacobian=lambda texts: (scores, rows),
    )
    hit = own.touched[:, lonely]
    assert hit.sum() == 1
    assert np.isnan(found[hit]).all()
    assert np.isfinite(found[~hit]).all()


def _clipped(rows, clip):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * np.minimum(1, clip / np.maximum(lengths, 1e-300))).sum(0)


@pytest.mark.parametrize("engine", list(Engine))
@settings(max_examples=2, deadline=None)  # contracts/test_sensitivity.py has the rest
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(0.01, 2.0))
def test_neighbours_clipped_sums_differ_by_at_most_the_clip(
    build, people, every_objective, engine, seed, factor
):
    """One person's contribution becomes nothing: rows recomputed without them."""
    model, records = build(), people(seed, users=4)
    without = [r for r in records if r.user != "user 1"]
    for objective in every_objective:
        sums, clip = [], None
        for data in (records, without):
            rows = unit_gradients(model, objective, data, unit=Unit.USER, engine=engine)
            clip = clip or factor * float(np.median(np.linalg.norm(rows, axis=1)))
            sums.append(_clipped(rows, clip))
        assert np.linalg.norm(sums[0] - sums[1]) <= clip * (1 + 1e-9)


def test_clipping_records_of_a_person_instead_breaks_the_bound(build, people, softmax):
    """The property above notices a wrong fold: rows that are records, not people."""
    model = build()
    same = people(8, users=1, each=1)[0]
    records = [*people(8, users=3), *(replace(same, user="user 9") for _ in range(5))]
    without = [r for r in records if r.user != "user 9"]
    worst = {}
    for unit in (Unit.USER, Unit.RECORD):
        rows = unit_gradients(model, softmax, records, unit=unit)
        clip = 0.5 * float(np.linalg.norm(rows, axis=1).min())
        rest = unit_gradients(model, softmax, without, unit=unit)
        moved = _clipped(rows, clip) - _clipped(rest, clip)
        worst[unit] = np.linalg.norm(moved) / clip
    assert worst[Unit.USER] <= 1 + 1e-9
    assert worst[Unit.RECORD] == pytest.approx(5)


@pytest.mark.parametrize("adapter", ["usual", None])
def test_a_shared_catalogue_gives_each_client_its_own_rows(
    build, people, catalogue, objective, adapter
):
    model = build(adapter=adapter)
    shared = SharedJacobian(model, catalogue)
    for _ in range(2):
        for user in range(5):
            records = [r for r in people(9) if r.user == f"user {user}"]
            own, looked_up = (
                unit_gradients(model, objective, records, unit=Unit.USER, jacobian=j)
                for j in (None, shared)
            )
            assert _distance(looked_up, own) < 1e-9
        model.set(model.vector * 0.5 + 0.01)  # the next round


def test_a_shared_catalogue_runs_once_a_vector(build, people, catalogue, monkeypatch):
    model, calls = build(), []
    real = jacobians.jacobian
    monkeypatch.setattr(jacobians, "jacobian", lambda *a: calls.append(1) or real(*a))
    shared = SharedJacobian(model, catalogue)
    for vector in (model.vector, model.vector * 2, model.vector * 2):
        model.set(vector)
        for seed in range(3):
            texts = fold(people(seed), Unit.USER).texts
            shared(texts)
    assert len(calls) == 2
    with pytest.raises(InputError, match="outside the public catalogue = 1") as error:
        shared(["w1 w1 w1", catalogue[0]])
    assert "w1" not in str(error.value)


@pytest.mark.parametrize("engine", list(Engine))
def test_no_records_no_forward(build, softmax, engine, monkeypatch):
    model = build()
    monkeypatch.setattr(model, "feature_graph", None)
    monkeypatch.setattr(model, "batches", None)
    rows = unit_gradients(model, softmax, [], unit=Unit.USER, engine=engine)
    assert rows.shape == (0, model.layout.size)


def test_many_texts_run_in_several_batches(build, catalogue, monkeypatch):
    model = build()
    scores, rows = jacobian(model, catalogue)
    small, limit = RewardModel.batches, padding.batches

    def split(self, texts):
        monkeypatch.setattr(padding, "batches", lambda lengths: limit(lengths, 24))
        found = list(small(self, texts))
        monkeypatch.setattr(padding, "batches", limit)
        assert len(found) > 5
        return iter(found)

    monkeypatch.setattr(RewardModel, "batches", split)
    again = jacobian(model, catalogue)
    assert np.allclose(again[0], scores, rtol=1e-9, atol=1e-12)
    assert _distance(again[1], rows) < 1e-9
    assert np.allclose(scores, model.scores(catalogue), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_self_test_passes_and_puts_the_vector_back(build, catalogue, objective, family):
    model = build(family, torch.float32)
    before = model.vector
    assert 0 <= self_test(model, objective, catalogue) < 1e-5
    assert np.array_equal(model.vector, before)


def test_self_test_sees_a_wrong_tape(build, catalogue, softmax, monkeypatch):
    model = build("bert", torch.float32)
    before = model.vector
    right = tape._per_row
    for wrong in (
        lambda g, x: right(g, x).flip(0),  # rows of other texts
        lambda g, x: right(g, x) * 1.001,
        lambda g, x: torch.full_like(right(g, x), float("nan")),
    ):
        monkeypatch.setattr(tape, "_per_row", wrong)
        with pytest.raises(FedprefError, match="relative difference"):
            self_test(model, softmax, catalogue)
        assert np.array_equal(model.vector, before)


def test_messages_name_no_private_value(build, softmax):
    record = Record("secret person", "", ("w1 w2",), label=True)
    with pytest.raises(InputError) as error:
        unit_gradients(build(), softmax, [record], unit=Unit.USER)
    assert not {"secret", "w1"} & set(str(error.value).split())


def test_an_objective_for_policies_is_refused(build, people):
    policy = Objective("dpo", lambda: None, frozenset({"policy"}))
    with pytest.raises(ObjectiveError, match="asks for policy"):
        unit_gradients(build(), policy, people(), unit=Unit.USER)
