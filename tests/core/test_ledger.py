"""The pure ledger against a small model of it, and against forged rows."""

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import exp, sqrt

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scipy.optimize import brentq
from scipy.special import ndtr

from fedpref.core import ledger
from fedpref.core.book import Book
from fedpref.core.currencies import Currency
from fedpref.core.events import GaussianSum, NonPrivate, from_json
from fedpref.core.ledger import replay
from fedpref.core.rows import Cap, Kind, Part, Reservation, Row, next_row
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import BudgetError, FedprefError, InputError, IntegrityError

SERVER, OUTSIDER = Adversary.SERVER, Adversary.OUTSIDER
ZERO_OUT = Relation.ZERO_OUT
UP = 1 + 1e-9  # a cap that a plan just fits, whoever computed its price


def cap(unit=Unit.USER, *, epsilon=4.0, delta=1e-4, against=OUTSIDER, **other) -> Cap:
    made = Cap("people", "2026", unit, ZERO_OUT, against, epsilon, delta)
    return replace(made, **other)


def plan(run="a", *rounds, unit=Unit.USER, delta=1e-6) -> Reservation:
    """A part for each of ``rounds``, each with noise and a length of its own."""
    parts = []
    for number, count in enumerate(rounds or (3,), 1):
        event = GaussianSum(unit, ZERO_OUT, 1, Fraction(64 * number), 8 * number)
        bare = NonPrivate(unit, ZERO_OUT, 8 * number)
        parts.append(Part(count, {OUTSIDER: event, SERVER: bare}))
    return Reservation(run, "plan", unit, ZERO_OUT, tuple(parts), delta)


def of_both(event: GaussianSum | NonPrivate) -> tuple[Part, ...]:
    """One part in which both adversaries see the same."""
    return (Part(3, dict.fromkeys(Adversary, event)),)


def price(*used: int) -> float:
    """Of such plans, so many rounds of each part; by another road than the ledger's."""
    size = sum(Fraction(count, 64 * part) for part, count in enumerate(used, 1))
    return solved(size)


@cache
def solved(size: Fraction) -> float:
    """Balle and Wang (2018), theorem 8, for a Gaussian with that mu^2 at 1e-6."""
    if not size:
        return 0.0
    mu = sqrt(size)

    def excess(epsilon: float) -> float:
        lost = ndtr(mu / 2 - epsilon / mu)
        return float(lost - exp(epsilon) * ndtr(-mu / 2 - epsilon / mu)) - 1e-6

    return float(brentq(excess, 0, 60, xtol=1e-14, rtol=1e-13))


def recomputed(rows: list[Row], unit: Unit, what: str) -> float:
    """What the rows alone say was reserved or spent against outsiders."""
    kinds, charged = {}, set()
    for row in rows:
        body = json.loads(row.body)
        if row.kind is Kind.RESERVED and body["unit"] == unit:
            parts = ((p["rounds"], p["per_round"]["outsider"]) for p in body["parts"])
            kinds[body["run"]] = [e for rounds, e in parts for _ in range(rounds)]
        if row.kind is Kind.UNMASKING or body.get("refund") is False:
            charged.add((body["run"], body["round"]))
    total = 0.0
    for run, events in kinds.items():
        numbered = [(run, number) for number in range(1, len(events) + 1)]
        seen = [
            from_json(event)
            for key, event in zip(numbered, events, strict=True)
            if what == "reserved" or key in charged
        ]
        total += solved(sum(Fraction(e.sensitivity_squared) / e.variance for e in seen))
    return total


def grow(*steps, book: Book | None = None) -> tuple[list[Row], Book]:
    """Rows and book after ``steps``, functions of the book."""
    rows, book = [], book or Book()
    for step in steps:
        rows.append(step(book))
        book = replay(rows[-1:], book)
    return rows, book


def opened(*caps: Cap) -> Book:
    return grow(*(lambda b, c=c: ledger.open_cap(b, c) for c in caps or (cap(),)))[1]


