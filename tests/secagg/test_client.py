"""A device among repetitions, rubbish, full disks and rounds that end early."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedpref.errors import FedprefError, IntegrityError, MessageError
from fedpref.secagg import client, legs, server, wire
from fedpref.secagg.crypto import TOMBSTONE
from fedpref.secagg.legs import NO_TOMBSTONE
from fedpref.secagg.wire import Kind

DOWNWARD = (
    Kind.DESCRIPTOR,
    Kind.ADVERTS,
    Kind.DELIVERY,
    Kind.SURVIVORS,
    Kind.AGREEMENTS,
)


def at_leg_4(make_cohort, **change):
    cohort = make_cohort(7, **({"t": 5, "min_survivors": 5} | change))
    state, _ = cohort.reach(4, silent={1: [7], 2: [6]})
    assert state.survivors == (1, 2, 3, 4, 5)
    return cohort, state


@pytest.mark.parametrize("leg", range(5))
def test_the_same_bytes_again_get_the_same_bytes(make_cohort, leg) -> None:
    """Fresh noise under the same masks would show the masks' difference."""
    cohort = make_cohort(4)
    _, requests = cohort.reach(leg)
    calls, saved = [], []
    around = cohort.around(
        1,
        contribute=lambda round_, model: calls.append(round_) or cohort.vectors[0],
        save=saved.append,
    )
    reply, after = client.answer(requests[1], cohort.devices[1], around)
    again, same = client.answer(requests[1], after, around)
    assert again == reply
    assert same is after
    assert saved == [after]
    assert calls == ([1] if leg == 2 else [])


@pytest.mark.parametrize("leg", range(5))
def test_nothing_leaves_that_was_not_saved(make_cohort, told, leg) -> None:
    cohort = make_cohort(4)
    _, requests = cohort.reach(leg)

    def full(_):
        raise OSError("disk full")

    before = cohort.devices[1]
    shown = told(before)
    with pytest.raises(OSError, match="disk full"):
        client.answer(requests[1], before, cohort.around(1, save=full))
    assert told(before) == shown
    saved = []
    reply, after = client.answer(
        requests[1], before, cohort.around(1, save=saved.append)
    )
    assert reply
    assert saved == [after]


def test_the_upload_is_spent_before_it_leaves(make_cohort) -> None:
    cohort = make_cohort(4)
    _, requests = cohort.reach(2)
    saved = []
    assert cohort.devices[1].book.charged == 0
    reply, _ = client.answer(
        requests[1], cohort.devices[1], cohort.around(1, save=saved.append)
    )
    (entry,) = saved[-1].book.rounds
    rid, size = cohort.devices[1].session.rid, 3 * cohort.coordinates
    upload = legs.decode_upload(reply, rid, size=size)
    signed = rid + upload.content
    assert entry.upload == sha256(signed + upload.signature).digest()
    assert saved[-1].book.charged == 1
    assert saved[-1].session.replies[Kind.DELIVERY][1] == reply


def test_the_one_list_and_the_release_are_noted_before_they_leave(make_cohort) -> None:
    cohort = make_cohort(4)
    state, requests = cohort.reach(3)
    saved = []
    _, cohort.devices[1] = client.answer(
        requests[1], cohort.devices[1], cohort.around(1, save=saved.append)
    )
    (entry,) = saved[-1].book.rounds
    assert entry.view == sha256(state.view.content).digest()
    request = cohort.agreements(state, cohort.ids)
    reply, _ = client.answer(
        request, cohort.devices[1], cohort.around(1, save=saved.append)
    )
    (entry,) = saved[-1].book.rounds
    reveal = legs.decode_reveal(reply, state.descriptor.rid)
    assert entry.release == sha256(reveal.content).digest()
    assert saved[-1].session.secrets is None


def test_a_copy_of_the_state_gives_no_second_release(make_cohort) -> None:
    """The book refuses what the replies would not catch."""
    cohort, state = at_leg_4(make_cohort)
    before = cohort.devices[1]
    cohort.accepts(1, cohort.agreements(state, (1, 2, 3, 4, 5)))
    mixed = replace(before, book=cohort.devices[1].book)
    mixed = replace(
        mixed,
        session=replace(
            mixed.session,
            view=replace(state.view, survivors=(1, 2, 3, 4, 5, 6)),
        ),
    )
    request = cohort.agreements(state, (1, 2, 3, 4, 5, 6), mixed.session.view)
    cohort.devices[1] = mixed
    cohort.refuses(1, request, "another set of shares", IntegrityError)


