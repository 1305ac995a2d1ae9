"""Devices that sign what they send, and send what they should not.

Malformed and unsigned replies: ``test_server.py``. Bad contributions:
``tests/rounds/test_ranges.py``.
"""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from fedpref.core import commitments, shares
from fedpref.core.mask import centred, pack, unpack
from fedpref.errors import TooFewSurvivors
from fedpref.secagg import legs, server
from fedpref.secagg.crypto import (
    ADVERT,
    REVEAL,
    SHARES,
    UPLOAD,
    VIEW,
    KeyPair,
    seal,
)
from fedpref.secagg.legs import View

STEPS = ("advertised", "dealt", "uploaded", "agreed", "unmask")
BAD = 2


def check(cohort, total, survivors):
    expected = cohort.vectors[[i - 1 for i in survivors]].sum(axis=0)
    assert np.array_equal(centred(total, 24), expected)


def rest_of(cohort, state, replies, leg):
    """The sum, from the replies of ``leg`` on; everybody answers what is asked."""
    for name in STEPS[leg:]:
        state, requests = getattr(server, name)(state, replies, cohort.work)
        if name == "unmask":
            return state, requests
        replies = list(cohort.send(requests))
    raise AssertionError


@pytest.fixture
def one_hot(make_cohort):
    """Every device counts in a coordinate of its own."""

    def make(n, **change):
        cohort = make_cohort(n, coordinates=n, **change)
        cohort.vectors = np.eye(n, dtype=np.int64)
        return cohort

    return make


# Two of everything, each with a good signature: the first counts


def second_advert(cohort, state, reply):
    """Other keys, committed to another seed."""
    rid = state.descriptor.rid
    advert = replace(
        legs.decode_advert(reply, rid),
        encrypt=KeyPair.from_seed(b"e" * 32).public,
        mask=KeyPair.from_seed(b"m" * 32).public,
        commitment=sha256(rid + b"s" * 32).digest(),
    )
    signature = cohort.signers[BAD].sign(ADVERT, rid + advert.content)
    return replace(advert, signature=signature).encode(rid)


def second_dealing(cohort, state, reply):
    """Other shares of the same secrets, all of which verify."""
    rid, secrets = state.descriptor.rid, cohort.devices[BAD].session.secrets
    both = secrets.seed, secrets.mask.seed
    dealt = shares.split(both, cohort.ids, cohort.t, key=b"k" * 32)
    digests = tuple(commitments.digests(rid, BAD, i, dealt[i]) for i in cohort.ids)
    root, _ = commitments.tree([commitments.leaf(*pair) for pair in digests])
    sealed = tuple(
        seal(secrets.pairs[i], rid, BAD, i, b"".join(dealt[i]))
        for i in cohort.ids
        if i != BAD
    )
    signature = cohort.signers[BAD].sign(SHARES, rid + state.adverts_hash + root)
    return legs.Dealing(root, signature, digests, sealed).encode(rid)


def second_upload(cohort, state, reply):
    """The same vector once more, and one on top of every coordinate."""
    rid, size = state.descriptor.rid, 3 * cohort.coordinates
    upload = legs.decode_upload(reply, rid, size=size)
    words = unpack(upload.words, 24, cohort.coordinates) + np.uint32(1)
    other = replace(upload, words=pack(words, 24))
    signature = cohort.signers[BAD].sign(UPLOAD, rid + other.content)
    return replace(other, signature=signature).encode(rid)


def second_agreement(cohort, state, reply):
    """A signature on a list without device 1."""
    rid, view = state.descriptor.rid, state.view
    other = View(view.adverts, view.dealers, view.survivors[1:])
    signature = cohort.signers[BAD].sign(VIEW, rid + other.content)
    return legs.encode_agreement(rid, signature)


def second_reveal(cohort, state, reply):
    """Fewer shares than the first time."""
    rid = state.descriptor.rid
    reveal = replace(legs.decode_reveal(reply, rid), shares=())
    content = rid + sha256(reveal.content).digest()
    signature = cohort.signers[BAD].sign(REVEAL, content)
    return replace(reveal, signature=signature).encode(rid)


SECONDS = (
    second_advert,
    second_dealing,
    second_upload,
    second_agreement,
    second_reveal,
)


@pytest.mark.parametrize("leg", range(5))
def test_of_two_replies_that_differ_the_first_one_counts(one_hot, leg) -> None:
    cohort = one_hot(5, t=3, min_survivors=3)
    state, requests = cohort.reach(leg)
    replies = list(cohort.send(requests))
    other = SECONDS[leg](cohort, state, dict(replies)[BAD])
    assert other != dict(replies)[BAD]
    done, total = rest_of(cohort, state, [*replies, (BAD, other)], leg)
    assert done.survivors == cohort.ids
    check(cohort, total, cohort.ids)
    assert not done.refused
    assert not cohort.refusals


