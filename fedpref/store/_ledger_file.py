"""The file of a privacy ledger: its schema, its head copy, and how to read both.

Guarantees: an empty ledger appears whole or not at all; reading changes nothing and
needs no lock; what is no ledger of this schema is refused with what differs. Does not
give: a verified chain; ``fedpref.store.ledger`` replays the rows.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from fedpref.core.rows import GENESIS, SCHEMA, Kind, Row
from fedpref.errors import FedprefError, InputError, IntegrityError, OutputError
from fedpref.store.checkpoints import sync_folder, write_atomic

APPLICATION = 0x46505246  # "FPRF": tells a ledger from any other SQLite file
WAIT_S = 10
STATEMENTS = (
    "CREATE TABLE log(seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, "
    "body TEXT NOT NULL, head BLOB NOT NULL)",
    "CREATE TRIGGER log_next BEFORE INSERT ON log WHEN NEW.seq IS NOT "
    "(SELECT coalesce(max(seq), 0) + 1 FROM log) "
    "BEGIN SELECT raise(ABORT, 'rows are appended one by one'); END",
    "CREATE TRIGGER log_update BEFORE UPDATE ON log "
    "BEGIN SELECT raise(ABORT, 'rows are never changed'); END",
    "CREATE TRIGGER log_delete BEFORE DELETE ON log "
    "BEGIN SELECT raise(ABORT, 'rows are never deleted'); END",
)
_STORAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def beside(path: Path, what: str) -> Path:
    """``PATH.what``: the head copy (``head``) and the lock (``lock``) of a ledger."""
    return path.with_name(f"{path.name}.{what}")


def read_rows(path: Path) -> tuple[Row, ...]:
    """Every committed row, unverified; works while a writer is active.

    Raises:
        InputError: There is no file.
        IntegrityError: It is not a ledger of this schema, or SQLite cannot read it.
        OutputError: The disk failed, or the file may not be read.
    """
    if not path.is_file():
        raise InputError(f"no ledger at {path}")
    with translated(path), closing(_connect_to_read(path)) as db:
        db.execute("BEGIN")  # one snapshot for the checks and the rows
        _check_schema(db, path)
        found = db.execute("SELECT seq, kind, body, head FROM log ORDER BY seq")
        return tuple(_row(path, *values) for values in found)


def check_pages(path: Path) -> None:
    """Have SQLite look at its own structures, through a connection that changes none.

    Raises:
        IntegrityError: A later row could be lost in a damaged page.
        OutputError: The disk failed, or the file may not be read.
    """
    with translated(path), closing(_connect_to_read(path)) as db:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise lost(path, "SQLite finds it damaged")


def read_head(path: Path) -> tuple[int, bytes] | None:
    """Number and hash in the head copy of the ledger at ``path``; None without one.

    Raises:
        IntegrityError: It is not of the form ``SEQ:HASH``.
        OutputError: It cannot be read.
    """
    copy = beside(path, "head")
    try:
        line = copy.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read {copy}: {error.strerror}") from error
    try:
        seq, _, digest = line.decode("ascii").partition(":")
        head = int(seq), bytes.fromhex(digest)
    except ValueError as error:
        raise lost(path, f"{copy.name} is damaged") from error
    if line != _head_line(*head):
        raise lost(path, f"{copy.name} is damaged")
    return head


def check_head(path: Path, rows: Sequence[Row], head: tuple[int, bytes] | None) -> None:
    if head is None:
        if rows:
            name = beside(path, "head").name
            raise lost(path, f"{name} is gone, so lost rows would not be noticed")
        return
    seq, digest = head
    if seq > len(rows):
        missing = seq - len(rows)
        raise lost(path, f"the last {missing} of {seq} rows are lost")
    if digest != (rows[seq - 1].head if seq else GENESIS):
        raise lost(path, f"row {seq} is not the one that the head copy knows")


def lost(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: {what}. Nothing was repaired. Put its newest copy back, with the "
        "-wal and .head files; with a head from elsewhere, write SEQ:HASH to "
        f"{beside(path, 'head').name}; failing both, start a new ledger and count the "
        "whole cap of this one as spent"
    )


def create(path: Path) -> None:
    """Put an empty ledger at ``path`` in one step, if there is nothing."""
    if path.exists():
        return
    head = read_head(path)
    if head is not None and head[0] > 0:
        raise lost(path, f"the file with all {head[0]} rows is gone")
    if path.with_name(f"{path.name}-wal").exists():
        # SQLite would play it into the new file.
        raise lost(path, "the file is gone and its -wal file is still there")
    draft = beside(path, "new")
    with translated(path):
        for leftover in path.parent.glob(f"{draft.name}*"):
            leftover.unlink()
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            for statement in STATEMENTS:
                db.execute(statement)
            db.execute(f"PRAGMA application_id={APPLICATION}")
            db.execute(f"PRAGMA user_version={SCHEMA}")
            db.execute("COMMIT")
            db.execute("PRAGMA journal_mode=WAL")
        os.replace(draft, path)
        sync_folder(path.parent)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    uri = path.resolve().as_uri() + "?mode=ro"
    if not os.access(path.parent, os.W_OK) and not _has_log(path):
        uri += "&immutable=1"  # the file is whole, and no index can be put beside it
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=WAIT_S)


def _has_log(path: Path) -> bool:
    return path.with_name(f"{path.name}-wal").exists()


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    for name, wanted in (("application_id", APPLICATION), ("user_version", SCHEMA)):
        (found,) = db.execute(f"PRAGMA {name}").fetchone()
        if found != wanted:
            raise IntegrityError(
                f"{path}: {name} = {found}, must be {wanted}; it is no ledger, or one "
                "of another version of fedpref"
            )
    found = {sql for (sql,) in db.execute("SELECT sql FROM sqlite_master")}
    if found != set(STATEMENTS):
        raise IntegrityError(
            f"{path}: its tables and triggers are not those of a ledger"
        )


def _row(path: Path, seq: object, kind: object, body: object, head: object) -> Row:
    if not (isinstance(seq, int) and isinstance(body, str) and isinstance(head, bytes)):
        raise IntegrityError(f"{path}: row {seq} has values of a wrong type")
    try:
        return Row(seq, Kind(str(kind)), body, head)
    except ValueError as error:
        raise IntegrityError(f"{path}: row {seq} is of no known kind") from error


def _head_line(seq: int, head: bytes) -> bytes:
    return f"{seq}:{head.hex()}\n".encode("ascii")


def write_head(path: Path, seq: int, head: bytes) -> None:
    """Replace the head copy, durably."""
    write_atomic(beside(path, "head"), _head_line(seq, head))


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as ours, by what the user can do about them."""
    try:
        yield
    except FedprefError:
        raise
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _STORAGE:
            raise OutputError(
                f"cannot use {path}: {error}; check space, rights and the disk, then "
                "open it again"
            ) from error
        raise lost(path, f"SQLite cannot read it: {error}") from error
    except UnicodeError as error:  # the schema's text, which SQLite does not check
        raise lost(path, "SQLite cannot read it: not UTF-8") from error
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
