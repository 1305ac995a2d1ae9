"""Lies about rounds that are over: refunds, tombstones, and what was aborted."""

from collections.abc import Iterator
from dataclasses import replace

from fedpref.errors import IntegrityError
from fedpref.secagg import client, legs, server
from fedpref.secagg.crypto import TOMBSTONE, VIEW, Signer
from tests.lies.enrolment import ANY_SIGNATURE
from tests.lies.invitation import BOOK, CLIENT
from tests.lies.lie import Attempt, Change, gained, harmless, refused
from tests.lies.scenes import (
    FRIEND,
    VICTIM,
    buried,
    cohort,
    invitation,
    left_out,
    seven,
)

REFUNDS = "fedpref/secagg/refunds.py"
ANY_VOTE = Change(
    REFUNDS,
    "    for who, signature in ours:\n        work.verify(member.roster.key(who), "
    "label, content, signature)\n",
    "",
)


def refunds(told):
    """What is left to be shown of a lie that gave a round back."""

    def spoils(reply, after):
        assert reply == client.ACKNOWLEDGED
        assert after.book.charged < told.devices[VICTIM].book.charged

    return spoils


def certificate(told, state, signers=(2, 3, 4, 5, 6)):
    """Signatures on the list that lacks the victim."""
    return told.agreements(state, signers)


@refused(
    "later",
    wins="a round that is not charged, of which it may still open the sum",
    defence="t signatures on the list that lacks the device (R1)",
    needle="AGREEMENTS: 4 signatures, must be >= 5",
    without=Change(
        REFUNDS,
        '    if valid < wanted:\n        raise MessageError(f"AGREEMENTS',
        '    if False:\n        raise MessageError(f"AGREEMENTS',
    ),
)
def a_certificate_one_signature_short() -> Iterator[Attempt]:
    """t - 1 signatures, and some that do not count: of the victim, of outsiders."""
    told = seven()
    state = left_out(told, VICTIM)
    good = certificate(told, state)
    for some in ((2, 3, 4, 5), (VICTIM, 2, 3, 4, 5)):
        request = certificate(told, state, some)
        yield Attempt(told, VICTIM, request, truth=good, spoils=refunds(told))


@refused(
    "later",
    wins="a refund of a round whose sum has the victim in it",
    defence="a certificate is a list without the device",
    needle="AGREEMENTS: not the list of survivors signed here",
    without=Change(
        REFUNDS,
        "        if member.id in agreements.view.survivors:\n            return None\n",
        "",
    ),
)
def a_certificate_that_names_the_victim() -> Iterator[Attempt]:
    """t signatures on the list by which the sum was opened, shown as a refund."""
    told = seven()
    state, requests = told.reach(3)
    replies = list(told.send(requests, silent=[VICTIM]))
    _, asked = server.agreed(state, replies, told.work)  # the others will release
    yield Attempt(told, VICTIM, asked[VICTIM], spoils=refunds(told))


@refused(
    "later",
    wins="a refund for a round that nobody dropped the victim from",
    defence="signatures are over the round id",
    needle="signature of view is not valid",
    without=ANY_VOTE,
)
def a_certificate_of_another_round() -> Iterator[Attempt]:
    """The certificate of an earlier round, with this one's id in its header."""
    told = seven()
    state = left_out(told, VICTIM)
    old = certificate(told, state)
    fresh = told.reach(3, round_=2)[0].descriptor.rid
    request = old[:4] + fresh + old[36:]
    yield Attempt(told, VICTIM, request, truth=old, spoils=refunds(told))


@refused(
    "later",
    wins="a refund by signatures of its own",
    defence="every signature is that of the roster's key",
    needle="signature of view is not valid",
    without=ANY_SIGNATURE,
)
def a_certificate_of_its_own_making() -> Iterator[Attempt]:
    """t signatures that a stranger made, or that are of tombstones."""
    told = seven()
    state = left_out(told, VICTIM)
    rid, stranger = state.descriptor.rid, Signer.from_seed(b"x" * 32)
    content = rid + state.view.content
    forged = tuple((i, stranger.sign(VIEW, content)) for i in range(2, 7))
    others = tuple((i, told.signers[i].sign(TOMBSTONE, rid)) for i in range(2, 7))
    good = certificate(told, state)
    for signatures in (forged, others):
        request = legs.Agreements(state.view, signatures).encode(rid)
        yield Attempt(told, VICTIM, request, truth=good, spoils=refunds(told))


