"""Totals in an adaptive currency: what they hold, what comes back, what is refused."""

from dataclasses import replace
from fractions import Fraction
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fedpref.core import currencies, ledger
from fedpref.core.accounting import epsilon_of
from fedpref.core.book import Book, room
from fedpref.core.currencies import Currency
from fedpref.core.events import GaussianSum, NonPrivate, PoissonGaussianSum
from fedpref.core.ledger import replay
from fedpref.core.rows import Cap, Part, Reservation
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import BudgetError, FedprefError, InputError, UnsupportedEvent

SERVER, OUTSIDER = Adversary.SERVER, Adversary.OUTSIDER
USER = (Unit.USER, Relation.ZERO_OUT)
DELTA = 1e-5
NAMES = ("gaussian", "rdp:8")


def cap(currency: str, epsilon=4.0, against=OUTSIDER) -> Cap:
    named = Currency.parse(currency)
    return Cap("people", "2026", *USER, against, epsilon, DELTA, named)


def noisy(variance=100, coordinates=8) -> GaussianSum:
    return GaussianSum(*USER, 1, Fraction(variance), coordinates)


def part(rounds: int, event=None) -> Part:
    return Part(rounds, {OUTSIDER: event or noisy(), SERVER: NonPrivate(*USER, 8)})


def plan(run: str, rounds: int, event=None, *later: Part) -> Reservation:
    return Reservation(run, "plan", *USER, (part(rounds, event), *later), DELTA)


def grow(book: Book, *steps) -> Book:
    for step in steps:
        book = replay([step(book)], book)
    return book


def opened(currency: str, **other) -> Book:
    return grow(Book(), lambda b: ledger.open_cap(b, cap(currency, **other)))


def with_plan(book: Book, run: str, rounds: int, event=None, *later: Part) -> Book:
    return grow(book, lambda b: ledger.reserve(b, plan(run, rounds, event, *later)))


def with_round(book: Book, run: str, number: int) -> Book:
    return grow(
        book,
        lambda b: ledger.unmask(b, run, number, "d"),
        lambda b: ledger.release(b, run, number, "m"),
    )


def test_gaussian_plans_add_by_their_squares() -> None:
    """Four plans of nine rounds at z = 10 are one Gaussian with mu = 0.6."""
    book = opened("gaussian")
    for run in "abcd":
        book = with_plan(book, run, 9)
    exact = epsilon_of([(noisy(), 36)], DELTA).epsilon
    assert book.claimed(Unit.USER, OUTSIDER) == pytest.approx(exact, rel=1e-9)
    assert book.delta(Unit.USER) == DELTA
    sealed = 4 * epsilon_of([(noisy(), 9)], DELTA).epsilon
    assert book.claimed(Unit.USER, OUTSIDER) < sealed * 0.6


def test_divergences_add_at_the_order_of_the_cap() -> None:
    book = with_plan(with_plan(opened("rdp:8"), "a", 9), "b", 7, noisy(50))
    divergence = 8 / 2 * (9 / 100 + 7 / 50)
    expected = currencies.rdp_epsilon(divergence, 8, DELTA)
    assert book.claimed(Unit.USER, OUTSIDER) == pytest.approx(expected, rel=1e-9)


def test_parts_add_like_plans_in_an_adaptive_currency() -> None:
    for currency in NAMES:
        whole = with_plan(opened(currency), "a", 9, None, part(7, noisy(50)))
        apart = with_plan(with_plan(opened(currency), "a", 9), "b", 7, noisy(50))
        claimed = whole.claimed(Unit.USER, OUTSIDER)
        assert claimed == pytest.approx(apart.claimed(Unit.USER, OUTSIDER), rel=1e-12)
        assert claimed > with_plan(opened(currency), "a", 9).claimed(
            Unit.USER, OUTSIDER
        )
    sampled = PoissonGaussianSum(*USER, Fraction(1, 10), 1, Fraction(100), 8)
    with pytest.raises(UnsupportedEvent, match="rdp"):
        with_plan(opened("gaussian"), "a", 9, None, part(1, sampled))


@pytest.mark.parametrize("currency", NAMES)
def test_a_later_part_that_does_not_fit_is_refused(currency) -> None:
    with_plan(opened(currency), "a", 9, None, part(1, noisy(50)))
    with pytest.raises(BudgetError):
        with_plan(opened(currency), "a", 9, None, part(500, noisy(50)))


