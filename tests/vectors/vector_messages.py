"""Vectors of messages: each kind read and written, and each field bent."""

from struct import pack

from vector_case import Case, refused
from vector_cohort import Cohort, made

from fedpref.secagg import legs, server
from fedpref.secagg.crypto import TOMBSTONE

KINDS = {
    name: 16 + place
    for place, name in enumerate(
        (
            *("DESCRIPTOR", "ADVERT", "ADVERTS", "SHARES", "DELIVERY", "UPLOAD"),
            *("SURVIVORS", "AGREEMENT", "AGREEMENTS", "REVEAL", "TOMBSTONES"),
        )
    )
}
ENDS_IN_LIST = ("DESCRIPTOR", "ADVERTS", "SHARES", "AGREEMENTS", "TOMBSTONES")
LIE = pack("<I", 2**32 - 1)


def cases():
    cohort, found = whole_round()
    rid, size = found["ADVERTS"][4:36], cohort.coordinates * cohort.word_bits // 8
    page = "docs/protocol.md, Bytes"
    bytes_ = "docs/threat_model.md: malformed, oversized messages"

    def case(name, what, kind, data, expect=None, origin=bytes_, wanted=rid):
        if kind == "DESCRIPTOR":  # which says its own round
            wanted = found[kind][4:36] if wanted == rid else wanted
        given = {"kind": kind, "rid": wanted.hex(), "bytes": data.hex()}
        if kind == "UPLOAD":
            given["size"] = size
        return Case(f"messages/{name}", "message", what, origin, given, expect or {})

    for kind, data in found.items():
        yield case(kind.lower(), f"{kind}: its fields", kind, data, origin=page)
    for kind, data in found.items():
        few = refused("bytes", "bytes are too few")
        if kind in ENDS_IN_LIST:  # which says it first
            few = refused("bytes", "does not fit in it")
        yield case(
            *(f"bad_{kind.lower()}_truncated", f"{kind} without its last byte", kind),
            *(data[:-1], few),
        )
        long = data + b"\0"
        yield case(
            *(f"bad_{kind.lower()}_long", f"{kind} and a byte more", kind, long),
            refused("bytes", "1 bytes too many"),
        )
    yield from drawn_advert(case, page)
    yield from headers(case, found)
    yield from lengths(case, found, size)
    yield from orders(case, found)
    yield from terms(case, cohort)


def whole_round():
    """A round of three without device 3's upload, and one message of each kind."""
    cohort = Cohort("messages", 3, 2)
    state, _ = cohort.play(silent={2: [3]})
    rid = state.descriptor.rid
    sent = {i: [request for _, request, _ in cohort.steps[i]] for i in cohort.ids}
    replies = [dict(leg) for leg in cohort.replies]
    buried = [(i, cohort.signers[i].sign(TOMBSTONE, rid)) for i in (1, 3)]
    rows = (made("row", 1), made("row", 2))
    _, invited = cohort.invite(2, since=5, rows=rows, ledger_seq=7)
    downward = ("DESCRIPTOR", "ADVERTS", "DELIVERY", "SURVIVORS", "AGREEMENTS")
    upward = ("ADVERT", "SHARES", "UPLOAD", "AGREEMENT", "REVEAL")
    found = {kind: sent[1][leg] for leg, kind in enumerate(downward)}
    found |= {kind: replies[leg][1] for leg, kind in enumerate(upward)}
    found["DESCRIPTOR"] = invited[1]
    found["TOMBSTONES"] = legs.encode_tombstones(rid, tuple(buried))
    return cohort, dict(sorted(found.items(), key=lambda entry: KINDS[entry[0]]))


def drawn_advert(case, page):
    cohort = Cohort("drawn advert", 5, 4, neighbours=2)
    cohort.play(1)
    drawn = dict(cohort.replies[0])[2]
    rid = drawn[4:36]
    yield case(
        *("advert_drawn", "An advert with two drawn neighbours", "ADVERT", drawn),
        origin=f"{page}; Drawn neighbours",
        wanted=rid,
    )
    _, requests = cohort.invite(2)
    again = cohort.ask(2, requests[2])
    yield case(
        *("advert_tombstone", "An advert that buries the round before", "ADVERT"),
        again,
        origin=page,
        wanted=again[4:36],
    )
    for name, what, outgoing, needle in (
        ("zero", "0", (0, 1), "device numbers start at 1"),
        ("twice", "a number twice", (3, 3), "device numbers must rise"),
        ("falling", "numbers that fall", (4, 3), "device numbers must rise"),
    ):
        place = 36 + 4 + 32 * 3 + 96 + 4
        bent = drawn[:place] + pack("<II", *outgoing) + drawn[place + 8 :]
        yield case(
            *(f"bad_advert_ids_{name}", f"Neighbours with {what}", "ADVERT", bent),
            refused("bytes", needle),
            wanted=rid,
        )


