"""Durable, verified files: written whole or not at all, checked when read.

Guarantees: a reader sees the old file or the new one, never a half; a checkpoint that
was damaged is refused. Does not give: secrecy (checkpoints hold public or released
values only), or protection from somebody who puts an old checkpoint back: the digest
lies in the file itself.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from fedpref.errors import IntegrityError, OutputError

_DIGEST_BYTES = 32


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Put ``data`` at ``path`` in one step that survives a crash.

    Until it has its ``mode``, the file is readable by its owner alone.

    Raises:
        OutputError: The folder is missing, read-only or full; nothing has changed.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror}; free or choose another folder "
            "with --out"
        ) from error


def remove_leftovers(path: Path) -> None:
    """Delete what a crash in :func:`write_atomic` may have left beside ``path``.

    Such a file can hold a result that was never published; a second one for the same
    round, with other noise, must not end up beside it.
    """
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink()


def save_checkpoint(path: Path, tensors: Mapping[str, NDArray[np.generic]]) -> None:
    """Write named arrays with their SHA-256 in front.

    Raises:
        OutputError: As :func:`write_atomic`.
    """
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    body = save_tensors(arrays)
    write_atomic(path, hashlib.sha256(body).digest() + body)


def load_checkpoint(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of :func:`save_checkpoint`.

    Raises:
        IntegrityError: The file is missing, cut or changed.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(f"checkpoint {path}: {error.strerror}") from error
    digest, body = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise IntegrityError(
            f"checkpoint {path}: its SHA-256 does not match; it was cut or changed, "
            "start a new run"
        )
    try:
        return dict(load_tensors(body))
    except SafetensorError as error:
        raise IntegrityError(f"checkpoint {path}: not a checkpoint") from error


def sync_folder(folder: Path) -> None:
    """Make what was renamed, created or deleted in ``folder`` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
