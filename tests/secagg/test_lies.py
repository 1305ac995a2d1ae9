"""What a device does beside the lies of ``tests/lies``: orders, and what goes on."""

from dataclasses import replace

import numpy as np

from fedpref.core.device import DeviceBook
from fedpref.errors import FedprefError
from fedpref.secagg import client, legs, server, wire
from fedpref.secagg.crypto import VIEW
from fedpref.secagg.member import Device


def test_a_round_goes_on_with_a_parcel_that_was_changed(make_cohort, flip) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(2)
    dealers, parcels = legs.decode_delivery(requests[1], requests[1][4:36])
    bent = [replace(p, root=flip(p.root, 9)) if p.dealer == 2 else p for p in parcels]
    request = legs.encode_delivery(requests[1][4:36], wire.ids(dealers), bent)
    requests = {**requests, 1: request}
    for name in ("uploaded", "agreed"):
        replies = list(cohort.send(requests))
        state, requests = getattr(server, name)(state, replies, cohort.work)
    assert state.missing == {2: frozenset({1})}
    _, total = server.unmask(state, list(cohort.send(requests)), cohort.work)
    assert np.array_equal(client.to_words(cohort.vectors.sum(axis=0), 24), total)


def test_legs_out_of_order(make_cohort) -> None:
    """Every request on a device at every other leg: refused, nothing changes."""
    cohort = make_cohort(4)
    ahead = make_cohort(4)
    for leg in range(5):
        # the twin cohort knows the same round further on, with other keys
        for later in range(leg + 1, 5):
            _, requests = ahead.reach(later)
            ahead.devices = {i: Device(DeviceBook(9)) for i in ahead.ids}
            cohort.refuses(1, requests[1], ".", FedprefError)
        if leg < 4:
            cohort.devices = {i: Device(DeviceBook(9)) for i in cohort.ids}
            cohort.reach(leg + 1)


def test_the_signature_of_leg_3_is_on_the_view(make_cohort) -> None:
    cohort = make_cohort(6, t=4, min_survivors=4)
    state, requests = cohort.reach(3, silent={1: [6]})
    rid = state.descriptor.rid
    signature = legs.decode_agreement(cohort.accepts(1, requests[1]), rid)
    content = rid + state.view.content
    cohort.work.verify(cohort.signers[1].public, VIEW, content, signature)


def test_what_is_released(make_cohort) -> None:
    """Of survivors the seed's share, of the dropped dealer the mask key's."""
    cohort = make_cohort(7, t=5, min_survivors=5)
    state, requests = cohort.reach(4, silent={1: [7], 2: [6]})
    held = cohort.devices[1].session.secrets.shares
    reply = cohort.accepts(1, requests[1])
    assert legs.decode_reveal(reply, state.descriptor.rid).shares == (
        *((who, held[who][0]) for who in (1, 2, 3, 4, 5)),
        (6, held[6][1]),
    )
