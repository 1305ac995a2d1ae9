"""Answers of many people as flat arrays, and who reveals how many of them.

Guarantees: people keep their number whatever part of their answers is taken; a text has
one row of features however often it is offered; for every ``k`` the same answers are
asked, and none of them is ever revealed. Does not weight: every answer counts the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedpref.core.types import Float, Integer, Record
from fedpref.errors import InputError

Features = Callable[[Sequence[str]], Float]
LOWEST, HIGHEST = 0.0, 100.0  # a rating
MIDDLE = 50.0  # above it a rating approves


class Kind(StrEnum):
    """What an answer is."""

    CHOICE = "choice"  # one option of a menu
    RATING = "rating"  # a number for one text


class Scored(Protocol):
    """A rating as the data sets give it: a text and its score, 0 to 100."""

    @property
    def text(self) -> str:
        """What was rated."""

    @property
    def score(self) -> float:
        """From 0 (not at all) to 100 (fully); above 50 approves."""


@dataclass(frozen=True, repr=False, eq=False)
class Answers:
    """Choices or ratings, flattened: *options* are those of all records together.

    Attributes:
        kind: choices or ratings, never both.
        features: ``[texts, d]``. For ratings the last column is constant: a rating has
            a level, which a choice has not.
        text: row of ``features`` of each option, ``[options]``; a rating has one.
        start: where a record's options begin, ``[records]``.
        chosen: the chosen option among all options, ``[records]``.
        value: a rating as ``score / 50 - 1`` in [-1, 1], ``[records]``; 0 for choices.
        user: who answered, ``[records]``, ascending, numbered from 0.
        people: their names in that order; a person may have no record.
    """

    kind: Kind
    features: Float
    text: Integer
    start: Integer
    chosen: Integer
    value: Float
    user: Integer
    people: tuple[str, ...]

    @property
    def size(self) -> Integer:
        """How many options each record offers, ``[records]``."""
        return np.diff(self.start, append=len(self.text))

    @property
    def record(self) -> Integer:
        """The record that each option belongs to, ``[options]``."""
        return np.repeat(np.arange(len(self.start)), self.size)

    @property
    def column(self) -> Integer:
        """Place of each option in its own record, from 0, ``[options]``."""
        return np.arange(len(self.text)) - np.repeat(self.start, self.size)

    @property
    def owner(self) -> Integer:
        """Whose each option is, ``[options]``."""
        return np.repeat(self.user, self.size)

    @property
    def counts(self) -> Integer:
        """How many answers each person gave, ``[people]``."""
        return np.bincount(self.user, minlength=len(self.people)).astype(np.int64)

    @property
    def dimension(self) -> int:
        """Number of features, ``d``."""
        return int(self.features.shape[1])

    def __repr__(self) -> str:
        sizes = f"people={len(self.people)}, records={len(self.start)}"
        return f"Answers({self.kind.value}, {sizes}, contents hidden)"


@dataclass(frozen=True, repr=False, eq=False)
class Revealed:
    """One draw of what people reveal to their own device and what they are asked then.

    ``asked`` is to be predicted. ``given[k]`` holds the first ``k`` answers of the same
    people in the drawn order. ``short`` people had too few answers: they have no record
    in any of these.
    """

    asked: Answers
    given: Mapping[int, Answers] = field(repr=False)
    short: int

    def __getitem__(self, k: int) -> Answers:
        return self.given[k]

    def __repr__(self) -> str:
        return f"Revealed(k={list(self.given)}, short={self.short}, contents hidden)"


def from_records(people: Mapping[str, Sequence[Record]], features: Features) -> Answers:
    """Flatten the choices of ``people``, in the order given.

    Args:
        people: records with a choice, by user; a user may have none.
        features: distinct texts -> finite ``[texts, d]``; called once.

    Raises:
        InputError: nobody has a record, a record is not a choice among two or more, an
            id comes twice, or the features have another shape or are not finite.

    >>> menu = Record("a", "", ("x", "longer"), choice=1)
    >>> answers = from_records({"a": [menu], "b": []},
    ...                        lambda texts: np.array([[len(t)] for t in texts]))
    >>> answers.features.tolist(), answers.chosen.tolist(), answers.counts.tolist()
    ([[1.0], [6.0]], [1], [1, 0])
    """
    records = [(n, r) for n, own in enumerate(people.values()) for r in own]
    _require_choices([record for _, record in records])
    index: dict[str, int] = {}
    text = [index.setdefault(t, len(index)) for _, r in records for t in r.texts]
    start = np.cumsum([0] + [len(record.options) for _, record in records[:-1]])
    choice = np.array([record.choice for _, record in records], dtype=np.int64)
    return Answers(
        kind=Kind.CHOICE,
        features=_checked(features, index),
        text=np.array(text, dtype=np.int64),
        start=start.astype(np.int64),
        chosen=start + choice,
        value=np.zeros(len(records)),
        user=np.array([number for number, _ in records], dtype=np.int64),
        people=tuple(people),
    )


def from_ratings(people: Mapping[str, Sequence[Scored]], features: Features) -> Answers:
    """Flatten the ratings of ``people``; a constant feature 1 is put last.

    Args:
        people: ratings by user; a user may have none.
        features: distinct texts -> finite ``[texts, d - 1]``; called once.

    Raises:
        InputError: nobody has a rating, a score is not in 0 to 100, or the features
            have another shape or are not finite.
    """
    ratings = [(n, rating) for n, own in enumerate(people.values()) for rating in own]
    _require_people(len(ratings))
    score = np.array([rating.score for _, rating in ratings], dtype=np.float64)
    bad = int((~((score >= LOWEST) & (score <= HIGHEST))).sum())
    if bad:
        raise InputError(
            f"{bad} of {len(score)} scores are not in {LOWEST:g} to {HIGHEST:g}; "
            "correct them or leave them out"
        )
    index: dict[str, int] = {}
    text = [index.setdefault(rating.text, len(index)) for _, rating in ratings]
    rows = _checked(features, index)
    return Answers(
        kind=Kind.RATING,
        features=np.column_stack([rows, np.ones(len(rows))]),
        text=np.array(text, dtype=np.int64),
        start=np.arange(len(ratings)),
        chosen=np.arange(len(ratings)),
        value=score / MIDDLE - 1,
        user=np.array([number for number, _ in ratings], dtype=np.int64),
        people=tuple(people),
    )


def only(answers: Answers, keep: NDArray[np.bool_]) -> Answers:
    """The records for which ``keep [records]`` holds, of the same people."""
    kept = answers.size[keep]
    start = np.concatenate([[0], np.cumsum(kept)[:-1]]) if len(kept) else kept
    return replace(
        answers,
        text=answers.text[np.repeat(keep, answers.size)],
        start=start.astype(np.int64),
        chosen=start + (answers.chosen - answers.start)[keep],
        value=answers.value[keep],
        user=answers.user[keep],
    )


def reveal(
    answers: Answers,
    ks: Sequence[int],
    *,
    last: int | None = None,
    rng: np.random.Generator,
) -> Revealed:
    """Order each person's answers at random; reveal the first ``k``, ask the others.

    The first ``max(ks)`` may be revealed. What follows is asked, the same for every
    ``k``. Only whole answers move: all options of a menu go together.

    Args:
        answers: of the people to predict.
        ks: how many answers are revealed, each 0 or more.
        last: ask at most this many a person, the last of the order; None asks them all.
        rng: draws the orders.

    Raises:
        InputError: no or negative ``ks``, ``last`` below 1, or nobody has enough
            answers.
    """
    if not ks or min(ks) < 0 or (last is not None and last < 1):
        raise InputError(
            f"ks = {list(ks)}, last = {last}: give at least one k, each 0 or more, and "
            "ask at least 1 answer"
        )
    most, counts = max(ks), answers.counts
    able = (counts > most)[answers.user]
    if not able.any():
        raise InputError(
            f"k = {most}: nobody has more than {most} answers, so that none is left to "
            "predict; ask for a smaller k"
        )
    order = np.lexsort((rng.random(len(answers.user)), answers.user))
    rank = np.empty(len(order), dtype=np.int64)
    first = np.cumsum(counts) - counts
    rank[order] = np.arange(len(order)) - first[answers.user]
    left = (counts - (last or len(rank)))[answers.user]
    return Revealed(
        asked=only(answers, able & (rank >= np.maximum(most, left))),
        given={k: only(answers, able & (rank < k)) for k in ks},
        short=int((counts <= most).sum()),
    )


def with_features(revealed: Revealed, features: Float) -> Revealed:
    """The same draw with other ``features [texts, d']``, texts in the same order.

    Answers made from the same people have their texts in the same order, so one draw
    can be predicted from texts and from attributes.
    """
    rows = len(revealed.asked.features)
    if len(features) != rows:
        raise InputError(
            f"features: {len(features)} rows for {rows} texts; take those of answers "
            "made from the same people"
        )
    return replace(
        revealed,
        asked=replace(revealed.asked, features=features),
        given={k: replace(a, features=features) for k, a in revealed.given.items()},
    )


def disagreements(answers: Answers) -> Integer:
    """How many questions each person answered in two ways, ``[people]``.

    A question is a text to rate, or a set of options in whatever order. Such answers
    are kept, and this count is what a report says about them.
    """
    said: dict[tuple[int, tuple[int, ...]], set[float]] = {}
    rating = answers.kind is Kind.RATING
    given = answers.value if rating else answers.text[answers.chosen].astype(float)
    menus = np.split(answers.text, answers.start)[1:]
    for user, menu, own in zip(answers.user, menus, given, strict=True):
        said.setdefault((user, tuple(np.sort(menu).tolist())), set()).add(float(own))
    people = [user for (user, _), own in said.items() if len(own) > 1]
    found = np.bincount(np.array(people, dtype=np.int64), minlength=len(answers.people))
    return found.astype(np.int64)


def _require_people(records: int) -> None:
    if not records:
        raise InputError("answers = 0, at least 1 is needed: give people with answers")


def _require_choices(records: Sequence[Record]) -> None:
    _require_people(len(records))
    bad = sum(record.choice is None or len(record.options) < 2 for record in records)
    if bad:
        raise InputError(
            f"{bad} of {len(records)} records are not a choice among 2 or more; "
            "give records with 'options' and 'choice', or ratings"
        )
    named = [(record.user, record.id) for record in records if record.id]
    twice = len(named) - len(set(named))
    if twice:
        raise InputError(
            f"{twice} of {len(records)} records repeat an id of the same person; "
            "give every record an id of its own, or none"
        )


def _checked(features: Features, index: Mapping[str, int]) -> Float:
    """One finite row of features a text."""
    rows = np.asarray(features(list(index)), dtype=np.float64)
    if rows.ndim != 2 or len(rows) != len(index):
        raise InputError(
            f"features: shape = {rows.shape} for {len(index)} texts; "
            "return one row a text, in the order given"
        )
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if bad:
        raise InputError(
            f"features: {bad} of {len(rows)} texts have a row that is not "
            "finite; correct the features"
        )
    return rows
