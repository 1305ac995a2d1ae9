"""``fedpref doctor``: is this machine ready, and if not, what to do."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Annotated

import typer

_LEAST_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``remedy`` is empty where it is good."""

    what: str
    found: str
    remedy: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine: Python, packages, assets, disk. Exit code 6 if not ready."""
    findings = list(_findings())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        _show(findings)
    if any(finding.remedy for finding in findings):
        raise typer.Exit(6)


def _findings() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    yield Finding("python", version, "install Python 3.11 or newer" if old else "")
    yield from _packages()
    yield from _assets()
    yield from _disk()
    yield Finding("cores", str(os.cpu_count()))


def _packages() -> Iterator[Finding]:
    """Pinned packages against what is installed."""
    try:
        requirements = metadata.requires("fedpref") or []
    except metadata.PackageNotFoundError:
        yield Finding("fedpref", "not installed", "pip install fedpref")
        return
    for requirement in requirements:
        name, pinned, version = requirement.partition("==")
        if not pinned or ";" in requirement:  # a range, or wanted by developers only
            continue
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "missing"
        good = found.split("+")[0] == version
        yield Finding(name, found, "" if good else f"pip install {name}=={version}")


def _assets() -> Iterator[Finding]:
    from fedpref.data import assets
    from fedpref.errors import FedprefError

    for name in assets.REGISTRY:
        try:
            assets.locate(name)
        except FedprefError:
            yield Finding(f"asset {name}", "not fetched", f"fedpref data get {name}")
        else:
            yield Finding(f"asset {name}", "fetched")


def _disk() -> Iterator[Finding]:
    from fedpref.data import assets

    folder = assets.cache_folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    tight = free < _LEAST_FREE_BYTES
    yield Finding(
        "free disk", f"{free / 2**30:.1f} GiB", "free at least 2 GiB" if tight else ""
    )


def _show(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "found", "what to do")
    for finding in findings:
        style = "red" if finding.remedy else ""
        table.add_row(
            finding.what, finding.found, finding.remedy or "good", style=style
        )
    Console().print(table)
