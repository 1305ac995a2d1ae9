"""Who learns together and who is predicted, seed by seed.

Guarantees: nobody is on both sides; the same seed gives the same sides and the same
draws of what is revealed. ``electricity`` and ``swissmetro`` are always split by the
rule ``heldout-v1``, so a seed varies noise and draws alone; of other sets seed s holds
out the people of the rule ``split-s``. With a second folder everybody of the first
learns and everybody of the second is predicted.

Does not give: independent seeds. The same few hundred people serve all of them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpref.core.entropy import SeededEntropy
from fedpref.data import partition
from fedpref.data.dataset import Dataset
from fedpref.errors import InputError
from fedpref.study.answers import (
    Answers,
    Features,
    Revealed,
    from_ratings,
    from_records,
    reveal,
)
from fedpref.study.features import from_attributes, from_words

People = dict[str, Sequence[Any]]
"""Choices or ratings by person, never both."""

FIXED_SPLIT = ("electricity", "swissmetro")


@dataclass(frozen=True, eq=False)
class Side:
    """The same answers with features of their words, and of attributes if there are."""

    words: Answers
    attributes: Answers | None

    def __repr__(self) -> str:
        return f"Side({self.words!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """One seed: who learns, who is predicted, and its randomness."""

    name: str
    seed: int
    train: Side
    test: Side

    @property
    def entropy(self) -> SeededEntropy:
        """Of noise and rounding; reproducible and NOT private."""
        return SeededEntropy(self.number("noise"))

    def draw(self, ks: tuple[int, ...], number: int) -> Revealed:
        """What the predicted people reveal in this draw."""
        rng = np.random.default_rng(self.number(f"draw {number}"))
        return reveal(self.test.words, ks, rng=rng)

    def number(self, purpose: str) -> int:
        """A number below 2**63 of this set, seed and purpose."""
        content = f"fedpref study 1\0{self.name}\0{self.seed}\0{purpose}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1


@dataclass(frozen=True, eq=False, repr=False)
class Material:
    """A set with the features of its public texts, and who is predicted if given."""

    dataset: Dataset
    test: Dataset | None
    words: Features
    attributes: Features | None

    @property
    def groups(self) -> Mapping[str, Mapping[str, str]]:
        """Group values of everybody, by person."""
        more = self.test.people if self.test is not None else {}
        return {**self.dataset.people, **more}

    @property
    def salt(self) -> str | None:
        """The rule of the first seed's split; None with a second folder."""
        return None if self.test is not None else _salt(self.dataset.name, 1)


def material(dataset: Dataset, test: Dataset | None, directions: int) -> Material:
    """Features of the public texts of both.

    Raises:
        InputError: Texts are private, or somebody is in both folders.
    """
    if not dataset.texts_public:
        raise InputError(
            f"set = {dataset.name}: its texts are not declared public, and features "
            "of a study are made of its catalogue; study a survey set"
        )
    texts, rows = dataset.catalogue, dict(dataset.attributes)
    if test is not None:
        texts, rows = texts + test.catalogue, rows | dict(test.attributes)
        both = len(_people(dataset).keys() & _people(test).keys())
        if both:
            raise InputError(
                f"test: {both} people are in the training folder too; predict people "
                "who were not learned from"
            )
    words = from_words(texts, directions)
    return Material(dataset, test, words, from_attributes(rows) if rows else None)


def cases(material: Material, seeds: int) -> Iterator[Case]:
    """Cases of the seeds 1 to ``seeds``."""
    for seed in range(1, seeds + 1):
        train, test = _sides(material, seed)
        yield Case(
            material.dataset.name, seed, _side(train, material), _side(test, material)
        )


def _sides(material: Material, seed: int) -> tuple[People, People]:
    everybody = _people(material.dataset)
    if material.test is not None:
        return everybody, _people(material.test)
    salt = _salt(material.dataset.name, seed)
    out = {user for user in everybody if partition.is_heldout(user, salt)}
    train = {user: own for user, own in everybody.items() if user not in out}
    test = {user: own for user, own in everybody.items() if user in out}
    if not train or not test:
        raise InputError(
            f"people = {len(everybody)}: the rule {salt} leaves {len(train)} to learn "
            f"from and {len(test)} to predict; give more people"
        )
    return train, test


def _salt(name: str, seed: int) -> str:
    return partition.SALT if name in FIXED_SPLIT else f"split-{seed}"


def _people(dataset: Dataset) -> People:
    """Answers by person: ratings where people rated, choices elsewhere."""
    found: dict[str, list[Any]] = {}
    for answer in dataset.ratings or dataset.records:
        found.setdefault(answer.user, []).append(answer)
    return dict(found)


def _side(people: People, material: Material) -> Side:
    build = from_ratings if material.dataset.ratings else from_records
    attributes = material.attributes
    return Side(
        build(people, material.words),
        None if attributes is None else build(people, attributes),
    )
