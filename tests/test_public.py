"""The package as its users meet it: the exact public list, and light imports."""

import subprocess
import sys

import fedpref


def test_public_list_is_exact_and_sorted() -> None:
    assert fedpref.__all__ == [
        "FedprefError",
        "Record",
        "__version__",
        "load_reward",
        "simulate",
    ]
    assert sorted(fedpref.__all__) == fedpref.__all__
    for name in fedpref.__all__:
        assert getattr(fedpref, name) is not None


def test_unknown_names_are_unknown() -> None:
    assert not hasattr(fedpref, "no_such_thing")


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return {name.partition(".")[0] for name in out.stdout.split()}


HEAVY = {"torch", "transformers", "peft", "flwr", "dp_accounting", "matplotlib"}


def test_importing_the_package_or_the_command_line_loads_nothing_heavy() -> None:
    assert not loaded_by("import fedpref") & HEAVY
    assert not loaded_by("import fedpref.cli") & (HEAVY | {"pydantic", "scipy"})


def test_the_courier_loads_nothing_of_ours_that_is_heavy() -> None:
    loaded = loaded_by("import clients.app")
    assert not loaded & (HEAVY - {"flwr"})


def test_every_error_has_the_exit_code_of_the_design() -> None:
    from fedpref import errors

    codes = {
        cls.__name__: cls.exit_code
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.FedprefError)
    }
    assert codes == {
        "FedprefError": 1,
        "InputError": 2,
        "RecordError": 2,
        "ScenarioError": 2,
        "ObjectiveError": 2,
        "PlanError": 2,
        "UnsupportedEvent": 2,
        "BudgetError": 3,
        "FloorError": 3,
        "IntegrityError": 4,
        "MessageError": 4,
        "AuditError": 5,
        "SetupError": 6,
        "AssetMissing": 6,
        "OutputError": 6,
        "TooFewSurvivors": 6,
        "Interrupted": 130,
    }
    for name in codes:
        assert name in errors.__doc__
