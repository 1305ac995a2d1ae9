"""What the package decodes, as the fields of docs/vectors.md, and encodes again."""

from fedpref.secagg import legs, wire


def _descriptor(d):
    t = d.terms
    return {
        "task": d.task.hex(),
        "model": d.model.hex(),
        "plan": d.plan.hex(),
        "roster": d.roster.hex(),
        "server": d.server.hex(),
        "round": d.round,
        "row": d.ledger_seq,
        "head": d.ledger_head.hex(),
        "expiry": d.expiry,
        "threshold": t.threshold,
        "min_survivors": t.min_survivors,
        "colluders": t.colluders,
        "coordinates": t.coordinates,
        "word_bits": t.word_bits,
        "neighbours": t.neighbours,
        "cohort": list(d.cohort),
    }


def _opening(data, rid, size):
    found = legs.Opening.decode(data)
    fields = {
        "descriptor": _descriptor(found.descriptor),
        "signature": found.signature.hex(),
        "model": bytes(found.model).hex(),
        "since": found.since,
        "rows": [row.hex() for row in found.row_hashes],
    }
    return fields, found.encode()


def _advert_fields(advert):
    return {
        "id": advert.id,
        "encrypt": advert.encrypt.hex(),
        "mask": advert.mask.hex(),
        "commitment": advert.commitment.hex(),
        "tombstone": advert.tombstone.hex(),
        "outgoing": list(advert.outgoing),
        "signature": advert.signature.hex(),
    }


def _advert(data, rid, size):
    found = legs.decode_advert(data, rid)
    return _advert_fields(found), found.encode(rid)


def _adverts(data, rid, size):
    found = legs.decode_adverts(data, rid)
    fields = {"adverts": [_advert_fields(advert) for advert in found]}
    return fields, legs.encode_adverts(rid, found)


def _dealing(data, rid, size):
    found = legs.decode_dealing(data, rid)
    fields = {
        "root": found.root.hex(),
        "signature": found.signature.hex(),
        "digests": [[one.hex(), two.hex()] for one, two in found.digests],
        "sealed": [content.hex() for content in found.sealed],
    }
    return fields, found.encode(rid)


def _delivery(data, rid, size):
    dealers, parcels = legs.decode_delivery(data, rid)
    fields = {
        "dealers": list(dealers),
        "parcels": [
            {
                "dealer": p.dealer,
                "root": p.root.hex(),
                "signature": p.signature.hex(),
                "sealed": p.sealed.hex(),
                "path": [step.hex() for step in p.path],
            }
            for p in parcels
        ],
    }
    return fields, legs.encode_delivery(rid, wire.ids(dealers), parcels)


def _upload(data, rid, size):
    found = legs.decode_upload(data, rid, size=size)
    fields = {
        "dealers_hash": found.dealers.hex(),
        "missing": list(found.missing),
        "signature": found.signature.hex(),
        "words": bytes(found.words).hex(),
    }
    return fields, found.encode(rid)


def _survivors(data, rid, size):
    found = legs.decode_survivors(data, rid)
    return {"survivors": list(found)}, legs.encode_survivors(rid, found)


def _agreement(data, rid, size):
    found = legs.decode_agreement(data, rid)
    return {"signature": found.hex()}, legs.encode_agreement(rid, found)


def _signed(signatures):
    return [{"device": who, "signature": s.hex()} for who, s in signatures]


def _agreements(data, rid, size):
    found = legs.decode_agreements(data, rid)
    fields = {
        "view": {
            "adverts_hash": found.view.adverts.hex(),
            "dealers_hash": found.view.dealers.hex(),
            "survivors": list(found.view.survivors),
        },
        "signatures": _signed(found.signatures),
    }
    return fields, found.encode(rid)


def _reveal(data, rid, size):
    found = legs.decode_reveal(data, rid)
    fields = {
        "shares": [{"dealer": d, "share": s.hex()} for d, s in found.shares],
        "signature": found.signature.hex(),
    }
    return fields, found.encode(rid)


def _tombstones(data, rid, size):
    found = legs.decode_tombstones(data, rid)
    return {"signatures": _signed(found)}, legs.encode_tombstones(rid, found)


DECODE = {
    "DESCRIPTOR": _opening,
    "ADVERT": _advert,
    "ADVERTS": _adverts,
    "SHARES": _dealing,
    "DELIVERY": _delivery,
    "UPLOAD": _upload,
    "SURVIVORS": _survivors,
    "AGREEMENT": _agreement,
    "AGREEMENTS": _agreements,
    "REVEAL": _reveal,
    "TOMBSTONES": _tombstones,
}
