"""Lies about who shares with whom, where devices draw their neighbours."""

from collections.abc import Iterator
from dataclasses import replace

from fedpref.errors import IntegrityError
from tests.lies.certificates import REFUNDS, refunds
from tests.lies.keys import CHECKS, CLIENT
from tests.lies.lie import Attempt, Change, refused
from tests.lies.scenes import (
    FRIEND,
    VICTIM,
    adverts,
    buried,
    cohort,
    invitation,
    seven,
    signed,
)
from tests.lies.terms import DESCRIPTOR, fixed


def drawn(**change):
    """Twelve devices that draw two neighbours each; four of them may be bad."""
    values = {"neighbours": 2, "colluders": 4, "t": 5, "min_survivors": 8}
    return cohort(12, **(values | change))


@refused(
    "0",
    wins="friends who open a secret by themselves",
    defence="t > C, or a device does not join",
    needle="threshold = 4, must be > colluders = 4",
    without=Change(DESCRIPTOR, "        if t <= c:", "        if False:"),
    colluders=True,
)
def a_threshold_that_colluders_reach() -> Iterator[Attempt]:
    """Terms with t = C, where devices draw their neighbours."""
    told = drawn()
    request = invitation(told, terms=replace(told.terms, threshold=4))
    yield Attempt(told, 1, request, truth=invitation(told))


@refused(
    "0",
    wins="secrets that fewer than half of their holders open, so two lists do",
    defence="t > drawn neighbours, about half of all holders",
    needle="threshold = 3, must be > neighbours = 3",
    without=Change(
        DESCRIPTOR, "        elif t <= self.neighbours:", "        elif False:"
    ),
)
def a_threshold_of_few_drawn_neighbours() -> Iterator[Attempt]:
    """Terms with t no more than a device draws itself."""
    told = drawn(neighbours=3, colluders=1, t=4)
    request = invitation(told, terms=replace(told.terms, threshold=3))
    yield Attempt(told, 1, request, truth=invitation(told))


@refused(
    "0",
    wins="a graph on which its epsilon does not hold",
    defence="the graph is the plan's",
    needle="= 5, 24, 3, must be 5, 24, 0",
    without=fixed("neighbours", 2),
)
def drawn_neighbours_for_a_complete_graph() -> Iterator[Attempt]:
    """Terms that have everybody share with a few others only."""
    told = seven()
    terms = replace(told.terms, neighbours=3)
    yield Attempt(told, 1, invitation(told, terms=terms), truth=invitation(told))


@refused(
    "1",
    wins="a graph on which it knows who is whose neighbour",
    defence="an advert has as many drawn neighbours as agreed, all in the cohort",
    needle="ADVERTS: device 12 has bad neighbours",
    without=Change(
        CHECKS,
        "        if strangers or len(advert.outgoing) != terms.neighbours:",
        "        if False:",
    ),
    colluders=True,
)
def neighbours_beyond_the_rule() -> Iterator[Attempt]:
    """A friend who draws everybody, nobody, itself, or somebody outside the cohort."""
    told = cohort(13, neighbours=3, colluders=1, t=5, min_survivors=8)
    state, _ = told.reach(1, cohort=told.ids[:12])
    truth = drawn_by(told, state, _few(state))
    for outgoing in (tuple(range(1, 12)), (), (1, 2, 12), (1, 2, 13)):
        friend = replace(state.adverts[12], outgoing=outgoing)
        request = adverts(state, signed(told, state.descriptor.rid, friend))
        yield Attempt(told, VICTIM, request, truth=truth)
    told = seven()  # on the complete graph nobody draws
    state, requests = told.reach(1)
    friend = signed(
        told, state.descriptor.rid, replace(state.adverts[FRIEND], outgoing=(2,))
    )
    request, needle = adverts(state, friend), "device 7 has bad neighbours"
    yield Attempt(told, VICTIM, request, needle, truth=requests[VICTIM])


def drawn_by(told, state, drawers):
    """The adverts, where just these devices have drawn the victim."""
    rid, found = state.descriptor.rid, []
    for i, advert in state.adverts.items():
        others = [j for j in told.ids if j not in (VICTIM, i)]
        mine = (VICTIM, *others[:2]) if i in drawers else others[:3]
        if i != VICTIM:
            found.append(signed(told, rid, replace(advert, outgoing=tuple(mine))))
    return adverts(state, *found)


