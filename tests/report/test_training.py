"""What a report says about how a run was trained."""

from types import SimpleNamespace

from fedpref.report import training

SCENARIO = {
    "objective": {"name": "bsr_lagged", "strength": 0.5},
    "model": {"adapter": {"kind": "lora", "r": 2, "freeze_a": True, "targets": ["q"]}},
    "server": {"optimiser": "adam", "lr": 0.25, "average_last": 0.5},
    "local": {"optimiser": "sgd", "steps": 3},
}


def test_all_of_it_is_said() -> None:
    said = dict(training.rows(SimpleNamespace(scenario=SCENARIO)))
    released = said.pop("Released beside the update")
    assert released.startswith("one number a round, which bsr_lagged asks for")
    assert said == {
        "Objective": "bsr_lagged, strength 0.5",
        "Adapter": "lora, r 2, freeze_a yes, targets [q]",
        "Server’s optimiser": "adam, lr 0.25",
        "Local steps": "3 of sgd",
    }


def test_what_is_not_there_is_not_said() -> None:
    bare = {"objective": {"name": "bt"}, "model": {}, "server": {"optimiser": "sgd"}}
    assert dict(training.rows(SimpleNamespace(scenario=bare))) == {
        "Objective": "bt",
        "Adapter": training.HEAD_ALONE,
        "Server’s optimiser": "sgd",
        "Local steps": training.GRADIENT,
    }
