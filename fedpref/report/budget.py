"""A privacy ledger in numbers: spent, reserved, left, in total and by round.

Guarantees: every epsilon is derived from the rows of the ledger, never from what a
report says. Does not verify the rows (``fedpref.report.budget_rows``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import floor, isinf, log10
from typing import Any

from fedpref.core import currencies
from fedpref.core.accounting import epsilon_of
from fedpref.core.book import Account, Book, taken
from fedpref.core.ledger import reserve
from fedpref.core.rows import Cap, Reservation
from fedpref.core.types import Adversary, Unit
from fedpref.errors import BudgetError, InputError
from fedpref.report.budget_runs import prices
from fedpref.report.words import delta_text, epsilon_text, number

POINTS = 8
_COARSE = 1e-3


@dataclass(frozen=True)
class Point:
    """When ``number`` was the last round of ``run`` that was charged: the total."""

    run: str
    number: int
    spent: float
    left: float


def head_text(book: Book) -> str:
    """``SEQ:HASH`` of the last row: what to remember elsewhere."""
    return f"{book.seq}:{book.head.hex()}"


def overview(book: Book) -> dict[str, Any]:
    """What ``fedpref budget show --json`` prints.

    ``reserved`` is the price of all sealed plans, whole, and so includes what is
    spent; ``left`` is the cap less that, and null where no cap binds. Under a cap in an
    adaptive currency ``left`` is what one more plan may cost at the cap's delta, and
    the claim is the cap (``promised``).
    """
    return {
        "units": {unit.value: _unit(book, unit) for unit in book.caps},
        "head": head_text(book),
    }


def _unit(book: Book, unit: Unit) -> dict[str, Any]:
    return {
        "spent": {who.value: number(book.spent(unit, who)) for who in Adversary},
        "reserved": {who.value: number(book.claimed(unit, who)) for who in Adversary},
        "left": {who.value: number(left(book, unit, who)) for who in Adversary},
        "promised": {who.value: number(book.promised(unit, who)) for who in Adversary},
        "currency": str(book.caps[unit].currency),
        "delta": book.delta(unit),
        "relation": book.caps[unit].relation.value,
        "rounds": sum(sum(account.used) for account in book.of(unit)),
    }


def left(book: Book, unit: Unit, adversary: Adversary) -> float | None:
    """What the cap leaves for later plans; None where the cap does not bind."""
    if book.caps[unit].against is not adversary:
        return None
    return max(0.0, book.left(unit, adversary))


def burn_down(book: Book, unit: Unit) -> list[Point]:
    """Spent against the cap's adversary, at a few rounds of the plans in their order.

    The last point of a run is exact; those on the way there are priced on a coarser
    grid, and so are bounds that may be up to a percent above it. Empty where there is
    nothing to draw: no round yet, or an infinite epsilon.
    """
    cap = book.caps[unit]
    accounts = [a for a in book.of(unit) if a.charged]
    if isinf(cap.epsilon) or isinf(book.spent(unit, cap.against)):
        return []
    total, points = sum(sum(account.used) for account in accounts), []
    for i, account in enumerate(accounts):
        plan, charged = account.reservation, sum(account.used)
        for rounds in _some(charged, POINTS * charged / total):
            used = _first(account.used, rounds)
            spent = _spent(cap, accounts[:i], account, used)
            number = last_number(plan, used)
            points.append(Point(plan.run, number, spent, cap.epsilon - spent))
    return points


def _first(used: Sequence[int], rounds: int) -> tuple[int, ...]:
    """The first ``rounds`` of what was charged, by part.

    >>> _first((3, 0, 2), 4)
    (3, 0, 1)
    """
    before = accumulate(used, initial=0)
    return tuple(min(max(rounds - b, 0), n) for b, n in zip(before, used, strict=False))


def last_number(plan: Reservation, used: Sequence[int]) -> int:
    """The number of the last round, when so many of each part were charged."""
    pairs = zip(plan.firsts, used, strict=True)
    return max((first + rounds - 1 for first, rounds in pairs if rounds), default=0)


def _spent(
    cap: Cap, before: Sequence[Account], account: Account, used: Sequence[int]
) -> float:
    """Spent when ``used`` of ``account`` were charged, after all of ``before``."""
    plan, who = account.reservation, cap.against
    if cap.currency.adaptive:
        earlier = [pair for a in before for pair in a.reservation.counts(who, a.used)]
        counts = [*earlier, *plan.counts(who, used)]
        return currencies.price(cap.currency, taken(cap, counts), cap.delta)
    exact = plan.epsilon(who, account.used)
    counts = plan.counts(who, used)
    coarse = epsilon_of(counts, plan.delta, interval=_COARSE).epsilon
    return min(exact, coarse) + sum(a.reservation.epsilon(who, a.used) for a in before)


def _some(rounds: int, wanted: float) -> Iterator[int]:
    """About ``wanted`` numbers up to ``rounds``, evenly spaced, the last one included.

    >>> list(_some(10, 4)), list(_some(3, 8)), list(_some(5, 0.2))
    ([2, 5, 7, 10], [1, 2, 3], [5])
    """
    count = max(1, min(rounds, int(wanted)))
    yield from ((i * rounds) // count for i in range(1, count + 1))


def next_run(book: Book, plan: Reservation) -> dict[str, Any]:
    """What one more sealed plan would cost, and whether it would be accepted.

    Raises:
        InputError: The ledger has no cap for its unit.
    """
    cap = book.caps.get(plan.unit)
    if cap is None:
        raise InputError(f"the ledger has no cap for unit = {plan.unit}")
    try:
        reserve(book, plan)
        fits = True
    except (BudgetError, InputError):
        fits = False
    return {
        "unit": plan.unit.value,
        "against": cap.against.value,
        "epsilon": prices(plan),
        "delta": plan.delta,
        "left_before": number(max(0.0, book.left(plan.unit, cap.against))),
        "fits": fits,
    }


def next_run_words(found: Mapping[str, Any]) -> str:
    """The same as a sentence."""
    price = epsilon_text(float(found["epsilon"][found["against"]]))
    left_over = left_text(float(found["left_before"]))
    verdict = "it fits" if found["fits"] else "it does not fit and would be refused"
    return (
        f"One more run would cost epsilon {price} per {found['unit']} against the "
        f"{found['against']}, at delta {delta_text(found['delta'])}; {left_over} is "
        f"left: {verdict}."
    )


def left_text(value: float | str) -> str:
    """What is left, three digits, rounded down: never more than there is.

    >>> left_text(0.12399), left_text(2.0), left_text("inf"), left_text(0.0)
    ('0.123', '2.00', 'no limit', '0')
    """
    amount = float(value)
    if isinf(amount):
        return "no limit"
    if amount <= 0:
        return "0"
    digits = max(0, 2 - floor(log10(amount)))
    down = floor(amount * 10**digits * (1 + 1e-12)) / 10**digits
    return f"{down:.{digits}f}"
