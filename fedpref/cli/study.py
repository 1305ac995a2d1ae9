"""``fedpref study curve``: what a few own answers add to what was learned together."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedpref.errors import InputError, OutputError

if TYPE_CHECKING:
    from fedpref.study.curves import Ask

app = typer.Typer(
    help="Studies of many people: accuracy against own answers.", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    """Studies of many people: accuracy against own answers."""


@app.command("curve")
def curve(
    name: Annotated[
        str, typer.Argument(metavar="SET", help="Name of the set.", show_default=False)
    ],
    folder: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Folder of the set's files."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Learn from all of --from, predict these people."
        ),
    ] = None,
    epsilon: Annotated[
        str, typer.Option(metavar="LIST", help="Totals per person; inf: no noise.")
    ] = "inf,1",
    k: Annotated[
        str, typer.Option(metavar="LIST", help="Own answers. Default: by set.")
    ] = "",
    models: Annotated[
        str, typer.Option(metavar="LIST", help="Default: all of them.")
    ] = "",
    seeds: Annotated[int, typer.Option(help="Seeds: noise, draws and splits.")] = 5,
    draws: Annotated[
        int, typer.Option(help="Draws of revealed answers a seed. Default: by set.")
    ] = 0,
    leakage: Annotated[
        int,
        typer.Option(
            metavar="M", help="Attack M models of each release; 0: none, else 8, 10, .."
        ),
    ] = 0,
    leakage_people: Annotated[
        int, typer.Option(metavar="N", help="Most people attacked; 0: all.")
    ] = 300,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where curve.json and plots go."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the JSON and nothing else.")
    ] = False,
) -> None:
    """Accuracy on people who were not learned from, against their own answers."""
    ask = _ask(epsilon, k, models, seeds, draws)
    attacks = (leakage, leakage_people)
    found = _run(name, folder, test, ask, attacks, quiet=as_json)
    pictures = _write(found, out) if out is not None else ()
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found, pictures)


def _ask(epsilon: str, k: str, models: str, seeds: int, draws: int) -> "Ask":
    from fedpref.study.contenders import WORDS
    from fedpref.study.curves import Ask

    return Ask(
        models=tuple(_items(models)) or tuple(WORDS),
        epsilons=tuple(_number("epsilon", item) for item in _items(epsilon)),
        ks=tuple(_whole("k", item) for item in _items(k)),
        seeds=seeds,
        draws=draws,
    )


def _items(text: str) -> list[str]:
    """The items of a list with commas, each once, in order."""
    return list(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"{name} = {text!r}, must be a number, or inf; write --{name} inf,1"
        ) from None


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(
            f"{name} = {text!r}, must be a whole number; write --{name} 0,1,2,4"
        ) from None


def _run(
    name: str,
    folder: Path | None,
    test: Path | None,
    ask: "Ask",
    attacks: tuple[int, int],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True, quiet=quiet)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"{name}: reading", total=None)
        from fedpref.cli.leakage import leakage
        from fedpref.cli.quiet import hush_accountants
        from fedpref.data import sources
        from fedpref.study.curves import curve as run

        def tell(line: str) -> None:
            bar.update(task, description=line)
            if not console.is_terminal:
                console.print(line, highlight=False)

        hush_accountants()
        dataset = sources.load(name, base=None, folder=folder)
        other = None
        if test is not None:
            other = sources.load(name, base=None, folder=test)
        models, people = attacks
        if not models:
            return run(dataset, ask, test=other, tell=tell)
        leaks = leakage(
            dataset,
            ask.models,
            ask.epsilons,
            models=models,
            people=people,
            test=other,
            tell=tell,
        )
        return {**run(dataset, ask, test=other, tell=tell), "leakage": leaks}


def _write(found: dict[str, Any], out: Path) -> tuple[Path, ...]:
    from fedpref.study.plots import draw

    pictures = draw(found, out)
    try:
        text = json.dumps(found, indent=1)
        (out / "curve.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"folder = {out}: {error.strerror or error}; give --out a folder that can "
            "be written"
        ) from error
    return pictures


def _show(found: Mapping[str, Any], pictures: tuple[Path, ...]) -> None:
    """The table, what was released at what price, and the notes."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(
        title=f"{found['set']}: {found['measure']}, % (95 % over people and seeds)",
        title_justify="left",
    )
    table.add_column("model")
    table.add_column("epsilon")
    for k in found["k"]:
        table.add_column(f"k = {k}", justify="right")
    for row in _rows(found):
        table.add_row(*row)
    console.print(table)
    if found.get("leakage"):
        from fedpref.cli.leakage import table as leaks

        console.print(leaks(found["leakage"]))
    for line in _lines(found):
        console.print(line, highlight=False, soft_wrap=True)
    for path in pictures:
        console.print(f"written: {path}", highlight=False, soft_wrap=True)


def _rows(found: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, by_epsilon in found["models"].items():
        for epsilon, entries in by_epsilon.items():
            yield [name, epsilon, *(_cell(entry) for entry in entries.values())]


def _cell(entry: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in entry["ci95"])
    return f"{100 * entry['accuracy']:.1f} ({low:.1f}-{high:.1f})"


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    people = found["people"]
    yield (
        f"people by seed: learned from {_counts(people['train'])}, predicted "
        f"{_counts(people['predicted'])}, too few answers {_counts(people['short'])}"
    )
    for name, by_epsilon in found["released"].items():
        for epsilon, lines in by_epsilon.items():
            yield f"released for {name}, epsilon {epsilon}: {'; '.join(lines)}"
    for what, count in found["dropped"].items():
        yield f"not used: {count:,} {what}"
    yield from found["notes"]


def _counts(values: list[int]) -> str:
    """The same number for all seeds once, otherwise each."""
    return ", ".join(f"{value:,}" for value in dict.fromkeys(values))
