"""The ledger on a disk that fails, in a process that is killed, on torn files."""

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from fedpref.core import ledger as core
from fedpref.core.book import Book
from fedpref.core.ledger import replay
from fedpref.errors import (
    OutputError,
)
from fedpref.store import ledger as store
from fedpref.store.ledger import Ledger, load, read_rows

# A disk that fails


class Failing:
    """Counts the calls of what makes rows durable, and fails at number ``at``."""

    def __init__(self, monkeypatch, at: int, code: int):
        self.at, self.code, self.calls = at, code, 0
        for name in ("fsync", "replace", "chmod"):
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))

    def wrap(self, call):
        def wrapped(*arguments, **named):
            self.calls += 1
            if self.calls == self.at:
                raise OSError(self.code, os.strerror(self.code))
            return call(*arguments, **named)

        return wrapped


class Connection(sqlite3.Connection):
    """Fails at the statement that starts with ``word``, before or after it ran."""

    word, before, code = "", True, sqlite3.SQLITE_FULL

    def execute(self, statement, *values):
        if not statement.startswith(self.word):
            return super().execute(statement, *values)
        if not self.before:
            super().execute(statement, *values)
        error = sqlite3.OperationalError("disk failed")
        error.sqlite_errorcode = self.code
        raise error


def check_after_failure(files, path, ledger, kept: Book, step) -> None:
    """The object is done for; the file has what was kept, and one row more at most."""
    after = files(path)
    with pytest.raises(OutputError, match="open it again"):
        ledger.append(step)
    assert files(path) == after
    ledger.close()
    with Ledger.open(path) as again:
        assert again.book.seq in (kept.seq, kept.seq + 1)
        assert replay(read_rows(path)[: kept.seq]) == kept
        if again.book.seq == kept.seq:
            again.append(step)
        assert load(path) == again.book


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_failing_head_copy_is_fatal(
    path, steps, monkeypatch, at, code, files
) -> None:
    ledger = Ledger.open(path)
    ledger.append(steps[0])
    kept = ledger.book
    with monkeypatch.context() as patch:
        Failing(patch, at, code)
        with pytest.raises(OutputError):
            ledger.append(steps[1])
    assert ledger.book == kept
    check_after_failure(files, path, ledger, kept, steps[1])


def test_the_head_copy_is_synced_replaced_and_synced(path, steps, monkeypatch) -> None:
    """No call of ``append`` is left out above."""
    with Ledger.open(path) as ledger, monkeypatch.context() as patch:
        failing = Failing(patch, -1, 0)
        ledger.append(steps[0])
        assert failing.calls == 4


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("word", ["BEGIN", "SELECT seq, head", "INSERT", "COMMIT"])
@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR | 4 << 8])
def test_a_failing_statement_is_fatal(
    path, steps, monkeypatch, word, before, code, files
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **k: connect(*a, factory=Connection, **k)
    )
    monkeypatch.setattr(Connection, "word", "never")
    ledger = Ledger.open(path)
    ledger.append(steps[0])
    kept = ledger.book
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "word", word)
        patch.setattr(Connection, "before", before)
        patch.setattr(Connection, "code", code)
        with pytest.raises(OutputError, match="disk failed"):
            ledger.append(steps[1])
    check_after_failure(files, path, ledger, kept, steps[1])


def test_a_full_disk_is_fatal_for_real(path, steps, reservation, files) -> None:
    """SQLite itself reports it, at the page limit."""
    ledger = Ledger.open(path)
    ledger.append(steps[0])
    kept = ledger.book
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count={pages}")
    big = "d" * 10_000
    ledger.append(steps[1])
    kept = ledger.book
    with pytest.raises(OutputError, match="full"):
        ledger.append(lambda b: core.unmask(b, "a", 1, big))
    check_after_failure(files, path, ledger, kept, steps[2])


@pytest.mark.parametrize("at", range(1, 8))
def test_a_disk_that_fails_while_a_ledger_is_made(path, steps, monkeypatch, at) -> None:
    with monkeypatch.context() as patch:
        failing = Failing(patch, at, errno.EIO)
        try:
            Ledger.open(path).close()
        except OutputError:
            assert failing.calls >= at
        else:
            assert failing.calls < at  # there are no more calls than this
    with Ledger.open(path) as ledger:
        ledger.append(steps[0])
    assert load(path).seq == 1


def test_an_interrupt_in_the_middle_is_fatal_too(
    path, steps, monkeypatch, files
) -> None:
    ledger = Ledger.open(path)
    ledger.append(steps[0])
    kept = ledger.book

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_head", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ledger.append(steps[1])
    check_after_failure(files, path, ledger, kept, steps[1])


# Crashes and torn files: the recorded scripts, on a few hundred cases


def script(root, name, *arguments) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, str(root / "tests" / "faults" / name), *arguments, "--json"],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_kill_9_at_any_moment(root) -> None:
    found = script(
        root, "ledger_kill.py", "--exits", "0:2000", "--stride", "47", "--kills", "0:6"
    )
    assert found["violations"] == 0, found
    assert found["injected exits"] >= 75
    assert found["SIGKILL hit a living process"] >= 20
    assert found["rounds revealed"] > 250


@pytest.mark.parametrize(
    ("mutation", "violation"),
    [
        ("reveal-first", "revealed and uncharged"),
        ("refund-uploaded", "refunded after an upload"),
        ("new-noise", "two outputs"),
    ],
)
def test_the_crash_check_finds_a_wrong_order(root, mutation, violation) -> None:
    cases = ("--exits", "0:1300", "--stride", "65", "--mutate", mutation)
    assert script(root, "ledger_kill.py", *cases)[violation] > 0


def test_torn_files_and_old_copies(root) -> None:
    found = script(root, "ledger_torn.py", "--cases", "0:150")
    assert found["violations"] == 0, found
    assert found["refused"] > 50
    assert found["nothing lost"] > 25


def test_without_the_head_copy_rows_would_be_lost_unnoticed(root) -> None:
    cases = ("--cases", "0:60", "--mutate", "no-head-copy")
    assert script(root, "ledger_torn.py", *cases)["lost unnoticed"] > 0


def test_a_copy_of_the_folder_is_a_ledger_too(filled, tmp_path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("ledger.db", "ledger.db.head"):
        shutil.copy(filled.parent / name, copy / name)
    assert load(copy / "ledger.db") == load(filled)
