"""Write every vector: ``python tests/vectors/make.py``.

The package plays the devices and the server; keys follow from names, so the files are
the same on every machine. A case that the package or the plain implementation does not
answer as the case says is an error, and nothing is written.
"""

import json
import re
import sys
from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import replay_plain  # noqa: E402
import replay_product  # noqa: E402
import vector_bad_devices  # noqa: E402
import vector_bad_ends  # noqa: E402
import vector_bad_openings  # noqa: E402
import vector_bad_rounds  # noqa: E402
import vector_devices  # noqa: E402
import vector_keys  # noqa: E402
import vector_messages  # noqa: E402
import vector_rounds  # noqa: E402
import vector_shares  # noqa: E402
import vector_signed  # noqa: E402
from vector_check import compare  # noqa: E402

FORMAT = 1
SHORT = re.compile(r"\[\n[^][{}]+\]")
PLAYERS = {"product": replay_product.replay, "plain": replay_plain.replay}
SOURCES = (
    vector_keys,
    vector_shares,
    vector_signed,
    vector_messages,
    vector_rounds,
    vector_bad_rounds,
    vector_bad_ends,
    vector_devices,
    vector_bad_openings,
    vector_bad_devices,
)


def vectors():
    """Every vector by its path, complete and agreed on."""
    found = {}
    for source in SOURCES:
        for case in source.cases():
            path = f"{case.path}.json"
            assert path not in found, path
            found[path] = completed(case)
    return dict(sorted(found.items()))


def completed(case):
    vector = {
        "format": FORMAT,
        "type": case.type,
        "what": case.what,
        "origin": case.origin,
        "checked_by": list(case.checked_by),
        "input": case.input,
    }
    try:
        outcomes = {name: PLAYERS[name](vector) for name in case.checked_by}
    except Exception as error:
        raise RuntimeError(f"{case.path}: cannot be replayed: {error!r}") from error
    known = outcomes.get("product", outcomes.get("plain"))
    given = dict(case.expect)
    marks = given.pop("left_out", {})
    expect = known | given
    if "left_out" in known:
        expect["left_out"] = [
            marks.get(leg, []) for leg in range(len(known["left_out"]))
        ]
    if "refused" in expect and "replies" in expect:  # those before it are elsewhere
        replies = map(bytes.fromhex, expect.pop("replies"))
        expect["replies_sha256"] = [sha256(reply).hexdigest() for reply in replies]
    for name, outcome in outcomes.items():
        try:
            compare(outcome, expect)
        except AssertionError as error:
            raise AssertionError(f"{case.path}, {name}: {error}") from None
    return vector | {"expect": expect}


def text(vector):
    """Its JSON, with short lists in one line."""
    return SHORT.sub(_in_one_line, json.dumps(vector, indent=1)) + "\n"


def _in_one_line(found):
    line = " ".join(part.strip() for part in found[0].splitlines())
    pair = line.count(",") == 1 and not line.startswith('[ "')
    return f"[{line[2:-2]}]" if pair or len(line) < 80 else found[0]


def main():
    written = vectors()
    for path in FOLDER.rglob("*.json"):
        path.unlink()
    for path, vector in written.items():
        (FOLDER / path).parent.mkdir(exist_ok=True)
        (FOLDER / path).write_text(text(vector), encoding="utf-8")
    bad = sum(Path(path).name.startswith("bad_") for path in written)
    size = sum((FOLDER / path).stat().st_size for path in written)
    print(f"{len(written)} vectors, {bad} of them negative, {size} bytes")


if __name__ == "__main__":
    main()
