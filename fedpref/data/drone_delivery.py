"""Drone deliveries: choices between ground vehicle and drone, by fee, wait and privacy.

Each of about ten questions offers one delivery by ground vehicle and one by drone; the
drone does or does not hide who ordered (Berke et al. 2023, Transportation Research
Part C 157, 104391). People's answers, de-identified by the authors.

Guarantees: every row of the folder is one record; groups are those of the authors'
codebook.

Does not give: the order in which a person was asked, which the source does not keep.
"""

from collections.abc import Mapping
from pathlib import Path

from fedpref.data import _menus, _table
from fedpref.data._menus import Menu
from fedpref.data.dataset import Dataset
from fedpref.data.wording import Template

NAME = "drone-delivery-privacy-choices"
CHOICES, USERS = "choices.csv.gz", "users.csv.gz"
CHOICES_HEADER = (
    "user_id",
    "vendor",
    "ground_fee_usd",
    "ground_wait_min",
    "drone_fee_usd",
    "drone_wait_min",
    "drone_privacy",
    "chose_drone",
)
USERS_HEADER = ("user_id", "gender", "age", "urban_rural")

MODES = ("ground", "drone")
VENDORS = (
    "take-out food",
    "prescription medications",
    "items from a liquor store",
    "last-minute groceries",
)
FEES = ("0", "1", "3", "5", "10")
WAITS = {
    "15": "15 minutes",
    "20": "20 minutes",
    "30": "30 minutes",
    "45": "45 minutes",
    "120": "2 hours",
    "360": "6 hours",
    "1440": "one day",
}
GROUPS = {
    "gender": {"1": "male", "2": "female", "3": "other", "4": "no answer"},
    "age": {
        "1": "18-24",
        "2": "25-34",
        "3": "35-44",
        "4": "45-54",
        "5": "55-64",
        "6": "65 or older",
    },
    "urban_rural": {"1": "urban", "2": "suburban", "3": "rural", "4": "unknown"},
}
TEMPLATES = {
    "ground": Template(
        "{vendor} by ground vehicle, fee {fee} dollars, wait {wait}.",
        ("vendor", "fee", "wait"),
    ),
    "drone": Template(
        "{vendor} by drone, fee {fee} dollars, wait {wait}, {privacy} who ordered.",
        ("vendor", "fee", "wait", "privacy"),
    ),
}

Offer = tuple[str, str, str, str]  # vendor, fee, wait, privacy ("" by ground vehicle)


def read(folder: Path, templates: Mapping[str, Template] = TEMPLATES) -> Dataset:
    """All choices in ``folder``, ground vehicle first.

    Raises:
        InputError: a file is missing or not of this set.
        RecordError: rows are bad.
    """
    people = read_groups(folder / USERS)
    data = _menus.dataset(
        NAME,
        _table.read(folder / CHOICES, CHOICES_HEADER, _choice),
        worded=lambda offer: worded(offer, templates),
        attributes=attributes,
        people=people,
        origin="Berke et al. (2023), MIT, worded by fedpref",
    )
    silent = len(people) - len(data.people)
    return data.with_notes(f"{silent:,} people made no choice" if silent else "")


def worded(offer: Offer, templates: Mapping[str, Template] = TEMPLATES) -> str:
    """The sentence that the model reads.

    >>> worded(("take-out food", "3", "120", ""))
    'Take-out food by ground vehicle, fee 3 dollars, wait 2 hours.'
    >>> worded(("last-minute groceries", "0", "15", "1"))
    'Last-minute groceries by drone, fee 0 dollars, wait 15 minutes, hides who ordered.'
    """
    vendor, fee, wait, privacy = offer
    values = {
        "vendor": vendor[0].upper() + vendor[1:],
        "fee": fee,
        "wait": WAITS[wait],
        "privacy": "hides" if privacy == "1" else "does not hide",
    }
    return templates["drone" if privacy else "ground"].fill(values)


def attributes(offer: Offer) -> dict[str, str]:
    """The row that a model without text sees, one category a column."""
    vendor, fee, wait, privacy = offer
    mode = "drone" if privacy else "ground"
    hides = {"": "ground vehicle", "0": "no", "1": "yes"}[privacy]
    return {
        "mode": mode,
        "vendor": f"{mode}, {vendor}",
        "fee": fee,
        "wait": WAITS[wait],
        "hides_who_ordered": hides,
    }


def read_groups(path: Path) -> dict[str, dict[str, str]]:
    """Groups of each person, in the words of the authors' codebook.

    Raises:
        InputError: the file is missing or not of this set.
        RecordError: rows are bad, or two have one id.
    """
    rows = _table.read(path, USERS_HEADER, _person)
    return _table.by_user(path, rows)


def _person(
    line: int, row: _table.Row, why: list[str]
) -> tuple[int, str, dict[str, str]]:
    user = _table.identifier(row, "user_id", why)
    groups = {
        name: codes[_table.one_of(row, name, codes, why)]
        for name, codes in GROUPS.items()
    }
    return line, user, groups


def _choice(line: int, row: _table.Row, why: list[str]) -> Menu[Offer]:
    del line
    user = _table.identifier(row, "user_id", why)
    vendor = _table.one_of(row, "vendor", VENDORS, why)
    fees = [_table.one_of(row, f"{m}_fee_usd", FEES, why) for m in MODES]
    waits = [_table.one_of(row, f"{m}_wait_min", WAITS, why) for m in MODES]
    privacy = _table.one_of(row, "drone_privacy", ("0", "1"), why)
    ground = (vendor, fees[0], waits[0], "")
    drone = (vendor, fees[1], waits[1], privacy)
    return Menu(user, (ground, drone), int(_table.flag(row, "chose_drone", why)))
