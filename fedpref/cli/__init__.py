"""The command line. Everything heavy is imported by the command that needs it."""

import sys
from typing import Annotated

import typer

from fedpref import __version__
from fedpref.cli import (
    bench,
    budget,
    data,
    doctor,
    objectives,
    runs,
    simulate,
    study,
)
from fedpref.errors import FedprefError
from fedpref.faults import told

app = typer.Typer(
    name="fedpref",
    help="Federated preference learning with a stated and proved privacy bound.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(simulate.simulate)
app.command()(runs.report)
app.command()(runs.compare)
app.command()(runs.score)
app.command()(runs.personalise)
app.add_typer(bench.app, name="bench")
app.add_typer(budget.app, name="budget")
app.add_typer(data.app, name="data")
app.add_typer(study.app, name="study")
app.command()(doctor.doctor)
app.command()(objectives.objectives)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fedpref {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Version."),
    ] = False,
) -> None:
    """Federated preference learning with a stated and proved privacy bound."""


def main() -> None:
    """Run the command line; an error of ours is a message and an exit code."""
    try:
        app()
    except FedprefError as error:
        typer.echo(f"fedpref: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("fedpref: stopped", err=True)
        sys.exit(130)
    except Exception as error:  # its own words may be a person's
        typer.echo(
            f"fedpref: a fault of ours: {told(error)}; please report it", err=True
        )
        sys.exit(FedprefError.exit_code)
