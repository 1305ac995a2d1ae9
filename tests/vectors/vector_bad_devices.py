"""Vectors of a server that lies after leg 0: the last request is refused."""

from dataclasses import replace
from hashlib import sha256

from vector_case import refused
from vector_cohort import NOW, Cohort, made
from vector_devices import (
    adverts,
    agreements,
    asked,
    begun,
    case,
    delivery,
    left_behind,
    tombstones,
)

from fedpref.secagg import legs, server
from fedpref.secagg.crypto import KeyPair

CHECKS = "docs/protocol.md, What a device checks: "


def cases():
    yield from adverts_()
    yield from deliveries()
    yield from survivors()
    yield from votes()
    yield from certificates()


# --- leg 1 ----------------------------------------------------------------------------


def leg(name, what, begun_, request, expect, number, origin, now=NOW, **change):
    cohort, _, _, steps = begun_
    where = f"{CHECKS}leg {number}, {origin}"
    steps = [*steps, (now, request)]
    return case(f"bad_{name}", what, where, cohort, steps, expect, **change)


def adverts_():
    found = begun("bad adverts", 1)
    cohort, state, _, _ = found
    cohort.draws[1].key("shares")  # drawn before keys are agreed on
    two, three = state.adverts[2], state.adverts[3]
    point = KeyPair.from_seed(made("the server's")).public
    forged = replace(two, encrypt=point)
    listed = [state.adverts[1], forged, three]
    request = legs.encode_adverts(state.descriptor.rid, listed)
    yield leg(
        *("adverts_key", "A sealing key of the server's own for device 2", found),
        *(request, refused("signature", "signature of advert is not valid"), 1),
        "check 2; docs/threat_model.md: other keys for a device",
    )
    repeat = refused("repeated_key", "a public key is used twice")
    for name, what, change in (
        ("two", "Two devices with one mask key", replace(two, mask=three.mask)),
        ("one", "One key for both purposes", replace(two, mask=two.encrypt)),
    ):
        yield leg(
            *(f"adverts_repeated_{name}", what, found, adverts(cohort, state, change)),
            *(repeat, 1, "check 3; Copied keys"),
        )
    own = refused("own", "own entry is missing or changed")
    changed = replace(state.adverts[1], commitment=bytes(32))
    yield leg(
        *("adverts_own", "This device's own advert, changed", found),
        *(adverts(cohort, state, changed), own, 1, "check 4"),
    )
    yield leg(
        *("adverts_without_me", "This device's own advert is not there", found),
        *(adverts(cohort, state, without=[1]), own, 1, "check 4"),
    )
    yield leg(
        *("adverts_few", "One advert", found, adverts(cohort, state, without=[2, 3])),
        *(
            refused("few", "1 devices, must be >= 2"),
            1,
            "check 1; docs/threat_model.md: a small cohort",
        ),
    )
    low = adverts(cohort, state, replace(two, encrypt=bytes(32)))
    yield leg(
        *("adverts_low_order", "A sealing key of low order", found, low),
        *(refused("key", "of low order"), 1, "check 6; Copied keys"),
    )
    drawn = adverts(cohort, state, replace(two, outgoing=(3,)))
    yield leg(
        *("adverts_neighbours", "A drawn neighbour on the complete graph", found),
        *(drawn, refused("neighbours", "device 2 has bad neighbours"), 1, "check 2"),
    )
    yield from more_adverts(found)


def more_adverts(found):
    cohort, state, requests, _ = found
    other = requests[1][:4] + made("another round") + requests[1][36:]
    yield leg(
        *("adverts_round", "The adverts under another round's id", found, other),
        *(refused("round", "belongs to another round"), 1, "Always"),
    )
    yield leg(
        *("adverts_late", "The adverts after the descriptor's time", found),
        *(requests[1], refused("expired", "DESCRIPTOR: expired"), 1, "The clock"),
        now=2_000,
    )
    drawn = begun("bad holders", 1, n=5, t=4, neighbours=1)
    cohort, state, requests, _ = drawn
    yield leg(
        *("adverts_holders", "Fewer than t hold this device's shares", drawn),
        *(requests[1], refused("holders", "holders of this device's shares"), 1),
        "check 5; Drawn neighbours",
        outgoing=list(state.adverts[1].outgoing),
    )
    outside = begun("bad outside", 1, members=4)
    cohort, state, _, _ = outside
    stranger = replace(state.adverts[3], id=4)
    request = adverts(cohort, state, stranger, without=[3])
    yield leg(
        *("adverts_stranger", "A device of the roster that is not in the cohort"),
        *(outside, request, refused("stranger", "device 4 is not in the cohort"), 1),
        "check 1",
    )
    again = begun("bad again", 2)
    cohort, state, _, _ = again
    second = adverts(cohort, state, without=[3])
    yield leg(
        *("adverts_again", "Other adverts, after some were answered", again, second),
        *(refused("again", "another one was answered"), 1, "one answer a kind"),
    )


