"""Sent is spent: what gives a round back, and what does not."""

from dataclasses import replace
from itertools import combinations

import pytest

from fedpref.core.device import Evidence
from fedpref.errors import IntegrityError, MessageError
from fedpref.secagg import client, legs, server
from fedpref.secagg.client import ACKNOWLEDGED
from fedpref.secagg.crypto import TOMBSTONE, VIEW, Signer

VICTIM = 7


def dropped(make_cohort, **change):
    """Seven devices, t = 5, C = 1; the victim uploaded and was left out of U2."""
    values = {"colluders": 1, "t": 5, "min_survivors": 5} | change
    cohort = make_cohort(7, **values)
    state, requests = cohort.reach(2)
    replies = list(cohort.send(requests))
    kept = [reply for reply in replies if reply[0] != VICTIM]
    state, requests = server.uploaded(state, kept, cohort.work)
    return cohort, state, requests


def charged(cohort, i=VICTIM):
    return cohort.devices[i].book.charged


def tombstones(cohort, rid, signers, signed=None):
    found = tuple(
        (i, cohort.signers[i].sign(TOMBSTONE, rid if signed is None else signed))
        for i in signers
    )
    return legs.encode_tombstones(rid, found)


# R1: t members agreed on a list without this device


def test_a_list_without_the_device_gives_the_round_back(make_cohort) -> None:
    cohort, state, requests = dropped(make_cohort)
    replies = list(cohort.send(requests))
    state, requests = server.agreed(state, replies, cohort.work)
    assert charged(cohort) == 1
    saved = []
    reply, after = client.answer(
        requests[VICTIM],
        cohort.devices[VICTIM],
        cohort.around(VICTIM, save=saved.append),
    )
    assert reply == ACKNOWLEDGED
    assert saved == [after]
    (entry,) = after.book.rounds
    assert entry.refund is Evidence.AGREED_WITHOUT_ME
    assert entry.buried
    assert after.book.charged == 0
    assert after.session.secrets is None
    assert not after.awaiting


def test_t_less_one_signatures_do_not(make_cohort) -> None:
    cohort, state, _ = dropped(make_cohort)
    view, everybody = state.view, (1, 2, 3, 4, 5, 6)
    assert VICTIM not in view.survivors
    for some in combinations(everybody, 4):
        request = cohort.agreements(state, some)
        cohort.refuses(VICTIM, request, "4 signatures, must be >= 5", MessageError)
    for some in ((1, 2, 3, 4, VICTIM), (1, 2, 3, 4)):
        # its own signature, or one of a device outside the list, adds nothing
        request = cohort.agreements(state, some)
        cohort.refuses(VICTIM, request, "4 signatures, must be >= 5")
    few = replace(view, survivors=(1, 2, 3, 4))
    request = cohort.agreements(state, everybody, few)
    cohort.refuses(VICTIM, request, "4 signatures, must be >= 5")
    assert charged(cohort) == 1


def test_signatures_that_are_not_of_members_on_this_view(make_cohort) -> None:
    cohort, state, _ = dropped(make_cohort)
    other = replace(state.view, dealers=bytes(32))
    request = cohort.agreements(state, (1, 2, 3, 4, 5), signed=other)
    cohort.refuses(VICTIM, request, "signature of view is not valid")
    stranger, rid = Signer.from_seed(b"x" * 32), state.descriptor.rid
    forged = tuple(
        (i, stranger.sign(VIEW, rid + state.view.content)) for i in range(1, 6)
    )
    request = legs.Agreements(state.view, forged).encode(rid)
    cohort.refuses(VICTIM, request, "signature of view is not valid")
    # tombstones are no votes
    buried = tuple((i, cohort.signers[i].sign(TOMBSTONE, rid)) for i in range(1, 6))
    request = legs.Agreements(state.view, buried).encode(rid)
    cohort.refuses(VICTIM, request, "signature of view is not valid")


def test_members_of_another_cohort_do_not_count(make_cohort) -> None:
    cohort = make_cohort(8, colluders=1, t=5, min_survivors=5)
    state, requests = cohort.reach(2, cohort=(1, 2, 3, 4, 5, 6, 7))
    replies = [r for r in cohort.send(requests) if r[0] in (1, 2, 3, 4, 5)]
    state, _ = server.uploaded(state, replies, cohort.work)
    view = replace(state.view, survivors=(1, 2, 3, 4, 8))
    request = cohort.agreements(state, (1, 2, 3, 4, 8), view)
    cohort.refuses(VICTIM, request, "4 signatures, must be >= 5")


