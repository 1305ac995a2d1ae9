"""What the server knows of a round, and how it takes in the replies of one leg.

Guarantees: a reply that does not pass is left out with its reason; nobody is counted
twice; a round that can no longer be opened is ended, and the error names the dealer
whose shares too few survivors hold. Does not give: the legs themselves
(``fedpref.secagg.server``).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from fedpref.core.mask import Words
from fedpref.errors import IntegrityError, TooFewSurvivors
from fedpref.secagg import legs, wire
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.graph import holders_of
from fedpref.secagg.legs import Advert, Dealing, View
from fedpref.secagg.roster import Roster

T = TypeVar("T")
Replies = Iterable[tuple[int, bytes]]
Requests = Mapping[int, bytes]


@dataclass(frozen=True, repr=False)
class Round:
    """What the server knows of a round so far.

    ``missing`` has, by dealer, the survivors who hold no share of it; ``refused`` says
    who was left out or complained, and why.
    """

    descriptor: Descriptor
    roster: Roster
    adverts: Mapping[int, Advert] = field(default_factory=dict)
    adverts_hash: bytes = b""
    dealings: Mapping[int, Dealing] = field(default_factory=dict)
    survivors: tuple[int, ...] = ()
    masked: Words | None = None
    missing: Mapping[int, frozenset[int]] = field(default_factory=dict)
    signatures: legs.Signatures = ()
    refused: tuple[str, ...] = ()

    @property
    def terms(self) -> Terms:
        """The round's numbers."""
        return self.descriptor.terms

    @property
    def clients(self) -> int:
        """How many devices are in the cohort."""
        return len(self.descriptor.cohort)

    @property
    def dealers(self) -> tuple[int, ...]:
        """U1, rising."""
        return tuple(sorted(self.dealings))

    @property
    def view(self) -> View:
        """What the members agree on."""
        dealers = sha256(wire.ids(self.dealers)).digest()
        return View(self.adverts_hash, dealers, self.survivors)


def collect(
    replies: Replies, expected: set[int], read: Callable[[int, bytes], T]
) -> tuple[dict[int, T], tuple[str, ...]]:
    """The first good reply of each expected device, and why others were left out."""
    found: dict[int, T] = {}
    refused = []
    for who, reply in replies:
        if who not in expected or who in found:
            continue
        try:
            found[who] = read(who, reply)
        except (IntegrityError, ValueError) as error:
            refused.append(f"device {who}: {error}")
    return dict(sorted(found.items())), tuple(refused)


def without_repeated_keys(adverts: Mapping[int, Advert]) -> dict[int, Advert]:
    """Whoever shares a key with somebody else is left out, both of them."""
    uses: dict[bytes, int] = {}
    for advert in adverts.values():
        for key in (advert.encrypt, advert.mask):
            uses[key] = uses.get(key, 0) + 1
    return {
        who: advert
        for who, advert in adverts.items()
        if uses[advert.encrypt] == uses[advert.mask] == 1
    }


def by_dealer(
    missing: Mapping[int, tuple[int, ...]],
) -> tuple[dict[int, frozenset[int]], tuple[str, ...]]:
    """Who holds no share of a dealer, by dealer, and the same in words.

    Args:
        missing: By holder, the dealers of whom it holds no share.
    """
    found = {
        dealer: frozenset(who for who, some in missing.items() if dealer in some)
        for dealer in sorted({dealer for some in missing.values() for dealer in some})
    }
    complaints = tuple(
        f"device {who}: holds no share of device {dealer}"
        for dealer, holders in found.items()
        for who in sorted(holders)
    )
    return found, complaints


def enough(state: Round, count: int, what: str) -> None:
    """As many devices as a sum needs have done what a leg asks, or the round ends.

    Raises:
        TooFewSurvivors: Fewer have.
    """
    if count < state.terms.min_survivors:
        raise TooFewSurvivors(
            f"devices that {what} = {count}, must be >= {state.terms.min_survivors}; "
            "nothing was unmasked"
        )


def enough_holders(state: Round, willing: Collection[int], what: str) -> None:
    """Every dealer's secret can still be opened, or the round ends while none is.

    Args:
        state: Says who holds whose shares.
        willing: Devices that can still be asked for them.
        what: What they did, for the error.

    Raises:
        TooFewSurvivors: Fewer than t hold a share of some dealer, which is named.
    """
    terms = state.terms
    for dealer in state.dealers:
        count, missing = len(willing), state.missing.get(dealer, frozenset())
        if terms.neighbours or missing:
            holders = holders_of(dealer, state.adverts, terms.neighbours)
            count = sum(who in willing and who not in missing for who in holders)
        if count < terms.threshold:
            raise TooFewSurvivors(
                f"holders of shares of device {dealer} who {what} = {count}, must be "
                f">= {terms.threshold}; nothing was unmasked"
                + _fault(dealer, len(missing), terms.colluders)
            )


def _fault(dealer: int, complaints: int, colluders: int) -> str:
    """Who is to blame, as far as it can be told: up to C holders may be lying."""
    if not complaints:
        return ""
    text = f"; {complaints} devices say that device {dealer} dealt them no good share"
    if complaints > colluders:
        return text + "; leave it out"
    return text + f"; no more than the {colluders} who may be lying"
