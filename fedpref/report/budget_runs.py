"""The runs of a privacy ledger, one by one, and the parts of each plan.

Guarantees: every number is derived from the rows of the ledger. A part is told by its
numbers, its counts and its events: the ledger has no names for parts.
"""

from collections.abc import Sequence
from typing import Any

from fedpref.core.book import Account, Book
from fedpref.core.rows import Reservation
from fedpref.core.types import Adversary, Unit
from fedpref.report.mechanisms import released
from fedpref.report.words import number


def runs(book: Book, unit: Unit) -> list[dict[str, Any]]:
    """Every run on ``unit``: rounds, state, and its price by adversary."""
    return [_run(book, account) for account in book.of(unit)]


def _run(book: Book, account: Account) -> dict[str, Any]:
    plan = account.reservation
    return {
        "run": plan.run,
        "plan": plan.plan,
        "rounds_planned": plan.rounds,
        "rounds_charged": sum(account.used),
        "rounds_released": _released(account),
        "refunded": account.refunded,
        "rounds_held": sum(book.held(account)),
        "rounds_skipped": account.skipped,
        "last_charged": account.charged,
        "parts": _parts(book, account),
        "seeded": plan.seeded,
        "unmasked": plan.unmasked,
        "state": state(account),
        "spent": prices(plan, account.used),
        "reserved": prices(plan),
        "delta": plan.delta,
    }


def _parts(book: Book, account: Account) -> list[dict[str, Any]]:
    plan, held = account.reservation, book.held(account)
    together = zip(plan.firsts, plan.parts, account.used, held, strict=True)
    return [
        {
            "first": first,
            "rounds_planned": part.rounds,
            "rounds_charged": charged,
            "rounds_held": kept,
            "releases": {who.value: released(part.per_round[who]) for who in Adversary},
        }
        for first, part, charged, kept in together
    ]


def _released(account: Account) -> int:
    """How many rounds were charged when the last released one was."""
    if not account.released:
        return 0
    plan = account.reservation
    part = plan.position(account.released)
    return sum(account.used[:part]) + account.released - plan.firsts[part] + 1


def prices(
    plan: Reservation, used: Sequence[int] | None = None
) -> dict[str, float | str | None]:
    """Price of a plan by adversary, or of so many rounds of each of its parts."""
    return {who.value: number(plan.epsilon(who, used)) for who in Adversary}


def state(account: Account) -> str:
    """How far a run has come, in words."""
    planned, skipped = account.reservation.rounds, account.skipped
    if account.unmasking is not None:
        return f"round {account.charged} is charged and not released yet"
    if account.charged == planned:
        return f"finished, {skipped} skipped" if skipped else "finished"
    if account.closed:
        return f"closed after round {account.charged}"
    over = f", {skipped} skipped" if skipped else ""
    left = planned - account.charged
    rounds = "round" if left == 1 else "rounds"
    return f"{left} {rounds} to go{over}; they stay reserved"


def rounds_text(run: dict[str, Any]) -> str:
    """How many rounds were charged of how many, part by part.

    >>> part = {"rounds_charged": 9, "rounds_planned": 13}
    >>> rounds_text({"parts": [part, {"rounds_charged": 0, "rounds_planned": 1}]})
    '9 of 13 + 0 of 1'
    """
    counts = ((part["rounds_charged"], part["rounds_planned"]) for part in run["parts"])
    return " + ".join(f"{charged} of {planned}" for charged, planned in counts)


def planned_text(run: dict[str, Any]) -> str:
    """How many rounds are planned, part by part.

    >>> planned_text({"parts": [{"rounds_planned": 13}, {"rounds_planned": 1}]})
    '13 + 1'
    """
    return " + ".join(str(part["rounds_planned"]) for part in run["parts"])


def numbers_text(part: dict[str, Any]) -> str:
    """The numbers of a part's rounds.

    >>> numbers_text({"first": 1, "rounds_planned": 13})
    '1–13'
    >>> numbers_text({"first": 14, "rounds_planned": 1})
    '14'
    """
    first, last = part["first"], part["first"] + part["rounds_planned"] - 1
    return str(first) if first == last else f"{first}–{last}"