@pytest.mark.parametrize("leg", range(1, 5))
def test_a_flipped_bit_is_refused(make_cohort, flip, leg) -> None:
    cohort = make_cohort(3, t=3)
    _, requests = cohort.reach(leg)
    size = 8 * len(requests[1])
    for bit in [*range(0, 320, 3), *range(320, size, 37)]:
        bent = flip(requests[1], bit)
        if bent[3] != Kind.DESCRIPTOR:  # the invitation again: see below
            cohort.refuses(1, bent, ".", IntegrityError)
    cohort.accepts(1, requests[1])


def test_the_open_rounds_invitation_is_known_by_its_round_id(make_cohort) -> None:
    """What is behind the header is not read again; the advert is the one sent."""
    cohort = make_cohort(4)
    _, requests = cohort.reach(0)
    advert = cohort.accepts(1, requests[1])
    before = cohort.devices[1]
    assert cohort.accepts(1, requests[1][:36] + b"rubbish") == advert
    assert cohort.devices[1] is before


@pytest.mark.parametrize("leg", range(5))
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rubbish_changes_nothing(make_cohort, told, leg, data) -> None:
    cohort = make_cohort(3)
    state, requests = cohort.reach(leg)
    before, rid = cohort.devices[1], state.descriptor.rid
    shown = told(before)
    kind = data.draw(st.sampled_from(Kind))
    bent = bytearray(requests[1])
    place = data.draw(st.integers(36, len(bent)))
    bent[place : place + data.draw(st.integers(0, 9))] = data.draw(
        st.binary(max_size=9)
    )
    for request in (
        data.draw(st.binary(max_size=120)),
        wire.message(kind, rid, data.draw(st.binary(max_size=120))),
        bytes(bent),
    ):
        if request == requests[1]:
            continue
        try:
            reply, after = client.answer(request, before, cohort.around(1))
        except FedprefError:
            assert told(before) == shown
            continue
        if leg and request[3] == Kind.DESCRIPTOR:
            assert reply == before.session.replies[Kind.DESCRIPTOR][1]
            assert after is before
        else:
            assert leg == 2  # a parcel was bent, and dropped


@pytest.mark.parametrize(
    "kind", [k for k in Kind if k not in (*DOWNWARD, Kind.TOMBSTONES)]
)
def test_messages_of_devices_are_no_requests(make_cohort, kind) -> None:
    cohort = make_cohort(3)
    state, _ = cohort.reach(2)
    request = wire.message(kind, state.descriptor.rid, bytes(200))
    cohort.refuses(1, request, "no round is open that it could belong to")


@pytest.mark.parametrize("kind", DOWNWARD[1:])
def test_nothing_is_answered_without_a_round(make_cohort, kind) -> None:
    cohort = make_cohort(3)
    request = wire.message(kind, bytes(32), bytes(200))
    cohort.refuses(1, request, "no round is open that it could belong to")


@pytest.mark.parametrize("leg", range(1, 5))
def test_messages_of_an_earlier_round(make_cohort, leg) -> None:
    cohort = make_cohort(4)
    _, old = cohort.reach(leg)
    _, _ = cohort.reach(leg, round_=2)
    cohort.refuses(1, old[1], "belongs to another round")


# After the time is over


@pytest.mark.parametrize("leg", range(5))
def test_nothing_is_answered_after_the_descriptor_has_expired(make_cohort, leg) -> None:
    """The roster still holds; the last second is one too late."""
    cohort = make_cohort(4)
    _, requests = cohort.reach(leg, expiry=1_500)
    needle = "DESCRIPTOR: expired, expiry = 1500"
    for now in (1_500, 1_999):
        cohort.refuses(1, requests[1], needle, MessageError, now=now)
    client.answer(requests[1], cohort.devices[1], cohort.around(1, now=1_499))


@pytest.mark.parametrize("leg", range(5))
def test_nothing_is_answered_after_the_roster_has_expired(make_cohort, leg) -> None:
    cohort = make_cohort(4)
    _, requests = cohort.reach(leg, expiry=9_000)
    needle = "ROSTER: expired, expiry = 2000; ask for a new one"
    cohort.refuses(1, requests[1], needle, MessageError, now=2_000)
    client.answer(requests[1], cohort.devices[1], cohort.around(1, now=1_999))


