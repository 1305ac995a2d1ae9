"""PBLoRA against the product that it never forms."""

import numpy as np
import pytest
import torch

from fedpref.core.types import Unit
from fedpref.errors import InputError
from fedpref.models.adapters import adapt
from fedpref.models.folding import Given
from fedpref.models.gradients import unit_gradients
from fedpref.models.items import Item, preferences_of, public_preferences
from fedpref.models.pblora import PBLinear, PBLoRA
from fedpref.objectives import load


def _layers(model):
    return [m for m in model.adapted.module.modules() if isinstance(m, PBLinear)]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_layer_is_the_base_plus_the_whole_product(build, family):
    model = build(family, adapter="pblora_all")
    layer = _layers(model)[0]
    draw = np.random.default_rng(0)
    width = layer.pblora_A.shape[1]
    x = torch.from_numpy(draw.standard_normal((3, 5, width)))
    alpha = torch.from_numpy(public_preferences(3, 2, concentration=0.5, seed=1))
    with torch.no_grad(), layer._preference.of(alpha):
        found = layer(x)
        for i in range(3):
            middle = torch.zeros(5, 5, dtype=torch.float64)
            middle[:2, :2] = layer.pblora_W1
            middle[2:, 2:] = (
                alpha[i, 0] * layer.pblora_W2[0] + alpha[i, 1] * layer.pblora_W2[1]
            )
            update = 2.0 * layer.pblora_B @ middle @ layer.pblora_A
            expected = layer.base_layer(x[i : i + 1]) + x[i : i + 1] @ update.T
            assert (found[i] - expected[0]).abs().max() < 1e-12
        same = layer(x[:1].repeat(3, 1, 1))  # one text under three preferences
        assert (same[0] - same[1]).abs().max() > 1e-6


def test_a_layer_has_48_numbers_for_rank_4_and_two_objectives(tiny):
    settings = PBLoRA(("q_proj", "v_proj"), objectives=2, layers="last:2")
    adapted = adapt(tiny("llama"), settings)
    sizes = {}
    for name, parameter in adapted.parameters:
        layer = name.rpartition(".")[0]
        sizes[layer] = sizes.get(layer, 0) + parameter.numel()
    assert list(sizes.values()) == [48] * 4
    assert settings.middle_numbers == 48


@pytest.mark.parametrize("adapter", ["pblora", "pblora_all"])
def test_it_starts_where_the_frozen_base_is_for_every_preference(
    build, catalogue, adapter
):
    model = build("llama", adapter=adapter, moved=False)
    frozen = build("llama", adapter=None, moved=False)
    for weights in ((), (0.9, 0.1), (0.0, 1.0)):
        items = [Item("", text, weights) for text in catalogue]
        apart = np.abs(model.features(items) - frozen.features(catalogue)).max()
        assert apart < 1e-5
    zero = {n.rpartition("_")[2] for n, v in model.start.items() if not v.any()}
    assert zero - {"head"} == ({"W1", "W2"} if adapter == "pblora" else {"B"})


def test_the_first_gradient_of_the_middle_is_not_zero(build, people):
    """With W = 0, but A and B not, W can move; with B = 0 B alone can."""
    for adapter, moving in (("pblora", {"W1", "W2"}), ("pblora_all", {"B"})):
        model = build("llama", adapter=adapter, moved=False)
        vector = model.initial()
        vector[-6:] = 1.0  # a head, or nothing reaches the adapter
        model.set(vector)
        bt = load("bt", {}, unit=Unit.USER)
        rows = unit_gradients(model, bt, people(0), unit=Unit.USER)
        found = set()
        for block, part in model.layout.parts():
            if block.name != "head" and np.abs(rows[:, part]).max() > 1e-9:
                found.add(block.name.rpartition("_")[2])
        assert found == moving


def test_averaging_vectors_is_averaging_updates_where_the_middle_alone_is_trained(
    build,
):
    """Of three trained factors the product of means is another matrix."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4, 32)))
    gaps = {}
    for adapter in ("pblora", "pblora_all"):
        model = build("llama", adapter=adapter)
        draw = np.random.default_rng(1)
        vectors = draw.standard_normal((2, model.layout.size))
        out = []
        for vector in (*vectors, vectors.mean(axis=0)):
            model.set(vector)
            with torch.no_grad():
                out.append(_layers(model)[0](x))
        gaps[adapter] = float(((out[0] + out[1]) / 2 - out[2]).abs().max())
    assert gaps["pblora"] < 1e-12
    assert gaps["pblora_all"] > 1e-2


def test_the_start_follows_the_public_seed(tiny):
    made = [
        adapt(tiny("gpt2"), PBLoRA(("c_attn",), 2, train="all", seed=seed))
        for seed in (1, 1, 2)
    ]
    first, again, other = (adapted.start for adapted in made)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)
    (name,) = (n for n in first if n.endswith("pblora_A"))
    assert np.abs(first[name]).max() <= 32**-0.5


def test_records_get_their_own_preference(build, people):
    """A record's row is the same alone, whatever the others' preferences are."""
    model, records = build("llama", adapter="pblora"), people(3)
    weights = public_preferences(len(records), 2, concentration=0.5, seed=9)
    bt = load("bt", {}, unit=Unit.RECORD)

    def rows(some, given):
        return unit_gradients(
            model, bt, some, unit=Unit.RECORD, given=Given(preference=given)
        )

    whole = rows(records, weights)
    for i in (0, 7, 14):
        alone = rows(records[i : i + 1], weights[i : i + 1])
        assert np.allclose(alone[0], whole[i], rtol=1e-6, atol=1e-12)
    alike = rows(records, np.full_like(weights, 0.5))
    assert np.abs(alike - whole).max() > 1e-4 * np.abs(whole).max()
    without = unit_gradients(model, bt, records, unit=Unit.RECORD)
    assert np.allclose(without, alike, rtol=1e-9, atol=1e-15)


def test_preferences_do_not_leak_out_of_a_forward(build, catalogue):
    model = build("llama", adapter="pblora")
    before = model.scores(catalogue)
    model.scores([Item("", text, (1.0, 0.0)) for text in catalogue])
    assert np.array_equal(model.scores(catalogue), before)
    assert preferences_of(["text"], 0) is None
    (batch,) = model.batches(catalogue)
    with pytest.raises(InputError, match="preferences = 5, must be one a row: 24"):
        model.adapted.top(batch.hidden, batch.mask, batch.preference[:5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ()}, "targets is empty"),
        ({"objectives": 0}, "objectives = 0"),
        ({"shared": 0}, "shared = 0"),
        ({"preferred": 0}, "preferred = 0"),
        ({"train": "some"}, "train = 'some'"),
        ({"alpha": 0.0}, "alpha = 0.0"),
        ({"scale": -1.0}, "scale = -1.0"),
        ({"layers": "top"}, "layers = 'top'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        PBLoRA(**({"targets": ("q_proj",), "objectives": 2} | settings))


def test_a_target_that_the_base_lacks(tiny):
    with pytest.raises(InputError, match="no linear layer 'query'; it has c_attn"):
        adapt(tiny("gpt2"), PBLoRA(("query",), 2))
