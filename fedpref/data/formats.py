"""Reads preference records from JSON Lines.

Guarantees: every line becomes exactly one record or is reported with its number and
every reason; nothing is dropped, guessed or half-read; no message shows a person's
text, answer, id or name. The position of ``chosen`` against ``rejected`` in a record
says nothing about which was chosen.

Does not give: privacy by itself. Records stay in memory as plain text.

One line is one preference, in one of three forms (``docs/formats.md``)::

    {"user": "ada", "prompt": "…", "chosen": "…", "rejected": "…"}
    {"user": "ada", "prompt": "…", "completion": "…", "label": true}
    {"user": "ada", "prompt": "…", "options": ["…", "…", "…"], "choice": 2}
"""

import difflib
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from fedpref.core.types import Record
from fedpref.data import _fields
from fedpref.errors import InputError, RecordError

MAX_LINE_BYTES = 1 << 20
MAX_REASONS = 10  # shown for one line; the rest is counted
FORMS = (("chosen", "rejected"), ("completion", "label"), ("options", "choice"))
COMMON = ("user", "prompt", "labels", "weight", "id")
FIELDS = (*COMMON, *itertools.chain(*FORMS))
BOM = b"\xef\xbb\xbf"


def read_records(path: Path) -> tuple[Record, ...]:
    """Read every record of a ``.jsonl`` file, in order.

    Blank lines are skipped. A UTF-8 byte order mark is allowed.

    Raises:
        RecordError: some lines are bad; it lists all of them.
        InputError: the file cannot be read, or holds no record.
    """
    return tuple(record for _, record in read_numbered(path))


def read_numbered(path: Path) -> tuple[tuple[int, Record], ...]:
    """As :func:`read_records`, each record with the number of its line."""
    records: list[tuple[int, Record]] = []
    problems: list[tuple[int, str]] = []
    lines_by_id: dict[str, int] = {}
    for number, line in _lines(path):
        why: list[str] = []
        record = _read_line(line, why)
        if record is not None and record.id:
            first = lines_by_id.setdefault(record.id, number)
            if first != number:
                why.append(f"`id` is that of line {first}")
        if why:
            problems.append((number, _joined(why)))
        elif record is not None:
            records.append((number, record))
    if problems:
        raise RecordError(str(path), problems)
    if not records:
        raise InputError(f"{path}: no record; write one JSON object a line")
    return tuple(records)


def _joined(why: list[str]) -> str:
    more = len(why) - MAX_REASONS
    rest = [f"and {more} more"] if more > 0 else []
    return "; ".join(why[:MAX_REASONS] + rest)


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines that are not blank; ``None`` stands for one that is too long."""
    try:
        with path.open("rb") as stream:
            for number in itertools.count(1):
                line = stream.readline(MAX_LINE_BYTES + 1)
                if not line:
                    return
                if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    _skip_line(stream)
                    yield number, None
                    continue
                line = line.removeprefix(BOM) if number == 1 else line
                if line.strip():
                    yield number, line.rstrip(b"\r\n")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise InputError(f"{path}: cannot be read ({reason})") from None


def _skip_line(stream: BinaryIO) -> None:
    while (chunk := stream.readline(MAX_LINE_BYTES)) and not chunk.endswith(b"\n"):
        pass


def _read_line(line: bytes | None, why: list[str]) -> Record | None:
    """The record of a line, or None with the reasons in ``why``."""
    if line is None:
        why.append(f"longer than {MAX_LINE_BYTES} bytes")
        return None
    row = _json(line, why)
    if why:
        return None
    if not isinstance(row, dict):
        why.append(f"must be a JSON object, not {_fields.kind(row)}")
        return None
    record = _record(row, why)
    return None if why else record


def _json(line: bytes, why: list[str]) -> object:
    try:
        return json.loads(
            line.decode(), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        why.append(f"not UTF-8 at byte {error.start + 1}")
    except json.JSONDecodeError as error:
        why.append(f"invalid JSON at column {error.colno}")
    except _Refused as error:
        why.append(str(error))
    except RecursionError:
        why.append("nested too deeply")
    except ValueError:  # Python refuses to read numbers of thousands of digits
        why.append("a number has too many digits")
    return None


class _Refused(Exception):
    """JSON that Python would accept and that we do not; the message is the reason."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict of the pairs; json itself would silently keep the last of two."""
    row = dict(pairs)
    if len(row) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise _Refused(f"{_fields.quoted(twice)} is given twice in one object")
    return row