def headers(case, found):
    data = found["SURVIVORS"]
    for name, what, bent, needle in (
        ("magic", "Magic FQ", b"FQ" + data[2:], "not a fedpref message"),
        ("version", "Version 2", b"FP\2" + data[3:], "not a fedpref message"),
        ("unknown", "Kind 99", b"FP\1\x63" + data[4:], "kind = 99 is unknown"),
        ("short", "35 bytes of header", data[:35], "35 bytes, must be >= 36"),
        ("empty", "No bytes at all", b"", "0 bytes, must be >= 36"),
    ):
        yield case(
            *(f"bad_header_{name}", what, "SURVIVORS", bent),
            refused("bytes", needle),
        )
    yield case(
        *("bad_header_kind", "AGREEMENT where SURVIVORS is due", "SURVIVORS"),
        *(found["AGREEMENT"], refused("kind", "must be SURVIVORS")),
    )
    replayed = "docs/threat_model.md: the same round again"
    for kind in ("ADVERT", "UPLOAD", "SURVIVORS", "AGREEMENTS", "REVEAL"):
        yield case(
            *(f"bad_{kind.lower()}_round", f"{kind} of another round", kind),
            *(found[kind], refused("round", "belongs to another round"), replayed),
            made("another round"),
        )
    data = found["DESCRIPTOR"]
    bent = data[:4] + made("no") + data[36:]
    yield case(
        *("bad_descriptor_rid", "A round id that is not that of the content"),
        *("DESCRIPTOR", bent, refused("round", "is not that of its content")),
    )