def test_a_list_with_the_device_is_no_certificate(make_cohort) -> None:
    cohort, state, _ = dropped(make_cohort)
    view = replace(state.view, survivors=(1, 2, 3, 4, 5, VICTIM))
    request = cohort.agreements(state, (1, 2, 3, 4, 5), view)
    cohort.refuses(VICTIM, request, "not the list of survivors signed here")
    assert charged(cohort) == 1


def test_a_refund_for_nothing(make_cohort) -> None:
    """Nothing was uploaded, or the round is unknown."""
    cohort = make_cohort(7, colluders=1, t=5, min_survivors=5)
    state, _ = cohort.reach(3, silent={2: [VICTIM]})
    request = cohort.agreements(state, (1, 2, 3, 4, 5))
    cohort.refuses(VICTIM, request, "not the list of survivors signed here")
    rid = state.descriptor.rid
    needle = "no spent round is open that they bury"
    cohort.refuses(VICTIM, tombstones(cohort, rid, (1, 2, 3, 4)), needle)
    cohort.refuses(VICTIM, tombstones(cohort, bytes(32), (1, 2, 3, 4)), needle)


def test_told_aborted_and_unmasked_without_me(make_cohort) -> None:
    """The server says "aborted" to the victim and opens a sum that contains it.

    With U2 signed by all seven, the victim among them, only C = 1 colluder can sign a
    list without it, and no honest device has a tombstone to sign: nothing that the
    server can show gives the round back, although the sum was opened.
    """
    cohort = make_cohort(7, colluders=1, t=5, min_survivors=5)
    state, requests = cohort.reach(4)
    replies = list(cohort.send(requests, silent=[VICTIM]))
    server.unmask(state, replies, cohort.work)
    assert charged(cohort) == 1
    rid = state.descriptor.rid
    without = replace(state.view, survivors=(1, 2, 3, 4, 5, 6))
    colluder = (6,)
    cohort.refuses(
        VICTIM, cohort.agreements(state, colluder, without), "1 signatures, must be"
    )
    # honest devices released, so none of them gives a tombstone any more
    for i in range(1, 6):
        tombstone, _ = client.close(
            cohort.devices[i], cohort.member(i), lambda device: None
        )
        assert tombstone == legs.NO_TOMBSTONE
    request = tombstones(cohort, rid, (*colluder, VICTIM))
    cohort.refuses(VICTIM, request, "2 signatures, must be >= 4")
    # a new invitation, an expiry or silence changes nothing either
    _, invitation = cohort.invite(2)
    cohort.accepts(VICTIM, invitation[VICTIM])
    assert charged(cohort) == 1


@pytest.mark.parametrize(("n", "c"), [(n, c) for n in range(2, 9) for c in range(n)])
def test_no_two_certificates_fit_together(n, c) -> None:
    """By counting: who can sign for a sum with the victim and for a refund of it.

    Honest devices sign one view, and sign a tombstone or release. ``h`` of the honest
    ones sign or release for the sum; colluders do both.
    """
    for t in range(c + 1, n + 1):
        if 2 * t <= n + c:
            continue
        wanted = n + c - t + 1
        for h in range(n - c + 1):
            opened = h + c >= t
            r1 = (n - c - h) + c >= t
            r2 = (n - c - h) + c >= wanted
            assert not (opened and r1)
            assert not (opened and r2)


# R2: so many tombstones that t releases cannot be found


def test_enough_tombstones_give_the_round_back(make_cohort) -> None:
    """n + C - t + 1 = 4 of seven."""
    cohort, state, _ = dropped(make_cohort)
    rid = state.descriptor.rid
    for some in ((), (1,), (1, 2, 3)):
        request = tombstones(cohort, rid, some)
        cohort.refuses(VICTIM, request, f"{len(some)} signatures, must be >= 4")
    request = tombstones(cohort, rid, (1, 2, 3, 5))
    assert cohort.accepts(VICTIM, request) == ACKNOWLEDGED
    (entry,) = cohort.devices[VICTIM].book.rounds
    assert entry.refund is Evidence.TOMBSTONES
    assert charged(cohort) == 0


