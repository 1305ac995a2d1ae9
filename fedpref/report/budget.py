"""A privacy ledger in numbers: spent, reserved, left, by run and by round.

Guarantees: every epsilon is derived from the rows of the ledger, never from what a
report says. Does not verify the rows (``fedpref.report.budget_rows``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor, isinf, log10
from typing import Any

from fedpref.core import currencies
from fedpref.core.accounting import epsilon_of
from fedpref.core.book import Account, Book, taken
from fedpref.core.ledger import reserve
from fedpref.core.rows import Cap, Reservation
from fedpref.core.types import Adversary, Unit
from fedpref.errors import BudgetError, InputError
from fedpref.report.words import delta_text, epsilon_text, number

POINTS = 8
_COARSE = 1e-3


@dataclass(frozen=True)
class Point:
    """After ``rounds`` rounds of ``run``: the total spent by then."""

    run: str
    rounds: int
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
        "rounds": sum(account.charged for account in book.of(unit)),
    }


def left(book: Book, unit: Unit, adversary: Adversary) -> float | None:
    """What the cap leaves for later plans; None where the cap does not bind."""
    if book.caps[unit].against is not adversary:
        return None
    return max(0.0, book.left(unit, adversary))


def state(account: Account) -> str:
    """How far a run has come, in words."""
    planned = account.reservation.rounds
    if account.unmasking is not None:
        return f"round {account.charged} is charged and not released yet"
    if account.charged == planned:
        return "finished"
    if account.closed:
        return f"closed after round {account.charged}"
    return f"{planned - account.charged} rounds to go; they stay reserved"


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
    total, points = sum(account.charged for account in accounts), []
    for i, account in enumerate(accounts):
        run, wanted = account.reservation.run, POINTS * account.charged / total
        for rounds in _some(account.charged, wanted):
            spent = _spent(cap, accounts[:i], account, rounds)
            points.append(Point(run, rounds, spent, cap.epsilon - spent))
    return points


def _spent(cap: Cap, before: Sequence[Account], account: Account, rounds: int) -> float:
    """Spent when ``rounds`` rounds of ``account`` were charged after ``before``."""
    if cap.currency.adaptive:
        counts = [(a.reservation.per_round[cap.against], a.charged) for a in before]
        counts.append((account.reservation.per_round[cap.against], rounds))
        return currencies.price(cap.currency, taken(cap, counts), cap.delta)
    plan = account.reservation
    exact = plan.epsilon(cap.against, account.charged)
    counts = [(plan.per_round[cap.against], rounds)]
    coarse = epsilon_of(counts, plan.delta, interval=_COARSE).epsilon
    earlier = sum(a.reservation.epsilon(cap.against, a.charged) for a in before)
    return earlier + min(exact, coarse)


def _some(rounds: int, wanted: float) -> Iterator[int]:
    """About ``wanted`` numbers up to ``rounds``, evenly spaced, the last one included.

    >>> list(_some(10, 4)), list(_some(3, 8)), list(_some(5, 0.2))
    ([2, 5, 7, 10], [1, 2, 3], [5])
    """
    count = max(1, min(rounds, int(wanted)))
    yield from ((i * rounds) // count for i in range(1, count + 1))


def runs(book: Book, unit: Unit) -> list[dict[str, Any]]:
    """Every run on ``unit``: rounds, state, and its price by adversary."""
    found = []
    for account in book.of(unit):
        plan = account.reservation
        found.append(
            {
                "run": plan.run,
                "plan": plan.plan,
                "rounds_planned": plan.rounds,
                "rounds_charged": account.charged,
                "rounds_released": account.released,
                "refunded": account.refunded,
                "rounds_held": book.held(account),
                "seeded": plan.seeded,
                "state": state(account),
                "spent": {
                    who.value: number(plan.epsilon(who, account.charged))
                    for who in Adversary
                },
                "reserved": {who.value: number(plan.epsilon(who)) for who in Adversary},
                "delta": plan.delta,
            }
        )
    return found


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
        "epsilon": {who.value: number(plan.epsilon(who)) for who in Adversary},
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
