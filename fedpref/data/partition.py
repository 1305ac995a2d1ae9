"""Who is held out: decided by a hash of the user's id alone.

``hold_back`` is another split: of one person's own records, made on their device.
``cap`` leaves no person more than so many records.

Guarantees: a person is wholly in the training part or wholly held out, the same on
every machine and in every run, whatever the order or number of their records.

Does not give: a fixed share. One person in five is expected; small groups vary, and
near copies of one person under two ids can land on both sides.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fedpref.core.types import Record
from fedpref.data.dataset import Rating
from fedpref.errors import InputError

SALT = "heldout-v1"
SALTS = (SALT, *(f"split-{number}" for number in range(1, 6)))
OWN_SALT = "heldback-v1"
CAP_SALT = "cap-v1"
ONE_IN = 5


@dataclass(frozen=True, repr=False)
class Split:
    """Records by user, in order of first appearance; no user is in both parts."""

    train: Mapping[str, tuple[Record, ...]]
    heldout: Mapping[str, tuple[Record, ...]]

    def __repr__(self) -> str:
        return f"Split(train={len(self.train)} users, heldout={len(self.heldout)})"


def is_heldout(user: str, salt: str = SALT) -> bool:
    """Whether SHA-256(salt ":" user), read as a number, is a multiple of five.

    >>> [user for user in ("ada", "ben", "cleo", "dan") if is_heldout(user)]
    ['ben', 'cleo']
    """
    digest = hashlib.sha256(f"{salt}:{user}".encode()).hexdigest()
    return int(digest, 16) % ONE_IN == 0


def by_user(records: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """Records of each user, users and records in order of first appearance."""
    grouped: dict[str, list[Record]] = {}
    for record in records:
        grouped.setdefault(record.user, []).append(record)
    return {user: tuple(rows) for user, rows in grouped.items()}


def split(records: Iterable[Record], salt: str = SALT) -> Split:
    """Training and held-out users.

    Raises:
        InputError: fewer than two users, or all of them on one side.
    """
    users = by_user(records)
    if len(users) < 2:
        raise InputError(
            f"users = {len(users)}, at least 2 are needed, one to train on and one "
            "held out; add records of more people"
        )
    train = {user: rows for user, rows in users.items() if not is_heldout(user, salt)}
    heldout = {user: rows for user, rows in users.items() if is_heldout(user, salt)}
    if not heldout:
        raise InputError(
            f"held-out users = 0 of {len(users)}: SHA-256 of {salt + ':' + 'user'!r} "
            f"holds out one id in {ONE_IN}, and none here, so nothing can be "
            "evaluated; add records of more people, or split by another salt "
            f"({', '.join(SALTS)})"
        )
    if not train:
        raise InputError(
            f"training users = 0 of {len(users)}: SHA-256 of {salt + ':' + 'user'!r} "
            "holds out all of them; add records of more people"
        )
    return Split(train, heldout)


def hold_back(
    records: Iterable[Record],
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """One person's records to train on, and those kept back to evaluate on.

    Kept back is one in five of the person's different questions, at least one where
    there are two or more: those with the smallest hash. What was answered has no say in
    it, and a question that was asked twice is wholly on one side.

    >>> asked = [Record("a", q, ("x", "y"), choice=0) for q in ("p", "q", "p")]
    >>> [[record.prompt for record in part] for part in hold_back(asked)]
    [['p', 'p'], ['q']]
    """
    own = tuple(records)
    questions = sorted({_question(record) for record in own})
    count = max(1, len(questions) // ONE_IN) if len(questions) > 1 else 0
    held = set(questions[:count])
    kept = tuple(record for record in own if _question(record) not in held)
    return kept, tuple(record for record in own if _question(record) in held)


def cap(records: Iterable[Record], most: int) -> tuple[Record, ...]:
    """At most ``most`` records of each person, in their order.

    Which ones is drawn once, by a hash of person and question: the same everywhere, and
    whatever was answered.

    >>> asked = [Record("a", q, ("x", "y"), choice=0) for q in "pqr"]
    >>> [record.prompt for record in cap(asked, 2)]
    ['p', 'r']
    """
    own = tuple(records)
    kept = _drawn([r.user for r in own], most, lambda place: _question(own[place]))
    return tuple(own[place] for place in kept)


def cap_ratings(ratings: Iterable[Rating], most: int) -> tuple[Rating, ...]:
    """At most ``most`` ratings of each person, chosen as :func:`cap` does."""
    own = tuple(ratings)
    kept = _drawn([r.user for r in own], most, lambda place: own[place].text.encode())
    return tuple(own[place] for place in kept)


def _drawn(
    users: Sequence[str], most: int, question: Callable[[int], bytes]
) -> list[int]:
    """Places of each person's ``most`` questions with the smallest hashes, in order."""
    places: dict[str, list[int]] = {}
    for place, user in enumerate(users):
        places.setdefault(user, []).append(place)
    kept: list[int] = []
    for user, own in places.items():
        if len(own) > most:  # hashing everybody's questions would take seconds
            salt = json.dumps([CAP_SALT, user]).encode()
            hashes = {p: hashlib.sha256(salt + question(p)).digest() for p in own}
            own = sorted(own, key=hashes.__getitem__)[:most]
        kept += own
    return sorted(kept)


def _question(record: Record) -> bytes:
    """Hash of what was asked, whatever the order of its options."""
    content = json.dumps([OWN_SALT, record.prompt, sorted(record.options)])
    return hashlib.sha256(content.encode()).digest()
