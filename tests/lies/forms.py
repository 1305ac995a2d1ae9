"""Lies in the form of a message: bits changed in every field, too short, too long."""

from collections.abc import Iterator

from fedpref.errors import FedprefError, IntegrityError
from fedpref.secagg.admission import follow
from fedpref.secagg.wire import HEADER
from tests.lies.certificates import ANY_VOTE, certificate
from tests.lies.deliveries import deals
from tests.lies.enrolment import ANY_SIGNATURE
from tests.lies.invitation import ANY_END, CLIENT
from tests.lies.lie import Attempt, Change, refused
from tests.lies.scenes import VICTIM, buried, flip, hashes, invitation, left_out, seven
from tests.lies.views import at_leg_4

INVITATION = {
    "magic": (0, "not a fedpref message"),
    "version": (2, "not a fedpref message"),
    "kind": (3, "kind = .* is unknown|no round is open"),
    "round id": (4, "round id is not that"),
    "task": (36, "round id is not that"),
    "model's digest": (68, "round id is not that"),
    "plan": (100, "round id is not that"),
    "roster": (132, "round id is not that"),
    "server's key": (164, "round id is not that"),
    "round": (196, "round id is not that|must be >= 1"),
    "ledger": (200, "round id is not that"),
    "ledger head": (208, "round id is not that"),
    "expiry": (240, "round id is not that"),
    "threshold": (248, "cannot be summed|round id is not that"),
    "min_survivors": (252, "cannot be summed|round id is not that"),
    "colluders": (256, "cannot be summed|round id is not that"),
    "coordinates": (260, "too few|too many|does not fit|cannot be summed"),
    "word_bits": (264, "cannot be summed|round id is not that"),
    "neighbours": (265, "cannot be summed|round id is not that"),
    "cohort": (269, "must rise|too few|start at 1|round id|many|fit|cannot"),
    "signature": (301, "signature of descriptor"),
    "model": (365, "model is not the one|not finite"),
    "since": (405, "rows .* of the ledger"),
    "number of rows": (413, "does not fit|too few|too many"),
    "row": (417, "does not extend"),
}


@refused(
    "0",
    wins="whatever the changed field says",
    defence="one byte form, a round id over all of it, a signature, the model's digest",
    needle="",
    error=IntegrityError,
    without=ANY_SIGNATURE,
)
def bits_of_the_invitation() -> Iterator[Attempt]:
    """One bit changed, in each field of the invitation."""
    told = seven()
    rows = hashes(1)
    head = follow(bytes(32), rows)
    request = invitation(told, 0, rows, ledger_seq=1, ledger_head=head)
    assert len(request) == 417 + 32
    for start, needle in INVITATION.values():
        for bit in (8 * start, 8 * start + 6):
            yield Attempt(told, 1, flip(request, bit), needle, truth=request)


@refused(
    "0",
    wins="a message that two readers read in two ways",
    defence="lengths are fixed by what was read before, and nothing may be left over",
    needle="bytes too many|too few|does not fit",
    without=ANY_END,
)
def invitations_cut_or_lengthened() -> Iterator[Attempt]:
    """An invitation that is too short or too long, in its header, body or model."""
    told = seven()
    good = invitation(told)
    cut = [good[:size] for size in (37, 200, 300, 330, len(good) - 1)]
    for request in (*cut, good + b"\0", good + good):
        yield Attempt(told, 1, request, truth=good)
    yield Attempt(told, 1, good[: HEADER.size - 1], "must be >= 36", truth=good)


ADVERTS = {
    "magic": (0, "not a fedpref message"),
    "version": (2, "not a fedpref message"),
    "round id": (4, "belongs to another round|no round is open"),
    "how many": (36, "does not fit|too few|many|advert|own entry|must rise"),
    "number": (40, "must rise|not in the cohort|signature of advert"),
    "sealing key": (44, "signature of advert"),
    "mask key": (76, "signature of advert"),
    "commitment": (108, "signature of advert"),
    "tombstone": (140, "signature of advert"),
    "how many drawn": (236, "too few|must rise|start at|many|fit|signature"),
    "signature": (240, "signature of advert"),
}


