"""Lies in leg 2: which shares reach whom, and for whom a device masks."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fedpref.core import commitments
from fedpref.core.mask import unpack
from fedpref.secagg import client, legs, wire
from fedpref.secagg.crypto import SHARES, Signer, seal
from tests.lies.enrolment import ANY_SIGNATURE
from tests.lies.invitation import BOOK, CLIENT
from tests.lies.keys import CHECKS, CRYPTO, SECOND_ANSWER
from tests.lies.lie import Attempt, Change, gained, harmless, refused
from tests.lies.scenes import (
    FRIEND,
    VICTIM,
    adverts,
    delivery,
    flip,
    missing,
    opened,
    seven,
    signed,
)

SECOND_UPLOAD = (
    SECOND_ANSWER,
    Change(BOOK, '    _once(entry.upload, upload, "upload")\n', ""),
)


def words(told, upload):
    """The masked words of an upload."""
    size = told.coordinates * told.word_bits // 8
    data = legs.decode_upload(upload, upload[4:36], size=size).words
    return unpack(data, told.word_bits, told.coordinates)


def deals(told):
    """At leg 2: the victim's request, its dealers, and its parcels by dealer."""
    _, requests = told.reach(2)
    return requests[VICTIM], *opened(requests[VICTIM])


@refused(
    "2",
    wins="an upload under masks of very few",
    defence="at least min_survivors dealers",
    needle="DELIVERY: 5 dealers, must be >= 6",
    without=Change(
        CLIENT,
        "    if len(dealers) < session.terms.min_survivors or member.id not in "
        "dealers:",
        "    if member.id not in dealers:",
    ),
)
def too_few_dealers() -> Iterator[Attempt]:
    """Fewer dealers than a sum needs."""
    told = seven(min_survivors=6)
    good, _, parcels = deals(told)
    request = delivery(good, (1, 2, 3, 4, 5), parcels)
    yield Attempt(told, VICTIM, request, truth=good)


@refused(
    "2",
    wins="an upload of a device whose secrets nobody was asked to hold",
    defence="the device itself is among the dealers",
    needle="and include this device",
    without=Change(CLIENT, " or member.id not in dealers:", ":"),
)
def dealers_without_the_victim() -> Iterator[Attempt]:
    """A list of dealers that lacks the device to which it is sent."""
    told = seven()
    good, dealers, parcels = deals(told)
    yield Attempt(told, VICTIM, delivery(good, dealers[1:], parcels), truth=good)


@refused(
    "2",
    wins="dealers of whom nobody has seen a key",
    defence="who dealt has advertised",
    needle="DELIVERY: a dealer has not advertised",
    without=(
        Change(
            CLIENT,
            "    if not session.adverts.keys() >= set(dealers):",
            "    if False:",
        ),
    ),
)
def a_dealer_who_has_not_advertised() -> Iterator[Attempt]:
    """A list of dealers with somebody more in it."""
    told = seven()
    _, requests = told.reach(2, silent={0: [FRIEND]})
    good = requests[VICTIM]
    _, parcels = opened(good)
    for more in (FRIEND, 99):
        request = delivery(good, (1, 2, 3, 4, 5, 6, more), parcels)
        yield Attempt(told, VICTIM, request, truth=good)


@refused(
    "2",
    wins="a device that cannot help to open the sum, so a round to repeat",
    defence="shares of at least t devices verify",
    needle="DELIVERY: shares of 4 devices verify, must be >= 5",
    without=Change(
        CLIENT, "    if len(held) < session.terms.threshold:", "    if False:"
    ),
)
def shares_of_too_few() -> Iterator[Attempt]:
    """Shares withheld, or spoilt on their way, until fewer than t are left."""
    told = seven()
    good, dealers, parcels = deals(told)
    some = {who: parcels[who] for who in (2, 3, 4)}
    spoilt = {who: replace(p, sealed=flip(p.sealed, 9)) for who, p in parcels.items()}
    for wrong in (some, spoilt | some):
        yield Attempt(told, VICTIM, delivery(good, dealers, wrong), truth=good)


@refused(
    "2",
    wins="two uploads of one contribution: their difference is that of masks",
    defence="each kind of request is answered once a round; a round has one upload",
    needle="DELIVERY: another one was answered in this round",
    without=SECOND_UPLOAD,
)
def a_second_upload() -> Iterator[Attempt]:
    """Another list of dealers, after the first has been answered."""
    told = seven()
    good, dealers, parcels = deals(told)
    first = told.accepts(VICTIM, good)
    without = delivery(good, dealers[:-1], {i: parcels[i] for i in dealers[1:-1]})

    def spoils(reply, after):
        assert not np.array_equal(words(told, first), words(told, reply))

    yield Attempt(told, VICTIM, without, truth=good, spoils=spoils)