def test_tombstones_that_do_not_count(make_cohort) -> None:
    cohort, state, _ = dropped(make_cohort)
    rid = state.descriptor.rid
    # another round's, a view's signature, a stranger's
    request = tombstones(cohort, rid, (1, 2, 3, 4), signed=bytes(32))
    cohort.refuses(VICTIM, request, "signature of tombstone is not valid")
    votes = tuple(
        (i, cohort.signers[i].sign(VIEW, rid + state.view.content))
        for i in (1, 2, 3, 4)
    )
    request = legs.encode_tombstones(rid, votes)
    cohort.refuses(VICTIM, request, "signature of tombstone is not valid")
    three = tuple((i, cohort.signers[i].sign(TOMBSTONE, rid)) for i in (1, 2, 3))
    outside = Signer.from_seed(b"x" * 32).sign(TOMBSTONE, rid)
    request = legs.encode_tombstones(rid, (*three, (99, outside)))
    cohort.refuses(VICTIM, request, "3 signatures, must be >= 4")
    request = legs.encode_tombstones(rid, (*three, (4, outside)))
    cohort.refuses(VICTIM, request, "signature of tombstone is not valid")
    request = legs.encode_tombstones(rid, (*three, three[-1]))
    cohort.refuses(VICTIM, request, "device numbers must rise")


def test_a_round_that_all_give_up_costs_nobody(make_cohort) -> None:
    """It aborts after the uploads; adverts of the next one bring the tombstones."""
    cohort = make_cohort(7, colluders=1, t=5, min_survivors=5)
    before, _ = cohort.reach(3)
    assert [charged(cohort, i) for i in cohort.ids] == [1] * 7
    state, requests = cohort.reach(2, round_=2)
    found = server.tombstones(state, cohort.work)
    for i in cohort.ids:
        cohort.accepts(i, found[before.descriptor.rid])
        assert charged(cohort, i) == 0
        # and the new round goes on
        cohort.accepts(i, requests[i])
        assert charged(cohort, i) == 1


def test_a_certificate_is_taken_after_later_rounds(make_cohort) -> None:
    """Also when the round now open has answered a message of the same kind."""
    cohort, state, requests = dropped(make_cohort)
    replies = list(cohort.send(requests))
    _, certificate = server.agreed(state, replies, cohort.work)
    cohort.run(2)
    assert charged(cohort) == 2
    cohort.accepts(VICTIM, certificate[VICTIM])
    first, second = cohort.devices[VICTIM].book.rounds
    assert first.refund is Evidence.AGREED_WITHOUT_ME
    assert second.release is not None
    assert charged(cohort) == 1


def test_a_second_copy_is_acknowledged_and_changes_nothing(make_cohort) -> None:
    """The acknowledgement may have been lost; either certificate will do."""
    cohort, state, requests = dropped(make_cohort)
    rid = state.descriptor.rid
    state, requests = server.agreed(state, cohort.send(requests), cohort.work)
    buried, without_me = tombstones(cohort, rid, (1, 2, 3, 5)), requests[VICTIM]
    cohort.accepts(VICTIM, buried)
    before = cohort.devices[VICTIM]
    saved = []
    for request in (buried, without_me, tombstones(cohort, rid, (1, 2, 3, 4, 5))):
        reply, after = client.answer(
            request, before, cohort.around(VICTIM, save=saved.append)
        )
        assert reply == ACKNOWLEDGED
        assert after is before
    assert not saved
    assert before.book.rounds[0].refund is Evidence.TOMBSTONES


def test_what_is_no_certificate_is_refused_after_a_refund_too(make_cohort) -> None:
    cohort, state, _ = dropped(make_cohort)
    rid = state.descriptor.rid
    certificate = tombstones(cohort, rid, (1, 2, 3, 5))
    cohort.accepts(VICTIM, certificate)
    cohort.refuses(VICTIM, certificate + b"\0", "bytes too many")
    other = tombstones(cohort, bytes(32), (1, 2, 3, 5))
    cohort.refuses(VICTIM, other, "no spent round is open")
    view = replace(state.view, survivors=cohort.ids)
    with_me = cohort.agreements(state, (1, 2, 3, 4, 5), view)
    cohort.refuses(VICTIM, with_me, "no round is open")


# Tombstone, refund and release exclude each other


