import os

import numpy as np
import pytest

from fedpref.errors import IntegrityError, OutputError
from fedpref.store import checkpoints
from fedpref.store.checkpoints import load_checkpoint, save_checkpoint, write_atomic

TENSORS = {"model": np.arange(5.0), "counts": np.array([1, 2], np.int64)}


def test_what_was_saved_is_loaded(tmp_path) -> None:
    save_checkpoint(tmp_path / "state", TENSORS)
    loaded = load_checkpoint(tmp_path / "state")
    assert {k: v.tolist() for k, v in loaded.items()} == {
        k: v.tolist() for k, v in TENSORS.items()
    }


@pytest.mark.parametrize("cut", [0, 10, 32, 60, -1])
def test_a_cut_checkpoint_is_refused(tmp_path, cut) -> None:
    path = tmp_path / "state"
    save_checkpoint(path, TENSORS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(IntegrityError, match="state"):
        load_checkpoint(path)


def test_a_flipped_bit_anywhere_is_refused(tmp_path) -> None:
    path = tmp_path / "state"
    save_checkpoint(path, TENSORS)
    good = path.read_bytes()
    for offset in range(0, len(good), 7):
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 4]) + good[offset + 1 :])
        with pytest.raises(IntegrityError, match="does not match"):
            load_checkpoint(path)


def test_a_missing_checkpoint_is_refused(tmp_path) -> None:
    with pytest.raises(IntegrityError, match="No such file"):
        load_checkpoint(tmp_path / "state")


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    with pytest.raises(OutputError, match="--out"):
        write_atomic(tmp_path / "missing" / "file", b"")
