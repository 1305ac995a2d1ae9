"""Vectors of rounds with bad signatures, shares or secrets at the end."""

from dataclasses import replace
from hashlib import sha256

from vector_bent import INVALID, LEGS, bent, case, dealing, dealt_again, out
from vector_case import refused
from vector_cohort import Cohort, made
from vector_rounds import played

from fedpref.secagg import legs
from fedpref.secagg.crypto import REVEAL, VIEW, KeyPair


def cases():
    yield from agreements()
    yield from reveals()
    yield from secrets()


# --- leg 3 ----------------------------------------------------------------------------


def agreements():
    def other(cohort, found, state):
        rid, view = state.descriptor.rid, replace(state.view, survivors=(1, 2))
        signature = cohort.signers[3].sign(VIEW, rid + view.content)
        found[3] = legs.encode_agreement(rid, signature)

    yield case(
        *(3, "agreement_view", "A signature on another list of survivors", other),
        out(3, 3, "signature", INVALID.format("view")),
        origin="two lists",
    )

    def few(cohort, found, state):
        found[2] = found[3] = found[1]

    yield case(
        *(3, "agreements_few", "Two copies of another one's signature", few),
        refused("few", "must be >= 2", error="TooFewSurvivors", leg=3),
        origin="docs/threat_model.md: both shares of one device",
    )


# --- leg 4 ----------------------------------------------------------------------------


def signed_reveal(cohort, found, state, i, entries):
    rid, reveal = state.descriptor.rid, legs.Reveal(tuple(entries))
    content = rid + sha256(reveal.content).digest()
    signature = cohort.signers[i].sign(REVEAL, content)
    found[i] = replace(reveal, signature=signature).encode(rid)


def entries_of(found, state, i):
    return list(legs.decode_reveal(found[i], state.descriptor.rid).shares)


def reveals():
    def changed(cohort, found, state):
        (one, share), *rest = entries_of(found, state, 3)
        share = bytes([share[0] ^ 1]) + share[1:]
        signed_reveal(cohort, found, state, 3, [(one, share), *rest])

    wrong = out(4, 3, "share", "the share of device 1 is wrong")
    yield case(
        *(4, "reveal_changed", "A share that its dealer did not commit to", changed),
        *(wrong,),
        origin="docs/threat_model.md: a wrong share at the end",
    )

    def swapped(cohort, found, state):
        (one, mine), *rest = entries_of(found, state, 3)
        theirs = entries_of(found, state, 2)[0][1]
        assert mine != theirs
        signed_reveal(cohort, found, state, 3, [(one, theirs), *rest])

    yield case(
        *(4, "reveal_of_another", "A share that was dealt to another holder"),
        *(swapped, wrong),
        origin="share index of a wrong holder",
    )

    def kind(cohort, found, state):
        (one, _), *rest = entries_of(found, state, 3)
        other = KINDS_OF_SHARE[cohort.name][1]
        signed_reveal(cohort, found, state, 3, [(one, other), *rest])

    def keep(leg, replies, state, requests):
        if leg == 4:
            return bent(4, lambda found, s: kind(cohort, found, s))(
                leg, replies, state, requests
            )
        if leg == 3:
            held = cohort.devices[3].session.secrets.shares
            KINDS_OF_SHARE[cohort.name] = held[1]
        return replies

    cohort = Cohort("bad reveal_kind", 3, 2)
    yield played(
        *("bad_reveal_kind", "Of a survivor the share of its mask key"),
        *(f"{LEGS}4; docs/threat_model.md: both shares of one device", cohort, wrong),
        bend=keep,
    )

    def stranger(cohort, found, state):
        own = entries_of(found, state, 3)
        signed_reveal(cohort, found, state, 3, [*own, (9, own[0][1])])

    yield case(
        *(4, "reveal_stranger", "A share of a device that dealt none", stranger),
        out(4, 3, "stranger", "no share of device 9 is held"),
    )

    def unsigned(cohort, found, state):
        found[3] = found[3][:-1] + bytes([found[3][-1] ^ 1])

    yield case(
        *(4, "reveal_signature", "Shares whose signature was changed", unsigned),
        out(4, 3, "signature", INVALID.format("reveal")),
    )

    def few(cohort, found, state):
        del found[2], found[3]

    yield case(
        *(4, "reveals_few", "One of three reveals", few),
        refused("few", "must be >= 2", error="TooFewSurvivors", device=1, leg=4),
        origin="fewer than t",
    )


KINDS_OF_SHARE = {}


# --- dealers that deal something else -------------------------------------------------


def secrets():
    named = {"device": 2, "leg": 4, "error": "IntegrityError"}
    about = {"origin": "docs/threat_model.md: bad shares, of another secret"}

    def seed(cohort, found, state):
        pairs = dealt_again(cohort, state, 2, seed=made("another seed"))
        found[2] = dealing(cohort, state, 2, pairs)

    yield secret_case(
        *("secret_seed", "A dealer shares another seed than it advertised", seed),
        *(refused("secret", "dealt another mask seed", **named), about),
    )

    def mask(cohort, found, state):
        other = KeyPair.from_seed(made("another key")).seed
        found[2] = dealing(cohort, state, 2, dealt_again(cohort, state, 2, mask=other))

    yield secret_case(
        *("secret_mask_key", "A dealer that is lost shared another mask key", mask),
        *(refused("secret", "dealt another mask key", **named), about),
        silent={2: [2]},
    )

    def no_polynomial(cohort, found, state):
        pairs = dealt_again(cohort, state, 2)
        pairs[1] = (pairs[3][0], pairs[1][1])
        found[2] = dealing(cohort, state, 2, pairs)

    yield secret_case(
        *("secret_no_polynomial", "Shares that lie on no polynomial", no_polynomial),
        *(refused("secret", "open to no secret of 32 bytes", **named), about),
    )

    def field(cohort, found, state):
        pairs = dealt_again(cohort, state, 2)
        pairs[1] = ((2**521 - 1).to_bytes(66, "little"), pairs[1][1])
        found[2] = dealing(cohort, state, 2, pairs)

    yield secret_case(
        *("secret_field", "A committed share that is no field element", field),
        *(refused("field", "encoding of a field element", **named), about),
    )


def secret_case(name, what, change, expect, about, **how):
    origin = about["origin"]
    return case(1, name, what, change, expect, origin=origin, legs=5, **how)
