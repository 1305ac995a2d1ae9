"""Everything that reads bytes from outside, each as one function of bytes.

``test_decoders.py`` and ``coverage_guided.py`` run them on whatever they make up. A
target may raise ``FedprefError`` and nothing else; where it has ``write``, what was
read must be written as the same bytes again.
"""

import gzip
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as to_safetensors

from fedpref import config
from fedpref.cli import budget as cli_budget
from fedpref.cli import runs as cli_runs
from fedpref.core import commitments, events, shares
from fedpref.core import ledger as core_ledger
from fedpref.core.book import Book
from fedpref.core.currencies import Currency
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.mask import pack, unpack
from fedpref.core.rows import Cap, Kind, Part, Reservation, Row, link
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.data import (
    _survey_file,
    _table,
    _wheel,
    arguments,
    drone_delivery,
    formats,
)
from fedpref.errors import InputError
from fedpref.models import saved
from fedpref.report import budget_rows
from fedpref.report import run as report_run
from fedpref.rounds.server import Noisy, ServerState
from fedpref.secagg import client, crypto, legs, messages, record, roster, server, wire
from fedpref.secagg.crypto import SharedWork, Signer
from fedpref.simulation import home
from fedpref.simulation.folder import RunFolder
from fedpref.store import _ledger_file, checkpoints
from fedpref.store import ledger as store_ledger
from fedpref.study import features
from fedpref.transport import local_socket
from tests.report import conftest as report
from tests.secagg.conftest import Cohort

Read = Callable[[bytes, Path], Any]
SEAL = b"s" * 32


@dataclass(frozen=True)
class Target:
    """One reader.

    ``covers`` are the functions that it leads bytes to, as ``module:name``; ``valid``
    gives bytes that it accepts; ``dress`` is put on made-up bytes before they are read,
    such as a checksum over them, without which nothing would get any further.
    """

    name: str
    covers: tuple[str, ...]
    read: Read
    valid: Callable[[], tuple[bytes, ...]]
    write: Callable[[Any], bytes] | None = None
    dress: Callable[[bytes], bytes] | None = None


# Messages of the secure sum


@cache
def cohort() -> Cohort:
    """Five devices before their first round."""
    vectors = np.arange(20).reshape(5, 4)
    values = {"t": 3, "min_survivors": 3, "work": SharedWork()}
    return Cohort(vectors, **values)


@cache
def legs_of_a_round() -> tuple[Any, ...]:
    """For each leg: the server's state, devices, requests and replies before it."""
    found, mine = [], cohort()
    state, requests = mine.invite()
    for leg, name in enumerate(("advertised", "dealt", "uploaded", "agreed", "unmask")):
        before = dict(mine.devices)
        asked = {i: r for i, r in requests.items() if not (leg == 3 and i == 5)}
        replies = dict(mine.send(asked, (5,) if leg == 2 else ()))
        found.append((state, before, requests, replies))
        state, requests = getattr(server, name)(state, replies.items(), mine.work)
    return tuple(found)


def rid() -> bytes:
    return bytes(legs_of_a_round()[0][0].descriptor.rid)


def requests(leg: int) -> Callable[[], tuple[bytes, ...]]:
    return lambda: (legs_of_a_round()[leg][2][1],)


def replies(leg: int) -> Callable[[], tuple[bytes, ...]]:
    return lambda: (legs_of_a_round()[leg][3][1],)


def in_round(decode: Callable[..., Any], **more: Any) -> Read:
    return lambda data, _: decode(data, rid(), **more)


def tombstones() -> tuple[bytes, ...]:
    signed = tuple((i, bytes([i]) * 64) for i in (1, 3, 4))
    return (legs.encode_tombstones(rid(), signed),)


def message(name: str, read: Read, valid: Any, write: Any, *more: str) -> Target:
    covers = (f"fedpref.secagg.legs:{name}", *more)
    return Target(f"legs.{name}", covers, read, valid, write)


def delivered(found: Any) -> bytes:
    return legs.encode_delivery(rid(), wire.ids(found[0]), found[1])


