"""How long messages are, how long they may be, and what it takes to read them."""

import gc
import os
import struct
import tracemalloc
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from fedpref.core.mask import unpack
from fedpref.errors import MessageError
from fedpref.secagg import client, legs, server, sizes, wire
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.legs import Advert, Dealing, Opening, Parcel, Reveal, Upload, View
from fedpref.secagg.messages import (
    Contribution,
    Invitation,
    decode_contribution,
    decode_invitation,
    encode_contribution,
    encode_invitation,
)
from fedpref.secagg.wire import Kind

RID = bytes(range(32))
HASH, SIGNATURE = bytes(32), bytes(64)
FIRST = 10**6  # numbers that Python does not keep ready


def largest_messages(clients, coordinates, neighbours=0, rows=5):
    """Of each kind one with every list as long as it can be, and its decoder."""
    ids = tuple(range(FIRST, FIRST + clients))
    t = clients // 2 + 1 if not neighbours else neighbours + 1
    terms = Terms(t, t, 0, coordinates, 24, neighbours)
    holders = ids[: min(clients, 2 * t - 1)]
    fresh = os.urandom
    descriptor = Descriptor(
        *(HASH, 1, HASH, HASH, HASH, HASH),
        *(rows, HASH, 5, terms, ids),
    )
    opening = Opening(
        *(descriptor, SIGNATURE, fresh(8 * coordinates), 0),
        tuple(fresh(32) for _ in range(rows)),
    )
    adverts = [
        Advert(
            *(i, fresh(32), fresh(32), fresh(32), fresh(96)),
            *(ids[:neighbours], fresh(64)),
        )
        for i in ids
    ]
    dealing = Dealing(
        *(HASH, SIGNATURE, tuple((fresh(32), fresh(32)) for _ in holders)),
        tuple(fresh(legs.SEALED) for _ in holders[1:]),
    )
    depth = (clients - 1).bit_length()
    parcels = [
        Parcel(i, fresh(32), fresh(64), fresh(148), tuple(map(fresh, [32] * depth)))
        for i in holders[1:]
    ]
    upload = Upload(HASH, holders[1:], fresh(3 * coordinates), SIGNATURE)
    signed = tuple((i, fresh(64)) for i in ids)
    agreements = legs.Agreements(View(HASH, HASH, ids), signed)
    reveal = Reveal(tuple((i, fresh(66)) for i in holders), SIGNATURE)
    size = 3 * coordinates
    return terms, {
        Kind.DESCRIPTOR: (opening.encode(), Opening.decode),
        Kind.ADVERT: (adverts[0].encode(RID), of_round(legs.decode_advert)),
        Kind.ADVERTS: (
            legs.encode_adverts(RID, adverts),
            of_round(legs.decode_adverts),
        ),
        Kind.SHARES: (dealing.encode(RID), of_round(legs.decode_dealing)),
        Kind.DELIVERY: (
            legs.encode_delivery(RID, wire.ids(ids), parcels),
            of_round(legs.decode_delivery),
        ),
        Kind.UPLOAD: (
            upload.encode(RID),
            lambda data: legs.decode_upload(data, RID, size=size),
        ),
        Kind.SURVIVORS: (
            legs.encode_survivors(RID, ids),
            of_round(legs.decode_survivors),
        ),
        Kind.AGREEMENT: (
            legs.encode_agreement(RID, SIGNATURE),
            of_round(legs.decode_agreement),
        ),
        Kind.AGREEMENTS: (agreements.encode(RID), of_round(legs.decode_agreements)),
        Kind.REVEAL: (reveal.encode(RID), of_round(legs.decode_reveal)),
        Kind.TOMBSTONES: (
            legs.encode_tombstones(RID, signed),
            of_round(legs.decode_tombstones),
        ),
    }


def of_round(decode):
    return lambda data: decode(data, RID)


