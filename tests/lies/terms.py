"""Lies in leg 0, about how few must take part, and about the server's ledger."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fedpref.core import shares
from fedpref.rounds.limits import limits_of
from fedpref.secagg import client, legs
from fedpref.secagg.descriptor import Terms
from fedpref.secagg.roster import Entry
from tests.lies.lie import Attempt, Change, fresh, refused
from tests.lies.plans import COORDINATES, PRODUCTS, plan
from tests.lies.scenes import (
    FRIEND,
    VICTIM,
    cohort,
    invitation,
    seven,
    stripped,
)

DESCRIPTOR = "fedpref/secagg/descriptor.py"
MEMBER = "fedpref/secagg/member.py"
ADMISSION = "fedpref/secagg/admission.py"


@refused(
    "0",
    wins="any single holder's share opens any secret",
    defence="every device recomputes the least threshold from n and C, and counts "
    "the holders of its shares",
    needle="threshold = 1, must be >= 3 for 5 devices",
    without=(
        Change(
            DESCRIPTOR,
            "        if 2 * self.threshold <= clients + self.colluders:",
            "        if False:",
        ),
        Change(
            "fedpref/secagg/client.py",
            "    if not session.terms.threshold <= len(holders) < "
            "2 * session.terms.threshold:",
            "    if not session.terms.threshold <= len(holders):",
        ),
    ),
)
def a_threshold_of_one() -> Iterator[Attempt]:
    """Terms with t = 1."""
    told = cohort(5, t=4, min_survivors=4)
    terms = Terms(1, 4, 0, told.coordinates, 24)

    def spoils(reply, after):
        fresh(told)
        _, requests = told.reach(2, terms=terms)
        told.accepts(5, requests[5])
        one = told.devices[5].session.secrets.shares[VICTIM][0]
        secret = shares.join({5: one}, 1)
        assert secret == told.devices[VICTIM].session.secrets.seed

    request = invitation(told, terms=terms)
    yield Attempt(told, VICTIM, request, truth=invitation(told), spoils=spoils)


@refused(
    "0",
    wins="both kinds of share of one device, and with them its contribution",
    defence="2 t > n + C, or a device does not join",
    needle="threshold = 4, must be >= 5 for 7 devices, 1 of them bad",
    without=Change(
        DESCRIPTOR,
        "        if 2 * self.threshold <= clients + self.colluders:",
        "        if 2 * self.threshold < clients + self.colluders:",
    ),
    colluders=True,
)
def a_threshold_that_two_lists_reach() -> Iterator[Attempt]:
    """Terms with 2 t = n + C, then one list for half of the honest and one for others.

    The friend signs both, so each list has t signatures; one opens the mask seed of the
    victim and the other its mask key.
    """
    told = seven()
    terms = Terms(4, 5, 1, told.coordinates, 24)

    def spoils(reply, after):
        fresh(told)
        state, _ = told.reach(3, terms=terms)
        upload = told.devices[VICTIM].session.replies[legs.Kind.DELIVERY][1]
        own = told.devices[FRIEND].session.secrets.shares[VICTIM]
        opened = []
        for kind, who in enumerate(((1, 2, 3), (4, 5, 6))):
            survivors = told.ids[kind:]  # all of them, or all but the victim
            view = replace(state.view, survivors=survivors)
            for i in who:
                told.accepts(i, legs.encode_survivors(state.descriptor.rid, survivors))
            asked = told.agreements(state, (*who, FRIEND), view)
            held = {FRIEND: own[kind]}
            for i in who:
                reveal = legs.decode_reveal(told.accepts(i, asked), asked[4:36])
                held[i] = dict(reveal.shares)[VICTIM]
            opened.append(shares.join(held, 4))
        found = stripped(told, state, VICTIM, upload, *opened)
        assert np.array_equal(found, told.vectors[VICTIM - 1])

    request = invitation(told, terms=terms)
    yield Attempt(told, VICTIM, request, truth=invitation(told), spoils=spoils)


@refused(
    "0",
    wins="sums of fewer people than the owner wants to be among",
    defence="the device's own floor on survivors",
    needle="min_survivors = 7, must be >= 8$",
    without=Change(
        MEMBER,
        "        if terms.min_survivors < self.min_survivors:",
        "        if False:",
    ),
)
def fewer_survivors() -> Iterator[Attempt]:
    """Terms with min_survivors below the device's own."""
    told = cohort(10, t=7, min_survivors=8)
    limits = replace(told.member(1).limits(1), contributors=5)
    around = {"member": told.member(1, limits=lambda round_: limits)}
    request = invitation(told, terms=replace(told.terms, min_survivors=7))
    yield Attempt(told, 1, request, around=around, truth=invitation(told))


