"""A saved model is the model, and peft can read it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from fedpref.errors import IntegrityError, OutputError, SetupError
from fedpref.models.adapters import Adapter
from fedpref.models.items import Item
from fedpref.models.saved import load, load_policy, save


@pytest.fixture
def kept(build, tmp_path):
    """``kept(family, adapter)``: model, vector, saved folder, base folder."""

    def make(family="bert", adapter="usual", dtype=torch.float32):
        model = build(family, dtype, adapter=adapter)
        base = tmp_path / "base"
        model.base.backbone.save_pretrained(base)
        model.base.tokenizer.save_pretrained(base)
        save(model, model.vector, tmp_path / "run", {"name": "a test", "rounds": 3})
        return model, tmp_path / "run", base

    return make


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("adapter", ["usual", None])
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_a_loaded_model_scores_bit_for_bit_the_same(
    kept, catalogue, family, adapter, dtype
):
    model, folder, base = kept(family, adapter, dtype)
    loaded = load(folder, base)
    assert np.array_equal(loaded.scores(catalogue), model.scores(catalogue))
    assert model.scores(catalogue).any()
    assert loaded.layout == model.layout
    assert not loaded.vector.any()
    assert json.loads((folder / "model.json").read_text())["about"]["rounds"] == 3


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_peft_reads_the_adapter_on_its_own(kept, catalogue, family):
    from peft import PeftModel
    from transformers import AutoModel

    model, folder, base = kept(family)
    stock = AutoModel.from_pretrained(base, local_files_only=True)
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        stock = PeftModel.from_pretrained(stock, folder / "adapter").eval()
    text = catalogue[9]
    ids = model.base.tokenizer([text], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = stock(input_ids=ids).last_hidden_state[0].double()
    pooled = (states.mean(0) if family == "bert" else states[-1]).numpy()
    expected = model.features_map(pooled[None])
    assert np.abs(model.features([text]) - expected).max() < 1e-5


def test_saving_at_a_vector_leaves_the_model_where_it_is(build, catalogue, tmp_path):
    model = build()
    before = model.scores(catalogue)
    save(model, model.initial(), tmp_path, {})
    assert np.array_equal(model.scores(catalogue), before)


def test_the_same_vector_gives_the_same_bytes_in_another_process(kept, tmp_path):
    # Four targets: a set of them has the same order twice in one of 24 cases only.
    four = Adapter(2, ("value", "query", "key", "dense"))
    _, folder, base = kept(adapter=four)
    script = (
        "import sys, pathlib; from fedpref.models.saved import load, save\n"
        "run, base, out = map(pathlib.Path, sys.argv[1:])\n"
        "m = load(run, base); save(m, m.vector, out, {'name': 'a test', 'rounds': 3})"
    )
    out = tmp_path / "again"
    command = [sys.executable, "-c", script, str(folder), str(base), str(out)]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    names = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert names == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "head.safetensors",
        "model.json",
    ]
    for name in names:
        assert (folder / name).read_bytes() == (out / name).read_bytes(), name
        assert str(tmp_path).encode() not in (folder / name).read_bytes()


OWN = ("rslora", "ffa", "pblora", "pblora_all", "output", "residual", "head", "bare")


@pytest.mark.parametrize("adapter", OWN)
def test_every_adapter_comes_back_bit_for_bit(kept, catalogue, adapter):
    model, folder, base = kept("gpt2", adapter)
    loaded = load(folder, base)
    assert loaded.adapter == model.adapter
    assert np.array_equal(loaded.scores(catalogue), model.scores(catalogue))
    again = folder.parent / "again"
    save(loaded, loaded.vector, again, {"name": "a test", "rounds": 3})
    for path in (p for p in folder.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes()


@pytest.mark.parametrize("adapter", ["lora", "ffa", "pblora", "output"])
def test_a_policy_comes_back_bit_for_bit(build_policy, tmp_path, adapter):
    from transformers import GPT2LMHeadModel

    policy = build_policy("gpt2", torch.float32, adapter=adapter)
    base = tmp_path / "base"
    whole = GPT2LMHeadModel(policy.base.backbone.config)
    whole.transformer = policy.base.backbone
    whole.tie_weights()
    whole.save_pretrained(base)
    policy.base.tokenizer.save_pretrained(base)
    save(policy, policy.vector, tmp_path / "run", {})
    loaded = load_policy(tmp_path / "run", base)
    items = [Item("w1 w2", "w3 w4"), Item("w5", "w6")]
    assert np.array_equal(loaded.values(items), policy.values(items))
    assert (loaded.values(items) != loaded.known("reference", items)).all()
    assert not (tmp_path / "run" / "head.safetensors").exists()
    with pytest.raises(IntegrityError, match="task = 'policy', must be 'reward'"):
        load(tmp_path / "run", base)


@pytest.mark.parametrize(
    ("adapter", "file", "name"),
    [
        ("pblora", "adapter.safetensors", "pblora_A"),
        ("ffa", "adapter_model.safetensors", "lora_A"),
    ],
)
def test_numbers_that_nobody_trains_must_be_the_seeds(kept, adapter, file, name):
    from safetensors.numpy import load_file, save_file

    _, folder, base = kept("llama", adapter)
    path = folder / "adapter" / file
    tensors = load_file(path)
    key = next(k for k in tensors if name in k)
    tensors[key] = tensors[key] + np.float32(1e-3)
    save_file(tensors, path)
    with pytest.raises(IntegrityError, match=r"is not what adapter\.seed gives"):
        load(folder, base)


@pytest.mark.parametrize("adapter", ["pblora", "output"])
def test_damaged_files_of_own_adapters(kept, adapter):
    _, folder, base = kept("bert", adapter)
    path, settings = folder / "adapter" / "adapter.safetensors", folder / "model.json"
    whole, kind = path.read_bytes(), json.loads(settings.read_text())
    path.write_bytes(whole[:-3])
    with pytest.raises(IntegrityError, match=r"adapter\.safetensors: cannot be read"):
        load(folder, base)
    path.unlink()
    with pytest.raises(SetupError, match=r"adapter\.safetensors: is not there"):
        load(folder, base)
    path.write_bytes(whole)
    for change in ({"kind": "other"}, {"scale": -1.0}, {"more": 1}):
        changed = kind | {"adapter": kind["adapter"] | change}
        settings.write_text(json.dumps(changed))
        with pytest.raises(IntegrityError):
            load(folder, base)


def test_settings_of_the_first_version_are_read(kept, catalogue):
    """Saved before there was more than LoRA and a reward model."""
    model, folder, base = kept()
    path = folder / "model.json"
    settings = json.loads(path.read_text())
    del settings["task"]
    for key in ("kind", "rslora", "freeze_a"):
        del settings["adapter"][key]
    path.write_text(json.dumps(settings))
    assert np.array_equal(load(folder, base).scores(catalogue), model.scores(catalogue))


def test_missing_and_damaged_files_are_named(kept, tmp_path):
    _, folder, base = kept()
    with pytest.raises(SetupError, match=r"no model\.json"):
        load(tmp_path / "nowhere", base)
    with pytest.raises(SetupError, match=r"no config\.json"):
        load(folder, tmp_path / "nowhere")
    head = folder / "head.safetensors"
    whole = head.read_bytes()
    head.write_bytes(whole[:-9])
    with pytest.raises(IntegrityError, match=r"head\.safetensors: cannot be read"):
        load(folder, base)
    head.unlink()
    with pytest.raises(SetupError, match=r"head\.safetensors: is not there"):
        load(folder, base)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("adapter", None),
        ("adapter", {"rank": 2}),
        ("layout", []),
        ("dtype", "float7"),
        ("base", None),
    ],
)
def test_settings_that_do_not_fit_are_refused(kept, key, value):
    _, folder, base = kept()
    path = folder / "model.json"
    settings = json.loads(path.read_text())
    if value is None and key == "base":
        del settings[key]
    else:
        settings[key] = value
    path.write_text(json.dumps(settings))
    with pytest.raises(IntegrityError):
        load(folder, base)


def test_another_encoder_is_refused(kept, tmp_path):
    from transformers import BertConfig, BertModel

    model, folder, _ = kept()
    other = tmp_path / "other"
    BertModel(
        BertConfig(
            vocab_size=64,
            hidden_size=16,
            num_attention_heads=2,
            num_hidden_layers=3,
            intermediate_size=8,
        )
    ).save_pretrained(other)
    model.base.tokenizer.save_pretrained(other)
    with pytest.raises(IntegrityError, match="width 32"):
        load(folder, other)


def test_a_folder_that_cannot_be_written(build, tmp_path):
    model = build()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        save(model, model.vector, tmp_path / "file", {})