MESSAGES = (
    message(
        "Opening.decode",
        lambda data, _: legs.Opening.decode(data),
        requests(0),
        lambda m: m.encode(),
        "fedpref.secagg.descriptor:read_descriptor",
        "fedpref.secagg.wire:kind_of",
        "fedpref.secagg.wire:Reader.number",
    ),
    message(
        "decode_advert",
        in_round(legs.decode_advert),
        replies(0),
        lambda m: m.encode(rid()),
        "fedpref.secagg.wire:Reader.ids",
    ),
    message(
        "decode_adverts",
        in_round(legs.decode_adverts),
        requests(1),
        lambda m: legs.encode_adverts(rid(), m),
    ),
    message(
        "decode_dealing",
        in_round(legs.decode_dealing),
        replies(1),
        lambda m: m.encode(rid()),
    ),
    message(
        "decode_delivery",
        in_round(legs.decode_delivery),
        requests(2),
        delivered,
        "fedpref.secagg.legs:_parcel",
    ),
    message(
        "decode_upload",
        in_round(legs.decode_upload, size=12),
        replies(2),
        lambda m: m.encode(rid()),
    ),
    message(
        "decode_survivors",
        in_round(legs.decode_survivors),
        requests(3),
        lambda m: legs.encode_survivors(rid(), m),
    ),
    message(
        "decode_agreement",
        in_round(legs.decode_agreement),
        replies(3),
        lambda m: legs.encode_agreement(rid(), m),
    ),
    message(
        "decode_agreements",
        in_round(legs.decode_agreements),
        requests(4),
        lambda m: m.encode(rid()),
        "fedpref.secagg.legs:_read_signatures",
    ),
    message(
        "decode_reveal",
        in_round(legs.decode_reveal),
        replies(4),
        lambda m: m.encode(rid()),
        "fedpref.secagg.legs:_entry",
    ),
    message(
        "decode_tombstones",
        in_round(legs.decode_tombstones),
        tombstones,
        lambda m: legs.encode_tombstones(rid(), m),
    ),
)


def device(leg: int) -> Target:
    """A whole device, before it has answered the request of ``leg``."""

    def read(data: bytes, _: Path) -> None:
        before = legs_of_a_round()[leg][1][1]
        around = replace(cohort().around(1), save=lambda device: None)
        client.answer(data, before, around)

    covers = (
        "fedpref.secagg.admission:admit",
        "fedpref.secagg.client:_masked",
        "fedpref.secagg.sizes:check_request",
    )
    return Target(f"client.answer, leg {leg}", covers, read, requests(leg))


def serving(leg: int) -> Target:
    """The server, to which one device replies this in ``leg``."""
    name = ("advertised", "dealt", "uploaded", "agreed", "unmask")[leg]

    def read(data: bytes, _: Path) -> None:
        state, _, _, others = legs_of_a_round()[leg]
        getattr(server, name)(state, (others | {1: data}).items(), cohort().work)

    covers = (f"fedpref.secagg.server:{name}",)
    if leg == 2:
        covers = (*covers, "fedpref.secagg.server:uploaded.read")
    return Target(f"server.{name}", covers, read, replies(leg))


PLAN = b"p" * 32


def readable(name: str, value: Any, encode: Callable[..., bytes]) -> Target:
    decode = getattr(messages, name)
    covers = (f"fedpref.secagg.messages:{name}", "fedpref.secagg.messages:_check")

    def read(data: bytes, _: Path) -> Any:
        return decode(data, plan=PLAN, coordinates=4)

    return Target(f"messages.{name}", covers, read, lambda: (encode(value),), encode)


READABLE = (
    readable(
        "decode_invitation",
        messages.Invitation(3, PLAN, np.array([0.5, -1.0, 0.0, 2.0])),
        messages.encode_invitation,
    ),
    readable(
        "decode_contribution",
        messages.Contribution(3, PLAN, np.array([1, -2, 3, 2**40])),
        messages.encode_contribution,
    ),
)

AUTHORITY = Signer.from_seed(b"a" * 32)


def listed(data: bytes, _: Path) -> roster.Roster:
    signed = data + AUTHORITY.sign(crypto.ROSTER, data)
    pins = {"authority": AUTHORITY.public, "server": b"s" * 32}
    return roster.verified(signed, **pins, now=5, work=crypto.Work())


