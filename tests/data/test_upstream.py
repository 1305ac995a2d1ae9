"""Downloading and converting: pinned bytes or nothing, whatever the server does."""

import csv
import dataclasses
import gzip
import hashlib
import io
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from fedpref.cli.data import app
from fedpref.data import _download, drone_delivery, drone_upstream, sources, upstream
from fedpref.errors import (
    AssetMissing,
    InputError,
    IntegrityError,
    OutputError,
    SetupError,
)

QUESTIONS = [
    "CHOICE_v0_gc1_gt0_dc2_dt3_dp1_1",
    "CHOICE_v0_gc1_gt0_dc2_dt3_dp1_1.1",
    "CHOICE_v1_gc3_gt3_dc2_dt1_dp0_1",
    "CHOICE_v3_gc0_gt1_dc0_dt0_dp1_1.1",
]
WIDE = [
    ["ResponseId", "Q_gender", "Q_comments", "Q_age", "Q_urban_rural", *QUESTIONS],
    ["R_x", "2", "I like\nit, really", "1", "2", "1", "", "0", ""],
    ["R_y", "1", "", "6", "3", "", "", "", ""],
    ["R_z", "3", "no", "2", "1", "", "0", "", "1"],
]


def packed(rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


SOURCE = packed(WIDE)
TABLES = {
    drone_delivery.CHOICES: "user_id,vendor,ground_fee_usd,ground_wait_min,"
    "drone_fee_usd,drone_wait_min,drone_privacy,chose_drone\n"
    "d0000,prescription medications,10,1440,5,120,0,0\n"
    "d0000,take-out food,1,15,3,45,1,1\n"
    "d0002,last-minute groceries,0,20,0,15,1,1\n"
    "d0002,take-out food,1,15,3,45,1,0\n",
    drone_delivery.USERS: "user_id,gender,age,urban_rural\n"
    "d0000,2,1,2\nd0001,1,6,3\nd0002,3,2,1\n",
}


@pytest.fixture
def server():
    """Answers with ``server.reply(handler)``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests += 1
            server.reply(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.reply = 0, send(SOURCE)
    server.stop = threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/file.csv"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()
    thread.join()


def send(content, *, status=200, length=None, headers=()):
    def reply(handler):
        handler.send_response(status)
        handler.send_header(
            "Content-Length", str(len(content) if length is None else length)
        )
        for header in headers:
            handler.send_header(*header)
        handler.end_headers()
        handler.wfile.write(content)

    return reply


@pytest.fixture
def tiny(server, monkeypatch):
    """A pinned file of three people on the local server."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return dataclasses.replace(
        upstream.DRONE_DELIVERY,
        url=server.url,
        size_bytes=len(SOURCE),
        sha256=sha256(SOURCE),
        tables={name: sha256(text.encode()) for name, text in TABLES.items()},
    )


def test_fetch_converts_what_is_pinned(server, tiny, cache):
    seen = []
    folder = upstream.fetch(tiny, progress=lambda *at: seen.append(at), cache=cache)
    assert folder == cache / "drone-delivery-privacy-choices-d8d1811d4c93"
    tables = {
        p.name: gzip.decompress(p.read_bytes()).decode() for p in folder.iterdir()
    }
    assert tables == TABLES
    assert [p.name for p in cache.iterdir()] == [folder.name]
    assert seen[-1] == (len(SOURCE), len(SOURCE))
    data = drone_delivery.read(folder)
    assert [record.choice for record in data.records] == [0, 1, 1, 0]
    assert data.people["d0002"]["gender"] == "other"


def test_fetch_again_needs_no_network(server, tiny, cache):
    first = upstream.fetch(tiny, cache=cache)
    assert upstream.fetch(tiny, cache=cache) == first
    assert server.requests == 1


