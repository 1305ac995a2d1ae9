"""Lies about who takes part: rosters, and cohorts that do not follow from them."""

from collections.abc import Iterator
from dataclasses import replace

from fedpref.secagg import roster, wire
from fedpref.secagg.crypto import Signer, Work
from fedpref.secagg.roster import Entry
from tests.lies.lie import Attempt, Change, refused, turned_down
from tests.lies.scenes import cohort, invitation, seven

AUTHORITY = Signer.from_seed(b"a" * 32)
ANY_SIGNATURE = Change(
    "fedpref/secagg/crypto.py",
    'raise MessageError(f"signature of {label.decode()} is not valid") from None',
    "return",
)


def enrol(data: bytes, authority: Signer = AUTHORITY) -> roster.Roster:
    """What a device does with a roster, once."""
    return roster.verified(
        data,
        authority=authority.public,
        server=seven().server.public,
        now=1_000,
        work=Work(),
    )


@refused(
    "enrolment",
    wins="as many identities as it likes",
    defence="the pinned authority's signature on the whole roster",
    needle="signature of roster is not valid",
    without=Change(
        "fedpref/secagg/roster.py",
        "    work.verify(authority, ROSTER, content, signature)\n",
        "",
    ),
)
def a_roster_signed_by_the_server() -> None:
    """A roster of its own making, signed with its own key."""
    told = seven()
    enrol(roster.sign(told.roster, AUTHORITY))
    data = roster.sign(told.roster, told.server)
    turned_down(lambda: enrol(data), "signature of roster is not valid")


@refused(
    "enrolment",
    wins="as many identities as it likes",
    defence="an authority that has the pinned server's key is refused",
    needle="the authority's key is the server's",
    without=Change(
        "fedpref/secagg/roster.py", "    if authority == server:", "    if False:"
    ),
)
def the_server_as_the_authority() -> None:
    """Its own key, given out as that of the roster authority."""
    told = seven()
    data = roster.sign(told.roster, told.server)
    turned_down(lambda: enrol(data, told.server), "the authority's key is the server's")


@refused(
    "enrolment",
    wins="one identity more than the authority knows",
    defence="the authority's signature covers every entry and their number",
    needle="signature of roster is not valid",
    without=ANY_SIGNATURE,
)
def an_entry_that_nobody_signed() -> None:
    """A signed roster with one more entry written into it."""
    told = seven()
    good = roster.sign(told.roster, AUTHORITY)
    more = replace(
        told.roster,
        entries=(*told.roster.entries, Entry(8, told.server.public, 8)),
    )
    data = more.content + good[-wire.SIGNATURE :]
    turned_down(lambda: enrol(data), "signature of roster is not valid")


@refused(
    "enrolment",
    wins="one device that counts as two honest ones",
    defence="numbers rise and keys differ",
    needle="a key is listed twice",
    without=Change(
        "fedpref/secagg/roster.py",
        "    if len({entry.key for entry in entries}) != len(entries):",
        "    if False:",
    ),
)
def one_device_under_two_numbers() -> None:
    """It has one key enrolled twice with a careless authority."""
    told = seven()
    entries = told.roster.entries
    twice = replace(told.roster, entries=(*entries, replace(entries[0], id=8)))
    data = roster.sign(twice, AUTHORITY)
    turned_down(lambda: enrol(data), "a key is listed twice")


@refused(
    "enrolment",
    wins="identities that the authority has taken off since",
    defence="a roster is good until its expiry, by the device's own clock",
    needle="ROSTER: expired, expiry = 900",
    without=Change(
        "fedpref/secagg/roster.py",
        "    roster.check_expiry(now)\n    numbers",
        "    numbers",
    ),
)
def an_expired_roster() -> None:
    """A roster that the authority signed, long ago."""
    old = replace(seven().roster, expiry=900)
    data = roster.sign(old, AUTHORITY)
    turned_down(lambda: enrol(data), "ROSTER: expired, expiry = 900")


@refused(
    "0",
    wins="identities that the authority has taken off since",
    defence="the roster's expiry is checked before anything new is answered",
    needle="ROSTER: expired, expiry = 2000",
    without=Change(
        "fedpref/secagg/client.py",
        "    around.member.roster.check_expiry(around.now)\n",
        "",
    ),
)
def a_round_after_the_roster_has_expired() -> Iterator[Attempt]:
    """Rounds on a roster whose time is over, at every leg."""
    for leg in range(5):
        told = seven()
        _, requests = told.reach(leg, expiry=9_000)
        late = {"now": 2_000}
        yield Attempt(told, 1, requests[1], around=late, truth=requests[1])


@refused(
    "0",
    wins="a cohort that another list of devices vouches for",
    defence="the descriptor names the roster that the device has verified",
    needle="roster is not the one agreed to",
    without=Change(
        "fedpref/secagg/admission.py",
        '        "roster": (descriptor.roster, member.roster.digest),\n',
        "",
    ),
)
def another_roster() -> Iterator[Attempt]:
    """A round on a roster that the device has not been shown."""
    told = seven()
    other = replace(told.roster, most=5).digest
    request = invitation(told, roster=other)
    yield Attempt(told, 1, request, truth=invitation(told))


@refused(
    "0",
    wins="a member whose keys it holds itself",
    defence="every number of the cohort is on the roster",
    needle="device 99 is not on the roster",
    without=Change(
        "fedpref/secagg/roster.py",
        "        for member in cohort:\n            self.key(member)\n",
        "        cohort = [member for member in cohort if member in self.by_id]\n",
    ),
)
def a_stranger_in_the_cohort() -> Iterator[Attempt]:
    """A number in the cohort that no roster has."""
    told = cohort(7, t=5, min_survivors=5)
    request = invitation(told, cohort=(*told.ids, 99))
    yield Attempt(told, 1, request, truth=invitation(told))


@refused(
    "0",
    wins="more colluders than the noise is sized for",
    defence="no organisation has more than its most in a cohort",
    needle="organisation 1 has 3 members in it, must be <= 2",
    without=Change(
        "fedpref/secagg/roster.py", "        if size > self.most:", "        if False:"
    ),
    colluders=True,
)
def sybils_of_one_organisation() -> Iterator[Attempt]:
    """A cohort with more devices of a friendly organisation than one may send."""
    told = cohort(6, most=2, t=4, min_survivors=4)
    entries = tuple(
        replace(e, organisation=1 if e.id > 3 else 10 + e.id)
        for e in told.roster.entries
    )
    told.roster = replace(told.roster, entries=entries)
    few = invitation(told, cohort=(1, 2, 3, 4, 5))
    yield Attempt(told, 1, invitation(told), truth=few)