@refused(
    "later",
    wins="a refund by identities that were not in the round",
    defence="voters are on the list and in the round's own cohort",
    needle="AGREEMENTS: 4 signatures, must be >= 5",
    without=Change(
        REFUNDS,
        "    voters = set(agreements.view.survivors) & set(awaiting.cohort)",
        "    voters = set(agreements.view.survivors)",
    ),
    colluders=True,
)
def a_certificate_of_another_cohort() -> Iterator[Attempt]:
    """t signatures, one of them by a friend who was not invited."""
    told = cohort(8, colluders=1, t=5, min_survivors=5)
    state, requests = told.reach(2, cohort=(1, 2, 3, 4, 5, 6, 7))
    replies = [r for r in told.send(requests) if r[0] in (3, 4, 5, 6, 7)]
    state, _ = server.uploaded(state, replies, told.work)
    good = told.agreements(state, (3, 4, 5, 6, 7))
    view = replace(state.view, survivors=(3, 4, 5, 6, 8))
    request = told.agreements(state, (3, 4, 5, 6, 8), view)
    yield Attempt(told, VICTIM, request, truth=good, spoils=refunds(told))


@refused(
    "later",
    wins="a refund while t devices are left that can open the sum",
    defence="n + C - t + 1 tombstones leave fewer than t (R2)",
    needle="TOMBSTONES: [0-3] signatures, must be >= 4",
    without=Change(
        REFUNDS,
        "    wanted = clients + terms.colluders - terms.threshold + 1",
        "    wanted = clients + terms.colluders - terms.threshold",
    ),
    colluders=True,
)
def one_tombstone_short() -> Iterator[Attempt]:
    """n + C - t tombstones, or fewer."""
    told = seven()
    rid = left_out(told, VICTIM).descriptor.rid
    good = buried(told, rid, (2, 3, 4, FRIEND))
    for some in ((2, 3, FRIEND), (2,), ()):
        request = buried(told, rid, some)
        yield Attempt(told, VICTIM, request, truth=good, spoils=refunds(told))


@refused(
    "later",
    wins="a refund by tombstones of nobody in particular",
    defence="tombstones are by members of the round's cohort, one each, over its id",
    needle="TOMBSTONES: 3 signatures|must rise|signature of tombstone",
    without=Change(
        REFUNDS,
        "    ours = [(who, signature) for who, signature in signatures if who in "
        "voters]",
        "    ours = [(who, s) for who, s in signatures if who in member.roster.by_id]",
    ),
    colluders=True,
)
def tombstones_that_do_not_count() -> Iterator[Attempt]:
    """Three good tombstones and a fourth: an outsider's, a copy, another round's."""
    told = cohort(8, colluders=1, t=5, min_survivors=5)
    state, requests = told.reach(2, cohort=(1, 2, 3, 4, 5, 6, 7))
    list(told.send(requests))
    rid = state.descriptor.rid
    good = buried(told, rid, (2, 3, 4, 5))
    three = tuple((i, told.signers[i].sign(TOMBSTONE, rid)) for i in (2, 3, 4))
    other = (5, told.signers[5].sign(TOMBSTONE, bytes(32)))
    yield Attempt(told, VICTIM, buried(told, rid, (2, 3, 4, 8)), truth=good)
    for fourth in (three[-1], other):
        request = legs.encode_tombstones(rid, (*three, fourth))
        yield Attempt(told, VICTIM, request, truth=good, spoils=refunds(told))