def recorded(data: bytes, _: Path) -> Any:
    state = legs_of_a_round()[4][0]
    charged = record.digest(state)
    pins = {"roster": cohort().roster, "work": cohort().work}
    return record.read(data, charged=charged, **pins)


def unpacked(bits: int) -> Target:
    words = np.array([1, 2**bits - 1, 77, 0], np.uint32)
    return Target(
        f"mask.unpack, {bits} bits",
        ("fedpref.core.mask:unpack",),
        lambda data, _: unpack(data, bits, 4),
        lambda: (bytes(pack(words, bits)),),
        lambda found: bytes(pack(found, bits)),
    )


def joined(data: bytes, _: Path) -> bytes:
    size = shares.SHARE_BYTES
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return shares.join(dict(enumerate(parts, 1)), 2)


def dealt() -> tuple[bytes, ...]:
    made = shares.split([b"x" * 32], (1, 2, 3), 2, key=bytes(32))
    return (b"".join(made[i][0] for i in (1, 2, 3)),)


LEAVES = [commitments.leaf(bytes([i]) * 32, bytes(32)) for i in range(5)]


def in_tree(data: bytes, _: Path) -> None:
    root, leaf, place = data[:32], data[32:64], int.from_bytes(data[64:65])
    path = [data[at : at + 32] for at in range(65, len(data), 32)]
    commitments.check(root, leaf, place, path, 5)


def places() -> tuple[bytes, ...]:
    root, paths = commitments.tree(LEAVES)
    return tuple(
        root + leaf + bytes([i]) + b"".join(paths[i]) for i, leaf in enumerate(LEAVES)
    )


PIECES = (
    Target(
        "roster.verified",
        ("fedpref.secagg.roster:verified",),
        listed,
        lambda: (cohort().roster.content,),
        lambda found: found.content,
    ),
    Target(
        "record.read",
        ("fedpref.secagg.record:_read",),
        recorded,
        lambda: (record.write(legs_of_a_round()[4][0]),),
        record.write,
    ),
    unpacked(16),
    unpacked(24),
    unpacked(32),
    Target("shares.join", ("fedpref.core.shares:_element",), joined, dealt),
    Target("commitments.check", ("fedpref.core.commitments:check",), in_tree, places),
    Target(
        "crypto.unseal",
        ("fedpref.secagg.crypto:unseal",),
        lambda data, _: crypto.unseal(b"k" * 32, rid(), 1, 2, data),
        lambda: (crypto.seal(b"k" * 32, rid(), 1, 2, bytes(132)),),
        lambda found: crypto.seal(b"k" * 32, rid(), 1, 2, found),
    ),
)


def framed(data: bytes, _: Path) -> bytes:
    """A frame out of a socket that has nothing more to give."""

    class Socket:
        rest = io.BytesIO(data)

        def settimeout(self, seconds: float) -> None:
            pass

        def recv(self, size: int) -> bytes:
            return self.rest.read(size)

    return local_socket._receive(Socket(), 2.0**60, 1000)


FRAMES = (
    Target(
        "local_socket._receive",
        ("fedpref.transport.local_socket:_receive",),
        framed,
        lambda: (struct.pack("<I", 5) + b"hello",),
    ),
)


# The ledger and its exports


CAP = Cap("people", "2026", Unit.USER, Relation.ZERO_OUT, Adversary.OUTSIDER, 8.0, 1e-4)


def book() -> tuple[Any, tuple[Row, ...]]:
    """A ledger with one released round, and its rows."""
    seen = {
        Adversary.OUTSIDER: GaussianSum(CAP.unit, CAP.relation, 1, Fraction(64), 8),
        Adversary.SERVER: NonPrivate(CAP.unit, CAP.relation, 8),
    }
    plan = Reservation("a", "p", CAP.unit, CAP.relation, (Part(3, seen),), 1e-6)
    state, rows = Book(), []
    for step in (
        lambda b: core_ledger.open_cap(b, CAP),
        lambda b: core_ledger.reserve(b, plan),
        lambda b: core_ledger.unmask(b, "a", 1, "d1"),
        lambda b: core_ledger.release(b, "a", 1, "m1"),
        lambda b: core_ledger.abort(b, "a", 2, refund=False),
        lambda b: core_ledger.close(b, "a"),
    ):
        rows.append(step(state))
        state = core_ledger.replay(tuple(rows))
    return state, tuple(rows)