def whole_life() -> tuple[list[Row], Book]:
    """Two plans, and every kind of row."""
    return grow(
        lambda b: ledger.open_cap(b, cap()),
        lambda b: ledger.reserve(b, plan("a", 3)),
        lambda b: ledger.unmask(b, "a", 1, "d1"),
        lambda b: ledger.release(b, "a", 1, "m1"),
        lambda b: ledger.abort(b, "a", 2, refund=True),
        lambda b: ledger.unmask(b, "a", 2, "d2"),
        lambda b: ledger.release(b, "a", 2, "m2"),
        lambda b: ledger.reserve(b, plan("b", 1)),
        lambda b: ledger.abort(b, "b", 1, refund=False),
        lambda b: ledger.unmask(b, "a", 3, "d3"),
    )


@dataclass
class Plan:
    """What the model knows of a plan: a list of its numbers and what became of them."""

    unit: Unit
    parts: tuple[int, ...]
    used: list[int]
    charged: int = 0
    open: bool = False
    closed: bool = False

    def where(self, number) -> tuple[int, int]:
        """Part and place in it, by counting."""
        places = [(i, k) for i, n in enumerate(self.parts) for k in range(n)]
        return places[number - 1]

    def may_follow(self, number) -> bool:
        if self.open or self.closed or not self.charged < number <= sum(self.parts):
            return False
        return number == self.charged + 1 or self.where(number)[1] == 0


class Model:
    """What a ledger may do, in plain words; one cap a unit."""

    def __init__(self, limits):
        self.limits = limits
        self.plans = {}

    def claimed(self, unit) -> float:
        return sum(price(*p.parts) for p in self.plans.values() if p.unit is unit)

    def spent(self, unit) -> float:
        return sum(price(*p.used) for p in self.plans.values() if p.unit is unit)

    def reserve(self, run, unit, parts) -> bool:
        fits = self.claimed(unit) + price(*parts) <= self.limits[unit]
        if run in self.plans or not fits:
            return False
        self.plans[run] = Plan(unit, parts, [0] * len(parts))
        return True

    def next(self, run, number) -> bool:
        p = self.plans.get(run)
        return p is not None and p.may_follow(number)

    def charge(self, run, number, is_open) -> bool:
        if not self.next(run, number):
            return False
        p = self.plans[run]
        p.charged, p.open = number, is_open
        p.used[p.where(number)[0]] += 1
        return True

    def release(self, run, number) -> bool:
        p = self.plans.get(run)
        if p is None or not p.open or p.charged != number:
            return False
        p.open = False
        return True

    def lose(self, run, number) -> bool:
        return self.release(run, number)  # closed all the same, and stays charged

    def close(self, run) -> bool:
        p = self.plans.get(run)
        whole = p is None or sum(p.used) == sum(p.parts)
        if whole or p.open or p.closed:
            return False
        p.closed = True
        return True


RUNS, NUMBERS = st.sampled_from("abc"), st.integers(0, 8)
PARTS = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)
UNITS = st.sampled_from([Unit.USER, Unit.RECORD])


