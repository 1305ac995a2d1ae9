"""``fedpref bench``: what the protocols cost on this machine."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, help="What things cost on this machine.", add_completion=False
)

_CLIENTS, _CLIENTS_FULL = (10, 32, 100), (10, 32, 100, 300, 1000)
_COORDINATES, _COORDINATES_FULL = (10**4, 10**6), (10**4, 10**5, 10**6)
_MOST_FLOWER = 100  # above, one client's shares alone take Flower minutes
_MIB = 2**20


@app.callback()
def _bench() -> None:
    """What things cost on this machine."""


@app.command()
def secagg(
    full: Annotated[
        bool, typer.Option("--full", help="Up to 1,000 devices; about two hours.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Secure summation, beside Flower's SecAgg+ on the same work. About four minutes.

    CPU seconds of one device (all its legs) and of the server's unmasking, on the
    complete graph, at the default threshold for 10 % colluders. Making a contribution
    is left out on both sides: training and noise here, quantising there.
    """
    cells = []
    for clients in _CLIENTS_FULL if full else _CLIENTS:
        for coordinates in _COORDINATES_FULL if full else _COORDINATES:
            for cell in _cells(clients, coordinates, full):
                cells.append(cell)
                typer.echo(_row(cell), err=as_json)
    if as_json:
        typer.echo(json.dumps({"cells": cells}, indent=2))


def _cells(clients: int, coordinates: int, full: bool) -> Iterator[dict[str, Any]]:
    """One cell for each number of devices lost between sharing and uploading."""
    from fedpref.secagg.neighbours import threshold
    from fedpref.simulation import secagg_bench
    from fedpref.transport.flower import secaggplus

    colluders = clients // 10
    t = threshold(clients, colluders)
    lost = {0, 1, clients // 10}
    if full and clients <= _MOST_FLOWER:
        lost.add(3 * clients // 10)
    dropped = sorted(lost)
    own = secagg_bench.measure(clients, coordinates, t, colluders, dropped)
    peer = (
        secaggplus.measure(clients, coordinates, t, dropped)
        if clients <= _MOST_FLOWER
        else {}
    )
    for count in dropped:
        ours, theirs = own[count], peer.get(count)
        yield {
            "n": clients,
            "m": coordinates,
            "dropped": count,
            "ours": asdict(ours),
            "flower": asdict(theirs) if theirs else None,
            "ratio": {
                "client": theirs.client_s / ours.client_s,
                "server": theirs.server_s / ours.server_s,
            }
            if theirs
            else None,
        }


def _row(cell: dict[str, Any]) -> str:
    """One line of text about a cell."""
    ours, theirs, ratio = cell["ours"], cell["flower"], cell["ratio"]
    text = (
        f"n={cell['n']:<5}m={cell['m']:<8}dropped={cell['dropped']:<4}"
        f"device {1e3 * ours['client_s']:7.1f} ms, "
        f"{ours['bytes_up'] / cell['m']:6.3f} B/coordinate, "
        f"{ours['client_peak_bytes'] / _MIB:5.1f} MiB; "
        f"unmasking {ours['server_s']:6.3f} s"
    )
    if theirs is None:
        return text + "; Flower: not run"
    how = ", scaled" if theirs["scaled"] else ""
    return text + (
        f"; Flower {1e3 * theirs['client_s']:7.0f} ms (x {ratio['client']:.1f}), "
        f"{theirs['server_s']:7.2f} s (x {ratio['server']:.0f}){how}"
    )
