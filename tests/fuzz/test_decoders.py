"""Every reader of bytes, on rubbish and on what was valid before it was changed.

What comes out is a value, which is written as the same bytes where there is one byte
form, or a ``FedprefError``; never another exception, and never much memory.
"""

import ast
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedpref.errors import FedprefError
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parent.parent.parent
BY_NAME = {target.name: target for target in TARGETS}
EDGES = (b"\0", b"\xff", b"\0\0\0\0", b"\xff" * 4, b"\xff\xff\xff\x7f", b"\xff" * 8)
TEXT = (b'"', b"{", b"[" * 3000, b'{"a":' * 3000, b"\n", b",", b"9" * 5000, b"NaN")
TEXT = (*TEXT, b"null", b"1e999", b"-1", b"\xed\xa0\x80", b"\\ud800", b"true", b"[]")
CHANGES = ("flip", "cut", "splice", "insert", "length", "edge", "text")
MEMORY = 4 * 2**20  # for inputs of some kilobytes


@st.composite
def changed(draw, valid):
    """A valid input with a few changes of the kinds that break decoders."""
    data = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        match draw(
            st.sampled_from(
                ["flip", "cut", "splice", "insert", "length", "edge", "text"]
            )
        ):
            case "flip" if data:
                bit = draw(st.integers(0, 8 * len(data) - 1))
                data[bit // 8] ^= 1 << bit % 8
            case "cut":
                del data[place : place + draw(st.integers(1, 1 + len(data)))]
            case "splice":
                other = draw(st.sampled_from(valid))
                start = draw(st.integers(0, len(other)))
                data[place : place + draw(st.integers(0, 40))] = other[start:]
            case "insert":
                data[place:place] = draw(st.binary(max_size=40))
            case "length":  # as a number of 4 bytes, of which there are many
                number = draw(st.sampled_from((0, 1, 2, 2**16, 2**31, 2**32 - 1)))
                data[place : place + 4] = number.to_bytes(4, "little")
            case "edge":
                edge = draw(st.sampled_from(EDGES))
                data[place : place + len(edge)] = edge
            case "text":
                data[place : place + draw(st.integers(0, 9))] = draw(
                    st.sampled_from(TEXT)
                )
    return bytes(data)


def inputs(target):
    valid = target.valid()
    return st.one_of(changed(valid), changed(valid), changed(valid), st.binary())


def check(target, data, folder) -> bool:
    """Whether it was taken; anything but a value or our own refusal is a failure."""
    dressed = target.dress(data) if target.dress else data
    try:
        found = target.read(dressed, folder)
    except FedprefError:
        return False
    if target.write is not None:
        assert bytes(target.write(found)) == data
    return True


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_valid_is_read(name, tmp_path) -> None:
    target = BY_NAME[name]
    for data in target.valid():
        assert check(target, data, tmp_path)


@pytest.mark.parametrize("name", BY_NAME)
@given(data=st.data())
@settings(
    max_examples=int(os.environ.get("FEDPREF_FUZZ", "12")),
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_only_values_and_refusals_come_out(name, tmp_path, data) -> None:
    target = BY_NAME[name]
    check(target, data.draw(inputs(target)), tmp_path)


@pytest.mark.parametrize("name", BY_NAME)
def test_memory_does_not_follow_what_a_length_says(name, tmp_path) -> None:
    """Numbers of up to four billion at a dozen places."""
    target = BY_NAME[name]
    (data, *_) = target.valid()
    check(target, data, tmp_path)
    places = range(0, len(data), max(5, len(data) // 12))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for place in places:
            for lie in (b"\xff\xff\xff\xff", b"\0\0\0\x10"):
                check(target, data[:place] + lie + data[place + len(lie) :], tmp_path)
        assert tracemalloc.get_traced_memory()[1] - before < MEMORY
    finally:
        tracemalloc.stop()


# Nothing reads bytes that is not on the list

CALLS = {
    *("loads", "load", "frombuffer", "from_bytes", "fromhex", "unpack", "unpack_from"),
    *("iter_unpack", "load_file", "load_tensors", "safe_open", "reader", "DictReader"),
    *("decompress", "ZipFile", "read_bytes", "read_text", "model_validate_json"),
    "body",
}
NAMES = ("decode", "from_json", "from_csv", "read_", "load_", "parse")

ELSEWHERE = {
    # what they are given has been read by somebody on the list, or is our own
    "fedpref.audit.membership:_source": "a key made here",
    "fedpref.cli.budget:_read": "text for budget_rows",
    "fedpref.cli.runs:report": "prints what was read",
    "fedpref.cli.study:_run": "sources.load",
    "fedpref.config:Scenario.build_objective": "objectives.load",
    "fedpref.core.entropy:uniform_words": "a keystream",
    "fedpref.core.laws:_table": "weights made here",
    "fedpref.core.mask:unpack": "",
    "fedpref.core.shares:_Wide.at": "numbers made here",
    "fedpref.core.shares:_Wide.pack": "numbers made here",
    "fedpref.core.shares:_below_prime": "a keystream",
    "fedpref.core.shares:split": "a secret made here",
    "fedpref.data._wheel:download": "pip's log, for an error",
    "fedpref.data.assets:_marked_files": "of a pinned hash",
    "fedpref.data.assets:install": "_wheel.unpack",
    "fedpref.data.drone_upstream:convert": "of a pinned hash",
    "fedpref.data.electricity:parse": "rows of _survey_file",
    "fedpref.data.formats:read_numbered": "formats.read_records",
    "fedpref.data.sources:_read_texts": "formats.read_records",
    "fedpref.data.sources:shipped_texts": "a file of the package",
    "fedpref.data.swissmetro:parse": "rows of _survey_file",
    "fedpref.data.upstream:fetch": "of a pinned hash",
    "fedpref.data.upstream:install": "of a pinned hash",
    "fedpref.data.vod:read_study_2": "_table.read",
    "fedpref.models.bases:load_base": "an asset of pinned hashes",
    "fedpref.models.saved:load_policy": "saved.load",
    "fedpref.report.rendering:render": "files of the package",
    "fedpref.simulation.elsewhere:_bytes": "keys and a roster, for roster.verified",
    "fedpref.simulation.folder:RunFolder.save_pending": "writes",
    "fedpref.simulation.folder:RunFolder.save_record": "writes",
    "fedpref.simulation.folder:RunFolder.save_state": "writes",
    "fedpref.simulation.home:_fingerprint": "hashes",
    "fedpref.simulation.home:load_personal": "needs an encoder; home._read",
    "fedpref.simulation.journal:RunJournal.kept": "a verified ledger's digest",
    "fedpref.simulation.own_budgets:_place": "a hash",
    "fedpref.simulation.reward:load_model": "saved.load",
    "fedpref.simulation.reward:load_reward": "saved.load",
    "fedpref.simulation.run:_finished": "a file that the run has just written",
    "fedpref.simulation.secagg_bench:_finish": "files that the bench has just written",
    "fedpref.simulation.secagg_bench:_finish.uploads": "the same",
    "fedpref.simulation.setup:prepare": "sources.load",
    "fedpref.store.ledger:_load_to_write": "store.ledger.load",
    "fedpref.study.cases:Case.number": "a hash",
    "fedpref.transport.flower.courier:_ask": "Flower's record, tests/transport",
    "fedpref.transport.flower.exchange:_content": "Flower's record, tests/transport",
    "fedpref.transport.flower.remote:meet": "4 bytes, tests/transport",
    "fedpref.transport.workers:_bring_home": "pipes between our own processes",
    "fedpref.transport.workers:_send": "pipes between our own processes",
    "fedpref.transport.workers:_serve": "pipes between our own processes",
}


def readers(tree, module):
    """Functions of a module that read bytes, as far as their calls and names show."""
    found: dict[str, set[str]] = {}
    _collect(tree, (), found)
    for name, called in found.items():
        if called & CALLS or name.split(".")[-1].lstrip("_").startswith(NAMES):
            yield f"{module}:{name}"


def _collect(node, stack, found) -> None:
    """What each function calls, those inside it included, in one walk."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        stack = (*stack, (node.name, isinstance(node, ast.FunctionDef)))
        if stack[-1][1]:
            found[".".join(name for name, _ in stack)] = set()
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        for depth, (_, is_function) in enumerate(stack, 1):
            if is_function:
                found[".".join(name for name, _ in stack[:depth])].add(called)
    for child in ast.iter_child_nodes(node):
        _collect(child, stack, found)


def found_readers():
    found = set()
    for package in ("fedpref", "clients", "server"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found |= set(readers(ast.parse(path.read_text("utf-8")), module))
    return found


def test_every_reader_is_fuzzed() -> None:
    found = found_readers()
    assert len(found) > 60
    covered = {name for target in TARGETS for name in target.covers}
    assert sorted(found - covered - ELSEWHERE.keys()) == []
    gone = {name for name in ELSEWHERE if name not in found}
    assert sorted(gone) == []


def test_a_new_decoder_is_noticed() -> None:
    source = "class A:\n    def decode_new(self, data):\n        return data[0]\n"
    assert list(readers(ast.parse(source), "m")) == ["m:A.decode_new"]
    source = "def quiet(data):\n    return np.frombuffer(data)\n"
    assert list(readers(ast.parse(source), "m")) == ["m:quiet"]


def test_a_leak_of_another_exception_would_be_seen(tmp_path) -> None:
    """The check itself: a reader that raises ValueError, one with two byte forms."""
    from dataclasses import replace

    target = BY_NAME["legs.decode_agreement"]
    broken = replace(target, read=lambda data, _: int(data))
    with pytest.raises(ValueError, match="invalid literal"):
        check(broken, b"x", tmp_path)
    loose = replace(target, write=lambda found: found + b"\0")
    with pytest.raises(AssertionError):
        check(loose, target.valid()[0], tmp_path)
