"""Plays one lie against our code without its defence, in a process of its own.

Reads one line of JSON for each: the name of a lie, and other changes than its own or
null. Answers with a line: ``accepted: ...``, ``held`` or ``failed: ...``. Everything is
imported once. For each change a child is forked that drops the changed modules, and all
that import them, imports those again from the changed text, and plays the lies that go
with it. A text that is not in its file exactly once is an error: whoever moves a line
has to look at the lie again.
"""

import gc
import importlib
import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.abc import Loader
from pathlib import Path
from types import CodeType

Changes = tuple[tuple[str, str, str], ...]

ROOT = Path(__file__).parents[2]
LIMIT_S = 60
"""Longest that a child may take."""
FROM = re.compile(r"^ *from ([\w.]+) import (\([^)]*\)|.+)$", re.M)
PLAIN = re.compile(r"^ *import ([\w.]+)", re.M)


def module_of(file: str) -> str:
    """The module in a file of ours.

    >>> module_of("fedpref/secagg/client.py")
    'fedpref.secagg.client'
    """
    return file.removesuffix(".py").replace("/", ".")


def file_of(module: str) -> str:
    """The file of a module of ours that is no package."""
    return str(ROOT / (module.replace(".", "/") + ".py"))


def mutated(changes: Changes) -> dict[str, str]:
    """Texts of modules with these changes made.

    Raises:
        LookupError: A text is not in its file exactly once.
    """
    texts: dict[str, str] = {}
    for file, old, new in changes:
        text = texts.get(module_of(file)) or (ROOT / file).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise LookupError(f"{file} has {text.count(old)} times: {old}")
        texts[module_of(file)] = text.replace(old, new)
    return texts


def imports() -> dict[str, set[str]]:
    """For each module of ours that is loaded, those of ours that it imports."""
    ours = {name for name in sys.modules if name.split(".")[0] in ("fedpref", "tests")}
    found = {}
    for name in ours:
        if file := getattr(sys.modules[name], "__file__", None):
            text = Path(file).read_text(encoding="utf-8")
            seen = {match[1] for match in PLAIN.finditer(text)}
            for match in FROM.finditer(text):
                names = re.findall(r"\w+", match[2])
                seen |= {match[1], *(f"{match[1]}.{leaf}" for leaf in names)}
            found[name] = seen & ours
    return found


def affected(changed: Iterable[str], imported: Mapping[str, set[str]]) -> set[str]:
    """The changed modules and all that import them, directly or not."""
    found = set(changed)
    while more := {n for n, seen in imported.items() if seen & found} - found:
        found |= more
    return found


class Finder(Loader):
    """Finds our modules, and loads each from the code that it is given."""

    def __init__(self, codes: Mapping[str, CodeType]):
        self.codes = codes
        self.loaded: set[str] = set()

    def find_spec(self, name, path=None, target=None):
        """As the import system asks for it; packages stay what they are."""
        if name not in self.codes:
            return None
        return importlib.util.spec_from_file_location(name, file_of(name), loader=self)

    def exec_module(self, module):
        """Run the code in the module."""
        self.loaded.add(module.__name__)
        exec(self.codes[module.__name__], module.__dict__)  # noqa: S102 (our own)


def play(
    names: Sequence[str],
    changes: Changes,
    imported: Mapping[str, set[str]],
    codes: Mapping[str, CodeType],
) -> dict[str, str]:
    """What becomes of lies without their defence; changes this process for good.

    Args:
        names: Lies that go with ``changes``.
        changes: The texts that take the defence away.
        imported: What each module of ours imports.
        codes: Every module of ours, compiled.
    """
    catalogue = sys.modules["tests.lies.catalogue"].CATALOGUE
    homes = {catalogue[name].act.__module__ for name in names}
    texts = mutated(changes)
    bent = {name: compile(text, file_of(name), "exec") for name, text in texts.items()}
    finder = Finder({**codes, **bent})
    sys.meta_path.insert(0, finder)
    for module in affected({*texts, "tests.lies.lie"}, imported):
        del sys.modules[module]
        parent, _, leaf = module.rpartition(".")
        if hasattr(sys.modules.get(parent), leaf):
            delattr(sys.modules[parent], leaf)
    for home in homes:
        importlib.import_module(home)
    assert finder.loaded >= set(texts), "a changed module is not used"
    lies = importlib.import_module("tests.lies.lie")
    return {
        name: ending(lambda name=name: lies.tell(lies.LIES[name])) for name in names
    }


def ending(tell: Callable[[], None]) -> str:
    """How a lie ends, in a line."""
    try:
        tell()
    except BaseException as error:
        if type(error).__name__ == "Accepted":  # of the module that was loaded anew
            return f"accepted: {error}"
        return f"failed: {type(error).__name__}: {error}"
    return "held"


def answers(names: Sequence[str], played: Callable[[], dict[str, str]]):
    """What a child of ours has to say on these lies."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(LIMIT_S)
        try:
            found = played()
        except BaseException as error:
            found = dict.fromkeys(names, f"failed: {type(error).__name__}: {error}")
        with os.fdopen(write, "w", encoding="utf-8") as pipe:
            json.dump(found, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if not text:
        return dict.fromkeys(names, f"failed: ended with status {status}")
    return json.loads(text)


def main() -> None:
    """Answer each line with one."""
    sys.path.insert(0, str(ROOT))
    catalogue = importlib.import_module("tests.lies.catalogue").CATALOGUE
    imported = imports()
    codes = {name: sys.modules[name].__loader__.get_code(name) for name in imported}
    alike: dict[Changes, list[str]] = {}
    for name, lie in catalogue.items():
        alike.setdefault(lie.without, []).append(name)
    catalogue["asked_again_as_if_lost"].act()  # imports what is imported late
    gc.collect()
    gc.freeze()  # or every child copies what it only counts
    known: dict[tuple[str, Changes], str] = {}
    for line in sys.stdin:
        name, others = json.loads(line)
        own = catalogue[name].without
        changes = own if others is None else tuple(map(tuple, others))
        if (name, changes) not in known:  # one child for all lies with the same change
            names = alike[own] if changes == own else [name]
            found = answers(
                names, lambda n=names, c=changes: play(n, c, imported, codes)
            )
            known |= {(who, changes): text for who, text in found.items()}
        print(known[name, changes].replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
