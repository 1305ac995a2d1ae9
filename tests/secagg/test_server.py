"""The server against devices that lie: left out or named, and the sum stays exact."""

import re
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedpref.core import commitments, shares
from fedpref.core.mask import centred
from fedpref.errors import IntegrityError, TooFewSurvivors
from fedpref.secagg import legs, server, wire
from fedpref.secagg.crypto import (
    ADVERT,
    REVEAL,
    SHARES,
    TOMBSTONE,
    UPLOAD,
    Signer,
    seal,
)
from fedpref.secagg.wire import Kind

STEPS = ("advertised", "dealt", "uploaded", "agreed", "unmask")
BAD = 2
UPWARD = (Kind.ADVERT, Kind.SHARES, Kind.UPLOAD, Kind.AGREEMENT, Kind.REVEAL)


def check(cohort, total, survivors):
    expected = cohort.vectors[[i - 1 for i in survivors]].sum(axis=0)
    assert np.array_equal(total, expected)


def bending(leg, change):
    """Device 2's reply of one leg is changed on its way."""

    def bend(found, replies):
        if found != leg:
            return replies
        return [(i, change(reply) if i == BAD else reply) for i, reply in replies]

    return bend


@pytest.mark.parametrize("leg", range(5))
@pytest.mark.parametrize(
    "change",
    [
        lambda reply: b"",
        lambda reply: reply[:-1],
        lambda reply: reply + b"\0",
        lambda reply: reply + bytes(10**6),
        lambda reply: reply[:36],
        lambda reply: bytes(len(reply)),
        lambda reply: reply[:4] + bytes(32) + reply[36:],
        lambda reply: reply[:3] + b"\x10" + reply[4:],
        lambda reply: reply[:36] + b"\xff" * (len(reply) - 36),
    ],
)
def test_a_malformed_reply_loses_its_sender_only(make_cohort, leg, change) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    total, survivors = cohort.run(bend=bending(leg, change))
    assert set(cohort.ids) - set(survivors) == ({BAD} if leg < 3 else set())
    check(cohort, total, survivors)


@pytest.mark.parametrize("leg", range(5))
def test_no_flipped_bit_is_counted(make_cohort, flip, leg) -> None:
    """Each bit changed in turn: the reply is refused and the state says why."""
    cohort = make_cohort(4, t=3, min_survivors=3)
    state, requests = cohort.reach(leg)
    replies = list(cohort.send(requests))
    step = getattr(server, STEPS[leg])
    good = dict(replies)[BAD]
    sealed = range(0)
    if leg == 1:  # ciphertexts are for their holders to check
        sealed = range(8 * (len(good) - 3 * legs.SEALED), 8 * len(good))
    for bit in range(0, 8 * len(good), 13 if leg < 4 else 5):
        if bit in sealed:
            continue
        bent = [(i, flip(r, bit) if i == BAD else r) for i, r in replies]
        if leg == 4:
            with pytest.raises(TooFewSurvivors, match="device 2: "):
                step(state, bent[:3], cohort.work)
            continue
        after, _ = step(state, bent, cohort.work)
        assert len(after.refused) == 1
        assert after.refused[0].startswith("device 2: ")


@pytest.mark.parametrize("leg", range(5))
def test_replies_of_strangers_and_second_ones_change_nothing(make_cohort, leg) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)

    def bend(found, replies):
        if found != leg:
            return replies
        two = dict(replies)[BAD]
        return [(99, two), (0, two), (3, two), *replies, (BAD, two), (BAD, b"x")]

    total, survivors = cohort.run(bend=bend)
    assert survivors == cohort.ids
    check(cohort, total, survivors)


@pytest.mark.parametrize("leg", range(5))
def test_a_reply_of_another_round_is_left_out(make_cohort, leg) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    kept = {}
    cohort.run(1, bend=lambda found, replies: kept.update({found: replies}) or replies)
    old = dict(kept[leg])[BAD]

    def forged(reply):
        return old[:4] + reply[4:36] + old[36:]

    for change in (lambda reply: old, forged):
        number = cohort.devices[1].book.last + 1
        total, survivors = cohort.run(number, bend=bending(leg, change))
        assert (BAD in survivors) == (leg > 2)
        check(cohort, total, survivors)