@pytest.mark.parametrize(
    ("leg", "why"),
    [
        (0, None),
        (1, "device 2: REVEAL: the share of device 2 is wrong"),
        (3, "device 2: signature of view is not valid"),
        (4, None),
    ],
)
def test_whoever_goes_by_its_second_reply_hurts_itself_only(one_hot, leg, why) -> None:
    """The server took the other one first; the device goes on with its own state."""
    cohort = one_hot(6, t=4, min_survivors=4)
    state, requests = cohort.reach(leg)
    replies = list(cohort.send(requests))
    other = SECONDS[leg](cohort, state, dict(replies)[BAD])
    done, total = rest_of(cohort, state, [(BAD, other), *replies], leg)
    # without the keys that it advertised a device cannot go on
    left = tuple(i for i in cohort.ids if leg > 0 or i != BAD)
    assert done.survivors == left
    check(cohort, total, left)
    assert done.refused == (() if why is None else (why,))
    assert {i for i, _ in cohort.refusals} == (set() if leg else {BAD})


def test_a_second_upload_taken_first_is_the_only_one_in_the_sum(one_hot) -> None:
    """A device may send any words at all, but once."""
    cohort = one_hot(4, t=3, min_survivors=3)
    state, requests = cohort.reach(2)
    replies = list(cohort.send(requests))
    other = second_upload(cohort, state, dict(replies)[BAD])
    _, total = rest_of(cohort, state, [(BAD, other), *replies], 2)
    assert centred(total, 24).tolist() == [2, 2, 2, 2]  # never 3 of device 2


# Who was not there before


@pytest.mark.parametrize("leg", [1, 2, 3, 4])
def test_whoever_missed_a_leg_is_not_heard_in_the_next(one_hot, leg) -> None:
    """Its reply is good in every other way: as if its last one had come in time."""
    cohort = one_hot(6, t=4, min_survivors=4)
    before, requests = cohort.reach(leg - 1)
    replies = list(cohort.send(requests))
    step = getattr(server, STEPS[leg - 1])
    _, asked = step(before, replies, cohort.work)
    late = cohort.ask(BAD, asked[BAD])
    assert late is not None
    state, requests = step(
        before, [each for each in replies if each[0] != BAD], cohort.work
    )
    if leg == 4:  # it is in the sum, but its vote was not there
        assert BAD not in dict(state.signatures)
        assert BAD in state.survivors
    else:
        assert BAD not in requests
    others = {i: request for i, request in requests.items() if i != BAD}
    replies = [(BAD, late), *cohort.send(others)]
    done, total = rest_of(cohort, state, replies, leg)
    expected = cohort.ids if leg == 4 else tuple(i for i in cohort.ids if i != BAD)
    assert done.survivors == expected
    check(cohort, total, expected)


def test_a_vote_of_whoever_is_not_in_the_sum_does_not_count(one_hot) -> None:
    """Even on the right list, which a colluder in the sum may have shown to it."""
    cohort = one_hot(6, t=4, min_survivors=4)
    state, requests = cohort.reach(3, silent={2: (BAD,)})
    content = state.descriptor.rid + state.view.content
    vote = legs.encode_agreement(
        state.descriptor.rid, cohort.signers[BAD].sign(VIEW, content)
    )
    three = list(cohort.send(requests, (5, 6)))
    with pytest.raises(TooFewSurvivors, match="who agreed = 3, must be >= 4"):
        server.agreed(state, [(BAD, vote), *three], cohort.work)


@pytest.mark.parametrize("leg", [1, 2, 3, 4])
def test_a_reply_of_the_leg_before_comes_too_late(one_hot, leg) -> None:
    cohort = one_hot(5, t=3, min_survivors=3)
    before, requests = cohort.reach(leg - 1)
    replies = list(cohort.send(requests))
    state, requests = getattr(server, STEPS[leg - 1])(before, replies, cohort.work)
    old = dict(replies)[BAD]
    replies = [(BAD, old), *cohort.send(requests)]
    done, total = rest_of(cohort, state, replies, leg)
    check(cohort, total, done.survivors)
    assert done.survivors == cohort.ids
    (why,) = done.refused
    assert why.startswith("device 2: message: kind = ")


# For another device


@pytest.mark.parametrize("leg", range(5))
def test_nobody_can_answer_for_another(one_hot, leg) -> None:
    """Device 2 signs device 3's content, and sends it first as 3's and as its own."""
    cohort = one_hot(5, t=3, min_survivors=3)
    state, requests = cohort.reach(leg)
    replies = dict(cohort.send(requests))
    forged = signed_by_bad(cohort, state, leg, replies[3])
    done, total = rest_of(cohort, state, [(3, forged), *replies.items()], leg)
    assert done.survivors == cohort.ids
    check(cohort, total, cohort.ids)
    (why,) = done.refused
    assert why.startswith("device 3: signature of ")