def test_after_the_end_old_replies_and_closing_are_left(make_cohort) -> None:
    """Neither says anything new: the bytes were sent, and a tombstone only binds."""
    cohort = make_cohort(4)
    _, requests = cohort.reach(2)
    late = cohort.around(1, now=9_000)
    reply = cohort.accepts(1, requests[1])
    again, same = client.answer(requests[1], cohort.devices[1], late)
    assert again == reply
    assert same is cohort.devices[1]
    tombstone, after = client.close(same, cohort.member(1), lambda _: None)
    assert tombstone != NO_TOMBSTONE
    assert after.book.rounds[0].buried


def test_certificates_outlive_their_round_but_not_the_roster(make_cohort) -> None:
    cohort = make_cohort(7, colluders=1, t=5, min_survivors=5)
    state, _ = cohort.reach(3, expiry=1_500)
    rid = state.descriptor.rid
    signed = tuple((i, cohort.signers[i].sign(TOMBSTONE, rid)) for i in (1, 2, 3, 4))
    certificate = legs.encode_tombstones(rid, signed)
    cohort.refuses(7, certificate, "ROSTER: expired", now=2_000)
    reply, after = client.answer(
        certificate, cohort.devices[7], cohort.around(7, now=1_999)
    )
    assert reply == client.ACKNOWLEDGED
    assert after.book.charged == 0


# Constant behaviour at this layer


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_sizes_do_not_depend_on_what_is_contributed(make_cohort, bits) -> None:
    sizes, counts = set(), set()
    rng = np.random.default_rng(bits)
    for values in (
        np.zeros(64, np.int64),
        np.full(64, 2 ** (bits - 1) - 1),
        np.full(64, -(2 ** (bits - 1))),
        rng.integers(-(2**40), 2**40, 64),
    ):
        cohort = make_cohort(4, coordinates=64, word_bits=bits)
        cohort.vectors[0] = values
        saved = []
        device_, found = cohort.devices[1], []
        state, requests = cohort.invite()
        for name in ("advertised", "dealt", "uploaded", "agreed", "unmask"):
            around = cohort.around(1, save=saved.append)
            reply, device_ = client.answer(requests[1], device_, around)
            found.append(len(reply))
            replies = [(1, reply), *cohort.send(requests, silent=[1])]
            result = getattr(server, name)(state, replies, cohort.work)
            if name != "unmask":
                state, requests = result
        sizes.add(tuple(found))
        counts.add(len(saved))
    assert len(sizes) == 1
    assert counts == {5}
    assert next(iter(sizes))[2] == 36 + 32 + 4 + 64 + 64 * bits // 8


@pytest.mark.parametrize(
    "values",
    [np.zeros(4, np.int64), np.zeros((5, 1), np.int64), np.zeros(5), np.zeros(6, int)],
)
def test_a_contribution_of_another_form_is_a_fault(make_cohort, values) -> None:
    cohort = make_cohort(3)
    _, requests = cohort.reach(2)
    cohort.refuses(
        *(1, requests[1], "contribution: .*, must be int64 of shape"),
        contribute=lambda round_, model: values,
    )


def test_the_contribution_sees_the_round_and_the_signed_model(make_cohort) -> None:
    cohort = make_cohort(3)
    cohort.model = np.arange(5) / 4
    _, requests = cohort.reach(2, round_=6)
    seen = []

    def contribute(round_, model):
        seen.append((round_, model.tolist()))
        model += 1  # a copy: the caller may write to it
        return cohort.vectors[0]

    client.answer(
        requests[1], cohort.devices[1], cohort.around(1, contribute=contribute)
    )
    assert seen == [(6, [0, 0.25, 0.5, 0.75, 1])]


def test_an_upload_alone_is_uniform(make_cohort) -> None:
    """Two uploads of the same values share no more words than chance gives."""
    words = []
    for _ in range(2):
        cohort = make_cohort(3, coordinates=3000)
        cohort.vectors[:] = 0
        _, requests = cohort.reach(2)
        reply = cohort.accepts(1, requests[1])
        words.append(np.frombuffer(reply[-9000:], np.uint8))
    assert (words[0] == words[1]).mean() < 0.01
    assert np.histogram(words[0], 256, (0, 256))[0].max() < 80


# Between rounds


