"""A data set downloaded from its authors' public repository, verified and converted.

Guarantees: the download is kept only if its SHA-256 is the pinned one, and so are the
converted tables (their unpacked content, since gzip differs between machines); a folder
appears in the cache whole or not at all; :func:`check` reads and rehashes every table.

Does not give: a statement about the data. That a hash fits says that it is the file we
looked at.
"""

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fedpref.data import _download, _table, drone_delivery, drone_upstream
from fedpref.data._cache import Progress, cache_folder, publish, work_folder
from fedpref.errors import AssetMissing, InputError, IntegrityError


@dataclass(frozen=True)
class Upstream:
    """One pinned file of a repository, and what becomes of it.

    ``tables`` pins the unpacked content of each converted table.
    """

    name: str
    commit: str
    url: str
    size_bytes: int
    sha256: str
    convert: Callable[[str], Mapping[str, str]]
    tables: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Name of the set's folder in the cache."""
        return f"{self.name}-{self.commit[:12]}"


_COMMIT = "d8d1811d4c93e2a86b0d898f097411d5d043cee9"
DRONE_DELIVERY = Upstream(
    name=drone_delivery.NAME,
    commit=_COMMIT,
    url="https://raw.githubusercontent.com/aberke/drones-consumer-privacy/"
    f"{_COMMIT}/data/sample-preprocessed.csv",
    size_bytes=3_605_186,
    sha256="d6c9eea06dee6d6458584aa4dfc4dcc08b628c3b11fd45fd377a4affbb23a8b9",
    convert=drone_upstream.convert,
    tables={
        drone_delivery.CHOICES: "4216b29d9e7d27f9f6ef6c7b0ef7b48e47e1e43089baa21b758b47"
        "f942ff23f6",
        drone_delivery.USERS: "5ac76188b2a746e89abf31b8e4cae6193674cad0bc0c6e78a067c58a"
        "5142f930",
    },
)
REGISTRY: dict[str, Upstream] = {DRONE_DELIVERY.name: DRONE_DELIVERY}


def check(upstream: Upstream, *, cache: Path | None = None) -> Path:
    """The folder of the converted tables, once every one is the pinned one.

    Raises:
        AssetMissing: it was not fetched.
        IntegrityError: a table was changed or is gone.
    """
    folder = _folder(upstream, cache)
    again = f"run `fedpref data get {upstream.name}`"
    if not folder.exists():
        raise AssetMissing(f"{upstream.name} is not in {folder.parent}; {again}")
    for name, digest in upstream.tables.items():
        try:
            content = _table.unpacked(folder / name)
        except InputError as error:
            raise IntegrityError(f"{error}; {again} to replace it") from None
        if hashlib.sha256(content.encode()).hexdigest() != digest:
            raise IntegrityError(
                f"{folder / name} is not the table that was converted; {again} to "
                "replace it"
            )
    return folder


def fetch(
    upstream: Upstream, *, progress: Progress | None = None, cache: Path | None = None
) -> Path:
    """Download, verify, convert, and put into the cache; return what ``check`` does.

    A set that is there and passes ``check`` is not downloaded again; one that does not
    pass is replaced.

    Raises:
        IntegrityError: the file is not the pinned one; nothing is kept.
        SetupError: it could not be downloaded.
        OutputError: the cache folder cannot be written, or the disk is full.
    """
    try:
        return check(upstream, cache=cache)
    except (AssetMissing, IntegrityError):
        pass
    folder, total = _folder(upstream, cache), upstream.size_bytes
    report = progress or (lambda done, total: None)
    with work_folder(folder.parent) as work:
        _download.download(
            upstream.url,
            work / "source",
            size_bytes=total,
            watch=lambda done: report(done, total),
        )
        return _install(upstream, (work / "source").read_bytes(), folder, work)


def install(upstream: Upstream, source: Path, *, cache: Path | None = None) -> Path:
    """Verify and convert a source file that is already on this machine.

    Raises:
        InputError: ``source`` cannot be read.
        IntegrityError: it is not the pinned file.
        OutputError: the cache folder cannot be written, or the disk is full.
    """
    folder = _folder(upstream, cache)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise InputError(f"{source}: {error.strerror}") from error
    with work_folder(folder.parent) as work:
        return _install(upstream, content, folder, work)


def _install(upstream: Upstream, source: bytes, folder: Path, work: Path) -> Path:
    actual = hashlib.sha256(source).hexdigest()
    if actual != upstream.sha256:
        raise IntegrityError(
            f"{upstream.name}: the source's file has SHA-256 {actual}, not the pinned "
            f"{upstream.sha256}; nothing was kept"
        )
    staged = work / "staged"
    staged.mkdir()
    tables = upstream.convert(source.decode("utf-8-sig"))
    for name, content in tables.items():
        packed = gzip.compress(content.encode(), mtime=0)
        (staged / name).write_bytes(packed)
        actual = hashlib.sha256(content.encode()).hexdigest()
        if actual != upstream.tables.get(name):
            raise IntegrityError(
                f"{upstream.name}: {name} converts to SHA-256 {actual}, which is not "
                "pinned; nothing was kept"
            )
    publish(staged, folder, work / "old")
    return check(upstream, cache=folder.parent)


def _folder(upstream: Upstream, cache: Path | None) -> Path:
    return (cache or cache_folder()) / upstream.folder
