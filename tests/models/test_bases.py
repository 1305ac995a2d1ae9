"""The split encoder against the encoder's own forward."""

import pytest
import torch

from fedpref.errors import InputError, SetupError
from fedpref.models.bases import base_from, load_base, lower, tokenize, twin, upper
from fedpref.models.padding import batches, pad

FAMILIES = ("bert", "gpt2", "llama", "qwen2", "qwen3")


def _both(base, texts, depth):
    hidden, mask = pad(lower(base, tokenize(base, texts), depth))
    with torch.no_grad():
        return upper(base, hidden, mask, depth), mask


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_lower_then_upper_is_the_encoders_own_forward(
    tiny, catalogue, family, attention
):
    base = tiny(family)
    base.backbone.set_attn_implementation(attention)
    encoded = base.tokenizer(
        list(catalogue), padding=True, padding_side="right", return_tensors="pt"
    )
    mask = encoded["attention_mask"]
    assert 0 < mask.double().mean() < 1  # there is padding to get wrong
    with torch.no_grad():
        whole = base.backbone(input_ids=encoded["input_ids"], attention_mask=mask)
    for depth in range(base.depth + 1):
        split, own_mask = _both(base, catalogue, depth)
        assert torch.equal(own_mask, mask.bool())
        real = mask.bool()
        error = (split[real] - whole.last_hidden_state[real]).abs().max()
        assert error < 1e-6  # Llama normalises in float32 whatever its type


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_changes_a_row_by_rounding_only(tiny, catalogue, family):
    base = tiny(family)
    together, mask = _both(base, catalogue, 1)
    for i in (0, 3, 10):
        alone, _ = _both(base, catalogue[i : i + 1], 1)
        assert (together[i][mask[i]] - alone[0]).abs().max() < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_is_frozen_and_quiet(tiny, family):
    base = tiny(family)
    assert not base.backbone.training
    assert not any(p.requires_grad for p in base.backbone.parameters())


def test_a_twin_shares_weights_but_not_modules(tiny):
    base = tiny("bert")
    other = twin(base)
    pairs = list(
        zip(base.backbone.parameters(), other.backbone.parameters(), strict=True)
    )
    assert pairs
    assert all(a is b for a, b in pairs)
    mine, its = base.family.layers(base.backbone), other.family.layers(other.backbone)
    assert all(a is not b for a, b in zip(mine, its, strict=True))


# Qwen2 has a tokenizer class of its own, which does not read the tests' words.
@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "qwen2"])
def test_load_reads_what_transformers_saved(tiny, catalogue, tmp_path, family, capfd):
    base = tiny(family, torch.float32)
    base.backbone.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    capfd.readouterr()
    again = load_base(tmp_path, name="again")
    assert capfd.readouterr() == ("", "")
    assert again.name == "again"
    assert again.dtype is torch.float32
    ours, _ = _both(again, catalogue, 1)
    assert torch.equal(ours, _both(base, catalogue, 1)[0])


def test_an_unknown_architecture_is_refused_by_name():
    from transformers import OPTConfig, OPTModel

    sizes = {"hidden_size": 8, "ffn_dim": 8, "word_embed_proj_dim": 8}
    model = OPTModel(
        OPTConfig(num_hidden_layers=1, num_attention_heads=2, vocab_size=8, **sizes)
    )
    with pytest.raises(InputError, match=r"OPTModel has no rule.*BertModel, GPT2Model"):
        base_from(model, None, name="other")


def test_a_missing_folder_and_a_broken_one(tmp_path):
    with pytest.raises(SetupError, match=r"no config\.json"):
        load_base(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SetupError, match="cannot be loaded"):
        load_base(tmp_path)


def test_long_texts_are_cut_and_empty_ones_refused(tiny):
    base = tiny("bert")
    assert base.max_tokens == 40
    assert [len(ids) for ids in tokenize(base, ["w1 " * 90, "w2"])] == [40, 1]
    with pytest.raises(InputError, match="texts without a token = 2") as error:
        tokenize(base, ["w1", "", " "])
    assert "w1" not in str(error.value)
    assert tokenize(base, []) == []


def test_batches_hold_every_row_once_within_the_limit():
    lengths = [3, 9, 1, 1, 7, 30, 2]
    found = list(batches(lengths, tokens=12))
    assert sorted(i for batch in found for i in batch) == list(range(7))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 12
