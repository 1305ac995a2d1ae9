"""A ledger in numbers, in words and on its way to another machine."""

import json
from dataclasses import replace
from fractions import Fraction
from functools import partial
from hashlib import sha256
from math import inf

import pytest

from fedpref.core import ledger as core
from fedpref.core.accounting import epsilon_of
from fedpref.core.book import Book
from fedpref.core.currencies import Currency
from fedpref.core.events import (
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    SkellamSum,
)
from fedpref.core.ledger import replay
from fedpref.core.rows import GENESIS, Cap, Part, Reservation, link
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import InputError, IntegrityError
from fedpref.report import (
    budget,
    budget_plan,
    budget_rows,
    budget_runs,
    budget_statement,
)
from fedpref.report import cross_check as checks

OUT, SERVER = Adversary.OUTSIDER, Adversary.SERVER
ZERO = Relation.ZERO_OUT
NOISE = GaussianSum(Unit.USER, ZERO, 1, Fraction(36), 8)
MOMENT = GaussianSum(Unit.USER, ZERO, 1, Fraction(4), 136)
BARE = NonPrivate(Unit.USER, ZERO, 8)
DRAWN = PoissonGaussianSum(Unit.USER, ZERO, Fraction(1, 10), 1, Fraction(4), 8)
CAP = Cap("people <b>|*", "2026", Unit.USER, ZERO, OUT, 4.0, 1e-4)


def part(rounds: int, event=NOISE, server=BARE) -> Part:
    return Part(rounds, {OUT: event, SERVER: server})


def plan(run: str, rounds: int, event=NOISE, seeded=False, later=()) -> Reservation:
    parts = (part(rounds, event), *later)
    return Reservation(run, "p", Unit.USER, ZERO, parts, 1e-5, seeded)


def build(*steps) -> tuple:
    """Rows of a ledger, each step a function of the book so far."""
    rows, book = [], Book()
    for step in steps:
        rows.append(step(book))
        book = replay(rows[-1:], book)
    return tuple(rows)


def a_round(run: str, number: int) -> list:
    return [
        lambda book: core.unmask(book, run, number, f"d{number}"),
        lambda book: core.release(book, run, number, f"m{number}"),
    ]


@pytest.fixture(scope="module")
def rows():
    return build(
        lambda book: core.open_cap(book, CAP),
        lambda book: core.reserve(book, plan("first", 4)),
        *a_round("first", 1),
        lambda book: core.abort(book, "first", 2, refund=True),
        *a_round("first", 2),
        lambda book: core.reserve(book, plan("second", 3)),
        *a_round("second", 1),
        lambda book: core.unmask(book, "second", 2, "d"),
    )


@pytest.fixture(scope="module")
def book(rows):
    return replay(rows)


def test_spent_reserved_and_left_add_up(book) -> None:
    user = budget.overview(book)["units"]["user"]
    first, second = plan("first", 4), plan("second", 3)
    spent = first.epsilon(OUT, (2,)) + second.epsilon(OUT, (2,))
    reserved = first.epsilon(OUT) + second.epsilon(OUT)
    assert user["spent"] == {"outsider": pytest.approx(spent), "server": "inf"}
    assert user["reserved"] == {"outsider": pytest.approx(reserved), "server": "inf"}
    assert user["left"] == {"outsider": pytest.approx(4.0 - reserved), "server": None}
    assert user["delta"] == pytest.approx(2e-5)
    assert (user["relation"], user["rounds"]) == ("zero-out", 4)
    assert budget.overview(book)["head"] == f"{book.seq}:{book.head.hex()}"
    json.dumps(budget.overview(book), allow_nan=False)


def test_runs_say_how_far_they_are(book) -> None:
    first, second = budget_runs.runs(book, Unit.USER)
    assert (first["rounds_charged"], first["rounds_planned"]) == (2, 4)
    assert first["refunded"] == 1
    assert "2 rounds to go" in first["state"]
    assert "charged and not released" in second["state"]


