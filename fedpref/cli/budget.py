"""``fedpref budget plan | show | verify | statement | export | close``: the ledger."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedpref.core.types import Adversary, Unit
from fedpref.errors import InputError, IntegrityError, OutputError
from fedpref.questions import Place, Takes

if TYPE_CHECKING:
    from fedpref.core.book import Book
    from fedpref.core.rows import Row

_DAMAGED = (OSError, ValueError, KeyError, TypeError, RecursionError)

app = typer.Typer(
    help="Plan, read, check and export what may be learned about people.",
    no_args_is_help=True,
)

Source = Annotated[
    Path,
    typer.Argument(
        metavar="RUN|LEDGER", help="A run folder or a ledger.", show_default=False
    ),
]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write here instead of printing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


class Page(StrEnum):
    """Forms of a statement."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"


class Table(StrEnum):
    """Forms of an export."""

    JSONL = "jsonl"
    CSV = "csv"


@app.command()
def plan(
    users: Annotated[int, typer.Option(help="People enrolled.")],
    cohort: Annotated[int, typer.Option(help="People expected in a round.")],
    unit: Annotated[Unit, typer.Option(help="What one epsilon is about.")],
    noise: Annotated[Place, typer.Option(help="Where noise is added.")],
    participation: Annotated[Takes, typer.Option(help="Who takes part in a round.")],
    rounds: Annotated[int | None, typer.Option(help="Releases.")] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="What all rounds may cost.")
    ] = None,
    against: Annotated[
        Adversary | None, typer.Option(help="Whose epsilon is given.")
    ] = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="Standard deviation over sensitivity.")
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="Default: min(1e-5, 1 / (10 users))."),
    ] = None,
    min_survivors: Annotated[
        float | None,
        typer.Option(help="Fewest answers of a round: share below 1, or a count."),
    ] = None,
    colluders: Annotated[
        float | None, typer.Option(help="Bad identities: share below 1, or a count.")
    ] = None,
    coordinates: Annotated[
        int | None,
        typer.Option(help="Distributed: length of the vector. Default: a million."),
    ] = None,
    keep: Annotated[
        float | None, typer.Option(help="Labels: chance to send it as it is.")
    ] = None,
    options: Annotated[
        int | None, typer.Option(help="Labels: how many are possible. Default: 2.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute rounds, epsilon or noise from the other two, before anything is run.

    With --noise label give --epsilon or --keep.
    """
    from fedpref import planning, questions
    from fedpref.cli.quiet import hush_accountants
    from fedpref.report.budget_plan import plan_json

    hush_accountants()
    answer = planning.solve(
        questions.Question(
            users=users,
            cohort=cohort,
            unit=unit,
            noise=noise,
            participation=participation,
            rounds=rounds,
            epsilon=epsilon,
            against=against,
            noise_multiplier=noise_multiplier,
            delta=delta,
            min_survivors=min_survivors,
            colluders=colluders,
            keep=keep,
            options=options,
            coordinates=coordinates,
        )
    )
    if as_json:
        typer.echo(json.dumps(plan_json(answer)))
        return
    from fedpref.cli.budget_tables import show_plan

    show_plan(answer, planning.table(answer))


@app.command()
def show(
    source: Source,
    scenario: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Say what one more run of it would cost."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What is spent, reserved and left: by unit, adversary, run and round."""
    _, book = _open(source)
    from fedpref.report import budget

    found = budget.overview(book)
    if scenario is not None:
        found["next_run"] = _next_run(book, scenario)
    if as_json:
        typer.echo(json.dumps(found))
        return
    from fedpref.cli.budget_tables import show_book

    show_book(book, found)


@app.command()
def verify(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|LEDGER",
            help="A run folder, a ledger, or an export of one.",
            show_default=False,
        ),
    ],
    head: Annotated[
        str | None,
        typer.Option(metavar="SEQ:HASH", help="A head that was noted earlier."),
    ] = None,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Price it with other accountants too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute the chain and every epsilon from the rows."""
    rows, book = _open(source)
    from fedpref.report import budget, budget_rows, budget_runs

    if head is not None:
        budget_rows.check_head(rows, head)
    opinions = None
    if cross_check:
        from fedpref.report.cross_check import cross_check as check

        opinions = check(book)
    if as_json:
        found: dict[str, Any] = {
            "ok": True,
            "rows": len(rows),
            "head": budget.head_text(book),
            "head_checked": head is not None,
            "units": {unit.value: budget_runs.runs(book, unit) for unit in book.caps},
        }
        if opinions is not None:
            found["cross_check"] = [vars(opinion) for opinion in opinions]
        typer.echo(json.dumps(found))
        return
    from fedpref.cli.budget_tables import show_verified

    show_verified(book, rows, opinions, noted=head is not None or not _export(source))


@app.command()
def statement(
    source: Source,
    form: Annotated[
        Page, typer.Option("--format", help="For readers, or for machines.")
    ] = Page.MARKDOWN,
    out: Out = None,
) -> None:
    """Whose data, against whom, how strongly, for how long, and what stays open."""
    _, book = _open(source)
    from fedpref.report import budget_statement as statements

    found = statements.statement(book)
    if form is Page.JSON:
        text = json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    else:
        render = statements.html if form is Page.HTML else statements.markdown
        text = render(found)
    _write(text, out)


@app.command()
def export(
    source: Source,
    form: Annotated[
        Table, typer.Option("--format", help="One object a line, or a table.")
    ] = Table.JSONL,
    out: Out = None,
) -> None:
    """The rows of a ledger, enough to verify it on another machine."""
    rows, _ = _open(source)
    from fedpref.report import budget_rows

    write = budget_rows.to_jsonl if form is Table.JSONL else budget_rows.to_csv
    _write(write(rows), out)


@app.command()
def close(
    source: Source,
    run: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A run in a ledger, as show --json has it."),
    ] = None,
) -> None:
    """End a plan before its last round; frees the rest under an adaptive cap only."""
    from fedpref.core import ledger as core
    from fedpref.store.ledger import Ledger

    name = _run_name(source) if source.is_dir() else run
    if name is None or (source.is_dir() and run is not None):
        raise InputError("close: give a run folder, or a ledger and --run NAME")
    path = _ledger_of(source) if source.is_dir() else source
    if not path.is_file():
        raise InputError(f"no ledger at {path}")
    with Ledger.open(path) as ledger:
        if name not in ledger.book.accounts:
            raise InputError(f"--run {name}: not in {path}")
        ledger.append(lambda book: core.close(book, name))
        account = ledger.book.accounts[name]
        held = sum(ledger.book.held(account))
    typer.echo(f"closed after round {account.charged}; {held} rounds count")


def _run_name(run: Path) -> str:
    try:
        return str(json.loads((run / "plan.json").read_text())["run_id"])
    except _DAMAGED as error:
        raise InputError(f"{run}: no plan.json that names a run") from error


def _open(source: Path) -> "tuple[tuple[Row, ...], Book]":
    """Rows and verified state of a run's ledger, a ledger, or an export of one."""
    from fedpref.report import budget_rows

    if _export(source):
        text = _read(source)
        read = (
            budget_rows.from_csv if source.suffix == ".csv" else budget_rows.from_jsonl
        )
        rows = read(text)
        if not rows:
            raise InputError(f"{source}: has no rows")
        return rows, _located(source, rows)
    from fedpref.store import ledger

    path = _ledger_of(source) if source.is_dir() else source
    head = ledger.read_head(path)  # before the rows: a writer may add some meanwhile
    rows = ledger.read_rows(path)
    book = _located(path, rows)
    ledger.check_head(path, rows, head)
    return rows, book


def _located(path: Path, rows: "tuple[Row, ...]") -> "Book":
    from fedpref.report import budget_rows

    try:
        return budget_rows.verified(rows)
    except IntegrityError as error:
        raise IntegrityError(f"{path}: {error}") from error


def _export(source: Path) -> bool:
    return source.suffix in (".jsonl", ".csv") and source.is_file()


def _ledger_of(run: Path) -> Path:
    """The ledger of a run folder: its own, or the one that it shares."""
    own = run / "ledger.db"
    if own.exists():
        return own
    try:
        stored = Path(json.loads((run / "plan.json").read_text())["ledger_file"])
    except _DAMAGED as error:
        raise InputError(
            f"{run}: neither a ledger.db nor a plan.json that names one; give the "
            "ledger itself"
        ) from error
    return own if stored == Path("ledger.db") else stored


def _next_run(book: "Book", scenario: Path) -> dict[str, Any]:
    """What one more run of ``scenario`` would cost, and whether it fits."""
    from fedpref import config
    from fedpref.report.budget import next_run
    from fedpref.simulation.budget import reservation
    from fedpref.simulation.setup import prepare

    setup = prepare(config.read(scenario))
    return next_run(book, reservation(setup, "one more run"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text") from error


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    from fedpref.store.checkpoints import write_atomic

    if out.suffix == ".db" or out.is_dir():
        raise OutputError(f"{out}: would replace a ledger or a folder; choose a name")
    write_atomic(out, text.encode())
    typer.echo(f"written: {out}")