@refused(
    "1",
    wins="two lists with t of the victim's holders each",
    defence="fewer than 2 t holders, or the device sits out",
    needle="holders of this device's shares, must be >= 4 and < 8",
    without=Change(
        CLIENT,
        "    if not session.terms.threshold <= len(holders) < "
        "2 * session.terms.threshold:",
        "    if not session.terms.threshold <= len(holders):",
    ),
    colluders=True,
)
def a_victim_that_everybody_has_drawn() -> Iterator[Attempt]:
    """Friends on a drawn graph who all choose the victim as their neighbour."""
    told = cohort(12, neighbours=3, colluders=1, t=4, min_survivors=8)
    state, _ = told.reach(1)
    everybody = drawn_by(told, state, range(2, 13))
    yield Attempt(told, VICTIM, everybody, truth=drawn_by(told, state, _few(state)))


def _few(state):
    """A device that the victim has not drawn: with it, five hold its shares."""
    drawn = state.adverts[VICTIM].outgoing
    return [i for i in state.adverts if i not in (VICTIM, *drawn)][:1]


@refused(
    "1",
    wins="a victim that shares with fewer than t, and is opened by friends",
    defence="at least t holders, or the device sits out",
    needle="holders of this device's shares, must be >= 5 and < 10",
    error=IntegrityError,
    without=(
        Change(
            CLIENT,
            "    if not session.terms.threshold <= len(holders) < "
            "2 * session.terms.threshold:",
            "    if False:",
        ),
        Change(
            CLIENT,
            "        session.terms.threshold,\n        key=",
            "        min(len(holders), session.terms.threshold),\n        key=",
        ),
    ),
)
def an_island_around_the_victim() -> Iterator[Attempt]:
    """Adverts of a drawn graph, but for the devices that have drawn the victim."""
    told = cohort(12, neighbours=3, colluders=1, t=5, min_survivors=8)
    state, _ = told.reach(1)
    alone = drawn_by(told, state, ())
    yield Attempt(told, VICTIM, alone, truth=drawn_by(told, state, _few(state)))


@refused(
    "1",
    wins="a part of the cohort small enough to see through",
    defence="every set of adverts has min_survivors devices, whoever their neighbours",
    needle="ADVERTS: 6 devices, must be >= 8",
    without=Change(CHECKS, "    if len(found) < terms.min_survivors:", "    if False:"),
)
def islands_on_a_drawn_graph() -> Iterator[Attempt]:
    """A drawn cohort split in two, each half shown its own adverts only."""
    told = cohort(12, neighbours=3, colluders=1, t=4, min_survivors=8)
    state, _ = told.reach(1)
    rid = state.descriptor.rid
    island = (1, *state.adverts[VICTIM].outgoing)
    island = sorted({*island, *[i for i in told.ids if i not in island][:2]})
    near = [
        signed(
            told,
            rid,
            replace(
                state.adverts[i],
                outgoing=tuple([j for j in island if j != i][:3]),
            ),
        )
        for i in island
        if i != VICTIM
    ]
    gone = [i for i in told.ids if i not in island]
    yield Attempt(told, VICTIM, adverts(state, *near, without=gone))


@refused(
    "later",
    wins="a refund where the counting behind it does not hold",
    defence="certificates are for the complete graph only",
    needle="a certificate refunds on the complete graph only",
    without=Change(REFUNDS, "    if awaiting.terms.neighbours:", "    if False:"),
)
def a_refund_on_a_drawn_graph() -> Iterator[Attempt]:
    """Certificates of both kinds for a round in which devices drew their neighbours."""
    told = cohort(7, neighbours=6, t=7, min_survivors=7)
    state, _ = told.reach(3)  # each draws all of the six others
    rid = state.descriptor.rid
    view = replace(state.view, survivors=(2, 3, 4, 5, 6, 7))
    spoils = {"spoils": refunds(told)}
    yield Attempt(told, VICTIM, buried(told, rid, told.ids), **spoils)
    request = told.agreements(state, told.ids[1:], view)
    yield Attempt(told, VICTIM, request, **spoils)