def test_burn_down_ends_at_what_is_spent(book) -> None:
    points = budget.burn_down(book, Unit.USER)
    assert [(p.run, p.number) for p in points] == [
        ("first", 1),
        ("first", 2),
        ("second", 1),
        ("second", 2),
    ]
    assert points[-1].spent == pytest.approx(book.spent(Unit.USER, OUT), rel=1e-12)
    spent = [point.spent for point in points]
    assert spent == sorted(spent)
    assert all(p.left == pytest.approx(4.0 - p.spent) for p in points)


@pytest.fixture(scope="module")
def several():
    """Thirteen rounds of which four were not needed, a moment, an evaluation."""
    later = (part(1, MOMENT), part(1))
    steps = [step for n in range(1, 10) for step in a_round("a", n)]
    return replay(
        build(
            lambda book: core.open_cap(book, CAP),
            lambda book: core.reserve(book, plan("a", 13, later=later)),
            *steps,
            *a_round("a", 14),
            *a_round("a", 15),
        )
    )


def test_a_plan_with_parts_is_shown_part_by_part(several) -> None:
    (run,) = budget_runs.runs(several, Unit.USER)
    counts = ("first", "rounds_planned", "rounds_charged", "rounds_held")
    assert [tuple(part[name] for name in counts) for part in run["parts"]] == [
        (1, 13, 9, 13),
        (14, 1, 1, 1),
        (15, 1, 1, 1),
    ]
    found = [part["releases"]["outsider"] for part in run["parts"]]
    assert found[0] == "sums with Gaussian noise, multiplier 6; 8 numbers" == found[2]
    assert found[1] == "sums with Gaussian noise, multiplier 2; 136 numbers"
    assert run["parts"][1]["releases"]["server"] == "sums without noise; 8 numbers"
    assert (run["rounds_planned"], run["rounds_charged"]) == (15, 11)
    assert (run["rounds_released"], run["rounds_skipped"]) == (11, 4)
    assert (run["rounds_held"], run["last_charged"]) == (15, 15)
    assert run["state"] == "finished, 4 skipped"
    assert budget_runs.rounds_text(run) == "9 of 13 + 1 of 1 + 1 of 1"
    assert budget_runs.planned_text(run) == "13 + 1 + 1"
    user = budget.overview(several)["units"]["user"]
    assert user["rounds"] == 11
    whole = [(NOISE, 14), (MOMENT, 1)]
    assert run["reserved"]["outsider"] == epsilon_of(whole, 1e-5).epsilon
    assert (
        run["spent"]["outsider"] == epsilon_of([(NOISE, 10), (MOMENT, 1)], 1e-5).epsilon
    )
    json.dumps(budget.overview(several), allow_nan=False)


def test_how_far_a_plan_with_parts_is(several) -> None:
    later = (part(2, MOMENT),)
    begun = build(
        lambda book: core.open_cap(book, CAP),
        lambda book: core.reserve(book, plan("b", 3, later=later)),
        *a_round("b", 1),
        *a_round("b", 4),
    )
    (run,) = budget_runs.runs(replay(begun), Unit.USER)
    assert run["state"] == "1 round to go, 2 skipped; they stay reserved"
    assert run["rounds_released"] == 2
    lost = core.abort(replay(begun), "b", 5, refund=False)
    (run,) = budget_runs.runs(replay([*begun, lost]), Unit.USER)
    assert (run["rounds_charged"], run["rounds_released"]) == (3, 2)


def test_burn_down_goes_by_the_numbers_of_the_ledger(several) -> None:
    points = budget.burn_down(several, Unit.USER)
    numbers = [point.number for point in points]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= {*range(1, 10), 14, 15}
    assert numbers[-1] == 15
    assert points[-1].spent == pytest.approx(several.spent(Unit.USER, OUT), rel=1e-12)
    spent = [point.spent for point in points]
    assert spent == sorted(spent)
    for point in points[:-1]:
        rounds = min(point.number, 9)
        counts = [(NOISE, rounds), (MOMENT, int(point.number >= 14))]
        assert point.spent == pytest.approx(epsilon_of(counts, 1e-5).epsilon, rel=1e-2)


