"""python tests/benchmarks/dp_step.py [--repeats 15] [--threads 1] [--json]

What privacy costs a training step on one machine: the step of this package (gradient
of every pair in one pass, clip each, round to the grid, sum, add Gaussian noise)
against the stock step that knows no privacy (peft, autograd of the mean loss), on the
same model and pairs.

The two take turns in one process, and the number is the median of the paired ratios:
a slow moment of the machine hits both. Bar: at most 1.10 on every line.

Needs nothing but the package for the first two lines; the third is skipped where the
MiniLM asset has not been fetched.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from statistics import median

import numpy as np
import torch

from fedpref.core.clip import clip_units
from fedpref.core.entropy import OsEntropy
from fedpref.core.grid import sum_on_grid
from fedpref.core.noise import add_gaussian
from fedpref.core.types import Grid, Record, Unit
from fedpref.data import assets
from fedpref.errors import AssetMissing
from fedpref.models.adapters import Adapter
from fedpref.models.bases import Base, base_from, load_base
from fedpref.models.folding import fold
from fedpref.models.gradients import unit_gradients
from fedpref.models.losses import record_losses
from fedpref.models.reward import RewardModel, public_features
from fedpref.objectives import load

BAR = 1.10
PAIRS, TOKENS, CLIP = 16, 128, 1.0
WORDS = [f"w{i}" for i in range(4000)]
LINEAR = {
    "bert": ("query", "key", "value", "dense"),
    "llama": (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    ),
}


def main() -> None:
    """Measure every line that this machine can."""
    options = _options()
    torch.set_num_threads(options.threads)
    found = []
    for name, model, records in _cases():
        ratio, stock_s, private_s = compare(model, records, options.repeats)
        found.append(
            {
                "case": name,
                "coordinates": model.layout.size,
                "stock_s": stock_s,
                "private_s": private_s,
                "ratio": ratio,
                "bar": BAR,
            }
        )
        if not options.json:
            print(
                f"{name:42} {model.layout.size:8,d} coordinates   "
                f"stock {1e3 * stock_s:7.1f} ms   private {1e3 * private_s:7.1f} ms   "
                f"ratio {ratio:.3f} ({'within' if ratio <= BAR else 'ABOVE'} {BAR})"
            )
    if options.json:
        print(json.dumps(found))
    sys.exit(any(line["ratio"] > BAR for line in found))


def compare(
    model: RewardModel, records: list[Record], repeats: int
) -> tuple[float, float, float]:
    """Median of the paired ratios, and the median seconds of either step."""
    steps = (_stock(model, records), _private(model, records))
    for step in steps:
        step()
    times: list[list[float]] = [[], []]
    for turn in range(repeats):
        for i in (0, 1) if turn % 2 else (1, 0):
            begun = time.perf_counter()
            steps[i]()
            times[i].append(time.perf_counter() - begun)
    ratios = [private / stock for stock, private in zip(*times, strict=True)]
    return median(ratios), median(times[0]), median(times[1])


def _stock(model: RewardModel, records: list[Record]) -> Callable[[], object]:
    objective = load("bt", {}, unit=Unit.RECORD)

    def step() -> object:
        folding = fold(records, Unit.RECORD)
        head = model.head.clone().requires_grad_()
        scores = model.feature_graph(folding.texts) @ head
        loss = record_losses(objective, folding, scores).mean()
        return torch.autograd.grad(loss, [p for _, p in model.trainable] + [head])

    return step


def _private(model: RewardModel, records: list[Record]) -> Callable[[], object]:
    objective = load("bt", {}, unit=Unit.RECORD)
    grid, entropy = Grid.for_clip(CLIP), OsEntropy()

    def step() -> object:
        rows = unit_gradients(model, objective, records, unit=Unit.RECORD)
        bounded = sum_on_grid(clip_units(rows, CLIP), grid)
        return add_gaussian(bounded, Fraction(1), key=entropy.key("noise"))

    return step


def _cases() -> Iterator[tuple[str, RewardModel, list[Record]]]:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, TOKENS)) for _ in range(2 * PAIRS)]
    for family in ("bert", "llama"):
        base = base_from(_backbone(family), _tokenizer(), name=family)
        yield (
            f"{family} 4 x 256, all linear, {PAIRS} pairs x {TOKENS}",
            _model(base, texts, Adapter(8, LINEAR[family], "all", scale=1.0)),
            _pairs(texts),
        )
    try:
        minilm = load_base(assets.locate("minilm"), name="minilm")
    except AssetMissing as missing:
        print(f"MiniLM skipped: {missing}", file=sys.stderr)
        return
    texts = [f"{text[:480]}." for text in texts]
    yield (
        f"MiniLM, query/value of the top layer, {PAIRS} pairs",
        _model(minilm, texts, Adapter(8, ("query", "value"))),
        _pairs(texts),
    )


def _model(base: Base, texts: list[str], adapter: Adapter) -> RewardModel:
    model = RewardModel(base, public_features(base, texts, 16), adapter)
    shift = 0.05 * np.random.default_rng(1).standard_normal(model.layout.size)
    model.set(shift / model.layout.scales)
    return model


def _pairs(texts: list[str]) -> list[Record]:
    pairs = zip(texts[0::2], texts[1::2], strict=True)
    return [Record(f"u{i}", "", pair, choice=0) for i, pair in enumerate(pairs)]


def _backbone(family: str) -> torch.nn.Module:
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

    sizes = {
        "vocab_size": len(WORDS) + 2,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    if family == "bert":
        return BertModel(BertConfig(intermediate_size=1024, **sizes))
    return LlamaModel(
        LlamaConfig(intermediate_size=672, num_key_value_heads=2, **sizes)
    )


def _tokenizer() -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[1])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
