"""From a run folder to ``report.json``, ``statement.json`` and ``report.html``.

Guarantees: each file is replaced whole or not at all; the same run folder gives the
same bytes. Does not read anything but the run folder.
"""

import json
from pathlib import Path
from typing import Any

from fedpref.report import releases
from fedpref.report.page import page
from fedpref.report.run import Run, read
from fedpref.report.statement import statement
from fedpref.report.words import number
from fedpref.store.checkpoints import write_atomic


def write(run: Path) -> Path:
    """Write the three files into ``run``.

    Returns:
        The path of ``report.html``.

    Raises:
        InputError: the folder is not a finished run.
        OutputError: the folder cannot be written.
    """
    found = read(run)
    promised = statement(found)
    files = {
        "report.json": _json(report(found)),
        "statement.json": _json(promised),
        "report.html": page(found, promised),
    }
    for name, text in files.items():
        write_atomic(found.path / name, text.encode())
    return found.path / "report.html"


def report(run: Run) -> dict[str, Any]:
    """The numbers of the run, ``report.json``."""
    plan, results = run.plan, run.results
    heldout = results.heldout
    return {
        "scenario": run.name,
        "unit": plan.unit.value,
        "noise": plan.noise.value,
        "participation": plan.participation.value,
        "masked": plan.masked,
        "epsilon": plan.epsilon.to_json(),
        "delta": plan.delta,
        "target_epsilon": number(plan.target_epsilon),
        "against": plan.against.value,
        "seeded": plan.seeded,
        "rounds": len(run.rounds),
        "stages": releases.to_json(run),
        "clients": results.clients.model_dump(),
        "heldout": {
            "accuracy": heldout.accuracy,
            "ci95": list(heldout.ci95),
            "choice_accuracy": heldout.choice_accuracy,
            "log_loss": heldout.log_loss,
            "ece": heldout.ece,
        },
        "federated": None
        if results.federated is None
        else results.federated.model_dump(mode="json"),
        "personal": None
        if results.personal is None
        else results.personal.model_dump(mode="json"),
        "baselines": {
            name: baseline.model_dump(mode="json")
            | {"ci95": list(baseline.ci95), "epsilon": number(baseline.epsilon)}
            for name, baseline in results.baselines.items()
        },
        "timing": run.environment.timing.model_dump(),
        "versions": run.environment.versions,
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