@harmless(
    "2",
    wins="fresh noise under the same masks: the average of many is the contribution",
    defence="the bytes that were sent are kept, and sent again",
    because="the same request gets the same bytes, and the records are asked once",
    without=(
        Change(
            CLIENT,
            "    if session is not None and rid == session.rid and kind in "
            "session.replies:",
            "    if False:",
        ),
        SECOND_UPLOAD[1],
    ),
)
def asked_again_as_if_lost() -> None:
    """Every request of a round twice, as if the reply had been lost."""
    asked = []

    def contribute(number, model):
        asked.append(number)
        return np.full(5, len(asked))

    for leg in (2, 0, 1, 3, 4):
        told = seven()
        _, requests = told.reach(leg)
        around = told.around(VICTIM, contribute=contribute)
        replies = []
        for _ in range(2):
            reply, told.devices[VICTIM] = client.answer(
                requests[VICTIM], told.devices[VICTIM], around
            )
            replies.append(reply)
        gained(replies[0] != replies[-1], "two answers, under the same masks")
        assert len(replies) == 2
    assert asked == [1]


def takes(told, good, dealers, parcels, dealer=2):
    """Whether the victim takes this dealer's parcel; it says so in its upload."""
    request = delivery(good, dealers, parcels)
    before = told.devices[VICTIM]
    upload = told.accepts(VICTIM, request)
    held = told.devices[VICTIM].session.secrets.shares
    told.devices[VICTIM] = before
    assert (dealer in missing(told, upload)) is (dealer not in held)
    return dealer in held


DROPPED = "the share is dropped, its dealer is named, and t others hold one"


@harmless(
    "2",
    wins="the victim hands its own shares out under another's name, of both kinds",
    defence="direction in nonce and associated data, dealer and holder in the leaf",
    because=DROPPED,
    without=(
        Change(
            CRYPTO,
            '    return struct.pack("<IQ", 1, dealer), rid + struct.pack("<QQ", '
            "dealer, holder)",
            "    return bytes(12), rid",
        ),
        Change(
            CHECKS,
            "        commitments.check(\n            parcel.root,",
            "        (lambda *_: None)(\n            parcel.root,",
        ),
    ),
)
def shares_sent_back_to_their_dealer() -> None:
    """What the victim dealt to a device, delivered to the victim as that device's."""
    told = seven()
    _, requests = told.reach(2)
    good = requests[VICTIM]
    dealers, mine = opened(good)
    _, theirs = opened(requests[2])
    back = replace(mine[2], sealed=theirs[VICTIM].sealed)
    got = takes(told, good, dealers, mine | {2: back})
    gained(got, "the victim holds its own share as another's")
    assert takes(told, good, dealers, mine)


@harmless(
    "2",
    wins="one nonce for two texts, whose difference is then known",
    defence="the dealer's number is in the nonce of the pair's key",
    because="what the two devices of a pair seal for each other has two keystreams",
    without=Change(
        CRYPTO, 'struct.pack("<IQ", 1, dealer), rid', 'struct.pack("<IQ", 1, 0), rid'
    ),
)
def both_directions_compared() -> None:
    """The ciphertexts of a pair, one from each side, added up."""
    told = seven()
    _, requests = told.reach(2)
    _, mine = opened(requests[VICTIM])
    _, theirs = opened(requests[2])
    sealed = [mine[2].sealed[: 2 * legs.SHARE], theirs[VICTIM].sealed[: 2 * legs.SHARE]]
    told.accepts(VICTIM, requests[VICTIM])
    told.accepts(2, requests[2])
    plain = [
        b"".join(told.devices[holder].session.secrets.shares[dealer])
        for holder, dealer in ((VICTIM, 2), (2, VICTIM))
    ]
    seen, real = (
        np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)
        for a, b in (sealed, plain)
    )
    gained(np.array_equal(seen, real), "the difference of two shares")


def resealed(told, good, dealers, parcels, *, rid, holder):
    """A friend seals the victim's share as if for another round or holder."""
    key = told.devices[VICTIM].session.secrets.pairs[FRIEND]
    before = told.devices[VICTIM]
    told.accepts(VICTIM, good)
    pair = told.devices[VICTIM].session.secrets.shares[FRIEND]
    told.devices[VICTIM] = before
    sealed = seal(key, rid, FRIEND, holder, b"".join(pair))
    return parcels | {FRIEND: replace(parcels[FRIEND], sealed=sealed)}


@harmless(
    "2",
    wins="a ciphertext that can be moved to another holder",
    defence="the holder is in the associated data",
    because=DROPPED,
    without=Change(CRYPTO, 'struct.pack("<QQ", dealer, holder)', "bytes(16)"),
    colluders=True,
)
def sealed_for_another_holder() -> None:
    """A friend's share under the right key, with another holder's associated data."""
    told = seven()
    good, dealers, parcels = deals(told)
    wrong = resealed(told, good, dealers, parcels, rid=good[4:36], holder=2)
    got = takes(told, good, dealers, wrong, FRIEND)
    gained(got, "a share sealed for another holder was taken")