@pytest.mark.parametrize("currency", ["gaussian", "rdp:16"])
def test_burn_down_of_parts_under_an_adaptive_cap(currency) -> None:
    cap = replace(CAP, currency=Currency.parse(currency), delta=1e-5, epsilon=9.0)
    later = (part(1, MOMENT),)
    book = replay(
        build(
            lambda book: core.open_cap(book, cap),
            *(lambda b, r=r: core.reserve(b, plan(r, 2, later=later)) for r in "ab"),
            *a_round("a", 1),
            *a_round("a", 3),
            *a_round("b", 3),
        )
    )
    points = budget.burn_down(book, Unit.USER)
    assert [(p.run, p.number) for p in points] == [("a", 1), ("a", 3), ("b", 3)]
    assert points[-1].spent == pytest.approx(book.spent(Unit.USER, OUT), rel=1e-12)
    assert [p.spent for p in points] == sorted(p.spent for p in points)


def test_the_statement_names_every_kind_of_release(several) -> None:
    found = budget_statement.statement(several)
    user = found["units"]["user"]
    assert user["mechanisms"] == [
        "sums with Gaussian noise, multiplier 2",
        "sums with Gaussian noise, multiplier 6",
    ]
    markdown, html = budget_statement.markdown(found), budget_statement.html(found)
    assert "* 1 run, 11 rounds." in markdown
    assert "* Run a has 3 parts:" in markdown
    assert "  * number 1–13: 9 of 13 charged; sums with Gaussian noise" in markdown
    assert "  * number 14: 1 of 1 charged" in markdown
    assert "number 1–13: sums with Gaussian noise, multiplier 6; 8 numbers" in html
    plain = budget_statement.statement(one_run("a", NOISE))
    assert "parts" not in budget_statement.markdown(plain)
    assert "number 1" not in budget_statement.html(plain)


def test_one_readable_part_is_enough_to_trust_the_server() -> None:
    """Masked training and a sum that the server reads: both assumptions are said."""
    shares = SkellamSum(Unit.USER, ZERO, 1, 1, Fraction(10**6), 8)
    masked, readable = part(2, shares, shares), part(1, NOISE, BARE)

    def assumed(*parts: Part) -> tuple[set[str], str]:
        made = replace(plan("a", 1), parts=parts)
        book = replay(
            build(
                lambda book: core.open_cap(book, CAP),
                lambda book: core.reserve(book, made),
            )
        )
        found = budget_statement.statement(book)
        sees = found["units"]["user"]["adversaries"]["server"]["sees"]
        return set(found["assumptions"]), sees

    trusted = set(budget_statement.TRUSTED_SERVER)
    secure = set(budget_statement.SECURE_SUM)
    both, sees = assumed(masked, readable)
    assert trusted | secure <= both
    assert sees == budget_statement.EVERY_UPDATE
    alone, sees = assumed(masked, masked)
    assert secure <= alone
    assert not trusted & alone
    assert sees == budget_statement.MASKED_UPDATES
    bare, _ = assumed(readable)
    assert trusted <= bare
    assert not secure & bare


def test_a_secret_draw_in_any_part_is_an_assumption() -> None:
    made = plan("a", 1, later=(part(1, DRAWN),))
    book = replay(
        build(
            lambda book: core.open_cap(book, CAP), lambda book: core.reserve(book, made)
        )
    )
    found = budget_statement.statement(book)
    assert budget_statement.SECRET_DRAW in found["assumptions"]


def test_a_thousand_rounds_are_drawn_with_a_few_points() -> None:
    many = [step for n in range(1, 61) for step in a_round("a", n)]
    book = replay(
        build(
            lambda book: core.open_cap(book, CAP),
            lambda book: core.reserve(
                book, plan("a", 60, replace(NOISE, variance=Fraction(900)))
            ),
            *many,
        )
    )
    assert len(budget.burn_down(book, Unit.USER)) == budget.POINTS


def test_one_more_run(book) -> None:
    fits = budget.next_run(book, plan("c", 1))
    assert fits["fits"]
    assert fits["epsilon"] == {"outsider": plan("c", 1).epsilon(OUT), "server": "inf"}
    assert "it fits" in budget.next_run_words(fits)
    dear = budget.next_run(book, plan("c", 1000))
    assert not dear["fits"]
    assert "would be refused" in budget.next_run_words(dear)
    assert not budget.next_run(book, replace(plan("c", 1), delta=1e-4))["fits"]
    assert not budget.next_run(book, plan("c", 1, seeded=True))["fits"]
    with pytest.raises(InputError, match="no cap for unit = record"):
        budget.next_run(book, replace(plan("c", 1), unit=Unit.RECORD))