class Machine(RuleBasedStateMachine):
    """Any sequence of calls: the ledger refuses exactly what the model refuses."""

    @initialize(user=st.floats(0.3, 6), record=st.floats(0.3, 6))
    def start(self, user, record):
        self.limits = {Unit.USER: user, Unit.RECORD: record}
        caps = [cap(u, epsilon=e) for u, e in self.limits.items()]
        self.rows, self.book = grow(
            *(lambda b, c=c: ledger.open_cap(b, c) for c in caps)
        )
        self.model = Model(self.limits)
        self.charges = {}  # run -> numbers that were charged, in that order

    def call(self, allowed: bool, step, *arguments, **named) -> None:
        try:
            row = step(self.book, *arguments, **named)
        except FedprefError:
            assert not allowed
            self.forge(step, arguments, named)
            return
        assert allowed
        self.rows.append(row)
        self.book = replay([row], self.book)

    def forge(self, step, arguments, named) -> None:
        """What the rules refuse, replay refuses too; but it does not price again."""
        kinds = {ledger.unmask: Kind.UNMASKING, ledger.release: Kind.RELEASED}
        kinds |= {ledger.abort: Kind.ABORTED, ledger.close: Kind.CLOSED}
        if step not in kinds:
            return
        names = ("run", "round", "digest")
        body = dict(zip(names, arguments, strict=False)) | named
        row = next_row(self.book.seq, self.book.head, kinds[step], body)
        with pytest.raises(IntegrityError):
            replay([row], self.book)

    @rule(run=RUNS, unit=UNITS, parts=PARTS)
    def reserve(self, run, unit, parts):
        allowed = self.model.reserve(run, unit, parts)
        self.call(allowed, ledger.reserve, plan(run, *parts, unit=unit))

    def count(self, run, number, allowed) -> None:
        if allowed:
            self.charges.setdefault(run, []).append(number)

    @rule(run=RUNS, number=NUMBERS)
    def unmask(self, run, number):
        allowed = self.model.charge(run, number, True)
        self.call(allowed, ledger.unmask, run, number, "digest")
        self.count(run, number, allowed)

    @rule(run=RUNS, number=NUMBERS)
    def release(self, run, number):
        self.call(self.model.release(run, number), ledger.release, run, number, "out")

    @rule(run=RUNS, by=st.integers(1, 4))
    def finish_and_go_on(self, run, by):
        """As a run does, so that long plans come to their later parts."""
        plan = self.model.plans.get(run)
        if plan is None:
            return
        if plan.open:
            self.release(run, plan.charged)
        self.unmask(run, plan.charged + by)

    @rule(run=RUNS, number=NUMBERS)
    def abort(self, run, number):
        lost = self.model.lose(run, number)
        allowed = not lost and self.model.charge(run, number, False)
        self.call(allowed or lost, ledger.abort, run, number, refund=False)
        self.count(run, number, allowed)

    @rule(run=RUNS, number=NUMBERS)
    def abort_and_refund(self, run, number):
        allowed = self.model.next(run, number)
        self.call(allowed, ledger.abort, run, number, refund=True)
        assert not (allowed and number in self.charges.get(run, []))

    @rule(run=RUNS)
    def close(self, run):
        self.call(self.model.close(run), ledger.close, run)

    @rule(unit=UNITS)
    def open_again(self, unit):
        self.call(False, ledger.open_cap, cap(unit, epsilon=100.0))

    @rule(steps=st.integers(1, 30))
    def replay_a_row_of_the_past(self, steps):
        old = self.rows[-steps % len(self.rows)]
        with pytest.raises(IntegrityError):
            replay([old], self.book)
        copied = replace(old, seq=self.book.seq + 1)
        with pytest.raises(IntegrityError):
            replay([copied], self.book)

    @invariant()
    def nothing_is_overspent(self):
        for unit, limit in self.limits.items():
            claimed = self.book.claimed(unit, OUTSIDER)
            spent = self.book.spent(unit, OUTSIDER)
            assert spent <= claimed <= limit
            assert claimed == pytest.approx(self.model.claimed(unit), rel=1e-8)
            assert spent == pytest.approx(self.model.spent(unit), rel=1e-8)
            assert self.book.left(unit, OUTSIDER) == pytest.approx(limit - claimed)

    def prices_follow_from_the_rows_alone(self):
        for unit in self.limits:
            reserved = recomputed(self.rows, unit, "reserved")
            spent = recomputed(self.rows, unit, "spent")
            assert self.book.claimed(unit, OUTSIDER) == pytest.approx(reserved)
            assert self.book.spent(unit, OUTSIDER) == pytest.approx(spent)

    @invariant()
    def no_number_is_charged_twice_or_after_it_was_skipped(self):
        for run, numbers in self.charges.items():
            assert all(a < b for a, b in pairwise(numbers))
            account = self.book.accounts[run]
            assert account.charged == numbers[-1]
            assert sum(account.used) == len(numbers)
            assert account.skipped == numbers[-1] - len(numbers)

    def teardown(self):
        if hasattr(self, "rows"):
            assert replay(self.rows) == self.book
            self.prices_follow_from_the_rows_alone()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# Budget


