"""Lies in legs 3 and 4: who is in the sum, and which shares open it."""

from collections.abc import Iterator
from dataclasses import replace

from fedpref.secagg import legs
from fedpref.secagg.wire import Kind
from tests.lies.enrolment import ANY_SIGNATURE
from tests.lies.invitation import BOOK, CLIENT
from tests.lies.keys import CHECKS, SECOND_ANSWER
from tests.lies.lie import Attempt, Change, gained, harmless, refused
from tests.lies.scenes import FRIEND, VICTIM, seven, survivors

SECOND_VIEW = Change(BOOK, '    _once(entry.view, view, "list of survivors")\n', "")


def at_leg_4(**change):
    """1 to 5 have signed the list of themselves; 6 dealt and 7 only advertised."""
    told = seven(**({"colluders": 0} | change))
    state, requests = told.reach(4, silent={1: [7], 2: [6]})
    assert state.survivors == (1, 2, 3, 4, 5)
    return told, state, requests[VICTIM]


@refused(
    "3",
    wins="a signature under a list on which the victim's share is of its mask key",
    defence="a device signs only lists that it is on",
    needle="SURVIVORS: must include this device, and dealers only",
    without=Change(
        CLIENT,
        "    if member.id not in survivors or not set(session.dealers) >= "
        "set(survivors):",
        "    if not set(session.dealers) >= set(survivors):",
    ),
)
def a_list_without_its_signer() -> Iterator[Attempt]:
    """A list that lacks the device that is to sign it."""
    told = seven()
    state, requests = told.reach(3)
    request = survivors(state, 2, 3, 4, 5, 6, 7)
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "3",
    wins="a list padded with devices that uploaded nothing",
    defence="survivors are among the dealers that the device masked for",
    needle="SURVIVORS: must include this device, and dealers only",
    without=Change(
        CLIENT,
        "    if member.id not in survivors or not set(session.dealers) >= "
        "set(survivors):",
        "    if member.id not in survivors:",
    ),
)
def a_list_with_others_than_dealers() -> Iterator[Attempt]:
    """A list with a device that has not dealt, or that nobody knows."""
    told = seven()
    state, requests = told.reach(3, silent={1: [FRIEND]})
    for more in (FRIEND, 99):
        request = survivors(state, 1, 2, 3, 4, 5, 6, more)
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "3",
    wins="a sum of one honest contribution and its friends' noise",
    defence="a device signs no list of fewer than min_survivors",
    needle="SURVIVORS: [1-5], must be >= 6",
    without=Change(
        CLIENT,
        "    if len(survivors) < session.terms.min_survivors:\n        raise "
        'MessageError(\n            f"SURVIVORS',
        '    if False:\n        raise MessageError(\n            f"SURVIVORS',
    ),
    colluders=True,
)
def selective_drops_around_one_device() -> Iterator[Attempt]:
    """The uploads of all but the victim, or but t of them, counted as lost."""
    told = seven(min_survivors=6)
    state, requests = told.reach(3)
    for few in ((1, FRIEND), (1,), (1, 2, 3, 4, 5), (1, 2, 3, FRIEND)):
        request = survivors(state, *few)
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "3",
    wins="signatures of one device on two lists",
    defence="one list a round, kept before it is signed; the ledger keeps it too",
    needle="SURVIVORS: another one was answered in this round",
    without=(SECOND_ANSWER, SECOND_VIEW),
)
def a_second_list_of_survivors() -> Iterator[Attempt]:
    """Another list, after the device has signed one."""
    told = seven()
    state, requests = told.reach(4)
    rid = state.descriptor.rid

    def spoils(reply, after):
        first = told.devices[VICTIM].session.replies[Kind.SURVIVORS][1]
        two = {legs.decode_agreement(r, rid) for r in (first, reply)}
        assert len(two) == 2

    request = survivors(state, 1, 2, 3, 4, 5)
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM], spoils=spoils)