@cache
def rows() -> tuple[Row, ...]:
    return book()[1]


def chained(kind: Kind) -> Target:
    """A row of this kind with made-up content, well chained to those before it."""
    (place,) = [row.seq - 1 for row in rows() if row.kind is kind]

    def read(data: bytes, _: Path) -> Any:
        before = rows()[:place]
        row = Row(place + 1, kind, data.decode("utf-8", "replace"), b"")
        head = before[-1].head if before else bytes(32)
        return core_ledger.replay((*before, replace(row, head=link(head, row))))

    return Target(
        f"a ledger's row: {kind}",
        ("fedpref.core.ledger:_apply",),
        read,
        lambda: (rows()[place].body.encode(),),
    )


def filled(folder: Path) -> Path:
    """A ledger file of the rows above."""
    path = folder / "ledger.db"
    with store_ledger.Ledger.open(path) as ledger:
        for row in rows():
            ledger.append(lambda book, row=row: row)
    return path


@cache
def ledger_bytes() -> tuple[bytes, ...]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return (filled(Path(folder)).read_bytes(),)


def stored(data: bytes, folder: Path) -> Any:
    for old in folder.glob("ledger.db*"):
        old.unlink()
    path = folder / "ledger.db"
    path.write_bytes(data)
    last = rows()[-1]
    (folder / "ledger.db.head").write_text(f"{last.seq}:{last.head.hex()}\n")
    return store_ledger.load(path)


def headed(data: bytes, folder: Path) -> Any:
    (folder / "x.db.head").write_bytes(data)
    return _ledger_file.read_head(folder / "x.db")


def exported(read: Callable[[str], Any]) -> Read:
    def check(data: bytes, _: Path) -> Any:
        found = read(data.decode("utf-8", "replace"))
        budget_rows.verified(found)
        return found

    return check


def event_of(data: bytes, _: Path) -> Any:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("not JSON") from None
    return value, events.from_json(value)


def same_event(found: Any) -> bytes:
    value, event = found
    assert events.to_json(event) == value
    return json.dumps(value).encode()


def event_texts() -> tuple[bytes, ...]:
    both = (
        GaussianSum(CAP.unit, CAP.relation, 4, Fraction(641, 7), 8),
        events.PoissonSkellamSum(
            *(CAP.unit, CAP.relation, Fraction(1, 3), 9, 40, Fraction(900), 8)
        ),
    )
    return tuple(json.dumps(events.to_json(event)).encode() for event in both)


LEDGER = (
    *map(chained, Kind),
    Target(
        "store.ledger.load",
        ("fedpref.store._ledger_file:read_rows", "fedpref.store.ledger:load"),
        stored,
        ledger_bytes,
    ),
    Target(
        "read_head",
        ("fedpref.store._ledger_file:read_head",),
        headed,
        lambda: (f"6:{rows()[-1].head.hex()}\n".encode(),),
        lambda found: f"{found[0]}:{found[1].hex()}\n".encode(),
    ),
    Target(
        "budget_rows.from_jsonl",
        (
            "fedpref.report.budget_rows:from_jsonl",
            "fedpref.report.budget_rows:_row",
            "fedpref.report.budget_rows:_check_schema",
        ),
        exported(budget_rows.from_jsonl),
        lambda: (budget_rows.to_jsonl(rows()).encode(),),
    ),
    Target(
        "budget_rows.from_csv",
        ("fedpref.report.budget_rows:from_csv",),
        exported(budget_rows.from_csv),
        lambda: (budget_rows.to_csv(rows()).encode(),),
    ),
    Target(
        "events.from_json", ("fedpref.core.events:from_json",), event_of, event_texts
    ),
    Target(
        "Currency.parse",
        ("fedpref.core.currencies:Currency.parse",),
        lambda data, _: Currency.parse(data.decode("utf-8", "replace")),
        lambda: (b"sealed", b"rdp:16"),
        lambda found: str(found).encode(),
    ),
)


