"""What one person has given, at their own price, under a cap of their own.

A plan bounds everybody's contribution by the same clip. A person may set a smaller clip
of their own, and a cap on what all their contributions together may cost. Only their
own bound enters their price; whatever other people do does not.

Guarantees: how often each kind of release may be answered is fixed before the first of
them, from public events and the person's own values alone, so that all of it together
is within the cap; a contribution beyond it is refused here; what is charged is the
event with the person's own bound, from before it leaves, and is given back by
``refund`` only. Nothing here shows a cap, a bound or an event when it is printed.

Does not give: the bound itself (``fedpref.rounds.contribution`` clips and rounds to
it), silence that looks like everybody else, or durability. A cap that was made from
answers that are also trained on covers those answers' use in the plan, not the cap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import isqrt

from fedpref.core.accounting import Spent, epsilon_of
from fedpref.core.events import (
    Event,
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    PoissonSkellamSum,
    SkellamSum,
)
from fedpref.errors import BudgetError, IntegrityError, PlanError, UnsupportedEvent

_COARSE = 1e-3  # PLD grid of the search; an upper bound like any other

Offered = tuple[tuple[Event, int], ...]
"""Releases in the order in which they come, with how often: at one's own price."""


@dataclass(frozen=True, repr=False)
class OwnBook:
    """What one person may still give; private, and never leaves their device.

    Args:
        cap: Largest epsilon of everything they contribute to.
        delta: Of that epsilon: the plan's.
        allowed: How often each event may happen, fixed before the first.
        sent: Request number and event of each contribution that counts.
    """

    cap: float
    delta: float
    allowed: Offered
    sent: tuple[tuple[int, Event], ...] = ()

    def __repr__(self) -> str:
        return "OwnBook(contents hidden)"


def open_book(
    offered: Sequence[tuple[Event, int]], *, cap: float, delta: float
) -> OwnBook:
    """A book in which nothing has been sent.

    Each kind of release, in the order given, may be answered as often as the cap
    allows after those before it.

    Args:
        offered: What the plan asks for, as events with the person's own bound.
        cap: Largest epsilon of all contributions together, > 0.
        delta: The plan's.

    Raises:
        PlanError: ``cap`` is not above 0.
        UnsupportedEvent: An event without a price.

    >>> from fedpref.core.types import Relation, Unit
    >>> one = GaussianSum(Unit.USER, Relation.ZERO_OUT, 1, Fraction(81), 16)
    >>> book = open_book([(one, 20)], cap=1.28, delta=1e-5)
    >>> [count for _, count in book.allowed]  # nine cost 1.27
    [9]
    >>> affords(book, one)
    True
    """
    if not cap > 0:
        raise PlanError("own cap: must be an epsilon above 0")
    return OwnBook(cap, delta, _allowed(tuple(offered), cap, delta))


def affords(book: OwnBook, event: Event) -> bool:
    """Whether one more contribution to ``event`` is within what was fixed."""
    return _sent(book, event) < dict(book.allowed).get(event, 0)


def charge(book: OwnBook, number: int, event: Event) -> OwnBook:
    """The book with a contribution, before its first byte leaves.

    Args:
        book: The book so far.
        number: Of the request; each is charged once.
        event: With the bound that was really enforced.

    Raises:
        BudgetError: It is more than the book affords.
        IntegrityError: This request was charged before.
    """
    if any(number == known for known, _ in book.sent):
        raise IntegrityError(f"own book: request {number} was charged before")
    if not affords(book, event):
        raise BudgetError("own book: this contribution is beyond what its owner allows")
    return replace(book, sent=(*book.sent, (number, event)))


def refund(book: OwnBook, number: int) -> OwnBook:
    """The book without a contribution that is proved to have reached nobody.

    The proof is checked by whoever calls (``fedpref.core.device``). A request in which
    nothing was charged changes nothing.
    """
    return replace(book, sent=tuple(one for one in book.sent if one[0] != number))


def spent(book: OwnBook) -> Spent:
    """The price of what counts, by the accountants that price a plan."""
    counts: dict[Event, int] = {}
    for _, event in book.sent:
        counts[event] = counts.get(event, 0) + 1
    return epsilon_of(list(counts.items()), book.delta)


def own_event(event: Event, square: int) -> Event:
    """``event`` for somebody whose contribution has a smaller bound.

    The noise stays: it is added by others and does not know whose bound is smaller.

    Args:
        event: Of the plan.
        square: Largest squared norm of this person's unit, in grid steps.

    Raises:
        PlanError: ``square`` is below 1, or above what the plan allows.
        UnsupportedEvent: An event that no clip bounds.

    >>> from fedpref.core.types import Relation, Unit
    >>> one = GaussianSum(Unit.USER, Relation.ZERO_OUT, 100, Fraction(81), 16)
    >>> own_event(one, 25).noise_multiplier / one.noise_multiplier
    2.0
    """
    if isinstance(event, NonPrivate):
        return event
    kinds = GaussianSum | PoissonGaussianSum | SkellamSum | PoissonSkellamSum
    if not isinstance(event, kinds):
        name = type(event).__name__
        raise UnsupportedEvent(f"event = {name}: an own clip does not bound it")
    if not 1 <= square <= event.sensitivity_squared:
        raise PlanError("own bound: must be at least 1 and at most the plan's")
    if isinstance(event, SkellamSum | PoissonSkellamSum):
        # by Cauchy and Schwarz, and because |x| <= x**2 for integers; cf. core.scale
        most = min(isqrt(event.coordinates * square), square)
        return replace(event, sensitivity_squared=square, sensitivity_l1=most)
    return replace(event, sensitivity_squared=square)


def own_steps(own: float, *, clip: float, steps: int) -> int:
    """Whole grid steps in an own clip, rounded down.

    Args:
        own: The own clip, in model units, at most ``clip``.
        clip: The plan's clip.
        steps: Grid steps in the plan's clip.

    Raises:
        PlanError: It is above the plan's clip, or has not even one step.

    >>> own_steps(1.0, clip=4.0, steps=2000)
    500
    """
    if not 0 < own <= clip:
        raise PlanError("own clip: must be above 0 and at most the plan's")
    found = int(Fraction(own) * steps / Fraction(clip))
    if found < 1:
        raise PlanError("own clip: smaller than one step of the plan's grid")
    return found


def _sent(book: OwnBook, event: Event) -> int:
    return sum(one == event for _, one in book.sent)


@lru_cache(maxsize=4096)
def _allowed(offered: Offered, cap: float, delta: float) -> Offered:
    """Greedy in the given order; pure, and many people have the same limits."""
    counts: dict[Event, int] = {}
    for event, most in offered:
        before = counts.get(event, 0)

        def fits(more: int, event: Event = event, before: int = before) -> bool:
            tried = counts | {event: before + more}
            found = epsilon_of(list(tried.items()), delta, interval=_COARSE)
            return found.epsilon <= cap

        low, high = 0, most + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        counts[event] = before + low
    return tuple(counts.items())