# --- rows ---------------------------------------------------------------------------


def test_exports_come_back_as_they_went_out(rows) -> None:
    assert budget_rows.from_jsonl(budget_rows.to_jsonl(rows)) == rows
    assert budget_rows.from_csv(budget_rows.to_csv(rows)) == rows
    assert budget_rows.verified(rows) == replay(rows)


def test_rows_of_another_schema_are_told_apart_from_broken_ones(rows) -> None:
    """They do not even hash alike; the message says why."""
    old = replace(rows[0], body=rows[0].body.replace('"schema":3', '"schema":2'))
    head = sha256(bytes(32) + sha256(hashed(2, old)).digest()).digest()
    with pytest.raises(IntegrityError, match="schema = 2, must be 3"):
        budget_rows.verified((replace(old, head=head), *rows[1:]))
    other = replace(rows[0], body=rows[0].body.replace("2026", "2027"))
    with pytest.raises(IntegrityError, match="row 1 was edited"):
        budget_rows.verified((other, *rows[1:]))


def hashed(schema: int, row) -> bytes:
    return json.dumps([schema, row.seq, str(row.kind), row.body]).encode()


def rechained(rows):
    """A forger's best: every hash after the change made anew."""
    head, made = GENESIS, []
    for seq, row in enumerate(rows, 1):
        row = replace(row, seq=seq)
        head = link(head, row)
        made.append(replace(row, head=head))
    return tuple(made)


def edited(rows):
    body = rows[1].body.replace('"rounds":4', '"rounds":3')
    assert body != rows[1].body
    return (rows[0], replace(rows[1], body=body), *rows[2:])


@pytest.mark.parametrize(
    ("harm", "needle"),
    [
        (edited, "row 2 was edited"),
        (lambda rows: (*rows[:3], *rows[4:]), "row 4 is missing: 1 deleted"),
        (lambda rows: rows[1:], "row 1 is missing"),
        (lambda rows: (rows[1], rows[0], *rows[2:]), "row 2 is out of order"),
        (lambda rows: (*rows[:3], rows[2], *rows[3:]), "row 3 is there more than once"),
        (
            lambda rows: (*rows[:3], replace(rows[3], head=rows[2].head), *rows[4:]),
            "row 4 does not follow",
        ),
        (lambda rows: rechained((*rows[:3], *rows[4:])), "not a legal row"),
    ],
    ids=["edit", "delete", "first", "reorder", "repeat", "replace", "forged"],
)
def test_what_is_wrong_is_named_and_never_repaired(rows, harm, needle) -> None:
    with pytest.raises(IntegrityError, match=needle) as caught:
        budget_rows.verified(harm(rows))
    assert "Nothing was repaired" in str(caught.value)


def test_what_can_still_be_trusted_is_said(rows) -> None:
    with pytest.raises(IntegrityError) as caught:
        budget_rows.verified((*rows[:3], *rows[4:]))
    assert f"Rows up to 3 are whole (head 3:{rows[2].head.hex()})" in str(caught.value)


def test_a_remembered_head_finds_what_the_chain_cannot(rows) -> None:
    last = f"{len(rows)}:{rows[-1].head.hex()}"
    budget_rows.check_head(rows, last)
    budget_rows.check_head(rows, f"2:{rows[1].head.hex().upper()}")
    short = rows[:-1]
    budget_rows.verified(short)  # a whole chain: only the head knows
    with pytest.raises(IntegrityError, match=r"rolled back.* the last 1 are lost"):
        budget_rows.check_head(short, last)
    before = replay(short)
    fork = (*short, core.abort(before, "second", 2, refund=True))
    budget_rows.verified(fork)
    with pytest.raises(IntegrityError, match=f"a fork: row {len(rows)}"):
        budget_rows.check_head(fork, last)


@pytest.mark.parametrize("text", ["", "7", "x:00", "1:zz", f"-1:{'0' * 64}", "1:00"])
def test_a_malformed_head_is_bad_input(rows, text) -> None:
    with pytest.raises(InputError, match="must be SEQ:HASH"):
        budget_rows.check_head(rows, text)


