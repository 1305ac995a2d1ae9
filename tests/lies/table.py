"""The catalogue as a table in docs/security.md: ``--write`` refreshes it."""

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tests.lies.catalogue import CATALOGUE  # noqa: E402
from tests.lies.lie import LEGS, Change, Lie  # noqa: E402

PAGE = ROOT / "docs" / "security.md"
START, END = "<!-- lies: generated -->\n", "<!-- lies: end -->\n"
TITLES = {
    "enrolment": "Enrolment",
    "later": "After a round",
    "whole round": "Whole rounds",
}


def refreshed() -> str:
    """The page with the table of now."""
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    return before + START + tables() + END + after


def tables() -> str:
    """One table for each leg, and before them how many lies there are."""
    held = sum(bool(lie.because) for lie in CATALOGUE.values())
    friends = sum(lie.colluders for lie in CATALOGUE.values())
    parts = [
        f"\n{len(CATALOGUE)} lies: {len(CATALOGUE) - held} are refused, {held} are "
        f"harmless; in {friends} the server has friends among the devices (marked +).\n"
    ]
    for leg in LEGS:
        rows = [row(lie) for lie in CATALOGUE.values() if lie.leg == leg]
        parts.append(
            f"\n### {TITLES.get(leg, f'Leg {leg}')}\n\n"
            "| lie | what the server tries | to win | defence | end | without it |\n"
            "|---|---|---|---|---|---|\n" + "".join(rows)
        )
    return "".join(parts) + "\n"


def row(lie: Lie) -> str:
    """A lie as a line of its table."""
    file = Path(inspect.getfile(lie.act)).name
    name = lie.name.replace("_", " ") + (" +" if lie.colluders else "")
    changes = "; ".join(shown(change) for change in lie.without)
    cells = [
        f"[{name}](../tests/lies/{file})",
        *(lie.tries, lie.wins, lie.defence, lie.end, changes),
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def shown(change: Change) -> str:
    """The change in words: where, and the first line that goes and that comes."""
    old, new = change.old.splitlines(), change.new.splitlines()
    gone = next(line for line in old if line not in new).strip()
    come = next((line.strip() for line in new if line not in old), "")
    then = f"becomes `{come}`" if come else "is left out"
    return f"`{change.file}`: `{gone}` {then}"


if __name__ == "__main__":
    text = refreshed()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
    elif text != PAGE.read_text(encoding="utf-8"):
        sys.exit(f"{PAGE.name} is stale; run with --write")