@refused(
    "later",
    wins="a refund after the victim has helped to open the sum",
    defence="a round that was released waits for no certificate, and its entry says so",
    needle="another one was answered in this round|no spent round is open|no refund",
    error=IntegrityError,
    without=(
        Change(
            CLIENT,
            "    waiting = {key: value for key, value in state.awaiting.items() if "
            "key != rid}\n    closed",
            "    waiting = state.awaiting\n    closed",
        ),
        Change(
            BOOK,
            "    if entry.release is not None:\n        raise IntegrityError("
            '"device ledger: shares were released; no refund")\n',
            "",
        ),
    ),
)
def a_refund_after_the_release() -> Iterator[Attempt]:
    """Four tombstones for a round in which the victim has handed out its shares."""
    told = seven()
    state, requests = told.reach(4)
    told.accepts(VICTIM, requests[VICTIM])
    request = buried(told, state.descriptor.rid, (2, 3, 4, FRIEND))
    yield Attempt(told, VICTIM, request, spoils=refunds(told))


@harmless(
    "later",
    wins="a sum with the victim in it that its own ledger does not count",
    defence="sent is spent: abort, silence, expiry or a new round refund nothing",
    because="every sum that was opened with the victim in it is charged on it",
    without=Change(
        BOOK,
        "        return self.upload is not None and self.refund is None",
        "        return self.upload is not None and not self.buried",
    ),
)
def told_aborted_and_opened_all_the_same() -> None:
    """Abort after the uploads, as the victim is told; the others open the sum."""
    told = seven()
    for sums in (1, 2, 3):
        state, requests = told.reach(4, round_=sums)
        replies = list(told.send(requests, silent=[VICTIM]))
        server.unmask(state, replies, told.work)
        assert VICTIM in state.survivors
        _, told.devices[VICTIM] = client.close(
            told.devices[VICTIM], told.member(VICTIM), lambda _: None
        )
        assert told.devices[VICTIM].book.rounds[-1].buried
        gained(told.devices[VICTIM].book.charged < sums, "a sum that is not charged")


@harmless(
    "later",
    wins="a promise to release nothing, from a device that has released",
    defence="a round that was released gets no tombstone, by state and by ledger",
    because="it is asked to close and gives no tombstone: R2 counts honest ones only",
    without=(
        Change(
            CLIENT,
            "    if last is None or last.release is not None:",
            "    if last is None:",
        ),
        Change(
            BOOK,
            "    if entry.release is not None:\n        raise IntegrityError("
            '"device ledger: shares were released; no tombstone")\n',
            "",
        ),
    ),
)
def a_tombstone_after_the_release() -> None:
    """A late tombstone, by hand and in the advert of the next round."""
    told = seven()
    told.run(1)
    found = [client.close(told.devices[1], told.member(1), lambda _: None)[0]]
    reply = told.accepts(2, invitation(told, round_=2))
    found.append(legs.decode_advert(reply, reply[4:36]).tombstone)
    for tombstone in found:
        gained(tombstone != legs.NO_TOMBSTONE, "a tombstone of a released round")


@refused(
    "later",
    wins="shares of a device that others count among those who will give none",
    defence="the round is closed with its tombstone, and its entry is buried",
    needle="no round is open that it could belong to|buried; it releases nothing",
    error=IntegrityError,
    without=(
        Change(
            CLIENT,
            "    after = replace(state, session=None)\n    last",
            "    after = state\n    last",
        ),
        Change(
            BOOK,
            '    if entry.buried:\n        raise IntegrityError("device ledger: the '
            'round is buried; it releases nothing")\n',
            "",
        ),
    ),
)
def a_release_after_the_tombstone() -> Iterator[Attempt]:
    """The request for shares, after the victim has given the round up."""
    told = seven()
    state, requests = told.reach(4)
    tombstone, told.devices[VICTIM] = client.close(
        told.devices[VICTIM], told.member(VICTIM), lambda _: None
    )
    assert tombstone[:32] == state.descriptor.rid

    def spoils(reply, after):
        shares = dict(legs.decode_reveal(reply, state.descriptor.rid).shares)
        assert set(shares) == set(told.ids)

    yield Attempt(told, VICTIM, requests[VICTIM], spoils=spoils)
