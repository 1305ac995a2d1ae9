"""The ride-hailing survey: menus of four, one of which gives nothing."""

from collections import Counter

import pytest

from fedpref.data import ridehail
from fedpref.errors import InputError, RecordError

NOTHING = ("none", "none", "none", "none", "0.0")
OFFERS = [
    ("name", "route", "none", "advertising", "3.0"),
    ("none", "none", "email", "none", "12.0"),
    ("none", "none", "none", "app_improvement", "3.0"),
    NOTHING,
]


def menu(user="r1", task=1, chosen=2, told=1):
    return [
        [user, task, alt, int(alt == chosen), *offer, told]
        for alt, offer in enumerate(OFFERS, start=1)
    ]


@pytest.fixture
def load(tmp_path, write_table):
    def load(rows):
        write_table(tmp_path / ridehail.FILE, ridehail.HEADER, rows)
        return ridehail.read(tmp_path)

    return load


def test_a_task_is_one_choice_among_four(load):
    data = load([*menu()[::-1], *menu("r2", 8, chosen=4, told=0)])
    first, second = data.records
    assert first.options == second.options
    assert first.options == (
        "Give your name, your route, used for advertising, and get a discount of 3.",
        "Give your email, and get a discount of 12.",
        "Give no data, used to improve the app, and get a discount of 3.",
        "Give no data and get no discount.",
    )
    assert (first.choice, second.choice) == (1, 3)
    assert data.people == {
        "r1": {"gdpr_information": "told"},
        "r2": {"gdpr_information": "not told"},
    }
    assert data.attributes[first.options[3]]["gives"] == "nothing"
    assert data.attributes[first.options[0]] == {
        "personal_data": "name",
        "location_data": "route",
        "contact_data": "none",
        "use_of_data": "advertising",
        "discount": "3.0",
        "gives": "something",
    }


def change(row, column, value):
    def apply(rows):
        rows[row][ridehail.HEADER.index(column)] = value

    return apply


BAD = {
    "line 5: the same person, `task` and `alt` as line 4": change(3, "alt", 3),
    "line 2: options of this task = 3, not 4": lambda rows: rows.pop(),
    "line 2: chosen options of this task = 0, not 1": change(1, "chosen", 0),
    "line 2: chosen options of this task = 2, not 1": change(0, "chosen", 1),
    "`alt` must be 4 exactly where nothing is given": change(0, "alt", 4),
    "`alt` must be a whole number from 1 to 4": change(0, "alt", 5),
    "`task` must be": change(0, "task", 9),
    "`discount` must be one of": change(0, "discount", "4.0"),
    "`personal_data` must be one of": change(0, "personal_data", "blood"),
    "`gdpr_info_group` must be one of": change(0, "gdpr_info_group", 2),
}


@pytest.mark.parametrize("reason", BAD)
def test_menus_that_do_not_fit(load, reason):
    rows = menu()
    load(rows)
    BAD[reason](rows)
    if reason.startswith("line 5"):
        rows[3][4:9] = OFFERS[2]
    with pytest.raises(RecordError) as caught:
        load(rows)
    assert reason in str(caught.value)


def test_menus_in_which_two_options_read_the_same_are_counted(load):
    rows = menu("r2")
    rows[0][4:9] = rows[1][4:9]
    data = load([*menu(), *rows])
    assert [record.user for record in data.records] == ["r1"]
    assert data.dropped == {"choices in which two options read the same": 1}
    assert data.people.keys() == {"r1"}


def test_the_file_of_another_set_is_refused(tmp_path, write_table):
    write_table(tmp_path / ridehail.FILE, ("user_id", "vendor"), [("d1", "x")])
    with pytest.raises(InputError, match="of another set or study"):
        ridehail.read(tmp_path)


def test_the_real_folder(real_set):
    data = real_set(ridehail.NAME)
    users = Counter(record.user for record in data.records)
    assert len(users) == 313
    assert set(users.values()) == {8}
    assert (len(data.records), len(data.catalogue)) == (2504, 137)
    assert data.dropped == {}
    assert Counter(record.choice for record in data.records)[3] == 335  # 13 %