@pytest.mark.parametrize("leg", range(5))
@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rubbish_never_crashes_the_server(make_cohort, leg, data) -> None:
    cohort = make_cohort(3, t=2, min_survivors=2)
    state, requests = cohort.reach(leg)
    replies = dict(cohort.send(requests))
    rid = state.descriptor.rid
    bent = bytearray(replies[BAD])
    place = data.draw(st.integers(36, len(bent)))
    removed = data.draw(st.integers(0, 9))
    bent[place : place + removed] = data.draw(st.binary(max_size=9))
    for reply in (
        data.draw(st.binary(max_size=100)),
        wire.message(UPWARD[leg], rid, data.draw(st.binary(max_size=300))),
        bytes(bent),
    ):
        step = getattr(server, STEPS[leg])
        result = step(state, [*(replies | {BAD: reply}).items()], cohort.work)
        if leg == 4:
            _, expected = server.unmask(state, replies.items(), cohort.work)
            assert np.array_equal(result[1], expected)


# Leg 0


def advertise(cohort, state, i, reply, **change):
    """Device i's advert with some fields changed, signed by it."""
    advert = replace(legs.decode_advert(reply, state.descriptor.rid), **change)
    content = state.descriptor.rid + advert.content
    signature = cohort.signers[i].sign(ADVERT, content)
    return replace(advert, signature=signature).encode(state.descriptor.rid)


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"mask": bytes(32)}, "low order"),
        ({"encrypt": bytes(31) + b"\x80"}, "low order"),
        ({"outgoing": (3,)}, "bad neighbours"),
        ({"id": 3}, "of another device"),
    ],
)
def test_a_bad_advert_is_left_out(make_cohort, change, needle) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(0)
    replies = dict(cohort.send(requests))
    replies[BAD] = advertise(cohort, state, BAD, replies[BAD], **change)
    after, asked = server.advertised(state, replies.items(), cohort.work)
    assert needle in after.refused[0]
    assert set(asked) == {1, 3, 4, 5}
    for i in asked:
        cohort.accepts(i, asked[i])


