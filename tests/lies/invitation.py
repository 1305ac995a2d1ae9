"""Lies in leg 0, about who asks for what: the descriptor and its model."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fedpref.errors import BudgetError
from fedpref.secagg.crypto import Signer
from fedpref.secagg.legs import Opening
from tests.lies.enrolment import ANY_SIGNATURE
from tests.lies.lie import Attempt, Change, refused
from tests.lies.scenes import invitation, seven

ADMISSION = "fedpref/secagg/admission.py"
CLIENT = "fedpref/secagg/client.py"
READER = "fedpref/secagg/wire.py"
BOOK = "fedpref/core/device.py"
ANY_NUMBER = (
    Change(ADMISSION, "    if descriptor.round <= state.book.last:", "    if False:"),
    Change(BOOK, "    if number <= book.last:", "    if False:"),
)
ANY_END = Change(READER, "if self._offset != len(self._data):", "if False:")


@refused(
    "0",
    wins="rounds in the name of a server that the owner knows",
    defence="the pinned server's signature on the descriptor",
    needle="signature of descriptor is not valid",
    without=Change(
        ADMISSION,
        "    work.verify(member.server, DESCRIPTOR, descriptor.content, "
        "opening.signature)\n",
        "",
    ),
)
def a_round_of_another_server() -> Iterator[Attempt]:
    """A descriptor under the known server's name, signed by another one."""
    told = seven()
    request = invitation(told, signer=Signer.from_seed(b"x" * 32))
    yield Attempt(told, 1, request, truth=invitation(told))


@refused(
    "0",
    wins="terms that it never has to answer for",
    defence="the signature covers every field of the descriptor",
    needle="signature of descriptor is not valid",
    without=ANY_SIGNATURE,
)
def terms_changed_after_signing() -> Iterator[Attempt]:
    """A longer time, a higher number or a smaller cohort under an old signature."""
    told = seven()
    good = Opening.decode(invitation(told))
    for change in ({"expiry": 1_999}, {"round": 2}, {"cohort": (1, 2, 3, 4, 5, 6)}):
        other = replace(good, descriptor=replace(good.descriptor, **change))
        yield Attempt(told, 1, other.encode(), truth=good.encode())


@refused(
    "0",
    wins="a round that devices and certificates know by different names",
    defence="the round id is recomputed from the descriptor",
    needle="the round id is not that of its content",
    without=Change(
        "fedpref/secagg/legs.py",
        "        if data[4 : wire.HEADER.size] != descriptor.rid:",
        "        if False:",
    ),
)
def a_round_under_another_id() -> Iterator[Attempt]:
    """A good invitation with the id of some other round in its header."""
    told = seven()
    good = invitation(told)
    yield Attempt(told, 1, good[:4] + bytes(32) + good[36:], truth=good)


def unpinned(name: str, wanted: str) -> Change:
    """Admission without the check of one field."""
    line = f'        "{name}": (descriptor.{name}, {wanted}),\n'
    return Change(ADMISSION, line, "")


@refused(
    "0",
    wins="rounds that another server's devices and ledger vouch for",
    defence="the descriptor names the pinned server",
    needle="server is not the one agreed to",
    without=unpinned("server", "member.server"),
)
def a_round_for_another_server() -> Iterator[Attempt]:
    """A descriptor that it signs itself, in the name of another server."""
    told = seven()
    yield Attempt(told, 1, invitation(told, server=b"?" * 32), truth=invitation(told))


@refused(
    "0",
    wins="answers to questions that the owner did not agree to",
    defence="the task is pinned",
    needle="task is not the one agreed to",
    without=unpinned("task", "member.task"),
)
def another_task() -> Iterator[Attempt]:
    """A round of some other training."""
    told = seven()
    yield Attempt(told, 1, invitation(told, task=b"?" * 32), truth=invitation(told))


@refused(
    "0",
    wins="less noise, or more rounds",
    defence="the sealed plan is pinned",
    needle="plan is not the one agreed to",
    without=unpinned("plan", "member.plan"),
)
def another_plan() -> Iterator[Attempt]:
    """A round of a plan that the device has not checked."""
    told = seven()
    yield Attempt(told, 1, invitation(told, plan=b"?" * 32), truth=invitation(told))


