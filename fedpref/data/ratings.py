"""Turns one person's ratings into pairs: of two texts, which one that person prefers.

Guarantees: both texts of a pair are rated by the same person, the scores are at least
``margin`` apart, and the position in a record says nothing about which was preferred.
What makes no pair is counted.

Does not give: independent records. One rating sits in many pairs, so a pair is not an
answer: only ``unit = "user"`` protects a rating.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable

from fedpref.core.types import Record
from fedpref.data.dataset import Rating

MARGIN = 10.0


def by_user(ratings: Iterable[Rating]) -> dict[str, tuple[Rating, ...]]:
    """Ratings of each person, people and ratings in order of first appearance."""
    grouped: dict[str, list[Rating]] = {}
    for rating in ratings:
        grouped.setdefault(rating.user, []).append(rating)
    return {user: tuple(own) for user, own in grouped.items()}


def pairs(
    ratings: Iterable[Rating], *, margin: float = MARGIN
) -> tuple[tuple[Record, ...], dict[str, int]]:
    """Every pair of one person's ratings that is clear enough, and what was left out.

    >>> own = [Rating("a", text, score) for text, score in (("x", 80), ("y", 20))]
    >>> (record,), _ = pairs(own)
    >>> record.options[record.choice]
    'x'
    """
    records: list[Record] = []
    close = same = 0
    for user, own in by_user(ratings).items():
        order = {rating.text: _order(user, rating.text) for rating in own}
        for one, other in itertools.combinations(own, 2):
            if one.text == other.text:
                same += 1
            elif abs(one.score - other.score) < margin:
                close += 1
            else:
                first, second = sorted((one, other), key=lambda r: order[r.text])
                choice = int(second.score > first.score)
                texts = (first.text, second.text)
                records.append(Record(user, "", texts, choice=choice))
    counts = {
        f"pairs of ratings less than {margin:g} points apart": close,
        "pairs of ratings of the same text": same,
    }
    return tuple(records), {why: count for why, count in counts.items() if count}


def _order(user: str, text: str) -> bytes:
    """Where a text stands in this person's pairs; the score has no say in it."""
    return hashlib.sha256(f"rating-order-v1:{user}:{text}".encode()).digest()


def repeats(ratings: Iterable[Rating]) -> str:
    """A sentence about texts that a person rated more than once, or ``""``."""
    scores: dict[tuple[str, str], list[float]] = {}
    for rating in ratings:
        scores.setdefault((rating.user, rating.text), []).append(rating.score)
    again = {key: said for key, said in scores.items() if len(said) > 1}
    if not again:
        return ""
    people = Counter(user for user, _ in again)
    differ = sum(len(set(said)) > 1 for said in again.values())
    return (
        f"{len(people):,} people rated a text more than once ({len(again):,} texts, "
        f"{differ:,} of them with another score); all ratings are used"
    )