@refused(
    "0",
    wins="a sum of three",
    defence="the floor is a number of people, whatever the cohort is",
    needle="min_survivors = 3, must be >= 8",
    without=Change(
        MEMBER,
        "        return found\n",
        '        return [why for why in found if "survivors" not in why]\n',
    ),
)
def a_shrunken_cohort() -> Iterator[Attempt]:
    """A round of three people, on terms that three people can keep."""
    told = cohort(10, t=8, min_survivors=8)
    terms = Terms(3, 3, 0, told.coordinates, 24)
    request = invitation(told, cohort=(1, 2, 3), terms=terms)
    yield Attempt(told, 1, request, truth=invitation(told))


@refused(
    "0",
    wins="thresholds for fewer friends than it has",
    defence="C is at least the device's own share of the cohort, rounded up",
    needle="colluders = 1, must be >= 2$",
    without=Change(MEMBER, "        if terms.colluders < least:", "        if False:"),
    colluders=True,
)
def fewer_colluders() -> Iterator[Attempt]:
    """Terms that allow for fewer bad identities."""
    told = cohort(10, colluders=2, t=7, min_survivors=8)
    request = invitation(told, terms=replace(told.terms, colluders=1))
    yield Attempt(told, 1, request, truth=invitation(told))


@refused(
    "0",
    wins="a sum with less noise than was priced",
    defence="min_survivors less C is at least what the noise is sized for",
    needle="min_survivors - colluders = 5, must be >= 6, for which the noise",
    without=Change(
        MEMBER,
        "        if terms.min_survivors - terms.colluders < self.contributors:",
        "        if False:",
    ),
    colluders=True,
)
def more_colluders_than_the_noise_allows() -> Iterator[Attempt]:
    """Terms that allow for more bad identities, none of whom would add noise."""
    told = cohort(10, colluders=2, t=7, min_survivors=8)
    request = invitation(told, terms=replace(told.terms, colluders=3))
    yield Attempt(told, 1, request, truth=invitation(told))


def fixed(name: str, place: int) -> Change:
    """The device's limits without the check of one number."""
    return Change(
        MEMBER,
        "        if (terms.coordinates, terms.word_bits, terms.neighbours) != wanted:",
        "        if [v for i, v in enumerate((terms.coordinates, terms.word_bits, "
        f"terms.neighbours)) if i != {place}] != [v for i, v in enumerate(wanted) "
        f"if i != {place}]:",
    )


@refused(
    "0",
    wins="an answer of another length than was planned",
    defence="the number of coordinates is the plan's",
    needle="coordinates, word_bits, neighbours = 6, 24, 0, must be 5, 24, 0",
    without=fixed("coordinates", 0),
)
def more_coordinates() -> Iterator[Attempt]:
    """Terms with one coordinate more."""
    told = seven()
    good = invitation(told)
    terms, told.model = replace(told.terms, coordinates=6), np.zeros(6)
    yield Attempt(told, 1, invitation(told, terms=terms), truth=good)


@refused(
    "0",
    wins="words that wrap, and show more than their sum",
    defence="the word size is the plan's",
    needle="= 5, 16, 0, must be 5, 24, 0",
    without=fixed("word_bits", 1),
)
def smaller_words() -> Iterator[Attempt]:
    """Terms with words of 16 bits for 24."""
    told = seven()
    terms = replace(told.terms, word_bits=16)
    yield Attempt(told, 1, invitation(told, terms=terms), truth=invitation(told))


