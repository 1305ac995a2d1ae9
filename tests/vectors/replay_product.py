"""Vectors replayed by the package itself."""

from fractions import Fraction
from hashlib import sha256

import numpy as np
from replay_messages import DECODE

from fedpref.core import commitments, shares
from fedpref.core.device import DeviceBook
from fedpref.core.mask import apply_masks, centred, pack, to_words, unpack
from fedpref.errors import FedprefError
from fedpref.secagg import client, legs, wire
from fedpref.secagg import roster as rosters
from fedpref.secagg import server as servers
from fedpref.secagg.admission import follow
from fedpref.secagg.client import Surroundings
from fedpref.secagg.crypto import KeyPair, Signer, Work
from fedpref.secagg.crypto import seal as sealed
from fedpref.secagg.crypto import unseal as unsealed
from fedpref.secagg.gathering import Round
from fedpref.secagg.member import Device, Limits, Member
from fedpref.secagg.roster import Entry, Roster

STEPS = ("advertised", "dealt", "uploaded", "agreed", "unmask")


def replay(vector):
    """What comes out, in the form of ``expect``."""
    try:
        return REPLAY[vector["type"]](vector["input"])
    except (FedprefError, ValueError) as error:
        return {"refused": told(error)}


def told(error):
    return {"error": type(error).__name__, "message": str(error)}


def raw(value):
    return bytes.fromhex(value)


def message(given):
    data, rid = raw(given["bytes"]), raw(given["rid"])
    fields, again = DECODE[given["kind"]](data, rid, given.get("size"))
    assert again == data
    return {"fields": fields}


# --- pieces ---------------------------------------------------------------------------


def agree(given):
    own, purpose = KeyPair.from_seed(raw(given["own"])), given["purpose"].encode()
    key = Work().agree(own, raw(given["other"]), raw(given["rid"]), purpose)
    return {"public": own.public.hex(), "key": key.hex()}


def mask(given):
    bits, values = given["word_bits"], np.array(given["values"], np.int64)
    words = to_words(values, bits)
    add, subtract = ([raw(key) for key in given[name]] for name in ("add", "subtract"))
    apply_masks(words, add=add, subtract=subtract)
    packed = bytes(pack(words, bits))
    read = centred(unpack(packed, bits, len(values)), bits)
    return {"packed": packed.hex(), "centred": read.tolist()}


def split(given):
    secrets, key = [raw(s) for s in given["secrets"]], raw(given["key"])
    found = shares.split(secrets, given["holders"], given["threshold"], key=key)
    return {
        "shares": {str(holder): [s.hex() for s in row] for holder, row in found.items()}
    }


def join(given):
    found = {int(holder): raw(share) for holder, share in given["shares"].items()}
    return {"secret": shares.join(found, given["threshold"]).hex()}


def tree(given):
    root, paths = commitments.tree([raw(leaf) for leaf in given["leaves"]])
    return {"root": root.hex(), "paths": [[s.hex() for s in row] for row in paths]}


def path(given):
    steps = [raw(step) for step in given["path"]]
    root, leaf = raw(given["root"]), raw(given["leaf"])
    commitments.check(root, leaf, given["index"], steps, given["count"])
    return {}


def digest(given):
    where = raw(given["rid"]), given["dealer"], given["holder"]
    both = commitments.digests(*where, [raw(share) for share in given["shares"]])
    leaf = commitments.leaf(*both)
    return {"digests": [one.hex() for one in both], "leaf": leaf.hex()}


def seal(given):
    where = raw(given["rid"]), given["dealer"], given["holder"]
    found = sealed(raw(given["key"]), *where, raw(given["content"]))
    return {"sealed": found.hex()}


def unseal(given):
    where = raw(given["rid"]), given["dealer"], given["holder"]
    found = unsealed(raw(given["key"]), *where, raw(given["sealed"]))
    return {"content": found.hex()}


def ledger(given):
    rows = [raw(row) for row in given["rows"]]
    return {"head": follow(raw(given["head"]), rows).hex()}