def entries(kind, clients, terms, rows):
    """How many entries the lists of a largest message have, at most."""
    path = (clients - 1).bit_length()
    return {
        Kind.DESCRIPTOR: clients + rows,
        Kind.ADVERT: terms.neighbours + 1,
        Kind.ADVERTS: clients * (1 + terms.neighbours),
        Kind.SHARES: 2 * clients,
        Kind.DELIVERY: clients * (2 + path // 2),
        Kind.AGREEMENTS: 2 * clients,
    }.get(kind, clients)


def peak(call, *arguments):
    """Most bytes that were allocated on the way, over what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        try:
            out = call(*arguments)
        except MessageError as error:
            out = error
        return tracemalloc.get_traced_memory()[1] - before, out
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("neighbours", [0, 7])
@pytest.mark.parametrize("clients", [9, 16, 50])
def test_the_largest_legal_message_of_each_kind(
    clients, neighbours, monkeypatch
) -> None:
    monkeypatch.setattr(sizes, "MOST_ROWS", 5)
    terms, messages = largest_messages(clients, 12, neighbours)
    assert messages.keys() == set(Kind)
    for kind, (data, decode) in messages.items():
        decode(data)  # it is legal
        assert sizes.largest(kind, terms, clients) == len(data), kind


def test_no_message_of_a_round_is_longer(make_cohort) -> None:
    cohort = make_cohort(9)
    state, requests = cohort.reach(4)
    cohort.accepts(1, requests[1])
    for device in cohort.devices.values():
        for kind, (_, reply) in device.session.replies.items():
            up = Kind(kind + 1)
            assert len(reply) <= sizes.largest(up, state.terms, 9)


@pytest.mark.parametrize("kind", list(Kind))
def test_reading_takes_at_most_twice_the_size(kind) -> None:
    """And ``PER_ENTRY`` bytes an entry; 64 KiB are for what Python does besides."""
    for clients, coordinates in ((300, 6161), (1500, 100_000)):
        terms, messages = largest_messages(clients, coordinates, rows=2000)
        data, decode = messages[kind]
        decode(data)  # whatever is made once and kept
        took, _ = peak(decode, data)
        slack = sizes.PER_ENTRY * entries(kind, clients, terms, 2000)
        assert took <= 2 * len(data) + slack + 2**16


@pytest.mark.parametrize("coordinates", [6161, 10**5])
def test_vectors_are_not_copied_twice(coordinates) -> None:
    """What grows with the model: no allowance but Python's 64 KiB."""
    _, messages = largest_messages(9, coordinates)
    plan = bytes(32)
    invitation = encode_invitation(Invitation(1, plan, np.zeros(coordinates)))
    update = np.zeros(coordinates, np.int64)
    contribution = encode_contribution(Contribution(1, plan, update))
    readable = {"plan": plan, "coordinates": coordinates}
    cases = [
        messages[Kind.DESCRIPTOR],
        messages[Kind.UPLOAD],
        (invitation, lambda data: decode_invitation(data, **readable)),
        (contribution, lambda data: decode_contribution(data, **readable)),
        (bytes(2 * coordinates), lambda data: unpack(data, 16, coordinates)),
        (bytes(3 * coordinates), lambda data: unpack(data, 24, coordinates)),
        (bytes(4 * coordinates), lambda data: unpack(data, 32, coordinates)),
    ]
    for data, decode in cases:
        decode(data)
        assert peak(decode, data)[0] <= 2 * len(data) + 2**16


LYING = struct.pack("<I", 2**32 - 1), struct.pack("<I", 2**28), struct.pack("<I", 10**6)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_length_that_lies_allocates_nothing(kind) -> None:
    """Every number of a message takes its turn as a length of up to four billion."""
    _, messages = largest_messages(5, 12, neighbours=2)
    data, decode = messages[kind]
    worst = 0
    tracemalloc.start()
    try:
        for place in range(wire.HEADER.size, len(data) - 3, 4):
            for length in LYING:
                lie = data[:place] + length + data[place + 4 :]
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                with suppress(MessageError):
                    decode(lie)
                worst = max(worst, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    slack = sizes.PER_ENTRY * entries(kind, 5, Terms(3, 3, 0, 12, 24, 2), 5)
    assert worst <= 2 * len(data) + slack + 2**12


# Both ends look at the length first


LEGS = (Kind.DESCRIPTOR, Kind.ADVERTS, Kind.DELIVERY, Kind.SURVIVORS, Kind.AGREEMENTS)
MORE = bytes(sizes.SLACK + 1)


@pytest.mark.parametrize("leg", range(5))
def test_a_device_reads_nothing_that_is_too_long(make_cohort, monkeypatch, leg) -> None:
    monkeypatch.setattr(sizes, "MOST_ROWS", 2)
    cohort = make_cohort(5)
    _, requests = cohort.reach(leg)
    most = sizes.largest(LEGS[leg], cohort.terms, 5)
    request = requests[1].ljust(most + sizes.SLACK, b"\0")
    cohort.refuses(1, request, "bytes too many")  # read, and refused for what it says
    monkeypatch.setattr(wire, "Reader", None)  # whoever reads on is found out
    cohort.refuses(1, request + b"\0", f"must be <= {most + sizes.SLACK}")


def test_a_certificate_that_is_too_long(make_cohort) -> None:
    cohort = make_cohort(5)
    state, _ = cohort.reach(3, silent={2: (5,)})
    signed = tuple((i, bytes(64)) for i in range(1, 100))
    request = legs.encode_tombstones(state.descriptor.rid, signed)
    cohort.refuses(5, request + MORE, "TOMBSTONES: .* bytes, must be <=")
    cohort.invite(2)
    elsewhere = legs.encode_tombstones(bytes(32), signed)
    cohort.refuses(5, elsewhere + MORE, "TOMBSTONES: .* bytes, must be <=")


def test_an_invitation_is_measured_by_the_devices_own_limits(make_cohort) -> None:
    """Not by what its sender says of the model."""
    cohort = make_cohort(5)
    descriptor = cohort.descriptor()
    terms = replace(cohort.terms, coordinates=5_000_000)
    model = bytes(8 * terms.coordinates)
    huge = replace(descriptor, terms=terms).for_model(model)
    _, requests = server.invite(
        huge, cohort.roster, model, signer=cohort.server, since=0, row_hashes=()
    )
    took, refused = peak(
        client.answer, requests[1], cohort.devices[1], cohort.around(1)
    )
    assert "DESCRIPTOR: 40000" in str(refused)
    assert took < 2**17


@pytest.mark.parametrize("leg", range(5))
def test_the_server_reads_no_reply_that_is_too_long(
    make_cohort, monkeypatch, leg
) -> None:
    cohort = make_cohort(5)
    state, requests = cohort.reach(leg)
    replies = dict(cohort.send(requests))
    kind = Kind(LEGS[leg] + 1)
    most = sizes.largest(kind, cohort.terms, 5) + sizes.SLACK
    replies[2] = replies[2].ljust(most + 1, b"\0")
    name = ("advertised", "dealt", "uploaded", "agreed", "unmask")[leg]
    after, _ = getattr(server, name)(state, replies.items(), cohort.work)
    (why,) = after.refused
    assert why == f"device 2: {kind.name}: {most + 1} bytes, must be <= {most}"