# Files of a run


def summed(body: bytes) -> bytes:
    """As a checkpoint: behind its own SHA-256."""
    return hashlib.sha256(body).digest() + body


def in_folder(name: str, read: Callable[[RunFolder], Any]) -> Read:
    def load(data: bytes, folder: Path) -> Any:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        return read(RunFolder(folder))

    return load


def kept(save: Callable[[RunFolder], None], name: str) -> Callable[[], tuple[bytes]]:
    @cache
    def make() -> tuple[bytes]:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            save(RunFolder(Path(folder)))
            return ((Path(folder) / name).read_bytes()[32:],)

    return make


STATE = ServerState(
    *(2, 2, 5, np.ones(3), {"velocity": np.zeros(3)}, np.ones(3), 1),
    *(np.zeros(3), np.zeros(0)),
)
NOISY = Noisy(np.array([5, -6, 7]), 4)


def checkpoint(what: str, name: str, save: Any, read: Any) -> Target:
    return Target(
        f"RunFolder.{what}",
        (
            f"fedpref.simulation.folder:RunFolder.{what}",
            "fedpref.store.checkpoints:load_checkpoint",
        ),
        in_folder(name, read),
        kept(save, name),
        dress=summed,
    )


def report_folder(name: str) -> Target:
    """The reader of reports, with one of a run's files made up."""
    files = {
        "scenario.toml": report.SCENARIO,
        "plan.json": json.dumps(report.plan()),
        "metrics.jsonl": "".join(json.dumps(row) + "\n" for row in report.metrics()),
        "evaluation.json": json.dumps(report.evaluation()),
        "environment.json": json.dumps(report.environment()),
    }

    def read(data: bytes, folder: Path) -> Any:
        for other, text in files.items():
            (folder / other).write_text(text)
        (folder / name).write_bytes(data)
        return report_run.read(folder)

    covers = ("_parse", "_releases", "_text")
    return Target(
        f"report of a run: {name}",
        tuple(f"fedpref.report.run:{function}" for function in covers),
        read,
        lambda: (files[name].encode(),),
    )


PLAN_JSON = {k: v for k, v in report.plan().items() if k != "ledger_file"}
SCENARIOS = Path(__file__).parent.parent.parent / "simulations"


def shipped() -> tuple[bytes, ...]:
    names = ("quickstart", "personal", "own_budgets")
    return tuple((SCENARIOS / f"{name}.toml").read_bytes() for name in names)


def scenario(data: bytes, folder: Path) -> Any:
    (folder / "one.toml").write_bytes(data)
    return config.read(folder / "one.toml")


def overridden(data: bytes, folder: Path) -> Any:
    (folder / "two.toml").write_bytes(shipped()[0])
    return config.read(folder / "two.toml", [data.decode("utf-8", "replace")])


def model_file(data: bytes, folder: Path) -> Any:
    (folder / "model.json").write_bytes(data)
    return saved.base_of(folder)


def head_file(data: bytes, folder: Path) -> Any:
    (folder / "head.safetensors").write_bytes(data)
    try:
        return saved._tensors(folder, None, "reward")
    except (KeyError, TypeError, ValueError):  # as saved.load has it
        raise InputError("a tensor of another kind") from None


def prior_file(data: bytes, folder: Path) -> Any:
    (folder / home.PRIOR).write_bytes(data)
    return home.load_prior(folder, 3)


def embedding_file(data: bytes, folder: Path) -> Any:
    (folder / "e.safetensors").write_bytes(data)
    return features._read(folder / "e.safetensors", "name", 2)


def lines_file(data: bytes, folder: Path) -> Any:
    (folder / "metrics.jsonl").write_bytes(data)
    return RunFolder(folder).read_lines("metrics.jsonl")


def identified(data: bytes, folder: Path) -> Any:
    (folder / "plan.json").write_bytes(data)
    return RunFolder(folder).identity()


def sealed(data: bytes, folder: Path) -> Any:
    (folder / "plan.json").write_bytes(data)
    return RunFolder(folder).check_seal(PLAN_JSON)


def named(data: bytes, folder: Path) -> Any:
    (folder / "plan.json").write_bytes(data)
    return cli_budget._run_name(folder)


