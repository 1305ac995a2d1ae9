"""Vectors of invitations that a device refuses: leg 0."""

from dataclasses import replace

import numpy as np
from vector_case import refused
from vector_cohort import NOW, Cohort, made
from vector_devices import (
    asked,
    case,
)

from fedpref.secagg import legs, server
from fedpref.secagg.admission import follow
from fedpref.secagg.crypto import Signer

CHECKS = "docs/protocol.md, What a device checks: "


def cases():
    yield from invitations()
    yield from terms()
    yield from ledgers()


def invitation(name, what, origin, expect, *, cohort=None, now=NOW, seen=(), **change):
    """One invitation, refused; ``change`` bends the descriptor."""
    cohort = cohort or Cohort(f"bad {name}", 3, 2)
    pinned = change.pop("pinned", {})
    how = {key: change.pop(key) for key in ("since", "rows") if key in change}
    round_ = change.pop("round_", 1)
    if "cohort_" in change:  # the descriptor's
        change["cohort"] = change.pop("cohort_")
    _, requests = cohort.invite(round_, **how, **change)
    request = next(iter(requests.values()))
    steps = [*seen, (now, request)]
    where = f"{CHECKS}leg 0, {origin}"
    return case(f"bad_{name}", what, where, cohort, steps, expect, **pinned)


def invitations():
    cohort = Cohort("bad server", 3, 2)
    thief = Signer.from_seed(made("another server"))
    signed = cohort.descriptor(1)
    _, requests = server.invite(
        *(signed, cohort.roster, cohort.model),
        signer=thief,
        since=0,
        row_hashes=(),
    )
    yield case(
        *("bad_server", "Signed by another server", f"{CHECKS}leg 0, check 2", cohort),
        *([(NOW, requests[1])], refused("signature", "signature of descriptor is not")),
    )
    for name in ("task", "plan", "roster"):
        yield invitation(
            *(f"pinned_{name}", f"Another {name} than the one agreed to", "check 3"),
            refused("pinned", f"{name} is not the one agreed to"),
            **{name: made("another", name)},
        )
    expired = refused("expired", "DESCRIPTOR: expired")
    yield invitation("expired", "Its time is over", "check 4", expired, now=2_000)
    expired = refused("expired", "ROSTER: expired")
    yield invitation(
        *("roster_expired", "The roster's time is over", "The clock", expired),
        now=3_000,
        expiry=4_000,
    )
    yield from models()
    yield from numbers()
    yield from cohorts()


def models():
    cohort = Cohort("bad model", 3, 2)
    _, requests = cohort.invite()
    opening = legs.Opening.decode(requests[1])
    other = replace(opening, model=bytes(len(opening.model))).encode()
    yield case(
        *("bad_model", "Another model under the same signature"),
        *(f"{CHECKS}leg 0, docs/threat_model.md: another model", cohort),
        *([(NOW, other)], refused("model", "model is not the one agreed to")),
    )
    for name, value in (("nan", np.nan), ("infinite", -np.inf)):
        cohort = Cohort(f"bad model {name}", 3, 2)
        cohort.model = np.array([0, value, 0, 0], "<f8").tobytes()
        yield invitation(
            *(f"model_{name}", f"A signed model with {value}"),
            "check 8; a model crafted to crash",
            refused("model", "the model is not finite"),
            cohort=cohort,
        )


def numbers():
    cohort = Cohort("bad two", 3, 2)
    cohort.play(1)
    first = asked(cohort)
    cohort.model = bytes(32)
    yield invitation(
        *("two_descriptors", "A second descriptor with the same round number"),
        *(
            "check 5; docs/threat_model.md: another model for one device",
            refused("number", "round = 1, must be > 1"),
        ),
        cohort=cohort,
        seen=first,
    )
    cohort = Cohort("bad older", 3, 2)
    cohort.play(1, round_=5)
    yield invitation(
        *(
            "round_replayed",
            "An older round number",
            "docs/threat_model.md: the same round again",
        ),
        refused("number", "round = 4, must be > 5"),
        cohort=cohort,
        seen=asked(cohort),
        round_=4,
    )
    cohort = Cohort("bad budget", 3, 2)
    cohort.play(1)
    yield invitation(
        *("budget", "A device whose own budget is spent", "check 10"),
        refused("budget", "this device's budget is spent", error="BudgetError"),
        cohort=cohort,
        pinned={"budget": 0},
    )


