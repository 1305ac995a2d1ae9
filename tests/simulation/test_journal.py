"""Numbers of a run with several kinds of releases: which comes next, what was asked."""

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from fedpref.core import ledger as core
from fedpref.core.events import GaussianSum, NonPrivate
from fedpref.core.rows import Cap, Part, Reservation
from fedpref.core.types import Adversary, Noise, Relation, Unit
from fedpref.errors import InputError, IntegrityError
from fedpref.rounds.server import Noisy, ServerState
from fedpref.simulation import budget
from fedpref.simulation.folder import RunFolder
from fedpref.simulation.journal import RunJournal
from fedpref.store.ledger import Ledger

USER = (Unit.USER, Relation.ZERO_OUT)
CAP = Cap("people", "2026", *USER, Adversary.OUTSIDER, 8.0, 1e-4)
SEAL = bytes(32)


def part(rounds: int, variance: int) -> Part:
    noise = GaussianSum(*USER, 1, Fraction(variance), 8)
    bare = NonPrivate(*USER, 8)
    return Part(rounds, {Adversary.OUTSIDER: noise, Adversary.SERVER: bare})


TRAINING, MOMENT, EVALUATION = part(4, 64), part(1, 16), part(1, 64)
PLAN = Reservation("a", "plan", *USER, (TRAINING, MOMENT, EVALUATION), 1e-6)


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.db") as opened:
        opened.append(lambda book: core.open_cap(book, CAP))
        opened.append(lambda book: core.reserve(book, PLAN))
        yield opened


def journal(ledger: Ledger, folder, masked: bool) -> RunJournal:
    return RunJournal(RunFolder.create(folder / "run"), ledger, "a", SEAL, masked)


def state(number: int) -> ServerState:
    return ServerState(number, number, 7, np.ones(3), {}, np.zeros(3), 0)


def a_round(book: RunJournal, number: int) -> None:
    book.charge(number, bytes([number]) * 32)
    book.settle(state(number))


@pytest.mark.parametrize("masked", [True, False])
def test_numbers_go_on_at_the_first_one_of_a_later_part(
    ledger, tmp_path, masked
) -> None:
    """Two of four rounds train; the moment is number 5, the evaluation number 6."""
    book = journal(ledger, tmp_path, masked)
    for number in (1, 2, 5):
        a_round(book, number)
        assert book.next_round() == number + 1
        assert book.attempts() == number
    assert book.account.used == (2, 1, 0)
    for number in (3, 4):
        with pytest.raises(IntegrityError, match="may not follow"):
            book.charge(number, SEAL)
    a_round(book, 6)
    assert book.next_round() == 7  # beyond the last: finished
    for number in range(1, 8):
        with pytest.raises(IntegrityError, match="may not follow"):
            book.charge(number, SEAL)


def test_refunded_requests_count_with_masks(ledger, tmp_path) -> None:
    book = journal(ledger, tmp_path, masked=True)
    a_round(book, 1)
    book.give_up(2, refund=True)
    assert (book.next_round(), book.attempts()) == (2, 2)
    book.give_up(2, refund=True)
    a_round(book, 2)
    assert (book.next_round(), book.attempts()) == (3, 4)
    a_round(book, 5)  # asked for as number 5, the fifth request
    assert book.attempts() == 5
    book.give_up(6, refund=True)
    assert book.attempts() == 6
    readable = replace(book, masked=False)
    assert readable.attempts() == 5


def test_a_run_goes_on_after_a_skip(ledger, tmp_path) -> None:
    book = journal(ledger, tmp_path, masked=False)
    a_round(book, 1)
    a_round(book, 5)
    again = book.recover()
    assert again is not None
    assert again.round == 5
    assert book.next_round() == 6


def test_a_crash_between_charge_and_release_after_a_skip(ledger, tmp_path) -> None:
    book = journal(ledger, tmp_path, masked=True)
    a_round(book, 1)
    book.charge(5, SEAL)
    assert book.next_round() == 5
    assert book.recover() is not None  # the devices are gone: stays charged
    assert book.account.used == (1, 1, 0)
    assert (book.account.unmasking, book.account.released) == (None, 1)
    assert book.next_round() == 6


def test_a_checkpoint_ahead_of_its_release_is_finished_after_a_skip(
    ledger, tmp_path
) -> None:
    book = journal(ledger, tmp_path, masked=False)
    a_round(book, 1)
    book.charge(5, SEAL)
    book.folder.save_state(state(5), SEAL)
    assert book.recover() is not None
    assert (book.account.released, book.account.unmasking) == (5, None)


FULL = ServerState(
    *(1, 1, 7, np.ones(3), {"velocity": np.ones(3)}, np.ones(3), 1),
    evaluation=np.ones(2),
    moment=np.ones(4),
    statistic=np.ones(1),
)
OTHER = {
    "steps": 0,
    "survivors": 6,
    "last_count": 2,
    "optimiser": {"velocity": np.zeros(3)},
    **{field: getattr(FULL, field) * 2 for field in ("model", "last_sum")},
    **{f: getattr(FULL, f) * 2 for f in ("evaluation", "moment", "statistic")},
}


