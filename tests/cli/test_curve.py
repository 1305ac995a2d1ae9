import io
import json

import pytest
from rich.console import Console

from fedpref.cli import curve as shown
from fedpref.report.schema import PersonalCurve
from fedpref.report.write import write
from fedpref.simulation.run import Result
from tests.report import conftest
from tests.report.conftest import make_personal, make_run  # noqa: F401


@pytest.fixture
def curve():
    return PersonalCurve.model_validate(conftest.personal())


def printed(curve):
    text = io.StringIO()
    shown.show(Console(file=text, width=80, color_system=None), curve)
    return text.getvalue()


def test_table_plot_and_gain_fit_a_terminal(curve):
    text = printed(curve)
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert "67 people (simulation only)" in flat
    assert "│ o own answers only │ 50.0% │ 70.0% │ 76.0% │ 82.2% │" in flat
    assert "beats own answers alone and the common model" in flat
    assert "+5.1 points (95 % interval over people +2.5 to +5.1)" in flat
    assert "It is behind “this run + own answers” at k = 4 and 8" in flat


def test_marks_lie_where_the_numbers_are(curve):
    *rows, _, under = shown.plot(curve)
    start = rows[0].index("|") + 1
    grid = [row[start:].ljust(shown.WIDTH) for row in rows]
    # 50 to 90 % over 13 rows; k from 0 to 8 over 64 columns
    expected = {("o", 0): 0.5, ("o", 4): 0.7598, ("x", 8): 0.7097, ("*", 8): 0.8454}
    for (mark, k), accuracy in expected.items():
        row = round(12 * (0.9 - accuracy) / 0.4)
        assert grid[row][round(63 * k / 8)] == mark, (mark, k)
    assert [row[:7].strip() for row in rows if row[:7].strip()] == [
        *("90 %", "80 %", "70 %", "60 %", "50 %"),
    ]
    assert under.split() == ["k", "0", "2", "4", "8"]
    assert grid[round(12 * (0.9 - 0.7097) / 0.4)][0] == "*"  # the best lies on top


def test_many_k_and_long_names_still_fit():
    cell = conftest.personal()["models"][conftest.OWN]["0"]
    gain = conftest.personal()["gain_over_own"]["0"]
    ks = [*range(0, 40, 2), 1000]
    names = [f"a [bold]long[/bold] name {'of a model ' * 4}{i}" for i in range(9)]
    rows = {name: {str(k): cell for k in ks} for name in names}
    gains = {str(k): gain for k in ks}
    change = {"k": ks, "models": rows, "best": names[3]}
    change |= {"gain_over_own": gains, "gain_over_common": gains}
    text = printed(PersonalCurve.model_validate(conftest.personal() | change))
    assert max(map(len, text.splitlines())) <= 80
    assert "1000" in text
    assert "[bold]" in text


@pytest.fixture
def ready(make_personal, monkeypatch):  # noqa: F811
    """A finished run in place of a new one."""
    run = make_personal()
    write(run)
    report = json.loads((run / "report.json").read_text())
    done = Result(run, report, failures=0)
    monkeypatch.setattr("fedpref.simulation.simulate", lambda *a, **b: done)
    return report


def test_simulate_ends_with_the_curve_and_what_epsilon_covers(fedpref, ready):
    out = fedpref("simulate", "some.toml").out
    flat = " ".join(out.split())
    assert out.index("this run") < out.index("pairs after k own answers")
    assert "With 4 own answers the adapted model beats" in flat
    assert "epsilon covers all releases: 10 rounds, 1 second moment, 1 eval" in flat


def test_simulate_as_json_draws_nothing(fedpref, ready):
    assert json.loads(fedpref("simulate", "some.toml", "--json").out) == ready


def test_compare_shows_own_answers_where_all_runs_have_them(
    fedpref,
    make_personal,  # noqa: F811
    make_run,  # noqa: F811
):
    one, two, old = make_personal("one"), make_personal("two"), make_run("old")
    both = fedpref("compare", one, two).out
    assert both.count("81.1%") == 2
    assert "78.4% to 83.7%" in both
    assert "own answers" not in fedpref("compare", one, old).out
