"""One lie of a malicious server: what it tries, what stops it, and how that is shown.

A lie is a function. Its docstring says what the server tries. It is one of

* ``@refused``: yields attempts, requests that a device must turn down for the reason
  that is named, and be the same as before; where an attempt has a ``truth``, the device
  answers that afterwards, so it was the lie that was refused and not the scene. Before
  there are requests, at enrolment, it calls ``turned_down`` itself;
* ``@harmless``: plays the lie to its end and calls ``gained`` where the server would
  have got something.

``without`` is the textual change of our code that takes the defence away. The lie must
then be ``Accepted``: any other failure does not count as noticing (``zygote.py``).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fedpref.core.device import DeviceBook
from fedpref.errors import FedprefError, MessageError
from fedpref.secagg import client
from fedpref.secagg.member import Device
from tests.secagg.conftest import Cohort, told

LEGS = ("enrolment", "0", "1", "2", "3", "4", "later", "whole round")


class Accepted(Exception):
    """The lie worked; says what the server has now."""


class Change(NamedTuple):
    """A text in one of our files, and the text that takes the defence out of it."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Attempt:
    """A request that device ``device`` of ``cohort`` must refuse.

    ``needle`` and ``error`` are those of the lie unless said otherwise; ``around``
    changes the device's surroundings. ``spoils`` shows, from the reply and the new
    state, that an accepted lie is worth something; it fails if it is not.
    """

    cohort: Cohort
    device: int
    request: bytes
    needle: str = ""
    error: type[FedprefError] | None = None
    truth: bytes | None = None
    around: Mapping[str, Any] = field(default_factory=dict)
    spoils: Callable[[bytes, Device], None] = lambda reply, after: None


Act = Callable[[], Iterable[Attempt] | None]


@dataclass(frozen=True)
class Lie:
    """One entry of the catalogue; texts are for the table in docs/security.md."""

    name: str
    leg: str
    tries: str
    wins: str
    defence: str
    without: tuple[Change, ...]
    act: Act
    needle: str = ""
    error: type[FedprefError] = MessageError
    because: str = ""
    colluders: bool = False

    @property
    def end(self) -> str:
        """What becomes of it, in words."""
        if self.because:
            return f"harmless: {self.because}"
        return f"refused: {self.error.__name__}"


LIES: dict[str, Lie] = {}


def refused(
    leg: str,
    *,
    wins: str,
    defence: str,
    needle: str,
    without: Change | tuple[Change, ...],
    error: type[FedprefError] = MessageError,
    colluders: bool = False,
) -> Callable[[Act], Act]:
    """A lie that a device turns down with an ``error`` that matches ``needle``."""

    def enter(act: Act) -> Act:
        kept = without if isinstance(without[0], Change) else (without,)
        _enter(act, leg, wins, defence, kept, needle=needle, error=error, bad=colluders)
        return act

    return enter


def harmless(
    leg: str,
    *,
    wins: str,
    defence: str,
    because: str,
    without: Change | tuple[Change, ...],
    colluders: bool = False,
) -> Callable[[Act], Act]:
    """A lie that is played to its end and gets the server nothing."""

    def enter(act: Act) -> Act:
        kept = without if isinstance(without[0], Change) else (without,)
        _enter(act, leg, wins, defence, kept, because=because, bad=colluders)
        return act

    return enter


def _enter(act, leg, wins, defence, without, *, bad, **rest) -> None:
    assert leg in LEGS, leg
    assert act.__name__ not in LIES, act.__name__
    tries = " ".join(act.__doc__.split())
    LIES[act.__name__] = Lie(
        act.__name__, leg, tries, wins, defence, without, act, colluders=bad, **rest
    )


def tell(lie: Lie) -> None:
    """Play ``lie`` against the code as it is.

    Raises:
        Accepted: It worked.
        AssertionError: It failed, but not as it should.
    """
    attempts = lie.act()
    if attempts is None:  # it has judged for itself
        return
    count = 0
    for attempt in attempts:
        _put(lie, attempt)
        count += 1
    assert count, "nothing was tried"


def _put(lie: Lie, attempt: Attempt) -> None:
    cohort, i, saved = attempt.cohort, attempt.device, []
    around = cohort.around(i, **({"save": saved.append} | dict(attempt.around)))
    before = cohort.devices[i]
    shown = told(before)
    try:
        reply, after = client.answer(attempt.request, before, around)
    except FedprefError as error:
        _check(error, attempt.error or lie.error, attempt.needle or lie.needle)
    else:
        attempt.spoils(reply, after)
        raise Accepted(f"device {i} replied with {len(reply)} bytes")
    assert told(before) == shown, "the state has changed"
    assert not saved, "something was saved"
    if attempt.truth is not None:
        client.answer(attempt.truth, before, cohort.around(i, save=lambda _: None))


def turned_down(lie_does: Callable[[], object], needle: str) -> None:
    """``lie_does`` is refused for this reason, or the lie worked; for enrolment."""
    try:
        lie_does()
    except FedprefError as error:
        _check(error, MessageError, needle)
    else:
        raise Accepted("the roster was taken")


def _check(error: FedprefError, wanted: type[FedprefError], needle: str) -> None:
    right = isinstance(error, wanted) and re.search(needle, str(error))
    assert right, f"refused for another reason, {type(error).__name__}: {error}"


def gained(there: bool, what: str) -> None:
    """End a harmless lie as ``Accepted`` if the server has got ``what``."""
    if there:
        raise Accepted(what)


def fresh(cohort: Cohort) -> None:
    """Devices as they were before the first round, books and all."""
    cohort.devices = {i: Device(DeviceBook(cohort.limit)) for i in cohort.ids}
