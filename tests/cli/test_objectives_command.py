"""Objectives from the command line: the table, and records that do not fit."""

import json

import pytest

from fedpref import objectives


def row(i, **more):
    return json.dumps({"user": f"u{i}", "prompt": "", **more})


PAIRS = [row(i, chosen="yes", rejected="no") for i in range(20)]
THUMB = row(20, completion="well done", label=True)
MENU = row(21, options=["tea", "coffee", "water"], choice=2)
LABELS = [
    row(i, chosen="yes", rejected="no", labels={"price": 0, "privacy": 1})
    for i in range(20)
]


@pytest.fixture
def simulate(fedpref, root, tmp_path):
    """Run the example scenario on some lines with another objective."""

    def run(name, lines, *settings):
        (tmp_path / "own.jsonl").write_text("\n".join(lines))
        changes = [f"objective.name={name}", "data.source=own.jsonl", *settings]
        overrides = [word for change in changes for word in ("--set", change)]
        return fedpref("simulate", root / "simulations" / "own_data.toml", *overrides)

    return run


@pytest.mark.parametrize(
    ("name", "lines", "problems"),
    [
        ("bt", [*PAIRS, THUMB], ["line 21: a thumb; bt needs a choice among two"]),
        ("dpo", [*PAIRS, THUMB, *PAIRS[:1], THUMB], ["line 21: a thumb; dpo needs"]),
        ("dpo", [*PAIRS, THUMB, "", THUMB], ["line 21: a thumb", "line 23: a thumb"]),
        ("robust_dpo", [*PAIRS, MENU], ["line 21: options = 3; robust_dpo", "dpo"]),
        ("kto_zero", [THUMB, *PAIRS], ["line 2: a choice; kto_zero", "fits: "]),
        ("parm", [*LABELS, PAIRS[0]], ["line 21: no `labels`; parm needs"]),
    ],
)
def test_lines_that_do_not_fit_are_refused_before_training(
    simulate, name, lines, problems
) -> None:
    shown = simulate(name, lines)
    assert shown.code == 2
    assert all(problem in shown.err for problem in problems)
    assert "well done" not in shown.err


def test_an_objective_that_couples_the_batch_is_refused_by_name(simulate) -> None:
    shown = simulate("bsr_batch", PAIRS)
    assert shown.code == 2
    assert "objective bsr_batch couples everybody's records" in shown.err
    assert "use bsr_user, bsr_lagged, bsr_pair" in shown.err


def test_keywords_are_checked_with_the_scenario(simulate) -> None:
    shown = simulate("bsr_user", PAIRS, "objective.clamp=-1.0")
    assert shown.code == 2
    assert "objective.clamp = -1.0, must be above 0" in shown.err


def test_the_table_and_its_json(fedpref) -> None:
    shown = fedpref("objectives")
    assert shown.code == 0
    assert "instead: bsr_user, bsr_lagged, bsr_pair" in shown.out
    found = json.loads(fedpref("objectives", "--json").out)
    assert [objective["name"] for objective in found] == list(objectives.names())
