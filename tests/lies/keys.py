"""Lies in leg 1: whose keys are shown to whom."""

from collections.abc import Iterator
from dataclasses import replace

from fedpref.secagg import client, legs
from fedpref.secagg.crypto import ADVERT, ENCRYPT, MASK, KeyPair, Signer, Work, unseal
from fedpref.secagg.wire import Kind
from tests.lies.enrolment import ANY_SIGNATURE
from tests.lies.invitation import CLIENT
from tests.lies.lie import Attempt, Change, gained, harmless, refused
from tests.lies.scenes import (
    FRIEND,
    VICTIM,
    adverts,
    delivered,
    seven,
    signed,
)

CHECKS = "fedpref/secagg/checks.py"
CRYPTO = "fedpref/secagg/crypto.py"
UNSIGNED = Change(
    CHECKS,
    "        work.verify(member.roster.key(advert.id), ADVERT, content, "
    "advert.signature)\n",
    "",
)
MINE = KeyPair.from_seed(b"s" * 32)
"""A key that the server knows."""
SECOND_ANSWER = Change(
    CLIENT,
    'raise MessageError(f"{kind.name}: another one was answered in this round")',
    "pass",
)


@refused(
    "1",
    wins="the shares that are dealt to that device, in the clear",
    defence="adverts are signed by the roster's keys",
    needle="signature of advert is not valid",
    without=UNSIGNED,
)
def a_substituted_sealing_key() -> Iterator[Attempt]:
    """Its own sealing key in the advert of another device."""
    told = seven()
    state, requests = told.reach(1)
    rid = state.descriptor.rid
    request = adverts(state, replace(state.adverts[2], encrypt=MINE.public))

    def spoils(reply, after):
        dealing = legs.decode_dealing(reply, rid)
        victim = state.adverts[VICTIM].encrypt
        key = Work().agree(MINE, victim, rid, ENCRYPT)
        pair = unseal(key, rid, VICTIM, 2, dealing.sealed[0])
        assert len(pair) == 2 * legs.SHARE

    yield Attempt(told, VICTIM, request, truth=requests[VICTIM], spoils=spoils)


@refused(
    "1",
    wins="the mask that the victim shares with that device",
    defence="adverts are signed by the roster's keys",
    needle="signature of advert is not valid",
    without=UNSIGNED,
)
def a_substituted_mask_key() -> Iterator[Attempt]:
    """Its own mask key in the advert of another device."""
    told = seven()
    state, requests = told.reach(1)
    rid = state.descriptor.rid
    request = adverts(state, replace(state.adverts[2], mask=MINE.public))

    def spoils(reply, after):
        own = after.session.secrets.mask
        theirs = after.session.adverts[2].mask
        known = Work().agree(MINE, own.public, rid, MASK)
        assert Work().agree(own, theirs, rid, MASK) == known

    yield Attempt(told, VICTIM, request, truth=requests[VICTIM], spoils=spoils)


@refused(
    "1",
    wins="a mask seed that does not open, so blame on an honest device",
    defence="adverts are signed by the roster's keys",
    needle="signature of advert is not valid",
    without=UNSIGNED,
)
def a_substituted_commitment() -> Iterator[Attempt]:
    """Another commitment, or another tombstone, in the advert of a device."""
    told = seven()
    state, requests = told.reach(1)
    for change in ({"commitment": bytes(32)}, {"tombstone": b"x" * 96}):
        request = adverts(state, replace(state.adverts[2], **change))
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "1",
    wins="a device that it plays itself",
    defence="the signature is that of the key on the roster, of this number",
    needle="signature of advert is not valid",
    without=ANY_SIGNATURE,
    colluders=True,
)
def an_advert_signed_by_another() -> Iterator[Attempt]:
    """An advert for an honest device, signed by a friend, a stranger or the server."""
    told = seven()
    state, requests = told.reach(1)
    forged = replace(state.adverts[2], encrypt=MINE.public, mask=state.adverts[2].mask)
    for key in (told.signers[FRIEND], told.server, Signer.from_seed(b"x" * 32)):
        signature = key.sign(ADVERT, state.descriptor.rid + forged.content)
        request = adverts(state, replace(forged, signature=signature))
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "1",
    wins="keys of a round in which it learned their secrets",
    defence="an advert is signed together with its round id",
    needle="signature of advert is not valid",
    without=(
        Change(CLIENT, "sign(ADVERT, descriptor.rid + advert", "sign(ADVERT, advert"),
        Change(CHECKS, "content = descriptor.rid + advert", "content = advert"),
        Change(
            "fedpref/secagg/server.py",
            "content = rid + advert.content",
            "content = advert.content",
        ),
    ),
)
def an_advert_of_a_past_round() -> Iterator[Attempt]:
    """The advert that a device signed in an earlier round."""
    told = seven()
    before, _ = told.reach(1)
    state, requests = told.reach(1, round_=2)
    request = adverts(state, before.adverts[2])
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


