"""Convincing arguments: which of two arguments on one side of a debate people prefer.

UKPConvArg1 (Habernal and Gurevych 2016, ACL): real text, and people with anything from
one vote to thousands.

Guarantees: every vote is one record, or is counted as "equal" or as about two arguments
that read the same. Prompt and options are
the published texts; all of them are the public catalogue.

Does not give: consent of the arguments' authors, or a fair share for everybody; loading
therefore caps the records of a person.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from fedpref.core.types import Record
from fedpref.data import _menus, _table
from fedpref.data._menus import ALIKE
from fedpref.data.dataset import Dataset
from fedpref.data.wording import Template
from fedpref.errors import InputError, RecordError

NAME = "argument-convincingness-prefs"
VOTES, TEXTS = "votes.csv.gz", "arguments.jsonl.gz"
HEADER = ("user_id", "topic", "arg1", "arg2", "vote")
FIELDS = ("topic", "arg_id", "title", "stance", "text")
VOTE = {"a1": 0, "a2": 1, "equal": None}
EQUAL = "votes for neither argument"
RECORDS_PER_PERSON = 500
WORDS_STEP = 20
TEMPLATES = {"prompt": Template("{title}: {stance}", ("title", "stance"))}

Key = tuple[str, str]  # topic, argument
Vote = tuple[int, str, Key, Key, int | None]  # line, person, first, second, preferred


def read(folder: Path, templates: Mapping[str, Template] = TEMPLATES) -> Dataset:
    """All votes in ``folder``, the arguments in the order in which they were shown.

    Raises:
        InputError: a file is missing or not of this set.
        RecordError: votes or arguments are bad, or a vote is about an unknown argument.
    """
    known = read_arguments(folder / TEXTS)
    votes = _table.read(folder / VOTES, HEADER, _vote)
    _check(folder / VOTES, votes, known)
    prompts = {key: templates["prompt"].fill(row) for key, row in known.items()}
    made = [
        Record(user, prompts[one], (known[one]["text"], known[two]["text"]), choice)
        for _, user, one, two, choice in votes
        if choice is not None
    ]
    records = tuple(r for r in made if r.options[0] != r.options[1])
    table = {
        f"{prompts[key]}\n{row['text']}": {"words": _words(row["text"])}
        for key, row in known.items()
    }
    people = len({record.user for record in records})
    first = (
        f"{NAME}: {people:,} people, {len(records):,} votes, {len(table):,} distinct "
        "texts, declared public; UKPConvArg1, CC BY 4.0, worker ids replaced"
    )
    silent = len({user for _, user, *_ in votes}) - people
    dropped = {EQUAL: len(votes) - len(made), ALIKE: len(made) - len(records)}
    return Dataset(
        NAME,
        records,
        tuple(table),
        table,
        (first, 'report beside "the longer argument wins", 68 to 69 % of the votes'),
        texts_public=True,
        dropped={why: count for why, count in dropped.items() if count},
    ).with_notes(
        _menus.repeats(records),
        f'{silent:,} people only voted "equal"' if silent else "",
    )


def _words(text: str) -> str:
    """The class of a text's length, for a model without words."""
    low = len(text.split()) // WORDS_STEP * WORDS_STEP
    return f"{low} to {low + WORDS_STEP - 1}"


def read_arguments(path: Path) -> dict[Key, dict[str, str]]:
    """The published arguments by topic and id.

    Raises:
        InputError: the file cannot be read.
        RecordError: lines are bad, or two have one id.
    """
    known: dict[Key, dict[str, str]] = {}
    problems: list[tuple[int, str]] = []
    for number, line in enumerate(_table.unpacked(path).splitlines(), start=1):
        row = _json(line)
        if row is None:
            problems.append((number, f"must be an object of strings: {FIELDS}"))
        elif known.setdefault((row["topic"], row["arg_id"]), row) is not row:
            problems.append((number, "`topic` and `arg_id` are those of another line"))
    if problems:
        raise RecordError(str(path), problems)
    if not known:
        raise InputError(f"{path}: arguments = 0; get the file again")
    return known


def _json(line: str) -> dict[str, str] | None:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    fits = isinstance(row, dict) and tuple(row) == FIELDS
    fits = fits and all(isinstance(value, str) for value in row.values())
    return row if fits and row["text"].strip() else None


def _vote(line: int, row: _table.Row, why: list[str]) -> Vote:
    user = _table.identifier(row, "user_id", why)
    vote = _table.one_of(row, "vote", VOTE, why)
    one, two = (row["topic"], row["arg1"]), (row["topic"], row["arg2"])
    return line, user, one, two, VOTE[vote]


def _check(path: Path, votes: list[Vote], known: Mapping[Key, object]) -> None:
    """Every vote is about two known and different arguments."""
    problems = []
    for line, _, one, two, _ in votes:
        if one not in known or two not in known:
            problems.append((line, f"an argument that is not in {TEXTS}"))
        elif one == two:
            problems.append((line, "`arg1` and `arg2` are the same"))
    if problems:
        raise RecordError(str(path), problems)
