"""``fedpref report | compare | score``: what can be done with finished runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedpref.cli.simulate import number
from fedpref.core.types import Record
from fedpref.errors import InputError, RecordError

if TYPE_CHECKING:
    from fedpref.report.compare import Row

Run = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


_MEASURES: dict[str, Callable[["Row"], str]] = {
    "unit": lambda row: row.unit,
    "noise": lambda row: row.noise,
    "objective": lambda row: row.objective,
    "adapter": lambda row: row.adapter,
    "server's optimiser": lambda row: row.optimiser,
    "local steps": lambda row: row.local_steps,
    "epsilon, outsider": lambda row: number(row.epsilon_outsider),
    "epsilon, server": lambda row: number(row.epsilon_server),
    "delta": lambda row: f"{row.delta:g}",
    "seeded": lambda row: "yes, not private" if row.seeded else "no",
    "rounds": lambda row: str(row.rounds),
    "held-out people": lambda row: str(row.heldout),
    "pairs": lambda row: f"{row.accuracy:.1%}",
    "95 % over people": lambda row: _range(row.ci95),
    "choices": lambda row: f"{row.choice_accuracy:.1%}",
    "log-loss": lambda row: f"{row.log_loss:.3f}",
    "calibration error": lambda row: f"{row.ece:.3f}",
}

_AT_4: dict[str, Callable[["Row"], str]] = {
    "pairs, 4 own answers": lambda row: f"{row.accuracy_at_4 or 0:.1%}",
    "of it, 95 % over people": lambda row: _range(row.ci95_at_4),
}


def report(run: Run, as_json: AsJson = False) -> None:
    """Write report.html, report.json and statement.json of a run anew."""
    from fedpref.report.write import write

    page = write(run)
    if as_json:
        typer.echo((run / "report.json").read_text(), nl=False)
    else:
        typer.echo(f"report: {page}")


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    as_json: AsJson = False,
) -> None:
    """Put runs side by side."""
    from fedpref.report.compare import compare as side_by_side

    rows = side_by_side(runs)
    if as_json:
        typer.echo(json.dumps([row.to_json() for row in rows]))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(row.name for row in rows))
    adapted = all(row.accuracy_at_4 is not None for row in rows)
    for name, shown in (_MEASURES | _AT_4 if adapted else _MEASURES).items():
        table.add_row(name, *(shown(row) for row in rows))
    Console().print(table)


def _range(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.1%} to {ends[1]:.1%}"


def score(
    run: Run,
    file: Annotated[Path, typer.Argument(help="JSON Lines: records, or texts.")],
    personal: Annotated[
        bool,
        typer.Option("--personal", help="With your own offset (fedpref personalise)."),
    ] = False,
    offset: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your offset, if it lies elsewhere."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score your own texts or choices with a trained model.

    Each line of FILE is {"text": "..."}, or each is a record (docs/formats.md). A text
    gets a score; a record gets the lead of what was chosen over the best other option,
    and whether the model would have chosen the same.
    """
    texts, records = _inputs(file)
    from fedpref.simulation import load_reward
    from fedpref.simulation.home import load_personal

    own = personal or offset is not None
    reward = load_personal(run, offset) if own else load_reward(run)
    rows = [{"item": i, "score": s} for i, s in enumerate(reward.score(texts), 1)]
    scores = iter(reward.score([text for record in records for text in record.texts]))
    for item, record in enumerate(records, 1):
        rows.append(_judge(item, [next(scores) for _ in record.texts], record))
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    from rich.console import Console
    from rich.table import Table

    names = list(rows[0])
    table = Table(*names)
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    Console().print(table)


def personalise(
    run: Run,
    file: Annotated[Path, typer.Argument(help="JSON Lines: your own choices.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your offset. Default: in the run folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Adapt a trained model to you from a few of your own choices, on this machine.

    Nothing is sent. The offset that is written is a summary of your answers: it is
    readable by you alone, keep it so. Then: fedpref score RUN FILE --personal.
    """
    from fedpref.simulation.home import personalise as adapt

    found, path = adapt(run, file, out)
    if as_json:
        names = ("answers", "disagreements", "common", "own")
        values = {name: getattr(found, name) for name in names}
        typer.echo(json.dumps({**values, "offset": str(path)}))
        return
    typer.echo(f"own answers: {found.answers}")
    if found.disagreements:
        typer.echo(
            f"questions answered in two ways: {found.disagreements}; all answers count"
        )
    if found.common is not None and found.own is not None:
        typer.echo(
            "pairs of your own answers in the right order, each answer left out in "
            f"turn: {found.common:.0%} by the common model, {found.own:.0%} by one "
            "adapted to your other answers"
        )
    typer.echo(f"offset, private to you: {path}")
    typer.echo(f"next: fedpref score {run} FILE --personal")


def _inputs(file: Path) -> tuple[list[str], tuple[Record, ...]]:
    """Texts, or records: whichever the first line is decides for the whole file."""
    from fedpref.data.formats import read_records

    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text") from error
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not filled or _text(filled[0][1]) is None:
        return [], read_records(file)
    texts = [(number, _text(line)) for number, line in filled]
    if bad := [number for number, text in texts if text is None]:
        raise RecordError(str(file), [(n, 'must be {"text": "..."}') for n in bad])
    return [text for _, text in texts if text is not None], ()


def _text(line: str) -> str | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(row, dict) and list(row) == ["text"] and isinstance(row["text"], str):
        return row["text"]
    return None


def _judge(item: int, scores: list[float], record: Record) -> dict[str, Any]:
    if record.choice is None:
        return {"item": item, "score": scores[0], "lead": None, "agrees": None}
    others = [score for i, score in enumerate(scores) if i != record.choice]
    lead = scores[record.choice] - max(others)
    return {
        "item": item,
        "score": scores[record.choice],
        "lead": lead,
        "agrees": lead > 0,
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:+.3f}" if isinstance(value, float) else str(value)
