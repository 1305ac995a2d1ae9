"""Vectors replayed by the plain implementation."""

import plain_crypto
import plain_device
import plain_server
from plain_bytes import Refused, decode, encode


def replay(vector):
    """What comes out, in the form of ``expect``."""
    try:
        return REPLAY[vector["type"]](vector["input"])
    except Refused as error:
        return {"refused": {"reason": error.reason, "device": error.device}}


def raw(value):
    """JSON's hexadecimal strings as bytes."""
    return bytes.fromhex(value)


def shown(value):
    """Bytes as JSON's hexadecimal strings, all the way down."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [shown(entry) for entry in value]
    if isinstance(value, dict):
        return {str(key): shown(entry) for key, entry in value.items()}
    return value


def message(given):
    data, kind = raw(given["bytes"]), given["kind"]
    rid = None if kind == "DESCRIPTOR" else raw(given["rid"])
    fields = decode(data, kind, rid, given.get("size"))
    assert encode(kind, raw(given["rid"]), fields) == data
    return {"fields": shown(fields)}


def agree(given):
    own, other = raw(given["own"]), raw(given["other"])
    rid, purpose = raw(given["rid"]), given["purpose"]
    key = plain_crypto.agree(own, other, rid, purpose)
    assert key == plain_crypto.agree(own, other, rid, purpose, plain_crypto.ladder)
    return {"public": plain_crypto.public(own).hex(), "key": key.hex()}


def keystream(given):
    counter = int.from_bytes(raw(given["counter"]), "big")
    plain = raw(given["plaintext"])
    stream = plain_crypto.keystream(raw(given["key"]), len(plain), counter)
    mixed = bytes(a ^ b for a, b in zip(plain, stream, strict=True))
    return {"ciphertext": mixed.hex()}


def mask(given):
    bits = given["word_bits"]
    add, subtract = map(raw, given["add"]), map(raw, given["subtract"])
    words = plain_crypto.masked(given["values"], add, subtract, bits)
    packed = plain_crypto.pack(words, bits)
    read = plain_crypto.unpack(packed, bits)
    return {"packed": packed.hex(), "centred": plain_crypto.centred(read, bits)}


def split(given):
    secrets, key = [raw(s) for s in given["secrets"]], raw(given["key"])
    factors = [[int(c, 16) for c in row] for row in given["coefficients"]]
    assert factors == plain_crypto.coefficients(key, len(secrets), given["threshold"])
    return {
        "shares": {
            str(holder): [
                plain_crypto.share(secret, row, holder).hex()
                for secret, row in zip(secrets, factors, strict=True)
            ]
            for holder in given["holders"]
        }
    }


def join(given):
    shares = {int(holder): raw(share) for holder, share in given["shares"].items()}
    return {"secret": plain_crypto.join(shares, given["threshold"]).hex()}


def tree(given):
    root, paths = plain_crypto.tree([raw(leaf) for leaf in given["leaves"]])
    return {"root": root.hex(), "paths": shown(paths)}


def path(given):
    steps = [raw(step) for step in given["path"]]
    root, leaf = raw(given["root"]), raw(given["leaf"])
    plain_crypto.check_path(root, leaf, given["index"], steps, given["count"])
    return {}


def digest(given):
    where = raw(given["rid"]), given["dealer"], given["holder"]
    pair = [raw(share) for share in given["shares"]]
    both = [plain_crypto.digest(*where, k, share) for k, share in enumerate(pair)]
    return {"digests": shown(both), "leaf": plain_crypto.leaf(*both).hex()}


def seal(given):
    content = raw(given["content"])
    key, where = raw(given["key"]), (raw(given["rid"]), given["dealer"])
    where = (*where, given["holder"])
    return {"sealed": plain_crypto.seal(key, *where, content).hex()}


def unseal(given):
    where = raw(given["rid"]), given["dealer"], given["holder"]
    content = plain_crypto.unseal(raw(given["key"]), *where, raw(given["sealed"]))
    return {"content": content.hex()}


def ledger(given):
    rows = [raw(row) for row in given["rows"]]
    return {"head": plain_crypto.follow(raw(given["head"]), rows).hex()}


def roster(given):
    data, keys = raw(given["bytes"]), (raw(given["authority"]), raw(given["server"]))
    found = plain_crypto.verified_roster(data, *keys, given["now"])
    listed = [[i, *rest] for i, rest in found.pop("members").items()]
    content = plain_crypto.write_roster(found["expiry"], found["most"], listed)
    assert content == data[:-64]
    return shown(found | {"members": listed})


def signature(given):
    content, mark = raw(given["content"]), raw(given["signature"])
    plain_crypto.verify(raw(given["key"]), given["label"], content, mark)
    return {}


def server(given):
    replies = [[(i, raw(reply)) for i, reply in leg] for leg in given["replies"]]
    told = plain_server.run(raw(given["descriptor"]), raw(given["roster"]), replies)
    told["left_out"] = [
        [{"device": device, "reason": why} for device, why in leg]
        for leg in told["left_out"]
    ]
    told["requests"] = [
        {str(i): plain_crypto.sha256(request).hex() for i, request in leg.items()}
        for leg in told["requests"]
    ]
    told["tombstones"] = {
        rid.hex(): request.hex() for rid, request in told.get("tombstones", {}).items()
    }
    return told


def device(given):
    pinned = {
        key: raw(value) if isinstance(value, str) else value
        for key, value in given["device"].items()
    }
    entropy = [(purpose, raw(key)) for purpose, key in given["entropy"]]
    state = plain_device.Device(pinned, entropy, given["contribution"])
    replies, refused = [], None
    for step in given["steps"]:
        assert refused is None
        try:
            reply = plain_device.answer(state, raw(step["request"]), step["now"])
            replies.append(reply.hex())
        except Refused as error:
            refused = {"reason": error.reason, "device": error.device}
    outcome = {"replies": replies, "charged": state.charged()}
    return outcome if refused is None else outcome | {"refused": refused}


REPLAY = {
    "message": message,
    "agree": agree,
    "keystream": keystream,
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
