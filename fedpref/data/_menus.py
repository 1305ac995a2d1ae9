"""From the rows of a choice survey to a data set of worded choices.

Guarantees: a menu has every option once and exactly one chosen; one that has not is an
error with its line number, since half a menu is another question. Menus in which two
options read the same cannot be learned from: they are left out and counted. Questions
that a person answered more than once are counted in a note.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from fedpref.core.types import Record
from fedpref.data import wording
from fedpref.data.dataset import Dataset, Rows
from fedpref.errors import RecordError

ALIKE = "choices in which two options read the same"

Offer = TypeVar("Offer")


@dataclass(frozen=True, repr=False)
class Option(Generic[Offer]):
    """One row of a choice survey in long form; ``alt`` counts from 1."""

    line: int
    user: str
    task: int
    alt: int
    offer: Offer
    chosen: bool


@dataclass(frozen=True, repr=False)
class Menu(Generic[Offer]):
    """What one person was offered, in the survey's order, and which one was taken."""

    user: str
    offers: tuple[Offer, ...]
    choice: int
    id: str = ""


def together(
    path: Path, options: Iterable[Option[Offer]], *, size: int
) -> list[Menu[Offer]]:
    """Menus of ``size`` options each, in order of first appearance.

    Raises:
        RecordError: a row is given twice, or a menu is incomplete or has not exactly
            one chosen option.
    """
    menus: dict[tuple[str, int], dict[int, Option[Offer]]] = {}
    problems: list[tuple[int, str]] = []
    for option in options:
        menu = menus.setdefault((option.user, option.task), {})
        first = menu.setdefault(option.alt, option)
        if first is not option:
            why = f"the same person, `task` and `alt` as line {first.line}"
            problems.append((option.line, why))
    for menu in menus.values():
        line = min(option.line for option in menu.values())
        chosen = sum(option.chosen for option in menu.values())
        if len(menu) != size:
            problems.append((line, f"options of this task = {len(menu)}, not {size}"))
        if chosen != 1:
            problems.append((line, f"chosen options of this task = {chosen}, not 1"))
    if problems:
        raise RecordError(str(path), sorted(problems))
    return [_menu([menu[alt] for alt in sorted(menu)]) for menu in menus.values()]


def _menu(rows: Sequence[Option[Offer]]) -> Menu[Offer]:
    choice = next(place for place, row in enumerate(rows) if row.chosen)
    return Menu(rows[0].user, tuple(row.offer for row in rows), choice)


def dataset(
    name: str,
    menus: Sequence[Menu[Offer]],
    *,
    worded: Callable[[Offer], str],
    attributes: Callable[[Offer], Mapping[str, str]],
    people: Rows,
    origin: str,
) -> Dataset:
    """The menus in words, with the attribute row behind each text.

    Args:
        people: groups of each person; those without an answer are left out.
        origin: whose data it is, for the first note.
    """
    offers = dict.fromkeys(offer for menu in menus for offer in menu.offers)
    texts = {offer: worded(offer) for offer in offers}
    rows, lost = wording.tabulate((texts[o], attributes(o)) for o in offers)
    made = [
        Record(m.user, "", tuple(texts[o] for o in m.offers), choice=m.choice, id=m.id)
        for m in menus
    ]
    records = tuple(r for r in made if len(set(r.options)) == len(r.options))
    alike = len(made) - len(records)
    users = dict.fromkeys(record.user for record in records)
    first = (
        f"{name}: {len(users):,} people, {len(records):,} choices, {len(rows):,} "
        f"distinct texts; {origin}"
    )
    return Dataset(
        name,
        records,
        tuple(rows),
        rows,
        (first,),
        texts_public=True,
        people={user: people[user] for user in users if user in people},
        dropped={ALIKE: alike} if alike else {},
    ).with_notes(repeats(records), lost)


def repeats(records: Iterable[Record]) -> str:
    """A sentence about questions that a person answered more than once, or ``""``.

    >>> ask = [Record("a", "", ("x", "y"), choice=c) for c in (0, 1)]
    >>> repeats(ask).partition(" (")[2]
    '1 question, 1 of them answered differently); all answers are used'
    """
    answers: dict[tuple[str, str, tuple[str, ...]], Counter[str]] = {}
    for record in records:
        if record.choice is not None:
            question = (record.user, record.prompt, tuple(sorted(record.options)))
            said = answers.setdefault(question, Counter())
            said[record.options[record.choice]] += 1
    again = {q: said for q, said in answers.items() if said.total() > 1}
    if not again:
        return ""
    people = len({user for user, _, _ in again})
    differ = sum(len(said) > 1 for said in again.values())
    who = "1 person was" if people == 1 else f"{people:,} people were"
    what = "1 question" if len(again) == 1 else f"{len(again):,} questions"
    return (
        f"{who} asked a question more than once ({what}, {differ:,} of them answered "
        "differently); all answers are used"
    )