def test_the_command_and_the_loader_meet_in_the_cache(server, tiny, cache, monkeypatch):
    monkeypatch.setenv("FEDPREF_CACHE", str(cache))
    monkeypatch.setattr(upstream, "DRONE_DELIVERY", tiny)
    monkeypatch.setitem(upstream.REGISTRY, tiny.name, tiny)
    with pytest.raises(AssetMissing, match=f"`fedpref data get {tiny.name}`"):
        sources.load(tiny.name, base=None)
    result = CliRunner().invoke(app, ["get", tiny.name])
    assert result.exit_code == 0, result.exception
    assert result.stdout == f"{tiny.name}: {cache / tiny.folder}\n"
    assert len(sources.load(tiny.name, base=None).records) == 4
    assert CliRunner().invoke(app, ["check", tiny.name]).exit_code == 0


def refused(tiny, cache, error, reason):
    with pytest.raises(error, match=reason) as caught:
        upstream.fetch(tiny, cache=cache)
    assert list(cache.iterdir()) == []
    with pytest.raises(AssetMissing):
        upstream.check(tiny, cache=cache)
    return caught.value


def test_a_file_with_another_hash_is_refused(server, tiny, cache):
    server.reply = send(SOURCE.replace(b"R_x", b"R_w"))
    refused(tiny, cache, IntegrityError, "not the pinned .*; nothing was kept")


def test_a_file_that_is_too_large_is_cut_off(server, tiny, cache):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while not server.stop.is_set():
            handler.wfile.write(b"x" * 65536)
            sent.append(65536)

    sent = []
    server.reply = endless
    refused(tiny, cache, IntegrityError, f"more than the pinned {len(SOURCE)} bytes")
    assert sum(sent) < 2**26  # what lies in the buffers of both sides, and no more


@pytest.mark.parametrize("length", [None, len(SOURCE)])
def test_a_truncated_file_is_refused(server, tiny, cache, length):
    server.reply = send(SOURCE[:-7], length=length)
    error = refused(tiny, cache, SetupError, f"bytes = {len(SOURCE) - 7}, must be")
    assert "try again" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server, tiny, cache, status):
    there = ("Location", server.url + "?again")
    server.reply = send(b"", status=status, headers=[there])
    refused(tiny, cache, SetupError, "redirects are not followed")
    assert server.requests == 1


def test_a_redirect_to_a_local_file_is_not_followed(server, tiny, cache, tmp_path):
    (tmp_path / "file.csv").write_bytes(SOURCE)
    there = ("Location", (tmp_path / "file.csv").as_uri())
    server.reply = send(b"", status=302, headers=[there])
    refused(tiny, cache, SetupError, "redirects are not followed")
    local = dataclasses.replace(tiny, url=(tmp_path / "file.csv").as_uri())
    refused(local, cache, SetupError, "unknown url type")


@pytest.mark.parametrize("status", [403, 404, 500])
def test_another_status_is_named(server, tiny, cache, status):
    server.reply = send(b"no", status=status)
    refused(tiny, cache, SetupError, f"status = {status}, must be 200")


def test_a_server_that_is_not_there(tiny, cache):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    absent = dataclasses.replace(tiny, url=f"http://127.0.0.1:{port}/file.csv")
    refused(absent, cache, SetupError, "Connection refused")


def test_an_answer_that_is_not_http(server, tiny, cache):
    server.reply = lambda handler: handler.wfile.write(b"hello\r\n\r\n")
    refused(tiny, cache, SetupError, "check the network")


@pytest.mark.parametrize("before", [b"", SOURCE[:10]])
def test_a_server_that_goes_quiet_is_given_up(server, tiny, cache, monkeypatch, before):
    def quiet(handler):
        if before:
            send(before, length=len(SOURCE))(handler)
        server.stop.wait(20)

    server.reply = quiet
    monkeypatch.setitem(_download.download.__kwdefaults__, "stall_s", 0.2)
    start = time.monotonic()
    refused(tiny, cache, SetupError, r"no byte for 0\.2 s")
    assert time.monotonic() - start < 5


def test_a_server_that_drips_is_given_up(server, tiny, cache, monkeypatch):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        while not server.stop.wait(0.02):
            handler.wfile.write(b"x")

    server.reply = drip
    monkeypatch.setitem(_download.download.__kwdefaults__, "total_s", 0.3)
    start = time.monotonic()
    refused(tiny, cache, SetupError, r"after 0\.3 s")
    assert time.monotonic() - start < 5


