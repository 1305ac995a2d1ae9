"""python tests/faults/ledger_kill.py [--exits 0:6000] [--kills 0:5000] [--json]

Kills a process that lives the life of a server with a ledger, and looks at what is
left. ``--exits A:B`` are cases A to B-1 of an exit injected after a line of Python or
an instruction of SQLite: the first cases take every line of a whole life in turn, later
ones draw among all instructions; each case is killed once more while it recovers.
``--kills A:B`` are cases of SIGKILL at a random moment, ten in a row on one ledger. A
range can be run in parts, and gives the same injected exits each time.

The life: open or recover, a cap, plans, and rounds that are released, aborted with a
refund, or aborted without one. The file ``world`` is what others saw of it.

After every kill, from the raw rows and ``world``:
  revealed and uncharged; charged twice; refunded after unmasking; two outputs for one
  round; published without a row; invited without a reservation; a row that ``append``
  had returned is gone; an earlier row changed; a ledger that no longer opens; spent
  beyond the cap.
All must be 0. ``--mutate reveal-first | refund-uploaded | new-noise`` breaks the life
on purpose; then they must not.
"""

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

from fedpref.core import ledger as core
from fedpref.core.book import Account, Book
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Cap, Part, Reservation, Row
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import BudgetError, FedprefError
from fedpref.store import _ledger_file, _lock, checkpoints
from fedpref.store import ledger as store
from fedpref.store.ledger import Ledger, load, read_rows

WATCHED = {m.__file__ for m in (store, _ledger_file, _lock, checkpoints)} | {__file__}
ROUNDS = 4
LIFE_S = 0.02
EVENT = GaussianSum(Unit.USER, Relation.ZERO_OUT, 1, Fraction(64), 8)
OPEN = NonPrivate(Unit.USER, Relation.ZERO_OUT, 8)
CAP = Cap(
    "people", "2026", Unit.USER, Relation.ZERO_OUT, Adversary.OUTSIDER, 12.0, 1e-4
)


def plan(name: str, rounds: int = ROUNDS) -> Reservation:
    """A sealed plan of a few rounds, all of the same event."""
    per_round = {Adversary.OUTSIDER: EVENT, Adversary.SERVER: OPEN}
    sealed = sha256(name.encode()).hexdigest()
    return Reservation(
        name, sealed, CAP.unit, CAP.relation, (Part(rounds, per_round),), delta=1e-6
    )


# The life that is killed


