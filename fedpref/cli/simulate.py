"""``fedpref simulate``: a scenario to a run folder, with progress."""

import json
import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedpref.core.types import Adversary
from fedpref.errors import InputError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from fedpref.simulation.run import Progress, Result
    from fedpref.transport.in_process import Carry


_QUIET_FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


class Road(StrEnum):
    """How messages travel."""

    in_process = "in_process"
    flower = "flower"


def simulate(
    scenario: Annotated[
        Path | None, typer.Argument(help="TOML file of the run.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder of the run. Default: runs/NAME."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a setting."),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Ledger of all runs on these people. Default: a new one. With "
            "--resume: where it lies now.",
        ),
    ] = None,
    transport: Annotated[
        Road, typer.Option(help="Road that messages take.")
    ] = Road.in_process,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a stopped run.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print report.json and nothing else.")
    ] = False,
) -> None:
    """Run a scenario with every client on this machine."""
    if (scenario is None) == (resume is None):
        raise InputError("simulate: give either a SCENARIO or --resume RUN")
    if resume is not None and (out is not None or settings):
        raise InputError("simulate --resume: takes no --out or --set")
    typer.echo(_first_line(ledger, resume), err=as_json)
    result = _run(
        scenario, out, ledger, settings or [], transport, resume, quiet=as_json
    )
    if as_json:
        typer.echo(json.dumps(result.report))
    else:
        _show(result)


def _first_line(ledger: Path | None, resume: Path | None) -> str:
    if resume is not None:
        return f"ledger: that of {resume}" + (f", now {ledger}" if ledger else "")
    if ledger is not None:
        found = "" if ledger.exists() else "a new one, "
        return f"ledger: {ledger}, {found}shared by all runs on the same people"
    return (
        "ledger: a new one in the run folder; it knows of no other run on the same "
        "people (join runs with --ledger FILE)"
    )


def _run(
    scenario: Path | None,
    out: Path | None,
    ledger: Path | None,
    settings: list[str],
    transport: Road,
    resume: Path | None,
    *,
    quiet: bool,
) -> "Result":
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.progress import TimeElapsedColumn as Elapsed

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        Elapsed(),
    )
    console = Console(stderr=True, quiet=quiet)
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("set-up", total=None)
        from fedpref import simulation
        from fedpref.cli.quiet import hush_accountants

        hush_accountants()
        carry = _road(transport)

        def tell(progress: "Progress") -> None:
            _tell(bar, task, progress)

        if resume is not None:
            return simulation.resume(resume, ledger=ledger, carry=carry, tell=tell)
        assert scenario is not None
        return simulation.simulate(
            scenario, out, ledger=ledger, overrides=settings, carry=carry, tell=tell
        )


def _road(transport: Road) -> "Carry | None":
    """The road that was asked for; None leaves the number of processes to the run."""
    if transport is Road.in_process:
        return None
    for name, value in _QUIET_FLOWER.items():
        os.environ.setdefault(name, value)
    from fedpref.transport.flower import apps

    return apps.carry


def _tell(bar: "Bar", task: Any, progress: "Progress") -> None:
    if progress.round is None:
        bar.update(task, description=f"{progress.stage}: {progress.detail}")
        if progress.stage == "evaluation":
            bar.update(task, total=None)
        return
    done = progress.round
    spent = number(done.epsilon[Adversary.OUTSIDER])
    line = f"round {done.number} of {done.planned}, epsilon so far {spent}"
    if progress.accuracy is not None:
        line += f", held-out pairs {progress.accuracy:.1%}"
    bar.update(task, description=line, completed=done.number, total=done.planned)
    if not bar.console.is_terminal:
        bar.console.print(line)


def _show(result: "Result") -> None:
    """The result in a few lines; the page has the rest."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    report = result.report
    low, high = report["heldout"]["ci95"]
    table = Table(title=f"{report['scenario']}: held-out pairs", title_justify="left")
    for column in ("", "accuracy", "95 % over people"):
        table.add_column(column, justify="left" if not column else "right")
    table.add_row("this run", f"{report['heldout']['accuracy']:.1%}", _range(low, high))
    for name, row in report["baselines"].items():
        table.add_row(name, f"{row['accuracy']:.1%}", _range(*row["ci95"]))
    console.print(table)
    if report["personal"] is not None:
        from fedpref.cli import curve
        from fedpref.report.schema import PersonalCurve

        curve.show(console, PersonalCurve.model_validate(report["personal"]))
    for line in _privacy(report):
        console.print(line, highlight=False, soft_wrap=True)
    if result.failures:
        console.print(
            f"simulation only: the data of {result.failures} people could not be used "
            "in some round and counted as zero"
        )
    console.print(f"report: {result.folder / 'report.html'}", soft_wrap=True)


def _privacy(report: Mapping[str, Any]) -> list[str]:
    epsilon = report["epsilon"]
    return [
        f"epsilon per {report['unit']} at delta {report['delta']:g}: "
        f"outsider {number(epsilon['outsider'])}, server {number(epsilon['server'])}"
        + _about_the_server(report),
        *_stages(report["stages"]),
        *(["seeded: reproducible and NOT private"] if report["seeded"] else []),
    ]


def _stages(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What an epsilon covers, where there is more than training."""
    from fedpref.report.releases import count
    from fedpref.stages import Purpose

    if len(stages) < 2:
        return []
    parts = [count(Purpose(stage["purpose"]), stage["rounds"]) for stage in stages]
    return [f"each epsilon covers all releases: {', '.join(parts)}"]


def _about_the_server(report: Mapping[str, Any]) -> str:
    if report["noise"] in ("central", "none"):
        return " (it sees every update)"
    if not report["masked"]:
        return " (as if run with the protocol; this run summed without masks)"
    return ""


def _range(low: float, high: float) -> str:
    return f"{low:.1%} to {high:.1%}"


def number(value: float | str) -> str:
    """An epsilon for people.

    >>> number(0.99999), number("inf"), number(float("inf"))
    ('1', 'infinite', 'infinite')
    """
    return "infinite" if float(value) == float("inf") else f"{float(value):.3g}"
