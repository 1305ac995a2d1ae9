"""Ledgers that are refused, and left as they are."""

import sqlite3
from contextlib import closing

import pytest

from fedpref.errors import (
    InputError,
    IntegrityError,
    OutputError,
)
from fedpref.store import _ledger_file
from fedpref.store.ledger import Ledger, load, read_head

# What is refused


def refused(files, path, pattern: str) -> None:
    """By readers and writers, and the files are left as they are."""
    before = files(path)
    for use in (load, Ledger.open):
        with pytest.raises(IntegrityError, match=pattern):
            use(path)
    assert files(path) == before


def test_no_file_is_refused_by_readers(path) -> None:
    with pytest.raises(InputError, match="no ledger"):
        load(path)


def test_no_folder_is_refused(tmp_path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        Ledger.open(tmp_path / "nowhere" / "ledger.db")


@pytest.mark.parametrize("data", [b"", b"hello", b"SQLite format 3\0" + bytes(4080)])
def test_a_file_that_is_no_ledger_is_refused(path, data, files) -> None:
    path.write_bytes(data)
    refused(files, path, "no ledger|cannot read it")


@pytest.mark.parametrize("pragma", ["application_id", "user_version"])
def test_another_schema_is_refused_with_what_differs(
    filled, pragma, raw, files
) -> None:
    (was,) = raw(filled, f"PRAGMA {pragma}")[0]
    raw(filled, f"PRAGMA {pragma}=77")
    refused(files, filled, f"{pragma} = 77, must be {was}")


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER log_update",
        "CREATE TRIGGER more AFTER INSERT ON log BEGIN SELECT 1; END",
        "CREATE INDEX bodies ON log(body)",
    ],
)
def test_other_tables_or_triggers_are_refused(filled, statement, raw, files) -> None:
    raw(filled, statement)
    refused(files, filled, "triggers")


def edit(path, statement) -> None:
    """As somebody would who takes the triggers away and puts them back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for name in ("log_next", "log_update", "log_delete"):
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement)
        for trigger in _ledger_file.STATEMENTS[1:]:
            db.execute(trigger)


@pytest.mark.parametrize(
    ("statement", "pattern"),
    [
        ("DELETE FROM log WHERE seq > 4", "last 2 of 6 rows are lost"),
        ("DELETE FROM log", "last 6 of 6 rows are lost"),
        ("DELETE FROM log WHERE seq = 3", "row 4: the chain is broken"),
        ("UPDATE log SET body = replace(body, 'd1', 'd7')", "row 3"),
        ("UPDATE log SET kind = 'aborted' WHERE seq = 5", "row 5"),
        ("UPDATE log SET kind = 'unheard' WHERE seq = 5", "row 5 is of no known kind"),
        ("UPDATE log SET body = x'00' WHERE seq = 5", "row 5 has values of a wrong"),
        ("UPDATE log SET body = cast(x'ff' AS TEXT) WHERE seq = 5", "cannot read"),
        ("UPDATE log SET head = x'00' WHERE seq = 6", "row 6: the chain is broken"),
        ("UPDATE log SET seq = 7 WHERE seq = 6", "row 7: the chain is broken"),
    ],
)
def test_edited_rows_are_refused(filled, statement, pattern, files) -> None:
    edit(filled, statement)
    refused(files, filled, pattern)


def test_the_message_says_how_to_go_on(filled) -> None:
    edit(filled, "DELETE FROM log WHERE seq = 6")
    with pytest.raises(IntegrityError) as error:
        load(filled)
    for words in ("Nothing was repaired", "ledger.db.head", "start a new ledger"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    "line", ["", "6", "6:", "x:00", "6:zz", "+6:{hash}", "6:{hash}", "5:{hash}\n"]
)
def test_a_damaged_head_copy_is_refused(filled, line, files) -> None:
    _, head = read_head(filled)
    (filled.parent / "ledger.db.head").write_text(line.format(hash=head.hex()))
    refused(files, filled, "damaged|row 5 is not the one")


def test_a_head_copy_that_is_gone_is_refused_and_can_be_written_by_hand(
    filled, files
) -> None:
    copy = filled.parent / "ledger.db.head"
    line = copy.read_text()
    copy.unlink()
    refused(files, filled, "is gone")
    copy.write_text(line)
    assert load(filled).seq == 6


def test_an_old_database_put_back_is_refused(path, steps, files) -> None:
    with Ledger.open(path) as ledger:
        for step in steps[:4]:
            ledger.append(step)
    old = path.read_bytes()
    with Ledger.open(path) as ledger:
        for step in steps[4:]:
            ledger.append(step)
    path.write_bytes(old)
    refused(files, path, "last 2 of 6 rows are lost")


def test_a_database_that_is_gone_is_not_made_anew(filled) -> None:
    filled.unlink()
    with pytest.raises(IntegrityError, match="all 6 rows is gone"):
        Ledger.open(filled)
    (filled.parent / "ledger.db.head").unlink()
    (filled.parent / "ledger.db-wal").write_bytes(b"left over")
    with pytest.raises(IntegrityError, match="-wal"):
        Ledger.open(filled)
    assert not filled.exists()


def test_one_row_ahead_of_the_head_copy_is_a_crash_and_two_are_not(path, steps) -> None:
    heads = []
    with Ledger.open(path) as ledger:
        for step in steps:
            ledger.append(step)
            heads.append((path.parent / "ledger.db.head").read_text())
    copy = path.parent / "ledger.db.head"
    copy.write_text(heads[3])
    with pytest.raises(IntegrityError, match="knows 4 of 6 rows"):
        Ledger.open(path)
    copy.write_text(heads[4])
    with Ledger.open(path) as ledger:
        assert ledger.book.seq == 6
        assert copy.read_text() == heads[5]
