"""Survey files: every bad row is reported, and nothing that a row holds is shown."""

import gzip

import pytest

from fedpref.data import _table
from fedpref.errors import InputError, RecordError

HEADER = ("user_id", "task", "mood")


def parse(line, row, why):
    return (
        line,
        _table.identifier(row, "user_id", why),
        _table.whole(row, "task", 1, 8, why),
        _table.one_of(row, "mood", ("good", "bad"), why),
    )


def read(path):
    return _table.read(path, HEADER, parse)


def test_rows_come_with_their_lines(tmp_path, write_table):
    path = write_table(
        tmp_path / "t.csv.gz", HEADER, [("a", 1, "good"), ("b", 8, "bad")]
    )
    assert read(path) == [(2, "a", 1, "good"), (3, "b", 8, "bad")]


def test_every_bad_row_with_every_reason_and_no_content(tmp_path, write_table):
    rows = [
        ("ada", 1, "good"),
        ("my secret!", 9, "furious"),
        ("ben", "1.5", "bad"),
        ("ben", 1),
        ("", "²", "good"),
        ("cleo", "-1", "good"),
    ]
    path = write_table(tmp_path / "t.csv.gz", HEADER, rows)
    with pytest.raises(RecordError) as caught:
        read(path)
    assert [line for line, _ in caught.value.problems] == [3, 4, 5, 6, 7]
    reasons = dict(caught.value.problems)
    assert reasons[3].count(";") == 2
    assert "`mood` must be one of good, bad" in reasons[3]
    assert "`task` must be a whole number from 1 to 8" in reasons[4]
    assert reasons[5] == "cells = 2, must be 3"
    assert "5 bad lines" in str(caught.value)
    assert caught.value.exit_code == 2
    for secret in ("secret", "furious", "ada", "1.5"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "not a whole gzip file"),
        (gzip.compress(b"x" * 5000, mtime=0)[:-9], "not a whole gzip file"),
        (
            gzip.compress(b"x" * 5000, mtime=0)[:20] + b"\xff" * 30,
            "not a whole gzip file",
        ),
        (
            gzip.compress(b"user_id,task,mood\na,1,good\n\xff,2,bad\n", mtime=0),
            "line 3: not UTF-8",
        ),
        (gzip.compress(b"user_id,task\n", mtime=0), "missing: mood"),
        (gzip.compress(b"task,user_id,mood\n", mtime=0), "other columns or order"),
        (gzip.compress(b"", mtime=0), "columns = 0"),
        (gzip.compress(b"user_id,task,mood\n", mtime=0), "rows = 0"),
    ],
)
def test_a_file_that_cannot_serve(tmp_path, content, reason):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_an_open_quote_is_a_bad_line(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b'user_id,task,mood\na,1,"good\n', mtime=0))
    with pytest.raises(RecordError, match="not CSV"):
        read(path)


def test_a_byte_order_mark_is_no_content(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(
        gzip.compress(b"\xef\xbb\xbfuser_id,task,mood\r\na,1,good\r\n", mtime=0)
    )
    assert read(path) == [(2, "a", 1, "good")]


def test_a_missing_file_names_the_next_step(tmp_path, write_table):
    with pytest.raises(InputError, match="--from FOLDER"):
        read(tmp_path / "t.csv.gz")
    write_table(tmp_path / "the-set" / "t.csv.gz", HEADER, [("a", 1, "good")])
    with pytest.raises(InputError, match=r"such as .*the-set"):
        read(tmp_path / "t.csv.gz")
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_table, "MAX_BYTES", 1000)
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,task,mood\n" + b"x" * 1000, mtime=0))
    with pytest.raises(InputError, match="more than 1000 bytes unpacked"):
        read(path)
