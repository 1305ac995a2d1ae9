"""Log-probabilities against the causal model's own forward."""

import numpy as np
import pytest
import torch

from fedpref.core.types import Record, Unit
from fedpref.errors import InputError, ObjectiveError
from fedpref.models.folding import fold
from fedpref.models.gradients import unit_gradients
from fedpref.models.items import Item
from fedpref.models.policy import PolicyModel
from fedpref.models.repcali import RepCali
from fedpref.models.self_test import self_test
from fedpref.objectives import Coupling, Trains, about, load, names

FAMILIES = ("gpt2", "llama", "qwen2", "qwen3")
ITEMS = (
    Item("w1 w2 w3", "w4 w5"),
    Item("w1", "w4"),
    Item("w6 w7 w8 w9", "w1 w2 w3 w4 w5 w6"),
)


@pytest.fixture(scope="module")
def stock(tiny):
    """``stock(family)``: a causal model of transformers with the tests' weights."""
    from tests.conftest import _backbone  # the same seed, nothing shared

    return lambda family: _backbone(family, policy=True).double().eval()


def _by_hand(model, base, item):
    """One whole forward, and the log-probabilities of the response added up."""
    before = base.tokenizer(item.prompt)["input_ids"]
    after = base.tokenizer(item.response)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([before + after])).logits[0]
    each = logits.log_softmax(-1)
    first = len(before)
    return float(sum(each[first + i - 1, token] for i, token in enumerate(after)))


@pytest.mark.parametrize("family", FAMILIES)
def test_reference_is_the_causal_models_own(build_policy, stock, family):
    policy = build_policy(family)
    expected = [_by_hand(stock(family), policy.base, item) for item in ITEMS]
    assert np.abs(policy.known("reference", ITEMS) - expected).max() < 1e-5
    assert policy.known("lengths", ITEMS).tolist() == [2.0, 1.0, 6.0]


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_policy_is_pefts_own_forward(build_policy, stock, family):
    policy = build_policy(family)
    whole = stock(family)
    inner = policy.adapted.peft.base_model.model
    setattr(whole, "transformer" if family == "gpt2" else "model", inner)
    expected = [_by_hand(whole, policy.base, item) for item in ITEMS]
    assert np.abs(policy.log_probabilities(ITEMS) - expected).max() < 1e-5
    moved = policy.log_probabilities(ITEMS) - policy.known("reference", ITEMS)
    assert np.abs(moved).min() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_neither_side_of_padding_changes_a_value(build_policy, stock, family, side):
    """Ours, padded on the right, against transformers' own on either side."""
    policy, whole = build_policy(family), stock(family)
    found = policy.known("reference", ITEMS)
    texts = [f"{item.prompt} {item.response}" for item in ITEMS]
    encoded = policy.base.tokenizer(
        texts, padding=True, padding_side=side, return_tensors="pt"
    )
    mask = encoded["attention_mask"]
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        each = whole(
            encoded["input_ids"], attention_mask=mask, position_ids=positions
        ).logits.log_softmax(-1)
    for row, item in enumerate(ITEMS):
        real = torch.nonzero(mask[row])[:, 0]
        count = len(item.response.split())
        places = real[-count - 1 : -1]
        tokens = encoded["input_ids"][row, real[-count:]]
        assert abs(float(each[row, places, tokens].sum()) - found[row]) < 1e-5
    policy.base.tokenizer.padding_side = side
    assert (
        np.abs(
            policy.log_probabilities(ITEMS)
            - [build_policy(family).log_probabilities([item])[0] for item in ITEMS]
        ).max()
        < 1e-6
    )


def test_every_adapter_starts_at_the_reference(build_policy):
    for adapter in ("lora", "ffa", "pblora", "pblora_all", "output", "residual"):
        policy = build_policy("gpt2", adapter=adapter, moved=False)
        ratio = policy.log_probabilities(ITEMS) - policy.known("reference", ITEMS)
        assert np.abs(ratio).max() < 1e-9, adapter


def test_the_reference_costs_no_second_model(build_policy):
    policy = build_policy("llama")
    base = {p.data_ptr() for p in policy.base.backbone.parameters()}
    adapter = {p.data_ptr() for _, p in policy.trainable}
    own = {p.data_ptr() for p in policy.adapted.module.parameters()}
    assert own == base | adapter
    before = policy.known("reference", ITEMS)
    policy.set(policy.vector * 2)
    fresh = PolicyModel(policy.base, policy.adapter)
    assert np.array_equal(fresh.known("reference", ITEMS), before)


def test_before_the_head_of_a_policy_is_after_its_base(tiny):
    base = tiny("gpt2", policy=True)
    head, output = (PolicyModel(base, RepCali(place)) for place in ("head", "output"))
    vector = np.random.default_rng(0).standard_normal(head.layout.size)
    for model in (head, output):
        model.set(vector)
    assert np.array_equal(
        head.log_probabilities(ITEMS), output.log_probabilities(ITEMS)
    )


