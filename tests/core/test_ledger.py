"""The pure ledger against a small model of it, and against forged rows."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fedpref.core import ledger
from fedpref.core.book import Book
from fedpref.core.currencies import Currency
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.ledger import replay
from fedpref.core.rows import Cap, Kind, Reservation, Row
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import BudgetError, FedprefError, InputError, IntegrityError

SERVER, OUTSIDER = Adversary.SERVER, Adversary.OUTSIDER
ZERO_OUT = Relation.ZERO_OUT


def cap(unit=Unit.USER, *, epsilon=4.0, delta=1e-4, against=OUTSIDER, **other) -> Cap:
    made = Cap("people", "2026", unit, ZERO_OUT, against, epsilon, delta)
    return replace(made, **other)


def plan(run="a", rounds=3, *, unit=Unit.USER, delta=1e-6, server=None) -> Reservation:
    event = GaussianSum(unit, ZERO_OUT, 1, Fraction(64), 8)
    per_round = {OUTSIDER: event, SERVER: server or NonPrivate(unit, ZERO_OUT, 8)}
    return Reservation(run, "plan", unit, ZERO_OUT, rounds, per_round, delta)


def price(rounds: int) -> float:
    """Of one such plan; what an epsilon is worth is ``test_accounting``'s concern."""
    return plan(rounds=rounds).epsilon(OUTSIDER)


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


class Model:
    """What a ledger may do, in plain words; one cap a unit."""

    def __init__(self, limits):
        self.limits = limits
        self.plans = {}  # run -> [unit, rounds, charged, open]

    def claimed(self, unit) -> float:
        return sum(price(p[1]) for p in self.plans.values() if p[0] is unit)

    def spent(self, unit) -> float:
        mine = [p for p in self.plans.values() if p[0] is unit and p[2]]
        return sum(price(p[2]) for p in mine)

    def reserve(self, run, unit, rounds) -> bool:
        fits = self.claimed(unit) + price(rounds) <= self.limits[unit]
        if run in self.plans or not fits:
            return False
        self.plans[run] = [unit, rounds, 0, False]
        return True

    def next(self, run, number) -> bool:
        p = self.plans.get(run)
        return p is not None and not p[3] and number == p[2] + 1 <= p[1]

    def charge(self, run, number, is_open) -> bool:
        if not self.next(run, number):
            return False
        self.plans[run][2:] = [number, is_open]
        return True

    def release(self, run, number) -> bool:
        p = self.plans.get(run)
        if p is None or not p[3] or p[2] != number:
            return False
        p[3] = False
        return True

    def lose(self, run, number) -> bool:
        return self.release(run, number)  # closed all the same, and stays charged


RUNS, NUMBERS = st.sampled_from("abcde"), st.integers(0, 4)
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
        self.charges = Counter()

    def call(self, allowed: bool, step, *arguments, **named) -> None:
        try:
            row = step(self.book, *arguments, **named)
        except FedprefError:
            assert not allowed
            return
        assert allowed
        self.rows.append(row)
        self.book = replay([row], self.book)

    @rule(run=RUNS, unit=UNITS, rounds=st.integers(1, 4))
    def reserve(self, run, unit, rounds):
        allowed = self.model.reserve(run, unit, rounds)
        self.call(allowed, ledger.reserve, plan(run, rounds, unit=unit))

    @rule(run=RUNS, number=NUMBERS)
    def unmask(self, run, number):
        allowed = self.model.charge(run, number, True)
        self.call(allowed, ledger.unmask, run, number, "digest")
        self.charges[run, number] += allowed

    @rule(run=RUNS, number=NUMBERS)
    def release(self, run, number):
        self.call(self.model.release(run, number), ledger.release, run, number, "out")

    @rule(run=RUNS, number=NUMBERS)
    def abort(self, run, number):
        lost = self.model.lose(run, number)
        allowed = not lost and self.model.charge(run, number, False)
        self.call(allowed or lost, ledger.abort, run, number, refund=False)
        self.charges[run, number] += allowed

    @rule(run=RUNS, number=NUMBERS)
    def abort_and_refund(self, run, number):
        allowed = self.model.next(run, number)
        self.call(allowed, ledger.abort, run, number, refund=True)
        assert not (allowed and self.charges[run, number])

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
            assert self.book.spent(unit, OUTSIDER) <= claimed <= limit
            assert claimed == pytest.approx(self.model.claimed(unit))
            spent = self.book.spent(unit, OUTSIDER)
            assert spent == pytest.approx(self.model.spent(unit))
            assert self.book.left(unit, OUTSIDER) == pytest.approx(limit - claimed)
        assert all(count <= 1 for count in self.charges.values())

    def teardown(self):
        if hasattr(self, "rows"):
            assert replay(self.rows) == self.book


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# Budget


