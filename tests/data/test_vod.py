"""Video on demand: two studies in one folder, menus of three with an opt-out."""

from collections import Counter

import pytest

from fedpref.data import sources, vod
from fedpref.errors import InputError, RecordError

GROUPS = (1, 0, 1)
OFFERS = [
    (1, 1, 0, 1, 1, 1, 8, 13, 0),
    (0, 1, 0, 0, 0, 0, 0, 5, 0),
    (0, 0, 0, 0, 0, 0, 0, 0, 0),
]
OFFERS_2 = [(1, 1, 1, 0, 0, 18, 1), (1, 1, 0, 0, 1, 9, 1), (0, 0, 0, 0, 0, 0, 1)]


def rows(offers, more=(), user="v1", task=1, chosen=3):
    return [
        [user, task, alt, int(alt == chosen), *offer, *more]
        for alt, offer in enumerate(offers, start=1)
    ]


@pytest.fixture
def folder(tmp_path, write_table):
    write_table(tmp_path / vod.FILE, vod.HEADER, rows(OFFERS, GROUPS))
    write_table(tmp_path / vod.FILE_2, vod.HEADER_2, rows(OFFERS_2, chosen=1))
    return tmp_path


def test_study_1(folder):
    data = sources.load("vod-privacy-choices", base=None, folder=folder)
    (record,) = data.records
    assert record.options == (
        "The service uses your ratings, viewing history, location, data from other "
        "companies; other ads, time 8; discount 13 points.",
        "The service uses your viewing history; no ads; discount 5 points.",
        "The service uses no more of your data; no discount.",
    )
    assert record.choice == 2
    assert data.people == {
        "v1": {"gender": "female", "city": "not city", "education": "higher"}
    }
    assert data.attributes[record.options[2]]["opt_out"] == "yes"
    assert data.attributes[record.options[0]]["ads"] == "other"


def test_study_2_has_a_name_of_its_own_and_the_same_people(folder):
    data = sources.load("vod-privacy-choices-study2", base=None, folder=folder)
    (record,) = data.records
    assert record.options == (
        "The service uses your ratings, viewing history, age and gender; search time "
        "18.",
        "The service uses your ratings, viewing history, data from other companies; "
        "search time 9.",
        "The service uses no more of your data.",
    )
    assert record.choice == 0
    assert data.name == "vod-privacy-choices-study2"
    assert data.people["v1"]["gender"] == "female"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("data_location", 2, "`data_location` must be one of 0, 1"),
        ("ads_level", 3, "`ads_level` must be one of 0, 1, 2"),
        ("ads_time", 0, "`ads_time` must be 0 exactly where `ads_level` is 0"),
        ("discount", 14, "`discount` must be one of"),
        ("alt", 3, "`alt` must be 3 exactly where all else is 0"),
        ("city", "", "`city` must be one of 0, 1"),
    ],
)
def test_rows_out_of_range(folder, write_table, column, value, reason):
    bad = rows(OFFERS, GROUPS)
    bad[0][vod.HEADER.index(column)] = value
    write_table(folder / vod.FILE, vod.HEADER, bad)
    with pytest.raises(RecordError, match="line 2: ") as caught:
        vod.read(folder)
    assert reason in str(caught.value)


def test_the_file_of_the_other_study_is_refused(folder):
    (folder / vod.FILE).replace(folder / "aside")
    (folder / vod.FILE_2).replace(folder / vod.FILE)
    with pytest.raises(InputError, match="of another set or study"):
        vod.read(folder)


def test_the_real_folder(real_set):
    data = real_set(vod.NAME)
    users = Counter(record.user for record in data.records)
    assert (len(users), len(data.records), len(data.catalogue)) == (1660, 13_280, 79)
    assert set(users.values()) == {8}
    assert (data.dropped, data.people.keys()) == ({}, users.keys())
    assert Counter(record.choice for record in data.records)[2] == 4573


def test_the_real_folder_study_2(real_set):
    data = real_set(vod.NAME_2)
    users = Counter(record.user for record in data.records)
    assert (len(users), len(data.records), len(data.catalogue)) == (1615, 12_920, 22)
    assert (data.dropped, data.people.keys()) == ({}, users.keys())