def test_a_long_prompt_loses_its_beginning_and_a_long_response_its_end(build_policy):
    policy = build_policy()
    assert policy.base.max_tokens == 40
    words = " ".join(f"w{i}" for i in range(60))
    kept = Item(" ".join(f"w{i}" for i in range(22, 60)), "w1 w2")
    assert policy.values([Item(words, "w1 w2")]) == policy.values([kept])
    assert policy.known("lengths", [Item("w1", words)]).tolist() == [39.0]
    end = Item("w9 w1", " ".join(f"w{i}" for i in range(39)))
    assert policy.values([Item("w9 w1", words)]) == policy.values([end])


def test_a_response_ends_where_the_tokenizer_says_so(build_policy):
    policy = build_policy()
    plain = policy.values(ITEMS)
    policy.base.tokenizer.eos_token = policy.base.tokenizer.bos_token = "w0"
    again = PolicyModel(policy.base, policy.adapter)
    again.set(policy.vector)
    assert again.known("lengths", ITEMS).tolist() == [3.0, 2.0, 7.0]
    assert (again.values(ITEMS) < plain - 1e-6).all()
    assert again.known("lengths", [Item("", "w4")]).tolist() == [2.0]  # after w0


def test_what_cannot_be_a_policy_is_refused(
    tiny, build_policy, adapter_of, people, build
):
    with pytest.raises(InputError, match="no map to tokens"):
        PolicyModel(tiny("llama"), adapter_of("llama", "lora"))
    policy = build_policy()
    with pytest.raises(InputError, match="an empty completion"):
        policy.values([Item("w1", " ")])
    with pytest.raises(InputError, match="give every record a prompt") as error:
        policy.values([Item("", "w1")])
    assert "w1" not in str(error.value)
    with pytest.raises(InputError, match="scores is not what"):
        policy.known("scores", ITEMS)
    with pytest.raises(ObjectiveError, match="asks for scores; a policy provides"):
        unit_gradients(
            policy, load("bt", {}, unit=Unit.USER), people(0), unit=Unit.USER
        )
    assert repr(ITEMS[0]) == "Item(contents hidden)"


def test_a_mismatched_response_is_the_next_of_the_same_user(build_policy):
    records = [
        Record("ann", "w1", ("w2",), label=True),
        Record("bob", "w3", ("w4",), label=False),
        Record("ann", "w5", ("w6", "w7"), choice=1),
        Record("ann", "w8", ("w9",), label=True),
    ]
    policy = build_policy()
    options = [policy.items(record, ()) for record in records]
    found = fold(records, Unit.USER, options=options).mismatched
    assert found == (
        (0, Item("w1", "w7")),
        (2, Item("w5", "w9")),
        (3, Item("w8", "w2")),
    )


def test_an_objective_gets_the_log_ratios_of_mismatched_pairs(build_policy, people):
    seen = {}

    def loss(**given):
        seen.update(given)
        return given["policy"].sum(1)

    from fedpref.core.types import Objective

    records = people(4, users=3, each=2, prompts=True, thumbs=True)
    policy = build_policy()
    objective = Objective("own", loss, frozenset({"policy", "mismatched", "group"}))
    unit_gradients(policy, objective, records, unit=Unit.USER)
    for i, record in enumerate(records):
        (other,) = (r for r in records if r.user == record.user and r is not record)
        item = [Item(record.prompt, other.options[0])]
        expected = policy.values(item) - policy.known("reference", item)
        assert float(seen["mismatched"][i]) == pytest.approx(
            float(expected[0]), rel=1e-6
        )
    lonely = records[:1]
    unit_gradients(policy, objective, lonely, unit=Unit.USER)
    assert seen["mismatched"].tolist() == [0.0]


def _usable(trains):
    return [
        name
        for name in names()
        if about(name).trains is trains and about(name).coupling is not Coupling.BATCH
    ]


@pytest.mark.parametrize("name", _usable(Trains.POLICY))
def test_self_test_of_policies(build_policy, name):
    policy = build_policy("llama", torch.float32, adapter="pblora")
    objective = load(name, {}, unit=Unit.USER)
    texts = [f"w{i} w{i + 3} w{i + 5}" for i in range(5)]
    assert self_test(policy, objective, texts) < 1e-4


@pytest.mark.parametrize("name", _usable(Trains.REWARD))
def test_self_test_of_reward_models(build, name):
    objective = load(name, {}, unit=Unit.USER)
    texts = [f"w{i} w{i + 3} w{i + 5}" for i in range(5)]
    assert (
        self_test(build("bert", torch.float32, adapter="pblora"), objective, texts)
        < 1e-4
    )
