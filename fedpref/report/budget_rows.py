"""The rows of a ledger, carried from one machine to another and checked there.

Guarantees: rows come back from an export as they went out; what is broken in a chain is
named by its row, with what can still be trusted and how to go on. Does not repair
anything, does not read or write files, and cannot notice rows that were cut off at the
end, unless a head was remembered elsewhere.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence

from fedpref.core.book import Book
from fedpref.core.ledger import replay
from fedpref.core.rows import GENESIS, SCHEMA, Kind, Row, link
from fedpref.errors import InputError, IntegrityError

COLUMNS = ("seq", "kind", "body", "head")

HOW_TO_GO_ON = (
    "Nothing was repaired. Put the newest copy back, with its -wal and .head files, or "
    "start a new ledger and count the whole cap of this one as spent"
)


def to_jsonl(rows: Sequence[Row]) -> str:
    """One JSON object a line."""
    return "".join(
        json.dumps(dict(zip(COLUMNS, _cells(row), strict=True))) + "\n" for row in rows
    )


def to_csv(rows: Sequence[Row]) -> str:
    """The same as a table with a heading."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(row) for row in rows)
    return text.getvalue()


def _cells(row: Row) -> tuple[int, str, str, str]:
    return row.seq, row.kind.value, row.body, row.head.hex()


def from_jsonl(text: str) -> tuple[Row, ...]:
    """Rows of an export, unverified.

    Raises:
        IntegrityError: A line is no row; the last one, if an export was cut off.
    """
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    return tuple(_row(number, line) for number, line in lines)


def _row(number: int, line: str) -> Row:
    try:
        value = json.loads(line)
        if set(value) != set(COLUMNS) or type(value["seq"]) is not int:
            raise ValueError
        head = bytes.fromhex(value["head"])
        whole = len(head) == len(GENESIS) and value["head"] == head.hex()
        if not whole or not isinstance(value["body"], str):
            raise ValueError
        return Row(value["seq"], Kind(value["kind"]), value["body"], head)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IntegrityError(
            f"line {number} is not a row of a ledger: cut off, or changed. "
            "Export it again"
        ) from error


def from_csv(text: str) -> tuple[Row, ...]:
    """Rows of an export as a table, unverified; raises as :func:`from_jsonl`."""
    try:
        heading, *cells = csv.reader(io.StringIO(text), strict=True)
        if tuple(heading) != COLUMNS:
            raise ValueError
        found = [dict(zip(COLUMNS, row, strict=True)) for row in cells]
        values = [row | {"seq": int(row["seq"])} for row in found]
    except (ValueError, csv.Error) as error:
        raise IntegrityError(
            "not an exported ledger: cut off, or changed. Export it again"
        ) from error
    return tuple(_row(n, json.dumps(value)) for n, value in enumerate(values, 2))


def verified(rows: Sequence[Row]) -> Book:
    """The book of ``rows``, every link and step checked.

    Raises:
        IntegrityError: What is broken, what can still be trusted and how to go on.
    """
    whole = sum(1 for _ in _whole(rows))
    if rows and not whole:
        _check_schema(rows[0])
    if whole < len(rows):
        last = f"{whole}:{rows[whole - 1].head.hex()}" if whole else "none"
        raise IntegrityError(
            f"{_broken(rows, whole)}. Rows up to {whole} are whole (head {last}); "
            f"{len(rows) - whole} from there on prove nothing. {HOW_TO_GO_ON}"
        )
    try:
        return replay(rows)
    except IntegrityError as error:
        raise IntegrityError(f"{error}. {HOW_TO_GO_ON}") from error


def _check_schema(first: Row) -> None:
    """Rows of another version do not even hash alike; say so, where they say so."""
    try:
        schema = json.loads(first.body)["schema"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    if type(schema) is int and schema != SCHEMA:
        raise IntegrityError(
            f"schema = {schema}, must be {SCHEMA}: rows of another version of fedpref; "
            f"verify them with that version. {HOW_TO_GO_ON}"
        )


def _whole(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows before the first broken link."""
    head = GENESIS
    for seq, row in enumerate(rows, 1):
        if row.seq != seq or row.head != link(head, row):
            return
        head = row.head
        yield row


def _broken(rows: Sequence[Row], whole: int) -> str:
    row, seqs = rows[whole], [row.seq for row in rows]
    missing = sorted(set(range(1, max(seqs) + 1)) - set(seqs))
    if missing:
        return f"row {missing[0]} is missing: {len(missing)} deleted"
    if len(set(seqs)) < len(seqs):
        return f"row {row.seq} is there more than once"
    if seqs != sorted(seqs):
        return f"row {row.seq} is out of order: rows were moved"
    follows = rows[whole + 1 : whole + 2]
    if not follows or follows[0].head == link(row.head, follows[0]):
        return f"row {row.seq} was edited: its content is not what its hash says"
    return f"row {row.seq} does not follow from the one before it: changed or replaced"


def check_head(rows: Sequence[Row], remembered: str) -> None:
    """Compare verified rows with a head that was noted elsewhere.

    Raises:
        InputError: ``remembered`` is not of the form ``SEQ:HASH``.
        IntegrityError: Rows were cut off or rolled back, or the history was rewritten.
    """
    seq_text, _, digest = remembered.strip().partition(":")
    if not (seq_text.isdecimal() and _is_hash(digest)):
        raise InputError(
            f"head = {remembered!r}, must be SEQ:HASH, a number and 64 hex digits, as "
            "fedpref budget show prints it"
        )
    seq = int(seq_text)
    if seq > len(rows):
        raise IntegrityError(
            f"truncated or rolled back: the head is of row {seq}, and only {len(rows)} "
            f"rows are here; the last {seq - len(rows)} are lost. {HOW_TO_GO_ON}"
        )
    here = rows[seq - 1].head if seq else GENESIS
    if here.hex() != digest.lower():
        raise IntegrityError(
            f"a fork: row {seq} here is not the one with this head, so the history up "
            f"to it was rewritten, or it is of another ledger. {HOW_TO_GO_ON}"
        )


def _is_hash(digest: str) -> bool:
    return len(digest) == 64 and set(digest.lower()) <= set("0123456789abcdef")
