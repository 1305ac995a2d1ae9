"""Tiny random encoders, built here, and small objectives of the tests' own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedpref.core.types import Objective, Record, Unit
from fedpref.models.adapters import Adapter
from fedpref.models.bases import Base, base_from
from fedpref.models.folding import PROVIDED
from fedpref.models.reward import RewardModel, public_features
from fedpref.objectives import load, names

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


def softmax_choice(*, scores, choice):
    return F.cross_entropy(scores, choice, reduction="none")


def sum_of_pairs(*, scores, choice):
    chosen = scores.gather(1, choice[:, None])
    others = torch.ones_like(scores).scatter(1, choice[:, None], 0.0)
    return (others * F.softplus(scores - chosen)).sum(1)


def spread_in_group(*, scores, choice, group):
    """Couples the records of one user: distance of each from the user's mean."""
    value = -softmax_choice(scores=scores, choice=choice)
    count = torch.bincount(group).to(value.dtype)
    mean = torch.zeros_like(count).index_add(0, group, value) / count
    return (value - mean[group]) ** 2 - value


OBJECTIVES = {
    function.__name__: Objective(function.__name__, function, frozenset(needs))
    for function, needs in (
        (softmax_choice, ("scores", "choice")),
        (sum_of_pairs, ("scores", "choice")),
        (spread_in_group, ("scores", "choice", "group")),
    )
}


@pytest.fixture(params=sorted(OBJECTIVES))
def objective(request) -> Objective:
    """Each of the tests' own objectives."""
    return OBJECTIVES[request.param]


@pytest.fixture(scope="session")
def softmax() -> Objective:
    """The softmax choice objective."""
    return OBJECTIVES["softmax_choice"]


@pytest.fixture(scope="session")
def grouped() -> Objective:
    """The objective that couples records of one user."""
    return OBJECTIVES["spread_in_group"]


@pytest.fixture(scope="session")
def every_objective() -> list[Objective]:
    """The tests' own and every shipped one that a reward model can serve."""
    shipped = [load(name, {}, unit=Unit.USER) for name in names()]
    usable = [objective for objective in shipped if objective.needs <= PROVIDED]
    assert usable
    return [*OBJECTIVES.values(), *usable]
