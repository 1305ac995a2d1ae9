"""Unpacking a wheel writes the chosen members, inside the target, up to a cap."""

import stat
import zipfile

import pytest

from fedpref.data import _wheel
from fedpref.errors import IntegrityError

GOOD = {"p/a.txt": b"a" * 10, "p/q/b.txt": b"b" * 20, "other/c.txt": b"c" * 1000}


def test_only_the_chosen_members_are_written(make_wheel, tmp_path):
    target = tmp_path / "out"
    _wheel.unpack(make_wheel(GOOD), ("p/",), target, max_bytes=30)
    found = {
        p.relative_to(target).as_posix(): p.read_bytes()
        for p in target.rglob("*")
        if p.is_file()
    }
    assert found == {"p/a.txt": b"a" * 10, "p/q/b.txt": b"b" * 20}


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "p/../../x", "p\\..\\x", "C:/x", "p/..", "//x"]
)
def test_unsafe_paths_are_refused_even_where_not_needed(make_wheel, tmp_path, name):
    target = tmp_path / "deep" / "out"
    with pytest.raises(IntegrityError, match="not a safe path"):
        _wheel.unpack(make_wheel({**GOOD, name: b"x"}), ("p/",), target, max_bytes=1000)
    assert not target.exists()


def test_links_are_refused(tmp_path):
    path = tmp_path / "link.whl"
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("p/link")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(IntegrityError, match="not a safe path"):
        _wheel.unpack(path, ("p/",), tmp_path / "out", max_bytes=1000)


def test_two_members_of_one_name_are_refused(tmp_path):
    path = tmp_path / "twice.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p/a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("p/a", "2")
    with pytest.raises(IntegrityError, match="same name"):
        _wheel.unpack(path, ("p/",), tmp_path / "out", max_bytes=1000)


def test_the_size_cap_holds_before_anything_is_written(make_wheel, tmp_path):
    with pytest.raises(IntegrityError, match="30 bytes, more than 29"):
        _wheel.unpack(make_wheel(GOOD), ("p/",), tmp_path / "out", max_bytes=29)
    assert not (tmp_path / "out").exists()


def test_a_prefix_without_members_is_refused(make_wheel, tmp_path):
    with pytest.raises(IntegrityError, match="no member 'model/'"):
        _wheel.unpack(make_wheel(GOOD), ("p/", "model/"), tmp_path, max_bytes=1000)


@pytest.mark.parametrize("damage", ["not a zip", "flipped", "cut"])
def test_a_damaged_archive_is_refused(make_wheel, tmp_path, damage):
    path = make_wheel(GOOD)
    content = bytearray(path.read_bytes())
    if damage == "not a zip":
        content = b"hello"
    elif damage == "flipped":
        content[content.index(b"a" * 10)] ^= 1  # the stored checksum no longer fits
    else:
        content = content[: len(content) // 2]
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not a readable wheel"):
        _wheel.unpack(path, ("p/",), tmp_path / "out", max_bytes=1000)
