"""How long a message of a round can be, from its terms and the size of its cohort.

Guarantees: no message that the rules of the protocol allow is longer than
:func:`largest`; device and server compare lengths with it before they read on. To
decode what is within it takes at most twice its size, and ``PER_ENTRY`` bytes for each
entry of its lists, which is what Python's own objects weigh.

Does not give: a bound on how many messages come, or on what is held before they are
whole; whoever carries them has to.
"""

from collections.abc import Callable, Mapping

from fedpref.errors import MessageError
from fedpref.secagg import wire
from fedpref.secagg.descriptor import Terms
from fedpref.secagg.legs import NO_TOMBSTONE, PARCEL_BYTES, SEALED, SHARE
from fedpref.secagg.member import Device, Member
from fedpref.secagg.wire import HASH, KEY, SIGNATURE, Kind

MOST_ROWS = 2**20
"""Ledger rows whose hashes an invitation may carry: 32 MiB."""

PER_ENTRY = 192
"""Bytes beyond twice its size that a decoded message takes for an entry of a list."""

SLACK = 4096
"""Bytes over the largest legal size that are still read, and refused for a reason."""

_NUMBER = 4  # of a device, and the length of a list
_DESCRIPTOR = 5 * HASH + 4 + 8 + HASH + 8 + 4 * 4 + 1 + 4
_ROUND = wire.HEADER.size + 5 * HASH  # where a descriptor says its round number


def largest(kind: Kind, terms: Terms, clients: int) -> int:
    """The most bytes that a legal message of this kind has, header and all.

    Args:
        kind: Which message.
        terms: Those of its round.
        clients: Devices in the cohort of the round that it belongs to.

    >>> terms = Terms(201, 201, 0, coordinates=6161, word_bits=24)
    >>> largest(Kind.UPLOAD, terms, 300)  # 3 bytes a word, 136, 4 a missing share
    19815
    """
    return wire.HEADER.size + _BODIES[kind](terms, clients)


def check(data: wire.Bytes, kind: Kind, terms: Terms, clients: int) -> None:
    """Refuse a message that is much longer than any legal one; arguments as above.

    Raises:
        MessageError: It is, by more than ``SLACK`` bytes. What is within them is read,
            so that the reason is what it says and not its size.
    """
    most = largest(kind, terms, clients) + SLACK
    if len(data) > most:
        raise MessageError(f"{kind.name}: {len(data)} bytes, must be <= {most}")


def check_request(request: bytes, kind: Kind, state: Device, member: Member) -> None:
    """A device's check of a request, by the round that it says it belongs to.

    Of an invitation by the device's own limits and its roster; of a certificate for a
    round that is over by the roster alone. What belongs to no round is refused unread.

    Raises:
        MessageError: It is longer than any legal one, or invites to a request that the
            device's plan has not.
    """
    rid, session = request[4 : wire.HEADER.size], state.session
    everybody = len(member.roster.entries)
    if kind is Kind.DESCRIPTOR:
        limits = member.limits(int.from_bytes(request[_ROUND : _ROUND + 4], "little"))
        size = limits.coordinates, limits.word_bits, limits.neighbours
        check(request, kind, Terms(1, 1, 0, *size), everybody)
    elif session is not None and session.rid == rid:
        cohort = session.opening.descriptor.cohort
        check(request, kind, session.terms, len(cohort))
    elif kind in (Kind.AGREEMENTS, Kind.TOMBSTONES):
        check(request, kind, _ANY, everybody)


def _holders(terms: Terms, clients: int) -> int:
    """Of one dealer's shares, itself included; nobody deals to 2 t or more."""
    return min(clients, 2 * terms.threshold - 1)


def _list(entry: int, count: int) -> int:
    return _NUMBER + entry * count


def _descriptor(terms: Terms, clients: int) -> int:
    model, rows = 8 * terms.coordinates, _list(HASH, MOST_ROWS)
    return _DESCRIPTOR + _list(_NUMBER, clients) + SIGNATURE + model + 8 + rows


def _advert(terms: Terms, clients: int) -> int:
    fixed = _NUMBER + 2 * KEY + HASH + len(NO_TOMBSTONE) + SIGNATURE
    return fixed + _list(_NUMBER, terms.neighbours)


def _adverts(terms: Terms, clients: int) -> int:
    return _list(_advert(terms, clients), clients)


def _shares(terms: Terms, clients: int) -> int:
    holders = _holders(terms, clients)
    return HASH + SIGNATURE + _list(2 * HASH, holders) + _list(SEALED, holders - 1)


def _delivery(terms: Terms, clients: int) -> int:
    path = HASH * (clients - 1).bit_length()
    parcels = _list(PARCEL_BYTES + path, _holders(terms, clients) - 1)
    return _list(_NUMBER, clients) + parcels


def _upload(terms: Terms, clients: int) -> int:
    missing = _list(_NUMBER, _holders(terms, clients) - 1)
    return HASH + missing + SIGNATURE + terms.coordinates * terms.word_bits // 8


def _survivors(terms: Terms, clients: int) -> int:
    return _list(_NUMBER, clients)


def _agreement(terms: Terms, clients: int) -> int:
    return SIGNATURE


def _agreements(terms: Terms, clients: int) -> int:
    return 2 * HASH + _list(_NUMBER, clients) + _tombstones(terms, clients)


def _reveal(terms: Terms, clients: int) -> int:
    return _list(_NUMBER + SHARE, _holders(terms, clients)) + SIGNATURE


def _tombstones(terms: Terms, clients: int) -> int:
    return _list(_NUMBER + SIGNATURE, clients)


_ANY = Terms(1, 1, 0, 1, 32)  # certificates do not go by terms
_BODIES: Mapping[Kind, Callable[[Terms, int], int]] = {
    Kind.DESCRIPTOR: _descriptor,
    Kind.ADVERT: _advert,
    Kind.ADVERTS: _adverts,
    Kind.SHARES: _shares,
    Kind.DELIVERY: _delivery,
    Kind.UPLOAD: _upload,
    Kind.SURVIVORS: _survivors,
    Kind.AGREEMENT: _agreement,
    Kind.AGREEMENTS: _agreements,
    Kind.REVEAL: _reveal,
    Kind.TOMBSTONES: _tombstones,
}
