import subprocess
import sys

import pytest
from jinja2 import UndefinedError

from fedpref.report import rendering
from fedpref.report.rendering import render


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "report.css").write_text("a > b {}\n")
    (tmp_path / "page.j2").write_text("{{ css }}|{{ name | loud }}")
    monkeypatch.setattr(rendering, "HERE", tmp_path)


@pytest.mark.parametrize(("escape", "shown"), [(True, "&lt;B&gt;"), (False, "<B>")])
def test_values_are_escaped_and_the_style_sheet_is_not(folder, escape, shown) -> None:
    made = render(
        "page.j2", {"name": "<b>"}, filters={"loud": str.upper}, escape=escape
    )
    assert made == f"a > b {{}}\n|{shown}"


def test_a_name_that_is_missing_is_an_error(folder) -> None:
    with pytest.raises(UndefinedError, match="name"):
        render("page.j2", {}, filters={"loud": str}, escape=True)


def test_the_engine_is_imported_when_it_is_used() -> None:
    """Commands about the budget start without it."""
    asked = (
        "import sys, fedpref.report.budget_statement; print('jinja2' in sys.modules)"
    )
    command = [sys.executable, "-c", asked]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