def test_a_plan_that_does_not_fit_is_refused_with_the_numbers() -> None:
    book = opened(cap(epsilon=(price(3) + price(1)) * UP))
    _, book = grow(lambda b: ledger.reserve(b, plan("a", 3)), book=book)
    with pytest.raises(BudgetError) as refused:
        ledger.reserve(book, plan("b", 2))
    for number in (price(2), price(3), price(1)):
        assert f"{number:.4g}" in str(refused.value)
    assert ledger.reserve(book, plan("b", 1)).kind is Kind.RESERVED


def test_plans_add_by_epsilon_and_not_by_rounds() -> None:
    """Two sealed plans of one round cost more than one plan of two."""
    runs = [lambda b, r=r: ledger.reserve(b, plan(r, 1)) for r in "ab"]
    _, book = grow(*runs, book=opened())
    assert book.claimed(Unit.USER, OUTSIDER) == 2 * plan("a", 1).epsilon(OUTSIDER)
    assert 2 * price(1) > 1.3 * price(2)


def test_stopping_early_returns_nothing() -> None:
    _, book = grow(
        lambda b: ledger.reserve(b, plan("a", 3)),
        lambda b: ledger.unmask(b, "a", 1, "d"),
        lambda b: ledger.release(b, "a", 1, "m"),
        book=opened(),
    )
    assert book.spent(Unit.USER, OUTSIDER) == pytest.approx(price(1))
    assert book.left(Unit.USER, OUTSIDER) == pytest.approx(4.0 - price(3))


def test_closing_a_sealed_plan_returns_nothing() -> None:
    _, book = grow(
        lambda b: ledger.reserve(b, plan("a", 3)),
        lambda b: ledger.unmask(b, "a", 1, "d"),
        lambda b: ledger.release(b, "a", 1, "m"),
        lambda b: ledger.close(b, "a"),
        book=opened(),
    )
    assert book.accounts["a"].closed
    assert book.claimed(Unit.USER, OUTSIDER) == pytest.approx(price(3))


@pytest.mark.parametrize("seeded", [True, False])
def test_runs_with_and_without_a_seed_are_never_added(seeded) -> None:
    _, book = grow(
        lambda b: ledger.reserve(b, replace(plan("a", 1), seeded=seeded)),
        book=opened(),
    )
    with pytest.raises(InputError, match="name another --ledger"):
        ledger.reserve(book, replace(plan("b", 1), seeded=not seeded))
    assert ledger.reserve(book, replace(plan("b", 1), seeded=seeded)).seq == 3


def test_deltas_add_and_are_capped() -> None:
    book = opened(cap(delta=2.5e-6))
    for run in "ab":
        _, book = grow(lambda b, r=run: ledger.reserve(b, plan(r, 1)), book=book)
    assert book.delta(Unit.USER) == 2e-6
    with pytest.raises(BudgetError, match="delta"):
        ledger.reserve(book, plan("c", 1))


def test_no_noise_is_infinite_and_fits_an_infinite_cap_only() -> None:
    bare = NonPrivate(Unit.USER, ZERO_OUT, 8)
    silent = replace(plan(), parts=of_both(bare))
    with pytest.raises(BudgetError):
        ledger.reserve(opened(), silent)
    free = opened(cap(epsilon=float("inf")))
    _, book = grow(lambda b: ledger.reserve(b, silent), book=free)
    assert book.claimed(Unit.USER, OUTSIDER) == float("inf")
    assert book.spent(Unit.USER, OUTSIDER) == 0


