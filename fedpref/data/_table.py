"""Reads the tables of a survey folder: gzipped CSV with a known header.

Guarantees: every row becomes one value or is reported with its line number and every
reason, all bad rows at once; a file that is missing, too large, not gzip, not UTF-8 or
of another layout is one clear error. No message shows what a row holds.
"""

import csv
import functools
import gzip
import io
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from fedpref.errors import InputError, RecordError

MAX_BYTES = 64 << 20  # unpacked
_PART = 1 << 18
ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")

Row = Mapping[str, str]
T = TypeVar("T")


def read(
    path: Path, header: Sequence[str], parse: Callable[[int, Row, list[str]], T]
) -> list[T]:
    """What ``parse(line, row, why)`` makes of each row; it puts reasons into ``why``.

    Raises:
        InputError: the file cannot be read, has another header, or no row.
        RecordError: rows are bad; it lists all of them.
    """
    reader = csv.reader(io.StringIO(unpacked(path), newline=""), strict=True)
    values: list[T] = []
    problems: list[tuple[int, str]] = []
    try:
        _check_header(path, header, next(reader, []))
        for cells in reader:
            why: list[str] = []
            if len(cells) != len(header):
                why.append(f"cells = {len(cells)}, must be {len(header)}")
            else:
                row = dict(zip(header, cells, strict=True))
                values.append(parse(reader.line_num, row, why))
            if why:
                problems.append((reader.line_num, "; ".join(why)))
    except csv.Error:
        problems.append((reader.line_num, "not CSV"))
    if problems:
        raise RecordError(str(path), problems)
    if not values:
        raise InputError(f"{path}: rows = 0, at least 1 is needed; get the file again")
    return values


def unpacked(path: Path) -> str:
    """The text of a gzipped file.

    Raises:
        InputError: it cannot be read as one, or is larger than 64 MiB.
    """
    try:
        with gzip.GzipFile(path, "rb") as stream:
            content = _at_most(stream, MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file{_hint(path)}") from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(
            f"{path}: not a whole gzip file; copy or download it again"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise InputError(f"{path}: cannot be read ({reason})") from None
    if len(content) > MAX_BYTES:
        raise InputError(
            f"{path}: more than {MAX_BYTES} bytes unpacked; is it the right file?"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: not UTF-8") from None


def _at_most(stream: gzip.GzipFile, most: int) -> bytes:
    """Up to ``most`` bytes, in parts: ``read(most)`` would allocate all of them."""
    found = bytearray()
    while len(found) < most:
        part = stream.read(min(_PART, most - len(found)))
        if not part:
            break
        found += part
    return bytes(found)


def _hint(path: Path) -> str:
    """Where the file may be instead; people name the folder above easily."""
    try:
        nearby = sorted(path.parent.glob(f"*/{path.name}"))[:3]
    except OSError:
        nearby = []
    if nearby:
        names = ", ".join(str(found.parent) for found in nearby)
        return f"; name the folder of the one set, such as {names}"
    return "; name the folder that holds the set's files (--from FOLDER, or data.from)"


def _check_header(path: Path, header: Sequence[str], found: Sequence[str]) -> None:
    if list(found) == list(header):
        return
    missing = [name for name in header if name not in found]
    what = f"missing: {', '.join(missing)}" if missing else "other columns or order"
    raise InputError(
        f"{path}: line 1: columns = {len(found)}, must be the {len(header)} columns "
        f"{','.join(header)} ({what}); is it the file of another set or study?"
    )


def identifier(row: Row, name: str, why: list[str]) -> str:
    """A person's or an item's id: letters, digits, ``_``, ``.`` and ``-``."""
    if not ID.fullmatch(row[name]):
        why.append(f"`{name}` must be 1 to 64 letters, digits, _, . or -")
    return row[name]


def one_of(row: Row, name: str, allowed: Collection[str], why: list[str]) -> str:
    """One of a survey's levels."""
    if row[name] in allowed:
        return row[name]
    shown = ", ".join(list(allowed)[:8]) + (", ..." if len(allowed) > 8 else "")
    why.append(f"`{name}` must be one of {shown}")
    return next(iter(allowed))


def whole(row: Row, name: str, low: int, high: int, why: list[str]) -> int:
    """A whole number from ``low`` to ``high``."""
    number = _whole(row[name])
    if low <= number <= high:
        return number
    why.append(f"`{name}` must be a whole number from {low} to {high}")
    return low


@functools.lru_cache(maxsize=1 << 12)
def _whole(text: str) -> int:
    """The number that ``text`` writes in digits, or -1."""
    digits = text.isascii() and text.isdigit() and len(text) <= 9
    return int(text) if digits else -1


def flag(row: Row, name: str, why: list[str]) -> bool:
    """0 or 1."""
    return whole(row, name, 0, 1, why) == 1


def by_user(path: Path, rows: Iterable[tuple[int, str, T]]) -> dict[str, T]:
    """What each row ``(line, user, value)`` of a table of people says of its user.

    Raises:
        RecordError: two rows have one user.
    """
    lines: dict[str, int] = {}
    found, twice = {}, []
    for line, user, value in rows:
        if lines.setdefault(user, line) != line:
            twice.append((line, f"`user_id` is that of line {lines[user]}"))
        found[user] = value
    if twice:
        raise RecordError(str(path), twice)
    return found