def test_after_a_refund_nothing_is_signed_or_released(make_cohort) -> None:
    cohort, state, _ = dropped(make_cohort)
    rid, before = state.descriptor.rid, cohort.devices[VICTIM]
    cohort.accepts(VICTIM, tombstones(cohort, rid, (1, 2, 3, 4)))
    with_victim = legs.encode_survivors(rid, cohort.ids)
    cohort.refuses(VICTIM, with_victim, "no round is open")
    # nor from an older copy of the keys
    book = cohort.devices[VICTIM].book
    cohort.devices[VICTIM] = replace(before, book=book)
    cohort.refuses(VICTIM, with_victim, "the round is closed", IntegrityError)


def test_after_a_signed_list_a_refund_still_excludes_the_release(make_cohort) -> None:
    cohort = make_cohort(7, colluders=1, t=5, min_survivors=5)
    state, requests = cohort.reach(4)
    rid, before = state.descriptor.rid, cohort.devices[VICTIM]
    cohort.accepts(VICTIM, tombstones(cohort, rid, (1, 2, 3, 4)))
    cohort.refuses(VICTIM, requests[VICTIM], "no round is open")
    book = cohort.devices[VICTIM].book
    cohort.devices[VICTIM] = replace(before, book=book)
    needle = "buried; it releases nothing"
    cohort.devices[VICTIM] = replace(cohort.devices[VICTIM], awaiting={})
    cohort.refuses(VICTIM, requests[VICTIM], needle, IntegrityError)


def test_after_a_release_no_certificate_helps(make_cohort) -> None:
    cohort = make_cohort(7, colluders=1, t=5, min_survivors=5)
    state, requests = cohort.reach(4)
    before = cohort.devices[VICTIM]
    cohort.accepts(VICTIM, requests[VICTIM])
    rid = state.descriptor.rid
    certificate = tombstones(cohort, rid, (1, 2, 3, 4))
    cohort.refuses(VICTIM, certificate, "no spent round is open")
    without = replace(state.view, survivors=(1, 2, 3, 4, 5, 6))
    agreed = cohort.agreements(state, (1, 2, 3, 4, 5), without)
    cohort.refuses(VICTIM, agreed, "another one was answered in this round")
    # the ledger alone would refuse it as well
    after = cohort.devices[VICTIM]
    cohort.devices[VICTIM] = replace(after, awaiting=before.awaiting)
    cohort.refuses(VICTIM, certificate, "shares were released; no refund")


def test_a_tombstone_that_was_sent_does_not_refund_by_itself(make_cohort) -> None:
    cohort, state, _ = dropped(make_cohort)
    _, cohort.devices[VICTIM] = client.close(
        cohort.devices[VICTIM], cohort.member(VICTIM), lambda device: None
    )
    assert charged(cohort) == 1
    rid = state.descriptor.rid
    request = tombstones(cohort, rid, (VICTIM,))
    cohort.refuses(VICTIM, request, "1 signatures, must be >= 4")
    # but it counts among those of others: the device will not release
    cohort.accepts(VICTIM, tombstones(cohort, rid, (1, 2, 3, VICTIM)))
    assert charged(cohort) == 0


def test_a_refund_that_was_not_saved_does_not_happen(make_cohort, told) -> None:
    cohort, state, _ = dropped(make_cohort)
    request = tombstones(cohort, state.descriptor.rid, (1, 2, 3, 4))

    def full(_):
        raise OSError("disk full")

    shown = told(cohort.devices[VICTIM])
    with pytest.raises(OSError, match="disk full"):
        client.answer(request, cohort.devices[VICTIM], cohort.around(VICTIM, save=full))
    assert told(cohort.devices[VICTIM]) == shown
    assert charged(cohort) == 1


def test_no_refund_on_a_drawn_graph(make_cohort, monkeypatch) -> None:
    def everybody(me, cohort, count, *, key):
        return tuple(i for i in cohort if i != me)

    monkeypatch.setattr(client, "draw_neighbours", everybody)
    cohort = make_cohort(7, neighbours=6, t=7, min_survivors=7)
    state, _ = cohort.reach(3)
    needle = "on the complete graph only"
    rid = state.descriptor.rid
    cohort.refuses(VICTIM, tombstones(cohort, rid, cohort.ids), needle)
    view = replace(state.view, survivors=(1, 2, 3, 4, 5, 6))
    request = cohort.agreements(state, (1, 2, 3, 4, 5, 6), view)
    cohort.refuses(VICTIM, request, needle)