def _no_constant(_: str) -> NoReturn:
    raise _Refused("NaN and Infinity are not JSON")


def _record(row: dict[str, Any], why: list[str]) -> Record:
    """Build the record; what is wrong goes into ``why``."""
    _check_names(row, why)
    form = _form(row, why)
    user = _fields.string(row["user"], "user", why) if "user" in row else ""
    prompt = (
        _fields.text(row["prompt"], "prompt", why, may_be_empty=True)
        if "prompt" in row
        else ""
    )
    labels = _fields.labels(row["labels"], why) if "labels" in row else {}
    weight = _fields.weight(row["weight"], why) if "weight" in row else 1.0
    id = _fields.string(row["id"], "id", why) if "id" in row else ""
    options, choice, label = _answer(row, form, why)
    if labels and len(options) > 2:
        why.append("`labels` needs two options, or one `completion`")
    if form == ("chosen", "rejected") and not why and _swapped(user, prompt, options):
        options, choice = options[::-1], 1
        labels = {name: 1 - winner for name, winner in labels.items()}
    return Record(user, prompt, options, choice, label, labels, weight, id)


def _check_names(row: dict[str, Any], why: list[str]) -> None:
    if "user" not in row:
        why.append("`user` is missing")
    if "prompt" not in row:
        why.append('`prompt` is missing (write "" where there is none)')
    unknown = [name for name in row if name not in FIELDS]
    for name in unknown[:MAX_REASONS]:
        near = difflib.get_close_matches(name[:80], FIELDS, n=1)
        hint = f" (did you mean `{near[0]}`?)" if near else ""
        why.append(f"unknown field {_fields.quoted(name)}{hint}")
    if len(unknown) > MAX_REASONS:
        why.append(f"unknown fields = {len(unknown)} in all")


def _form(row: dict[str, Any], why: list[str]) -> tuple[str, str] | None:
    """The one complete form of the line, or None with the reason in ``why``."""
    begun = [form for form in FORMS if any(name in row for name in form)]
    if not begun:
        forms = ", ".join(f"`{a}` and `{b}`" for a, b in FORMS)
        why.append(f"no answer: give one of {forms}")
    elif len(begun) > 1:
        given = " and ".join(f"`{n}`" for form in begun for n in form if n in row)
        why.append(f"{given} belong to different forms; a line has one form")
    else:
        missing = [name for name in begun[0] if name not in row]
        if not missing:
            return begun[0]
        why.append(f"`{missing[0]}` is missing")
    return None


def _answer(
    row: dict[str, Any], form: tuple[str, str] | None, why: list[str]
) -> tuple[tuple[str, ...], int | None, bool | None]:
    """Options with the index of the chosen one, or one option with its thumb."""
    if form is None:
        return (), None, None
    if form == ("completion", "label"):
        text = _fields.text(row["completion"], "completion", why, may_be_empty=False)
        if not isinstance(row["label"], bool):
            kind = _fields.kind(row["label"])
            why.append(f"`label` must be true or false, not {kind}")
        return (text,), None, row["label"] is True
    if form == ("chosen", "rejected"):
        return _distinct(form, [row[name] for name in form], why), 0, None
    options = row["options"]
    if not isinstance(options, list):
        why.append(f"`options` must be a list, not {_fields.kind(options)}")
        return (), None, None
    if len(options) < 2:
        why.append(f"`options` has {len(options)}, at least 2 are needed")
    choice = _fields.index(row["choice"], "choice", len(options), why)
    names = [f"options[{number}]" for number in range(len(options))]
    return _distinct(names, options, why), choice, None


def _distinct(
    names: Sequence[str], values: Sequence[object], why: list[str]
) -> tuple[str, ...]:
    """The texts of several options, no two the same."""
    texts: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        errors: list[str] = []
        text = _fields.text(value, name, errors, may_be_empty=False)
        if not errors and text in texts:
            errors.append(f"`{texts[text]}` and `{name}` are the same text")
        texts.setdefault(text, name)
        why.extend(errors)
    return tuple(texts)


def _swapped(user: str, prompt: str, pair: tuple[str, ...]) -> bool:
    """Whether the pair's canonical order is (rejected, chosen).

    The order is that of the hashes of both texts, so it does not depend on which one
    was chosen; user and prompt are hashed too, so that a pair which many people judged
    does not stand in one order for all of them.
    """
    first, second = (
        hashlib.sha256(json.dumps(["pair-order-v1", user, prompt, t]).encode()).digest()
        for t in pair
    )
    return second < first