def test_an_interrupted_fetch_leaves_nothing(server, tiny, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upstream.fetch(tiny, progress=interrupt, cache=cache)
    assert list(cache.iterdir()) == []


def test_another_conversion_is_refused(server, tiny, cache):
    wrong = dataclasses.replace(
        tiny, tables=tiny.tables | {drone_delivery.USERS: "0" * 64}
    )
    with pytest.raises(IntegrityError, match="which is not pinned; nothing was kept"):
        upstream.fetch(wrong, cache=cache)
    assert list(cache.iterdir()) == []


def test_a_source_that_is_already_here(tiny, cache, tmp_path):
    (tmp_path / "source.csv").write_bytes(SOURCE)
    upstream.install(tiny, tmp_path / "source.csv", cache=cache)
    assert upstream.check(tiny, cache=cache).is_dir()
    with pytest.raises(InputError, match="No such file"):
        upstream.install(tiny, tmp_path / "absent.csv", cache=cache)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="FEDPREF_CACHE"):
        upstream.install(tiny, tmp_path / "source.csv", cache=tmp_path / "file" / "c")


def remove(path):
    path.unlink()


def one_answer(path):
    text = gzip.decompress(path.read_bytes()).replace(b",0\n", b",1\n", 1)
    path.write_bytes(gzip.compress(text))


def spoil(path):
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize("tamper", [remove, one_answer, spoil])
def test_a_changed_table_is_found_and_replaced(server, tiny, cache, tamper):
    folder = upstream.fetch(tiny, cache=cache)
    tamper(folder / drone_delivery.CHOICES)
    with pytest.raises(IntegrityError, match=f"`fedpref data get {tiny.name}` to"):
        upstream.check(tiny, cache=cache)
    upstream.fetch(tiny, cache=cache)
    assert upstream.check(tiny, cache=cache) == folder
    assert [p.name for p in cache.iterdir()] == [folder.name]


# --- the layout of the source -------------------------------------------------------


def test_the_levels_against_the_source_s_own_table():
    # From survey-questions/attributes.py at the pinned commit.
    usual = ([0, 1, 3, 5], [15, 20, 30, 45])
    medicine = ([0, 1, 5, 10], [30, 120, 360, 1440])
    for vendor, name in enumerate(drone_delivery.VENDORS):
        fees, waits = medicine if vendor == 1 else usual
        for level in range(4):
            column = f"CHOICE_v{vendor}_gc{level}_gt0_dc0_dt{level}_dp1_1"
            found = drone_upstream._question(column)
            expected = (name, fees[level], waits[0], fees[0], waits[level], 1)
            assert found == tuple(map(str, expected))


@pytest.mark.parametrize(
    "rows",
    [
        [["a", "b"], ["1", "2"]],
        [[name for name in WIDE[0] if name != "Q_age"], *WIDE[1:]],
        [WIDE[0][:5], *[row[:5] for row in WIDE[1:]]],
        [WIDE[0], [*WIDE[1][:-1], "2"]],
        [],
    ],
)
def test_another_layout_is_refused(rows):
    with pytest.raises(IntegrityError, match="not the file that was converted before"):
        drone_upstream.convert(packed(rows).decode())


def test_the_pinned_address():
    pinned = upstream.DRONE_DELIVERY
    assert pinned.url.startswith("https://")
    assert pinned.commit in pinned.url
    assert len(pinned.commit) == 40
    assert (pinned.size_bytes, pinned.sha256[:8]) == (3_605_186, "d6c9eea0")


def test_the_pinned_tables_hold_the_folder_beside_the_checkout(shared):
    """What is fetched, without the people of heldout-v1, is that folder."""
    try:
        folder = upstream.check(upstream.DRONE_DELIVERY)
    except SetupError as error:
        pytest.skip(f"needs a set: {error}")
    from fedpref.data import _table, partition

    for name in TABLES:
        lines = _table.unpacked(folder / name).splitlines()
        rest = [r for r in lines[1:] if not partition.is_heldout(r.split(",")[0])]
        own = _table.unpacked(shared / drone_delivery.NAME / name).splitlines()
        assert [lines[0], *rest] == own
    data = drone_delivery.read(folder)
    assert (len(data.people), len(data.records)) == (3625, 36_297)