def test_a_plan_that_does_not_fit_is_refused_with_the_numbers() -> None:
    book = opened(cap(epsilon=price(3) + price(1)))
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
    assert book.claimed(Unit.USER, OUTSIDER) == 2 * price(1) > price(2)


def test_stopping_early_returns_nothing() -> None:
    _, book = grow(
        lambda b: ledger.reserve(b, plan("a", 3)),
        lambda b: ledger.unmask(b, "a", 1, "d"),
        lambda b: ledger.release(b, "a", 1, "m"),
        book=opened(),
    )
    assert book.spent(Unit.USER, OUTSIDER) == price(1)
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
    assert book.claimed(Unit.USER, OUTSIDER) == price(3)


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
    silent = replace(plan(), per_round={SERVER: bare, OUTSIDER: bare})
    with pytest.raises(BudgetError):
        ledger.reserve(opened(), silent)
    free = opened(cap(epsilon=float("inf")))
    _, book = grow(lambda b: ledger.reserve(b, silent), book=free)
    assert book.claimed(Unit.USER, OUTSIDER) == float("inf")
    assert book.spent(Unit.USER, OUTSIDER) == 0


def test_the_cap_binds_the_adversary_that_it_names() -> None:
    with pytest.raises(BudgetError, match="server"):
        ledger.reserve(opened(cap(against=SERVER)), plan())
    book = opened(cap(against=SERVER, epsilon=price(3)))
    both = replace(
        plan(), per_round=dict.fromkeys(Adversary, plan().per_round[OUTSIDER])
    )
    assert ledger.reserve(book, both).kind is Kind.RESERVED


# Units


def test_two_units_never_meet() -> None:
    book = opened(cap(Unit.USER, epsilon=price(2)), cap(Unit.RECORD, epsilon=price(1)))
    _, book = grow(lambda b: ledger.reserve(b, plan("a", 2)), book=book)
    assert book.claimed(Unit.RECORD, OUTSIDER) == 0
    assert book.left(Unit.RECORD, OUTSIDER) == pytest.approx(price(1))
    _, book = grow(
        lambda b: ledger.reserve(b, plan("b", 1, unit=Unit.RECORD)), book=book
    )
    assert book.claimed(Unit.USER, OUTSIDER) == price(2)
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
    reserve = lambda b: ledger.reserve(b, plan("a", 2))  # noqa: E731
    unmask = lambda n: lambda b: ledger.unmask(b, "a", n, "d")  # noqa: E731
    release = lambda n: lambda b: ledger.release(b, "a", n, "m")  # noqa: E731
    abort = lambda n, r: lambda b: ledger.abort(b, "a", n, refund=r)  # noqa: E731
    close = lambda b: ledger.close(b, "a")  # noqa: E731
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
        "abort beyond the plan": ((*done, unmask(2), release(2)), abort(3, True)),
    }


@pytest.mark.parametrize("name", arrows())
def test_every_illegal_arrow_is_refused(name) -> None:
    before, step = arrows()[name]
    _, book = grow(*before, book=opened())
    with pytest.raises((IntegrityError, InputError)):
        step(book)


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