def test_the_cap_binds_the_adversary_that_it_names() -> None:
    with pytest.raises(BudgetError, match="server"):
        ledger.reserve(opened(cap(against=SERVER)), plan())
    book = opened(cap(against=SERVER, epsilon=price(3) * UP))
    both = replace(plan(), parts=of_both(plan().parts[0].per_round[OUTSIDER]))
    assert ledger.reserve(book, both).kind is Kind.RESERVED


# Units


def test_two_units_never_meet() -> None:
    user, record = price(2) * UP, price(1) * UP
    book = opened(cap(Unit.USER, epsilon=user), cap(Unit.RECORD, epsilon=record))
    _, book = grow(lambda b: ledger.reserve(b, plan("a", 2)), book=book)
    assert book.claimed(Unit.RECORD, OUTSIDER) == 0
    assert book.left(Unit.RECORD, OUTSIDER) == pytest.approx(price(1))
    _, book = grow(
        lambda b: ledger.reserve(b, plan("b", 1, unit=Unit.RECORD)), book=book
    )
    assert book.claimed(Unit.USER, OUTSIDER) == pytest.approx(price(2))
    assert [a.reservation.run for a in book.of(Unit.RECORD)] == ["b"]
    for unit, run in ((Unit.USER, "c"), (Unit.RECORD, "d")):
        with pytest.raises(BudgetError):
            ledger.reserve(book, plan(run, 1, unit=unit))


@pytest.mark.parametrize("unit", [u for u in Unit if u is not Unit.USER])
def test_a_plan_of_a_unit_without_a_cap_is_refused(unit) -> None:
    other = replace(plan(), unit=unit)
    with pytest.raises(InputError, match=unit):
        ledger.reserve(opened(), other)


@pytest.mark.parametrize("relation", [r for r in Relation if r is not ZERO_OUT])
def test_another_relation_never_uses_the_cap(relation) -> None:
    with pytest.raises(InputError, match=relation):
        ledger.reserve(opened(), replace(plan(), relation=relation))


# Caps


@pytest.mark.parametrize(
    "wrong",
    [{"epsilon": 0.0}, {"epsilon": -1.0}, {"epsilon": float("nan")}]
    + [{"delta": d} for d in (0.0, 1.0, -1e-6, float("nan"))],
)
def test_a_cap_that_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(InputError):
        ledger.open_cap(Book(), cap(**wrong))


@pytest.mark.parametrize("wrong", [{"population": "others"}, {"window": "2027"}])
def test_one_ledger_is_for_one_population_and_window(wrong) -> None:
    with pytest.raises(InputError, match="one population"):
        ledger.open_cap(opened(), cap(Unit.RECORD, **wrong))


def test_a_cap_is_compared_by_every_field() -> None:
    book = opened()
    ledger.check_cap(book, cap())
    changes = {
        "population": "others",
        "window": "2027",
        "against": SERVER,
        "epsilon": 5.0,
        "delta": 1e-5,
        "currency": Currency.parse("gaussian"),
    }
    for name, value in changes.items():
        with pytest.raises(InputError, match=name) as refused:
            ledger.check_cap(book, cap(**{name: value}))
        assert str(value) in str(refused.value)
        assert not any(other in str(refused.value) for other in set(changes) - {name})
    with pytest.raises(InputError, match="record"):
        ledger.check_cap(book, cap(Unit.RECORD))


# Arrows