@pytest.mark.parametrize("currency", NAMES)
def test_skipped_rounds_are_held_until_the_plan_is_closed(currency) -> None:
    """Five rounds at first, one of them used, then the later part, and closed."""
    book = with_plan(opened(currency), "a", 5, noisy(50), part(2, noisy(200)))
    held = book.claimed(Unit.USER, OUTSIDER)
    for number in (1, 6, 7):
        book = with_round(book, "a", number)
    assert book.accounts["a"].used == (1, 2)
    assert book.held(book.accounts["a"]) == (5, 2)
    assert book.claimed(Unit.USER, OUTSIDER) == held
    book = grow(book, lambda b: ledger.close(b, "a"))
    assert book.held(book.accounts["a"]) == (1, 2)
    only = with_plan(opened(currency), "a", 1, noisy(50), part(2, noisy(200)))
    assert book.claimed(Unit.USER, OUTSIDER) == only.claimed(Unit.USER, OUTSIDER)
    assert book.claimed(Unit.USER, OUTSIDER) == book.spent(Unit.USER, OUTSIDER) < held


@pytest.mark.parametrize("currency", NAMES)
def test_the_limit_is_the_sum_that_costs_the_cap(currency) -> None:
    most = room(cap(currency))
    named = Currency.parse(currency)
    assert currencies.price(named, most, DELTA) <= 4.0
    assert currencies.price(named, most * (1 + 1e-6), DELTA) > 4.0


@pytest.mark.parametrize("currency", NAMES)
def test_what_does_not_fit_is_refused_with_the_numbers(currency) -> None:
    most = room(cap(currency))
    one = currencies.size(Currency.parse(currency), [(noisy(), 1)])
    whole = int(most / float(one))
    book = with_plan(opened(currency), "a", whole - 1)
    with pytest.raises(BudgetError, match=currency) as refused:
        ledger.reserve(book, plan("b", 2))
    assert f"{most:.4g}" in str(refused.value)
    assert with_plan(book, "b", 1).claimed(Unit.USER, OUTSIDER) <= 4.0


@pytest.mark.parametrize("currency", NAMES)
def test_a_plan_that_was_closed_gives_back_what_was_not_charged(currency) -> None:
    book = with_round(with_plan(opened(currency), "a", 60), "a", 1)
    before = book.left(Unit.USER, OUTSIDER)
    with pytest.raises(BudgetError):
        with_plan(book, "b", 60)
    book = grow(book, lambda b: ledger.close(b, "a"))
    only = with_round(with_plan(opened(currency), "a", 1), "a", 1)
    assert book.claimed(Unit.USER, OUTSIDER) == only.claimed(Unit.USER, OUTSIDER)
    assert book.claimed(Unit.USER, OUTSIDER) == book.spent(Unit.USER, OUTSIDER)
    assert book.left(Unit.USER, OUTSIDER) > before
    assert with_plan(book, "b", 60).accounts["b"].charged == 0


@pytest.mark.parametrize("currency", NAMES)
def test_the_cap_is_what_is_promised(currency) -> None:
    book = opened(currency)
    assert book.promised(Unit.USER, OUTSIDER) == 0
    book = with_plan(book, "a", 3)
    assert book.claimed(Unit.USER, OUTSIDER) < 4.0
    assert book.promised(Unit.USER, OUTSIDER) == 4.0
    assert book.promised(Unit.USER, SERVER) == inf


def test_the_server_is_promised_nothing_by_a_cap_against_outsiders() -> None:
    """Its total is not bounded in advance, whatever its events cost so far."""
    same = Part(3, dict.fromkeys(Adversary, noisy()))
    both = replace(plan("a", 3), parts=(same, same))
    book = grow(opened("gaussian"), lambda b: ledger.reserve(b, both))
    assert book.claimed(Unit.USER, SERVER) == inf
    book = grow(opened("gaussian", against=SERVER), lambda b: ledger.reserve(b, both))
    assert book.promised(Unit.USER, SERVER) == book.promised(Unit.USER, OUTSIDER) == 4.0


def test_left_is_what_one_more_plan_may_cost() -> None:
    book = with_plan(opened("gaussian"), "a", 40)
    rest = room(cap("gaussian")) - 0.4
    last = Fraction(1) / Fraction(rest * (1 - 1e-9))
    assert epsilon_of([(noisy(last), 1)], DELTA).epsilon == pytest.approx(
        book.left(Unit.USER, OUTSIDER), rel=1e-6
    )
    assert with_plan(book, "b", 1, noisy(last)).left(
        Unit.USER, OUTSIDER
    ) == pytest.approx(0, abs=1e-3)
    full = with_plan(book, "b", 1, noisy(last))
    with pytest.raises(BudgetError):
        ledger.reserve(full, plan("c", 1))


def test_what_a_currency_has_no_bound_for_is_refused() -> None:
    sampled = PoissonGaussianSum(*USER, Fraction(1, 10), 1, Fraction(100), 8)
    with pytest.raises(UnsupportedEvent, match="rdp"):
        ledger.reserve(opened("gaussian"), plan("a", 1, sampled))
    book = with_plan(opened("rdp:8"), "a", 1, sampled)
    assert 0 < book.claimed(Unit.USER, OUTSIDER) < 4.0
    for currency in NAMES:
        with pytest.raises(BudgetError, match="inf"):
            ledger.reserve(opened(currency), plan("a", 1, NonPrivate(*USER, 8)))