@refused(
    "1",
    wins="whatever the changed field says",
    defence="every field of an advert is under its signature, or gives its length",
    needle="",
    error=IntegrityError,
    without=ANY_SIGNATURE,
)
def bits_of_the_adverts() -> Iterator[Attempt]:
    """One bit changed, in each field of the first two adverts."""
    told = seven()
    _, requests = told.reach(1)
    good, size = requests[VICTIM], (len(requests[VICTIM]) - 40) // 7
    for start, needle in ADVERTS.values():
        for entry in (size, 0) if start >= 40 else (0,):
            for bit in (8 * (start + entry), 8 * (start + entry) + 5):
                yield Attempt(told, VICTIM, flip(good, bit), needle, truth=good)


@refused(
    "1",
    wins="a message that two readers read in two ways",
    defence="lengths are fixed by what was read before, and nothing may be left over",
    needle="bytes too many|too few|does not fit",
    without=ANY_END,
)
def adverts_cut_or_lengthened() -> Iterator[Attempt]:
    """A list of adverts that is too short or too long, or says that it is longer."""
    told = seven()
    _, requests = told.reach(1)
    good = requests[VICTIM]
    longer = good[:36] + (8).to_bytes(4, "little") + good[40:]
    endless = good[:36] + b"\xff" * 4 + good[40:]
    for request in (good + b"\0", good[:-1], good[:-64], longer, endless, good[:39]):
        yield Attempt(told, VICTIM, request, truth=good)


DELIVERY = {
    "magic": (0, "not a fedpref message"),
    "version": (2, "not a fedpref message"),
    "kind": (3, "kind = .* is unknown|no round is open|too few|too many|rise"),
    "round id": (4, "another round|no round is open"),
    "how many dealers": (36, "must rise|too few|too many|does not fit|dealers"),
    "dealer": (40, "must rise|start at 1|dealers|not advertised"),
    "how many parcels": (68, "does not fit|too few|too many|must rise"),
    "steps": (72 + 248, "does not fit|too few|too many|must rise"),
}


@refused(
    "2",
    wins="whatever the changed field says",
    defence="lists rise and fit; what they name has advertised",
    needle="",
    error=IntegrityError,
    without=Change(
        "fedpref/secagg/wire.py",
        "    if magic != MAGIC or version != VERSION:",
        "    if magic != MAGIC:",
    ),
)
def bits_of_the_delivery() -> Iterator[Attempt]:
    """One bit changed, in each field of a delivery that is not inside a parcel."""
    told = seven()
    good, _, _ = deals(told)
    for start, needle in DELIVERY.values():
        for bit in (8 * start, 8 * start + 1):
            yield Attempt(told, VICTIM, flip(good, bit), needle, truth=good)


@refused(
    "2",
    wins="a message that two readers read in two ways",
    defence="lengths are fixed by what was read before, and nothing may be left over",
    needle="bytes too many|too few|does not fit|must rise|dealers",
    without=ANY_END,
)
def deliveries_cut_or_lengthened() -> Iterator[Attempt]:
    """A delivery that is too short or too long, or says that it is longer."""
    told = seven()
    good, _, _ = deals(told)
    endless = good[:68] + b"\xff" * 4 + good[72:]
    for request in (good + b"\0", good[:-1], good[:-32], endless, good[:60]):
        yield Attempt(told, VICTIM, request, truth=good)


@refused(
    "3",
    wins="whatever the changed field says",
    defence="one byte form; numbers rise and are those of dealers",
    needle="",
    error=IntegrityError,
    without=Change(
        CLIENT,
        "    if member.id not in survivors or not set(session.dealers) >= "
        "set(survivors):",
        "    if member.id not in survivors:",
    ),
)
def bits_of_the_survivors() -> Iterator[Attempt]:
    """One bit changed, in each field of a list of survivors."""
    told = seven()
    _, requests = told.reach(3)
    good = requests[VICTIM]
    for start, needle in {
        0: "not a fedpref message",
        2: "not a fedpref message",
        4: "belongs to another round|no round is open",
        36: "too few|too many",
        40: "start at 1|must rise",
        64: "must rise|dealers only",
    }.items():
        for bit in (8 * start, 8 * start + 3):
            yield Attempt(told, VICTIM, flip(good, bit), needle, truth=good)


