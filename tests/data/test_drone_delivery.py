"""The drone survey: a small folder in its layout, and the real one where it is."""

import hashlib
from collections import Counter

import pytest

from fedpref.data import drone_delivery, partition
from fedpref.data.wording import Template
from fedpref.errors import InputError, RecordError

CHOICES = [
    ("d0001", "take-out food", 1, 15, 3, 30, 1, 1),
    ("d0001", "prescription medications", 0, 1440, 10, 120, 0, 0),
    ("d0002", "take-out food", 1, 15, 3, 30, 1, 0),
]
USERS = [("d0001", 2, 1, 2), ("d0002", 1, 6, 3), ("d0003", 4, 3, 4)]


@pytest.fixture
def folder(tmp_path, write_table):
    write_table(
        tmp_path / drone_delivery.CHOICES, drone_delivery.CHOICES_HEADER, CHOICES
    )
    write_table(tmp_path / drone_delivery.USERS, drone_delivery.USERS_HEADER, USERS)
    return tmp_path


def test_a_row_is_one_choice_ground_vehicle_first(folder):
    data = drone_delivery.read(folder)
    first, second, third = data.records
    assert first.user == "d0001"
    assert first.prompt == ""
    assert first.options == (
        "Take-out food by ground vehicle, fee 1 dollars, wait 15 minutes.",
        "Take-out food by drone, fee 3 dollars, wait 30 minutes, hides who ordered.",
    )
    assert second.options == (
        "Prescription medications by ground vehicle, fee 0 dollars, wait one day.",
        "Prescription medications by drone, fee 10 dollars, wait 2 hours, does not "
        "hide who ordered.",
    )
    assert [r.choice for r in (first, second, third)] == [1, 0, 0]
    assert third.options == first.options
    assert data.texts_public
    assert (
        set(data.catalogue)
        == set(data.attributes)
        == {text for record in data.records for text in record.texts}
    )
    assert data.attributes[first.options[1]] == {
        "mode": "drone",
        "vendor": "drone, take-out food",
        "fee": "3",
        "wait": "30 minutes",
        "hides_who_ordered": "yes",
    }


def test_groups_are_in_words_and_the_silent_are_counted(folder):
    data = drone_delivery.read(folder)
    assert data.people == {
        "d0001": {"gender": "female", "age": "18-24", "urban_rural": "suburban"},
        "d0002": {"gender": "male", "age": "65 or older", "urban_rural": "rural"},
    }
    assert "1 people made no choice" in data.notes
    assert "2 people, 3 choices, 4 distinct texts" in data.notes[0]


def test_a_question_asked_twice_is_said(folder, write_table):
    rows = [*CHOICES, (*CHOICES[0][:-1], 0)]
    write_table(folder / drone_delivery.CHOICES, drone_delivery.CHOICES_HEADER, rows)
    data = drone_delivery.read(folder)
    assert len(data.records) == 4
    note = (
        "1 person was asked a question more than once (1 question, 1 of them answered"
    )
    assert any(note in text for text in data.notes)


def test_other_words(folder):
    templates = drone_delivery.TEMPLATES | {
        "drone": Template("Drone, ${fee}.", drone_delivery.TEMPLATES["drone"].fields)
    }
    data = drone_delivery.read(folder, templates)
    assert data.records[0].options[1] == "Drone, $3."
    assert data.attributes["Drone, $3."]["fee"] == "3"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (0, "", "`user_id`"),
        (1, "weapons", "`vendor` must be one of take-out food"),
        (2, 4, "`ground_fee_usd` must be one of 0, 1, 3, 5, 10"),
        (3, 16, "`ground_wait_min`"),
        (4, "1.0", "`drone_fee_usd`"),
        (5, -15, "`drone_wait_min`"),
        (6, 2, "`drone_privacy` must be one of 0, 1"),
        (7, 2, "`chose_drone` must be a whole number from 0 to 1"),
    ],
)
def test_answers_out_of_range(folder, write_table, column, value, reason):
    row = list(CHOICES[1])
    row[column] = value
    path = folder / drone_delivery.CHOICES
    write_table(path, drone_delivery.CHOICES_HEADER, [CHOICES[0], row])
    with pytest.raises(RecordError) as caught:
        drone_delivery.read(folder)
    assert caught.value.problems[0][0] == 3
    assert reason in str(caught.value)


def test_two_people_with_one_id(folder, write_table):
    path = folder / drone_delivery.USERS
    write_table(path, drone_delivery.USERS_HEADER, [*USERS, ("d0002", 1, 1, 1)])
    with pytest.raises(RecordError, match="line 5: `user_id` is that of line 3"):
        drone_delivery.read(folder)


def test_the_file_of_people_is_needed(folder):
    (folder / drone_delivery.USERS).unlink()
    with pytest.raises(InputError, match=r"users.csv.gz: there is no such file"):
        drone_delivery.read(folder)


def test_the_real_folder(real_set):
    data = real_set(drone_delivery.NAME)
    users = Counter(record.user for record in data.records)
    assert (len(users), len(data.records), len(data.catalogue)) == (2910, 29_031, 190)
    assert max(users.values()) == 12
    assert users.keys() == data.people.keys()
    drone = sum(record.choice == 1 for record in data.records)
    assert drone == 11_238
    assert not any(partition.is_heldout(user) for user in users)
    split = partition.split(data.records, "split-1")
    held = {
        user
        for user in users
        if int(hashlib.sha256(b"split-1:" + user.encode()).hexdigest(), 16) % 5 == 0
    }
    assert split.heldout.keys() == held
    assert len(split.train) + len(held) == 2910
