"""Scores against a forward written out by hand."""

import numpy as np
import pytest
import torch

from fedpref.errors import InputError
from fedpref.models import bases
from fedpref.models.features import fit_features
from fedpref.models.reward import RewardModel, embed, public_features

FAMILIES = ("bert", "llama")


def _by_hand(model, texts):
    """peft's own whole forward a text, pooled, whitened, times the head."""
    backbone = model.adapted.peft.base_model.model
    out = []
    for text in texts:
        encoded = model.base.tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            states = backbone(
                input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
            ).last_hidden_state[0]
        encoder = type(backbone).__name__ == "BertModel"
        pooled = (states.mean(0) if encoder else states[-1]).double().numpy()
        features = model.features_map
        out.append(
            float((pooled - features.mean) @ features.whitening @ model.head.numpy())
        )
    return np.array(out)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_pefts_own_forward(build, catalogue, family):
    model = build(family)
    assert np.abs(model.scores(catalogue) - _by_hand(model, catalogue)).max() < 1e-6
    frozen = build(family, adapter=None)
    frozen.set(model.vector[-6:])
    moved = np.abs(model.scores(catalogue) - frozen.scores(catalogue))
    assert moved.max() > 1e-2  # the adapter takes part


@pytest.mark.parametrize("adapter", ["usual", None])
def test_every_score_is_zero_at_the_start(build, catalogue, adapter):
    model = build(adapter=adapter, moved=False)
    assert not model.initial().any()
    assert not model.scores(catalogue).any()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_starts_where_the_frozen_encoder_is(build, catalogue, family):
    with_adapter, without = (
        build(family, adapter=adapter, moved=False) for adapter in ("usual", None)
    )
    difference = with_adapter.features(catalogue) - without.features(catalogue)
    assert np.abs(difference).max() < 1e-5
    expected = with_adapter.features_map(embed(without.base, catalogue))
    assert np.abs(without.features(catalogue) - expected).max() < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapter", ["usual", None])
def test_a_score_depends_on_its_own_text_alone(build, catalogue, family, adapter):
    together = build(family, adapter=adapter).scores(catalogue)
    for i in range(0, len(catalogue), 5):
        alone = build(family, adapter=adapter).scores([catalogue[i]])
        assert alone[0] == pytest.approx(together[i], rel=1e-5, abs=1e-7)


def test_order_and_repetition_of_texts_do_not_matter(build, catalogue):
    model = build()
    whole = model.scores(catalogue)
    places = [5, 0, 23, 5, 7]
    some = model.scores([catalogue[i] for i in places])
    assert np.allclose(some, whole[places], rtol=1e-12, atol=0)
    assert model.scores([]).shape == (0,)
    assert build(adapter=None).scores([]).shape == (0,)


def test_frozen_layers_run_once_for_each_text(build, catalogue, monkeypatch):
    seen = []
    real = bases.lower

    def counted(base, ids, depth):
        seen.append(len(ids))
        return real(base, ids, depth)

    monkeypatch.setattr(bases, "lower", counted)
    for model in (build(moved=False), build(adapter=None, moved=False)):
        seen.clear()
        for _ in range(3):
            model.scores(catalogue[:10])
            model.scores(catalogue)
        assert sum(seen) == len(catalogue)


def test_a_parameter_is_start_plus_scale_times_vector(build):
    model = build()
    assert {block.scale for block in model.layout.blocks[:-1]} == {0.5}
    assert model.layout.blocks[-1].scale == 1.0
    parts = model.layout.split(model.vector)
    for name, parameter in model.trainable:
        expected = model.start[name] + 0.5 * parts[name]
        assert np.array_equal(parameter.detach().numpy(), expected)
    assert np.array_equal(model.head.numpy(), parts["head"])


def test_the_vector_is_a_copy_both_ways(build):
    model = build()
    given = model.vector
    model.set(given)
    before = model.vector
    given += 1.0
    model.vector[:] = 7.0
    assert np.array_equal(model.vector, before)
    assert np.array_equal(model.head.numpy(), before[-6:])


def test_two_models_on_one_base_do_not_disturb_each_other(tiny, catalogue):
    from fedpref.models.adapters import Adapter

    base = tiny("bert")
    features = public_features(base, catalogue, 6)
    frozen = RewardModel(base, features)
    frozen.set(np.arange(6.0))
    before = frozen.scores(catalogue)
    adapted = RewardModel(base, features, Adapter(2, ("query",), scale=1.0))
    adapted.set(np.ones(adapted.layout.size))
    assert np.abs(adapted.scores(catalogue) - before).max() > 1e-3
    again = RewardModel(base, features)
    again.set(np.arange(6.0))
    assert np.array_equal(again.scores(catalogue), before)


def test_wrong_sizes_are_refused(build, tiny):
    model = build()
    with pytest.raises(InputError, match=r"must be \(\d+,\)"):
        model.set(np.zeros(3))
    with pytest.raises(InputError, match="features are for width 4"):
        RewardModel(tiny("bert"), fit_features(np.eye(4), 2))
    start = dict(model.start) | {"head": np.zeros(5)}
    with pytest.raises(InputError, match=r"start of head has shape \(5,\)"):
        RewardModel(model.base, model.features_map, model.adapter, start)


def test_public_features_count_distinct_texts(tiny, catalogue):
    base = tiny("bert")
    once = public_features(base, catalogue, 6)
    twice = public_features(base, [*catalogue, *catalogue[:7]], 6)
    assert np.array_equal(once.whitening, twice.whitening)
    with pytest.raises(InputError, match="catalogue is empty"):
        public_features(base, [], 6)