@harmless(
    "2",
    wins="a ciphertext that can be moved to another round",
    defence="the round id is in the associated data",
    because=DROPPED,
    without=Change(CRYPTO, 'rid + struct.pack("<QQ"', 'struct.pack("<QQ"'),
    colluders=True,
)
def sealed_for_another_round() -> None:
    """A friend's share under the right key, with another round's associated data."""
    told = seven()
    good, dealers, parcels = deals(told)
    wrong = resealed(told, good, dealers, parcels, rid=bytes(32), holder=VICTIM)
    got = takes(told, good, dealers, wrong, FRIEND)
    gained(got, "a share sealed for another round was taken")


@harmless(
    "2",
    wins="shares that do not open, with the blame on their dealer",
    defence="dealers sign the root of all their shares, and each comes with its path",
    because=DROPPED,
    without=ANY_SIGNATURE,
)
def bits_of_a_parcel() -> None:
    """One bit changed, in each field of a parcel: root, signature, share and path."""
    told = seven()
    _, requests = told.reach(2)
    good, (dealers, parcels) = requests[VICTIM], opened(requests[VICTIM])
    one, other = parcels[2], parcels[3]
    bent = [
        opened(requests[3])[1][2],  # for another holder
        replace(one, signature=flip(one.signature, 100)),
        replace(one, signature=other.signature),
        replace(one, root=flip(one.root, 9)),
        replace(one, root=other.root, signature=other.signature),
        replace(one, sealed=flip(one.sealed, 0)),
        replace(one, sealed=flip(one.sealed, 8 * len(one.sealed) - 1)),
        replace(one, path=(flip(one.path[0], 3), *one.path[1:])),
        replace(one, path=one.path[:-1]),
        replace(one, path=(*one.path, bytes(32))),
        replace(other, dealer=2),
    ]
    for wrong in bent:
        got = takes(told, good, dealers, parcels | {2: wrong})
        gained(got, "a parcel that was changed was taken")
    assert takes(told, good, dealers, parcels)


@harmless(
    "2",
    wins="other shares than the dealer made, for a holder of the server's choice",
    defence="the root is signed by the dealer's key on the roster",
    because=DROPPED,
    without=Change(
        CHECKS,
        "        work.verify(member.roster.key(dealer), SHARES, content, "
        "parcel.signature)\n",
        "",
    ),
)
def a_root_of_its_own() -> None:
    """The right share under a root that the server has signed in the dealer's place."""
    told = seven()
    good, dealers, parcels = deals(told)
    session = told.devices[VICTIM].session
    content = session.rid + session.adverts_hash + parcels[2].root
    for key in (told.server, told.signers[FRIEND], Signer.from_seed(b"x" * 32)):
        forged = replace(parcels[2], signature=key.sign(SHARES, content))
        got = takes(told, good, dealers, parcels | {2: forged})
        gained(got, "a root that its dealer did not sign")


@refused(
    "2",
    wins="two sets of holders for one set of secrets, each with t",
    defence="a dealer signs its shares together with the adverts that it saw",
    needle="DELIVERY: shares of 3 devices verify, must be >= 5",
    without=(
        Change(CLIENT, "sign(SHARES, rid + digest + root)", "sign(SHARES, rid + root)"),
        Change(
            CHECKS,
            "content = rid + session.adverts_hash + parcel.root",
            "content = rid + parcel.root",
        ),
    ),
)
def two_groups_with_two_sets_of_adverts() -> Iterator[Attempt]:
    """Half of the devices are shown all adverts, half of them other commitments.

    Both sets are of signed adverts: the friend has signed two.
    """
    told = seven()
    state, requests = told.reach(1)
    rid = state.descriptor.rid
    twice = replace(state.adverts[FRIEND], commitment=bytes(32))
    other = adverts(state, signed(told, rid, twice))
    shown = {i: requests[i] if i < 4 else other for i in told.ids[:-1]}
    dealings = {i: told.accepts(i, request) for i, request in shown.items()}
    for i, request in delivered_to(told, rid, dealings).items():
        yield Attempt(told, i, request)


def delivered_to(told, rid, dealings):
    """Deliveries among those who dealt, each with its place among all seven."""
    found = {}
    for holder in dealings:
        parcels = []
        for dealer, reply in dealings.items():
            if dealer != holder:
                parcels.append(_parcel(told, rid, dealer, holder, reply))
        found[holder] = legs.encode_delivery(rid, wire.ids(sorted(dealings)), parcels)
    return found


def _parcel(told, rid, dealer, holder, reply):
    dealing = legs.decode_dealing(reply, rid)
    _, paths = commitments.tree([commitments.leaf(*p) for p in dealing.digests])
    others = [i for i in told.ids if i != dealer]
    return legs.Parcel(
        *(dealer, dealing.root, dealing.signature),
        dealing.sealed[others.index(holder)],
        paths[told.ids.index(holder)],
    )