def cohorts():
    yield invitation(
        *("cohort_without_me", "This device is not in the cohort", "check 5"),
        refused("cohort", "this device is not in the cohort"),
        cohort_=(2, 3),
    )
    yield invitation(
        *(
            "cohort_stranger",
            "Device 9 is not on the roster",
            "check 6; docs/threat_model.md: more identities",
        ),
        refused("stranger", "device 9 is not on the roster"),
        cohort_=(1, 2, 9),
    )
    cohort = Cohort("bad crowd", 3, 2, most=1, organisations={2: 7, 3: 7})
    yield invitation(
        *("organisation", "Two devices of an organisation that may have one"),
        *("check 6; docs/threat_model.md: more identities",),
        refused("organisation", "organisation 7 has 2 members in it"),
        cohort=cohort,
    )


def terms():
    """Terms that the protocol stands on and this device does not accept."""
    base = {"contributors": 2, "min_survivors": 2, "coordinates": 4}
    base |= {"colluders": [0, 1], "word_bits": 24, "neighbours": 0}
    for name, what, change, needle in (
        (
            *("colluders", "C below its share of the cohort, rounded up"),
            *({"colluders": [1, 100]}, "colluders = 0, must be >= 1"),
        ),
        (
            *("survivors", "Fewer survivors than the owner's floor"),
            *({"min_survivors": 3}, "min_survivors = 2, must be >= 3"),
        ),
        (
            *("noise", "Fewer honest shares of noise than the plan counts on"),
            *({"contributors": 3}, "for which the noise is sized"),
        ),
        (
            *("coordinates", "A shorter vector than the plan's"),
            *({"coordinates": 5}, "must be 5, 24, 0"),
        ),
        (
            *("words", "Another word size than the plan's"),
            *({"word_bits": 32}, "must be 4, 32, 0"),
        ),
        (
            *("graph", "The complete graph where neighbours are to be drawn"),
            *({"neighbours": 1}, "must be 4, 24, 1"),
        ),
    ):
        yield invitation(
            *(
                f"limits_{name}",
                what,
                "check 7; docs/threat_model.md: a small cohort",
                refused("limits", needle),
            ),
            pinned={"limits": base | change},
        )
    cohort = Cohort("bad drawn", 3, 2)
    drawn = cohort.terms(neighbours=1)
    yield invitation(
        *("limits_drawn", "A drawn graph where the complete one was agreed to"),
        *("check 7; Drawn neighbours", refused("limits", "must be 4, 24, 0")),
        cohort=cohort,
        terms=drawn,
    )
    shrunken = Cohort("bad shrunken", 3, 2, members=7)
    yield invitation(
        *(
            "shrunken",
            "A cohort of three where the floor is five",
            "docs/threat_model.md: a small cohort",
        ),
        refused("limits", "min_survivors = 2, must be >= 5"),
        cohort=shrunken,
        pinned={"limits": base | {"min_survivors": 5}},
    )


def ledgers():
    rows = [made("row", i) for i in range(4)]
    other = [made("fork", i) for i in range(4)]
    known = {"row": 2, "head": follow(bytes(32), rows[:2]).hex()}
    fork = refused("ledger", "does not extend what this device has seen")
    sent = refused("ledger", "of the ledger were sent, must reach from 2")
    for name, what, since, some, number, head, expect in (
        (
            *("fork", "Another chain, further than what is known", 0, other, 4),
            *(follow(bytes(32), other), fork),
        ),
        (
            *("rollback", "The chain as it was before the last row seen", 0),
            *(rows[:1], 1, follow(bytes(32), rows[:1]), fork),
        ),
        (
            *("gap", "Rows after number 3, when row 2 is known", 3, rows[3:], 4),
            *(follow(bytes(32), rows), sent),
        ),
        (
            *("row_left_out", "A row less than the number says", 2, rows[2:3], 4),
            *(follow(bytes(32), rows), sent),
        ),
        (
            *("head", "The right rows and another head", 2, rows[2:], 4),
            *(made("head"), fork),
        ),
    ):
        yield invitation(
            *(
                f"ledger_{name}",
                what,
                "check 9; docs/threat_model.md: an older or other ledger",
                expect,
            ),
            since=since,
            rows=some,
            ledger_seq=number,
            ledger_head=head,
            pinned=known,
        )
