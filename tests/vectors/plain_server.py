"""The server of docs/protocol.md, a second time and plainly: lists, loops and integers.

Written from the page alone. ``run`` takes a round from its descriptor and the replies
of all legs to the sum or to a refusal. Imports nothing from the package under test.
"""

from plain_bytes import (
    NO_TOMBSTONE,
    Refused,
    advert_content,
    check_size,
    check_terms,
    decode,
    devices,
    encode,
    write_entries,
    write_view,
)
from plain_crypto import (
    agree,
    blake,
    centred,
    check_path,
    digest,
    exchange,
    join,
    leaf,
    masked,
    public,
    read_roster,
    sha256,
    tree,
    unpack,
    verify,
)

LEGS = 5
ANY = bytes(range(1, 33))
KINDS = ("ADVERT", "SHARES", "UPLOAD", "AGREEMENT", "REVEAL")


def run(request, roster, replies):
    """What came of a round.

    ``request`` is the DESCRIPTOR message, ``roster`` the content of a roster, and
    ``replies`` a list for each leg of ``[device, bytes]`` in the order of arrival.
    """
    descriptor = decode(request, "DESCRIPTOR", None)["descriptor"]
    check_terms(descriptor)
    state = {
        "rid": request[4:36],
        "d": descriptor,
        "keys": {i: key for i, (key, _) in read_roster(roster)["members"].items()},
    }
    told = {"left_out": [], "requests": [], "complaints": []}
    asked = list(descriptor["cohort"])
    for leg, came in enumerate(replies):
        state["left_out"] = []
        try:
            good = take_in(state, leg, asked, came)
            result = STEPS[leg](state, good)
        except Refused as error:
            told["refused"] = {
                "leg": leg,
                "reason": error.reason,
                "device": error.device,
            }
            return told
        told["left_out"].append(state["left_out"])
        told["complaints"] = state.get("complaints", [])
        if leg == 0:
            told["tombstones"] = certificates(state)
        if leg == LEGS - 1:
            told["sum"] = result
            told["survivors"] = state["u2"]
        else:
            told["requests"].append(result)
            asked = list(result) if leg != 3 else list(state["u2"])
    return told


def take_in(state, leg, asked, came):
    """The first good reply of each device that was asked."""
    good = {}
    for device, reply in came:
        if device not in asked or device in good:
            continue
        try:
            check_size(reply, KINDS[leg], state["d"], len(state["d"]["cohort"]))
            good[device] = READ[leg](state, device, reply)
        except Refused as error:
            state["left_out"].append([device, error.reason])
    return {device: good[device] for device in sorted(good)}


def enough(state, count):
    if count < state["d"]["min_survivors"]:
        raise Refused("few")


def holders(state, device):
    """Who holds shares of a device, itself included, rising."""
    u0, found = state["u0"], []
    for other in u0:
        near = (
            state["d"]["neighbours"] == 0
            or other in u0[device]["outgoing"]
            or device in u0[other]["outgoing"]
        )
        if other == device or near:
            found.append(other)
    return found


def check_holders(state, willing):
    """Every dealer keeps t holders that can still be asked."""
    for dealer in state["u1"]:
        count = 0
        for holder in holders(state, dealer):
            if holder in willing and [holder, dealer] not in state["complaints"]:
                count += 1
        if count < state["d"]["threshold"]:
            raise Refused("few_holders", dealer)


# --- leg 0: adverts -------------------------------------------------------------------


def read_advert(state, device, reply):
    advert = decode(reply, "ADVERT", state["rid"])
    if advert["id"] != device:
        raise Refused("stranger")
    content = state["rid"] + advert_content(advert)
    verify(state["keys"][device], "advert", content, advert["signature"])
    out = advert["outgoing"]
    if len(out) != state["d"]["neighbours"] or device in out:
        raise Refused("neighbours")
    if any(other not in state["d"]["cohort"] for other in out):
        raise Refused("neighbours")
    exchange(ANY, advert["encrypt"])
    exchange(ANY, advert["mask"])
    return advert


def adverts(state, good):
    keys = [a[name] for a in good.values() for name in ("encrypt", "mask")]
    for device, advert in list(good.items()):
        if keys.count(advert["encrypt"]) > 1 or keys.count(advert["mask"]) > 1:
            del good[device]
            state["left_out"].append([device, "repeated_key"])
    enough(state, len(good))
    state["u0"] = good
    request = encode("ADVERTS", state["rid"], {"adverts": list(good.values())})
    state["adverts_hash"] = sha256(request)
    return dict.fromkeys(good, request)


# --- leg 1: shares --------------------------------------------------------------------


def read_shares(state, device, reply):
    dealing = decode(reply, "SHARES", state["rid"])
    around = holders(state, device)
    if len(dealing["digests"]) != len(around):
        raise Refused("count")
    if len(dealing["sealed"]) != len(around) - 1:
        raise Refused("count")
    root, paths = tree([leaf(one, two) for one, two in dealing["digests"]])
    if root != dealing["root"]:
        raise Refused("root")
    for place, (one, two) in enumerate(dealing["digests"]):
        check_path(root, leaf(one, two), place, paths[place], len(around))
    content = state["rid"] + state["adverts_hash"] + root
    verify(state["keys"][device], "shares", content, dealing["signature"])
    dealing["paths"] = paths
    return dealing