# --- leg 2 ----------------------------------------------------------------------------


def deliveries():
    found = begun("bad delivery", 2)
    cohort, _, requests, steps = found
    good = requests[1]
    yield leg(
        *("delivery_first", "Shares before the adverts", (cohort, 0, 0, steps[:1])),
        *(good, refused("open", "no adverts were answered"), 2, "order of legs"),
    )
    for name, what, dealers in (
        ("few", "One dealer", (1,)),
        ("without_me", "This device did deal, and is not named", (2, 3)),
    ):
        request = delivery(good, dealers=dealers, without=[2, 3])
        yield leg(
            *(f"dealers_{name}", what, found, request),
            *(refused("dealers", "and include this device"), 2, "check 1"),
        )
    request = delivery(good, dealers=(1, 2, 3, 4))
    yield leg(
        *("dealers_stranger", "A dealer that did not advertise", found, request),
        *(refused("dealers", "a dealer has not advertised"), 2, "check 1"),
    )
    request = delivery(good, without=[2, 3])
    yield leg(
        *("delivery_few", "Nobody's shares but its own", found, request),
        *(refused("few", "shares of 1 devices verify"), 2, "check 3"),
    )

    def endless(parcel):
        return replace(parcel, path=parcel.path[:1] * 70)

    request = delivery(good, change=endless)
    yield leg(
        *("delivery_size", "Paths of 70 steps, where 2 can be", found, request),
        *(refused("size", "bytes, must be <="), 2, "Bytes: much longer than legal"),
    )
    yield low_order_mask()


def low_order_mask():
    """Device 3 advertises a mask key of low order, which leg 1 does not look at."""
    cohort = Cohort("bad mask", 3, 2)
    state, _ = cohort.play(1)
    request = adverts(cohort, state, replace(state.adverts[3], mask=bytes(32)))
    replies = [(i, cohort.ask(i, request)) for i in (1, 2)]
    lied = replace(state, adverts_hash=sha256(request).digest())
    _, requests = server.dealt(lied, replies, cohort.work)
    bent = delivery(requests[1], dealers=(1, 2, 3))
    found = cohort, state, requests, asked(cohort)
    return leg(
        *("delivery_low_order", "A mask key of low order", found, bent),
        *(refused("key", "of low order"), 2, "check 4; nothing is spent"),
    )


# --- legs 3 and 4 ---------------------------------------------------------------------


def survivors():
    found = begun("bad survivors", 3)
    cohort, state, requests, steps = found
    rid = state.descriptor.rid
    wrong = refused("survivors", "must include this device, and dealers only")
    for name, what, some in (
        ("without_me", "A list without this device", (2, 3)),
        ("stranger", "A survivor that did not deal", (1, 2, 4)),
    ):
        request = legs.encode_survivors(rid, some)
        how = (f"survivors_{name}", what, found, request, wrong, 3, "U2 in U1")
        yield leg(*how)
    few = refused("few", "1, must be >= 2")
    request = legs.encode_survivors(rid, (1,))
    yield leg(
        "survivors_few",
        "One survivor",
        found,
        request,
        few,
        3,
        "docs/threat_model.md: a small cohort",
    )
    early = (cohort, 0, 0, steps[:2])
    yield leg(
        *("survivors_early", "Survivors before anything was uploaded", early),
        *(requests[1], wrong, 3, "order of legs"),
    )
    signed = begun("bad second list", 4)
    rid = signed[1].descriptor.rid
    request = legs.encode_survivors(rid, (1, 2))
    yield leg(
        *("survivors_second", "A second list, after one was signed", signed, request),
        *(
            refused("again", "another one was answered"),
            3,
            "docs/threat_model.md: two lists of survivors",
        ),
    )


