"""Vectors of seals, of the ledger's chain, of rosters and of signatures."""

from hashlib import sha256

from vector_case import Case, refused
from vector_cohort import made

from fedpref.secagg import roster as rosters
from fedpref.secagg.crypto import Signer, seal
from fedpref.secagg.roster import Entry, Roster

RID = made("rid")
P25519, P521 = 2**255 - 19, 2**521 - 1


def cases():
    yield from seals()
    yield from chains()
    yield from rosters_()
    yield from signatures()


# --- seals ----------------------------------------------------------------------------


def seals():
    key, content = made("seal"), bytes(range(132))
    page = "docs/protocol.md, Bytes: sealed shares"
    given = {"key": key.hex(), "rid": RID.hex(), "dealer": 2, "holder": 3}
    sealed = seal(key, RID, 2, 3, content)
    yield Case(
        *("seals/seal", "seal", "Two shares sealed by device 2 for device 3", page),
        given | {"content": content.hex()},
    )
    yield Case(
        *("seals/other_direction", "seal", "The same key the other way round", page),
        given | {"content": content.hex(), "dealer": 3, "holder": 2},
    )
    given["sealed"] = sealed.hex()
    yield Case(
        *("seals/unseal", "unseal", "What seals/seal.json sealed", page, given),
        {"content": content.hex()},
    )
    for name, what, change in (
        ("direction", "Swapped direction", {"dealer": 3, "holder": 2}),
        ("holder", "Associated data: another holder", {"holder": 4}),
        ("dealer", "Nonce and associated data: another dealer", {"dealer": 5}),
        ("round", "Associated data: another round", {"rid": made("2").hex()}),
        ("key", "Another pair's key", {"key": made("no").hex()}),
        ("tag", "A tag of 15 bytes", {"sealed": sealed[:-1].hex()}),
        (
            *("bit", "One bit of the ciphertext"),
            {"sealed": (bytes([sealed[0] ^ 1]) + sealed[1:]).hex()},
        ),
    ):
        yield Case(
            *(f"seals/bad_{name}", "unseal", what),
            "docs/protocol.md, leg 2 check 2: the seal",
            given | change,
            refused("seal", "cannot be opened"),
        )


# --- the ledger's chain, the roster, signatures ---------------------------------------


def chains():
    rows = [sha256(bytes([i])).hexdigest() for i in range(3)]
    page = "docs/protocol.md, leg 0 check 9"
    for name, what, head, some in (
        ("genesis", "The first rows of a ledger", bytes(32), rows),
        ("later", "Rows after a head that was seen", made("head"), rows[1:]),
        ("none", "No new row: the head stays", made("head"), []),
    ):
        given = {"head": head.hex(), "rows": some}
        yield Case(f"ledger/{name}", "ledger", what, page, given)


def rosters_():
    authority, server = (Signer.from_seed(made(n)) for n in ("authority", "server"))
    page = "docs/protocol.md, Bytes: roster; docs/threat_model.md"
    entries = tuple(
        Entry(i, Signer.from_seed(made("signer", i)).public, 7 + i % 2)
        for i in (1, 2, 5)
    )
    good = Roster(entries, 3_000, 2)

    def case(name, what, data, expect=None, now=1_000, **change):
        keys = {"authority": authority.public, "server": server.public} | change
        given = {"bytes": data.hex(), "now": now}
        given |= {key: value.hex() for key, value in keys.items()}
        origin = page
        return Case(f"roster/{name}", "roster", what, origin, given, expect or {})

    def signed(*some, **change):
        return rosters.sign(Roster(tuple(some), 3_000, 2), authority)

    data = rosters.sign(good, authority)
    yield case("roster", "Three devices of two organisations", data)
    one, two, three = entries
    signature = refused("signature", "signature of roster is not valid")
    yield case(
        *("bad_server", "Signed by the server itself", rosters.sign(good, server)),
        signature,
    )
    same = refused("pinned", "the authority's key is the server's")
    yield case(
        *("bad_authority", "An authority with the server's key", data, same),
        server=authority.public,
    )
    yield case("bad_bit", "One bit of a key", data[:20] + b"\0" + data[21:], signature)
    yield case("bad_short", "A byte too few", data[:-1], signature)
    expired = refused("expired", "ROSTER: expired")
    yield case("bad_expired", "Its time is over", data, expired, now=3_000)
    rise = refused("bytes", "device numbers must rise from 1")
    yield case("bad_order", "Numbers that fall", signed(two, one, three), rise)
    twice = Entry(1, three.key, 9)
    yield case("bad_number_twice", "A number listed twice", signed(one, twice), rise)
    zero = Entry(0, three.key, 9)
    yield case("bad_number_zero", "A device with number 0", signed(zero, one), rise)
    again = refused("repeated_key", "a key is listed twice")
    twice = Entry(6, one.key, 9)
    yield case("bad_key_twice", "A key listed twice", signed(one, two, twice), again)
    content = good.content + b"\0"
    content += Signer.from_seed(made("authority")).sign(b"roster", content)
    too_long = refused("bytes", "1 bytes too many")
    yield case("bad_long", "A signed byte too many", content, too_long)
    many = good.content[:12] + (2**32 - 1).to_bytes(4, "little") + good.content[16:]
    many += Signer.from_seed(made("authority")).sign(b"roster", many)
    lying = refused("bytes", "does not fit in it")
    yield case("bad_length", "A list of 4 billion in 120 bytes", many, lying)


def signatures():
    signer, content = Signer.from_seed(made("signer", 1)), RID
    mark = signer.sign(b"tombstone", content)
    good = {
        "key": signer.public.hex(),
        "label": "tombstone",
        "content": content.hex(),
        "signature": mark.hex(),
    }
    page = "docs/protocol.md, Signatures"
    yield Case("signatures/tombstone", "signature", "A promise", page, good)
    order = 2**252 + 27742317777372353535851937790883648493
    shifted = int.from_bytes(mark[32:], "little") + order
    shifted = mark[:32] + shifted.to_bytes(32, "little")
    for name, what, change, label in (
        ("label", "A tombstone shown as a vote", {"label": "view"}, "view"),
        ("content", "Another round", {"content": made("2").hex()}, "tombstone"),
        ("key", "Another device", {"key": made("no").hex()}, "tombstone"),
        ("short", "63 bytes", {"signature": mark[:-1].hex()}, "tombstone"),
        (
            *("second_form", "The scalar plus the order of the group"),
            *({"signature": shifted.hex()}, "tombstone"),
        ),
    ):
        origin = f"{page}: no label can be taken for another one"
        yield Case(
            *(f"signatures/bad_{name}", "signature", what, origin, good | change),
            refused("signature", f"signature of {label} is not valid"),
        )