def ledger_named(data: bytes, folder: Path) -> Any:
    (folder / "plan.json").write_bytes(data)
    return cli_budget._ledger_of(folder)


def tensors(**values: Any) -> Callable[[], tuple[bytes, ...]]:
    return lambda: (to_safetensors({k: np.asarray(v) for k, v in values.items()}),)


FOLDER = "fedpref.simulation.folder:RunFolder"
RUN = (
    checkpoint(
        "load_state",
        "checkpoints/state.bin",
        lambda folder: folder.save_state(STATE, SEAL),
        lambda folder: folder.load_state(SEAL),
    ),
    checkpoint(
        "load_pending",
        "checkpoints/pending.bin",
        lambda folder: folder.save_pending(NOISY, b"d" * 32, SEAL),
        lambda folder: folder.load_pending(SEAL),
    ),
    checkpoint(
        "load_record",
        "checkpoints/record.bin",
        lambda folder: folder.save_record(b"record", SEAL),
        lambda folder: folder.load_record(SEAL),
    ),
    Target(
        "load_checkpoint",
        ("fedpref.store.checkpoints:load_checkpoint",),
        lambda data, folder: (
            (folder / "x.ckpt").write_bytes(data),
            checkpoints.load_checkpoint(folder / "x.ckpt"),
        ),
        lambda: (summed(tensors(a=[1.0, 2.0])()[0]),),
    ),
    Target(
        "RunFolder.read_lines",
        (f"{FOLDER}.read_lines",),
        lines_file,
        lambda: (b'{"round": 1}\n{"round": 2}\n',),
    ),
    Target(
        "RunFolder.identity",
        (f"{FOLDER}._read_json", "fedpref.simulation.folder:RunFolder.identity"),
        identified,
        lambda: (b'{"run_id": "a", "ledger_file": "ledger.db"}',),
    ),
    Target(
        "RunFolder.check_seal",
        (f"{FOLDER}._read_json",),
        sealed,
        lambda: (json.dumps(PLAN_JSON).encode(),),
    ),
    Target(
        "budget._run_name",
        ("fedpref.cli.budget:_run_name",),
        named,
        lambda: (b'{"run_id": "a"}',),
    ),
    Target(
        "budget._ledger_of",
        ("fedpref.cli.budget:_ledger_of",),
        ledger_named,
        lambda: (b'{"ledger_file": "x.db"}',),
    ),
    *map(
        report_folder,
        (
            *("scenario.toml", "plan.json", "metrics.jsonl"),
            *("evaluation.json", "environment.json"),
        ),
    ),
    Target(
        "config.read",
        ("fedpref.config:read", "fedpref.config:parse"),
        scenario,
        shipped,
    ),
    Target(
        "config.read, an override",
        ("fedpref.config:_override",),
        overridden,
        lambda: (b"cohort.rounds=3", b'privacy.noise="none"'),
    ),
    Target(
        "model.json",
        ("fedpref.models.saved:_read_settings",),
        model_file,
        lambda: (b'{"version": 1, "base": "minilm", "adapter": null, "layout": []}',),
    ),
    Target(
        "head.safetensors",
        ("fedpref.models.saved:_tensors",),
        head_file,
        tensors(head=[1.0, 2.0], mean=[0.0, 0.0, 0.0]),
    ),
    Target(
        "prior.safetensors",
        ("fedpref.simulation.home:load_prior", "fedpref.simulation.home:_read"),
        prior_file,
        tensors(covariance=np.eye(3)),
    ),
    Target(
        "embeddings",
        ("fedpref.study.features:_read",),
        embedding_file,
        tensors(embeddings=np.ones((2, 3), np.float32)),
    ),
)


# What people and surveys give

RECORDS = b"""\
{"user": "ada", "prompt": "p", "chosen": "a", "rejected": "b"}
{"user": "ada", "prompt": "p", "completion": "c", "label": true, "weight": 0.5}
{"user": "bob", "prompt": "", "options": ["x", "y", "z"], "choice": 2, "id": "7"}
"""


def records(data: bytes, folder: Path) -> Any:
    (folder / "own.jsonl").write_bytes(data)
    return formats.read_records(folder / "own.jsonl")