def signed_by_bad(cohort, state, leg, reply):
    rid, signer = state.descriptor.rid, cohort.signers[BAD]
    if leg == 0:
        advert = legs.decode_advert(reply, rid)
        signature = signer.sign(ADVERT, rid + advert.content)
        return replace(advert, signature=signature).encode(rid)
    if leg == 1:
        dealing = legs.decode_dealing(reply, rid)
        signature = signer.sign(SHARES, rid + state.adverts_hash + dealing.root)
        return replace(dealing, signature=signature).encode(rid)
    if leg == 2:
        upload = legs.decode_upload(reply, rid, size=3 * cohort.coordinates)
        signature = signer.sign(UPLOAD, rid + upload.content)
        return replace(upload, signature=signature).encode(rid)
    if leg == 3:
        return legs.encode_agreement(rid, signer.sign(VIEW, rid + state.view.content))
    reveal = legs.decode_reveal(reply, rid)
    content = rid + sha256(reveal.content).digest()
    return replace(reveal, signature=signer.sign(REVEAL, content)).encode(rid)


def test_an_advert_that_says_it_is_another_devices(one_hot) -> None:
    cohort = one_hot(5, t=3, min_survivors=3)
    state, requests = cohort.reach(0)
    replies = dict(cohort.send(requests))
    replies[BAD] = signed_by_bad(cohort, state, 0, replies[3])
    after, _ = server.advertised(state, replies.items(), cohort.work)
    assert set(after.adverts) == {1, 3, 4, 5}  # 3 keeps its own
    assert after.refused == ("device 2: ADVERT: of another device",)


# Out of an earlier round


def test_last_rounds_dealing_signed_anew_opens_for_nobody(one_hot) -> None:
    """Seals and digests are of the other round; the dealer is named."""
    cohort = one_hot(5, t=3, min_survivors=3)
    kept = {}
    cohort.run(1, bend=lambda leg, replies: kept.update({leg: replies}) or replies)
    old = dict(kept[1])[BAD]
    state, requests = cohort.reach(1, round_=2)
    rid = state.descriptor.rid
    dealing = legs.decode_dealing(old[:4] + rid + old[36:], rid)
    content = rid + state.adverts_hash + dealing.root
    again = replace(dealing, signature=cohort.signers[BAD].sign(SHARES, content))
    replies = dict(cohort.send(requests)) | {BAD: again.encode(rid)}
    needle = "4 devices say that device 2 dealt them no good share; leave it out"
    with pytest.raises(TooFewSurvivors, match=needle):
        rest_of(cohort, state, replies.items(), 1)
    assert all(d.book.rounds[-1].release is None for d in cohort.devices.values())


def test_last_rounds_keys_signed_anew_count_for_nothing_but_themselves(
    one_hot,
) -> None:
    """The commitment names the round: a seed that served once cannot be opened."""
    cohort = one_hot(5, t=3, min_survivors=3)
    kept = {}
    cohort.run(1, bend=lambda leg, replies: kept.update({leg: replies}) or replies)
    old = dict(kept[0])[BAD]
    state, requests = cohort.reach(0, round_=2)
    replies = dict(cohort.send(requests))
    rid = state.descriptor.rid
    again = signed_by_bad(cohort, state, 0, old[:4] + rid + old[36:])
    replies[BAD] = again
    state, requests = server.advertised(state, replies.items(), cohort.work)
    del requests[BAD]  # it could only go on with keys that it no longer has
    done, total = rest_of(cohort, state, list(cohort.send(requests)), 1)
    assert done.survivors == (1, 3, 4, 5)
    check(cohort, total, (1, 3, 4, 5))


# Both kinds of share


def both_kinds(cohort, dealer):
    """Device 2's two shares of ``dealer``, before it drops them."""
    return cohort.devices[BAD].session.secrets.shares[dealer]


def signed_reveal(cohort, rid, entries):
    reveal = legs.Reveal(tuple(entries))
    content = rid + sha256(reveal.content).digest()
    signature = cohort.signers[BAD].sign(REVEAL, content)
    return replace(reveal, signature=signature).encode(rid)


@pytest.mark.parametrize("gone", [(), (5,)])
def test_a_reveal_with_both_kinds_of_share_is_left_out(one_hot, gone) -> None:
    """A list cannot name a dealer twice, and the other kind is not what is asked."""
    cohort = one_hot(5, t=3, min_survivors=3)
    state, requests = cohort.reach(4, silent={2: gone})
    rid = state.descriptor.rid
    held = {dealer: both_kinds(cohort, dealer) for dealer in state.dealings}
    replies = dict(cohort.send(requests, gone))
    wanted = [0 if dealer in state.survivors else 1 for dealer in held]
    twice = [(dealer, share) for dealer, pair in held.items() for share in pair]
    swapped = [
        (dealer, pair[1 - which])
        for (dealer, pair), which in zip(held.items(), wanted, strict=True)
    ]
    one = [
        (dealer, pair[which if dealer != 5 else 1 - which])
        for (dealer, pair), which in zip(held.items(), wanted, strict=True)
    ]
    for entries, needle in (
        (twice, "REVEAL: device numbers must rise"),
        (swapped, "REVEAL: the share of device 1 is wrong"),
        (one, "REVEAL: the share of device 5 is wrong"),
    ):
        bent = replies | {BAD: signed_reveal(cohort, rid, entries)}
        done, total = server.unmask(state, bent.items(), cohort.work)
        assert done.refused == (f"device 2: {needle}",)
        check(cohort, total, state.survivors)