def test_an_export_that_was_cut_in_a_line(rows) -> None:
    text = budget_rows.to_jsonl(rows)
    with pytest.raises(IntegrityError, match=f"line {len(rows)} is not a row"):
        budget_rows.from_jsonl(text[:-20])
    table = budget_rows.to_csv(rows)
    for bad in ("", "a,b\n", table.replace("opened", "other"), table[:-3]):
        with pytest.raises(IntegrityError, match="cut off, or changed"):
            budget_rows.from_csv(bad)


# --- statement ----------------------------------------------------------------------


def test_the_statement_says_who_what_and_how_strongly(book) -> None:
    found = budget_statement.statement(book)
    user = found["units"]["user"]
    outsider, server = user["adversaries"]["outsider"], user["adversaries"]["server"]
    assert outsider["reserved"] == pytest.approx(book.claimed(Unit.USER, OUT))
    assert outsider["holds"]
    assert found["private"]
    assert (server["reserved"], server["holds"]) == ("inf", False)
    assert server["in_words"].startswith("Nothing is promised")
    assert user["cap"] == {
        "epsilon": 4.0,
        "delta": 1e-4,
        "against": "outsider",
        "currency": "sealed",
    }
    assert "plans add by epsilon and delta" in found["composition"]["user"]
    assert "stopping a plan early returns nothing" in found["duration"]
    assert found["window"] == "2026"
    assert "does not come back" in found["duration"]
    text = " ".join(found["summary"])
    assert "epsilon is infinite" in text
    assert "never cost more than epsilon 4.00 per user" in text
    json.dumps(found, allow_nan=False)


def test_pages_escape_what_the_ledger_says(book) -> None:
    found = budget_statement.statement(book)
    html, markdown = budget_statement.html(found), budget_statement.markdown(found)
    assert "<b>|" not in html
    assert "people &lt;b&gt;" in html
    assert "people \\<b\\>\\|\\*" in markdown
    assert "http:" not in html
    assert "https:" not in html
    assert "## Not protected" in markdown


def test_what_is_left_is_never_rounded_up() -> None:
    assert budget_statement.left(1.00999) == "1.00"
    assert budget.left_text(0.0) == "0"


def one_run(run: str, event, cap=CAP, seeded=False):
    return replay(
        build(
            lambda book: core.open_cap(book, cap),
            lambda book: core.reserve(book, plan(run, 1, event, seeded)),
        )
    )


def test_a_seeded_run_is_said_to_protect_nobody() -> None:
    found = budget_statement.statement(one_run("a", NOISE, seeded=True))
    assert not found["private"]
    assert "NOT private" in found["summary"][0]
    outsider = found["units"]["user"]["adversaries"]["outsider"]
    assert (outsider["holds"], outsider["best_guess"]) == (False, 1.0)
    assert "seed" in outsider["in_words"]
    assert "the runs with a seed" in found["not_protected"][0]


def test_no_noise_comes_first_and_is_infinite() -> None:
    found = budget_statement.statement(one_run("a", BARE, replace(CAP, epsilon=inf)))
    assert found["summary"][0].startswith("Without noise: epsilon is infinite")
    assert not found["private"]
    user = found["units"]["user"]
    assert user["adversaries"]["outsider"]["reserved"] == "inf"
    assert user["cap"]["epsilon"] == "inf"
    assert "No limit is set" in " ".join(found["summary"])
    assert found["enforced_by"].startswith("Nobody limits it")
    for page in (budget_statement.html(found), budget_statement.markdown(found)):
        assert "no cap is set" in page
        assert "cap is epsilon infinite" not in page


@pytest.mark.parametrize("name", ["gaussian", "rdp:16"])
def test_an_adaptive_cap_is_itself_what_is_promised(name) -> None:
    cap = replace(CAP, currency=Currency.parse(name), delta=1e-5)
    book = one_run("a", NOISE, cap)
    found = budget_statement.statement(book)
    user = found["units"]["user"]
    outsider, server = user["adversaries"]["outsider"], user["adversaries"]["server"]
    assert outsider["promised"] == 4.0
    assert 0 < outsider["reserved"] == book.claimed(Unit.USER, OUT) < 4.0
    assert (server["promised"], server["holds"]) == ("inf", False)
    assert user["delta"] == 1e-5
    assert user["cap"]["currency"] == name
    assert "the cap is the claim" in found["composition"]["user"]
    assert "returns only rounds that never happened" in found["duration"]
    assert "epsilon 4.00 at delta 1e-5 per user, which is the cap" in " ".join(
        found["summary"]
    )
    shown = budget.overview(book)["units"]["user"]
    assert (shown["promised"]["outsider"], shown["currency"]) == (4.0, name)


