import json

import pytest
from typer.testing import CliRunner

from fedpref.cli import app, bench


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bench, "_CLIENTS", (4,))
    monkeypatch.setattr(bench, "_COORDINATES", (64,))


def test_json_has_a_cell_for_each_case() -> None:
    result = CliRunner().invoke(app, ["bench", "secagg", "--json"])
    assert result.exit_code == 0, result.output
    cells = json.loads(result.stdout)["cells"]
    assert [(c["n"], c["m"], c["dropped"]) for c in cells] == [(4, 64, 0), (4, 64, 1)]
    for cell in cells:
        assert set(cell) == {"n", "m", "dropped", "ours", "flower", "ratio"}
        ours, flower, ratio = cell["ours"], cell["flower"], cell["ratio"]
        assert {"client_s", "server_s", "bytes_up"} <= set(ours)
        assert flower["scaled"] is False
        assert ratio["client"] == flower["client_s"] / ours["client_s"]
        assert ratio["server"] == flower["server_s"] / ours["server_s"]


def test_text_has_a_line_for_each_case() -> None:
    result = CliRunner().invoke(app, ["bench", "secagg"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("n=4") and "Flower" in line for line in lines)


def test_large_cohorts_are_ours_alone(monkeypatch) -> None:
    monkeypatch.setattr(bench, "_MOST_FLOWER", 3)
    result = CliRunner().invoke(app, ["bench", "secagg", "--json"])
    cell = json.loads(result.stdout)["cells"][0]
    assert cell["flower"] is None
    assert cell["ratio"] is None
    assert "Flower: not run" in result.stderr
