"""Identities of a simulated run: an authority, a server, and one member a person.

In a deployment the authority's key is not the server's, and a device's key never leaves
it. A simulation makes all of them in one process, fresh for each run; no result depends
on them, since masks cancel.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from fedpref.core.entropy import OsEntropy
from fedpref.plan import PrivacyPlan
from fedpref.rounds.limits import limits_of
from fedpref.rounds.secure import Coordinator, Head
from fedpref.secagg import roster
from fedpref.secagg.crypto import SharedWork, Signer
from fedpref.secagg.member import Member
from fedpref.secagg.roster import Entry, Roster

LIFE_S = 30 * 24 * 3600
"""Seconds that rosters and rounds are good for."""


@dataclass(frozen=True, repr=False)
class Enrolled:
    """A coordinator, the members by device number, and the work that they share."""

    coordinator: Coordinator
    members: Mapping[int, Member]
    work: SharedWork


def task_of(name: str) -> bytes:
    """What devices pin of the run that they agreed to."""
    return sha256(name.encode()).digest()


def signed_roster(
    signers: Mapping[int, Signer], authority: Signer, *, now: int
) -> bytes:
    """These devices by number, each an organisation of its own."""
    listed = tuple(Entry(i, s.public, i) for i, s in signers.items())
    return roster.sign(Roster(listed, now + LIFE_S, most=1), authority)


def enrol(plan: PrivacyPlan, task: str, head: Callable[[], Head]) -> Enrolled:
    """Keys and a signed roster for everybody in ``plan``.

    Args:
        plan: The sealed plan, which every member agrees to.
        task: Name of the run.
        head: Reads the server's ledger.
    """
    entropy, work = OsEntropy(), SharedWork()
    now = int(time.time())
    authority = Signer.from_seed(entropy.key("authority"))
    server = Signer.from_seed(entropy.key("server"))
    signers = {
        number: Signer.from_seed(entropy.key("member"))
        for number in range(1, plan.spec.units + 1)
    }
    signed = signed_roster(signers, authority, now=now)
    verified = roster.verified(
        signed, authority=authority.public, server=server.public, now=now, work=work
    )
    digest = task_of(task)
    members = {
        number: Member(
            number,
            signer,
            verified,
            server.public,
            digest,
            plan.digest,
            partial(limits_of, plan),
        )
        for number, signer in signers.items()
    }
    coordinator = Coordinator(server, verified, digest, now + LIFE_S, head, work)
    return Enrolled(coordinator, members, work)
