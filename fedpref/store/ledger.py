"""The privacy ledger on disk: one SQLite file, one writer, rows that only grow.

A row is durable in this order: its transaction is committed and synced, then a second
copy of the head, ``SEQ:HASH`` in ``PATH.head``, is replaced and synced, then ``append``
returns. ``PATH.lock`` is held by the writer for as long as it lives.

Guarantees: what ``append`` returned survives a crash; every row is verified when the
file is opened; a file that lost rows the head copy knows of is refused and left as it
is; after an error in writing nothing more is written; readers need not wait for it.
Does not give: a defence against somebody who puts back an old file *and* its old head
copy (remember a head elsewhere), a disk that lies about syncing, or network file
systems, where neither the lock nor SQLite's write-ahead log works.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType

from fedpref.core.book import Book
from fedpref.core.ledger import replay
from fedpref.core.rows import GENESIS, Row
from fedpref.errors import IntegrityError, OutputError, SetupError
from fedpref.store._ledger_file import (
    WAIT_S,
    beside,
    check_pages,
    create,
    lost,
    translated,
    write_head,
)
from fedpref.store._ledger_file import check_head as check_head
from fedpref.store._ledger_file import read_head as read_head
from fedpref.store._ledger_file import read_rows as read_rows
from fedpref.store._lock import take_lock
from fedpref.store.checkpoints import remove_leftovers, sync_folder


class Ledger:
    """The one writer of a ledger file; make it with :meth:`open`, then ``append``."""

    def __init__(self, path: Path, db: sqlite3.Connection, lock: int, book: Book):
        self.path = path
        self.book = book
        self._db = db
        self._lock = lock
        self._one_at_a_time = Lock()
        self._usable = True

    @classmethod
    def open(cls, path: Path) -> "Ledger":
        """Open the ledger at ``path``, or create an empty one; verify every row.

        Raises:
            SetupError: Another process writes to it.
            IntegrityError: It is not a ledger of this schema, its chain is broken, or
                rows were lost; the file is left as it is.
            OutputError: It cannot be written.
        """
        path = path.resolve()
        lock = take_lock(beside(path, "lock"))
        try:
            create(path)
            book = _load_to_write(path)
            db = _connect_to_write(path, book)
            try:
                remove_leftovers(beside(path, "head"))
                write_head(path, book.seq, book.head)
            except BaseException:
                db.close()
                raise
        except BaseException:
            os.close(lock)
            raise
        return cls(path, db, lock, book)

    def append(self, step: Callable[[Book], Row]) -> Row:
        """Add the row that ``step`` makes of the book; durable when this returns.

        Args:
            step: A partial application of a function of ``fedpref.core.ledger``. What
                it raises comes through, nothing is written and the ledger stays usable.

        Raises:
            OutputError: The disk failed, is full or read-only. Whether the row is there
                shows when the ledger is opened again; this object is done for.
            IntegrityError: The row is no legal next one, or the file was changed.
        """
        with self._one_at_a_time:
            self._check_usable()
            self._usable = False  # until all of the steps below have been taken
            with translated(self.path):
                self._db.execute("BEGIN IMMEDIATE")
                _check_tail(self._db, self.book, self.path)
                row, book = self._decide(step)
                values = (row.seq, row.kind.value, row.body, row.head)
                self._db.execute("INSERT INTO log VALUES (?, ?, ?, ?)", values)
                self._db.execute("COMMIT")
            write_head(self.path, book.seq, book.head)
            self.book = book
            self._usable = True
            return row

    def _decide(self, step: Callable[[Book], Row]) -> tuple[Row, Book]:
        try:
            row = step(self.book)
            return row, replay((row,), self.book)
        except Exception:
            self._db.execute("ROLLBACK")
            self._usable = True
            raise

    def _check_usable(self) -> None:
        if not self._usable:
            raise OutputError(
                f"{self.path}: closed, or an earlier write failed; open it again"
            )

    def close(self) -> None:
        """Give the file and the lock back; a second call does nothing."""
        with self._one_at_a_time:
            self._usable = False
            if self._lock >= 0:
                with suppress(sqlite3.Error):  # every row was durable before this
                    self._db.close()
                os.close(self._lock)
                self._lock = -1

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def load(path: Path) -> Book:
    """The verified state, for readers; works while a writer is active.

    Raises:
        InputError: There is no file.
        IntegrityError: As for :meth:`Ledger.open`.
        OutputError: The disk failed, or a file may not be read.
    """
    # The head first: a writer in between can only add rows that the copy misses.
    head = read_head(path)
    rows = read_rows(path)
    book = replay(rows)
    check_head(path, rows, head)
    return book


def _load_to_write(path: Path) -> Book:
    check_pages(path)
    book, head = load(path), read_head(path)
    # The copy follows every commit, so a crash leaves it one row behind, never two.
    if head is not None and book.seq > head[0] + 1:
        raise lost(
            path,
            f"its head copy knows {head[0]} of {book.seq} rows, and a crash leaves it "
            "at most one behind: the copy was put back",
        )
    return book


def _connect_to_write(path: Path, book: Book) -> sqlite3.Connection:
    with translated(path):
        db = sqlite3.connect(
            path, isolation_level=None, timeout=WAIT_S, check_same_thread=False
        )
        try:
            _prepare(db, path, book)
        except BaseException:
            db.close()
            raise
        return db


def _prepare(db: sqlite3.Connection, path: Path, book: Book) -> None:
    (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise SetupError(f"{path}: no write-ahead log here; choose a local disk")
    for setting in ("synchronous=FULL", "fullfsync=1", "checkpoint_fullfsync=1"):
        db.execute(f"PRAGMA {setting}")
    _check_tail(db, book, path)
    # A sync that failed in an earlier process may have left the last row in memory
    # only: written to the main file and synced again, it is durable before it counts.
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    if busy:
        raise SetupError(f"{path} is being read; wait until its reader has finished")
    sync_folder(path.parent)


def _check_tail(db: sqlite3.Connection, book: Book, path: Path) -> None:
    """Nobody else has written since ``book`` was read."""
    last = db.execute("SELECT seq, head FROM log ORDER BY seq DESC LIMIT 1").fetchone()
    if (last or (0, GENESIS)) != (book.seq, book.head):
        raise IntegrityError(f"{path}: somebody else wrote to it; open it again")