def test_the_range_of_the_sampler_has_its_share_of_delta() -> None:
    """2**-128 a coordinate: only absurd numbers of them do not fit."""
    book = with_plan(opened("gaussian"), "a", 1, noisy(coordinates=10**15))
    with pytest.raises(BudgetError, match="coordinates"):
        ledger.reserve(book, plan("b", 1, noisy(coordinates=10**23)))


@pytest.mark.parametrize(
    ("currency", "epsilon"), [("gaussian", inf), ("rdp:2", 4.0), ("rdp:8", inf)]
)
def test_a_cap_without_room_is_refused(currency, epsilon) -> None:
    with pytest.raises(InputError, match="no room"):
        opened(currency, epsilon=epsilon)


@pytest.mark.parametrize(
    "text", ["", "rdp", "rdp:1", "rdp:02", "rdp:8.0", "Gaussian", "sealed:3", "pld"]
)
def test_a_currency_that_is_none_is_refused(text) -> None:
    with pytest.raises(InputError, match="must be sealed, gaussian or rdp:ORDER"):
        Currency.parse(text)


RUNS = st.sampled_from("abcde")


class Machine(RuleBasedStateMachine):
    """Plans chosen by anybody, closed at any time: the squares stay below the cap."""

    @initialize(epsilon=st.floats(0.5, 4))
    def start(self, epsilon):
        self.book = opened("gaussian", epsilon=epsilon)
        self.most = Fraction(room(self.book.caps[Unit.USER]))
        self.plans = {}  # run -> sizes of its rounds, by number
        self.firsts = {}  # run -> the number at which its second part begins
        self.charged = {}  # run -> the numbers that were charged
        self.closed = set()

    def size_of(self, run) -> Fraction:
        """What a plan takes of the cap."""
        numbers = self.charged[run] if run in self.closed else self.plans[run]
        return sum((self.plans[run][n] for n in numbers), Fraction(0))

    def held(self):
        return sum(map(self.size_of, self.plans), Fraction(0))

    def call(self, allowed, step) -> None:
        try:
            self.book = grow(self.book, step)
        except FedprefError:
            assert not allowed
        else:
            assert allowed

    @rule(
        run=RUNS,
        rounds=st.integers(1, 9),
        later=st.integers(1, 3),
        multipliers=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    )
    def reserve(self, run, rounds, later, multipliers):
        first, second = (Fraction(1, m**2) for m in multipliers)
        sizes = dict(enumerate([first] * rounds + [second] * later, 1))
        fits = self.held() + sum(sizes.values()) <= self.most
        allowed = run not in self.plans and fits
        events = [noisy(m**2) for m in multipliers]
        made = plan(run, rounds, events[0], part(later, events[1]))
        self.call(allowed, lambda b: ledger.reserve(b, made))
        if allowed:
            self.plans[run], self.charged[run] = sizes, []
            self.firsts[run] = rounds + 1

    @rule(run=RUNS, skip=st.booleans())
    def one_round(self, run, skip):
        numbers = self.charged.get(run, [])
        number = 1 + max(numbers, default=0)
        second = self.firsts.get(run, 0)
        if skip and number < second:
            number = second
        allowed = run not in self.closed and number in self.plans.get(run, {})
        self.call(allowed, lambda b: ledger.unmask(b, run, number, "d"))
        if allowed:
            self.call(False, lambda b: ledger.close(b, run))
            self.call(True, lambda b: ledger.release(b, run, number, "m"))
            numbers.append(number)

    @rule(run=RUNS)
    def close(self, run):
        left = len(self.plans.get(run, {})) - len(self.charged.get(run, []))
        allowed = run not in self.closed and left > 0
        self.call(allowed, lambda b: ledger.close(b, run))
        if allowed:
            self.closed.add(run)

    @invariant()
    def the_cap_holds(self):
        if not hasattr(self, "book"):
            return
        cap = self.book.caps[Unit.USER]
        charged = Fraction(0)
        for run, numbers in self.charged.items():
            charged += sum((self.plans[run][n] for n in numbers), Fraction(0))
        assert charged <= self.held() <= self.most
        found = self.book.spent(Unit.USER, OUTSIDER)
        assert found <= self.book.claimed(Unit.USER, OUTSIDER) <= cap.epsilon
        if charged:
            ideal = epsilon_of([(noisy(1 / charged), 1)], DELTA).epsilon
            assert found == pytest.approx(ideal, rel=1e-9)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
