"""The secure sum under faults: 1,000 rounds of what is recorded for 100,000.

docs/results/faults.md has the rest, and the command for it.
"""

import json
import sys

import pytest
from fault_mutations import MUTATIONS, mutated
from fault_world import LABELS
from protocol_faults import (
    MESSAGE_FAULTS,
    STOPS,
    VIOLATIONS,
    WAYS,
    main,
    run,
    violations,
)

CASES = 120
PLACES = (
    *("device crashed before it answered", "device crashed after it answered"),
    *("device crashed before it saved", "device crashed after it saved"),
    *("server crashed before a leg", "server crashed after a leg"),
    *("server crashed between requests", "server crashed between replies"),
    *("server crashed before record", "server crashed after record"),
    *("server crashed before unmasking", "server crashed after unmasking"),
    *("server crashed before pending", "server crashed after pending"),
    *("server crashed before state", "server crashed after state"),
    *("server crashed before released", "server crashed after released"),
    *("server crashed before aborted", "server crashed after aborted"),
)
# The first case that finds a mutation, when this was written; later ones do as well.
FOUND_FROM = {
    "fresh noise on a request sent again": 3,
    "fresh keys on a request sent again": 2,
    "shares after a tombstone": 20,
    "a second list is signed": 82,
    "an upload is added twice": 3,
    "an upload of an earlier round is accepted": 28,
    "opened below the floor": 7,
    "a charged round is asked for anew": 23,
}


@pytest.fixture(scope="module")
def found():
    return run(0, CASES)


def test_a_thousand_rounds_without_a_violation(found) -> None:
    assert {name: found[name] for name in VIOLATIONS if found[name]} == {}
    assert found["rounds"] >= 1000


def test_most_of_what_can_happen_does(found) -> None:
    """A simulator in which nothing is ever released would find nothing either."""
    assert found["released"] > 0.35 * found["rounds"]
    assert found["released"] + found["given up"] > 0.8 * found["rounds"]
    assert found["devices in released sums"] > 3 * found["released"]
    assert found["  released on a drawn graph"] > 5
    assert found["lost after the charge"] > 10
    assert found["opened from a record"] - found["  of them from a record"] > 3
    assert found["rounds begun again after a crash"] > 20
    assert found["refunded to a device by R1"] > 10
    assert found["refunded to a device by R2"] > 100


def test_every_fault_occurs_in_every_leg(found) -> None:
    never = {("reply", "refused"), ("leg 4", "in a later leg")}
    never.add(("certificate", "in a later leg"))  # a round ends with these
    for way in WAYS:
        for label in LABELS:
            for fault in MESSAGE_FAULTS:
                if not never & {(way, fault), (label, fault)}:
                    assert found[f"{way} {label} {fault}"] > 0, (way, label, fault)
    for stop in STOPS:
        assert all(found[stop.format(label)] > 0 for label in LABELS), stop
    assert [place for place in PLACES if not found[place]] == []


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_protocol_is_found(name, capsys) -> None:
    first = FOUND_FROM.get(name, 0)
    with mutated(name):
        found = run(first, first + 60, until_found=True)
    assert violations(found) > 0
    assert capsys.readouterr().err.startswith(f"case {first + found['cases'] - 1}: ")


def test_a_mutation_is_taken_back() -> None:
    for name in MUTATIONS:
        with mutated(name):
            pass
    assert violations(run(3, 4)) == 0


def test_ranges_add_up(tmp_path, capsys, monkeypatch) -> None:
    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["protocol_faults.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 0
        return capsys.readouterr().out

    parts = [tmp_path / "0.json", tmp_path / "1.json"]
    for number, part in enumerate(parts):
        part.write_text(command("--cases", f"{number}:{number + 1}", "--json"))
    added = json.loads(command("--add", *map(str, parts), "--json"))
    assert added == dict(run(0, 2))
    assert f"{added['rounds']:,}" in command("--add", *map(str, parts))
