"""Where the adapter goes, and where it starts."""

import numpy as np
import pytest
import torch

from fedpref.errors import InputError
from fedpref.models.adapters import Adapter, adapt, start

ADAPTERS = ("lora", "ffa", "pblora", "pblora_all", "output", "residual", "head")


def _names(base, **settings):
    return [name for name, _ in adapt(base, Adapter(2, **settings)).parameters]


def test_only_chosen_layers_and_targets_are_trained(tiny):
    base = tiny("bert")
    assert _names(base, targets=("query",), layers="last:1") == [
        "encoder.layer.2.attention.self.query.lora_A.weight",
        "encoder.layer.2.attention.self.query.lora_B.weight",
    ]
    everywhere = _names(base, targets=("query", "value"), layers="all")
    assert len(everywhere) == 3 * 2 * 2
    assert _names(base, targets=("query", "value"), layers="last:3") == everywhere
    assert not any("lora" in name for name, _ in base.backbone.named_modules())


def test_a_pooler_behind_the_encoder_gets_no_adapter(tiny):
    base = tiny("bert")
    assert base.backbone.pooler is not None
    names = _names(base, targets=("dense",), layers="all")
    assert len(names) == 3 * 3 * 2
    assert not any("pooler" in name for name in names)


def test_start_is_uniform_for_a_zero_for_b_and_follows_the_seed(tiny):
    adapted = adapt(tiny("llama"), Adapter(4, ("q_proj", "down_proj"), "all"))
    values = start(adapted.parameters, 7)
    for name, parameter in adapted.parameters:
        value = values[name]
        assert value.shape == tuple(parameter.shape)
        if "lora_B" in name:
            assert not value.any()
        else:
            bound = value.shape[1] ** -0.5
            assert 0.8 * bound < np.abs(value).max() <= bound
            assert value.std() == pytest.approx(bound / np.sqrt(3), rel=0.2)
    again, other = start(adapted.parameters, 7), start(adapted.parameters, 8)
    assert all(np.array_equal(values[k], again[k]) for k in values)
    assert any(not np.array_equal(values[k], other[k]) for k in values)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, r"adapter\.r = 0"),
        ({"targets": ()}, "targets is empty"),
        ({"scale": 0.0}, "scale = 0.0"),
        ({"scale": float("nan")}, "scale = nan"),
        ({"alpha": -1.0}, "alpha = -1.0"),
        ({"layers": "last:0"}, "layers = 'last:0'"),
        ({"layers": "top"}, "layers = 'top'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        Adapter(**({"rank": 2, "targets": ("query",)} | settings))


def test_settings_that_the_encoder_cannot_meet(tiny):
    base = tiny("bert")
    with pytest.raises(InputError, match='has 3 layers; set "last:3"'):
        adapt(base, Adapter(2, ("query",), "last:4"))
    with pytest.raises(InputError, match="'q_proj'; it has dense, key, query, value"):
        adapt(base, Adapter(2, ("query", "q_proj")))


def test_alpha_stays_pefts(tiny):
    scaling = []
    for alpha in (None, 8.0):
        adapted = adapt(tiny("bert"), Adapter(4, ("query",), alpha=alpha))
        scaling += [
            module.scaling["default"]
            for module in adapted.peft.modules()
            if hasattr(module, "scaling") and hasattr(module, "lora_A")
        ]
    assert scaling == [2.0, 2.0]


def test_rslora_divides_by_the_root_of_the_rank(tiny):
    def scale(**settings):
        adapted = adapt(tiny("bert"), Adapter(targets=("query",), **settings))
        (layer,) = (m for m in adapted.peft.modules() if hasattr(m, "lora_A"))
        return layer.scaling["default"]

    assert scale(rank=16, rslora=True) == pytest.approx(8 / 4)
    assert scale(rank=16, rslora=True, alpha=2.0) == pytest.approx(2 / 4)
    assert scale(rank=16, alpha=2.0) == pytest.approx(2 / 16)


def test_a_frozen_a_is_the_one_that_would_have_been_trained(tiny):
    free, fixed = (
        adapt(tiny("gpt2"), Adapter(4, ("c_attn", "c_proj"), "all", freeze_a=freeze))
        for freeze in (False, True)
    )
    assert all("lora_B" in name for name, _ in fixed.parameters)
    assert len(fixed.parameters) == len(fixed.frozen) == len(free.parameters) // 2
    for name, parameter in fixed.frozen:
        assert not parameter.requires_grad
        assert np.array_equal(parameter.numpy(), free.start[name])
    assert set(fixed.start) == {name for name, _ in fixed.parameters}


def test_with_a_frozen_averaging_is_exact(tiny):
    """FFA-LoRA: the product is linear in B; with A trained too it is not."""
    gaps = []
    for freeze in (True, False):
        adapted = adapt(tiny("llama"), Adapter(2, ("q_proj",), freeze_a=freeze))
        layer = next(m for m in adapted.peft.modules() if hasattr(m, "lora_A"))
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        draw = np.random.default_rng(0)
        products, values = [], []
        for _ in range(2):
            values.append(
                [torch.from_numpy(draw.standard_normal(p.shape)) for p in (down, up)]
            )
            if freeze:
                values[-1][0] = down.detach()
            products.append(values[-1][1] @ values[-1][0])
        mean = [(a + b) / 2 for a, b in zip(*values, strict=True)]
        gaps.append(float(((products[0] + products[1]) / 2 - mean[1] @ mean[0]).norm()))
    assert gaps[0] < 1e-12 < 1e-2 < gaps[1]


def test_gpt2s_layers_are_adapted_as_linear_ones(tiny):
    from fedpref.models.placement import is_linear, widths

    base = tiny("gpt2")
    layer = base.family.layers(base.backbone)[0]
    assert is_linear(layer.mlp.c_fc)
    assert widths(layer.mlp.c_fc) == (32, 48)
    assert not is_linear(layer.ln_1)
    shapes = {
        name.rpartition(".mlp.")[2]: tuple(parameter.shape)
        for name, parameter in adapt(base, Adapter(2, ("c_fc",))).parameters
    }
    assert shapes == {"c_fc.lora_A.weight": (2, 32), "c_fc.lora_B.weight": (48, 2)}


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_base_stays_as_it_is(tiny, adapter_of, name):
    base = tiny("bert")
    before = {key: value.clone() for key, value in base.backbone.state_dict().items()}
    adapted = adapt(base, adapter_of("bert", name))
    with torch.no_grad():
        for _, parameter in adapted.parameters:
            parameter.add_(1.0)
    after = base.backbone.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert list(adapted.start) == [name for name, _ in adapted.parameters]
