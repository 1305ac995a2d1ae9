from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fedpref.core.types import Record
from fedpref.study.answers import from_ratings, from_records, only

TEXTS, SIZE = 14, 4
ROWS = np.random.default_rng(7).normal(size=(TEXTS, SIZE)) / np.sqrt(SIZE)


def rows_of(texts):
    return ROWS[[int(text.split()[-1]) for text in texts]]


@pytest.fixture
def choosers():
    """Makes people who choose by own linear utilities among 2 to 4 made-up texts."""

    def make(people=12, *, seed=0, answers=6, spread=1.0, shared=None, options=(2, 4)):
        rng = np.random.default_rng(seed)
        shared = np.array([1.0, -1.0, 0.5, 0.0]) if shared is None else shared
        own = shared + spread * rng.normal(size=(people, SIZE))
        records = {}
        for number, weights in enumerate(own):
            user = f"person {number}"
            records[user] = []
            for _ in range(answers):
                size = int(rng.integers(*options, endpoint=True))
                offered = rng.choice(TEXTS, size=size, replace=False)
                utility = ROWS[offered] @ weights + rng.gumbel(size=size)
                texts = tuple(f"text {number}" for number in offered)
                choice = int(utility.argmax())
                records[user].append(Record(user, "", texts, choice=choice))
        found = from_records(records, rows_of)
        return SimpleNamespace(answers=found, weights=own, records=records)

    return make


@pytest.fixture
def raters():
    """Makes people who rate made-up texts by own linear utilities plus noise."""

    def make(people=12, *, seed=0, answers=6, spread=0.3, noise=0.2):
        rng = np.random.default_rng(seed)
        own = np.array([0.3, -0.2, 0.1, 0.0, 0.1])
        own = own + spread * rng.normal(size=(people, SIZE + 1))
        ratings = {}
        for number, weights in enumerate(own):
            user = f"person {number}"
            ratings[user] = []
            for text in rng.choice(TEXTS, size=answers, replace=False):
                value = ROWS[text] @ weights[:-1] + weights[-1]
                value = np.clip(value + noise * rng.normal(), -1, 1)
                rating = SimpleNamespace(text=f"text {text}", score=50 * (value + 1))
                ratings[user].append(rating)
        found = from_ratings(ratings, rows_of)
        return SimpleNamespace(answers=found, weights=own, ratings=ratings)

    return make


@pytest.fixture
def halves():
    """Splits answers in two parts: a person's first ``k``, and the others."""

    def split(answers, k):
        first = np.cumsum(answers.counts) - answers.counts
        rank = np.arange(len(answers.user)) - first[answers.user]
        return only(answers, rank < k), only(answers, rank >= k)

    return split


@pytest.fixture
def alter():
    """Other answers of one person at equal shape: each choice moves to the next."""

    def change(answers, person):
        own = answers.user == person
        place = answers.chosen - answers.start
        moved = answers.start + (place + own) % answers.size
        return replace(
            answers,
            chosen=moved,
            value=np.where(own, -answers.value, answers.value),
        )

    return change