def test_joining_a_newer_round_buries_the_open_one(make_cohort) -> None:
    cohort = make_cohort(4)
    state, requests = cohort.reach(4)
    rid = state.descriptor.rid
    saved = []
    _, invitation = cohort.invite(2)
    reply, after = client.answer(
        invitation[1], cohort.devices[1], cohort.around(1, save=saved.append)
    )
    assert len(saved) == 1
    old, new = saved[-1].book.rounds
    assert old.buried
    assert old.counts
    assert not new.buried
    assert after.session.rid == invitation[1][4:36]
    advert = legs.decode_advert(reply, after.session.rid)
    assert advert.tombstone[:32] == rid
    cohort.work.verify(cohort.signers[1].public, TOMBSTONE, rid, advert.tombstone[32:])
    cohort.devices[1] = after
    cohort.refuses(1, requests[1], "belongs to another round")


def test_a_released_round_gets_no_tombstone(make_cohort) -> None:
    cohort = make_cohort(4)
    cohort.run(1)
    _, invitation = cohort.invite(2)
    reply = cohort.accepts(1, invitation[1])
    advert = legs.decode_advert(reply, cohort.devices[1].session.rid)
    assert advert.tombstone == NO_TOMBSTONE
    assert not cohort.devices[1].book.rounds[0].buried


def test_closing_by_hand(make_cohort) -> None:
    cohort = make_cohort(4)
    assert client.close(cohort.devices[1], cohort.member(1), lambda _: None) == (
        NO_TOMBSTONE,
        cohort.devices[1],
    )
    state, requests = cohort.reach(4)
    saved = []
    before = cohort.devices[1]
    tombstone, after = client.close(before, cohort.member(1), saved.append)
    assert saved == [after]
    assert after.session is None
    assert after.book.rounds[0].buried
    assert tombstone[:32] == state.descriptor.rid
    cohort.devices[1] = after
    cohort.refuses(1, requests[1], "no round is open")
    again, _ = client.close(after, cohort.member(1), saved.append)
    assert again == tombstone
    # even a copy of the session would not release: the ledger says buried
    cohort.devices[1] = replace(before, book=after.book)
    cohort.refuses(1, requests[1], "buried; it releases nothing", IntegrityError)


def test_no_tombstone_leaves_that_was_not_saved(make_cohort) -> None:
    cohort = make_cohort(4)
    cohort.reach(3)

    def full(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        client.close(cohort.devices[1], cohort.member(1), full)


def test_a_device_that_lost_its_session_joins_again(make_cohort) -> None:
    """The ledger says what is open: it is buried, keys or no keys."""
    cohort = make_cohort(4)
    state, _ = cohort.reach(3)
    cohort.devices[1] = replace(cohort.devices[1], session=None)
    _, invitation = cohort.invite(2)
    reply = cohort.accepts(1, invitation[1])
    advert = legs.decode_advert(reply, cohort.devices[1].session.rid)
    assert advert.tombstone[:32] == state.descriptor.rid
    assert [entry.buried for entry in cohort.devices[1].book.rounds] == [True, False]


def test_every_round_has_keys_of_its_own(make_cohort) -> None:
    cohort = make_cohort(3)
    keys = set()
    for number in range(1, 6):
        _, invitation = cohort.invite(number)
        reply = cohort.accepts(1, invitation[1])
        advert = legs.decode_advert(reply, cohort.devices[1].session.rid)
        keys |= {advert.encrypt, advert.mask, advert.commitment}
    assert len(keys) == 15


# Secrets


def test_secrets_do_not_print(make_cohort) -> None:
    cohort = make_cohort(3)
    _, requests = cohort.reach(3)
    one = cohort.devices[1]
    secrets = one.session.secrets
    hidden = [
        *(secrets.seed, secrets.mask.seed, secrets.encrypt.seed),
        *secrets.pairs.values(),
        *(share for pair in secrets.shares.values() for share in pair),
        cohort.signers[1].private.private_bytes_raw(),
    ]
    things = [
        *(one, one.session, secrets, secrets.mask, cohort.signers[1]),
        *(cohort.member(1), cohort.around(1), cohort.work),
        [one, secrets],
    ]
    for thing in things:
        text = repr(thing) + str(thing)
        for secret in hidden:
            assert repr(secret)[2:10] not in text
            assert secret.hex()[:8] not in text
    with pytest.raises(MessageError) as refused:
        client.answer(requests[1][:-1], one, cohort.around(1))
    assert not any(secret.hex()[:8] in str(refused.value) for secret in hidden)