@refused(
    "3",
    wins="a signature on a sum in which the device has no upload",
    defence="a list is signed after the upload it names, and not before",
    needle="SURVIVORS: must include this device, and dealers only",
    without=(
        Change(
            CLIENT,
            "    if member.id not in survivors or not set(session.dealers) >= "
            "set(survivors):",
            "    if member.id not in survivors:",
        ),
        Change(
            BOOK,
            "    if entry.upload is None:\n        raise IntegrityError("
            '"device ledger: nothing was uploaded',
            "    if False:\n        raise IntegrityError("
            '"device ledger: nothing was uploaded',
        ),
    ),
)
def survivors_before_the_upload() -> Iterator[Attempt]:
    """The request of leg 3 to a device that is still at leg 2."""
    told = seven()
    state, requests = told.reach(2)
    request = survivors(state, *told.ids)
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "4",
    wins="shares for a list that a minority knows of",
    defence="t signatures on the very list that the device has signed",
    needle="AGREEMENTS: [0-4] signatures, must be >= 5",
    without=Change(
        CHECKS,
        '    if valid < wanted:\n        raise MessageError(f"AGREEMENTS',
        '    if False:\n        raise MessageError(f"AGREEMENTS',
    ),
)
def too_few_signatures() -> Iterator[Attempt]:
    """t - 1 signatures, one, or none."""
    told, state, good = at_leg_4()
    for some in ((1, 2, 3, 4), (1,), ()):
        yield Attempt(told, VICTIM, told.agreements(state, some), truth=good)


@refused(
    "4",
    wins="shares with the help of friends whose contribution is not in the sum",
    defence="only survivors' signatures count",
    needle="AGREEMENTS: 4 signatures, must be >= 5",
    without=Change(CHECKS, "        if voter in voters and valid", "        if valid"),
    colluders=True,
)
def signatures_of_others_than_survivors() -> Iterator[Attempt]:
    """t signatures, one of them of a device that dropped out."""
    told, state, good = at_leg_4()
    for more in (6, 7):
        request = told.agreements(state, (1, 2, 3, 4, more))
        yield Attempt(told, VICTIM, request, truth=good)


@refused(
    "4",
    wins="both kinds of share of one device, from two groups",
    defence="one signature a device, t of them on a list, and 2 t > n + C",
    needle="AGREEMENTS: [34] signatures, must be >= 5|not the list of survivors",
    without=Change(
        CHECKS,
        '    if valid < wanted:\n        raise MessageError(f"AGREEMENTS',
        '    if False:\n        raise MessageError(f"AGREEMENTS',
    ),
    colluders=True,
)
def two_groups_with_two_lists() -> Iterator[Attempt]:
    """One list for three devices, another for the three others; a friend signs both."""
    told = seven()
    state, _ = told.reach(3)
    lists = {told.ids: (1, 2, 3), told.ids[1:]: (4, 5, 6)}
    for shown, group in lists.items():
        for i in group:
            told.accepts(i, survivors(state, *shown))
    for shown, group in lists.items():
        view = replace(state.view, survivors=shown)
        for signers in (group, (*group, FRIEND)):
            request = told.agreements(state, signers, view)
            for i in range(1, FRIEND):
                if i in group or i != VICTIM:  # to the victim it is a certificate
                    yield Attempt(told, i, request)


@refused(
    "4",
    wins="shares of the victim for a list that it has not seen",
    defence="the list is the one that the device has signed",
    needle="AGREEMENTS: not the list of survivors signed here",
    without=Change(
        CLIENT,
        "    if session.view is None or agreements.view != session.view:",
        "    if session.view is None:",
    ),
)
def agreements_on_a_list_not_signed_here() -> Iterator[Attempt]:
    """The others have signed another list, with the victim on it, and t of them."""
    told = seven()
    state, _ = told.reach(3)
    told.accepts(VICTIM, survivors(state, 1, 2, 3, 4, 5, 6))
    for i in range(2, 8):
        told.accepts(i, survivors(state, *told.ids))
    request = told.agreements(replace(state, survivors=told.ids), told.ids[1:])
    yield Attempt(told, VICTIM, request)