def roster(given):
    data, pinned = raw(given["bytes"]), ("authority", "server")
    keys = {name: raw(given[name]) for name in pinned}
    found = rosters.verified(data, **keys, now=given["now"], work=Work())
    assert found.content == data[:-64]
    return {
        "digest": found.digest.hex(),
        "expiry": found.expiry,
        "most": found.most,
        "members": [[e.id, e.key.hex(), e.organisation] for e in found.entries],
    }


def signature(given):
    content, mark = raw(given["content"]), raw(given["signature"])
    Work().verify(raw(given["key"]), given["label"].encode(), content, mark)
    return {}


# --- rounds ---------------------------------------------------------------------------


def _roster(content):
    """A roster that was verified before, from its content."""
    reader = wire.Reader(content, 0, "ROSTER")
    expiry, most = reader.number(8), reader.number()
    entries = reader.many(lambda r: Entry(r.number(), r.take(32), r.number()), least=40)
    reader.end()
    return Roster(tuple(entries), expiry, most)


def server(given):
    d, work = legs.Opening.decode(raw(given["descriptor"])).descriptor, Work()
    state = Round(d, _roster(raw(given["roster"])))
    told_ = {"left_out": [], "requests": [], "complaints": [], "tombstones": {}}
    for leg, came in enumerate(given["replies"]):
        replies = [(i, raw(reply)) for i, reply in came]
        before = len(state.refused)
        try:
            state, result = getattr(servers, STEPS[leg])(state, replies, work)
        except FedprefError as error:
            return told_ | {"refused": {"leg": leg, **told(error)}}
        fresh = state.refused[before:]
        if leg == 2:
            told_["complaints"] = sorted(
                [who, dealer] for dealer, some in state.missing.items() for who in some
            )
            fresh = fresh[: len(fresh) - len(told_["complaints"])]
        told_["left_out"].append([_left_out(text) for text in fresh])
        if leg == 0:
            found = servers.tombstones(state, work)
            told_["tombstones"] = {r.hex(): c.hex() for r, c in found.items()}
        if STEPS[leg] == "unmask":
            told_["sum"] = centred(result, d.terms.word_bits).tolist()
            told_["survivors"] = list(state.survivors)
        else:
            told_["requests"].append(
                {str(i): sha256(request).hexdigest() for i, request in result.items()}
            )
    return told_


def _left_out(text):
    who, _, why = text.partition(": ")
    return {"device": int(who.removeprefix("device ")), "message": why}


class Exhausted(Exception):
    """A device drew a key that the vector does not have."""


class Recorded:
    """The keys of a vector, in the order in which they were drawn."""

    def __init__(self, drawn):
        self.left = list(drawn)

    def key(self, purpose):
        if not self.left or self.left[0][0] != purpose:
            raise Exhausted(purpose)
        return raw(self.left.pop(0)[1])


def device(given):
    pinned, saved = given["device"], []
    values = np.array(given["contribution"], np.int64)
    entropy = Recorded(given["entropy"])
    book = DeviceBook(pinned["budget"])
    state = Device(book, pinned["row"], raw(pinned["head"]))
    replies, refused = [], None
    for step in given["steps"]:
        assert refused is None
        around = Surroundings(
            *(_member(pinned), lambda round_, model: values, saved.append),
            *(Work(), step["now"], entropy),
        )
        before = len(saved)
        try:
            reply, state = client.answer(raw(step["request"]), state, around)
            replies.append(reply.hex())
        except FedprefError as error:
            refused = told(error)
            assert len(saved) == before
    outcome = {"replies": replies, "charged": state.book.charged}
    return outcome if refused is None else outcome | {"refused": refused}


def _member(pinned):
    limits = dict(pinned["limits"])
    limits["colluders"] = Fraction(*limits["colluders"])
    return Member(
        *(pinned["id"], Signer.from_seed(raw(pinned["seed"]))),
        *(_roster(raw(pinned["roster"])), raw(pinned["server"])),
        *(raw(pinned["task"]), raw(pinned["plan"]), lambda round_: Limits(**limits)),
    )


REPLAY = {
    "message": message,
    "agree": agree,
    "mask": mask,
    "split": split,
    "join": join,
    "tree": tree,
    "path": path,
    "digest": digest,
    "seal": seal,
    "unseal": unseal,
    "ledger": ledger,
    "roster": roster,
    "signature": signature,
    "server": server,
    "device": device,
}
