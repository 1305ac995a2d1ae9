"""Canary strings, the forms in which they may turn up, and where to look for them."""

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

USER, PROMPT, OPTION = "Zq7userWk3", "Zq7promptWk3", "Zq7optionWk3"
LABEL, ID, RAISED = "Zq7labelWk3", "Zq7recordWk3", "Zq7raisedWk3"
CANARIES = (USER, PROMPT, OPTION, LABEL, ID, RAISED)
MARK = b"Zq7"


def forms(word: str) -> set[bytes]:
    """``word`` in bytes: as text of several kinds, in hexadecimal, and in base64.

    Base64 depends on what comes before modulo 3 bytes; the characters at both ends that
    the neighbours decide are left off.
    """
    plain = word.encode()
    wide = {word.encode("utf-16-le"), word.encode("utf-16-be"), word.encode("utf-32")}
    found = {plain, plain[::-1], plain.lower(), plain.upper(), *wide}
    for text in (plain, word.encode("utf-16-le")):
        found |= {text.hex().encode(), text.hex().upper().encode()}
        for before in range(3):
            coded = base64.b64encode(bytes(before) + text)
            inner = coded[(0, 2, 3)[before] : len(coded) // 4 * 4 - 4]
            found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return {form for form in found if len(form) >= 8}


FORMS = {form: word for word in CANARIES for form in forms(word)}


def in_bytes(data: bytes) -> set[str]:
    """Which canaries are in ``data``, in whatever form."""
    return {word for form, word in FORMS.items() if form in data}


def in_text(text: str) -> set[str]:
    """The same for a text."""
    return in_bytes(text.encode("utf-8", "surrogateescape"))


def in_files(folder: Path) -> set[str]:
    """The same for names and contents of all files under ``folder``."""
    found: set[str] = set()
    for path in folder.rglob("*"):
        found |= in_text(str(path.relative_to(folder)))
        if path.is_file():
            found |= in_bytes(path.read_bytes())
    return found


def chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that is chained to it, causes and contexts."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__]


def in_error(error: BaseException) -> set[str]:
    """Which canaries an exception says, or carries in one that is chained to it."""
    words: Iterable[str] = (
        text
        for one in chain(error)
        for text in (str(one), repr(one), *map(repr, vars(one).values()))
    )
    return {word for text in words for word in in_text(text)}
