"""The messages of docs/protocol.md read and written, a second time and plainly.

Written from the pages docs/protocol.md, docs/guarantees/{mask,shares,commitments}.md
alone. Imports nothing from the package under test. Slow, and meant to be read.
"""

import hashlib

KINDS = {
    "DESCRIPTOR": 16,
    "ADVERT": 17,
    "ADVERTS": 18,
    "SHARES": 19,
    "DELIVERY": 20,
    "UPLOAD": 21,
    "SURVIVORS": 22,
    "AGREEMENT": 23,
    "AGREEMENTS": 24,
    "REVEAL": 25,
    "TOMBSTONES": 26,
}
NO_TOMBSTONE = bytes(96)


class Refused(Exception):
    """Something is refused: why, in one word, and who is to blame if that is known."""

    def __init__(self, reason, device=None):
        super().__init__(reason)
        self.reason = reason
        self.device = device


class Cursor:
    """A place in some bytes."""

    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def take(self, count):
        if self.at + count > len(self.data):
            raise Refused("bytes")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count=4):
        total = 0
        for place, byte in enumerate(self.take(count)):
            total += byte << (8 * place)
        return total

    def list_of(self, read):
        """Never more entries than there are bytes: the first one missing refuses."""
        return [read(self) for _ in range(self.number())]

    def devices(self):
        found = self.list_of(Cursor.number)
        before = 0
        for device in found:
            if device <= before:
                raise Refused("bytes")
            before = device
        return found

    def end(self):
        if self.at != len(self.data):
            raise Refused("bytes")


def number(value, count=4):
    return bytes((value >> (8 * place)) & 255 for place in range(count))


def list_of(entries):
    return number(len(entries)) + b"".join(entries)


def devices(values):
    return list_of([number(value) for value in values])


def message(kind, rid, body):
    return b"FP" + bytes([1, KINDS[kind]]) + rid + body


def kind_of(data):
    if len(data) < 36 or data[0:2] != b"FP" or data[2] != 1:
        raise Refused("bytes")
    for name, value in KINDS.items():
        if value == data[3]:
            return name
    raise Refused("bytes")


def opened(data, kind, rid):
    """The body of a message of this kind and round."""
    if kind_of(data) != kind:
        raise Refused("kind")
    if rid is not None and data[4:36] != rid:
        raise Refused("round")
    return Cursor(data, 36)


def check_size(data, kind, d, n):
    """No message is read that is much longer than a legal one for n devices."""
    members = min(n, 2 * d["threshold"] - 1)  # that hold shares of one dealer
    advert = 4 + 3 * 32 + 96 + 4 + 4 * d["neighbours"] + 64
    votes = 4 + 68 * n
    steps = 0
    while 2**steps < n:
        steps += 1
    most = {
        "DESCRIPTOR": 233 + 4 + 4 * n + 64 + 8 * d["coordinates"] + 12 + 32 * 2**20,
        "ADVERT": advert,
        "ADVERTS": 4 + n * advert,
        "SHARES": 32 + 64 + 4 + 64 * members + 4 + 148 * (members - 1),
        "DELIVERY": 4 + 4 * n + 4 + (members - 1) * (249 + 32 * steps),
        "UPLOAD": 100 + 4 * (members - 1) + d["coordinates"] * d["word_bits"] // 8,
        "SURVIVORS": 4 + 4 * n,
        "AGREEMENT": 64,
        "AGREEMENTS": 64 + 4 + 4 * n + votes,
        "REVEAL": 4 + 70 * members + 64,
        "TOMBSTONES": votes,
    }
    if len(data) > 36 + most[kind] + 4096:
        raise Refused("size")


def rising(entries, name):
    for place in range(1, len(entries)):
        if entries[place - 1][name] >= entries[place][name]:
            raise Refused("bytes")
    return entries


# --- parts ----------------------------------------------------------------------------


DESCRIPTOR = (
    *(("task", 32), ("model", 32), ("plan", 32), ("roster", 32), ("server", 32)),
    *(("round", 4), ("row", 8), ("head", 32), ("expiry", 8)),
    *(("threshold", 4), ("min_survivors", 4), ("colluders", 4), ("coordinates", 4)),
    *(("word_bits", 1), ("neighbours", 4)),
)
HASHES = ("task", "model", "plan", "roster", "server", "head")


def read_descriptor(cursor):
    found = {}
    for name, size in DESCRIPTOR:
        found[name] = cursor.take(size) if name in HASHES else cursor.number(size)
    found["cohort"] = cursor.devices()
    check_terms(found)
    return found


def write_descriptor(fields):
    parts = []
    for name, size in DESCRIPTOR:
        value = fields[name]
        parts.append(value if name in HASHES else number(value, size))
    return b"".join(parts) + devices(fields["cohort"])


def check_terms(d):
    """Leg 0, check 1."""
    n, t, c = len(d["cohort"]), d["threshold"], d["colluders"]
    good = 1 <= d["min_survivors"] <= n and t > c and d["round"] >= 1
    good = good and d["word_bits"] in (16, 24, 32)
    good = good and 1 <= d["coordinates"] <= 2**28
    if d["neighbours"] == 0:
        good = good and n <= 3000 and 2 * t > n + c and t <= d["min_survivors"]
    else:
        good = good and d["neighbours"] < n and t > d["neighbours"]
    if not good:
        raise Refused("terms")