@refused(
    "0",
    wins="a model for one device, under the round id of all",
    defence="the model's bytes are hashed and compared with the signed digest",
    needle="model is not the one agreed to",
    without=unpinned("model", "work.once(request, lambda: _digest(opening))"),
)
def a_model_swapped_under_its_digest() -> Iterator[Attempt]:
    """The signed descriptor of the round, with other bytes for the model."""
    told = seven()
    other = np.ones(told.coordinates).astype("<f8").tobytes()
    yield Attempt(told, 1, invitation(told, model=other), truth=invitation(told))


@refused(
    "0",
    wins="a contribution that depends on how records meet a NaN",
    defence="every weight is finite",
    needle="the model is not finite",
    without=Change(
        ADMISSION,
        '    if not np.isfinite(np.frombuffer(opening.model, "<f8")).all():',
        "    if False:",
    ),
)
def a_model_that_is_not_finite() -> Iterator[Attempt]:
    """A properly signed model with NaN or infinity in it."""
    for value in (np.nan, np.inf, -np.inf):
        told = seven()
        good = invitation(told)
        told.model[2] = value
        yield Attempt(told, 1, invitation(told), truth=good)


@refused(
    "0",
    wins="a device that answers long after the cohort has gone",
    defence="the device's own clock",
    needle="DESCRIPTOR: expired, expiry = 1000",
    without=Change(ADMISSION, "    descriptor.check_expiry(now)\n", ""),
)
def an_invitation_whose_time_is_over() -> Iterator[Attempt]:
    """A round that has expired."""
    told = seven()
    yield Attempt(told, 1, invitation(told, expiry=1_000), truth=invitation(told))


@refused(
    "1",
    wins="time: to collect signatures one by one, for as long as it takes",
    defence="each leg looks at the device's own clock again",
    needle="DESCRIPTOR: expired, expiry = 1500",
    without=Change(
        CLIENT,
        "        session.opening.descriptor.check_expiry(around.now)\n",
        "",
    ),
)
def a_leg_after_the_time_is_over() -> Iterator[Attempt]:
    """Legs 1 to 4 of a round that has expired since."""
    for leg in range(1, 5):
        told = seven()
        _, requests = told.reach(leg, expiry=1_500)
        late = {"now": 1_500}
        yield Attempt(told, 1, requests[1], around=late, truth=requests[1])


@refused(
    "0",
    wins="a second answer with fresh noise, for the average",
    defence="round numbers rise, in what the device remembers and in its ledger",
    needle="DESCRIPTOR: round = 1, must be > 2",
    without=ANY_NUMBER,
)
def a_replayed_round() -> Iterator[Attempt]:
    """The invitation of a round that is over, once more."""
    told = seven()
    old = invitation(told)
    told.run(1)
    told.run(2)
    yield Attempt(told, 1, old, truth=invitation(told, round_=3))


@refused(
    "0",
    wins="two sums that differ in one device",
    defence="a round number is used up by the first descriptor that bears it",
    needle="DESCRIPTOR: round = 1, must be > 1",
    without=ANY_NUMBER,
)
def two_descriptors_for_one_round() -> Iterator[Attempt]:
    """A second descriptor with the number of the one that was answered."""
    told = seven()
    for leg in range(1, 4):
        told = seven()
        _, requests = told.reach(leg)
        other = invitation(told, cohort=(1, 2, 3, 4, 5, 6))
        yield Attempt(told, 1, other, truth=requests[1])


@refused(
    "0",
    wins="keys of a device for a sum that it is not in",
    defence="a device looks for itself in the cohort",
    needle="this device is not in the cohort",
    without=Change(
        ADMISSION, "    if member.id not in descriptor.cohort:", "    if False:"
    ),
)
def a_cohort_without_the_device() -> Iterator[Attempt]:
    """A round of others, shown to this device."""
    told = seven()
    request = invitation(told, cohort=(1, 2, 3, 4, 5, 6))
    yield Attempt(told, 7, request, truth=invitation(told))


@refused(
    "0",
    wins="one more release than the owner allows",
    defence="the device's own ledger counts what it has sent",
    needle="rounds = 2, must be <= 1: this device's budget is spent",
    error=BudgetError,
    without=Change(BOOK, "    if book.charged + 1 > book.limit:", "    if False:"),
)
def a_device_that_is_spent() -> Iterator[Attempt]:
    """One round more, as if there had been fewer."""
    told = seven(limit=1)
    told.run(1)
    yield Attempt(told, 1, invitation(told, round_=2))
