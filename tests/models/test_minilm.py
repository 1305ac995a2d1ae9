"""The shipped encoder, where it has been fetched."""

from pathlib import Path

import numpy as np
import pytest

from fedpref.core.types import Record, Unit
from fedpref.data import assets
from fedpref.errors import AssetMissing
from fedpref.models.adapters import Adapter
from fedpref.models.bases import load_base
from fedpref.models.gradients import Engine, unit_gradients
from fedpref.models.reward import RewardModel, embed, public_features
from fedpref.models.saved import load, save
from fedpref.models.self_test import self_test

CATALOGUE = tuple(
    f"Electricity from a {who} company, {price}, {term}."
    for who in ("local", "well-known", "distant")
    for price in ("a fixed price of 7 cents", "a price that follows the seasons")
    for term in ("no contract", "a one-year contract", "a contract for five years")
)
ADAPTERS = {
    "head": None,
    "top": Adapter(4, ("query", "value")),
    "two": Adapter(2, ("query", "dense"), "last:2", scale=1.0),
}


@pytest.fixture(scope="module")
def folder() -> Path:
    try:
        return assets.locate("minilm")
    except AssetMissing as missing:
        pytest.skip(f"needs the MiniLM asset: {missing}")


@pytest.fixture(scope="module")
def base(folder):
    return load_base(folder, name="minilm")


@pytest.fixture(params=sorted(ADAPTERS))
def model(request, base) -> RewardModel:
    features = public_features(base, CATALOGUE, 8)
    return RewardModel(base, features, ADAPTERS[request.param])


def test_embeddings_know_what_is_alike(base):
    x = embed(base, ["the price is low", "it does not cost much", "a black horse"])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    assert x[0] @ x[1] > 0.5 > x[0] @ x[2] + 0.2


def test_self_test_passes(model, softmax):
    assert self_test(model, softmax) < 1e-5


def test_one_pass_equals_the_loop(model, softmax):
    draw = np.random.default_rng(0)
    model.set(0.05 * draw.standard_normal(model.layout.size) / model.layout.scales)
    records = [
        Record(f"user {i % 3}", "", (CATALOGUE[i], CATALOGUE[17 - i]), choice=i % 2)
        for i in range(8)
    ]
    one, loop = (
        unit_gradients(model, softmax, records, unit=Unit.USER, engine=engine)
        for engine in Engine
    )
    assert np.linalg.norm(one - loop) < 1e-5 * np.linalg.norm(loop)


def test_a_saved_model_comes_back(model, folder, tmp_path):
    draw = np.random.default_rng(1)
    model.set(draw.standard_normal(model.layout.size))
    save(model, model.vector, tmp_path, {})
    again = load(tmp_path, folder)
    assert np.array_equal(again.scores(CATALOGUE), model.scores(CATALOGUE))