def scored(data: bytes, folder: Path) -> Any:
    (folder / "own.jsonl").write_bytes(data)
    return cli_runs._inputs(folder / "own.jsonl")


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def table(data: bytes, folder: Path) -> Any:
    (folder / "t.csv.gz").write_bytes(data)

    def parse(line: int, row: Any, why: list[str]) -> Any:
        user = _table.identifier(row, "user", why)
        return user, _table.whole(row, "n", 0, 9, why), _table.flag(row, "f", why)

    return _table.read(folder / "t.csv.gz", ("user", "n", "f"), parse)


def argued(data: bytes, folder: Path) -> Any:
    (folder / arguments.TEXTS).write_bytes(data)
    return arguments.read_arguments(folder / arguments.TEXTS)


def grouped(data: bytes, folder: Path) -> Any:
    (folder / "users.csv.gz").write_bytes(data)
    return drone_delivery.read_groups(folder / "users.csv.gz")


def argument() -> tuple[bytes, ...]:
    row = dict.fromkeys(arguments.FIELDS, "text")
    return (json.dumps(row).encode() + b"\n",)


def groups() -> tuple[bytes, ...]:
    header = drone_delivery.USERS_HEADER
    codes = {name: next(iter(c)) for name, c in drone_delivery.GROUPS.items()}
    row = [codes.get(name, "u1") for name in header]
    return (f"{','.join(header)}\n{','.join(row)}\n".encode(),)


def wheel() -> tuple[bytes, ...]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/a.txt", "hello " * 20)
        archive.writestr("other.txt", "no")
    return (stream.getvalue(),)


def unwheeled(data: bytes, folder: Path) -> Any:
    import shutil

    (folder / "x.whl").write_bytes(data)
    shutil.rmtree(folder / "out", ignore_errors=True)
    return _wheel.unpack(
        folder / "x.whl", ("data/",), folder / "out", max_bytes=100_000
    )


def surveyed(data: bytes, folder: Path) -> Any:
    (folder / "y.whl").write_bytes(data)
    return list(_survey_file.rows(folder / "y.whl", "a.csv.gz", SURVEY))


SURVEY_FILE = zipped(b"a,b\n1,2\n")
SURVEY = hashlib.sha256(SURVEY_FILE).hexdigest()


def survey() -> tuple[bytes, ...]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{_survey_file.FOLDER}a.csv.gz", SURVEY_FILE)
    return (stream.getvalue(),)


GIVEN = (
    Target(
        "formats.read_records",
        (
            "fedpref.data.formats:read_records",
            "fedpref.data.formats:_read_line",
            "fedpref.data.formats:_json",
        ),
        records,
        lambda: (RECORDS,),
    ),
    Target(
        "runs._inputs",
        ("fedpref.cli.runs:_inputs", "fedpref.cli.runs:_text"),
        scored,
        lambda: (RECORDS, b'{"text": "one"}\n{"text": "two"}\n'),
    ),
    Target(
        "_table.read",
        ("fedpref.data._table:read",),
        table,
        lambda: (b"user,n,f\nada,3,1\nbob,4,0\n",),
        dress=zipped,
    ),
    Target(
        "_table.read, gzip",
        ("fedpref.data._table:read",),
        table,
        lambda: (zipped(b"user,n,f\nada,3,1\n"),),
    ),
    Target(
        "read_arguments",
        (
            "fedpref.data.arguments:read_arguments",
            "fedpref.data.arguments:_json",
        ),
        argued,
        argument,
        dress=zipped,
    ),
    Target(
        "read_groups",
        ("fedpref.data.drone_delivery:read_groups",),
        grouped,
        groups,
        dress=zipped,
    ),
    Target("_wheel.unpack", ("fedpref.data._wheel:unpack",), unwheeled, wheel),
    Target("_survey_file.rows", ("fedpref.data._survey_file:rows",), surveyed, survey),
)

TARGETS: tuple[Target, ...] = (
    *MESSAGES,
    *map(device, range(5)),
    *map(serving, range(5)),
    *READABLE,
    *PIECES,
    *FRAMES,
    *LEDGER,
    *RUN,
    *GIVEN,
)
