"""The ledger on a real disk, with real processes, and with a disk that fails."""

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial

import pytest

from fedpref.core import ledger as core
from fedpref.core.book import Book
from fedpref.core.ledger import replay
from fedpref.errors import (
    BudgetError,
    IntegrityError,
    OutputError,
    SetupError,
)
from fedpref.store import ledger as store
from fedpref.store.ledger import Ledger, load, read_head, read_rows

# What it keeps


def test_what_was_appended_is_there_again(path, steps) -> None:
    with Ledger.open(path) as ledger:
        assert ledger.book == Book() == load(path)
        rows = [ledger.append(step) for step in steps]
        book = ledger.book
    assert read_rows(path) == tuple(rows)
    assert load(path) == book == replay(rows)
    assert read_head(path) == (6, rows[-1].head)
    with Ledger.open(path) as again:
        assert again.book == book


def test_head_copy_and_rows_agree_after_every_row(path, steps) -> None:
    with Ledger.open(path) as ledger:
        for step in steps:
            row = ledger.append(step)
            assert read_head(path) == (row.seq, row.head)
            assert read_rows(path)[-1] == row
            head = f"{row.seq}:{row.head.hex()}\n"
            assert (path.parent / "ledger.db.head").read_text() == head


def test_a_refused_step_writes_nothing_and_the_ledger_goes_on(
    path, steps, reservation, files
) -> None:
    with Ledger.open(path) as ledger:
        ledger.append(steps[0])
        before = files(path)
        with pytest.raises(BudgetError):
            ledger.append(lambda book: core.reserve(book, reservation("b", 5000)))
        with pytest.raises(IntegrityError):
            ledger.append(lambda book: core.unmask(book, "nobody", 1, "d"))
        with pytest.raises(ZeroDivisionError):
            ledger.append(lambda _: 1 / 0)
        assert files(path) == before
        ledger.append(steps[1])
    assert load(path).seq == 2


def test_a_row_that_is_not_the_next_one_is_not_written(path, steps) -> None:
    with Ledger.open(path) as ledger:
        row = ledger.append(steps[0])
        with pytest.raises(IntegrityError):
            ledger.append(lambda _: row)
        assert len(read_rows(path)) == 1


def test_threads_take_turns(path, steps, reservation) -> None:
    with Ledger.open(path) as ledger:
        ledger.append(steps[0])
        plans = [reservation(f"r{n}", 1) for n in range(8)]
        more = [partial(core.reserve, plan=plan) for plan in plans]
        workers = [
            threading.Thread(target=ledger.append, args=(step,)) for step in more
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert ledger.book == load(path)
        assert len(ledger.book.accounts) == 8


def test_settings_of_the_connection(path) -> None:
    with Ledger.open(path) as ledger:

        def ask(name):
            return ledger._db.execute(f"PRAGMA {name}").fetchone()[0]

        assert ask("journal_mode") == "wal"
        assert ask("synchronous") == 2
        assert ask("fullfsync") == 1


def test_a_closed_ledger_refuses(path, steps) -> None:
    ledger = Ledger.open(path)
    ledger.close()
    ledger.close()
    with pytest.raises(OutputError, match="closed"):
        ledger.append(steps[0])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET body = '{}' WHERE seq = 1",
        "DELETE FROM log WHERE seq = 6",
        "DELETE FROM log",
        "INSERT OR REPLACE INTO log VALUES (6, 'released', '{}', x'00')",
        "INSERT INTO log VALUES (9, 'released', '{}', x'00')",
        "INSERT INTO log(kind, body, head) VALUES ('released', '{}', NULL)",
    ],
)
def test_the_file_itself_refuses_changes(filled, statement, raw) -> None:
    before = read_rows(filled)
    with pytest.raises(sqlite3.IntegrityError):
        raw(filled, statement)
    assert read_rows(filled) == before


# One writer, many readers

