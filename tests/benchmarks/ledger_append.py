"""python tests/benchmarks/ledger_append.py [--rows 2000] [--folder .] [--json]

How long a row takes until it is durable: the transaction synced, the head copy synced
and renamed, the folder synced. ``--folder`` says on which disk. Bar: p99 <= 25 ms.
"""

import argparse
import json
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from fedpref.core import ledger as core
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Cap, Part, Reservation
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.store.ledger import Ledger

BAR_MS = 25.0
WHO = (Unit.USER, Relation.ZERO_OUT)


def durations_ms(path: Path, rows: int) -> list[float]:
    """Of charging and releasing one round after another."""
    event = GaussianSum(*WHO, 1, Fraction(10**6), 8)
    per_round = {Adversary.OUTSIDER: event, Adversary.SERVER: NonPrivate(*WHO, 8)}
    parts = (Part(rows, per_round),)
    plan = Reservation("a", "plan", *WHO, parts=parts, delta=1e-6)
    cap = Cap("people", "2026", *WHO, Adversary.OUTSIDER, 1000.0, 1e-4)
    spans = []
    with Ledger.open(path) as ledger:
        ledger.append(lambda book: core.open_cap(book, cap))
        ledger.append(lambda book: core.reserve(book, plan))
        for i in range(rows):
            step = core.release if i % 2 else core.unmask
            start = time.perf_counter()
            ledger.append(lambda b, i=i, f=step: f(b, "a", i // 2 + 1, "d" * 64))
            spans.append(1e3 * (time.perf_counter() - start))
    return sorted(spans)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        spans = durations_ms(Path(name) / "ledger.db", options.rows)
    found = {
        "rows": len(spans),
        "p50_ms": spans[len(spans) // 2],
        "p99_ms": spans[int(len(spans) * 0.99)],
        "max_ms": spans[-1],
    }
    text = "  ".join(f"{name} {value:.4g}" for name, value in found.items())
    print(json.dumps(found) if options.json else text)
    sys.exit(found["p99_ms"] > BAR_MS)


if __name__ == "__main__":
    main()
