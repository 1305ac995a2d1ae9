"""The command, its JSON and docs/objectives.md say the same; --refresh rewrites it."""

import json
import re
import sys
from pathlib import Path

import pytest

from fedpref import objectives
from fedpref.cli.objectives import markdown, rows
from fedpref.cli.objectives import objectives as command

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "objectives.md"
MARK = "<!-- made by tests/objectives/test_page.py --refresh -->\n"


def refreshed(text: str) -> str:
    """The page with its tables made again; they follow the mark."""
    before, mark, _ = text.partition(MARK)
    assert mark, "the page has lost its mark"
    return before + MARK + "\n" + markdown()


def test_the_page_is_not_stale() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text == refreshed(text), f"run python {Path(__file__).name} --refresh"


def test_a_stale_page_would_be_seen() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "`dpo`" in text
    assert refreshed(text.replace("| `dpo` |", "| `dpx` |")) == text


def test_json_has_every_objective_and_the_documented_fields(capsys) -> None:
    command(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found] == list(objectives.names())
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    section = text.partition("## Objectives")[2].partition("\n## ")[0]
    fields = set(re.findall(r"^\| `([\w.]+)`", section, re.M))
    plain = {key for row in found for key in row if key != "hyper"}
    inner = {
        f"hyper.NAME.{key}"
        for row in found
        for value in row["hyper"].values()
        for key in value
    }
    assert fields == plain | inner


def test_rows_say_what_loading_does() -> None:
    by_name = {row["name"]: row for row in rows()}
    assert by_name["bsr_batch"]["private"] == "no"
    assert by_name["bsr_batch"]["safe"] == ["bsr_user", "bsr_lagged", "bsr_pair"]
    assert by_name["kto_user"]["private"] == "unit = user"
    assert by_name["kto_lagged"]["private"] == "unit = user"  # by its statistic
    assert by_name["dpo"]["private"] == "any unit"
    assert by_name["dpo"]["hyper"] == {"beta": {"default": 0.1, "range": "above 0"}}
    assert not by_name["bsr_batch"]["bounded"]


def test_the_table_fits_a_terminal(capsys) -> None:
    command(as_json=False)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    for row in rows():
        assert re.search(rf"^{row['name']} +{row['takes']} +(yes|no) ", shown, re.M)
        assert row["source"] in shown
        assert ", ".join(row["safe"]) in shown


@pytest.mark.parametrize("name", objectives.names())
def test_no_source_is_left_out(name) -> None:
    source = objectives.about(name).source
    assert re.search(r"\d{4}|derived here|maximum likelihood", source)


if __name__ == "__main__" and "--refresh" in sys.argv:
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