OWN = Change(
    CLIENT,
    "    if own is None or own.encode(rid) != session.replies[Kind.DESCRIPTOR][1]:",
    "    if False:",
)


@refused(
    "1",
    wins="masks of the victim that do not cancel, and the blame on it",
    defence="a device looks for its own advert, byte by byte",
    needle="own entry is missing or changed",
    without=(OWN, Change(CLIENT, "shares={member.id: dealt[member.id]}", "shares={}")),
)
def the_victims_own_advert_left_out() -> Iterator[Attempt]:
    """Everybody's adverts but the victim's."""
    told = seven()
    state, requests = told.reach(1)
    request = adverts(state, without=[VICTIM])
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "1",
    wins="a round under keys of the victim that somebody else holds",
    defence="a device looks for its own advert, byte by byte",
    needle="own entry is missing or changed",
    without=OWN,
)
def the_victims_own_advert_replaced() -> Iterator[Attempt]:
    """Other keys for the victim itself, even with its signature from a stolen copy."""
    told = seven()
    state, requests = told.reach(1)
    rid = state.descriptor.rid
    for change in (
        {"encrypt": MINE.public},
        {"mask": MINE.public},
        {"commitment": bytes(32)},
    ):
        own = signed(told, rid, replace(state.adverts[VICTIM], **change))
        request = adverts(state, own)
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "1",
    wins="a sum of few, where many were invited",
    defence="at least min_survivors adverts",
    needle="ADVERTS: 5 devices, must be >= 6",
    without=Change(CHECKS, "    if len(found) < terms.min_survivors:", "    if False:"),
)
def too_few_adverts() -> Iterator[Attempt]:
    """Fewer adverts than a sum needs."""
    told = seven(min_survivors=6)
    state, requests = told.reach(1)
    request = adverts(state, without=[6, 7])
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "1",
    wins="one more friend than C allows for in this cohort",
    defence="who advertises is in the signed cohort",
    needle="ADVERTS: device 7 is not in the cohort",
    without=Change(CHECKS, "        if advert.id not in cohort:", "        if False:"),
    colluders=True,
)
def an_advert_from_outside_the_cohort() -> Iterator[Attempt]:
    """The advert of a friend on the roster who was not invited."""
    told = seven()
    state, requests = told.reach(1, cohort=(1, 2, 3, 4, 5, 6))
    friend = signed(told, state.descriptor.rid, replace(state.adverts[6], id=FRIEND))
    keys = {"encrypt": MINE.public, "mask": KeyPair.from_seed(b"m" * 32).public}
    friend = signed(told, state.descriptor.rid, replace(friend, **keys))
    request = adverts(state, friend)
    yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "1",
    wins="two masks of other devices that cancel each other",
    defence="no key is there twice, neither in one advert nor in two",
    needle="a public key is used twice",
    without=Change(CHECKS, "    if len(keys) != 2 * len(found):", "    if False:"),
    colluders=True,
)
def a_key_used_twice() -> Iterator[Attempt]:
    """A friend who advertises another's key as its own, or one key for both uses."""
    told = seven()
    state, requests = told.reach(1)
    friend, other = state.adverts[FRIEND], state.adverts[3]

    def spoils(reply, after):
        session = after.session
        masks = [
            Work().agree(
                session.secrets.mask, session.adverts[i].mask, session.rid, MASK
            )
            for i in (3, FRIEND)
        ]
        assert masks[0] == masks[1]

    for number, change in enumerate(
        (
            {"mask": other.mask},
            {"mask": friend.encrypt},
            {"encrypt": other.mask},
            {"encrypt": other.encrypt},
        )
    ):
        bad = signed(told, state.descriptor.rid, replace(friend, **change))
        worth = {"spoils": spoils} if number == 0 else {}
        request = adverts(state, bad)
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM], **worth)


LOW_ORDER = [point.to_bytes(32, "little") for point in (0, 1, 2**255 - 20)]
ANY_POINT = Change(
    CRYPTO,
    '        raise MessageError("a device\'s public key is of low order") from None',
    "        return bytes(32)",
)


