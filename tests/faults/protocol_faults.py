"""python tests/faults/protocol_faults.py [--cases A:B] [--json] [--mutate NAME]

Runs the secure sum in a world where everything goes wrong, and looks for what must
never happen. A case is a server with 6 rounds to release and 3 to 7 devices, on a clock
of its own; its number is the seed. Every message, request or reply, in every leg, may
be lost, delayed beyond its leg or into a later round, sent in several copies, or
overtaken. Devices and the server crash before and after every step and go on from what
they had written; an owner may give a round up by hand. A device puts its own mark and
fresh noise into each sum. Rounds that were charged and not opened are opened from their
record (``fedpref.secagg.record``).

``--cases A:B`` are cases A to B-1; a range can be run in parts. ``--add FILE ...`` adds
up what ``--json`` has printed of other parts. ``--mutate NAME`` breaks the protocol on
purpose (``--mutate list`` names the ways); then something must be found.

What must never happen is listed, and watched for, in ``fault_watch.py``.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from fault_mutations import MUTATIONS, mutated
from fault_watch import VIOLATIONS
from fault_world import LABELS, World

OUTCOMES = (
    "cases",
    "rounds",
    "  on a drawn graph",
    "released",
    "  released on a drawn graph",
    "devices in released sums",
    "given up",
    "lost after the charge",
    "opened from a record",
    "  of them from a record",
    "rounds begun again after a crash",
    "charged on a device",
    "buried by a device",
    "refunded to a device by R1",
    "refunded to a device by R2",
)
WAYS = ("request", "reply")
STOPS = ("device crashed in {}", "device gave up in {}", "server crashed in {}")
MESSAGE_FAULTS = (
    *("sent", "dropped", "in a later leg", "in a later round", "duplicated"),
    *("overtaken", "found nobody", "refused"),
)


def run(first: int, last: int, *, until_found: bool = False) -> Counter:
    """The cases' counts; what was found is told with the case on standard error."""
    found = Counter(dict.fromkeys((*OUTCOMES, *VIOLATIONS), 0))
    for case in range(first, last):
        world = World(case)
        world.run()
        found.update(world.found + world.watch.found)
        found["cases"] += 1
        for note in world.watch.notes:
            print(f"case {case}: {note}", file=sys.stderr)
        if until_found and world.watch.notes:
            break
    return found


def violations(found: Counter) -> int:
    return sum(found[name] for name in VIOLATIONS)


def table(found: Counter) -> str:
    """Outcomes, faults by leg, crashes, and what was found."""
    lines = [f"{name:50} {found[name]:>9,}" for name in (*OUTCOMES, *VIOLATIONS)]
    lines += ["", f"{'':34}" + "".join(f"{label:>12}" for label in LABELS)]
    for way in ("request", "reply"):
        for fault in MESSAGE_FAULTS:
            counts = [found[f"{way} {label} {fault}"] for label in LABELS]
            lines.append(
                f"{way + ' ' + fault:34}" + "".join(f"{c:12,}" for c in counts)
            )
    for who in ("device crashed in", "device gave up in", "server crashed in"):
        counts = [found[f"{who} {label}"] for label in LABELS]
        lines.append(f"{who:34}" + "".join(f"{c:12,}" for c in counts))
    places = sorted(
        name for name in found if " crashed " in name and " in " not in name
    )
    lines += ["", *(f"{name:50} {found[name]:>9,}" for name in places)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", default="0:0")
    parser.add_argument("--add", nargs="*", type=Path, default=[])
    parser.add_argument("--mutate", choices=("list", *MUTATIONS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.mutate == "list":
        print(*MUTATIONS, sep="\n")
        return
    with mutated(options.mutate):
        found = run(*map(int, options.cases.split(":")))
    for path in options.add:
        found.update(json.loads(path.read_text()))
    print(json.dumps(found) if options.json else table(found))
    sys.exit(1 if violations(found) else 0)


if __name__ == "__main__":
    main()