@refused(
    "3",
    wins="a message that two readers read in two ways",
    defence="lengths are fixed by what was read before, and nothing may be left over",
    needle="bytes too many|too few",
    without=ANY_END,
)
def survivors_cut_or_lengthened() -> Iterator[Attempt]:
    """A list of survivors that is too short or too long."""
    told = seven()
    _, requests = told.reach(3)
    good = requests[VICTIM]
    endless = good[:36] + b"\xff" * 4 + good[40:]
    for request in (good + b"\0", good[:-1], good[:-4], endless, good[:38]):
        yield Attempt(told, VICTIM, request, truth=good)


AGREEMENTS = {
    "magic": (0, "not a fedpref message"),
    "round id": (4, "another round|no round is open"),
    "adverts": (36, "not the list"),
    "dealers": (68, "not the list"),
    "how many survivors": (
        100,
        "must rise|too few|too many|not the list|does not fit|start",
    ),
    "survivor": (104, "must rise|start at 1|not the list"),
    "how many signatures": (124, "does not fit|too few|too many"),
    "signer": (128, "must rise|4 signatures|not valid"),
    "signature": (132, "signature of view"),
}


@refused(
    "4",
    wins="whatever the changed field says",
    defence="the view is compared as a whole, and every signature that counts checked",
    needle="",
    error=FedprefError,
    without=ANY_SIGNATURE,
)
def bits_of_the_agreements() -> Iterator[Attempt]:
    """One bit changed, in each field of the request for shares."""
    told, _, good = at_leg_4()
    for start, needle in AGREEMENTS.values():
        for bit in (8 * start, 8 * start + 1):
            yield Attempt(told, VICTIM, flip(good, bit), needle, truth=good)


@refused(
    "4",
    wins="a message that two readers read in two ways",
    defence="lengths are fixed by what was read before, and nothing may be left over",
    needle="bytes too many|too few|does not fit",
    without=ANY_END,
)
def agreements_cut_or_lengthened() -> Iterator[Attempt]:
    """A request for shares that is too short or too long."""
    told, _, good = at_leg_4()
    endless = good[:124] + b"\xff" * 4 + good[128:]
    for request in (good + b"\0", good[:-1], good[:-68], endless, good[:90]):
        yield Attempt(told, VICTIM, request, truth=good)


@refused(
    "later",
    wins="whatever the changed field says",
    defence="numbers rise, and every tombstone that counts is verified",
    needle="",
    error=IntegrityError,
    without=ANY_VOTE,
)
def bits_of_the_tombstones() -> Iterator[Attempt]:
    """One bit changed, in each field of a certificate of tombstones."""
    told = seven()
    good = buried(told, left_out(told, VICTIM).descriptor.rid, (2, 3, 4, 5))
    for start, needle in {
        0: "not a fedpref message",
        4: "no spent round is open",
        36: "does not fit|too few|too many",
        40: "must rise|3 signatures|signature of tombstone",
        44: "signature of tombstone",
    }.items():
        for bit in (8 * start, 8 * start + 1):
            yield Attempt(told, VICTIM, flip(good, bit), needle, truth=good)


@refused(
    "later",
    wins="a message that two readers read in two ways",
    defence="lengths are fixed by what was read before, and nothing may be left over",
    needle="bytes too many|too few|does not fit",
    without=ANY_END,
)
def certificates_cut_or_lengthened() -> Iterator[Attempt]:
    """Certificates of both kinds that are too short or too long."""
    told = seven()
    state = left_out(told, VICTIM)
    for good in (
        certificate(told, state),
        buried(told, state.descriptor.rid, (2, 3, 4, 5)),
    ):
        for request in (good + b"\0", good[:-1], good[:-68]):
            yield Attempt(told, VICTIM, request, truth=good)


@refused(
    "whole round",
    wins="the memory of a device, with one message",
    defence="no message is read that is longer than the terms allow",
    needle="bytes, must be <= ",
    without=(
        Change(CLIENT, "    check_request(request, kind, state, around.member)\n", ""),
        ANY_END,
    ),
)
def more_bytes_than_there_can_be() -> Iterator[Attempt]:
    """Requests of every leg with a megabyte of zeros behind them."""
    for leg in range(5):
        told = seven()
        _, requests = told.reach(leg)
        good = requests[VICTIM]
        size = 2**20 if leg else 2**25 + 2**16  # an invitation may bring rows
        yield Attempt(told, VICTIM, good + bytes(size), truth=good)
