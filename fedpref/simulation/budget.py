"""Which ledger a run is written into, and the reservation it starts with."""

import math
from pathlib import Path
from typing import Any

from fedpref.core import ledger as core
from fedpref.core.ledger import Book
from fedpref.core.rows import Cap, Reservation
from fedpref.errors import BudgetError, IntegrityError
from fedpref.plan import PrivacyPlan
from fedpref.simulation.setup import Setup
from fedpref.store.ledger import Ledger

OWN = "ledger.db"


def ledger_path(run: Path, stored: str) -> Path:
    """Where the ledger of a run lies: its own, or one that it shares."""
    return run / OWN if stored == OWN else Path(stored)


def check(setup: Setup, run_id: str, book: Book) -> Cap:
    """The cap that the run is reserved under, once it is sure that it fits.

    Raises:
        InputError: The ledger is of another population, window, unit, cap or delta.
        BudgetError: The plan does not fit; the message says what would.
    """
    cap = wanted_cap(setup, book)
    if cap.unit in book.caps:
        core.check_cap(book, cap)
    else:
        book = core.replay((core.open_cap(book, cap),), book)
    try:
        core.reserve(book, reservation(setup, run_id))
    except BudgetError as error:
        raise BudgetError(f"{error}. {_affordable(setup.plan, book, cap)}") from None
    return cap


def reserve(setup: Setup, run_id: str, ledger: Ledger, cap: Cap) -> None:
    """Open the cap if there is none, and reserve the whole sealed plan, durably."""
    if cap.unit not in ledger.book.caps:
        ledger.append(lambda book: core.open_cap(book, cap))
    plan = reservation(setup, run_id)
    ledger.append(lambda book: core.reserve(book, plan))


def reserve_again(setup: Setup, run_id: str, ledger: Ledger, *, begun: bool) -> None:
    """Make sure that a run that goes on is reserved; a crash may have come before.

    Raises:
        IntegrityError: The ledger does not know the run, or knows another plan of it.
    """
    account = ledger.book.accounts.get(run_id)
    if account is None and not begun:
        reserve(setup, run_id, ledger, check(setup, run_id, ledger.book))
    elif account is None or account.reservation != reservation(setup, run_id):
        raise IntegrityError(
            f"{ledger.path}: run {run_id} is not reserved in it as it is here; an old "
            "or another ledger was put in its place"
        )


def reservation(setup: Setup, run_id: str) -> Reservation:
    """The sealed plan as the ledger books it."""
    plan = setup.plan
    return Reservation(
        run=run_id,
        plan=plan.digest.hex(),
        unit=plan.spec.unit,
        relation=plan.relation,
        rounds=plan.spec.rounds,
        per_round=plan.events,
        delta=plan.delta,
    )


def wanted_cap(setup: Setup, book: Book) -> Cap:
    """The cap that the scenario asks for; what it leaves out is as in the ledger.

    Without a cap the target of the run is the cap. There is delta for ten plans like
    this one, as long as the sum stays below 1 / (2 people).
    """
    privacy, plan = setup.scenario.privacy, setup.plan
    found = book.caps.get(plan.spec.unit)
    target = math.inf if privacy.target_epsilon is None else privacy.target_epsilon
    epsilon = privacy.cap if privacy.cap is not None else target
    if found is not None and privacy.cap is None:
        epsilon = found.epsilon
    return Cap(
        population=privacy.population or setup.dataset.name,
        window=privacy.window or "all",
        unit=plan.spec.unit,
        relation=plan.relation,
        against=plan.spec.against,
        epsilon=epsilon,
        delta=min(10.5 * plan.delta, 1 / (2 * plan.spec.units)),
    )


def in_words(cap: Cap, stored: str) -> dict[str, Any]:
    """What ``plan.json`` says about the ledger of the run."""
    return {
        "file": stored,
        "own": stored == OWN,
        "population": cap.population,
        "window": cap.window,
        "cap": cap.epsilon,
        "cap_delta": cap.delta,
    }


def _affordable(plan: PrivacyPlan, book: Book, cap: Cap) -> str:
    """The nearest plan that would fit."""
    left = book.left(cap.unit, cap.against)
    deltas = cap.delta - book.delta(cap.unit)
    if deltas < plan.delta:
        return f"What is left of delta is {deltas:g}: no further plan fits"
    target = math.floor(left * 1000) / 1000
    if target <= 0:
        return "Nothing is left: no further plan on these people fits"
    if plan.noise_multiplier is None:
        return f"A plan with noise and target_epsilon = {target:g} would fit"
    return f"What would fit: privacy.target_epsilon = {target:g}"
