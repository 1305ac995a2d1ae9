import numpy as np
import pytest

from fedpref.core.types import Record


def made_people(users, *, seed, weights, texts=12, answers=(3, 12)):
    """People who choose by a linear utility of made-up texts, plus Gumbel noise."""
    rng = np.random.default_rng(seed)
    rows = np.random.default_rng(99).normal(size=(texts, len(weights)))
    people = {}
    for number in range(users):
        user = f"person-{seed}-{number}"
        own = []
        for _ in range(rng.integers(*answers, endpoint=True)):
            offered = rng.choice(texts, size=rng.integers(2, 5), replace=False)
            utility = rows[offered] @ weights + rng.gumbel(size=len(offered))
            options = tuple(f"text {t}" for t in offered)
            own.append(Record(user, "", options, choice=int(utility.argmax())))
        people[user] = tuple(own)

    def features(asked):
        return rows[[int(text.split()[-1]) for text in asked]]

    return people, features


@pytest.fixture
def survey():
    """(training people, held-out people, features, true weights)."""
    weights = np.array([1.5, -1.0, 0.5])
    train, features = made_people(60, seed=1, weights=weights)
    heldout, _ = made_people(20, seed=2, weights=weights, answers=(6, 12))
    return train, heldout, features, weights