def shares(state, good):
    enough(state, len(good))
    state["u1"] = good
    parcels = {device: [] for device in good}
    for dealer, dealing in good.items():
        sealed = list(dealing["sealed"])
        for place, holder in enumerate(holders(state, dealer)):
            if holder == dealer:
                continue
            parcel = {
                "dealer": dealer,
                "root": dealing["root"],
                "signature": dealing["signature"],
                "sealed": sealed.pop(0),
                "path": dealing["paths"][place],
            }
            if holder in parcels:
                parcels[holder].append(parcel)
    state["dealers_hash"] = sha256(devices(list(good)))
    found = {}
    for device, own in parcels.items():
        fields = {"dealers": list(good), "parcels": own}
        found[device] = encode("DELIVERY", state["rid"], fields)
    return found


# --- leg 2: uploads -------------------------------------------------------------------


def read_upload(state, device, reply):
    size = state["d"]["coordinates"] * state["d"]["word_bits"] // 8
    upload = decode(reply, "UPLOAD", state["rid"], size)
    if upload["dealers_hash"] != state["dealers_hash"]:
        raise Refused("dealers")
    for dealer in upload["missing"]:
        if dealer == device or dealer not in state["u1"]:
            raise Refused("missing")
        if device not in holders(state, dealer):
            raise Refused("missing")
    content = upload["dealers_hash"] + devices(upload["missing"])
    content = state["rid"] + content + blake(upload["words"])
    verify(state["keys"][device], "upload", content, upload["signature"])
    return upload


def uploads(state, good):
    enough(state, len(good))
    state["u2"] = list(good)
    state["complaints"] = []
    total = [0] * state["d"]["coordinates"]
    for device, upload in good.items():
        for place, word in enumerate(unpack(upload["words"], state["d"]["word_bits"])):
            total[place] += word
        for dealer in upload["missing"]:
            state["complaints"].append([device, dealer])
    state["total"] = total
    check_holders(state, state["u2"])
    request = encode("SURVIVORS", state["rid"], {"survivors": state["u2"]})
    return dict.fromkeys(state["u2"], request)


# --- leg 3: agreements ----------------------------------------------------------------


def read_agreement(state, device, reply):
    agreement = decode(reply, "AGREEMENT", state["rid"])
    content = state["rid"] + write_view(view(state))
    verify(state["keys"][device], "view", content, agreement["signature"])
    return agreement["signature"]


def view(state):
    return {
        "adverts_hash": state["adverts_hash"],
        "dealers_hash": state["dealers_hash"],
        "survivors": state["u2"],
    }


def agreements(state, good):
    if len(good) < state["d"]["threshold"]:
        raise Refused("few")
    check_holders(state, list(good))
    signatures = [{"device": i, "signature": s} for i, s in good.items()]
    fields = {"view": view(state), "signatures": signatures}
    request = encode("AGREEMENTS", state["rid"], fields)
    return dict.fromkeys(state["u1"], request)


# --- leg 4: shares of secrets ---------------------------------------------------------


def read_reveal(state, device, reply):
    reveal = decode(reply, "REVEAL", state["rid"])
    content = state["rid"] + sha256(write_entries(reveal["shares"]))
    verify(state["keys"][device], "reveal", content, reveal["signature"])
    found = {}
    for entry in reveal["shares"]:
        dealer = entry["dealer"]
        if dealer not in state["u1"] or device not in holders(state, dealer):
            raise Refused("stranger")
        place = 0 if dealer in state["u2"] else 1
        row = holders(state, dealer).index(device)
        wanted = state["u1"][dealer]["digests"][row][place]
        if digest(state["rid"], dealer, device, place, entry["share"]) != wanted:
            raise Refused("share")
        found[dealer] = entry["share"]
    return found


def unmask(state, good):
    t, rid = state["d"]["threshold"], state["rid"]
    add, subtract = [], []
    for dealer in state["u1"]:
        held = {who: some[dealer] for who, some in good.items() if dealer in some}
        if len(held) < t:
            raise Refused("few", dealer)
        try:
            secret = join(held, t)
        except Refused as error:
            raise Refused(error.reason, dealer) from None
        advert = state["u0"][dealer]
        if dealer in state["u2"]:
            if sha256(rid + secret) != advert["commitment"]:
                raise Refused("secret", dealer)
            subtract.append(secret)
            continue
        if public(secret) != advert["mask"]:
            raise Refused("secret", dealer)
        for other in state["u2"]:
            if other in holders(state, dealer):
                key = agree(secret, state["u0"][other]["mask"], rid, "mask")
                # The survivor ``other`` added it if the dealer's number is below.
                (subtract if dealer < other else add).append(key)
    words = masked(state["total"], add, subtract, state["d"]["word_bits"])
    return centred(words, state["d"]["word_bits"])


READ = (read_advert, read_shares, read_upload, read_agreement, read_reveal)
STEPS = (adverts, shares, uploads, agreements, unmask)


def certificates(state):
    """The tombstones that came with adverts, as messages, by the round they bury."""
    found = {}
    for device, advert in state["u0"].items():
        rid, signature = advert["tombstone"][:32], advert["tombstone"][32:]
        if advert["tombstone"] == NO_TOMBSTONE:
            continue
        try:
            verify(state["keys"][device], "tombstone", rid, signature)
        except Refused:
            continue
        entry = {"device": device, "signature": signature}
        found.setdefault(rid, []).append(entry)
    return {
        rid: encode("TOMBSTONES", rid, {"signatures": entries})
        for rid, entries in found.items()
    }