@refused(
    "0",
    wins="minutes of every device's time, and its memory",
    defence="the complete graph ends at 3,000 people",
    needle="clients = 3001, must be <= 3000 on the complete graph",
    without=Change(
        DESCRIPTOR, "        if clients > MOST_ON_REQUEST:", "        if False:"
    ),
)
def a_gigantic_cohort() -> Iterator[Attempt]:
    """A round of 3,001 people, each of whom shares with all."""
    told = cohort(5, t=2001, min_survivors=2001)
    others = tuple(Entry(i, i.to_bytes(32, "little"), i) for i in range(6, 3002))
    told.roster = replace(told.roster, entries=(*told.roster.entries, *others))
    everybody = tuple(range(1, 3002))
    truth = invitation(told, cohort=everybody[:-1])
    yield Attempt(told, 1, invitation(told, cohort=everybody), truth=truth)


@refused(
    "0",
    wins="an answer to a question that this number does not pay for",
    defence="the number alone says which stage is asked for, and so how long it is",
    needle="coordinates, word_bits, neighbours = 10, 24, 0, must be 6, 24, 0",
    without=Change(
        "fedpref/rounds/limits.py",
        "        coordinates=plan.stage(number).words,",
        "        coordinates=plan.stage(4).words,",
    ),
)
def another_stage_under_a_training_number() -> Iterator[Attempt]:
    """The terms of the second moment, which is number 4, under number 3."""
    told, around = planned()
    good = invitation(told, round_=3)
    told.coordinates, told.model = PRODUCTS, np.zeros(PRODUCTS)
    request = invitation(told, round_=3)
    yield Attempt(told, 1, request, around=around)
    told.coordinates, told.model = COORDINATES, np.zeros(COORDINATES)
    client.answer(good, told.devices[1], told.around(1, **around))


@refused(
    "0",
    wins="releases that nobody has priced",
    defence="a number beyond the plan has no stage and no limits",
    needle="round = 6, but the plan has 5",
    without=(
        Change(
            "fedpref/rounds/limits.py",
            "    if not 1 <= number <= plan.reserved_rounds:",
            "    if False:",
        ),
        Change(
            "fedpref/plan.py",
            '        raise PlanError(f"release = {number}, but the plan has '
            '{self.reserved_rounds}")',
            "        return self.stages[-1]",
        ),
    ),
)
def a_round_beyond_the_plan() -> Iterator[Attempt]:
    """One release more than the plan has."""
    told, around = planned()
    client.answer(invitation(told, round_=5), told.devices[1], told.around(1, **around))
    yield Attempt(told, 1, invitation(told, round_=6), around=around)


def planned():
    """Five devices, and the surroundings of one that has agreed to a plan."""
    sealed = plan()
    told = cohort(5, COORDINATES, t=4, min_survivors=4)
    member = told.member(1, limits=lambda number: limits_of(sealed, number))
    return told, {"member": member}


@refused(
    "0",
    wins="the value of every polynomial at 0, which is the secret itself",
    defence="device numbers start at 1 and rise, in every list; no share is made for 0",
    needle="DESCRIPTOR: device numbers (start at 1|must rise)",
    without=(
        Change("fedpref/secagg/wire.py", "if found and found[0] < 1:", "if False:"),
        Change(
            "fedpref/core/shares.py",
            "    if holders and not (min(holders) >= 1 and "
            "max(holders) <= _MOST_HOLDER):",
            "    if False:",
        ),
    ),
)
def a_share_of_index_0_or_twice() -> Iterator[Attempt]:
    """A cohort with a device number 0, or with one number twice."""
    told = seven(colluders=0)
    first = replace(told.roster.entries[0], id=0, key=told.server.public)
    told.roster = replace(told.roster, entries=(first, *told.roster.entries))

    def spoils(reply, after):
        secret = after.session.secrets.seed
        dealt = shares.split((secret,), range(8), 5, key=bytes(32))
        assert dealt[0][0] == secret.ljust(shares.SHARE_BYTES, b"\0")

    truth = invitation(told)
    for wrong in ((0, *told.ids), (1, *told.ids)):
        request = invitation(told, cohort=wrong)
        yield Attempt(told, VICTIM, request, truth=truth, spoils=spoils)
