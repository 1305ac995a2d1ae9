"""What the tape refuses, and that it leaves no trace."""

import warnings

import pytest
import torch
from torch import nn

from fedpref.errors import FedprefError, InputError
from fedpref.models import bases
from fedpref.models.tape import complete, recording


def _lora(model):
    from peft.tuners.lora.layer import Linear

    return [m for m in model.adapted.peft.modules() if isinstance(m, Linear)]


def _record(model, texts, rows=None):
    (batch,) = model.batches(texts)
    with recording(
        model.adapted.peft, model.trainable, rows or len(batch.positions)
    ) as tape:
        total = model.batch_features(batch).sum()
        torch.autograd.grad(total, [p for _, p in model.trainable], allow_unused=True)
    return tape, batch


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_rows_add_up_to_what_autograd_gives_stock_peft(build, catalogue, family):
    model = build(family)
    tape, batch = _record(model, catalogue)
    summed = torch.autograd.grad(
        model.batch_features(batch).sum(), [p for _, p in model.trainable]
    )
    for (name, parameter), expected in zip(model.trainable, summed, strict=True):
        rows = tape.gradients[name]
        assert rows.shape == (len(catalogue), *parameter.shape)
        assert (rows.sum(0) - expected).norm() < 1e-6 * expected.norm()


def test_the_forward_inside_is_pefts(build, catalogue):
    model = build()
    (batch,) = model.batches(catalogue)
    outside = model.batch_features(batch).detach()
    with recording(model.adapted.peft, model.trainable, len(catalogue)):
        inside = model.batch_features(batch).detach()
    assert (inside - outside).abs().max() < 1e-12


def test_the_model_is_stock_again_also_after_an_exception(build, catalogue):
    model = build()
    layers = _lora(model)
    assert layers

    def fail():
        with recording(model.adapted.peft, model.trainable, 1):
            assert all("forward" in vars(layer) for layer in layers)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any("forward" in vars(layer) for layer in layers)
    _record(model, catalogue)
    assert not any("forward" in vars(layer) for layer in layers)
    assert all(p.grad is None for _, p in model.trainable)


def test_a_trainable_parameter_without_a_rule_is_refused(build, catalogue):
    model = build()
    norm = model.adapted.base.family.layers(model.adapted.base.backbone)[2].output
    norm.LayerNorm = nn.LayerNorm(32).double()
    with pytest.raises(InputError, match=r"LayerNorm\.weight has no rule.*loop"):
        _record(model, catalogue)


@pytest.mark.parametrize("change", ["use_dora", "lora_bias", "lora_dropout"])
def test_variants_of_lora_are_refused(tiny, change):
    from peft import LoraConfig, get_peft_model

    value = 0.1 if change == "lora_dropout" else True
    config = LoraConfig(r=2, target_modules=["query"], **{change: value})
    backbone = bases.twin(tiny("bert", torch.float32)).backbone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        model = get_peft_model(backbone, config).train()
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    with (
        pytest.raises(InputError, match="has no rule"),
        recording(model, named, 2),
    ):
        pass


def test_a_variant_that_only_computes_differently_is_refused(build, catalogue):
    model = build()
    _lora(model)[-1].lora_variant["default"] = object()
    with pytest.raises(InputError, match="has no rule"):
        _record(model, catalogue)


def test_a_layer_that_does_not_see_the_rows_is_refused(build, catalogue):
    with pytest.raises(InputError, match=r"first dimension of 24, must be .* rows 12"):
        _record(build(), catalogue, rows=12)


def test_a_layer_that_was_bypassed_is_no_zero_gradient(build, catalogue):
    model = build()
    tape, _ = _record(model, catalogue)
    complete(tape, model.trainable)
    name = model.trainable[0][0]
    del tape.gradients[name]
    with pytest.raises(FedprefError, match=name.replace(".", r"\.")):
        complete(tape, model.trainable)


def test_a_layer_used_twice_gets_the_sum(build, catalogue):
    model = build()
    layers = model.adapted.base.family.layers(model.adapted.base.backbone)
    layers[2] = layers[1]
    names = [(n, p) for n, p in model.trainable if "layer.1" in n]
    (batch,) = model.batches(catalogue)
    weights = [p for _, p in names]
    with recording(model.adapted.peft, names, len(catalogue)) as tape:
        torch.autograd.grad(
            model.batch_features(batch).sum(), weights, allow_unused=True
        )
    expected = torch.autograd.grad(model.batch_features(batch).sum(), weights)
    for (name, _), summed in zip(names, expected, strict=True):
        assert (tape.gradients[name].sum(0) - summed).norm() < 1e-6 * summed.norm()
