"""Turns the authors' file of the drone survey into the two tables that are read here.

The source is wide: one row a respondent, one column a possible question, such as
``CHOICE_v1_gc2_gt0_dc3_dt1_dp0_1``: vendor 1, indices of fee and wait by ground vehicle
and by drone, and whether the drone hides who ordered. Levels are those of the source's
``survey-questions/attributes.py``.

Guarantees: every answer becomes one row; nothing but gender, age and urban or rural is
kept of a person, who is known by the row's number.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence

from fedpref.data.drone_delivery import (
    CHOICES,
    CHOICES_HEADER,
    USERS,
    USERS_HEADER,
    VENDORS,
)
from fedpref.errors import IntegrityError

GROUP_COLUMNS = ("Q_gender", "Q_age", "Q_urban_rural")
QUESTION = re.compile(
    r"CHOICE_v([0-3])_gc([0-3])_gt([0-3])_dc([0-3])_dt([0-3])_dp([01])_1(?:\.1)?"
)
MEDICATIONS = 1  # the one vendor with longer waits and a higher fee
FEES = {False: ("0", "1", "3", "5"), True: ("0", "1", "5", "10")}
WAITS = {False: ("15", "20", "30", "45"), True: ("30", "120", "360", "1440")}


def convert(content: str) -> Mapping[str, str]:
    """The tables ``choices.csv.gz`` and ``users.csv.gz``, unpacked, by name.

    Raises:
        IntegrityError: the file has another layout.
    """
    rows = csv.DictReader(io.StringIO(content, newline=""))
    questions = {name: _question(name) for name in rows.fieldnames or ()}
    asked = {name: levels for name, levels in questions.items() if levels}
    missing = [name for name in GROUP_COLUMNS if name not in questions]
    if missing or not asked:
        raise IntegrityError(
            f"the drone survey's file: columns {', '.join(missing) or 'CHOICE_...'} "
            "are missing; it is not the file that was converted before"
        )
    users, choices = [], []
    for number, row in enumerate(rows):
        user = f"d{number:04d}"
        users.append((user, *(row[name] for name in GROUP_COLUMNS)))
        choices += sorted(_answers(user, row, asked), key=_order)
    return {
        CHOICES: _csv(CHOICES_HEADER, choices),
        USERS: _csv(USERS_HEADER, users),
    }


def _question(name: str) -> tuple[str, ...]:
    """Vendor, fees, waits and privacy of one question; nothing for another column.

    >>> _question("CHOICE_v1_gc2_gt0_dc3_dt1_dp0_1")
    ('prescription medications', '5', '30', '10', '120', '0')
    >>> _question("Q_age")
    ()
    """
    found = QUESTION.fullmatch(name)
    if not found:
        return ()
    v, gc, gt, dc, dt, dp = map(int, found.groups())
    fees, waits = FEES[v == MEDICATIONS], WAITS[v == MEDICATIONS]
    return VENDORS[v], fees[gc], waits[gt], fees[dc], waits[dt], str(dp)


def _answers(
    user: str, row: Mapping[str, str], asked: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, ...]]:
    answers = [(levels, row[name]) for name, levels in asked.items() if row[name]]
    if not all(answer in ("0", "1") for _, answer in answers):
        raise IntegrityError(
            "the drone survey's file: an answer is neither 0 nor 1; it is not the file "
            "that was converted before"
        )
    return [(user, *levels, answer) for levels, answer in answers]


def _order(answer: Sequence[str]) -> tuple[str, list[int]]:
    """By vendor, then by the numbers; the source does not keep the order of asking."""
    return answer[1], [int(cell) for cell in answer[2:]]


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
