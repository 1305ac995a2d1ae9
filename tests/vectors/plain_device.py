"""A device of docs/protocol.md, a second time and plainly.

``answer`` is the section "What a device checks" in its order, check by check. A refused
request leaves the state as it was. Imports nothing from the package under test.
"""

import contextlib
import copy
import math
import struct

from plain_bytes import (
    NO_TOMBSTONE,
    Refused,
    advert_content,
    check_size,
    decode,
    devices,
    encode,
    kind_of,
    write_descriptor,
    write_entries,
    write_view,
)
from plain_crypto import (
    agree,
    blake,
    check_path,
    coefficients,
    digest,
    follow,
    leaf,
    masked,
    pack,
    public,
    read_roster,
    seal,
    sha256,
    share,
    sign,
    tree,
    unseal,
    verify,
)
from plain_refunds import refund


class Device:
    """What a device has pinned, and what it remembers."""

    def __init__(self, given, entropy, contribution):
        self.id, self.seed, self.server = given["id"], given["seed"], given["server"]
        self.task, self.plan = given["task"], given["plan"]
        self.roster, self.limits = read_roster(given["roster"]), given["limits"]
        self.budget, self.outgoing = given["budget"], given["outgoing"]
        self.entropy, self.contribution = list(entropy), contribution
        self.row, self.head = given["row"], given["head"]
        self.rounds = []  # every round: number, rid, uploaded, view, released, ...
        self.open = None  # secrets and findings of the round that is under way

    def draw(self, purpose):
        for place, (name, key) in enumerate(self.entropy):
            if name == purpose:
                del self.entropy[place]
                return key
        raise AssertionError(purpose)

    def sign(self, label, content):
        return sign(self.seed, label, content)

    def key(self, device):
        if device not in self.roster["members"]:
            raise Refused("stranger")
        return self.roster["members"][device][0]

    def charged(self):
        return sum(r["uploaded"] and not r["refunded"] for r in self.rounds)


def answer(device, request, now):
    """The reply; the device is changed only if there is one."""
    trial = copy.deepcopy(device)
    reply = _answer(trial, request, now)
    device.__dict__.update(trial.__dict__)
    return reply


def _answer(device, request, now):
    kind, rid, known = kind_of(request), request[4:36], device.open
    limit(device, request, kind, rid)
    if known and known["rid"] == rid and kind in known["replies"]:
        before, reply = known["replies"][kind]
        if kind == "DESCRIPTOR" or before == request:
            return reply
        raise Refused("again")
    if device.roster["expiry"] <= now:
        raise Refused("expired")
    if kind in ("AGREEMENTS", "TOMBSTONES") and refund(device, kind, rid, request):
        return b""
    if kind == "DESCRIPTOR":
        reply = join_round(device, request, now)
    elif kind not in LEGS or known is None or known["closed"]:
        raise Refused("open")
    elif known["d"]["expiry"] <= now:
        raise Refused("expired")
    else:
        reply = LEGS[kind](device, request, known)
    device.open["replies"][kind] = (request, reply)
    return reply


def limit(device, request, kind, rid):
    """How long the request may be, by the round that it says it is of."""
    everybody, ours = len(device.roster["members"]), {"threshold": 1} | device.limits
    if kind == "DESCRIPTOR":
        check_size(request, kind, ours, everybody)
    elif device.open and device.open["rid"] == rid:
        d = device.open["d"]
        check_size(request, kind, d, len(d["cohort"]))
    elif kind in ("AGREEMENTS", "TOMBSTONES"):
        check_size(request, kind, ours, everybody)


# --- leg 0 ----------------------------------------------------------------------------


