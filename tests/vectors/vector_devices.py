"""Vectors of a device: every request that it gets, and what it replies."""

from dataclasses import replace
from hashlib import sha256

from vector_case import Case
from vector_cohort import NOW, Cohort, device_input, made

from fedpref.core import commitments, shares
from fedpref.secagg import legs, wire
from fedpref.secagg.crypto import ADVERT, SHARES, TOMBSTONE, VIEW, seal


def cases():
    yield from lives()
    yield from ledgers()
    yield from parcels_()
    yield from certificates()


def case(name, what, origin, cohort, steps, expect=None, *, i=1, **change):
    given = device_input(cohort, i, steps, **change)
    return Case(f"devices/{name}", "device", what, origin, given, expect or {})


def begun(name, played, *, i=1, n=3, t=2, silent=None, **change):
    """A cohort after some legs, its server's state, what it asks next, and what
    device ``i`` was asked."""
    cohort = Cohort(name, n, t, **change)
    state, requests = cohort.play(played, silent=silent)
    return cohort, state, requests, asked(cohort, i)


def asked(cohort, i=1):
    return [(now, request) for now, request, _ in cohort.steps[i]]


# --- messages that a server could bend ------------------------------------------------


def adverts(cohort, state, *changed, without=()):
    """The request of leg 1 with some entries replaced, signed by their devices."""
    rid, found = state.descriptor.rid, dict(state.adverts)
    for advert in changed:
        signature = cohort.signers[advert.id].sign(ADVERT, rid + advert.content)
        found[advert.id] = replace(advert, signature=signature)
    kept = [found[i] for i in sorted(found) if i not in without]
    return legs.encode_adverts(rid, kept)


def delivery(request, *, dealers=None, change=None, without=()):
    """A request of leg 2 with other dealers, or with some parcels replaced."""
    rid = request[4:36]
    ids, parcels = legs.decode_delivery(request, rid)
    parcels = [p for p in parcels if p.dealer not in without]
    if change is not None:
        parcels = [change(parcel) for parcel in parcels]
    return legs.encode_delivery(rid, wire.ids(dealers or ids), parcels)


def agreements(cohort, state, signers, *, view=None, signed=None, by=None):
    """The request of leg 4; ``by`` says whose key signs for a device."""
    view, rid = view or state.view, state.descriptor.rid
    content = rid + (signed or view).content
    found = tuple(
        (i, cohort.signers[(by or {}).get(i, i)].sign(VIEW, content)) for i in signers
    )
    return legs.Agreements(view, found).encode(rid)


def tombstones(cohort, rid, signers, by=None):
    found = tuple(
        (i, cohort.signers[(by or {}).get(i, i)].sign(TOMBSTONE, rid)) for i in signers
    )
    return legs.encode_tombstones(rid, found)


# --- whole rounds ---------------------------------------------------------------------


def lives():
    page = "docs/protocol.md, What a device checks"
    cohort, *_ = begun("life", 5, silent={2: [3]})
    yield case(
        *("round", "A round of three; device 3 is lost after it dealt", page),
        *(cohort, asked(cohort)),
    )
    yield case(
        *("round_of_another", "The same round as device 2 lives it", page),
        *(cohort, asked(cohort, 2)),
        i=2,
    )
    near, state, *_ = begun("drawn life", 5, neighbours=1)
    yield case(
        *("round_drawn", "A round in which everybody draws a neighbour"),
        *("docs/protocol.md, Drawn neighbours", near, asked(near)),
        outgoing=list(state.adverts[1].outgoing),
    )
    _, requests = cohort.invite(2)
    cohort.ask(1, requests[1])
    yield case(
        *("next_after_release", "A newer round: who released gives no tombstone"),
        *("docs/protocol.md, leg 0: it then closes the round before it", cohort),
        asked(cohort),
    )
    cohort, _, _, steps = begun("life again", 4)
    twice = [step for step in steps for _ in range(2)]
    yield case(
        *("same_again", "The same bytes again get the same bytes, in every leg"),
        *(
            "docs/threat_model.md: the same round again, for its noise",
            cohort,
            twice,
        ),
    )
    cohort, _, _, steps = begun("expired again", 3)
    late = [*steps, (5_000, steps[2][1])]
    yield case(
        *("same_again_late", "The same bytes again, after everything has expired"),
        *("docs/protocol.md, The clock", cohort, late),
    )
    cohort, _, _, steps = begun("next", 3)
    _, requests = cohort.invite(2)
    cohort.ask(1, requests[1])
    yield case(
        *("next_round", "A newer round buries the open one, which stays charged"),
        *("docs/protocol.md, leg 0: it then closes the round before it", cohort),
        asked(cohort),
    )
    cohort, state, _, steps = begun("votes", 4)
    request = agreements(cohort, state, (1, 2, 3), by={3: 2})
    cohort.ask(1, request)
    yield case(
        *("votes_then_a_wrong_one", "t good signatures, and a wrong one after them"),
        *("docs/protocol.md, leg 4 check 2: reading stops at t", cohort),
        asked(cohort),
    )