@refused(
    "1",
    wins="shares sealed under a key that everybody knows",
    defence="a secret of zero ends the leg",
    needle="a device's public key is of low order",
    without=ANY_POINT,
    colluders=True,
)
def a_sealing_key_of_low_order() -> Iterator[Attempt]:
    """A friend's sealing key at which every agreement gives zero."""
    told = seven()
    state, requests = told.reach(1)
    for point in LOW_ORDER:
        low = replace(state.adverts[FRIEND], encrypt=point)
        request = adverts(state, signed(told, state.descriptor.rid, low))
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "2",
    wins="a mask between the victim and a friend that everybody knows",
    defence="a secret of zero ends the leg before anything is contributed",
    needle="a device's public key is of low order",
    without=ANY_POINT,
    colluders=True,
)
def a_mask_key_of_low_order() -> Iterator[Attempt]:
    """A friend's mask key at which every agreement gives zero."""
    for point in LOW_ORDER:
        told, made = seven(), []
        state, _ = told.reach(1)
        rid = state.descriptor.rid
        low = replace(state.adverts[FRIEND], mask=point)
        request = adverts(state, signed(told, rid, low))
        honest = [i for i in told.ids if i != FRIEND]
        dealings = {i: told.accepts(i, request) for i in honest}
        friends = client.answer(  # a bad device: it overlooks what it has changed
            *_with_own(told, FRIEND, request, low),
            told.around(FRIEND, save=lambda _: None),
        )[0]
        requests = delivered(rid, dealings | {FRIEND: friends})

        def contribute(number, model, made=made, told=told):
            made.append(number)
            return told.vectors[0]

        around = {"contribute": contribute}
        yield Attempt(told, VICTIM, requests[VICTIM], around=around)
        assert not made, "the owner's records were asked"


def _with_own(told, i, request, advert):
    """The request, and a state of device ``i`` that takes ``advert`` for its own."""
    device = told.devices[i]
    replies = dict(device.session.replies)
    digest, _ = replies[Kind.DESCRIPTOR]
    mine = {a.id: a for a in legs.decode_adverts(request, request[4:36])}[i]
    replies[Kind.DESCRIPTOR] = digest, mine.encode(request[4:36])
    return request, replace(device, session=replace(device.session, replies=replies))


@harmless(
    "1",
    wins="masks of two others that cancel, so that the sum without them opens",
    defence="agreed keys are bound to the bytes of both public keys",
    because="equal points in other bytes give other masks; no two of a device's keys "
    "are equal",
    without=Change(CRYPTO, "label + first + second)", "label)"),
    colluders=True,
)
def a_copied_point_in_other_bytes() -> None:
    """A friend advertises the point of an honest device, with the top bit set."""
    told = seven()
    state, _ = told.reach(1)
    copied = state.adverts[2].mask
    twin = replace(state.adverts[FRIEND], mask=bytes([*copied[:31], copied[31] | 128]))
    request = adverts(state, signed(told, state.descriptor.rid, twin))
    for i in (1, 3, 4, 5, 6):
        told.accepts(i, request)
        session = told.devices[i].session
        keys = [
            Work().agree(session.secrets.mask, advert.mask, session.rid, MASK)
            for who, advert in session.adverts.items()
            if who != i
        ]
        gained(len(set(keys)) < len(keys), "two masks of one device are equal")


@refused(
    "1",
    wins="two groups of devices with two hashes for one set of adverts",
    defence="numbers rise, so a set of adverts has one form",
    needle="ADVERTS: device numbers must rise",
    without=Change(
        "fedpref/secagg/legs.py",
        "    if any(a.id >= b.id for a, b in pairwise(adverts)):",
        "    if False:",
    ),
)
def adverts_in_another_order() -> Iterator[Attempt]:
    """All the adverts, but in another order, or one of them twice."""
    told = seven()
    state, requests = told.reach(1)
    rid, found = state.descriptor.rid, list(state.adverts.values())
    for wrong in (found[::-1], [*found[1:], found[0]], [*found, found[-1]]):
        request = legs.encode_adverts(rid, wrong)
        yield Attempt(told, VICTIM, request, truth=requests[VICTIM])


@refused(
    "1",
    wins="two sharings of one secret, for two sets of holders",
    defence="each kind of request is answered once a round",
    needle="ADVERTS: another one was answered in this round",
    without=SECOND_ANSWER,
)
def a_second_set_of_adverts() -> Iterator[Attempt]:
    """Other adverts, all properly signed, after the first have been answered."""
    told = seven()
    state, requests = told.reach(2)
    request = adverts(state, without=[FRIEND])

    def spoils(reply, after):
        first = told.devices[VICTIM].session.replies[Kind.ADVERTS][1]
        roots = [legs.decode_dealing(r, r[4:36]).root for r in (first, reply)]
        assert roots[0] != roots[1]

    yield Attempt(told, VICTIM, request, truth=requests[VICTIM], spoils=spoils)


@harmless(
    "1",
    wins="pairs of masks that are used twice",
    defence="fresh keys from the operating system in every round",
    because="no key of one round is there in another one, so no mask is used twice",
    without=Change(
        CLIENT,
        "    key = around.entropy.key\n    secrets",
        "    key = lambda name: sha256(member.signer.public + name.encode()).digest()\n"
        "    secrets",
    ),
)
def the_same_question_in_two_rounds() -> None:
    """The same model to the same cohort twice, to compare the masked vectors."""
    told, keys = seven(), []
    for number in (1, 2):
        told.run(number)
        for device in told.devices.values():
            reply = device.session.replies[Kind.DESCRIPTOR][1]
            advert = legs.decode_advert(reply, device.session.rid)
            keys += [advert.encrypt, advert.mask]
    gained(len(set(keys)) < len(keys), "a key of two rounds")