def join_round(device, request, now):
    opening = decode(request, "DESCRIPTOR", None)
    d = opening["descriptor"]
    verify(device.server, "descriptor", write_descriptor(d), opening["signature"])
    pinned = (device.server, device.task, device.plan, device.roster["digest"])
    if (d["server"], d["task"], d["plan"], d["roster"]) != pinned:
        raise Refused("pinned")
    if blake(opening["model"]) != d["model"]:
        raise Refused("model")
    if d["expiry"] <= now:
        raise Refused("expired")
    if device.rounds and d["round"] <= device.rounds[-1]["number"]:
        raise Refused("number")
    check_cohort(device, d)
    check_limits(device.limits, d)
    values = struct.unpack(f"<{d['coordinates']}d", opening["model"])
    if not all(math.isfinite(value) for value in values):
        raise Refused("model")
    head = extended(device, opening)
    tombstone = give_up(device)
    if device.charged() + 1 > device.budget:
        raise Refused("budget")
    mine = {
        "encrypt": device.draw("encrypt"),
        "mask": device.draw("mask"),
        "seed": device.draw("seed"),
    }
    advert = {
        "id": device.id,
        "encrypt": public(mine["encrypt"]),
        "mask": public(mine["mask"]),
        "commitment": sha256(request[4:36] + mine["seed"]),
        "tombstone": tombstone,
        "outgoing": device.outgoing if d["neighbours"] else [],
    }
    content = request[4:36] + advert_content(advert)
    advert["signature"] = device.sign("advert", content)
    device.row, device.head = d["row"], head
    device.rounds.append(
        {"number": d["round"], "rid": request[4:36], "d": d}
        | dict.fromkeys(("uploaded", "released", "buried", "refunded"), False)
    )
    device.open = {"rid": request[4:36], "d": d, "mine": mine, "advert": advert}
    device.open |= {"replies": {}, "closed": False, "view": None, "model": values}
    return encode("ADVERT", request[4:36], advert)


def check_cohort(device, d):
    if device.id not in d["cohort"]:
        raise Refused("cohort")
    members = {}
    for member in d["cohort"]:
        device.key(member)
        organisation = device.roster["members"][member][1]
        members[organisation] = members.get(organisation, 0) + 1
    if max(members.values()) > device.roster["most"]:
        raise Refused("organisation")