def test_a_secret_draw_is_an_assumption_where_it_is_used(book) -> None:
    drawn = budget_statement.statement(one_run("a", DRAWN))
    assert budget_statement.SECRET_DRAW in drawn["assumptions"]
    assert "chance 0.1" in drawn["units"]["user"]["mechanisms"][0]
    plain = budget_statement.statement(book)
    assert budget_statement.SECRET_DRAW not in plain["assumptions"]


def test_an_empty_ledger_promises_nothing() -> None:
    with pytest.raises(InputError, match="empty"):
        budget_statement.statement(Book())


@pytest.mark.parametrize(
    ("epsilon", "needle"),
    [(9.0, "protects little"), (5.0, "Some"), (1.0, "Meaningful")],
)
def test_strength_in_words(epsilon, needle) -> None:
    assert needle in budget_plan.strength(epsilon, 1e-5, Unit.USER)


# --- a second opinion ---------------------------------------------------------------


def test_other_accountants_agree(book) -> None:
    pytest.importorskip("prv_accountant")
    drawn = one_run("drawn", DRAWN)
    for opinion in (*checks.cross_check(book), *checks.cross_check(drawn)):
        assert opinion.low is not None
        assert opinion.high is not None
        assert opinion.low <= opinion.ours <= opinion.high * 1.02
        assert opinion.ours <= opinion.rdp * 1.001


def test_other_accountants_price_the_parts_together(several) -> None:
    pytest.importorskip("prv_accountant")
    (opinion,) = checks.cross_check(several)
    assert opinion.ours == epsilon_of([(NOISE, 14), (MOMENT, 1)], 1e-5).epsilon
    assert opinion.low <= opinion.ours <= opinion.high * 1.02
    assert opinion.ours <= opinion.rdp * 1.001


def test_a_price_below_the_truth_is_found(book, monkeypatch) -> None:
    pytest.importorskip("prv_accountant")
    honest = Reservation.epsilon
    monkeypatch.setattr(
        Reservation, "epsilon", lambda self, who, used=None: 0.97 * honest(self, who)
    )
    with pytest.raises(IntegrityError, match=r"run first.*proves to be too little"):
        checks.cross_check(book)


def test_without_the_second_accountant_the_command_is_named(book, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prv_accountant", None)
    with pytest.raises(Exception, match=r"pip install 'fedpref\[verify\]'") as caught:
        checks.cross_check(book)
    assert caught.value.exit_code == 6


def test_sums_without_masks_promise_nothing_against_the_server() -> None:
    """The plan is priced as under the protocol; who reads the sums needs no epsilon."""
    event = SkellamSum(Unit.USER, ZERO, 100, 60, Fraction(10**5), 8)
    parts = (Part(3, dict.fromkeys(Adversary, event)),)
    cap = replace(CAP, against=Adversary.SERVER, epsilon=8.0)
    found = {}
    for unmasked in (False, True):
        plan = Reservation("r", "p", Unit.USER, ZERO, parts, 1e-5, unmasked=unmasked)
        steps = (partial(core.open_cap, cap=cap), partial(core.reserve, plan=plan))
        found[unmasked] = budget_statement.statement(replay(build(*steps)))
    masked, bare = (found[which]["units"]["user"]["adversaries"] for which in found)
    assert masked["server"]["holds"]
    assert not bare["server"]["holds"]
    assert bare["server"]["best_guess"] == 1.0
    assert "summed without masks" in bare["server"]["in_words"]
    assert bare["server"]["sees"] != masked["server"]["sees"]
    assert bare["outsider"] == masked["outsider"]
    assert any("1 of 1 runs summed without masks" in s for s in found[True]["summary"])
    assert any("as if run with the protocol" in s for s in found[True]["summary"])