def ledgers():
    rows = [made("row", i) for i in range(4)]
    heads = [bytes(32)]
    for row in rows:
        heads.append(sha256(heads[-1] + row).digest())
    cohort = Cohort("ledger", 3, 2)
    _, requests = cohort.invite(
        1, since=1, rows=rows[1:], ledger_seq=4, ledger_head=heads[-1]
    )
    cohort.play(1)  # for the keys alone
    yield case(
        *("ledger_extended", "Rows after number 1 are sent; row 2 is what is known"),
        *("docs/protocol.md, leg 0 check 9", cohort, [(NOW, requests[1])]),
        row=2,
        head=heads[2].hex(),
    )


# --- parcels that are dropped ---------------------------------------------------------


def parcels_():
    """Each lie about one parcel costs that parcel, and names its dealer as missing."""

    def direction(cohort, state, parcel):
        key = cohort.devices[1].session.secrets.pairs[2]
        return replace(parcel, sealed=seal(key, state.descriptor.rid, 1, 2, bytes(132)))

    def place(cohort, state, parcel):
        return replace(parcel, path=parcel.path[::-1])

    def older(cohort, state, parcel):
        content = state.descriptor.rid + made("other adverts") + parcel.root
        signature = cohort.signers[2].sign(SHARES, content)
        return replace(parcel, signature=signature)

    def holder(cohort, state, parcel):
        """Shares dealt to holder 3, sealed for device 1 by a dealer that may."""
        rid, session = state.descriptor.rid, cohort.devices[2].session
        own = session.secrets
        dealt = shares.split(
            (own.seed, own.mask.seed), (1, 2, 3), 2, key=made("of another holder")
        )
        digests = [commitments.digests(rid, 2, j, dealt[j]) for j in (1, 2, 3)]
        root, paths = commitments.tree([commitments.leaf(*d) for d in digests])
        content = rid + state.adverts_hash + root
        sealed = seal(own.pairs[1], rid, 2, 1, b"".join(dealt[3]))
        signature = cohort.signers[2].sign(SHARES, content)
        return legs.Parcel(2, root, signature, sealed, paths[0])

    for name, what, change in (
        ("direction", "Sealed in the other direction", direction),
        ("path", "A path whose steps are swapped", place),
        ("signature", "A root signed over other adverts", older),
        ("holder", "The shares of another holder", holder),
    ):
        cohort, state, requests, steps = begun(f"parcel {name}", 2)

        def lie(parcel, change=change, cohort=cohort, state=state):
            return change(cohort, state, parcel) if parcel.dealer == 2 else parcel

        bent = delivery(requests[1], change=lie)
        yield case(
            *(f"parcel_{name}", f"{what}: dropped, and device 2 is named as missing"),
            *("docs/protocol.md, leg 2 check 2", cohort, [*steps, (NOW, bent)]),
        )


# --- refunds --------------------------------------------------------------------------


def left_behind(name, **change):
    """Device 1 uploaded and was left out of the list; the others signed it."""
    cohort = Cohort(name, 3, 2, **change)
    uploads = {}

    def bend(leg, replies, state, requests):
        if leg == 2:
            uploads.update(replies)
            return [(i, reply) for i, reply in replies if i != 1]
        return replies

    state, requests = cohort.play(4, bend=bend)
    assert 1 in uploads
    return cohort, state, requests, asked(cohort)


def certificates():
    r1, r2 = (f"docs/protocol.md, Certificates: {name}" for name in ("R1", "R2"))
    cohort, _, requests, steps = left_behind("r1")
    got = [*steps, (NOW, requests[1]), (NOW, requests[1])]
    yield case(
        *("refund_r1", "t signatures on a list without this device, and a copy"),
        *(r1, cohort, got, {"charged": 0}),
    )
    cohort, state, _, steps = left_behind("r2")
    rid = state.descriptor.rid
    request = tombstones(cohort, rid, (2, 3))
    yield case(
        *("refund_r2", "n + C - t + 1 tombstones", r2, cohort),
        *([*steps, (NOW, request)], {"charged": 0}),
    )
    cohort, state, requests, steps = left_behind("late refund")
    yield case(
        *("refund_late", "A certificate after the round has expired", r1, cohort),
        *([*steps, (2_500, requests[1])], {"charged": 0}),
    )
    cohort, state, _, steps = left_behind("both refunds")
    rid = state.descriptor.rid
    got = [(NOW, agreements(cohort, state, (2, 3))), (NOW, tombstones(cohort, rid, ()))]
    yield case(
        *("refund_twice", "A certificate of the other kind changes nothing", r1),
        *(cohort, [*steps, *got], {"charged": 0}),
    )
