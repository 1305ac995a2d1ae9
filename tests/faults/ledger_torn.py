"""python tests/faults/ledger_torn.py [--cases 0:10000] [--json] [--mutate no-head-copy]

Damages the files of a ledger as a torn disk or a restored backup would, and opens it.
Each case is one of: a file cut short, a bit flipped, a sector of noise or zeros, a
file gone, an older copy of some of the files put back; among database, write-ahead
log, its index and the head copy. The ledger is opened by a reader and by a writer.

Bad outcomes, all must be 0:
  lost unnoticed        it opened with other rows than there were
  changed though refused  a refused database or log was altered
  broke later           it opened, and a row appended then was gone or did not verify
  other error           anything but an error of ours

With ``--mutate no-head-copy`` the head copy is not compared; then rows are lost
unnoticed. A range can be run in parts; case numbers fix the damage.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from fractions import Fraction
from pathlib import Path

from fedpref.core import ledger as core
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Cap, Part, Reservation
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import FedprefError
from fedpref.store import _ledger_file
from fedpref.store import ledger as store
from fedpref.store.ledger import Ledger, load

FILES = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.head")
PLANS = 12
ROUNDS = 4
WHO = (Unit.USER, Relation.ZERO_OUT)
CAP = Cap("people", "2026", *WHO, Adversary.OUTSIDER, 100.0, 1e-4)
Files = dict[str, bytes]
FACTS = ("cases", "refused", "nothing lost")
BAD = ("lost unnoticed", "changed though refused", "broke later", "other error")


def plan(run: str) -> Reservation:
    per_round = {
        Adversary.OUTSIDER: GaussianSum(*WHO, 1, Fraction(64), 8),
        Adversary.SERVER: NonPrivate(*WHO, 8),
    }
    return Reservation(run, "plan", *WHO, (Part(ROUNDS, per_round),), delta=1e-6)


def snapshot(folder: Path) -> Files:
    return {n: (folder / n).read_bytes() for n in FILES if (folder / n).exists()}


def write_out(folder: Path, files: Files) -> None:
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def history() -> list[Files]:
    """The files after each row of a ledger that was closed and opened half-way."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), []
        with Ledger.open(folder / "ledger.db") as ledger:
            ledger.append(lambda book: core.open_cap(book, CAP))
            for number in range(PLANS // 2):
                one_plan(ledger, folder, f"run {number}", found)
        with Ledger.open(folder / "ledger.db") as ledger:
            for number in range(PLANS // 2, PLANS):
                one_plan(ledger, folder, f"run {number}", found)
        return found


def one_plan(ledger: Ledger, folder: Path, run: str, found: list[Files]) -> None:
    steps = [lambda book: core.reserve(book, plan(run))]
    for n in range(1, ROUNDS + 1):
        steps.append(lambda book, n=n: core.unmask(book, run, n, "a" * 64))
        steps.append(lambda book, n=n: core.release(book, run, n, "b" * 64))
    for step in steps:
        ledger.append(step)
        found.append(snapshot(folder))


def damaged(past: list[Files], draw: random.Random) -> tuple[Files, Files]:
    """The files as they were at some moment, and what became of them."""
    now = draw.randrange(len(past))
    whole = past[now]
    files = dict(whole)
    kind = draw.choice(("cut", "flip", "sector", "gone", "old"))
    if kind == "old":
        other = past[draw.randrange(now + 1)]
        chosen = draw.sample(sorted(other), draw.randint(1, len(other) - 1))
        if "ledger.db.head" in chosen:  # rows and head put back show only elsewhere
            chosen = ["ledger.db.head"]
        files.update({name: other[name] for name in chosen})
        return whole, files
    weights = [{"ledger.db": 4, "ledger.db-wal": 4}.get(name, 1) for name in files]
    (name,) = draw.choices(list(files), weights)
    data = bytearray(files[name])
    at = draw.randrange(len(data)) if data else 0
    if kind == "gone":
        del files[name]
    elif kind == "cut":
        files[name] = bytes(data[:at])
    elif data:
        size = draw.choice((16, 512, 4096)) if kind == "sector" else 1
        at = at // size * size
        old = data[at : at + size]
        noise = draw.randbytes(len(old)) if draw.random() < 0.5 else bytes(len(old))
        flip = bytes([old[0] ^ 1 << draw.randrange(8)])
        data[at : at + size] = flip if kind == "flip" else noise
        files[name] = bytes(data)
    return whole, files


def examine(folder: Path, whole: Files, files: Files, case: int) -> str:
    """The outcome of one case, by a reader and then by a writer."""
    path = folder / "ledger.db"
    write_out(folder, whole)
    book = load(path)
    write_out(folder, files)
    outcomes = set()
    for read in (load, _as_writer):
        try:
            outcomes.add("nothing lost" if read(path) == book else "lost unnoticed")
        except FedprefError:
            outcomes.add("refused")
            if any(_bytes(folder / n) != files.get(n, b"") for n in FILES[:2]):
                outcomes.add("changed though refused")
    if "refused" not in outcomes and "lost unnoticed" not in outcomes:
        run = f"later {case}"
        with Ledger.open(path) as ledger:
            ledger.append(lambda book: core.reserve(book, plan(run)))
        if load(path).seq != book.seq + 1 or run not in load(path).accounts:
            outcomes.add("broke later")
    return next(name for name in (*BAD, "refused", "nothing lost") if name in outcomes)


def _as_writer(path: Path):
    with Ledger.open(path) as ledger:
        return ledger.book


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""  # a reader may make an empty one


def ignore_head_copy() -> None:
    """The mutation: rows are checked against themselves only."""
    store.check_head = lambda *_: None
    _ledger_file.read_head = lambda _: None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", default="0:10000")
    parser.add_argument("--mutate", choices=("no-head-copy",))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    first, last = map(int, options.cases.split(":"))
    past = history()
    if options.mutate:
        ignore_head_copy()
    found = Counter(dict.fromkeys([*FACTS, *BAD], 0))
    with tempfile.TemporaryDirectory() as name:
        for case in range(first, last):
            whole, files = damaged(past, random.Random(case))
            try:
                outcome = examine(Path(name), whole, files, case)
            except Exception as error:
                print(f"case {case}: {error!r}", file=sys.stderr)
                outcome = "broke later" if isinstance(error, FedprefError) else BAD[-1]
            found["cases"] += 1
            found[outcome] += 1
    wrong = found["violations"] = sum(found[name] for name in BAD)
    table = "\n".join(f"{name:26} {count:>8,}" for name, count in found.items())
    print(json.dumps(found) if options.json else table)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
