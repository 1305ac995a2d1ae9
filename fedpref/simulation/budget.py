"""Which ledger a run is written into, and the reservation it starts with."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from fedpref.core import ledger as core
from fedpref.core.book import Book, room, taken
from fedpref.core.currencies import Currency
from fedpref.core.events import GaussianSum
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.core.rows import Cap, Part, Reservation
from fedpref.core.types import Noise
from fedpref.errors import BudgetError, InputError, IntegrityError
from fedpref.plan import PrivacyPlan
from fedpref.simulation.setup import Setup
from fedpref.store.ledger import Ledger

OWN = "ledger.db"


def ledger_path(run: Path, stored: str, moved: Path | None = None) -> Path:
    """Where the ledger of a run lies: its own, one that it shares, or where it is now.

    Which ledger it is does not follow from its place: ``reserve_again`` asks whether
    the run is in it.
    """
    if moved is not None:
        return moved
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
        InputError: The run was closed before its last number.
    """
    account = ledger.book.accounts.get(run_id)
    if account is None and not begun:
        reserve(setup, run_id, ledger, check(setup, run_id, ledger.book))
    elif account is None or account.reservation != reservation(setup, run_id):
        raise IntegrityError(
            f"{ledger.path}: run {run_id} is not reserved in it as it is here; an old "
            "or another ledger was put in its place"
        )
    elif account.closed and account.charged < account.reservation.rounds:
        raise InputError(
            f"run {run_id} was closed after round {account.charged}; start a new run"
        )


def reservation(setup: Setup, run_id: str) -> Reservation:
    """The sealed plan as the ledger books it: a part for each stage of the plan."""
    plan = setup.plan
    return Reservation(
        run=run_id,
        plan=plan.digest.hex(),
        unit=plan.spec.unit,
        relation=plan.relation,
        parts=tuple(Part(stage.rounds, dict(stage.events)) for stage in plan.stages),
        delta=plan.delta,
        seeded=setup.scenario.run.seed is not None,
        unmasked=plan.spec.noise is Noise.DISTRIBUTED and not setup.scenario.masked,
    )


def wanted_cap(setup: Setup, book: Book) -> Cap:
    """The cap that the scenario asks for; what it leaves out is as in the ledger.

    Without a cap the target of the run is the cap. For sealed plans there is delta for
    ten like this one, as long as the sum stays below 1 / (2 people). An adaptive
    currency has one delta for everything, that of the plan.
    """
    privacy, plan = setup.scenario.privacy, setup.plan
    found = book.caps.get(plan.spec.unit)
    target = math.inf if privacy.target_epsilon is None else privacy.target_epsilon
    epsilon = privacy.cap if privacy.cap is not None else target
    if found is not None and privacy.cap is None:
        epsilon = found.epsilon
    currency = Currency.parse(privacy.currency)
    several = min(10.5 * plan.delta, 1 / (2 * plan.spec.units))
    return Cap(
        population=privacy.population or setup.dataset.name,
        window=privacy.window or "all",
        unit=plan.spec.unit,
        relation=plan.relation,
        against=plan.spec.against,
        epsilon=epsilon,
        delta=plan.delta if currency.adaptive else several,
        currency=currency,
    )


def in_words(cap: Cap, *, own: bool) -> dict[str, Any]:
    """What ``plan.json`` says about the ledger of the run; where it is may change."""
    return {
        "own": own,
        "population": cap.population,
        "window": cap.window,
        "cap": cap.epsilon,
        "cap_delta": cap.delta,
        "currency": str(cap.currency),
    }


def _affordable(plan: PrivacyPlan, book: Book, cap: Cap) -> str:
    """The nearest plan that would fit."""
    deltas = cap.delta - book.delta(cap.unit)
    if not cap.currency.adaptive and deltas < plan.delta:
        return (
            f"Of delta, {max(0.0, deltas):g} is left and no further plan fits: its "
            "delta is that of the ledger. Data of a new window can have a new ledger"
        )
    target = math.floor(_target(plan, book, cap) * 1000) / 1000
    if target <= 0:
        return "Nothing is left: no further plan on these people fits"
    if plan.noise_multiplier is None:
        return f"A plan with noise and target_epsilon = {target:g} would fit"
    seen = [stage.events[cap.against] for stage in plan.stages]
    plain = all(isinstance(event, GaussianSum) for event in seen)
    if cap.currency.adaptive and not plain:
        return f"Lower privacy.target_epsilon = {plan.spec.target_epsilon}"
    return f"What would fit: privacy.target_epsilon = {target:g}"


def _target(plan: PrivacyPlan, book: Book, cap: Cap) -> float:
    """The target of a plan without sampling that takes all that is left."""
    if not cap.currency.adaptive:
        return book.left(cap.unit, cap.against)
    rest = room(cap) - taken(cap, book.counts(cap.unit))
    order = cap.currency.order or 2  # Rényi divergence of a Gaussian: order mu^2 / 2
    return gaussian_epsilon(Fraction(max(0.0, rest * 2 / order)), plan.delta)
