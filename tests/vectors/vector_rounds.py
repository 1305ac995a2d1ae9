"""Vectors of whole rounds: every reply that a server gets, and what comes of it."""

from vector_case import Case
from vector_cohort import Cohort, server_input

from fedpref.errors import FedprefError


def cases():
    yield from good()
    yield from drawn()
    yield from after_a_round()
    yield from told_by_holders()


def played(name, what, origin, cohort, expect=None, **how):
    """The case of a round, as far as it went."""
    try:
        state, _ = cohort.play(**how)
    except FedprefError:
        assert "refused" in expect, name
    else:
        if how.get("legs", 5) == 5:
            expect = {"sum": exact(cohort, state.survivors)} | (expect or {})
    return Case(
        f"rounds/{name}", "server", what, origin, server_input(cohort), expect or {}
    )


def exact(cohort, survivors):
    """The sum in plain integers, which the masks must not have changed."""
    rows = [cohort.values[i] for i in survivors]
    return [sum(column) for column in zip(*rows, strict=True)]


def good():
    page = "docs/protocol.md, Flow"
    for bits in (16, 24, 32):
        yield played(
            *(f"three_words_{bits}", f"Three devices, words of {bits} bits", page),
            Cohort(f"words {bits}", 3, 2, word_bits=bits),
        )
    lost = "docs/protocol.md, Flow: a device may be lost in any leg"
    for leg in range(5):
        yield played(
            *(f"lost_in_leg_{leg}", f"Four devices; device 4 is lost in leg {leg}"),
            *(lost, Cohort(f"lost in leg {leg}", 4, 3)),
            silent={leg: [4]},
        )
    yield played(
        *("seven_with_colluders", "Seven devices, C = 1, one lost in leg 2, one in 4"),
        *(lost, Cohort("seven", 7, 5, colluders=1)),
        silent={2: [7], 4: [2]},
    )

    def again(leg, replies, state, requests):
        stranger = [(9, replies[0][1])]
        second = [(replies[0][0], replies[1][1])]
        return stranger + replies[::-1] + second + replies

    yield played(
        *("reordered", "Replies in another order, twice, of a stranger, and a second"),
        "docs/protocol.md, What the server checks: passed over",
        Cohort("reordered", 2, 2),
        bend=again,
    )


def drawn():
    cohort = Cohort("drawn 7", 6, 3, neighbours=2, coordinates=3)
    yield played(
        *("drawn_neighbours", "Six devices that draw two each; device 5 is lost"),
        *("docs/protocol.md, Drawn neighbours", cohort),
        silent={2: [5]},
    )


def after_a_round():
    """A round that buries the one before, given up after the uploads."""
    cohort = Cohort("given up", 3, 2)
    cohort.play(3)
    yield played(
        *("tombstones", "Adverts that bury the round before, gathered for R2"),
        "docs/protocol.md, Certificates: R2",
        cohort,
        round_=2,
    )


def told_by_holders():
    """Device 2 deals bad shares to one holder: fewer than would end the round."""
    cohort = Cohort("one complaint", 4, 3)

    def spoil(leg, replies, state, requests):
        if leg != 1:
            return replies
        found = dict(replies)
        reply = bytearray(found[2])
        reply[-1] ^= 1  # what is sealed for the last holder
        found[2] = bytes(reply)
        return list(found.items())

    yield played(
        *("one_complaint", "A bad share: its holder says so, and the round goes on"),
        *(
            "docs/threat_model.md: bad shares to some holders",
            cohort,
        ),
        bend=spoil,
    )
