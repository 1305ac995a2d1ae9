"""Vectors of rounds with bad adverts, dealings or uploads."""

from dataclasses import replace

from vector_bent import INVALID, LEGS, bent, case, dealing, dealt_again, out
from vector_case import left_out, refused
from vector_cohort import Cohort, made
from vector_rounds import played

from fedpref.secagg import legs
from fedpref.secagg.crypto import ADVERT, UPLOAD


def cases():
    yield from adverts()
    yield from dealings()
    yield from uploads()


# --- leg 0 ----------------------------------------------------------------------------


def signed_advert(cohort, found, state, i, **change):
    rid = state.descriptor.rid
    advert = replace(legs.decode_advert(found[i], rid), **change)
    signature = cohort.signers[i].sign(ADVERT, rid + advert.content)
    found[i] = replace(advert, signature=signature).encode(rid)


def adverts():
    def forged(cohort, found, state):
        rid = state.descriptor.rid
        advert = legs.decode_advert(found[3], rid)
        signature = cohort.signers[2].sign(ADVERT, rid + advert.content)
        found[3] = replace(advert, signature=signature).encode(rid)

    yield case(
        *(0, "advert_signature", "An advert that another device signed", forged),
        out(0, 3, "signature", INVALID.format("advert")),
    )

    def other(cohort, found, state):
        found[3] = found[2]

    yield case(
        *(0, "advert_of_another", "Device 3 sends the advert of device 2", other),
        out(0, 3, "stranger", "ADVERT: of another device"),
    )

    def low(cohort, found, state):
        signed_advert(cohort, found, state, 3, mask=bytes(32))

    yield case(
        *(0, "advert_low_order", "A mask key of low order", low),
        out(0, 3, "key", "of low order"),
        origin="RFC 7748, section 6.1",
    )

    def repeated(cohort, found, state):
        theirs = legs.decode_advert(found[2], state.descriptor.rid).mask
        signed_advert(cohort, found, state, 4, encrypt=theirs)

    needle = "a public key is used twice"
    yield case(
        *(0, "advert_repeated_key", "Device 4 seals under the mask key of 2", repeated),
        {
            "left_out": {
                0: [left_out(i, "repeated_key", needle) for i in (2, 4)],
            }
        },
        n=5,
        t=3,
        origin="whom it repeats is left out as well",
    )

    def neighbours(cohort, found, state):
        signed_advert(cohort, found, state, 3, outgoing=(1,))

    yield case(
        *(0, "advert_neighbours", "A neighbour drawn on the complete graph"),
        *(neighbours, out(0, 3, "neighbours", "bad neighbours")),
    )

    def endless(cohort, found, state):
        signed_advert(cohort, found, state, 3, outgoing=tuple(range(4, 1_040)))

    yield case(
        *(0, "advert_size", "An advert with a thousand neighbours", endless),
        out(0, 3, "size", "bytes, must be <="),
        origin="Bytes: much longer than legal",
    )
    yield before()

    def few(cohort, found, state):
        found[1], found[2] = found[1][:-1], b""

    yield case(
        *(0, "adverts_few", "Two of three adverts are malformed", few),
        refused("few", "must be >= 2", error="TooFewSurvivors", leg=0),
        origin="docs/threat_model.md: a small cohort",
    )


def before():
    """An advert of round 1 under the header of round 2."""
    cohort = Cohort("replayed advert", 3, 2)
    cohort.play(1)
    old = dict(cohort.replies[0])[3]

    def change(found, state):
        found[3] = old[:4] + state.descriptor.rid + old[36:]

    return played(
        *("bad_advert_replayed", "An advert of round 1 under the header of round 2"),
        f"{LEGS}0; docs/threat_model.md: the same round again",
        cohort,
        out(0, 3, "signature", INVALID.format("advert")),
        bend=bent(0, change),
        round_=2,
    )


# --- leg 1 ----------------------------------------------------------------------------


