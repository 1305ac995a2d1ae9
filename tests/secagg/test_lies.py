"""A device against a server that lies, leg by leg."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from fedpref.core.device import DeviceBook
from fedpref.errors import FedprefError, MessageError
from fedpref.secagg import client, legs, server, wire
from fedpref.secagg.crypto import ADVERT, VIEW, Signer, Work, check_order
from fedpref.secagg.member import Device

# Leg 1: the adverts


def adverts(cohort, state, *changed):
    """The request of leg 1 with some entries replaced, signed by their devices."""
    rid, found = state.descriptor.rid, dict(state.adverts)
    for advert in changed:
        signature = cohort.signers[advert.id].sign(ADVERT, rid + advert.content)
        found[advert.id] = replace(advert, signature=signature)
    return legs.encode_adverts(rid, [found[i] for i in sorted(found)])


def test_too_few_adverts(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=4)
    state, _ = cohort.reach(1)
    some = [state.adverts[i] for i in (1, 2, 3)]
    request = legs.encode_adverts(state.descriptor.rid, some)
    cohort.refuses(1, request, "3 devices, must be >= 4", MessageError)


def test_own_advert_missing_or_changed(make_cohort) -> None:
    cohort = make_cohort(5)
    state, _ = cohort.reach(1)
    others = [state.adverts[i] for i in (2, 3, 4, 5)]
    rid = state.descriptor.rid
    needle = "own entry is missing or changed"
    cohort.refuses(1, legs.encode_adverts(rid, others), needle)
    own = replace(state.adverts[1], commitment=bytes(32))
    cohort.refuses(1, adverts(cohort, state, own), needle)


def test_a_key_that_its_device_did_not_sign(make_cohort) -> None:
    cohort = make_cohort(5)
    state, _ = cohort.reach(1)
    fresh = client.KeyPair.from_seed(b"f" * 32).public
    for name in ("encrypt", "mask", "commitment", "tombstone"):
        value = fresh if name != "tombstone" else b"x" * 96
        swapped = replace(state.adverts[2], **{name: value})
        found = [*(state.adverts[i] for i in (1, 3, 4, 5)), swapped]
        found.sort(key=lambda advert: advert.id)
        request = legs.encode_adverts(state.descriptor.rid, found)
        cohort.refuses(1, request, "signature of advert is not valid")
    stranger = Signer.from_seed(b"x" * 32)
    signature = stranger.sign(ADVERT, state.descriptor.rid + swapped.content)
    found[1] = replace(swapped, signature=signature)
    request = legs.encode_adverts(state.descriptor.rid, found)
    cohort.refuses(1, request, "signature of advert is not valid")


def test_an_advert_of_another_round(make_cohort) -> None:
    cohort = make_cohort(5)
    before, _ = cohort.reach(1)
    state, _ = cohort.reach(1, round_=2)
    found = {**state.adverts, 3: before.adverts[3]}
    request = legs.encode_adverts(state.descriptor.rid, list(found.values()))
    cohort.refuses(1, request, "signature of advert is not valid")


def test_an_advert_of_somebody_outside_the_cohort(make_cohort) -> None:
    cohort = make_cohort(6)
    state, _ = cohort.reach(1, cohort=(1, 2, 3, 4, 5))
    outside = replace(state.adverts[5], id=6)
    request = adverts(cohort, state, outside)
    cohort.refuses(1, request, "device 6 is not in the cohort")


def test_repeated_keys(make_cohort) -> None:
    cohort = make_cohort(5)
    state, _ = cohort.reach(1)
    two, three = state.adverts[2], state.adverts[3]
    for changed in (
        replace(two, mask=three.mask),
        replace(two, encrypt=three.encrypt),
        replace(two, encrypt=three.mask),
        replace(two, encrypt=two.mask),
    ):
        request = adverts(cohort, state, changed)
        cohort.refuses(1, request, "a public key is used twice")


LOW_ORDER = [point.to_bytes(32, "little") for point in (0, 1, 2**255 - 20)]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_sealing_keys_of_low_order(make_cohort, point) -> None:
    cohort = make_cohort(5)
    state, _ = cohort.reach(1)
    low = replace(state.adverts[4], encrypt=point)
    cohort.refuses(1, adverts(cohort, state, low), "low order", MessageError)


@pytest.mark.parametrize("point", LOW_ORDER)
def test_mask_keys_of_low_order(make_cohort, point) -> None:
    """Found where the masks are agreed on, before anything is made or spent.

    A device that had charged its owner's book by then would be silent when it is asked
    again without the bad key, and one that is spent would not.
    """
    cohort, made = make_cohort(5), []

    def contribute(round_, model):
        made.append(round_)
        return cohort.vectors[0]

    state, _ = cohort.reach(1)
    low = replace(state.adverts[4], mask=point)
    request = adverts(cohort, state, low)
    lied = replace(state, adverts_hash=sha256(request).digest())
    replies = list(cohort.send(dict.fromkeys((1, 2, 3, 5), request)))
    _, requests = server.dealt(lied, replies, cohort.work)
    _, parcels = delivered(cohort, requests[1], 1)
    delivered_all = delivery(requests[1], cohort.ids, parcels)
    cohort.refuses(1, delivered_all, "low order", MessageError, contribute=contribute)
    assert cohort.devices[1].book.charged == 0
    assert made == []


def test_drawn_neighbours_must_be_as_many_others_of_the_cohort(make_cohort) -> None:
    cohort = make_cohort(5)
    state, _ = cohort.reach(1)
    drawn = replace(state.adverts[2], outgoing=(3,))
    cohort.refuses(1, adverts(cohort, state, drawn), "device 2 has bad neighbours")
    cohort = make_cohort(6, neighbours=2, t=3, min_survivors=3)
    state, _ = cohort.reach(1, cohort=(1, 2, 3, 4, 5))
    for outgoing in ((3,), (2, 3), (3, 6), (1, 3, 4)):
        drawn = replace(state.adverts[2], outgoing=outgoing)
        cohort.refuses(1, adverts(cohort, state, drawn), "device 2 has bad neighbours")


def test_a_copied_point_does_not_cancel_the_masks_of_others(make_cohort) -> None:
    """A bad device shows the server's friend's point in other bytes.

    The honest devices then have the X25519 secret of the copied device with it as
    well; unless keys are bound to their bytes, its masks undo those of the other.
    """
    cohort = make_cohort(5, coordinates=40)
    state, _ = cohort.reach(1)
    copied = state.adverts[2].mask
    twin = bytes([*copied[:31], copied[31] | 128])
    check_order(twin)
    bad = replace(state.adverts[5], mask=twin)
    request = adverts(cohort, state, bad)
    for i in (1, 2, 3, 4):
        cohort.accepts(i, request)
    work = Work()
    session = cohort.devices[3].session
    keys = [
        work.agree(session.secrets.mask, advert.mask, state.descriptor.rid, b"mask")
        for who, advert in session.adverts.items()
        if who != 3
    ]
    assert len(set(keys)) == 4


# Leg 2: the delivery


def delivered(cohort, request, i):
    rid = request[4:36]
    dealers, parcels = legs.decode_delivery(request, rid)
    return dealers, {parcel.dealer: parcel for parcel in parcels}


def delivery(request, dealers, parcels):
    found = [parcels[who] for who in sorted(parcels)]
    return legs.encode_delivery(request[4:36], wire.ids(dealers), found)


def test_who_dealt(make_cohort) -> None:
    cohort = make_cohort(6, t=4, min_survivors=4)
    _, requests = cohort.reach(2, silent={0: [6]})
    dealers, parcels = delivered(cohort, requests[1], 1)
    assert dealers == (1, 2, 3, 4, 5)
    for wrong, needle in (
        ((1, 2, 3), "3 dealers, must be >= 4"),
        ((2, 3, 4, 5), "and include this device"),
        ((1, 2, 3, 4, 5, 6), "a dealer has not advertised"),
        ((1, 2, 3, 99), "a dealer has not advertised"),
        ((), "0 dealers"),
    ):
        cohort.refuses(1, delivery(requests[1], wrong, parcels), needle, MessageError)


def complaint(cohort, reply):
    size = 3 * cohort.coordinates
    return legs.decode_upload(reply, reply[4:36], size=size).missing


def bent_parcels(parcels, flip):
    """Parcels of dealer 2 that device 1 must not take."""
    good, other = parcels[2], parcels[3]
    yield replace(good, root=flip(good.root, 9))
    yield replace(good, root=other.root, signature=other.signature)
    yield replace(good, signature=flip(good.signature, 100))
    yield replace(good, signature=other.signature)
    yield replace(good, sealed=flip(good.sealed, 0))
    yield replace(good, sealed=flip(good.sealed, 8 * len(good.sealed) - 1))
    yield replace(good, sealed=other.sealed)
    yield replace(good, path=())
    yield replace(good, path=(*good.path, bytes(32)))
    yield replace(good, path=(flip(good.path[0], 3), *good.path[1:]))
    yield replace(good, path=good.path[::-1])
    yield replace(other, dealer=2)


def test_shares_that_were_changed_are_dropped_and_the_round_goes_on(
    make_cohort, flip
) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(2)
    dealers, parcels = delivered(cohort, requests[1], 1)
    before = cohort.devices[1]
    for bent in bent_parcels(parcels, flip):
        cohort.devices[1] = before
        request = delivery(requests[1], dealers, parcels | {2: bent})
        reply = cohort.accepts(1, request)
        held = cohort.devices[1].session.secrets.shares
        assert set(held) == {1, 3, 4, 5}
        assert complaint(cohort, reply) == (2,)
    cohort.devices[1] = before
    assert complaint(cohort, cohort.accepts(1, requests[1])) == ()
    assert set(cohort.devices[1].session.secrets.shares) == {1, 2, 3, 4, 5}
    # with a bad share of 2 at device 1, the sum is the same
    cohort.devices[1] = before
    bent = next(bent_parcels(parcels, flip))
    requests = {**requests, 1: delivery(requests[1], dealers, parcels | {2: bent})}
    for name in ("uploaded", "agreed"):
        replies = list(cohort.send(requests))
        state, requests = getattr(server, name)(state, replies, cohort.work)
    _, total = server.unmask(state, list(cohort.send(requests)), cohort.work)
    assert np.array_equal(client.to_words(cohort.vectors.sum(axis=0), 24), total)


def test_shares_for_another_holder_or_from_oneself_do_not_count(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    _, requests = cohort.reach(2)
    dealers, mine = delivered(cohort, requests[1], 1)
    _, theirs = delivered(cohort, requests[2], 2)
    # what 3 dealt to 2, and what device 1 itself dealt to 2, sent back to 1
    swapped = mine | {3: theirs[3], 2: replace(theirs[1], dealer=2)}
    reply = cohort.accepts(1, delivery(requests[1], dealers, swapped))
    assert complaint(cohort, reply) == (2, 3)
    assert set(cohort.devices[1].session.secrets.shares) == {1, 4, 5}


def test_shares_of_fewer_than_t_devices(make_cohort) -> None:
    cohort = make_cohort(5, t=4, min_survivors=4)
    _, requests = cohort.reach(2)
    dealers, parcels = delivered(cohort, requests[1], 1)
    some = {who: parcels[who] for who in (2, 3)}
    request = delivery(requests[1], dealers, some)
    cohort.refuses(1, request, "shares of 3 devices verify, must be >= 4")
    assert cohort.devices[1].book.charged == 0
    some = {who: parcels[who] for who in (2, 3, 5)}
    reply = cohort.accepts(1, delivery(requests[1], dealers, some))
    assert complaint(cohort, reply) == (4,)


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


# Leg 3: the survivors


def test_survivors(make_cohort) -> None:
    cohort = make_cohort(6, t=4, min_survivors=4)
    state, requests = cohort.reach(3, silent={1: [6]})
    rid = state.descriptor.rid
    for survivors, needle in (
        ((2, 3, 4, 5), "must include this device"),
        ((1, 2, 3, 4, 6), "dealers only"),
        ((1, 2, 3, 99), "dealers only"),
        ((1, 2, 3), "SURVIVORS: 3, must be >= 4"),
        ((1,), "SURVIVORS: 1, must be >= 4"),
    ):
        request = legs.encode_survivors(rid, survivors)
        cohort.refuses(1, request, needle, MessageError)
    signed = cohort.accepts(1, requests[1])
    view = state.view
    cohort.work.verify(
        cohort.signers[1].public,
        VIEW,
        rid + view.content,
        legs.decode_agreement(signed, rid),
    )
    other = legs.encode_survivors(rid, (1, 2, 3, 4))
    cohort.refuses(1, other, "another one was answered in this round")


# Leg 4: the agreements


def at_leg_4(make_cohort, **change):
    cohort = make_cohort(7, **({"t": 5, "min_survivors": 5} | change))
    state, _ = cohort.reach(4, silent={1: [7], 2: [6]})
    assert state.survivors == (1, 2, 3, 4, 5)
    return cohort, state


def test_agreements_that_are_not_enough(make_cohort) -> None:
    cohort, state = at_leg_4(make_cohort)
    for signers, needle in (
        ((1, 2, 3, 4), "4 signatures, must be >= 5"),
        ((), "0 signatures"),
        ((1, 2, 3, 4, 6), "4 signatures"),  # dealt, but is no survivor
        ((1, 2, 3, 4, 7), "4 signatures"),  # did not deal
    ):
        cohort.refuses(1, cohort.agreements(state, signers), needle, MessageError)
    cohort.accepts(1, cohort.agreements(state, (1, 2, 3, 4, 5)))


def test_agreements_on_another_view(make_cohort) -> None:
    cohort, state = at_leg_4(make_cohort)
    good, everybody = state.view, (1, 2, 3, 4, 5)
    for view in (
        replace(good, adverts=bytes(32)),
        replace(good, dealers=bytes(32)),
        replace(good, survivors=(1, 2, 3, 4, 5, 6)),
        replace(good, survivors=(1, 2, 3, 4)),
    ):
        needle = "not the list of survivors signed here"
        cohort.refuses(1, cohort.agreements(state, everybody, view), needle)
        request = cohort.agreements(state, everybody, good, signed=view)
        cohort.refuses(1, request, "signature of view is not valid")


def test_agreements_before_anything_was_signed(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, _ = cohort.reach(3)
    request = cohort.agreements(state, cohort.ids)
    cohort.refuses(1, request, "not the list of survivors signed here")


def test_one_kind_of_share_of_each_dealer(make_cohort) -> None:
    """Of survivors the seed's, of the dropped dealer the mask key's; once."""
    cohort, state = at_leg_4(make_cohort)
    held = cohort.devices[1].session.secrets.shares
    request = cohort.agreements(state, (1, 2, 3, 4, 5))
    reply = cohort.accepts(1, request)
    reveal = legs.decode_reveal(reply, state.descriptor.rid)
    assert reveal.shares == (
        *((who, held[who][0]) for who in (1, 2, 3, 4, 5)),
        (6, held[6][1]),
    )
    for who in held:
        both = held[who]
        assert sum(share in reply for share in both) == 1
    assert cohort.devices[1].session.secrets is None
    view = replace(state.view, survivors=())
    other = cohort.agreements(state, (1, 2, 3, 4, 5), view)
    cohort.refuses(1, other, "another one was answered in this round")


def test_two_groups_shown_two_lists_release_nothing(make_cohort) -> None:
    """n = 7, C = 1, t = 5: with a colluder who signs both, each list has 4 or less."""
    cohort = make_cohort(7, colluders=1, t=5, min_survivors=5)
    state, _ = cohort.reach(3)
    rid = state.descriptor.rid
    lists = {(1, 2, 3, 4, 5, 6, 7): (1, 2, 3), (2, 3, 4, 5, 6, 7): (4, 5, 6)}
    for survivors, group in lists.items():
        for i in group:
            cohort.accepts(i, legs.encode_survivors(rid, survivors))
    for survivors, group in lists.items():
        view = replace(state.view, survivors=survivors)
        for signers in (group, (*group, 7)):
            request = cohort.agreements(state, signers, view)
            for i in group:
                cohort.refuses(i, request, "must be >= 5")
            for i in set(range(1, 7)) - set(group):
                cohort.refuses(i, request, r"not the list|must be >= 5")


def test_two_groups_shown_two_sets_of_adverts(make_cohort) -> None:
    """Shares cross no border between groups that were shown different adverts."""
    cohort = make_cohort(6, t=4, min_survivors=4)
    state, requests = cohort.reach(1)
    rid = state.descriptor.rid
    without = legs.encode_adverts(rid, [state.adverts[i] for i in (1, 2, 3, 4, 5)])
    replies = [(i, cohort.accepts(i, without)) for i in (1, 2, 3)]
    replies += [(i, cohort.accepts(i, requests[i])) for i in (4, 5, 6)]
    parcels = {}
    for who, reply in replies:
        dealing = legs.decode_dealing(reply, rid)
        everybody = (1, 2, 3, 4, 5) if who < 4 else cohort.ids
        leaves = [server.commitments.leaf(*pair) for pair in dealing.digests]
        _, paths = server.commitments.tree(leaves)
        others = [i for i in everybody if i != who]
        for holder, sealed in zip(others, dealing.sealed, strict=True):
            parcels.setdefault(holder, []).append(
                legs.Parcel(
                    *(who, dealing.root, dealing.signature, sealed),
                    paths[everybody.index(holder)],
                )
            )
    for holder in (1, 2, 3, 4, 5):
        request = legs.encode_delivery(rid, wire.ids((1, 2, 3, 4, 5)), parcels[holder])
        count = 3 if holder < 4 else "[23]"
        cohort.refuses(holder, request, f"shares of {count} devices verify, .* >= 4")