def arrows() -> dict[str, tuple]:
    """Illegal steps, as (what came before, the step)."""

    def step(call, *values, **named):
        return lambda book: call(book, *values, **named)

    def unmask(number):
        return step(ledger.unmask, "a", number, "d")

    def release(number):
        return step(ledger.release, "a", number, "m")

    def abort(number, refund):
        return step(ledger.abort, "a", number, refund=refund)

    reserve = step(ledger.reserve, plan("a", 2))
    parts = step(ledger.reserve, plan("a", 2, 2, 1))
    close = step(ledger.close, "a")
    skipped = (parts, unmask(1), release(1), unmask(3), release(3))
    last = (parts, unmask(5), release(5))
    one = (reserve, unmask(1))
    done = (*one, release(1))
    return {
        "reserve without a cap is tested above; unmask unreserved": ((), unmask(1)),
        "release unreserved": ((), release(1)),
        "abort unreserved": ((), abort(1, True)),
        "reserve twice": ((reserve,), reserve),
        "release what is reserved only": ((reserve,), release(1)),
        "unmask the round after next": ((reserve,), unmask(2)),
        "unmask round 0": ((reserve,), unmask(0)),
        "abort the round after next": ((reserve,), abort(2, False)),
        "unmask twice": (one, unmask(1)),
        "unmask the next before release": (one, unmask(2)),
        "refund after unmasking": (one, abort(1, True)),
        "abort twice after unmasking": ((*one, abort(1, False)), abort(1, False)),
        "release what was lost": ((*one, abort(1, False)), release(1)),
        "refund what was lost": ((*one, abort(1, False)), abort(1, True)),
        "abort the next while unmasking": (one, abort(2, True)),
        "release another round": (one, release(2)),
        "release twice": (done, release(1)),
        "unmask after release": (done, unmask(1)),
        "refund after release": (done, abort(1, True)),
        "unmask after abort": ((reserve, abort(1, False)), unmask(1)),
        "release after abort": ((reserve, abort(1, False)), release(1)),
        "refund after abort": ((reserve, abort(1, False)), abort(1, True)),
        "release after refund": ((reserve, abort(1, True)), release(1)),
        "unmask beyond the plan": ((*done, unmask(2), release(2)), unmask(3)),
        "close unreserved": ((), close),
        "close while unmasking": (one, close),
        "close twice": ((reserve, close), close),
        "close what is finished": ((*done, unmask(2), release(2)), close),
        "unmask after closing": ((*done, close), unmask(2)),
        "abort after closing": ((*done, close), abort(2, False)),
        "refund after closing": ((*done, close), abort(2, True)),
        "release after closing": ((*done, close), release(1)),
        "reserve again after closing": ((reserve, close), reserve),
        "into the middle of a later part": ((parts,), unmask(4)),
        "abort in the middle of a later part": ((parts,), abort(4, False)),
        "refund in the middle of a later part": ((parts,), abort(4, True)),
        "a number that was skipped": (skipped, unmask(2)),
        "lose a number that was skipped": (skipped, abort(2, False)),
        "refund a number that was skipped": (skipped, abort(2, True)),
        "release a number that was skipped": (skipped, release(2)),
        "a part that was skipped whole": (last, unmask(3)),
        "the first number after the last": (last, unmask(1)),
        "the same number of a later part": (skipped, unmask(3)),
        "skip while unmasking": ((parts, unmask(1)), unmask(3)),
        "abort a later part while unmasking": ((parts, unmask(1)), abort(3, False)),
        "skip beyond the plan": (last, unmask(6)),
        "skip after closing": ((parts, close), unmask(3)),
        "skip after a finished plan was closed": ((*last, close), unmask(3)),
        "close twice what was skipped": ((*last, close), close),
        "abort beyond the plan": ((*done, unmask(2), release(2)), abort(3, True)),
    }


@pytest.mark.parametrize("name", arrows())
def test_every_illegal_arrow_is_refused(name) -> None:
    before, step = arrows()[name]
    _, book = grow(*before, book=opened())
    with pytest.raises((IntegrityError, InputError)):
        step(book)