def test_whoever_repeats_a_key_is_left_out(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(0)
    replies = dict(cohort.send(requests))
    three = legs.decode_advert(replies[3], state.descriptor.rid)
    copy = advertise(cohort, state, BAD, replies[BAD], mask=three.encrypt)
    after, _ = server.advertised(state, (replies | {BAD: copy}).items(), cohort.work)
    assert set(after.adverts) == {1, 4, 5}
    own = legs.decode_advert(replies[BAD], state.descriptor.rid)
    same = advertise(cohort, state, BAD, replies[BAD], mask=own.encrypt)
    after, _ = server.advertised(state, (replies | {BAD: same}).items(), cohort.work)
    assert set(after.adverts) == {1, 3, 4, 5}


# Leg 1: bad dealers


def deal(cohort, state, dealt, *, spoiled=()):
    """Device 2's dealing of these shares; ``spoiled`` holders get other ciphertext."""
    rid, device = state.descriptor.rid, cohort.devices[BAD]
    holders = sorted(dealt)
    digests = tuple(commitments.digests(rid, BAD, i, dealt[i]) for i in holders)
    root, _ = commitments.tree([commitments.leaf(*pair) for pair in digests])
    sealed = []
    for i in holders:
        if i != BAD:
            content = bytes(132) if i in spoiled else b"".join(dealt[i])
            key = device.session.secrets.pairs[i]
            sealed.append(seal(key, rid, BAD, i, content))
    secrets = replace(device.session.secrets, shares={BAD: dealt[BAD]})
    session = replace(device.session, secrets=secrets)
    cohort.devices[BAD] = replace(device, session=session)
    signature = cohort.signers[BAD].sign(SHARES, rid + state.adverts_hash + root)
    return legs.Dealing(root, signature, digests, tuple(sealed)).encode(rid)


def bad_dealer(cohort, make, silent=()):
    """A round in which device 2 deals what ``make(state, seeds)`` gives."""
    state, requests = cohort.reach(1)
    replies = dict(cohort.send(requests))
    secrets = cohort.devices[BAD].session.secrets
    replies[BAD] = make(state, (secrets.seed, secrets.mask.seed))
    result = replies.items()
    for name in STEPS[1:]:
        step = getattr(server, name)
        result = step(state, result, cohort.work)
        state, requests = result
        if name == "unmask":
            return centred(requests, 24), state.survivors
        gone = silent if name == "dealt" else ()
        result = list(cohort.send(requests, gone))
    raise AssertionError


def split(cohort, secrets, t=None):
    return shares.split(secrets, cohort.ids, t or cohort.t, key=b"k" * 32)


@pytest.mark.parametrize(
    ("spoiled", "silent"),
    [((1,), ()), ((1, 3), ()), ((4, 5), ()), ((1,), (BAD,)), ((6,), (BAD,))],
)
def test_a_dealer_bad_to_a_few_is_dropped(make_cohort, spoiled, silent) -> None:
    """Those who hold no share of it hand out none; the others are enough."""
    cohort = make_cohort(6, t=4, min_survivors=4)
    total, survivors = bad_dealer(
        cohort,
        lambda state, secrets: deal(
            cohort, state, split(cohort, secrets), spoiled=spoiled
        ),
        silent,
    )
    assert survivors == tuple(sorted({*cohort.ids} - {*silent}))
    check(cohort, total, survivors)
    assert not cohort.refusals or silent


def spoiling(cohort, *spoiled):
    return lambda state, secrets: deal(
        cohort, state, split(cohort, secrets), spoiled=spoiled
    )


def test_a_dealer_bad_to_too_many_ends_the_round_before_anybody_signs(
    make_cohort,
) -> None:
    """It is named, nothing is released, and everybody gets the round back."""
    cohort = make_cohort(6, colluders=1, t=4, min_survivors=4)
    needle = (
        "device 2 who uploaded = 3, must be >= 4; nothing was unmasked; 3 devices say "
        "that device 2 dealt them no good share; leave it out"
    )
    with pytest.raises(TooFewSurvivors, match=needle):
        bad_dealer(cohort, spoiling(cohort, 1, 3, 4))
    assert not cohort.refusals
    for device in cohort.devices.values():
        (entry,) = device.book.rounds
        assert entry.upload is not None
        assert entry.view is None
        assert entry.release is None
    state, _ = cohort.reach(1, round_=2)
    (certificate,) = server.tombstones(state, cohort.work).values()
    for i in cohort.ids:
        cohort.accepts(i, certificate)
        assert cohort.devices[i].book.charged == 0


def test_as_few_complaints_as_there_may_be_liars_blame_nobody(make_cohort) -> None:
    cohort = make_cohort(6, colluders=1, t=4, min_survivors=4)
    needle = "1 devices say .* device 2 .*; no more than the 1 who may be lying"
    with pytest.raises(TooFewSurvivors, match=needle):
        bad_dealer(cohort, spoiling(cohort, 1), silent=(3, 4))


def complaining(cohort, state, replies, *missing):
    """Device 2 says that it holds no share of ``missing``."""
    size = 3 * cohort.coordinates
    rid = state.descriptor.rid
    upload = legs.decode_upload(replies[BAD], rid, size=size)
    assert upload.missing == ()
    return replies | {BAD: uploading(cohort, rid, replace(upload, missing=missing))}


def test_complaints_that_are_lies_change_nothing_but_are_named(make_cohort) -> None:
    """The survivors and the sum are the same; shares it hands out still count."""
    cohort = make_cohort(6, colluders=1, t=4, min_survivors=4)
    state, requests = cohort.reach(2)
    replies = complaining(cohort, state, dict(cohort.send(requests)), 1, 3, 4, 5, 6)
    state, requests = server.uploaded(state, replies.items(), cohort.work)
    assert state.survivors == cohort.ids
    assert state.missing == {i: frozenset({BAD}) for i in (1, 3, 4, 5, 6)}
    assert len(state.refused) == 5
    assert state.refused[1] == "device 2: holds no share of device 3"
    plain = legs.encode_survivors(state.descriptor.rid, cohort.ids)
    assert set(requests.values()) == {plain}
    state, requests = server.agreed(state, cohort.send(requests), cohort.work)
    reveals = [r for r in cohort.send(requests) if r[0] in (1, 2, 3, 4)]
    _, total = server.unmask(state, reveals, cohort.work)
    check(cohort, centred(total, 24), cohort.ids)


@pytest.mark.parametrize("missing", [(BAD,), (5,), (1, 7), (99,)])
def test_complaints_about_what_was_not_dealt_are_left_out(make_cohort, missing) -> None:
    """About itself, about a device that did not deal or advertise, or a stranger."""
    cohort = make_cohort(7, t=4, min_survivors=4)
    state, requests = cohort.reach(2, silent={0: [7], 1: [5]})
    replies = complaining(cohort, state, dict(cohort.send(requests)), *missing)
    after, _ = server.uploaded(state, replies.items(), cohort.work)
    assert after.survivors == (1, 3, 4, 6)
    assert after.missing == {}
    assert after.refused == ("device 2: UPLOAD: misses a share that is not for it",)


def test_a_complaint_must_be_signed(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(2)
    replies = dict(cohort.send(requests))
    rid, size = state.descriptor.rid, 3 * cohort.coordinates
    upload = legs.decode_upload(replies[BAD], rid, size=size)
    forged = replace(upload, missing=(1,)).encode(rid)
    after, _ = server.uploaded(state, (replies | {BAD: forged}).items(), cohort.work)
    assert after.survivors == (1, 3, 4, 5)
    assert "signature of upload is not valid" in after.refused[0]


def test_holders_lost_after_the_list_end_the_round_before_shares_are_asked_for(
    make_cohort,
) -> None:
    cohort = make_cohort(6, t=4, min_survivors=4)
    state, requests = cohort.reach(1)
    replies = dict(cohort.send(requests))
    secrets = cohort.devices[BAD].session.secrets
    replies[BAD] = spoiling(cohort, 1, 3)(state, (secrets.seed, secrets.mask.seed))
    for name in ("dealt", "uploaded"):
        state, requests = getattr(server, name)(state, replies.items(), cohort.work)
        replies = dict(cohort.send(requests))
    del replies[4]
    needle = "device 2 who agreed = 3, must be >= 4; nothing was unmasked; 2 devices"
    with pytest.raises(TooFewSurvivors, match=needle):
        server.agreed(state, replies.items(), cohort.work)
    del replies[1]  # who holds none is no loss: the other four do
    replies[4] = cohort.accepts(4, requests[4])
    server.agreed(state, replies.items(), cohort.work)


@pytest.mark.parametrize(
    ("which", "silent", "needle"),
    [
        (0, (), "device 2: dealt another mask seed"),
        (1, (BAD,), "device 2: dealt another mask key"),
    ],
)
def test_a_dealer_of_another_secret_is_named(
    make_cohort, which, silent, needle
) -> None:
    cohort = make_cohort(6, t=4, min_survivors=4)

    def make(state, secrets):
        wrong = list(secrets)
        wrong[which] = b"w" * 32
        return deal(cohort, state, split(cohort, wrong))

    with pytest.raises(IntegrityError, match=needle):
        bad_dealer(cohort, make, silent)


@pytest.mark.parametrize("share", [b"\xff" * 66, b"\1" + bytes(65)])
def test_a_dealer_of_shares_that_do_not_join_is_named(make_cohort, share) -> None:
    """Not the encoding of a field element; or on no polynomial with the others."""
    cohort = make_cohort(6, t=4, min_survivors=4)

    def make(state, secrets):
        dealt = split(cohort, secrets)
        return deal(cohort, state, dealt | {1: (share, share)})

    with pytest.raises(IntegrityError, match="device 2: dealt bad shares"):
        bad_dealer(cohort, make)


def test_dealings_that_do_not_fit_their_root_are_left_out(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(1)
    replies = dict(cohort.send(requests))
    good = legs.decode_dealing(replies[BAD], state.descriptor.rid)
    rid, key = state.descriptor.rid, cohort.signers[BAD]
    one, two, *rest = good.digests
    stranger = Signer.from_seed(b"x" * 32)
    content = rid + state.adverts_hash + good.root
    for bad, needle in (
        (replace(good, digests=(two, one, *rest)), "root is not that"),
        (replace(good, digests=good.digests[1:]), "not one for each holder"),
        (replace(good, sealed=good.sealed[1:]), "not one for each holder"),
        (replace(good, digests=(), sealed=()), "not one for each holder"),
        (replace(good, signature=stranger.sign(SHARES, content)), "signature of"),
        (replace(good, signature=key.sign(SHARES, rid + good.root)), "signature of"),
    ):
        after, _ = server.dealt(
            state, (replies | {BAD: bad.encode(rid)}).items(), cohort.work
        )
        assert after.dealers == (1, 3, 4, 5)
        assert needle in after.refused[0]


# Leg 2


def uploading(cohort, rid, upload):
    """Device 2's upload, signed anew."""
    signature = cohort.signers[BAD].sign(UPLOAD, rid + upload.content)
    return replace(upload, signature=signature).encode(rid)


def test_an_upload_that_was_masked_for_other_dealers_is_left_out(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(2)
    replies = dict(cohort.send(requests))
    rid = state.descriptor.rid
    size = 3 * cohort.coordinates
    upload = legs.decode_upload(replies[BAD], rid, size=size)
    dealers = sha256(wire.ids((1, 2, 3))).digest()
    other = uploading(cohort, rid, replace(upload, dealers=dealers))
    after, _ = server.uploaded(state, (replies | {BAD: other}).items(), cohort.work)
    assert after.survivors == (1, 3, 4, 5)
    assert "masked for other dealers" in after.refused[0]


# Leg 4


def revealed(cohort, state, shares_):
    rid = state.descriptor.rid
    reveal = legs.Reveal(tuple(shares_))
    content = rid + sha256(reveal.content).digest()
    signature = cohort.signers[BAD].sign(REVEAL, content)
    return replace(reveal, signature=signature).encode(rid)


def test_a_holder_of_bad_shares_is_left_out_or_named(make_cohort) -> None:
    cohort = make_cohort(5, t=4, min_survivors=4)
    state, requests = cohort.reach(4)
    replies = dict(cohort.send(requests))
    rid = state.descriptor.rid
    good = legs.decode_reveal(replies[BAD], rid).shares
    (first, share), *rest = good
    for bad, needle in (
        ([(first, bytes([share[0] ^ 1]) + share[1:]), *rest], "device 1 is wrong"),
        ([*rest, (99, share)], "no share of device 99 is held"),
        ([(first, rest[0][1]), *rest], "the share of device 1 is wrong"),
    ):
        bent = replies | {BAD: revealed(cohort, state, bad)}
        after, total = server.unmask(state, bent.items(), cohort.work)
        check(cohort, centred(total, 24), state.survivors)
        (why,) = after.refused
        assert re.match(f"device 2: .*{needle}", why)
        few = {i: bent[i] for i in (1, 2, 3, 4)}
        with pytest.raises(TooFewSurvivors, match=f"device 2: .*{needle}"):
            server.unmask(state, few.items(), cohort.work)


def test_nothing_is_unmasked_with_fewer_than_t_reveals(make_cohort) -> None:
    cohort = make_cohort(5, t=4, min_survivors=4)
    state, requests = cohort.reach(4)
    replies = list(cohort.send(requests))
    with pytest.raises(TooFewSurvivors, match="shares of device 1 = 3, must be >= 4"):
        server.unmask(state, replies[:3], cohort.work)
    with pytest.raises(TooFewSurvivors):
        server.unmask(state, [], cohort.work)
    # any t of them give the same sum
    sums = set()
    for i in cohort.ids:
        rest = [r for r in replies if r[0] != i]
        sums.add(server.unmask(state, rest, cohort.work)[1].tobytes())
    assert len(sums) == 1


# The state and what it says


@pytest.mark.parametrize("leg", range(5))
def test_steps_do_not_change_the_state_they_are_given(make_cohort, told, leg) -> None:
    cohort = make_cohort(4)
    state, requests = cohort.reach(leg)
    masked = None if state.masked is None else state.masked.copy()
    replies = list(cohort.send(requests))
    step = getattr(server, STEPS[leg])
    first, second = (step(state, replies, cohort.work) for _ in range(2))
    if leg < 4:
        assert first[1] == second[1]
    else:
        assert np.array_equal(first[1], second[1])
        assert np.array_equal(state.masked, masked)


def test_the_state_does_not_print(make_cohort) -> None:
    cohort = make_cohort(4)
    state, _ = cohort.reach(4)
    assert "masked" not in repr(state)


def test_tombstones_are_gathered_from_adverts(make_cohort) -> None:
    cohort = make_cohort(4)
    before, _ = cohort.reach(3)
    state, requests = cohort.reach(0, round_=2)
    replies = dict(cohort.send(requests))
    rid = before.descriptor.rid
    forged = rid + bytes(64)
    replies[BAD] = advertise(cohort, state, BAD, replies[BAD], tombstone=forged)
    after, _ = server.advertised(state, replies.items(), cohort.work)
    found = server.tombstones(after, cohort.work)
    assert set(found) == {rid}
    signatures = legs.decode_tombstones(found[rid], rid)
    assert [who for who, _ in signatures] == [1, 3, 4]
    for who, signature in signatures:
        key = cohort.signers[who].public
        cohort.work.verify(key, TOMBSTONE, rid, signature)
    nobody, _ = make_cohort(4).reach(1)
    assert server.tombstones(nobody, cohort.work) == {}


def test_the_certificate_for_the_dropped_goes_to_all_dealers(make_cohort) -> None:
    cohort = make_cohort(5, t=3, min_survivors=3)
    state, requests = cohort.reach(4, silent={1: [5], 2: [4]})
    assert state.survivors == (1, 2, 3)
    assert set(requests) == {1, 2, 3, 4}
