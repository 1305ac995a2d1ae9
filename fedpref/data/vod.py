"""Video on demand: which data viewers let a service use, for a discount or less search.

Each of eight tasks offers two ways of using more of the viewer's data, and opting out.
Study 1 trades data and advertisements for a discount, study 2 data for search time
(Palinski, Jusypenko and Hardy 2025, Journal of Retailing and Consumer Services 84,
104233). A person of study 2 has the same id in study 1.

Guarantees: every task of a study is one record with its three options in the order of
the survey.

Does not give: units. Discount, search time and time of advertisements are in those of
the source, which its files do not name.
"""

from collections.abc import Mapping
from pathlib import Path

from fedpref.data import _menus, _table
from fedpref.data._menus import Option
from fedpref.data.dataset import Dataset
from fedpref.data.wording import Template

NAME = "vod-privacy-choices"
NAME_2 = "vod-privacy-choices-study2"
FILE, FILE_2 = "study1-ads-discount.csv.gz", "study2-search-time.csv.gz"
TASKS, OPTIONS = 8, 3  # option 3 opts out
USED = {
    "data_ratings": "ratings",
    "data_history": "viewing history",
    "data_age_gender": "age and gender",
    "data_location": "location",
    "data_external": "data from other companies",
}
MENU = ("user_id", "task", "alt", "chosen")
GROUPS = {
    "female": ("gender", {"0": "not female", "1": "female"}),
    "city": ("city", {"0": "not city", "1": "city"}),
    "high_edu": ("education", {"0": "not higher", "1": "higher"}),
}
HEADER = (
    *MENU,
    *USED,
    *("ads_level", "ads_time", "discount", "display_treatment"),
    *GROUPS,
)
HEADER_2 = (*MENU, *USED, "search_time", "display_treatment")
ADS = {"0": "no", "1": "other", "2": "personalised"}
ADS_TIMES = ("0", "1", "3", "5", "8")
DISCOUNTS = ("0", "5", "9", "13", "17", "21")
SEARCH_TIMES = ("0", "5", "9", "13", "18")

TEMPLATES = {
    "use": Template(
        "The service uses your {data}; {ads}; discount {discount} points.",
        ("data", "ads", "discount"),
    ),
    "opt_out": Template("The service uses no more of your data; no discount.", ()),
}
TEMPLATES_2 = {
    "use": Template(
        "The service uses your {data}; search time {time}.", ("data", "time")
    ),
    "opt_out": Template("The service uses no more of your data.", ()),
}
ORIGIN = "Palinski et al. (2025), CC BY 4.0, worded by fedpref"

# Data in use (a flag for each kind), then what is offered for it.
Offer = tuple[tuple[str, ...], tuple[str, ...]]
OPT_OUT: Offer = (("0",) * len(USED), ("0", "0", "0"))
OPT_OUT_2: Offer = (("0",) * len(USED), ("0",))


def read(folder: Path, templates: Mapping[str, Template] = TEMPLATES) -> Dataset:
    """Study 1: discounts.

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
        people={option.user: groups for option, groups in rows},
        origin=ORIGIN,
    )


def read_study_2(
    folder: Path, templates: Mapping[str, Template] = TEMPLATES_2
) -> Dataset:
    """Study 2: search time; the groups of its people are in the file of study 1.

    Raises:
        InputError: a file is missing or not of this set.
        RecordError: rows or menus are bad.
    """
    path = folder / FILE_2
    options = _table.read(path, HEADER_2, _row_2)
    groups = _table.read(folder / FILE, HEADER, _row)
    return _menus.dataset(
        NAME_2,
        _menus.together(path, options, size=OPTIONS),
        worded=lambda offer: worded_2(offer, templates),
        attributes=attributes_2,
        people={option.user: row for option, row in groups},
        origin=ORIGIN,
    )


def worded(offer: Offer, templates: Mapping[str, Template] = TEMPLATES) -> str:
    """The sentence of study 1.

    >>> worded((("1", "0", "0", "1", "0"), ("0", "0", "13")))
    'The service uses your ratings, location; no ads; discount 13 points.'
    >>> worded(OPT_OUT)
    'The service uses no more of your data; no discount.'
    """
    if offer == OPT_OUT:
        return templates["opt_out"].fill({})
    level, time, discount = offer[1]
    ads = "no ads" if level == "0" else f"{ADS[level]} ads, time {time}"
    values = {"data": _data(offer), "ads": ads, "discount": discount}
    return templates["use"].fill(values)


def worded_2(offer: Offer, templates: Mapping[str, Template] = TEMPLATES_2) -> str:
    """The sentence of study 2.

    >>> worded_2((("1", "1", "0", "0", "0"), ("18",)))
    'The service uses your ratings, viewing history; search time 18.'
    """
    if offer == OPT_OUT_2:
        return templates["opt_out"].fill({})
    return templates["use"].fill({"data": _data(offer), "time": offer[1][0]})


def _data(offer: Offer) -> str:
    used = [
        name for name, flag in zip(USED.values(), offer[0], strict=True) if flag == "1"
    ]
    return ", ".join(used) or "data no more than now"


def attributes(offer: Offer) -> dict[str, str]:
    """The row of study 1 that a model without text sees, one category a column."""
    level, time, discount = offer[1]
    return _used(offer, OPT_OUT) | {
        "ads": ADS[level],
        "ads_time": time,
        "discount": discount,
    }


def attributes_2(offer: Offer) -> dict[str, str]:
    """The row of study 2 that a model without text sees, one category a column."""
    return _used(offer, OPT_OUT_2) | {"search_time": offer[1][0]}


def _used(offer: Offer, opt_out: Offer) -> dict[str, str]:
    flags = dict(zip(USED, offer[0], strict=True))
    return {name: "yes" if flag == "1" else "no" for name, flag in flags.items()} | {
        "opt_out": "yes" if offer == opt_out else "no"
    }


def _row(
    line: int, row: _table.Row, why: list[str]
) -> tuple[Option[Offer], dict[str, str]]:
    """One option of study 1, and its person's groups."""
    level = _table.one_of(row, "ads_level", ADS, why)
    time = _table.one_of(row, "ads_time", ADS_TIMES, why)
    discount = _table.one_of(row, "discount", DISCOUNTS, why)
    if (level == "0") != (time == "0"):
        why.append("`ads_time` must be 0 exactly where `ads_level` is 0")
    option = _option(line, row, (level, time, discount), OPT_OUT, why)
    groups = {
        name: words[_table.one_of(row, column, words, why)]
        for column, (name, words) in GROUPS.items()
    }
    return option, groups


def _row_2(line: int, row: _table.Row, why: list[str]) -> Option[Offer]:
    """One option of study 2."""
    time = _table.one_of(row, "search_time", SEARCH_TIMES, why)
    return _option(line, row, (time,), OPT_OUT_2, why)


def _option(
    line: int, row: _table.Row, gain: tuple[str, ...], opt_out: Offer, why: list[str]
) -> Option[Offer]:
    flags = tuple(_table.one_of(row, name, ("0", "1"), why) for name in USED)
    offer = (flags, gain)
    alt = _table.whole(row, "alt", 1, OPTIONS, why)
    if (alt == OPTIONS) != (offer == opt_out):
        why.append(f"`alt` must be {OPTIONS} exactly where all else is 0")
    return Option(
        line,
        _table.identifier(row, "user_id", why),
        _table.whole(row, "task", 1, TASKS, why),
        alt,
        offer,
        _table.flag(row, "chosen", why),
    )
