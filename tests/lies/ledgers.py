"""Lies in leg 0, about the server's ledger."""

from collections.abc import Iterator

from fedpref.core.device import DeviceBook
from fedpref.secagg.admission import follow
from fedpref.secagg.member import Device
from tests.lies.invitation import ADMISSION
from tests.lies.lie import Attempt, Change, refused
from tests.lies.scenes import VICTIM, hashes, invitation, seven

ROWS = hashes(6)


def head(count: int) -> bytes:
    """The head after so many rows."""
    return follow(bytes(32), ROWS[:count])


def at_row_4():
    """The victim has seen four rows of the server's ledger."""
    told = seven()
    told.devices[VICTIM] = Device(DeviceBook(9), 4, head(4))
    truth = invitation(told, 4, ROWS[4:], ledger_seq=6, ledger_head=head(6))
    return told, truth


@refused(
    "0",
    wins="a past in which it has released less",
    defence="the head is recomputed row by row from the one that the device has seen",
    needle="does not extend what this device has seen",
    without=Change(
        ADMISSION,
        "    if known > len(opening.row_hashes) or head != descriptor.ledger_head:",
        "    if known > len(opening.row_hashes):",
    ),
)
def a_fork_of_the_ledger() -> Iterator[Attempt]:
    """Another ledger with more rows: one row changed, left out, or in other order."""
    told, truth = at_row_4()
    other = [*ROWS[:3], bytes(32), *ROWS[4:]]
    forked = follow(bytes(32), other)
    for since, rows, top in (
        (0, other, forked),
        (4, other[4:], forked),
        (4, ROWS[:3:-1], head(6)),
        (4, ROWS[4:], head(5)),
    ):
        request = invitation(told, since, rows, ledger_seq=6, ledger_head=top)
        yield Attempt(told, VICTIM, request, truth=truth)


@refused(
    "0",
    wins="budget that was spent",
    defence="the ledger never gets shorter than a device has seen it",
    needle="does not extend what this device has seen",
    without=Change(
        ADMISSION,
        "    if known > len(opening.row_hashes) or head != descriptor.ledger_head:",
        "    if not known and head != descriptor.ledger_head:",
    ),
)
def a_ledger_rolled_back() -> Iterator[Attempt]:
    """An older copy of the ledger, with its rows, without them, or under a new head."""
    told, truth = at_row_4()
    for since, rows, top in (
        (0, ROWS[:3], head(3)),
        (3, (), head(3)),
        (3, (), head(4)),
    ):
        request = invitation(told, since, rows, ledger_seq=3, ledger_head=top)
        yield Attempt(told, VICTIM, request, truth=truth)


@refused(
    "0",
    wins="rows that no device has seen",
    defence="the rows that are shown reach to the signed number",
    needle="of the ledger were sent, must reach from 4 to",
    without=Change(
        ADMISSION,
        "    if known < 0 or reached != descriptor.ledger_seq:",
        "    if known < 0:",
    ),
)
def ledger_rows_withheld() -> Iterator[Attempt]:
    """A number of rows other than that of the rows that were sent."""
    told, truth = at_row_4()
    for rows, seq, top in (
        (ROWS[4:5], 6, head(5)),
        (ROWS[4:], 5, head(6)),
        ((), 6, head(6)),
    ):
        request = invitation(told, 4, rows, ledger_seq=seq, ledger_head=top)
        yield Attempt(told, VICTIM, request, truth=truth)