def check_limits(limits, d):
    top, bottom = limits["colluders"]
    least = -(-top * len(d["cohort"]) // bottom)
    good = d["colluders"] >= least
    good = good and d["min_survivors"] >= limits["min_survivors"]
    good = good and d["min_survivors"] - d["colluders"] >= limits["contributors"]
    for name in ("coordinates", "word_bits", "neighbours"):
        good = good and d[name] == limits[name]
    if not good:
        raise Refused("limits")


def extended(device, opening):
    d, rows, since = opening["descriptor"], opening["rows"], opening["since"]
    if since > device.row or since + len(rows) != d["row"] or d["row"] < device.row:
        raise Refused("ledger")
    head = follow(device.head, rows[device.row - since :])
    if head != d["head"]:
        raise Refused("ledger")
    return head


def give_up(device):
    """The tombstone of the round before, unless it has released its shares."""
    if not device.rounds or device.rounds[-1]["released"]:
        return NO_TOMBSTONE
    last = device.rounds[-1]
    last["buried"] = True
    return last["rid"] + device.sign("tombstone", last["rid"])


# --- leg 1 ----------------------------------------------------------------------------


def deal(device, request, known):
    d, rid, mine = known["d"], known["rid"], known["mine"]
    listed = decode(request, "ADVERTS", rid)["adverts"]
    if len(listed) < d["min_survivors"]:
        raise Refused("few")
    keys = []
    for advert in listed:
        if advert["id"] not in d["cohort"]:
            raise Refused("stranger")
        content = rid + advert_content(advert)
        verify(device.key(advert["id"]), "advert", content, advert["signature"])
        out = advert["outgoing"]
        if len(out) != d["neighbours"] or advert["id"] in out:
            raise Refused("neighbours")
        if any(other not in d["cohort"] for other in out):
            raise Refused("neighbours")
        keys += [advert["encrypt"], advert["mask"]]
    if len(set(keys)) != len(keys):
        raise Refused("repeated_key")
    if known["advert"] not in listed:
        raise Refused("own")
    known["u0"] = {advert["id"]: advert for advert in listed}
    known["adverts_hash"] = sha256(request)
    around = holders(known, device.id)
    if not d["threshold"] <= len(around) < 2 * d["threshold"]:
        raise Refused("holders")
    factors = coefficients(device.draw("shares"), 2, d["threshold"])
    digests, leaves, sealed, known["pairs"] = [], [], [], {}
    for holder in around:
        secrets = zip((mine["seed"], mine["mask"]), factors, strict=True)
        pair = [share(secret, some, holder) for secret, some in secrets]
        both = [digest(rid, device.id, holder, k, s) for k, s in enumerate(pair)]
        digests.append(both)
        leaves.append(leaf(*both))
        if holder == device.id:
            known["shares"] = {device.id: pair}
            continue
        theirs = known["u0"][holder]["encrypt"]
        key = known["pairs"][holder] = agree(mine["encrypt"], theirs, rid, "enc")
        sealed.append(seal(key, rid, device.id, holder, pair[0] + pair[1]))
    root, _ = tree(leaves)
    signature = device.sign("shares", rid + known["adverts_hash"] + root)
    fields = {"root": root, "signature": signature}
    return encode("SHARES", rid, fields | {"digests": digests, "sealed": sealed})


def holders(known, member):
    found = []
    for other, advert in known["u0"].items():
        near = other in known["u0"][member]["outgoing"] or member in advert["outgoing"]
        if other == member or near or known["d"]["neighbours"] == 0:
            found.append(other)
    return found


# --- leg 2 ----------------------------------------------------------------------------


def upload(device, request, known):
    d, rid = known["d"], known["rid"]
    if "u0" not in known:
        raise Refused("open")
    delivery = decode(request, "DELIVERY", rid)
    u1 = delivery["dealers"]
    if len(u1) < d["min_survivors"] or device.id not in u1:
        raise Refused("dealers")
    if any(dealer not in known["u0"] for dealer in u1):
        raise Refused("dealers")
    around = [i for i in holders(known, device.id) if i in u1 and i != device.id]
    for parcel in delivery["parcels"]:
        if parcel["dealer"] in around:
            with contextlib.suppress(Refused):  # a bad dealer does not stop the round
                known["shares"][parcel["dealer"]] = checked(device, known, parcel)
    if len(known["shares"]) < d["threshold"]:
        raise Refused("few")
    add, subtract = [known["mine"]["seed"]], []
    for other in around:
        key = agree(known["mine"]["mask"], known["u0"][other]["mask"], rid, "mask")
        (add if other < device.id else subtract).append(key)
    words = pack(
        masked(device.contribution, add, subtract, d["word_bits"]), d["word_bits"]
    )
    fields = {
        "dealers_hash": sha256(devices(u1)),
        "missing": [other for other in around if other not in known["shares"]],
        "words": words,
    }
    content = fields["dealers_hash"] + devices(fields["missing"]) + blake(words)
    fields["signature"] = device.sign("upload", rid + content)
    known["u1"] = u1
    device.rounds[-1]["uploaded"] = True
    return encode("UPLOAD", rid, fields)


def checked(device, known, parcel):
    """A dealer's two shares for this device."""
    rid, dealer = known["rid"], parcel["dealer"]
    content = rid + known["adverts_hash"] + parcel["root"]
    verify(device.key(dealer), "shares", content, parcel["signature"])
    both = unseal(known["pairs"][dealer], rid, dealer, device.id, parcel["sealed"])
    pair = [both[:66], both[66:]]
    digests = [digest(rid, dealer, device.id, k, s) for k, s in enumerate(pair)]
    around = holders(known, dealer)
    place = around.index(device.id)
    check_path(parcel["root"], leaf(*digests), place, parcel["path"], len(around))
    return pair


# --- legs 3 and 4 ---------------------------------------------------------------------


def agree_on(device, request, known):
    survivors = decode(request, "SURVIVORS", known["rid"])["survivors"]
    u1 = known.get("u1", [])
    if device.id not in survivors or any(i not in u1 for i in survivors):
        raise Refused("survivors")
    if len(survivors) < known["d"]["min_survivors"]:
        raise Refused("few")
    known["view"] = {
        "adverts_hash": known["adverts_hash"],
        "dealers_hash": sha256(devices(known["u1"])),
        "survivors": survivors,
    }
    signature = device.sign("view", known["rid"] + write_view(known["view"]))
    return encode("AGREEMENT", known["rid"], {"signature": signature})


def reveal(device, request, known):
    rid, t = known["rid"], known["d"]["threshold"]
    found = decode(request, "AGREEMENTS", rid)
    if known["view"] is None or found["view"] != known["view"]:
        raise Refused("view")
    u2, around = known["view"]["survivors"], holders(known, device.id)
    content, votes = rid + write_view(known["view"]), 0
    for entry in found["signatures"]:
        if entry["device"] in u2 and entry["device"] in around and votes < t:
            verify(device.key(entry["device"]), "view", content, entry["signature"])
            votes += 1
    if votes < t:
        raise Refused("votes")
    entries = []
    for dealer in known["u1"]:
        if dealer in known["shares"]:
            place = 0 if dealer in u2 else 1
            entries.append({"dealer": dealer, "share": known["shares"][dealer][place]})
    signature = device.sign("reveal", rid + sha256(write_entries(entries)))
    device.rounds[-1]["released"] = known["closed"] = True
    return encode("REVEAL", rid, {"shares": entries, "signature": signature})


LEGS = {
    "ADVERTS": deal,
    "DELIVERY": upload,
    "SURVIVORS": agree_on,
    "AGREEMENTS": reveal,
}