@pytest.mark.parametrize("name", [f.name for f in fields(ServerState)][1:])
def test_a_checkpoint_with_anything_changed_is_not_gone_on_with(
    ledger, tmp_path, name
) -> None:
    """All fields but the round, which numbers it; a new field needs its own digest."""
    book = journal(ledger, tmp_path, masked=False)
    book.charge(1, SEAL)
    book.settle(FULL)
    assert book.recover() is not None
    book.folder.save_state(replace(FULL, **{name: OTHER[name]}), SEAL)
    with pytest.raises(IntegrityError, match="is not the one that the ledger says"):
        book.recover()


# --- what a run reserves ------------------------------------------------------------


@dataclass
class Stage:
    rounds: int
    events: dict[Adversary, Any]


class Plan:
    """As much of a plan as is booked."""

    digest = b"plan"
    spec = type("Spec", (), {"unit": Unit.USER, "noise": Noise.CENTRAL})
    relation = Relation.ZERO_OUT
    delta = 1e-6
    stages = tuple(Stage(p.rounds, dict(p.per_round)) for p in PLAN.parts)


def setup(seed=None) -> Any:
    run = type("Run", (), {"seed": seed})
    scenario = type("Scenario", (), {"run": run})
    return type("Setup", (), {"plan": Plan(), "scenario": scenario})


def test_each_stage_of_a_plan_is_a_part() -> None:
    made = budget.reservation(setup(), "a")
    assert made == replace(PLAN, plan=b"plan".hex())
    assert made.firsts == (1, 5, 6)
    assert budget.reservation(setup(seed=7), "a").seeded


def test_a_run_that_was_closed_is_refused_unless_it_had_come_to_its_end(
    ledger, tmp_path
) -> None:
    booked = replace(PLAN, run="b", plan=b"plan".hex())
    for run in "bc":
        made = replace(booked, run=run)
        ledger.append(lambda book, made=made: core.reserve(book, made))
    for run, number in (("b", 5), ("c", 6)):
        mine = replace(journal(ledger, tmp_path / run, masked=False), run=run)
        a_round(mine, number)
        ledger.append(lambda book, run=run: core.close(book, run))
    with pytest.raises(InputError, match="closed after round 5"):
        budget.reserve_again(setup(), "b", ledger, begun=True)
    budget.reserve_again(setup(), "c", ledger, begun=True)
    changed = setup()
    changed.plan.stages = changed.plan.stages[:2]
    with pytest.raises(IntegrityError, match="not reserved in it as it is here"):
        budget.reserve_again(changed, "c", ledger, begun=True)


# A round that was charged and not unmasked

KEPT, CHARGED = b"the record of a round", bytes([7]) * 32


def lasting(ledger, folder) -> RunJournal:
    return replace(journal(ledger, folder, masked=True), lasting=True)


def charged(book: RunJournal, number: int = 1) -> RunJournal:
    book.keep(number, lambda: KEPT)
    book.charge(number, CHARGED)
    return book


def test_lasting_devices_are_asked_from_the_record(ledger, tmp_path) -> None:
    book = charged(lasting(ledger, tmp_path))
    assert book.recover() is None
    assert (book.next_round(), book.pending(1)) == (1, None)
    assert book.kept(1) == (KEPT, CHARGED)
    assert book.kept(2) is None
    noisy = Noisy(np.arange(3), 7)
    book.hold(1, noisy, CHARGED)
    assert book.recover() is None
    found = book.pending(1)
    assert found is not None
    assert np.array_equal(found.total, noisy.total)
    book.settle(state(1))
    assert not book.folder.has_record
    assert not book.folder.has_pending
    assert (book.account.released, book.account.used) == (1, (1, 0, 0))
    assert book.kept(1) is None


def test_without_lasting_devices_it_stays_charged_and_leaves_no_record(
    ledger, tmp_path
) -> None:
    book = charged(journal(ledger, tmp_path, masked=True))
    assert not book.folder.has_record
    assert book.kept(1) is None
    assert book.recover() is None
    assert (book.account.used, book.account.unmasking) == ((1, 0, 0), None)
    assert book.account.refunded == 0
    assert (book.next_round(), book.kept(1), book.kept(2)) == (2, None, None)


def test_a_record_without_a_charge_is_dropped(ledger, tmp_path) -> None:
    book = lasting(ledger, tmp_path)
    book.keep(1, lambda: KEPT)
    assert book.kept(1) is None
    assert book.recover() is None
    assert not book.folder.has_record
    assert book.account.used == (0, 0, 0)


def test_a_round_that_is_given_up_leaves_no_record(ledger, tmp_path) -> None:
    book = charged(lasting(ledger, tmp_path))
    book.give_up(1, refund=False)
    assert not book.folder.has_record
    assert book.account.used == (1, 0, 0)


@pytest.mark.parametrize("fault", ["cut", "gone", "of another run"])
def test_a_record_that_cannot_be_read_stops_the_run(ledger, tmp_path, fault) -> None:
    book = charged(lasting(ledger, tmp_path))
    path = book.folder.path / "checkpoints" / "record.bin"
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif fault == "gone":
        path.unlink()
    else:
        book = replace(book, seal=bytes([1]) * 32)
    assert book.recover() is None
    with pytest.raises(IntegrityError, match=r"record\.bin"):
        book.kept(1)
    assert book.account.unmasking == CHARGED.hex()
