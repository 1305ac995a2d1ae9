"""Convincing arguments: votes on real text, capped, with what is left out counted."""

import gzip
import json
from collections import Counter

import pytest

from fedpref.data import arguments, sources
from fedpref.errors import InputError, RecordError

TEXTS = [
    ("t1", "a1", "Plastic", "Ban it", "Bottles are waste."),
    ("t1", "a2", "Plastic", "Ban it", "It is good for nobody " * 10),
    ("t1", "a3", "Plastic", "Ban it", "Bottles are waste."),
    ("t2", "a1", "TV", "Books", "Books last."),
    ("t2", "a2", "TV", "Books", "Reading is slow."),
]
VOTES = [
    ("w1", "t1", "a1", "a2", "a2"),
    ("w1", "t2", "a1", "a2", "equal"),
    ("w1", "t2", "a2", "a1", "a1"),
    ("w2", "t1", "a1", "a3", "a1"),
    ("w2", "t1", "a2", "a3", "a2"),
    ("w3", "t1", "a2", "a3", "equal"),
]


def write_texts(folder, rows=TEXTS):
    lines = [json.dumps(dict(zip(arguments.FIELDS, row, strict=True))) for row in rows]
    content = "".join(line + "\n" for line in lines).encode()
    (folder / arguments.TEXTS).write_bytes(gzip.compress(content))


@pytest.fixture
def load(tmp_path, write_table):
    write_texts(tmp_path)

    def load(rows=VOTES, **options):
        write_table(tmp_path / arguments.VOTES, arguments.HEADER, rows)
        return sources.load(arguments.NAME, base=None, folder=tmp_path, **options)

    return load


def test_a_vote_is_a_record_with_the_debate_as_its_prompt(load):
    data = load()
    first, second, third = data.records
    assert first.prompt == "Plastic: Ban it"
    assert first.options == (TEXTS[0][4], TEXTS[1][4])
    assert [r.choice for r in (first, second, third)] == [1, 0, 1]
    assert second.options == ("Reading is slow.", "Books last.")
    assert data.texts_public
    assert {text for r in data.records for text in r.texts} <= set(data.catalogue)
    assert data.catalogue == tuple(data.attributes)
    assert len(data.catalogue) == 4  # two arguments read the same
    assert data.attributes[first.texts[1]] == {"words": "40 to 59"}


def test_what_is_left_out_is_counted(load):
    data = load()
    assert data.dropped == {
        "votes for neither argument": 2,
        "choices in which two options read the same": 1,
    }
    assert '1 people only voted "equal"' in data.notes
    assert any("2 votes for neither argument" in note for note in data.notes)


def test_the_cap_is_the_set_s_own_unless_one_is_given(load):
    rows = [("w1", "t2", "a1", "a2", "a1")] + [("w1", "t1", "a1", "a2", "a1")] * 550
    data = load(rows)
    assert len(data.records) == arguments.RECORDS_PER_PERSON == 500
    assert data.dropped == {"answers beyond 500 of a person": 51}
    assert len(load(rows, records_per_person=1000).records) == 551
    assert len(load(rows, records_per_person=3).records) == 3


@pytest.mark.parametrize(
    ("vote", "reason"),
    [
        (("w1", "t1", "a1", "a9", "a1"), "an argument that is not in arguments.jsonl"),
        (("w1", "t9", "a1", "a2", "a1"), "an argument that is not in arguments.jsonl"),
        (("w1", "t1", "a1", "a1", "a1"), "`arg1` and `arg2` are the same"),
        (("w1", "t1", "a1", "a2", "a3"), "`vote` must be one of a1, a2, equal"),
    ],
)
def test_votes_that_do_not_fit(load, vote, reason):
    with pytest.raises(RecordError, match="line 8: ") as caught:
        load([*VOTES, vote])
    assert reason in str(caught.value)


def test_bad_arguments(load, tmp_path):
    load()
    write_texts(tmp_path, [*TEXTS, TEXTS[0], (*TEXTS[1][:1], "a9", "", "", " ")])
    with pytest.raises(RecordError) as caught:
        sources.load(arguments.NAME, base=None, folder=tmp_path)
    assert [line for line, _ in caught.value.problems] == [6, 7]
    (tmp_path / arguments.TEXTS).write_bytes(gzip.compress(b'[1]\n{"topic": 2}\n{\n'))
    with pytest.raises(RecordError, match="3 bad lines"):
        sources.load(arguments.NAME, base=None, folder=tmp_path)
    (tmp_path / arguments.TEXTS).write_bytes(gzip.compress(b""))
    with pytest.raises(InputError, match="arguments = 0"):
        sources.load(arguments.NAME, base=None, folder=tmp_path)


def test_the_real_folder(real_set):
    data = real_set(arguments.NAME)
    users = Counter(record.user for record in data.records)
    assert (len(users), len(data.catalogue)) == (3038, 1038)
    assert sum(count == 500 for count in users.values()) == 12
    assert data.dropped == {
        "votes for neither argument": 15_452,
        "choices in which two options read the same": 5,
        "answers beyond 500 of a person": 52_806 - 42_511,
    }
    assert len(data.records) + sum(data.dropped.values()) == 68_263
    longer = [
        len(r.options[r.choice]) > len(r.options[1 - r.choice]) for r in data.records
    ]
    assert round(sum(longer) / len(longer), 2) == 0.68