HOLD = """
import sys
from pathlib import Path
from fedpref.store.ledger import Ledger
with Ledger.open(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_has_gone(filled) -> None:
    command = [sys.executable, "-c", HOLD, str(filled)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout.readline() == b"open\n"
        with pytest.raises(SetupError, match=f"in use by process {first.pid}"):
            Ledger.open(filled)
        assert load(filled).seq == 6
        first.kill()
        first.wait()
    with Ledger.open(filled) as second:
        assert second.book.seq == 6


def test_a_second_handle_and_another_name_are_refused_too(filled) -> None:
    link = filled.parent / "other.db"
    link.symlink_to(filled)
    with Ledger.open(filled):
        for name in (filled, link):
            with pytest.raises(SetupError, match="one writer"):
                Ledger.open(name)


def test_readers_see_a_valid_prefix_while_rows_are_written(
    path, steps, reservation
) -> None:
    with Ledger.open(path) as ledger:
        ledger.append(steps[0])
        ledger.append(lambda b: core.reserve(b, reservation("a", 40)))
        seen, stop = [], threading.Event()

        def look() -> None:
            while not stop.is_set():
                seen.append(load(path).seq)

        reader = threading.Thread(target=look)
        reader.start()
        for n in range(1, 41):
            ledger.append(lambda b, n=n: core.unmask(b, "a", n, "d"))
            ledger.append(lambda b, n=n: core.release(b, "a", n, "m"))
        stop.set()
        reader.join()
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert load(path).seq == 82


def test_a_reader_in_the_middle_does_not_stop_the_writer(filled, reservation) -> None:
    with closing(sqlite3.connect(filled, isolation_level=None)) as reader:
        with Ledger.open(filled) as ledger:
            reader.execute("BEGIN")
            count = "SELECT count(*) FROM log"
            assert reader.execute(count).fetchone() == (6,)
            ledger.append(lambda b: core.reserve(b, reservation("b", 1)))
            assert reader.execute(count).fetchone() == (6,)
        reader.execute("COMMIT")
        assert reader.execute(count).fetchone() == (7,)


def test_a_reader_in_the_past_is_waited_for_when_a_ledger_is_opened(
    filled, reservation, monkeypatch
) -> None:
    monkeypatch.setattr(store, "WAIT_S", 0.05)
    with closing(sqlite3.connect(filled, isolation_level=None)) as reader:
        with Ledger.open(filled) as ledger:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM log").fetchall()
            ledger.append(lambda b: core.reserve(b, reservation("b", 1)))
        with pytest.raises(SetupError, match="being read"):
            Ledger.open(filled)
        reader.execute("COMMIT")
        Ledger.open(filled).close()


def test_opening_moves_every_row_to_the_main_file(
    filled, tmp_path, reservation, files
) -> None:
    """A last row whose sync failed before must not stay in the log, in memory only."""
    left = tmp_path.with_name(f"{tmp_path.name}-left")
    left.mkdir()
    with Ledger.open(filled) as ledger:
        ledger.append(lambda b: core.reserve(b, reservation("b", 1)))
        for name, data in files(filled).items():
            (left / name).write_bytes(data)
    assert (left / "ledger.db-wal").stat().st_size > 0
    with Ledger.open(left / "ledger.db"):
        alone = tmp_path / "alone.db"
        shutil.copy(left / "ledger.db", alone)
        assert len(read_rows(alone)) == 7


def test_somebody_elses_row_stops_the_writer(filled, reservation, raw) -> None:
    with Ledger.open(filled) as ledger:
        other = core.reserve(ledger.book, reservation("b", 1))
        values = (other.seq, other.kind.value, other.body, other.head)
        raw(filled, "INSERT INTO log VALUES (?, ?, ?, ?)", *values)
        for _ in range(2):
            with pytest.raises((IntegrityError, OutputError)):
                ledger.append(lambda b: core.reserve(b, reservation("c", 1)))


def test_a_read_only_copy_can_be_read(filled, tmp_path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o555)
    try:
        assert load(filled).seq == 6
        with pytest.raises(OutputError):
            Ledger.open(filled)
    finally:
        tmp_path.chmod(0o755)


RACE = """
import sys, time
from fractions import Fraction
from pathlib import Path
from fedpref.core import ledger as core
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Part, Reservation
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import BudgetError, SetupError
from fedpref.store.ledger import Ledger

about = (Unit.USER, Relation.ZERO_OUT)
events = {
    Adversary.OUTSIDER: GaussianSum(*about, 1, Fraction(64), 8),
    Adversary.SERVER: NonPrivate(*about, 8),
}
number = 0
while True:
    run = f"{sys.argv[2]}-{number}"
    plan = Reservation(run, "p", *about, (Part(4, events),), 1e-6)
    try:
        with Ledger.open(Path(sys.argv[1])) as ledger:
            ledger.append(lambda book: core.reserve(book, plan))
    except SetupError:
        time.sleep(0.002)
        continue
    except BudgetError:
        break
    print(run, flush=True)
    number += 1
"""


def test_runs_that_race_for_one_ledger_never_overspend(path, steps, cap) -> None:
    """Whatever a process was told that it has is there, and the cap holds."""
    with Ledger.open(path) as ledger:
        ledger.append(steps[0])
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(path), name],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abc"
    ]
    told = [line for one in racing for line in one.communicate()[0].split()]
    assert [one.returncode for one in racing] == [0, 0, 0]
    book = load(path)
    assert sorted(told) == sorted(book.accounts)
    one = book.accounts[told[0]].reservation.epsilon(cap.against)
    claimed = book.claimed(cap.unit, cap.against)
    assert claimed <= cap.epsilon < claimed + one


def test_nothing_in_the_ledger_reads_a_clock(root) -> None:
    """So a clock that is changed, on any machine, changes no verdict."""
    files = [*(root / "fedpref" / "core").glob("*.py")]
    files += [*(root / "fedpref" / "store").glob("*ledger*.py")]
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {"time", "datetime", "calendar"} & set(names), file
