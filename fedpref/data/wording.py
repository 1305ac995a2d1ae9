"""Turns the attributes of an offer into the text that a model reads.

Guarantees: a template names its fields plainly (``{price}``); a field that the set does
not have, or anything beyond a plain name, is refused when the template is made, before
any data is read. What is worded here is the public survey design, never an answer.

Does not give: one text for one offer. A template may leave a field out; texts that then
read the same count as the same text, and :func:`tabulate` says so.
"""

import difflib
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedpref.errors import InputError

MAX_TEMPLATE = 2000


@dataclass(frozen=True)
class Template:
    """A text with ``{name}`` in place of each attribute.

    >>> Template("{mode}, costs {price}.", ("mode", "price")).fill(
    ...     {"mode": "Train", "price": "40 francs"})
    'Train, costs 40 francs.'
    """

    text: str
    fields: tuple[str, ...]

    def __post_init__(self) -> None:
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        if not self.text.strip() or len(self.text) > MAX_TEMPLATE:
            raise InputError(
                f"template {shown!r}: length = {len(self.text)}, must be 1 to "
                f"{MAX_TEMPLATE} characters that are not all blank"
            )
        for name in _names(self.text, shown):
            if name not in self.fields:
                near = difflib.get_close_matches(name, self.fields, n=1)
                known = ", ".join(f"{{{field}}}" for field in self.fields) or "none"
                hint = f"did you mean {{{near[0]}}}?" if near else f"known: {known}"
                raise InputError(f"template {shown!r}: {{{name}}} is no field; {hint}")

    def fill(self, values: Mapping[str, str]) -> str:
        """The text for one offer."""
        return self.text.format_map(values)


def _names(text: str, shown: str) -> list[str]:
    """Names of the fields in use; indices, attributes and formats are refused."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InputError(
            f"template {shown!r}: {error}; write {{{{ and }}}} for plain braces"
        ) from None
    named = [part for part in parts if part[1] is not None]
    for _, name, form, conversion in named:
        if form or conversion or not str(name).isidentifier():
            raise InputError(
                f"template {shown!r}: a field must be a plain name in braces, without "
                "index, attribute, conversion or format"
            )
    return [str(name) for _, name, _, _ in named]


def changed(
    defaults: Mapping[str, Template], given: Mapping[str, str] | None
) -> dict[str, Template]:
    """The set's own templates, with those in ``given`` in their place.

    Raises:
        InputError: the set has no template of that name, or a template is not usable.
    """
    templates = dict(defaults)
    for name, text in (given or {}).items():
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1)
            known = ", ".join(defaults) or "none, its texts are people's own"
            hint = f"did you mean {near[0]!r}?" if near else f"known: {known}"
            raise InputError(f"templates.{name}: no such template; {hint}")
        templates[name] = Template(text, defaults[name].fields)
    return templates


def tabulate(
    offers: Iterable[tuple[str, Mapping[str, str]]],
) -> tuple[dict[str, dict[str, str]], str]:
    """The attribute row of each distinct text, in order of appearance, and a note.

    Where a template gives several offers one text, a column on which they differ is
    left out of every row: the table then holds what the text says and no more.
    """
    rows: dict[str, dict[str, str]] = {}
    lost: set[str] = set()
    for text, row in offers:
        first = rows.setdefault(text, dict(row))
        columns = first.keys() | row.keys()
        lost |= {name for name in columns if first.get(name) != row.get(name)}
    if not lost:
        return rows, ""
    kept = {
        t: {c: v for c, v in row.items() if c not in lost} for t, row in rows.items()
    }
    names = ", ".join(sorted(lost))
    return kept, f"the templates do not show {names}: left out of the attributes too"
