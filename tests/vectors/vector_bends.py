"""Vectors bent at random: a field is changed and, where a key is known, signed again.

The keys of a cohort follow from names, so a bent message gets past the signatures and
reaches the checks behind them. What must come out is not known, but the package and the
plain implementation must say the same.
"""

import contextlib
import copy

import plain_bytes as plain
import plain_crypto as crypto
from plain_bytes import Refused
from vector_cohort import made

UPWARD = ("ADVERT", "SHARES", "UPLOAD", "AGREEMENT", "REVEAL")
LOW = (bytes(32), b"\1" + bytes(31), (2**255 - 20).to_bytes(32, "little"))


def bent(vector, rng):
    """A copy in which one message is another one."""
    found = copy.deepcopy(vector)
    bend = bend_reply if vector["type"] == "server" else bend_request
    with contextlib.suppress(Refused):  # it cannot be read: it is bent already
        bend(found, rng)
    return found


def signed(device, label, content):
    return crypto.sign(made("signer", device), label, content)


def some_numbers(numbers, rng):
    """Numbers of devices, a little or quite different."""
    found = list(numbers)
    how = rng.randrange(5)
    if how == 0:
        found = sorted({*found, rng.choice([0, 1, 2, 3, 4, 9, 2**32 - 1])})
    elif how == 1:
        found = found[1:]
    elif how == 2:
        rng.shuffle(found)
    elif how == 3:
        found = sorted(rng.sample(range(1, 8), rng.randrange(6)))
    else:
        found += found[:1]
    return found


def bend_advert(advert, rid, others, rng):
    keys = [*LOW, *(a[name] for a in others for name in ("encrypt", "mask"))]
    changes = {
        "id": rng.randrange(5),
        "encrypt": rng.choice(keys),
        "mask": rng.choice(keys),
        "commitment": bytes(32),
        "tombstone": made("no") * 3,
        "outgoing": some_numbers(advert["outgoing"], rng),
    }
    name = rng.choice(list(changes))
    advert[name] = changes[name]
    content = rid + plain.advert_content(advert)
    advert["signature"] = signed(advert["id"], "advert", content)


# --- replies --------------------------------------------------------------------------


def bend_reply(vector, rng):
    given = vector["input"]
    leg = rng.randrange(len(given["replies"]))
    replies = given["replies"][leg]
    opening = bytes.fromhex(given["descriptor"])
    d = plain.decode(opening, "DESCRIPTOR", None)["descriptor"]
    entry, size = rng.choice(replies), d["coordinates"] * d["word_bits"] // 8
    if rng.random() < 0.2:  # somebody else's
        entry[1] = rng.choice(replies)[1]
        return
    fields = plain.decode(bytes.fromhex(entry[1]), UPWARD[leg], opening[4:36], size)
    REPLIES[leg](fields, entry[0], opening[4:36], vector, rng)
    entry[1] = plain.encode(UPWARD[leg], opening[4:36], fields).hex()


def _advert(fields, device, rid, vector, rng):
    others = []
    for _, reply in vector["input"]["replies"][0]:
        others.append(plain.decode(bytes.fromhex(reply), "ADVERT", rid))
    bend_advert(fields, rid, others, rng)


def _shares(fields, device, rid, vector, rng):
    name = rng.choice(["sealed", "digests"])
    rows = fields[name]
    how, place = rng.randrange(4), rng.randrange(len(rows))
    if how == 0:
        rows.pop(place)
    elif how == 1:
        rows.append(rows[place])
    elif how == 2:
        rows.reverse()
    else:
        rows[place] = bytes(148) if name == "sealed" else [bytes(32), bytes(32)]
    if rng.random() < 0.8 and fields["digests"]:
        leaves = [crypto.leaf(*pair) for pair in fields["digests"]]
        fields["root"], _ = crypto.tree(leaves)
    asked = vector["expect"]["requests"][0]  # the hash of the ADVERTS message
    content = rid + bytes.fromhex(next(iter(asked.values()))) + fields["root"]
    fields["signature"] = signed(device, "shares", content)


def _upload(fields, device, rid, vector, rng):
    how = rng.randrange(3)
    if how == 0:
        fields["dealers_hash"] = made("dealers")
    elif how == 1:
        fields["missing"] = some_numbers(fields["missing"], rng)
    else:
        fields["words"] = fields["words"][::-1]
    content = fields["dealers_hash"] + plain.devices(fields["missing"])
    content = rid + content + crypto.blake(fields["words"])
    fields["signature"] = signed(device, "upload", content)


