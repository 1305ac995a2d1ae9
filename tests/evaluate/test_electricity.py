"""The baselines on the real survey, against numbers measured by another program."""

import numpy as np
import pytest

from fedpref.data import partition, sources
from fedpref.errors import AssetMissing
from fedpref.evaluate import attributes, central, own_answers, position, untrained


@pytest.fixture(scope="module")
def electricity():
    try:
        dataset = sources.load("electricity", base=None)
    except AssetMissing as missing:
        pytest.skip(str(missing))
    return dataset, partition.split(dataset.records)


def test_chance_and_position(electricity):
    _, split = electricity
    chance = untrained(split.heldout).evaluation
    assert (chance.accuracy, chance.choice_accuracy) == (0.5, 0.25)
    found = position(split.train, split.heldout).evaluation
    assert found.accuracy == pytest.approx(0.512, abs=0.002)
    assert found.choice_accuracy == pytest.approx(0.248, abs=0.002)


def test_attributes(electricity):
    dataset, split = electricity
    found = attributes(dataset.attributes, split.train, split.heldout).evaluation
    assert found.accuracy == pytest.approx(0.700, abs=0.006)
    assert found.choice_accuracy == pytest.approx(0.456, abs=0.006)
    low, high = found.ci95
    assert low == pytest.approx(0.675, abs=0.01)
    assert high == pytest.approx(0.735, abs=0.01)


def test_one_free_score_a_text_is_the_ceiling(electricity):
    dataset, split = electricity
    place = {text: number for number, text in enumerate(dataset.catalogue)}

    def identity(texts):
        return np.eye(len(place))[[place[text] for text in texts]]

    found = central(identity, split.train, split.heldout).evaluation
    assert found.accuracy == pytest.approx(0.704, abs=0.006)


def test_own_answers_beat_everybody_s(electricity):
    dataset, split = electricity
    values = sorted(
        {pair for row in dataset.attributes.values() for pair in row.items()}
    )

    def one_hot(texts):
        rows = [dataset.attributes[text] for text in texts]
        hot = [[float(row.get(a) == v) for a, v in values] for row in rows]
        return np.array(hot) / np.sqrt(len(values))

    found = own_answers(one_hot, lambda texts: np.zeros(len(texts)), split.heldout)
    assert found.own.evaluation.accuracy == pytest.approx(0.81, abs=0.03)
    assert found.left_out < 10
    assert found.pooled.accuracy == 0.5
