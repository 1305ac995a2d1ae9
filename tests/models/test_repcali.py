"""RepCali against torch's own layer norm."""

import numpy as np
import pytest
import torch
from torch.nn.functional import layer_norm

from fedpref.errors import InputError
from fedpref.models import bases
from fedpref.models.adapters import adapt
from fedpref.models.padding import pad
from fedpref.models.repcali import Calibration, RepCali


def _filled(settings, width=6):
    layer = Calibration(width, settings).double()
    draw = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.from_numpy(draw.standard_normal(width)))
    return layer, torch.from_numpy(draw.standard_normal((2, 3, width)))


def test_bare_it_is_the_layer_norm_of_the_moved_state():
    layer, x = _filled(RepCali(strength=0.7, restore=False))
    moved = x + 0.7 * layer.repcali_offset
    expected = layer_norm(moved, (6,), layer.repcali_gain, layer.repcali_bias)
    assert (layer(x) - expected).abs().max() < 1e-12


def test_restored_it_has_the_mean_and_spread_that_the_state_had():
    layer, x = _filled(RepCali(strength=0.7))
    bare, _ = _filled(RepCali(strength=0.7, restore=False))
    spread = (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    expected = x.mean(-1, keepdim=True) + spread * bare(x)
    assert (layer(x) - expected).abs().max() < 1e-12


def test_gradients_of_a_row_against_torchs_own_layer_norm(build, catalogue):
    """Offset, gain and bias of each row by autograd through ``layer_norm``."""
    from fedpref.models.jacobians import jacobian

    model = build("bert", adapter="bare")
    values, rows = jacobian(model, catalogue)
    hidden, mask = pad(
        bases.lower(model.base, bases.tokenize(model.base, catalogue), 3)
    )
    parts = [p.detach().clone().requires_grad_() for _, p in model.trainable]
    moved = hidden + parts[0]
    top = layer_norm(moved, (32,), parts[1], parts[2])
    pooled = bases.pool(model.base, top, mask)
    scores = model._whiten(pooled) @ model.head
    assert np.abs(scores.detach().numpy() - values).max() < 1e-12
    for i in (0, 5, 23):
        own = torch.autograd.grad(scores[i], parts, retain_graph=True)
        expected = 0.5 * torch.cat(own).numpy()
        assert np.allclose(rows[i, :96], expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("place", ["output", "residual", "head"])
def test_it_starts_where_the_frozen_base_is(build, catalogue, family, place):
    model = build(family, adapter=place, moved=False)
    frozen = build(family, adapter=None, moved=False)
    apart = np.abs(model.features(catalogue) - frozen.features(catalogue)).max()
    assert apart < 1e-5
    assert [block.size for block in model.layout.blocks] == [32, 32, 32, 6]


def test_each_place_is_another_model_and_moves_scores(build, catalogue):
    scores = [
        build("gpt2", adapter=a).scores(catalogue) for a in ("output", "residual")
    ]
    scores.append(build("gpt2", adapter="head").scores(catalogue))
    for i in range(3):
        for j in range(i):
            assert np.abs(scores[i] - scores[j]).max() > 1e-3


def test_the_residual_stream_is_touched_after_the_named_layer(tiny):
    base = tiny("llama")
    adapted = adapt(base, RepCali("residual", layer=2))
    assert adapted.depth == 2
    assert adapt(base, RepCali("residual")).depth == 3
    with torch.no_grad():
        adapted.module.repcali_bias.add_(1.0)
    hidden, mask = pad(bases.lower(base, [[3, 4, 5]], 2))
    spread = (hidden.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    with torch.no_grad():
        found = adapted.top(hidden, mask, None)
        expected = bases.upper(base, hidden + spread, mask, 2)
    assert (found - expected).abs().max() < 1e-6


def test_averaging_offsets_is_exact_before_the_norm():
    layer, x = _filled(RepCali())
    offsets = [
        torch.from_numpy(np.random.default_rng(i).normal(size=6)) for i in (1, 2)
    ]
    mean = (x + offsets[0] + x + offsets[1]) / 2
    with torch.no_grad():
        layer.repcali_offset.copy_((offsets[0] + offsets[1]) / 2)
    assert (x + layer.repcali_offset - mean).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"place": "middle"},
            "place = 'middle', must be one of output, residual, head",
        ),
        ({"strength": 0.0}, "strength = 0.0"),
        ({"scale": 0.0}, "scale = 0.0"),
        ({"place": "residual", "layer": 0}, "layer = 0"),
        ({"layer": 1}, 'belongs to place = "residual"'),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        RepCali(**settings)


def test_a_layer_that_the_base_lacks(tiny):
    with pytest.raises(
        InputError, match=r"layer = 4: the base has 3 layers; set 1 to 3"
    ):
        adapt(tiny("bert"), RepCali("residual", layer=4))
