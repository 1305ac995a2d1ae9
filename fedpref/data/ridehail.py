"""Ride-hailing: which data people give an app for a discount, or none at all.

Each of eight tasks offers three ways of giving data for a discount, and giving nothing
(Palinski 2022, Applied Economics Letters 29(18), 1719-1725). Half of the people were
told about the GDPR before.

Guarantees: every task of the folder is one record with its four options in the order
of the survey.

Does not give: the survey's own words. The source has short codes; the first word of
each level is certain, the rest is ours. The discount's unit is not documented.
"""

from collections.abc import Mapping
from pathlib import Path

from fedpref.data import _menus, _table
from fedpref.data._menus import Option
from fedpref.data.dataset import Dataset
from fedpref.data.wording import Template

NAME = "ridehail-privacy-choices"
FILE = "choices.csv.gz"
HEADER = (
    "user_id",
    "task",
    "alt",
    "chosen",
    "personal_data",
    "location_data",
    "contact_data",
    "use_of_data",
    "discount",
    "gdpr_info_group",
)
TASKS, OPTIONS = 8, 4  # option 4 gives nothing
GIVEN = {
    "personal_data": {
        "none": "",
        "name": "your name",
        "birth_date": "your birth date",
        "social_media": "your social media",
        "search_history": "your search history",
    },
    "location_data": {
        "none": "",
        "route": "your route",
        "location_history": "your location history",
    },
    "contact_data": {"none": "", "email": "your email", "phone": "your phone"},
}
USES = {
    "none": "",
    "app_improvement": ", used to improve the app",
    "advertising": ", used for advertising",
    "survey": ", used for surveys",
}
DISCOUNTS = {"0.0": "0", "3.0": "3", "6.0": "6", "9.0": "9", "12.0": "12"}
TEMPLATES = {
    "give": Template(
        "Give {data}{use}, and get a discount of {discount}.",
        ("data", "use", "discount"),
    ),
    "nothing": Template("Give no data and get no discount.", ()),
}
TOLD = {"0": "not told", "1": "told"}

Offer = tuple[str, str, str, str, str]  # personal, location, contact, use, discount
NOTHING: Offer = ("none", "none", "none", "none", "0.0")


def read(folder: Path, templates: Mapping[str, Template] = TEMPLATES) -> Dataset:
    """All choices in ``folder``.

    Raises:
        InputError: the file is missing or not of this set.
        RecordError: rows or menus are bad.
    """
    path = folder / FILE
    rows = _table.read(path, HEADER, _row)
    return _menus.dataset(
        NAME,
        _menus.together(path, (option for option, _ in rows), size=OPTIONS),
        worded=lambda offer: worded(offer, templates),
        attributes=attributes,
        people={option.user: {"gdpr_information": told} for option, told in rows},
        origin="Palinski (2022), CC BY 4.0, levels named and worded by fedpref",
    )


def worded(offer: Offer, templates: Mapping[str, Template] = TEMPLATES) -> str:
    """The sentence that the model reads.

    >>> worded(("name", "route", "none", "advertising", "3.0"))
    'Give your name, your route, used for advertising, and get a discount of 3.'
    >>> worded(NOTHING)
    'Give no data and get no discount.'
    """
    if offer == NOTHING:
        return templates["nothing"].fill({})
    levels = zip(GIVEN.values(), offer, strict=False)
    given = [words[level] for words, level in levels if words[level]]
    values = {
        "data": ", ".join(given) or "no data",
        "use": USES[offer[3]],
        "discount": DISCOUNTS[offer[4]],
    }
    return templates["give"].fill(values)


def attributes(offer: Offer) -> dict[str, str]:
    """The row that a model without text sees, one category a column."""
    columns = (*GIVEN, "use_of_data", "discount")
    return dict(zip(columns, offer, strict=True)) | {
        "gives": "nothing" if offer == NOTHING else "something"
    }


def _row(line: int, row: _table.Row, why: list[str]) -> tuple[Option[Offer], str]:
    """One option, and whether its person was told about the GDPR."""
    offer = (
        _table.one_of(row, "personal_data", GIVEN["personal_data"], why),
        _table.one_of(row, "location_data", GIVEN["location_data"], why),
        _table.one_of(row, "contact_data", GIVEN["contact_data"], why),
        _table.one_of(row, "use_of_data", USES, why),
        _table.one_of(row, "discount", DISCOUNTS, why),
    )
    alt = _table.whole(row, "alt", 1, OPTIONS, why)
    if (alt == OPTIONS) != (offer == NOTHING):
        why.append(f"`alt` must be {OPTIONS} exactly where nothing is given")
    option = Option(
        line,
        _table.identifier(row, "user_id", why),
        _table.whole(row, "task", 1, TASKS, why),
        alt,
        offer,
        _table.flag(row, "chosen", why),
    )
    return option, TOLD[_table.one_of(row, "gdpr_info_group", TOLD, why)]
