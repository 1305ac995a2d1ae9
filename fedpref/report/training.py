"""How a run was trained, in words, from its resolved scenario.

Guarantees: what the scenario says, nothing that it does not. Does not: check it; a
setting of an odd type is shown as it stands.
"""

from collections.abc import Mapping
from typing import Any

from fedpref import objectives
from fedpref.report.run import Run

HEAD_ALONE = "none: a linear head"
GRADIENT = "none: one gradient"


def objective(run: Run) -> str:
    """Name and settings of the objective."""
    return _told(_table(run, "objective"), "name")


def adapter(run: Run) -> str:
    """Kind and settings of the adapter."""
    found = _table(run, "model").get("adapter")
    return _told(found, "kind") if isinstance(found, Mapping) else HEAD_ALONE


def optimiser(run: Run) -> str:
    """The server's optimiser; settings that are absent are its own defaults."""
    given = dict(_table(run, "server"))
    given.pop("average_last", None)
    return _told(given, "optimiser")


def local_steps(run: Run) -> str:
    """What a device does before it answers."""
    given = dict(_table(run, "local"))
    steps = given.pop("steps", None)
    return GRADIENT if steps is None else f"{steps} of {_told(given, 'optimiser')}"


def statistic(run: Run) -> str:
    """What is released beside the update because the objective asks for it, if any."""
    name = _table(run, "objective").get("name")
    if name not in objectives.names():
        return ""
    if objectives.about(name).coupling is not objectives.Coupling.RELEASED:
        return ""
    return f"one number a round, which {name} asks for in the next one; priced"


def rows(run: Run) -> list[tuple[str, str]]:
    """All of it, for the table of a report."""
    told = [
        ("Objective", objective(run)),
        ("Adapter", adapter(run)),
        ("Server’s optimiser", optimiser(run)),
        ("Local steps", local_steps(run)),
    ]
    more = statistic(run)
    return [*told, ("Released beside the update", more)] if more else told


def _table(run: Run, section: str) -> Mapping[str, Any]:
    found = run.scenario.get(section)
    return found if isinstance(found, Mapping) else {}


def _told(table: Mapping[str, Any], first: str) -> str:
    """``lora, r 4, layers last:1``; lists in brackets.

    >>> _told({"r": 4, "kind": "lora", "targets": ["query"]}, "kind")
    'lora, r 4, targets [query]'
    """
    rest = (f"{key} {_value(own)}" for key, own in table.items() if key != first)
    return ", ".join([str(table.get(first, "not said")), *rest])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
