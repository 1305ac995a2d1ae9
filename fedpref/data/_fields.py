"""Checks the value of one field of a record line.

Each function returns the value, or appends one reason to ``why`` and returns a
placeholder. Reasons hold field names, types and numbers of items, never contents.
"""

import math
import re
from collections.abc import Mapping

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")


def quoted(name: str) -> str:
    """A field name for a message; one that may be a person's sentence is not shown.

    >>> quoted("chosn"), quoted("I would rather not say")
    ('`chosn`', 'a name that is not an identifier')
    """
    return f"`{name}`" if NAME.fullmatch(name) else "a name that is not an identifier"


def kind(value: object) -> str:
    """The JSON type of a value, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    names: dict[type, str] = {str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]


def string(value: object, name: str, why: list[str]) -> str:
    """A non-blank string of whole Unicode characters."""
    if not isinstance(value, str):
        why.append(f"`{name}` must be a string, not {kind(value)}")
        return ""
    if not value.strip():
        why.append(f"`{name}` is empty")
    return _whole(value, name, why)


def _whole(value: str, name: str, why: list[str]) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        why.append(f"`{name}` holds half of a surrogate pair")
    return value


def text(value: object, name: str, why: list[str], *, may_be_empty: bool) -> str:
    r"""A text, or chat messages flattened to one ``role: content`` line each.

    >>> chat = [{"role": "user", "content": "Hi"}, {"role": "bot", "content": "Yes?"}]
    >>> text(chat, "prompt", [], may_be_empty=False)
    'user: Hi\nbot: Yes?'
    """
    if isinstance(value, list):
        if not value:
            why.append(f"`{name}` is an empty list of messages")
        return "\n".join(
            _message(item, f"{name}[{index}]", why) for index, item in enumerate(value)
        )
    if isinstance(value, str) and may_be_empty:
        return _whole(value, name, why)
    if not isinstance(value, str):
        why.append(f"`{name}` must be a string or chat messages, not {kind(value)}")
        return ""
    return string(value, name, why)


def _message(value: object, name: str, why: list[str]) -> str:
    if not isinstance(value, dict):
        why.append(f"`{name}` must be a message (an object), not {kind(value)}")
        return ""
    parts = []
    for key in ("role", "content"):
        if key in value:
            parts.append(string(value[key], f"{name}.{key}", why))
        else:
            why.append(f"`{name}.{key}` is missing")
    unknown = [quoted(key) for key in value if key not in ("role", "content")]
    if unknown:
        why.append(f"`{name}` has unknown fields: {', '.join(unknown)}")
    return ": ".join(parts)


def index(value: object, name: str, count: int, why: list[str]) -> int:
    """A whole number in [0, count)."""
    if isinstance(value, bool) or not isinstance(value, int):
        why.append(f"`{name}` must be a whole number, not {_numeric(value)}")
    elif not 0 <= value < count:
        why.append(f"`{name}` is out of range: {count} options count from 0")
    else:
        return value
    return 0


def _numeric(value: object) -> str:
    return "a fraction" if isinstance(value, float) else kind(value)


def weight(value: object, why: list[str]) -> float:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        why.append(f"`weight` must be a number, not {kind(value)}")
        return 1.0
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and number > 0):
        why.append("`weight` must be finite and above 0")
        return 1.0
    return number


def labels(value: object, why: list[str]) -> Mapping[str, int]:
    """An object of objective names, each with 0 or 1."""
    if not isinstance(value, dict):
        why.append(f"`labels` must be an object, not {kind(value)}")
        return {}
    if not all(NAME.fullmatch(name) for name in value):
        why.append(
            "`labels` has a name that is not an identifier (letters, digits, _ and -, "
            "at most 40)"
        )
    for name, label in value.items():
        if isinstance(label, bool) or label not in (0, 1) or isinstance(label, float):
            why.append(f"`labels` must be 0 or 1, not what {quoted(name)} has")
    return dict(value)
