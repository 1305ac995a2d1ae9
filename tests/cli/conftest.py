import sys
from dataclasses import dataclass

import pytest

from fedpref.cli import main


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def fedpref(capsys, monkeypatch, tmp_path):
    """Run the command line in an empty folder; what it printed and its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["fedpref", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Outcome(code, printed.out, printed.err)

    return run
