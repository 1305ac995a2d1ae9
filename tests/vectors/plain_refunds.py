"""Certificates that give a spent round back to a device, as docs/protocol.md has them.

Imports nothing from the package under test.
"""

from plain_bytes import Refused, decode, write_view
from plain_crypto import verify


def refund(device, kind, rid, request):
    """Whether the request is a certificate for a round of this device; it counts."""
    found = [r for r in device.rounds if r["rid"] == rid and r["uploaded"]]
    found = [r for r in found if not r["released"]]
    if not found:
        if kind == "TOMBSTONES":
            raise Refused("open")
        return False
    (entry,) = found
    d, message = entry["d"], decode(request, kind, rid)
    if kind == "TOMBSTONES":
        label, content, voters = "tombstone", rid, d["cohort"]
        wanted = len(d["cohort"]) + d["colluders"] - d["threshold"] + 1
    else:
        if device.id in message["view"]["survivors"]:
            return False
        label, content = "view", rid + write_view(message["view"])
        voters = [i for i in message["view"]["survivors"] if i in d["cohort"]]
        wanted = d["threshold"]
    if entry["refunded"]:
        return True
    if d["neighbours"]:
        raise Refused("graph")
    votes = 0
    for signed in message["signatures"]:
        if signed["device"] in voters:
            verify(device.key(signed["device"]), label, content, signed["signature"])
            votes += 1
    if votes < wanted:
        raise Refused("votes")
    entry["refunded"] = entry["buried"] = True
    if device.open and device.open["rid"] == rid:
        device.open["closed"] = True
    return True
