"""What a device checks of what other devices have signed.

Guarantees: an advert, a share or a vote counts only if its signature is that of the
roster's key, over this round. Does not give: protection from a device that signs and
follows the protocol with a bad contribution.
"""

from collections.abc import Mapping

from fedpref.core import commitments
from fedpref.errors import IntegrityError, MessageError
from fedpref.secagg import legs
from fedpref.secagg.crypto import ADVERT, SHARES, VIEW, Work, unseal
from fedpref.secagg.graph import holders_of
from fedpref.secagg.member import Member, Session


def checked_adverts(
    request: bytes, session: Session, member: Member, work: Work
) -> Mapping[int, legs.Advert]:
    """The adverts in ``request`` by device number, every one of them verified.

    The result is the same on every device of the round. Points of low order are found
    where a key is agreed on.

    Raises:
        MessageError: Too few, a stranger, a bad signature, a repeated or reused key.
    """
    descriptor = session.opening.descriptor
    found = legs.decode_adverts(request, descriptor.rid)
    cohort, terms = set(descriptor.cohort), descriptor.terms
    if len(found) < terms.min_survivors:
        raise MessageError(
            f"ADVERTS: {len(found)} devices, must be >= {terms.min_survivors}"
        )
    for advert in found:
        if advert.id not in cohort:
            raise MessageError(f"ADVERTS: device {advert.id} is not in the cohort")
        content = descriptor.rid + advert.content
        work.verify(member.roster.key(advert.id), ADVERT, content, advert.signature)
        strangers = [n for n in advert.outgoing if n not in cohort or n == advert.id]
        if strangers or len(advert.outgoing) != terms.neighbours:
            raise MessageError(f"ADVERTS: device {advert.id} has bad neighbours")
    keys = {key for advert in found for key in (advert.encrypt, advert.mask)}
    if len(keys) != 2 * len(found):
        raise MessageError("ADVERTS: a public key is used twice")
    return {advert.id: advert for advert in found}


def opened(
    parcel: legs.Parcel, key: bytes, session: Session, member: Member, work: Work
) -> tuple[bytes, ...] | None:
    """The dealer's two shares, or ``None`` if they are not what it committed to.

    ``key`` is the pair's sealing key.

    Such a dealer is not an error: a single bad one must not be able to stop the round.
    Its masks still cancel, and others hold shares of them.
    """
    rid, dealer = session.rid, parcel.dealer
    holders = holders_of(dealer, session.adverts, session.terms.neighbours)
    try:
        content = rid + session.adverts_hash + parcel.root
        work.verify(member.roster.key(dealer), SHARES, content, parcel.signature)
        content = unseal(key, rid, dealer, member.id, parcel.sealed)
        pair = content[: legs.SHARE], content[legs.SHARE :]
        commitments.check(
            parcel.root,
            commitments.leaf(*commitments.digests(rid, dealer, member.id, pair)),
            holders.index(member.id),
            parcel.path,
            len(holders),
        )
    except IntegrityError:
        return None
    return pair


def check_votes(
    agreements: legs.Agreements,
    voters: set[int],
    session: Session,
    member: Member,
    work: Work,
) -> None:
    """At least t of ``voters`` have signed this very view.

    Raises:
        MessageError: Fewer have.
    """
    content, wanted = session.rid + agreements.view.content, session.terms.threshold
    valid = 0
    for voter, signature in agreements.signatures:
        if voter in voters and valid < wanted:
            work.verify(member.roster.key(voter), VIEW, content, signature)
            valid += 1
    if valid < wanted:
        raise MessageError(f"AGREEMENTS: {valid} signatures, must be >= {wanted}")