def _agreement(fields, device, rid, vector, rng):
    fields["signature"] = signed(device, "view", rid + made("view"))


def _reveal(fields, device, rid, vector, rng):
    shares, how = fields["shares"], rng.randrange(5)
    if how == 0:
        del shares[rng.randrange(len(shares))]
    elif how == 1:
        rng.choice(shares)["share"] = (2**521 - 1).to_bytes(66, "little")
    elif how == 2:
        shares.append({"dealer": rng.randrange(10), "share": bytes(66)})
    elif how == 3:
        shares.reverse()
    else:
        shares[0]["share"], shares[-1]["share"] = (
            *(shares[-1]["share"], shares[0]["share"]),
        )
    content = rid + crypto.sha256(plain.write_entries(shares))
    fields["signature"] = signed(device, "reveal", content)


REPLIES = (_advert, _shares, _upload, _agreement, _reveal)


# --- requests -------------------------------------------------------------------------


def bend_request(vector, rng):
    """A request is replaced, or one more is asked; nothing follows it."""
    steps = vector["input"]["steps"]
    place = rng.randrange(len(steps))
    data = bytes.fromhex(steps[place]["request"])
    kind, rid = plain.kind_of(data), data[4:36]
    fields = plain.decode(data, kind, rid)
    rid = REQUESTS[kind](fields, rid, rng) or rid
    now = rng.choice([steps[place]["now"]] * 5 + [2_000, 3_000])
    request = {"now": now, "request": plain.encode(kind, rid, fields).hex()}
    after = place + rng.randrange(2)
    if "refused" in vector["expect"]:  # which its last step is
        after = min(after, len(steps) - 1)
    vector["input"]["steps"] = [*steps[:after], request]


def _descriptor(fields, rid, rng):
    d, how = fields["descriptor"], rng.randrange(5)
    if how == 0:
        names = ("threshold", "min_survivors", "colluders", "neighbours", "round")
        d[rng.choice([*names, "row", "word_bits"])] = rng.choice([*range(6), 16, 32])
    elif how == 1:
        d["cohort"] = some_numbers(d["cohort"], rng)
    elif how == 2:
        d["expiry"] = rng.choice([0, 999, 1_000, 1_001, 2**63])
    elif how == 3:
        fields["since"], fields["rows"] = rng.randrange(4), fields["rows"][1:]
    else:
        fields["model"] = b"\xff" * len(fields["model"])
        d["model"] = crypto.blake(fields["model"])
    content = plain.write_descriptor(d)
    fields["signature"] = crypto.sign(made("server"), "descriptor", content)
    return crypto.sha256(content)


def _adverts(fields, rid, rng):
    listed, how = fields["adverts"], rng.randrange(4)
    if how == 0:
        del listed[rng.randrange(len(listed))]
    elif how == 1:
        listed.reverse()
    else:
        bend_advert(rng.choice(listed), rid, listed, rng)


def _delivery(fields, rid, rng):
    parcels, how = fields["parcels"], rng.randrange(5)
    if how == 0 or not parcels:
        fields["dealers"] = some_numbers(fields["dealers"], rng)
    elif how == 1:
        del parcels[rng.randrange(len(parcels))]
    elif how == 2:
        parcels.reverse()
    elif how == 3:
        rng.choice(parcels)["path"].append(bytes(32))
    else:
        rng.choice(parcels)["sealed"] = parcels[0]["sealed"]


def _survivors(fields, rid, rng):
    fields["survivors"] = some_numbers(fields["survivors"], rng)


def _agreements(fields, rid, rng):
    if rng.random() < 0.4:
        survivors = fields["view"]["survivors"]
        fields["view"]["survivors"] = some_numbers(survivors, rng)
    fields["signatures"] = _votes("view", rid + plain.write_view(fields["view"]), rng)


def _tombstones(fields, rid, rng):
    fields["signatures"] = _votes("tombstone", rid, rng)


def _votes(label, content, rng):
    """Of some devices, now and then by another one's key."""
    return [
        {
            "device": device,
            "signature": signed(
                rng.choice([device] * 6 + [device + 1]), label, content
            ),
        }
        for device in sorted(rng.sample(range(1, 6), rng.randrange(5)))
    ]


REQUESTS = {
    "DESCRIPTOR": _descriptor,
    "ADVERTS": _adverts,
    "DELIVERY": _delivery,
    "SURVIVORS": _survivors,
    "AGREEMENTS": _agreements,
    "TOMBSTONES": _tombstones,
}