def votes():
    found = begun("bad votes", 4)
    cohort, state, requests, steps = found
    few = refused("votes", "1 signatures, must be >= 2")
    view = refused("view", "not the list of survivors signed here")
    wrong = refused("signature", "signature of view is not valid")
    threat = "docs/threat_model.md: two lists of survivors"
    request = agreements(cohort, state, (1,))
    yield leg("votes_few", "t - 1 signatures", found, request, few, 4, threat)
    request = agreements(cohort, state, (1, 2, 3), by={1: 2})
    yield leg(
        *("votes_wrong", "A wrong signature before t good ones", found, request),
        *(wrong, 4, "check 2"),
    )
    request = agreements(cohort, state, (1, 7), by={7: 2})
    yield leg(
        *("votes_stranger", "A signature of a device outside the list", found),
        *(request, few, 4, threat),
    )
    other = replace(state.view, survivors=(1, 2))
    request = agreements(cohort, state, (1, 2), view=other)
    yield leg("view_list", "Another list", found, request, view, 4, threat)
    other = replace(state.view, adverts=made("adverts"))
    request = agreements(cohort, state, (1, 2), view=other)
    yield leg("view_adverts", "Other adverts", found, request, view, 4, threat)
    early = (cohort, 0, 0, steps[:3])
    yield leg(
        *("votes_early", "Signatures before this device signed", early, requests[1]),
        *(view, 4, "order of legs"),
    )
    released = begun("bad released", 5)
    cohort, state, _, _ = released
    request = agreements(cohort, state, (2, 3))
    yield leg(
        *("votes_again", "Another certificate, after the shares were handed out"),
        *(released, request, refused("again", "another one was answered"), 4),
        "docs/threat_model.md: both shares of one device",
    )


# --- refunds --------------------------------------------------------------------------


def certificates():
    found = left_behind("bad refund")
    cohort, state, _, _ = found
    rid, few = state.descriptor.rid, "1 signatures, must be >= 2"
    origin = "Certificates; sent is spent"
    for name, what, request, expect in (
        (
            *("r1_short", "t - 1 signatures on a list without this device"),
            *(agreements(cohort, state, (2,)), refused("votes", few)),
        ),
        (
            *("r1_with_me", "A list that this device is in"),
            agreements(
                *(cohort, state, (2, 3)),
                view=replace(state.view, survivors=(1, 2, 3)),
            ),
            refused("view", "not the list of survivors signed here"),
        ),
        (
            *("r1_outside", "A signature of this device on a list without it"),
            *(agreements(cohort, state, (1, 2)), refused("votes", few)),
        ),
        (
            *("r1_forged", "A signature of somebody else's key"),
            agreements(cohort, state, (2, 3), by={3: 2}),
            refused("signature", "signature of view is not valid"),
        ),
        (
            *("r2_short", "A tombstone less than n + C - t + 1"),
            *(tombstones(cohort, rid, (2,)), refused("votes", few)),
        ),
        (
            *("r2_outside", "A tombstone of a device outside the cohort"),
            tombstones(cohort, rid, (2, 9), by={9: 3}),
            refused("votes", few),
        ),
        (
            *("r2_forged", "A tombstone of somebody else's key"),
            tombstones(cohort, rid, (2, 3), by={3: 2}),
            refused("signature", "signature of tombstone is not valid"),
        ),
        (
            *("r2_unknown", "Tombstones of a round that is none"),
            tombstones(cohort, made("another round"), (2, 3)),
            refused("open", "no spent round is open that they bury"),
        ),
    ):
        yield leg(f"refund_{name}", what, found, request, expect, "later", origin)
    yield from more_certificates(origin)


def more_certificates(origin):
    drawn = begun("bad graph", 3, neighbours=1)
    cohort, state, _, _ = drawn
    request = tombstones(cohort, state.descriptor.rid, (2, 3))
    yield leg(
        *("refund_graph", "Tombstones where neighbours are drawn", drawn, request),
        *(refused("graph", "on the complete graph only"), "later", origin),
        outgoing=list(state.adverts[1].outgoing),
    )
    unsent = begun("bad unsent", 2)
    cohort, state, _, _ = unsent
    request = tombstones(cohort, state.descriptor.rid, (2, 3))
    unknown = refused("open", "no spent round is open that they bury")
    yield leg(
        *("refund_unsent", "A refund of a round without an upload", unsent, request),
        *(unknown, "later", origin),
    )
    released = begun("bad after release", 5)
    cohort, state, _, _ = released
    request = tombstones(cohort, state.descriptor.rid, (2, 3))
    yield leg(
        *("refund_released", "Tombstones after this device released", released),
        *(request, unknown, "later", origin),
    )
    cohort, state, requests, steps = left_behind("bad buried")
    steps = [*steps, (NOW, requests[1])]
    request = legs.encode_survivors(state.descriptor.rid, (1, 2, 3))
    yield leg(
        *("refund_then_list", "A list of survivors after the refund"),
        *((cohort, 0, 0, steps), request),
        *(refused("open", "no round is open"), "later", "a buried round"),
    )