def live(folder: Path, mutation: str | None) -> None:
    """Recover, then two plans or what the cap leaves; a server in 60 lines."""
    world = os.open(folder / "world", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def say(*what: object) -> None:
        os.write(world, (json.dumps(what) + "\n").encode())

    with Ledger.open(folder / "ledger.db") as ledger:

        def put(step: Callable[[Book], Row]) -> None:
            say("kept", ledger.append(step).seq)

        say("kept", ledger.book.seq)
        if not ledger.book.caps:
            put(lambda book: core.open_cap(book, CAP))
        old = _unfinished(ledger.book)
        count = len(ledger.book.accounts)
        for run in [*old, *(f"run {count + i}" for i in range(2))]:
            if run not in ledger.book.accounts:
                try:
                    put(lambda book, run=run: core.reserve(book, plan(run)))
                except BudgetError:
                    return
            say("invited", run)
            in_doubt = _next_round(ledger.book.accounts[run]) if run in old else 0
            while (number := _next_round(ledger.book.accounts[run])) <= ROUNDS:
                # Whether uploads had come in before a crash is not known any more.
                refundable = number != in_doubt
                one_round(folder, ledger, put, say, run, number, refundable, mutation)


def one_round(folder, ledger, put, say, run, number, refundable, mutation) -> None:
    """Charged before it is revealed, and released before it is published."""
    pending = folder / "pending"
    resumed = ledger.book.accounts[run].unmasking is not None
    if not resumed:
        fate = random.random()
        if fate < 0.15 and refundable:
            put(lambda book: core.abort(book, run, number, refund=True))
            return
        if fate < 0.3:
            say("uploaded", run, number)
            refund = mutation == "refund-uploaded"
            put(lambda book: core.abort(book, run, number, refund=refund))
            return
    if not resumed or mutation == "new-noise":
        checkpoints.write_atomic(pending, os.urandom(64))
    output = sha256(pending.read_bytes()).hexdigest()
    if mutation == "reveal-first":
        say("revealed", run, number, output)
    if not resumed:
        put(lambda book: core.unmask(book, run, number, output))
    say("revealed", run, number, output)
    put(lambda book: core.release(book, run, number, output))
    say("published", run, number, output)


def _unfinished(book: Book) -> list[str]:
    return [run for run, a in book.accounts.items() if _next_round(a) <= ROUNDS]


def _next_round(account: Account) -> int:
    return account.charged + (account.unmasking is None)


# How it is killed


def count_down(ticks: int, instructions: bool) -> Callable[[], int]:
    """Exit the process at tick number ``ticks``; returns how to read the counter."""
    done = 0

    def tick(*_: object) -> None:
        nonlocal done
        done += 1
        if done == ticks:
            os._exit(9)

    def trace(frame, kind, _):
        if frame.f_code.co_filename not in WATCHED:
            return None
        if kind == "line":
            tick()
        return trace

    if instructions:
        connect = sqlite3.connect

        def watched(*args, **kwargs):
            db = connect(*args, **kwargs)
            db.set_progress_handler(tick, 1)
            return db

        sqlite3.connect = watched
    sys.settrace(trace)
    return lambda: done


def in_child(work: Callable[[], None]) -> int:
    """Fork: no new interpreter, nothing imported again. Returns the process number."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except FedprefError as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    except BaseException as error:
        os.write(2, f"unexpected {error!r}\n".encode())
        os._exit(2)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def exit_after(folder: Path, seed: str, ticks: int, instructions: bool, mutation):
    def work() -> None:
        random.seed(seed)
        count_down(ticks, instructions)
        live(folder, mutation)

    return ended(in_child(work))


def ticks_of_a_life(instructions: bool) -> int:
    """How many ticks the life with seed 0 has, undisturbed."""
    with tempfile.TemporaryDirectory() as name:

        def work() -> None:
            random.seed("0")
            read = count_down(-1, instructions)
            live(Path(name), None)
            sys.settrace(None)
            Path(name, "ticks").write_text(str(read()))

        if ended(in_child(work)):
            sys.exit("the undisturbed life failed")
        return int(Path(name, "ticks").read_text())


def exit_case(case: int, lines: int, instructions: int, found: Counter, mutation):
    """An injected exit, a second one while recovering, then a life to its end."""
    draw = random.Random(f"exit {case}")
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), ()
        plain = case < lines
        where = [case + 1 if plain else draw.randrange(instructions) + 1]
        where.append(draw.randrange(lines // 2) + 1)
        for turn, ticks in enumerate(where):
            deep = turn == 0 and not plain
            seed = "0" if turn == 0 else f"{case} {turn}"
            code = exit_after(folder, seed, ticks, deep, mutation)
            found["injected exits"] += code == 9
            before = inspect(folder, before, found)
        code = exit_after(folder, f"{case} end", -1, False, mutation)
        found["unrecoverable"] += code != 0
        inspect(folder, before, found)


def kill_case(case: int, found: Counter, mutation) -> None:
    """Ten times SIGKILL at a random moment on one ledger, then a life to its end."""
    draw = random.Random(f"kill {case}")
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), ()
        for turn in range(10):

            def work(seed=f"{case} {turn}") -> None:
                random.seed(seed)
                live(folder, mutation)

            child = in_child(work)
            time.sleep(draw.random() * LIFE_S)
            os.kill(child, signal.SIGKILL)
            found["SIGKILL hit a living process"] += ended(child) == -signal.SIGKILL
            before = inspect(folder, before, found)
        code = exit_after(folder, f"{case} end", -1, False, mutation)
        found["unrecoverable"] += code != 0
        inspect(folder, before, found)


# What is left


def inspect(folder: Path, before: tuple[Row, ...], found: Counter) -> tuple[Row, ...]:
    """Compare the raw rows with what the world saw; counts go to ``found``."""
    path = folder / "ledger.db"
    seen = folder / "world"
    said = (
        [json.loads(s) for s in seen.read_text().split("\n") if s]
        if seen.exists()
        else []
    )
    if not path.exists():
        found["invited without a reservation"] += len(said) > 0
        return ()
    try:
        book = load(path)
    except FedprefError:
        found["does not open"] += 1
        return before
    rows = read_rows(path)
    found["rows changed"] += rows[: len(before)] != before
    found["rows gone"] += len(rows) < max(
        (s[1] for s in said if s[0] == "kept"), default=0
    )
    found["overspent"] += bool(book.caps) and book.left(Unit.USER, CAP.against) < 0
    _compare([(r.seq, r.kind.value, json.loads(r.body)) for r in rows], said, found)
    return rows


def _compare(rows, said, found: Counter) -> None:
    charges, refunds, released = Counter(), {}, set()
    for seq, kind, body in rows:
        key = (body.get("run"), body.get("round"))
        if kind == "unmasking" or (kind == "aborted" and not body["refund"]):
            charges[key] += 1
        if kind == "aborted" and body["refund"]:
            found["refunded after unmasking"] += charges[key] > 0
            refunds[key] = seq
        if kind == "released":
            released.add(key)
    reserved = {body["run"] for _, kind, body in rows if kind == "reserved"}
    outputs: dict[tuple, set] = {}
    kept = 0
    for what, *rest in said:
        key = tuple(rest[:2])
        if what == "invited":
            found["invited without a reservation"] += rest[0] not in reserved
        if what == "revealed":
            found["revealed and uncharged"] += charges[key] == 0
            outputs.setdefault(key, set()).add(rest[2])
        if what == "published":
            found["published without a row"] += key not in released
        if what == "uploaded":
            found["refunded after an upload"] += refunds.get(key, 0) > kept
        if what == "kept":
            kept = rest[0]
    found["charged twice"] += sum(count > 1 for count in charges.values())
    found["two outputs"] += sum(len(o) > 1 for o in outputs.values())
    found["inspections"] += 1
    found["rounds revealed"] += len(outputs)


FACTS = (
    "lines of a life",
    "instructions of a life",
    "injected exits",
    "SIGKILL hit a living process",
    "inspections",
    "rounds revealed",
)
VIOLATIONS = (
    "revealed and uncharged",
    "charged twice",
    "refunded after unmasking",
    "refunded after an upload",
    "two outputs",
    "published without a row",
    "invited without a reservation",
    "rows gone",
    "rows changed",
    "does not open",
    "unrecoverable",
    "overspent",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exits", default="0:0")
    parser.add_argument("--kills", default="0:0")
    parser.add_argument("--stride", type=int, default=1, help="every n-th exit case")
    parser.add_argument(
        "--mutate", choices=("reveal-first", "refund-uploaded", "new-noise")
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for rounds in range(ROUNDS + 1):  # priced once here, so that no child has to
        for who in Adversary:
            plan("warm").epsilon(who, (rounds,))
    found = Counter(dict.fromkeys([*FACTS, *VIOLATIONS], 0))
    lines, instructions = ticks_of_a_life(False), ticks_of_a_life(True)
    found["lines of a life"], found["instructions of a life"] = lines, instructions
    first, last = map(int, options.exits.split(":"))
    for case in range(first, last, options.stride):
        exit_case(case, lines, instructions, found, options.mutate)
    first, last = map(int, options.kills.split(":"))
    for case in range(first, last):
        kill_case(case, found, options.mutate)
    wrong = sum(found[name] for name in VIOLATIONS)
    found["violations"] = wrong
    print(json.dumps(found) if options.json else _table(found))
    sys.exit(1 if wrong else 0)


def _table(found: Counter) -> str:
    return "\n".join(f"{name:32} {count:>8,}" for name, count in found.items())


if __name__ == "__main__":
    main()
