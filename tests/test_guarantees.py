"""Each trusted module has a page that was read against the code as it is now.

After a change: read the page and the code side by side, correct the page, then run

    python tests/test_guarantees.py --refresh clip grid

which writes the hashes of these two pages anew (without names: of every page).
"""

import ast
import hashlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "guarantees"
LINE = re.compile(
    r"^Source: (?P<path>\S+\.py), SHA-256 of its code: (?P<hash>[0-9a-f]{64}|-)$", re.M
)
SECTIONS = ("Precondition", "Postcondition", "Argument", "What it does not give")
LABELS = {"reviewed", "honest-but-curious", "idealised-numerics"}
WITHOUT_A_PAGE = {"__init__", "types"}  # values only; they promise nothing themselves
OUTSIDE_THE_CORE = ("fedpref/plan.py", "fedpref/models/gradients.py")


def modules() -> list[str]:
    """Every module that must have a page, as paths from the root."""
    core = sorted((ROOT / "fedpref" / "core").glob("*.py"))
    own = [path for path in core if path.stem not in WITHOUT_A_PAGE]
    return [path.relative_to(ROOT).as_posix() for path in own] + [*OUTSIDE_THE_CORE]


def page_of(module: str) -> Path:
    return PAGES / f"{Path(module).stem}.md"


def code_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def problems(page: Path, root: Path = ROOT) -> list[str]:
    """Why ``page`` does not stand for the code under ``root``; empty if it does."""
    name = f"docs/guarantees/{page.name}"
    lines = list(LINE.finditer(page.read_text(encoding="utf-8")))
    if not lines:
        return [f"{name}: no line 'Source: PATH, SHA-256 of its code: HEX'"]
    found = []
    for line in lines:
        source = root / line["path"]
        if not source.is_file():
            found.append(f"{name}: {line['path']} is not there")
        elif code_hash(source) != line["hash"]:
            found.append(
                f"{name}: {line['path']} has changed since the page was checked; read "
                "both, correct the page, then run: "
                f"python tests/test_guarantees.py --refresh {page.stem}"
            )
    return found


def public_names(source: Path) -> list[str]:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in tree.body if isinstance(node, kinds)]
    return [name for name in names if not name.startswith("_")]


def test_finds_the_trusted_modules() -> None:
    assert len(modules()) >= 8
    assert "fedpref/core/clip.py" in modules()


@pytest.mark.parametrize("module", modules())
def test_every_trusted_module_has_a_page(module) -> None:
    page = page_of(module)
    assert page.is_file(), f"{module} has no docs/guarantees/{page.name}; write one"
    first = LINE.search(page.read_text(encoding="utf-8"))
    assert first is not None, f"docs/guarantees/{page.name} names no source"
    assert first["path"] == module


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_was_checked_against_the_code_as_it_is(page) -> None:
    assert not problems(page), "\n".join(problems(page))


@pytest.mark.parametrize("module", modules())
def test_a_page_has_every_part_and_names_every_public_function(module) -> None:
    text = page_of(module).read_text(encoding="utf-8")
    titles = re.findall(r"^## (.+)$", text, re.M)
    for section in SECTIONS:
        assert section in titles, f"{page_of(module).name}: no section '{section}'"
    for name in public_names(ROOT / module):
        assert re.search(rf"\b{name}\b", text), f"{page_of(module).name}: no {name}"
    labels = re.search(r"^Labels?: (.+?)\.$", text, re.M | re.S)
    assert labels is not None, f"{page_of(module).name}: no line 'Labels: ...'"
    assert set(re.findall(r"`([a-z-]+)`", labels[1])) <= LABELS


def test_a_changed_byte_of_code_is_noticed(tmp_path) -> None:
    """The check itself: the same page against code with one comment more."""
    module = "fedpref/core/clip.py"
    copy = tmp_path / module
    copy.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / module).read_bytes())
    page = tmp_path / "clip.md"
    page.write_text(f"Source: {module}, SHA-256 of its code: {code_hash(copy)}\n")
    assert not problems(page, tmp_path)
    copy.write_bytes(copy.read_bytes() + b"# more\n")
    (problem,) = problems(page, tmp_path)
    assert "clip.md" in problem
    assert "--refresh clip" in problem
    copy.unlink()
    assert "is not there" in problems(page, tmp_path)[0]
    page.write_text("nothing\n")
    assert "no line" in problems(page, tmp_path)[0]


def refresh(names: list[str]) -> None:
    """Write the hashes of the named pages anew; of all pages where none is named."""
    unknown = [name for name in names if not (PAGES / f"{name}.md").is_file()]
    if unknown:
        sys.exit(f"no such page: {', '.join(unknown)}")
    for page in sorted(PAGES.glob("*.md")):
        if names and page.stem not in names:
            continue
        before = page.read_text(encoding="utf-8")
        after = LINE.sub(_with_new_hash, before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"docs/guarantees/{page.name}: refreshed")


def _with_new_hash(line: re.Match[str]) -> str:
    path = line["path"]
    return f"Source: {path}, SHA-256 of its code: {code_hash(ROOT / path)}"


if __name__ == "__main__":
    if sys.argv[1:2] != ["--refresh"]:
        sys.exit(__doc__)
    refresh(sys.argv[2:])
