"""The cache folder: whole folders that appear in one step.

Guarantees: what is put together in :func:`work_folder` is gone afterwards whatever
happens, and :func:`publish` puts a finished folder in place at once, so that a reader
sees all of it or none.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedpref.errors import OutputError

Progress = Callable[[int, int], None]  # bytes so far, bytes in all


def cache_folder() -> Path:
    """``$FEDPREF_CACHE``, or ``~/.cache/fedpref``."""
    chosen = os.environ.get("FEDPREF_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "fedpref"


@contextmanager
def work_folder(cache: Path) -> Iterator[Path]:
    """A temporary folder on the cache's disk, gone afterwards whatever happens."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as name:
            yield Path(name)
    except OSError as error:
        raise OutputError(
            f"cache folder {cache}: {error.strerror or error}; free some space, or set "
            "FEDPREF_CACHE to a folder that can be written"
        ) from error


def publish(staged: Path, folder: Path, aside: Path) -> None:
    """Put the whole folder in place in one step; an older one makes way."""
    try:
        os.replace(staged, folder)
    except OSError:
        if not os.path.lexists(folder):
            raise
        os.replace(folder, aside)
        os.replace(staged, folder)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