def dealings():
    def root(cohort, found, state):
        pairs = dealt_again(cohort, state, 3)
        found[3] = dealing(cohort, state, 3, pairs, root=made("root"))

    yield case(
        *(1, "shares_root", "A root that is not that of the digests", root),
        out(1, 3, "root", "the root is not that of the digests"),
    )

    def old_adverts(cohort, found, state):
        pairs = dealt_again(cohort, state, 3)
        found[3] = dealing(cohort, state, 3, pairs, adverts_hash=made("other adverts"))

    yield case(
        *(1, "shares_adverts", "A dealing signed over other adverts", old_adverts),
        out(1, 3, "signature", INVALID.format("shares")),
        origin="two groups shown two sets of adverts",
    )

    def one_less(cohort, found, state):
        rid = state.descriptor.rid
        whole = legs.decode_dealing(found[3], rid)
        found[3] = replace(whole, sealed=whole.sealed[:1]).encode(rid)

    yield case(
        *(1, "shares_count", "Nothing is sealed for one holder", one_less),
        out(1, 3, "count", "not one for each holder"),
    )

    def few(cohort, found, state):
        del found[1], found[2]

    yield case(
        *(1, "shares_few", "One of three deals", few),
        refused("few", "must be >= 2", error="TooFewSurvivors", leg=1),
    )

    def spoiled(cohort, found, state):
        reply = bytearray(found[2])
        for place in range(2):
            reply[-1 - 148 * place] ^= 1
        found[2] = bytes(reply)

    named = {"device": 2, "leg": 2, "error": "TooFewSurvivors"}
    # Device 2 alone holds a good share of itself: 1 of 3.
    yield case(
        *(1, "dealer_named", "A dealer whose shares nobody can open is named"),
        *(spoiled, refused("few_holders", "leave it out", **named)),
        origin="Complaints; docs/threat_model.md: bad shares to some holders",
        legs=3,
    )


# --- leg 2 ----------------------------------------------------------------------------


def signed_upload(cohort, found, state, i, **change):
    rid, size = state.descriptor.rid, cohort.coordinates * cohort.word_bits // 8
    upload = legs.decode_upload(found[i], rid, size=size)
    upload = replace(upload, words=bytes(upload.words), **change)
    signature = cohort.signers[i].sign(UPLOAD, rid + upload.content)
    found[i] = replace(upload, signature=signature).encode(rid)


def uploads():
    def dealers(cohort, found, state):
        signed_upload(cohort, found, state, 3, dealers=made("other dealers"))

    yield case(
        *(2, "upload_dealers", "Masked for other dealers, and signed", dealers),
        out(2, 3, "dealers", "masked for other dealers"),
        origin="split views",
    )
    for name, numbers, what in (
        ("stranger", (9,), "a device that nobody knows"),
        ("itself", (3,), "itself"),
    ):

        def missing(cohort, found, state, numbers=numbers):
            signed_upload(cohort, found, state, 3, missing=numbers)

        yield case(
            *(2, f"upload_misses_{name}", f"A complaint about {what}", missing),
            out(2, 3, "missing", "misses a share that is not for it"),
            origin="Complaints",
        )

    def word(cohort, found, state):
        found[3] = found[3][:-1] + bytes([found[3][-1] ^ 128])

    yield case(
        *(2, "upload_changed", "A word that was changed on the way", word),
        out(2, 3, "signature", INVALID.format("upload")),
        origin="docs/guarantees/mask.md: masks give no integrity",
    )

    def short(cohort, found, state):
        found[3] = found[3][:-1]

    yield case(
        *(2, "upload_short", "An upload of a byte less", short),
        out(2, 3, "bytes", "bytes are too few"),
    )

    def few(cohort, found, state):
        del found[1], found[3]

    yield case(
        *(2, "uploads_few", "One of three uploads", few),
        refused("few", "must be >= 2", error="TooFewSurvivors", leg=2),
        origin="docs/threat_model.md: a small cohort",
    )
