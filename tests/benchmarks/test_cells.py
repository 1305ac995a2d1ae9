"""Cells of studies: who takes part, what is chosen on whom, the product's rounds."""

from dataclasses import fields, replace
from types import SimpleNamespace

import cells
import numpy as np
import optimisers
import pytest
import repcali

from fedpref.core.entropy import SeededEntropy
from fedpref.core.types import Record
from fedpref.data import partition
from fedpref.evaluate.metrics import evaluate
from fedpref.models.features import FeatureMap, fit_features
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import Setup
from fedpref.simulation.training import train
from fedpref.transport import in_process


@pytest.fixture(scope="module")
def bench(main_job):
    """Electricity with a head, prepared once."""
    return repcali.bench_of("electricity", None)


def test_a_cell_is_the_product_run(bench) -> None:
    """One pass for all devices releases what the devices release, to rounding."""
    split = replace(
        bench.setup.split, train=dict([*bench.setup.split.train.items()][:25])
    )
    setup = cells.at(replace(bench.setup, split=split), 4.0, lr=1.0)
    found = cells.released(setup, seed=3)
    product = train(
        setup, entropy=SeededEntropy(3), carry=in_process.carry, journal=NoJournal()
    )
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, product.state.released, atol=1e-6)
    assert not np.allclose(found, cells.released(setup, seed=4), atol=1e-2)


def test_held_out_people_choose_nothing(people) -> None:
    split = partition.split(people, "split-1")
    nothing = dict.fromkeys(field.name for field in fields(Setup))
    found = cells.inner(Setup(**{**nothing, "split": split}), "split-5").split
    assert set(found.train) | set(found.heldout) == set(split.train)
    assert not set(found.heldout) & set(split.heldout)


def test_the_best_on_average_is_chosen_and_kept(tmp_path, monkeypatch) -> None:
    accuracy = {("a", "s"): 0.9, ("a", "t"): 0.5, ("b", "s"): 0.8, ("b", "t"): 0.7}
    asked = []

    def measure(pair, seed):
        asked.append(pair)
        assert seed == cells.TUNING_SEED
        return SimpleNamespace(accuracy=accuracy[pair])

    monkeypatch.setattr(cells, "measure", measure)
    grid = {name: lambda salt, name=name: (name, salt) for name in "ab"}
    kept = cells.Kept(tmp_path / "runs.json")
    assert cells.chosen(kept, "one", grid, ("s", "t")) == "b"
    assert cells.chosen(kept, "one", grid, ("s", "t")) == "b"
    assert sorted(asked) == sorted(accuracy)  # each was run once


def test_wins_are_averaged_by_person(people) -> None:
    one = evaluate(lambda texts: np.zeros(len(texts)), {"a": people[:1]})
    assert cells.over_seeds(one, [[0.0], [1.0]]).wins.tolist() == [0.5]


def test_fewer_directions_are_those_of_a_smaller_fit() -> None:
    texts = np.random.default_rng(0).normal(size=(40, 8))
    found = repcali.narrowed(fit_features(texts, 6), 3)
    expected = fit_features(texts, 3)
    np.testing.assert_allclose(found.whitening, expected.whitening, atol=1e-12)


def test_unwhitened_directions_keep_their_spread() -> None:
    texts = np.random.default_rng(0).normal(size=(50, 3)) * [5.0, 2.0, 1.0]
    found = optimisers.unwhitened(fit_features(texts, 3))(texts)
    _, spread, _ = np.linalg.svd(texts - texts.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(
        found.std(axis=0), spread / np.linalg.norm(spread), atol=1e-9
    )
    assert np.square(found).sum(axis=1).mean() == pytest.approx(1)


def test_both_sides_of_a_debate_are_kept_or_left() -> None:
    titles = [f"Title {i}" for i in range(40)]
    kept = [repcali.is_kept(f"{title}: For") for title in titles]
    assert kept == [repcali.is_kept(f"{title}: Against") for title in titles]
    assert 10 < sum(kept) < 30


def test_adapters_train_the_same_number(bench) -> None:
    for name in bench.data.models:
        size = bench.model(name, 0.1).model.layout.size
        assert size == repcali.numbers(bench.data, name)


def test_seeds_are_outermost_and_nothing_is_drawn_without_noise() -> None:
    expected = [(1, 1.0), (1, 4.0), (2, 1.0), (2, 4.0), (1, None)]
    assert list(repcali.order(2)) == expected
    assert list(repcali.seeds_of(None, 5)) == [1]


def test_every_model_and_optimiser_has_as_many_settings() -> None:
    for data in repcali.DATA.values():
        assert {len(data.settings(name)) for name in data.models} == {4}
    for data in optimisers.DATA.values():
        sizes = [len(data.settings(name)) for name in optimisers.OPTIMISERS]
        assert sizes == [4, 4, 12]


def test_a_floor_is_a_multiple_of_the_noise(bench) -> None:
    found = optimisers.under(bench.setup, 1.0, "dp_adamw", "0.3 / 10")
    stddev = float(found.plan.noise_multiplier) * 4.0 / found.plan.divisor
    assert found.scenario.server.lr == 0.3
    assert found.scenario.server.floor == pytest.approx(10 * stddev**2, rel=1e-3)


def test_feature_maps_are_not_changed_in_place() -> None:
    features = FeatureMap(np.zeros(2), np.eye(2))
    optimisers.unwhitened(features)
    repcali.narrowed(features, 1)
    assert features.whitening.tolist() == np.eye(2).tolist()


@pytest.fixture
def people():
    return [Record(f"u{i}", "", ("x", "y"), choice=0) for i in range(60)]