@refused(
    "4",
    wins="shares for other keys or dealers under an old list of survivors",
    defence="a signature is on adverts, dealers and survivors together",
    needle="signature of view is not valid",
    without=ANY_SIGNATURE,
)
def signatures_on_another_view() -> Iterator[Attempt]:
    """t signatures, but on other adverts, other dealers, or another list."""
    told, state, good = at_leg_4()
    view = state.view
    for other in (
        replace(view, adverts=bytes(32)),
        replace(view, dealers=bytes(32)),
        replace(view, survivors=(1, 2, 3, 4)),
        replace(view, survivors=(1, 2, 3, 4, 5, 6)),
    ):
        request = told.agreements(state, (1, 2, 3, 4, 5), view, signed=other)
        yield Attempt(told, VICTIM, request, truth=good)


@refused(
    "4",
    wins="shares of a device that has not said which list it has seen",
    defence="nothing is released before a list is signed, nor noted in the ledger",
    needle="AGREEMENTS: not the list of survivors signed here",
    without=(
        Change(
            CLIENT,
            "    if session.view is None or agreements.view != session.view:",
            "    session = replace(session, view=agreements.view)\n    if False:",
        ),
        Change(BOOK, "    if entry.view is None:", "    if False:"),
    ),
)
def leg_4_before_leg_3() -> Iterator[Attempt]:
    """The request for shares, to a device that has signed no list."""
    told = seven()
    state, requests = told.reach(3)
    state = replace(state, survivors=told.ids)
    request = told.agreements(state, told.ids)
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@harmless(
    "4",
    wins="both kinds of share of a dealer, which open its contribution",
    defence="of a survivor the share of its seed, of another dealer that of its key",
    because="of every dealer exactly one of the two shares is in the reply",
    without=Change(
        CLIENT,
        "        (dealer, secrets.shares[dealer][0 if dealer in survivors else 1])\n"
        "        for dealer in session.dealers\n",
        "        (dealer, share)\n"
        "        for dealer in session.dealers\n"
        "        for share in secrets.shares[dealer]\n",
    ),
)
def both_kinds_of_share() -> None:
    """A device that is on the list and has dropped out, both at once."""
    told, state, good = at_leg_4()
    held = told.devices[VICTIM].session.secrets.shares
    reply = told.accepts(VICTIM, good)
    for dealer, pair in held.items():
        there = [share in reply for share in pair]
        gained(all(there), f"both shares of device {dealer}")
        assert there == [dealer in state.survivors, dealer not in state.survivors]
    assert told.devices[VICTIM].session.secrets is None


@refused(
    "4",
    wins="the other kind of share, for another list",
    defence="each kind of request is answered once; the keys are gone; the ledger",
    needle="AGREEMENTS: another one was answered in this round",
    without=(
        SECOND_ANSWER,
        Change(
            CLIENT,
            "    closed = replace(session, secrets=None)",
            "    closed = session",
        ),
        Change(
            CLIENT,
            "    if session.view is None or agreements.view != session.view:",
            "    session = replace(session, view=agreements.view)\n    if False:",
        ),
        Change(BOOK, '    _once(entry.release, choice, "set of shares")\n', ""),
    ),
    colluders=True,
)
def shares_for_a_second_list() -> Iterator[Attempt]:
    """Leg 4 again with another list, which t devices are supposed to have signed."""
    told, state, good = at_leg_4()
    first = dict(legs.decode_reveal(told.accepts(VICTIM, good), good[4:36]).shares)
    view = replace(state.view, survivors=(1, 2, 3, 4, 5, 6))

    def spoils(reply, after):
        second = dict(legs.decode_reveal(reply, good[4:36]).shares)
        assert first[6] != second[6]

    request = told.agreements(state, (1, 2, 3, 4, 5), view)
    yield Attempt(told, VICTIM, request, truth=good, spoils=spoils)
