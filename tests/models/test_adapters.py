"""Where the adapter goes, and where it starts."""

import numpy as np
import pytest

from fedpref.errors import InputError
from fedpref.models.adapters import Adapter, adapt, start


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