def read_advert(cursor):
    return {
        "id": cursor.number(),
        "encrypt": cursor.take(32),
        "mask": cursor.take(32),
        "commitment": cursor.take(32),
        "tombstone": cursor.take(96),
        "outgoing": cursor.devices(),
        "signature": cursor.take(64),
    }


def advert_content(a):
    fixed = number(a["id"]) + a["encrypt"] + a["mask"] + a["commitment"]
    return fixed + a["tombstone"] + devices(a["outgoing"])


def write_advert(a):
    return advert_content(a) + a["signature"]


def read_parcel(cursor):
    found = {
        "dealer": cursor.number(),
        "root": cursor.take(32),
        "signature": cursor.take(64),
        "sealed": cursor.take(148),
    }
    found["path"] = [cursor.take(32) for _ in range(cursor.number(1))]
    return found


def write_parcel(p):
    fixed = number(p["dealer"]) + p["root"] + p["signature"] + p["sealed"]
    return fixed + number(len(p["path"]), 1) + b"".join(p["path"])


def read_view(cursor):
    return {
        "adverts_hash": cursor.take(32),
        "dealers_hash": cursor.take(32),
        "survivors": cursor.devices(),
    }


def write_view(v):
    return v["adverts_hash"] + v["dealers_hash"] + devices(v["survivors"])


def read_signed(cursor):
    return {"device": cursor.number(), "signature": cursor.take(64)}


def write_signed(entries):
    return list_of([number(e["device"]) + e["signature"] for e in entries])


def read_entry(cursor):
    return {"dealer": cursor.number(), "share": cursor.take(66)}


def write_entries(entries):
    return list_of([number(e["dealer"]) + e["share"] for e in entries])


# --- messages -------------------------------------------------------------------------


def decode(data, kind, rid, size=None):
    """The fields of a message; ``size`` is the length of an upload's words in bytes."""
    cursor = opened(data, kind, rid)
    found = READ[kind](cursor, size)
    cursor.end()
    if kind == "DESCRIPTOR":
        content = write_descriptor(found["descriptor"])
        if hashlib.sha256(content).digest() != data[4:36]:
            raise Refused("round")
    return found


def encode(kind, rid, fields):
    return message(kind, rid, WRITE[kind](fields))


def _read_opening(cursor, size):
    d = read_descriptor(cursor)
    return {
        "descriptor": d,
        "signature": cursor.take(64),
        "model": cursor.take(8 * d["coordinates"]),
        "since": cursor.number(8),
        "rows": cursor.list_of(lambda c: c.take(32)),
    }


def _write_opening(f):
    fixed = write_descriptor(f["descriptor"]) + f["signature"] + f["model"]
    return fixed + number(f["since"], 8) + list_of(f["rows"])


def _read_dealing(cursor, size):
    return {
        "root": cursor.take(32),
        "signature": cursor.take(64),
        "digests": cursor.list_of(lambda c: [c.take(32), c.take(32)]),
        "sealed": cursor.list_of(lambda c: c.take(148)),
    }


def _write_dealing(f):
    digests = list_of([one + two for one, two in f["digests"]])
    return f["root"] + f["signature"] + digests + list_of(f["sealed"])


def _read_delivery(cursor, size):
    dealers = cursor.devices()
    parcels = rising(cursor.list_of(read_parcel), "dealer")
    return {"dealers": dealers, "parcels": parcels}


def _write_delivery(f):
    return devices(f["dealers"]) + list_of([write_parcel(p) for p in f["parcels"]])


def _read_upload(cursor, size):
    return {
        "dealers_hash": cursor.take(32),
        "missing": cursor.devices(),
        "signature": cursor.take(64),
        "words": cursor.take(size),
    }


def _write_upload(f):
    return f["dealers_hash"] + devices(f["missing"]) + f["signature"] + f["words"]


def _read_agreements(cursor, size):
    view = read_view(cursor)
    return {
        "view": view,
        "signatures": rising(cursor.list_of(read_signed), "device"),
    }


def _read_reveal(cursor, size):
    shares = rising(cursor.list_of(read_entry), "dealer")
    return {"shares": shares, "signature": cursor.take(64)}


READ = {
    "DESCRIPTOR": _read_opening,
    "ADVERT": lambda c, size: read_advert(c),
    "ADVERTS": lambda c, size: {"adverts": rising(c.list_of(read_advert), "id")},
    "SHARES": _read_dealing,
    "DELIVERY": _read_delivery,
    "UPLOAD": _read_upload,
    "SURVIVORS": lambda c, size: {"survivors": c.devices()},
    "AGREEMENT": lambda c, size: {"signature": c.take(64)},
    "AGREEMENTS": _read_agreements,
    "REVEAL": _read_reveal,
    "TOMBSTONES": lambda c, size: {
        "signatures": rising(c.list_of(read_signed), "device")
    },
}
WRITE = {
    "DESCRIPTOR": _write_opening,
    "ADVERT": write_advert,
    "ADVERTS": lambda f: list_of([write_advert(a) for a in f["adverts"]]),
    "SHARES": _write_dealing,
    "DELIVERY": _write_delivery,
    "UPLOAD": _write_upload,
    "SURVIVORS": lambda f: devices(f["survivors"]),
    "AGREEMENT": lambda f: f["signature"],
    "AGREEMENTS": lambda f: write_view(f["view"]) + write_signed(f["signatures"]),
    "REVEAL": lambda f: write_entries(f["shares"]) + f["signature"],
    "TOMBSTONES": lambda f: write_signed(f["signatures"]),
}