def lengths(case, found, size):
    """Lists that say that they are longer than the message."""
    shares, delivery = found["SHARES"], found["DELIVERY"]
    sealed = 36 + 96 + 4 + 3 * 64
    parcels = 36 + 4 + 3 * 4
    for name, what, kind, place in (
        ("adverts", "4 billion adverts", "ADVERTS", 36),
        ("digests", "4 billion digests", "SHARES", 36 + 96),
        ("sealed", "4 billion sealed shares", "SHARES", sealed),
        ("parcels", "4 billion parcels", "DELIVERY", parcels),
        ("votes", "4 billion signatures", "AGREEMENTS", 36 + 64 + 4 + 2 * 4),
        ("entries", "4 billion shares", "REVEAL", 36),
        ("tombstones", "4 billion tombstones", "TOMBSTONES", 36),
        ("rows", "4 billion rows", "DESCRIPTOR", len(found["DESCRIPTOR"]) - 68),
    ):
        data = found[kind]
        assert int.from_bytes(data[place : place + 4], "little") < 10, name
        bent = data[:place] + LIE + data[place + 4 :]
        yield case(
            *(f"bad_length_{name}", f"{what} are announced", kind, bent),
            refused("bytes", "a list of 4294967295 does not fit in it"),
            "docs/protocol.md, Bytes: compared before anything is allocated",
        )
    few = refused("bytes", "bytes are too few")
    for name, kind, place in (
        ("dealers", "DELIVERY", 36),
        ("missing", "UPLOAD", 36 + 32),
        ("survivors", "SURVIVORS", 36),
        ("cohort", "DESCRIPTOR", 36 + 160 + 4 + 8 + 32 + 8 + 16 + 1 + 4),
    ):
        data = found[kind]
        assert int.from_bytes(data[place : place + 4], "little") < 10, name
        bent = data[:place] + LIE + data[place + 4 :]
        what = f"4 billion {name} are announced"
        yield case(f"bad_length_{name}", what, kind, bent, few)
    place = parcels + 4 + 4 + 32 + 64 + 148
    bent = delivery[:place] + b"\xff" + delivery[place + 1 :]
    what = "A path of 255 steps in a message of two"
    yield case("bad_length_path", what, "DELIVERY", bent, few)
    one_less = shares[: 36 + 96] + pack("<I", 2) + shares[36 + 100 :]
    yield case(
        *("bad_length_shifted", "A list that hides one entry from the next list"),
        *("SHARES", one_less, refused("bytes", "does not fit in it")),
    )
    upload = found["UPLOAD"]
    yield case(
        *("bad_upload_words", "An upload of one coordinate less", "UPLOAD"),
        *(upload[:-3], refused("bytes", "bytes are too few")),
    )
    yield case(
        *("bad_upload_wide", "An upload in words of 32 bits instead of 24", "UPLOAD"),
        *(upload + bytes(size // 3), refused("bytes", "4 bytes too many")),
    )


def orders(case, found):
    """Numbers of devices that do not rise, and entries that do not."""
    rise = refused("bytes", "device numbers must rise")
    data = found["SURVIVORS"]
    for name, what, numbers, needle in (
        ("zero", "Device 0 survives", (0, 1), "device numbers start at 1"),
        ("twice", "A device survives twice", (2, 2), "device numbers must rise"),
        ("falling", "Survivors that fall", (2, 1), "device numbers must rise"),
    ):
        bent = data[:36] + pack("<III", 2, *numbers)
        yield case(
            *(f"bad_survivors_{name}", what, "SURVIVORS", bent),
            refused("bytes", needle),
        )
    for kind, entry, place in (
        ("ADVERTS", 4 + 96 + 96 + 4 + 64, 40),
        ("DELIVERY", 249 + 64, 36 + 16 + 4),
        ("AGREEMENTS", 68, 36 + 64 + 12 + 4),
        ("REVEAL", 70, 40),
        ("TOMBSTONES", 68, 40),
    ):
        data = found[kind]
        one, two = data[place : place + entry], data[place + entry : place + 2 * entry]
        if kind == "DELIVERY":  # the second path may be shorter
            two = data[place + entry :]
        head, tail = data[:place], data[place + len(one) + len(two) :]
        swapped, twice = head + two + one + tail, head + one + one + tail
        name = kind.lower()
        yield case(f"bad_{name}_order", "Entries that fall", kind, swapped, rise)
        if kind != "DELIVERY":
            yield case(f"bad_{name}_twice", "An entry twice", kind, twice, rise)
    data = found["REVEAL"]
    both = data[:110] + data[40:44] + data[114:]
    yield case(
        *("bad_reveal_both", "Two shares of one dealer", "REVEAL", both, rise),
        "docs/threat_model.md: both shares of one device; a share index repeated",
    )


def terms(case, cohort):
    """Descriptors whose numbers the protocol does not stand on."""
    page = "docs/protocol.md, leg 0 check 1; docs/threat_model.md: a small cohort"
    for name, what, change, needle in (
        ("threshold_one", "t = 1", {"threshold": 1}, "threshold = 1"),
        ("threshold_zero", "t = 0", {"threshold": 0}, "must be > colluders"),
        (
            *("two_lists", "2 t = n + C: two lists with t signatures each"),
            *({"threshold": 2, "colluders": 1}, "must be >= 3 for 3 devices"),
        ),
        (
            *("colluders", "t = C: the colluders open everything"),
            *({"colluders": 2, "neighbours": 1}, "must be > colluders = 2"),
        ),
        (
            *("survivors_few", "Fewer survivors than t are enough"),
            *({"min_survivors": 1}, "must be >= threshold = 2"),
        ),
        (
            *("survivors_none", "No survivor is enough"),
            *({"min_survivors": 0}, "must be >= 1 and <= 3"),
        ),
        (
            *("survivors_many", "More survivors than devices"),
            *({"min_survivors": 4}, "must be >= 1 and <= 3"),
        ),
        ("word_bits", "Words of 8 bits", {"word_bits": 8}, "word_bits = 8"),
        ("empty", "No coordinates", {"coordinates": 0}, "coordinates = 0"),
        ("huge", "2^28 + 1 coordinates", {"coordinates": 2**28 + 1}, "<= 2**28"),
        (
            *("neighbours", "As many drawn neighbours as devices"),
            *({"neighbours": 3, "threshold": 4}, "neighbours = 3, must be < 3"),
        ),
        (
            *("neighbours_t", "Drawn neighbours, and t not above them"),
            *({"neighbours": 2}, "must be > neighbours = 2"),
        ),
    ):
        signed = cohort.descriptor(1, terms=cohort.terms(**change))
        yield _bent(case, cohort, f"bad_terms_{name}", what, signed, needle, page)
    signed = cohort.descriptor(0)
    what = "Round number 0"
    yield _bent(case, cohort, "bad_terms_round", what, signed, "round = 0", page)


def _bent(case, cohort, name, what, signed, needle, page):
    opening = server.invite(
        *(signed, cohort.roster, cohort.model),
        signer=cohort.server,
        since=0,
        row_hashes=(),
    )
    data = opening[1][1]
    expect = refused("terms", needle)
    return case(name, what, "DESCRIPTOR", data, expect, page, signed.rid)
