import json

import pytest

from fedpref.errors import InputError
from fedpref.report import releases
from fedpref.report.run import read
from fedpref.report.statement import statement
from fedpref.report.write import write
from tests.report import conftest
from tests.report.test_page import rendered, words

TOGETHER = "10 rounds, 1 second moment, 1 evaluation"
SENTENCE = (
    "What is released: 10 rounds: 16 numbers each, noise multiplier 17.5; 1 second "
    "moment: 136 numbers, noise multiplier 5.277; 1 evaluation: 3 numbers in "
    "a vector of 16, noise multiplier 17.5. Every epsilon here is the total of all of "
    "them."
)


def test_every_stage_is_in_the_statement(make_personal):
    found = statement(read(make_personal()))
    assert found["summary"][-1] == SENTENCE
    assert "who sees only what is released: epsilon 1.00" in found["summary"][-2]
    assert [s["purpose"] for s in found["stages"]] == [
        "training",
        "moment",
        "evaluation",
    ]
    assert [s["rounds_run"] for s in found["stages"]] == [10, 1, 1]
    assert [s["noise_multiplier"] for s in found["stages"]] == [17.501, 5.2769, 17.501]
    assert [s["coordinates"] for s in found["stages"]] == [16, 136, 16]
    assert all(s["meaning"] for s in found["stages"])
    assert found["adversaries"]["outsider"]["sees"] == (
        "the released model, the released second moment of people's offsets, the "
        "released evaluation and this statement"
    )
    assert any("own device makes of" in line for line in found["not_protected"])
    assert found["mechanism"]["rounds_run"] == 10
    json.dumps(found, allow_nan=False)


def test_every_stage_is_on_the_page(make_personal):
    html = rendered(make_personal())
    text = words(html)
    assert SENTENCE in text
    assert "everybody who sees only what is released" in text
    assert "the released model and this statement" not in text
    for name, value in {
        "Rounds": "10 of 10 planned",
        "Releases in the plan": TOGETHER,
        "Second moment": "136 numbers, noise multiplier 5.277",
        "Evaluation": "3 numbers in a vector of 16, noise multiplier 17.5",
    }.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in html, name
    assert "Release 11 is the second moment. Release 12 is the evaluation." in text
    assert "second moment 11: 0.975" in html  # on the line of epsilon
    assert "12, evaluation" in text  # in its table


def test_a_changed_stage_changes_page_and_statement(make_personal):
    stages = [dict(stage) for stage in conftest.STAGES]
    stages[1] |= {"noise_multiplier": 6.125, "coordinates": 528}
    run = make_personal(stages=stages)
    text = words(rendered(run))
    told = "1 second moment: 136 numbers in a vector of 528, noise multiplier 6.125"
    assert told in text
    assert "5.277" not in text
    assert "noise multiplier 6.125" in (run / "statement.json").read_text()


def test_a_stage_that_was_given_up_is_said_to_be(make_personal):
    run = make_personal()
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join([*lines[:10], lines[11]]) + "\n")
    assert "Release 11 is the second moment and was not made." in words(rendered(run))
    report = json.loads((run / "report.json").read_text())
    assert [stage["rounds_run"] for stage in report["stages"]] == [10, 0, 1]


def test_a_run_that_only_trains_is_worded_as_before(make_distributed):
    run = make_distributed()
    found = statement(read(run))
    assert not [line for line in found["summary"] if "What is released" in line]
    assert [s["rounds"] for s in found["stages"]] == [12]  # with two spare ones
    assert releases.counted(read(run).plan) == "12 rounds (2 of them spare)"
    text = words(rendered(run))
    assert "everybody who sees only the released model" in text
    assert "Epsilon by round" in text
    assert "Releases in the plan" not in text


def test_an_older_run_that_evaluated_on_devices(make_run):
    line = {"round": 11, "epsilon": conftest.EPSILON, "seconds": 0.3}
    rounds = [*conftest.metrics(), line | {"evaluation": True}]
    run = make_run(plan={"evaluation": True}, rounds=rounds)
    found = read(run)
    assert len(found.rounds) == 10
    assert releases.counted(found.plan) == "10 rounds, 1 evaluation"
    write(run)
    report = json.loads((run / "report.json").read_text())
    assert report["rounds"] == 10
    assert [stage["rounds_run"] for stage in report["stages"]] == [10, 1]


def test_without_noise_no_stage_claims_any(make_personal):
    infinite = {"server": "inf", "outsider": "inf"}
    stages = [s | {"noise_multiplier": 0.0} for s in conftest.STAGES]
    run = make_personal(
        noise="none",
        masked=False,
        epsilon=infinite,
        target_epsilon=None,
        accountant={},
        stages=stages,
    )
    sentence = releases.in_words(read(run).plan)
    assert sentence.count("without noise") == 3
    assert "multiplier" not in sentence


@pytest.mark.parametrize(
    ("number", "purpose"), [(11, "evaluation"), (13, "moment"), (12, "training")]
)
def test_a_release_that_was_not_planned_is_refused(make_personal, number, purpose):
    run = make_personal()
    lines = (run / "metrics.jsonl").read_text().splitlines()[:9]
    other = {"round": number, "epsilon": conftest.EPSILON, "seconds": 1, "survivors": 9}
    lines.append(json.dumps(other | {"purpose": purpose}))
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="the sealed plan has no such release"):
        read(run)
