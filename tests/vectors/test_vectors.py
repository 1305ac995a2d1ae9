"""Every vector, answered by the package and by the plain implementation.

The files are written by ``make.py``; docs/vectors.md says what is in them.
"""

import ast
import json
import random
import re
import sys
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))

import make  # noqa: E402
import replay_plain  # noqa: E402
import replay_product  # noqa: E402
import vector_bends  # noqa: E402
from vector_check import compare  # noqa: E402

PATHS = sorted(FOLDER.rglob("*.json"))
VECTORS = {path.relative_to(FOLDER).as_posix(): path for path in PATHS}
every_vector = pytest.mark.parametrize("name", VECTORS)


@cache
def read(name):
    return json.loads(VECTORS[name].read_text(encoding="utf-8"))


def is_bad(name):
    return name.rpartition("/")[2].startswith("bad_")


@every_vector
def test_the_package_answers_as_the_vector_says(name) -> None:
    vector = read(name)
    if "product" in vector["checked_by"]:
        compare(replay_product.replay(vector), vector["expect"])
    else:
        assert name == "masks/nist_ctr.json"  # the package has no other counter


@every_vector
def test_the_plain_implementation_answers_as_the_vector_says(name) -> None:
    vector = read(name)
    assert "plain" in vector["checked_by"]
    compare(replay_plain.replay(vector), vector["expect"])


def test_a_vector_says_what_it_is() -> None:
    for name in VECTORS:
        check_words(name, read(name))


def check_words(name, vector):
    assert set(vector) == {
        *("format", "type", "what", "origin", "checked_by", "input", "expect")
    }
    assert vector["format"] == make.FORMAT
    assert vector["what"]
    assert vector["origin"].startswith(("docs/", "NIST", "secret of RFC"))
    left_out = [why for leg in vector["expect"].get("left_out", []) for why in leg]
    refused = vector["expect"].get("refused")
    assert is_bad(name) == bool(left_out or refused)
    if refused:
        assert refused["reason"]
        assert refused["needle"]


def test_there_are_enough_of_both_kinds() -> None:
    bad = [name for name in VECTORS if is_bad(name)]
    assert len(bad) >= 200
    assert len(VECTORS) - len(bad) >= 60
    types = {read(name)["type"] for name in VECTORS}
    assert types == set(replay_plain.REPLAY)
    assert types - {"keystream"} == set(replay_product.REPLAY)
    kinds = {read(name)["input"].get("kind") for name in VECTORS}
    assert len(kinds - {None}) == 11
    assert sum(path.stat().st_size for path in PATHS) < 1_200_000


def test_making_them_again_gives_the_same_files() -> None:
    written = make.vectors()
    assert set(written) == set(VECTORS)
    for name, vector in written.items():
        assert VECTORS[name].read_text(encoding="utf-8") == make.text(vector), name


# --- bent at random -------------------------------------------------------------------


def verdict(outcome):
    """What two implementations must agree on, whatever they call the reason."""
    found = dict(outcome)
    if "left_out" in found:
        found["left_out"] = [
            sorted(e["device"] for e in leg) for leg in found["left_out"]
        ]
    if "refused" in found:
        refused = found["refused"]
        found["refused"] = refused.get("leg", "refused")
        if outcome.get("left_out") is not None and "message" in refused:
            named = re.search(r"of device (\d+)|^device (\d+)", refused["message"])
            found["device"] = int(named[1] or named[2]) if named else None
        elif outcome.get("left_out") is not None:
            found["device"] = refused["device"]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_both_say_the_same_of_bent_messages(seed) -> None:
    """Both take, leave out, refuse and name the same, whatever is changed."""
    rng = random.Random(seed)
    kinds = ("server", "device")
    whole = [name for name in VECTORS if read(name)["type"] in kinds]
    refusals = 0
    for _ in range(50):
        name = rng.choice(whole)
        vector = vector_bends.bent(read(name), rng)
        try:
            ours = replay_product.replay(vector)
        except replay_product.Exhausted:  # an answer that the vector has no keys for
            continue
        theirs = replay_plain.replay(vector)
        assert verdict(ours) == verdict(theirs), (name, vector)
        refusals += "refused" in ours
    assert refusals > 10


# --- the plain implementation is one of its own ---------------------------------------

ALLOWED = {
    *("contextlib", "copy", "cryptography", "hashlib", "hmac", "math", "struct"),
    *("plain_bytes", "plain_crypto", "plain_device", "plain_refunds", "plain_server"),
}


@pytest.mark.parametrize("name", ["bytes", "crypto", "device", "refunds", "server"])
def test_the_plain_implementation_imports_nothing_of_ours(name) -> None:
    assert len(list(FOLDER.glob("plain_*.py"))) == 5
    tree = ast.parse((FOLDER / f"plain_{name}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Name):
            assert node.id not in ("__import__", "eval", "exec", "open")
    assert found
    assert found <= ALLOWED, found - ALLOWED


def test_an_answer_that_is_not_the_vectors_is_noticed() -> None:
    """Else nothing above would mean anything."""
    vector = read("rounds/three_words_24.json")
    outcome = replay_plain.replay(vector)
    compare(outcome, vector["expect"])
    wrong = outcome | {"sum": [value + 1 for value in outcome["sum"]]}
    with pytest.raises(AssertionError):
        compare(wrong, vector["expect"])
    for changed in (
        {"reason": "seal"},
        {"error": "MessageError", "message": "something else"},
        {"error": "IntegrityError", "message": "cannot be opened"},
    ):
        expect = read("seals/bad_tag.json")["expect"]
        same = changed == {"reason": "seal"}
        if same:
            compare({"refused": changed}, expect)
        else:
            with pytest.raises(AssertionError):
                compare({"refused": changed}, expect)
