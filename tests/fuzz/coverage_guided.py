"""Every reader of bytes under a coverage-guided fuzzer, one after another.

    pip install atheris==3.0.0        # into an environment of its own beside .venv
    python -m tests.fuzz.coverage_guided --seconds 600 [--only NAME] [--out FILE]

Not part of the suite and no dependency: the wheel brings Clang's libFuzzer. Each target
has a process of its own for its share of the time and begins with its valid inputs. An
exception that is no ``FedprefError`` is a crash, kept with its input, and so are five
seconds for one input and two gigabytes.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
COVERED = re.compile(r"cov: (\d+) ft: (\d+)")
BROKEN = re.compile(r"[A-Za-z_.]+(Error|Exception|Interrupt)\b|==\d+== ERROR")
INPUT_BYTES, INPUT_S, MEMORY_MB = 8192, 5, 2048


def fuzz(target: Any, seconds: int, folder: Path) -> None:
    """Run libFuzzer on one target; does not return."""
    import atheris

    from fedpref.errors import FedprefError

    corpus, room = folder / "corpus", folder / "room"
    corpus.mkdir()
    room.mkdir()
    for number, data in enumerate(target.valid()):
        (corpus / f"valid-{number}").write_bytes(data)

    def one(data: bytes) -> None:
        dressed = target.dress(data) if target.dress else data
        try:
            found = target.read(dressed, room)
        except FedprefError:
            return
        if target.write is not None and bytes(target.write(found)) != data:
            raise AssertionError("read and written, it is other bytes")

    def loudly(data: bytes) -> None:
        try:
            one(data)
        except Exception:
            (folder / f"crash-{sha1(data).hexdigest()}").write_bytes(data)
            traceback.print_exc()
            raise

    limits = (f"-timeout={INPUT_S}", f"-rss_limit_mb={MEMORY_MB}")
    times = (f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES}", "-seed=1")
    told = ("-print_final_stats=1", f"-artifact_prefix={folder}/")
    atheris.Setup([sys.argv[0], str(corpus), *limits, *times, *told], loudly)
    atheris.Fuzz()


def run(target: Any, seconds: int, kept: Path) -> dict[str, object]:
    """One target in a process of its own: what it did, and what broke it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()
        if not child:
            said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
            os.dup2(said, 1)
            os.dup2(said, 2)
            try:
                fuzz(target, seconds, folder)
            finally:
                os._exit(70)
        _, status = os.waitpid(child, 0)
        said = (folder / "said").read_text(errors="replace")
        executed, covered = EXECUTED.findall(said), COVERED.findall(said)
        if status:
            keep(target.name, folder, kept)
        return {
            "target": target.name,
            "executions": int(executed[-1]) if executed else 0,
            "edges": int(covered[-1][0]) if covered else 0,
            "features": int(covered[-1][1]) if covered else 0,
            "crash": reason(said.splitlines()) if status else None,
        }


def reason(said: Sequence[str]) -> str:
    """The line that names what went wrong."""
    named = [line for line in said if BROKEN.match(line.strip())]
    return (named or list(said[-1:]) or ["it ended without a word"])[0].strip()


def keep(name: str, folder: Path, kept: Path) -> None:
    """Put the input that broke a target aside."""
    short = re.sub("[^a-z0-9]+", "-", name.lower())
    for path in folder.iterdir():
        if re.fullmatch("[a-z-]+-[0-9a-f]{40}", path.name):
            (kept / f"{short}.{path.name}").write_bytes(path.read_bytes())


def main() -> None:
    """All targets, or one; a line for each goes to standard output."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--only")
    parser.add_argument("--out", type=Path, default=Path("fuzzing.json"))
    wanted = parser.parse_args()
    import atheris

    with atheris.instrument_imports(include=["fedpref"]):
        from tests.fuzz.targets import TARGETS
    chosen = [t for t in TARGETS if wanted.only in (None, t.name)]
    share = max(1, wanted.seconds // len(chosen))
    kept = wanted.out.resolve().with_suffix(".crashes")
    kept.mkdir(exist_ok=True)
    rows: list[dict[str, object]] = []
    for target in chosen:
        rows.append(run(target, share, kept))
        print(json.dumps(rows[-1]), flush=True)
        wanted.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