@pytest.mark.parametrize(
    ("numbers", "used"),
    [
        ((1, 2, 3, 4, 5), (2, 2, 1)),
        ((1, 3, 4, 5), (1, 2, 1)),
        ((1, 2, 3, 5), (2, 1, 1)),
        ((3, 5), (0, 1, 1)),
        ((1, 5), (1, 0, 1)),
        ((5,), (0, 0, 1)),
    ],
)
def test_what_is_left_of_a_part_may_be_skipped_and_costs_nothing(numbers, used) -> None:
    _, book = grow(lambda b: ledger.reserve(b, plan("a", 2, 2, 1)), book=opened())
    for n in numbers:
        _, book = grow(
            lambda b, n=n: ledger.unmask(b, "a", n, "d"),
            lambda b, n=n: ledger.release(b, "a", n, "m"),
            book=book,
        )
    account = book.accounts["a"]
    assert (account.used, account.charged, account.released) == (used, 5, 5)
    assert account.skipped == 5 - len(numbers)
    assert book.spent(Unit.USER, OUTSIDER) == pytest.approx(price(*used))
    assert book.claimed(Unit.USER, OUTSIDER) == pytest.approx(price(2, 2, 1))
    assert book.left(Unit.USER, OUTSIDER) == pytest.approx(4.0 - price(2, 2, 1))


def test_a_plan_of_parts_fits_as_one_list_and_not_as_a_sum() -> None:
    book = opened(cap(epsilon=price(2, 3) * UP))
    assert price(2) + price(0, 3) > 1.3 * price(2, 3)
    assert ledger.reserve(book, plan("a", 2, 3)).kind is Kind.RESERVED
    with pytest.raises(BudgetError):
        ledger.reserve(book, plan("a", 2, 4))
    with pytest.raises(BudgetError):
        ledger.reserve(book, plan("a", 2, 3, 1))


def test_a_refund_at_a_later_part_skips_nothing() -> None:
    """Nothing was learned, so the numbers before it may still be used."""
    _, book = grow(
        lambda b: ledger.reserve(b, plan("a", 2, 1)),
        lambda b: ledger.abort(b, "a", 3, refund=True),
        lambda b: ledger.unmask(b, "a", 1, "d"),
        book=opened(),
    )
    account = book.accounts["a"]
    assert (account.used, account.charged, account.refunded) == ((1, 0), 1, 1)


def test_what_is_lost_at_a_later_part_is_charged_there_once() -> None:
    _, book = grow(
        lambda b: ledger.reserve(b, plan("a", 2, 2)),
        lambda b: ledger.unmask(b, "a", 3, "d"),
        lambda b: ledger.abort(b, "a", 3, refund=False),
        lambda b: ledger.abort(b, "a", 4, refund=False),
        book=opened(),
    )
    account = book.accounts["a"]
    assert (account.used, account.charged, account.released) == ((0, 2), 4, 0)
    assert book.spent(Unit.USER, OUTSIDER) == pytest.approx(price(0, 2))


def test_a_finished_plan_with_skipped_rounds_can_be_closed() -> None:
    """Sealed: that gives nothing back, and is still written down."""
    _, book = grow(
        lambda b: ledger.reserve(b, plan("a", 2, 1)),
        lambda b: ledger.unmask(b, "a", 3, "d"),
        lambda b: ledger.release(b, "a", 3, "m"),
        lambda b: ledger.close(b, "a"),
        book=opened(),
    )
    assert book.accounts["a"].closed
    assert book.claimed(Unit.USER, OUTSIDER) == pytest.approx(price(2, 1))


def test_a_round_that_cannot_be_opened_any_more_stays_charged() -> None:
    _, book = grow(
        lambda b: ledger.reserve(b, plan("a", 2)),
        lambda b: ledger.unmask(b, "a", 1, "d1"),
        lambda b: ledger.abort(b, "a", 1, refund=False),
        book=opened(),
    )
    account = book.accounts["a"]
    assert (account.charged, account.released, account.refunded) == (1, 0, 0)
    assert account.unmasking is None
    _, book = grow(lambda b: ledger.unmask(b, "a", 2, "d2"), book=book)
    assert book.accounts["a"].charged == 2


def test_a_refunded_round_may_be_tried_again() -> None:
    _, book = whole_life()
    account = book.accounts["a"]
    assert (account.charged, account.released, account.refunded) == (3, 2, 1)
    assert account.unmasking == "d3"
    assert book.accounts["b"].charged == 1
    assert book.spent(Unit.USER, OUTSIDER) == pytest.approx(price(3) + price(1))
