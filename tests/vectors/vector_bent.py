"""Rounds with one leg's replies changed, and devices that deal as they like."""

from dataclasses import replace

from vector_case import left_out
from vector_cohort import Cohort, made
from vector_rounds import played

from fedpref.core import commitments, shares
from fedpref.secagg import legs
from fedpref.secagg.crypto import SHARES, seal

LEGS = "docs/protocol.md, What the server checks, leg "
INVALID = "signature of {} is not valid"


def bent(at, change):
    """A bend of leg ``at``: ``change(found, state)`` by device, in place."""

    def bend(leg, replies, state, requests):
        found = dict(replies)
        if leg == at:
            change(found, state)
        return sorted(found.items())

    return bend


def case(leg, name, what, change, expect, *, n=3, t=2, origin="", **how):
    """A round of ``n`` whose replies of one leg are changed."""
    cohort = Cohort(f"bad {name}", n, t, **how.pop("cohort", {}))
    where = f"{LEGS}{leg}" + (f"; {origin}" if origin else "")
    bend = bent(leg, lambda found, state: change(cohort, found, state))
    if leg < 4:  # what follows is as in any other round
        how.setdefault("legs", leg + 1)
    return played(f"bad_{name}", what, where, cohort, expect, bend=bend, **how)


def out(leg, device, reason, needle):
    return {"left_out": {leg: [left_out(device, reason, needle)]}}


def dealing(cohort, state, i, dealt, *, adverts_hash=None, root=None):
    """A dealing of device ``i``, its own shares included, signed by it."""
    rid, session = state.descriptor.rid, cohort.devices[i].session
    digests = tuple(commitments.digests(rid, i, j, dealt[j]) for j in dealt)
    made_root, _ = commitments.tree([commitments.leaf(*pair) for pair in digests])
    root = root or made_root
    sealed = tuple(
        seal(session.secrets.pairs[j], rid, i, j, b"".join(dealt[j]))
        for j in dealt
        if j != i
    )
    content = rid + (adverts_hash or state.adverts_hash) + root
    signature = cohort.signers[i].sign(SHARES, content)
    kept = replace(session.secrets, shares={i: tuple(dealt[i])})
    cohort.devices[i] = replace(
        cohort.devices[i], session=replace(session, secrets=kept)
    )
    return legs.Dealing(root, signature, digests, sealed).encode(rid)


def dealt_again(cohort, state, i, **secret):
    """Shares of device ``i``'s secrets, or of others, dealt anew."""
    own = cohort.devices[i].session.secrets
    seed, mask = secret.get("seed", own.seed), secret.get("mask", own.mask.seed)
    holders = tuple(state.adverts)
    key = made("dealt again", cohort.name)
    return dict(shares.split((seed, mask), holders, cohort.t, key=key))
