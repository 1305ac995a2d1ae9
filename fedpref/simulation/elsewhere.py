"""Devices that are other processes: keys issued beforehand, and the road to them.

For trials on one machine. ``issue`` makes everybody's keys in one place; in a
deployment a device makes its own and an authority, which is not the server, signs the
roster.

    server.key     the server's signing key        authority.pub  who signed the roster
    server.pub     what devices pin                device-N.key   of device N, one each
    roster.bin     the signed roster

Guarantees: a server or a device that is made from the folder has checked the roster; a
key's file is readable by its owner only. Does not give: keys that never met.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedpref.core.entropy import OsEntropy
from fedpref.errors import SetupError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.limits import limits_of
from fedpref.rounds.secure import Coordinator, Head
from fedpref.rounds.server import Send
from fedpref.secagg import roster
from fedpref.secagg.crypto import Signer, Work
from fedpref.secagg.member import Member
from fedpref.secagg.roster import Roster
from fedpref.simulation.enrolment import LIFE_S, signed_roster, task_of
from fedpref.transport.in_process import Endpoint

_KEY = 32


@dataclass(frozen=True, repr=False)
class Elsewhere:
    """A road to devices that nobody simulates here.

    Args:
        reach: Runs rounds with a way to send requests.
        identities: Folder that :func:`issue` wrote.
    """

    reach: Callable[[Callable[[Send], None]], None]
    identities: Path

    def __call__(
        self, endpoints: Mapping[int, Endpoint], drive: Callable[[Send], None]
    ) -> None:
        """Run ``drive``; there are no endpoints in this process."""
        assert not endpoints
        self.reach(drive)

    def coordinator(
        self, plan: PrivacyPlan, task: str, head: Callable[[], Head]
    ) -> Coordinator:
        """The server, as its devices know it.

        Raises:
            SetupError: A file is missing or is not what it should be.
            MessageError: The roster does not verify.
        """
        work = Work()
        listed = _roster(self.identities, work)
        if len(listed.entries) != plan.spec.units:
            raise SetupError(
                f"{self.identities}: {len(listed.entries)} devices on the roster, must "
                f"be {plan.spec.units}, one a person; issue keys for as many"
            )
        signer = Signer.from_seed(_read(self.identities / "server.key"))
        if signer.public != _read(self.identities / "server.pub"):
            raise SetupError(
                f"{self.identities}: server.key is not that of server.pub, which "
                "devices pin; they would refuse every round, issue keys anew"
            )
        expiry = int(time.time()) + LIFE_S
        return Coordinator(signer, listed, task_of(task), expiry, head, work)


def issue(folder: Path, people: int) -> None:
    """Fresh keys for a server and ``people`` devices, and their signed roster.

    Raises:
        SetupError: The folder exists already, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        raise SetupError(f"{folder}: exists; name a new folder") from None
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror}; name another folder") from None
    entropy = OsEntropy()
    server, authority = entropy.key("server"), entropy.key("authority")
    keys = {number: entropy.key("member") for number in range(1, people + 1)}
    for name, seed in {
        "server": server,
        **{f"device-{number}": key for number, key in keys.items()},
    }.items():
        opener = partial(os.open, mode=0o600)
        with open(folder / f"{name}.key", "xb", opener=opener) as file:
            file.write(seed)
    signers = {number: Signer.from_seed(key) for number, key in keys.items()}
    signer = Signer.from_seed(authority)
    signed = signed_roster(signers, signer, now=int(time.time()))
    (folder / "roster.bin").write_bytes(signed)
    (folder / "authority.pub").write_bytes(signer.public)
    (folder / "server.pub").write_bytes(Signer.from_seed(server).public)


def member(folder: Path, number: int, plan: PrivacyPlan, task: str) -> Member:
    """Device ``number`` with its key, its pins, and what it insists on.

    Raises:
        SetupError: A file is missing or is not what it should be.
        MessageError: The roster does not verify.
    """
    return Member(
        number,
        Signer.from_seed(_read(folder / f"device-{number}.key")),
        _roster(folder, Work()),
        _read(folder / "server.pub"),
        task_of(task),
        plan.digest,
        partial(limits_of, plan),
    )


def _roster(folder: Path, work: Work) -> Roster:
    return roster.verified(
        _bytes(folder / "roster.bin"),
        authority=_read(folder / "authority.pub"),
        server=_read(folder / "server.pub"),
        now=int(time.time()),
        work=work,
    )


def _read(path: Path) -> bytes:
    found = _bytes(path)
    if len(found) != _KEY:
        raise SetupError(f"{path}: {len(found)} bytes, must be {_KEY}; issue keys anew")
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; issue keys first") from None
