"""The chain of rows: anything changed is found, and what is forged is not legal."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest

from fedpref.core import ledger
from fedpref.core.accounting import epsilon, epsilon_of
from fedpref.core.book import Book
from fedpref.core.events import GaussianSum, NonPrivate, PoissonGaussianSum
from fedpref.core.ledger import replay
from fedpref.core.rows import Cap, Kind, Part, Reservation, Row, link, next_row
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import IntegrityError

SERVER, OUTSIDER = Adversary.SERVER, Adversary.OUTSIDER
ZERO_OUT = Relation.ZERO_OUT


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
    """Four plans, one of several parts, and every kind of row."""
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
        lambda b: ledger.reserve(b, plan("c", 2)),
        lambda b: ledger.close(b, "c"),
        lambda b: ledger.reserve(b, plan("d", 3, 2, 1)),
        lambda b: ledger.unmask(b, "d", 1, "d4"),
        lambda b: ledger.abort(b, "d", 1, refund=False),
        lambda b: ledger.abort(b, "d", 4, refund=False),
        lambda b: ledger.unmask(b, "d", 6, "d6"),
        lambda b: ledger.release(b, "d", 6, "m6"),
    )


def test_the_chain_is_the_formula_of_the_design() -> None:
    """h_n = SHA-256(h_{n-1} || SHA-256(row_n)), computed here by hand."""
    from hashlib import sha256

    head = bytes(32)
    for row in whole_life()[0]:
        text = json.dumps([3, row.seq, str(row.kind), row.body])
        head = sha256(head + sha256(text.encode()).digest()).digest()
        assert row.head == head


def changed_values(body: dict) -> list[dict]:
    """``body`` with each of its values changed, one at a time."""
    out = []
    for name, value in body.items():
        if isinstance(value, dict):
            out += [{**body, name: inner} for inner in changed_values(value)]
        elif isinstance(value, list):
            out += [{**body, name: inner} for inner in changed_lists(value)]
        elif isinstance(value, bool):
            out.append({**body, name: not value})
        else:
            out.append({**body, name: f"{value}x" if isinstance(value, str) else 7})
        out.append({k: v for k, v in body.items() if k != name})
    return [*out, {**body, "more": 1}]


def changed_lists(items: list) -> list[list]:
    """``items`` with one of them changed, missing, repeated, or all in reverse."""
    out = [[*items, items[0]]]
    for i, item in enumerate(items):
        out.append([*items[:i], *items[i + 1 :]])
        out += [[*items[:i], x, *items[i + 1 :]] for x in changed_values(item)]
    return out if len(items) == 1 else [*out, items[::-1]]


def compact(body: dict) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"))


def tampered(row: Row) -> list[Row]:
    flips = [
        row.head[:i] + bytes([row.head[i] ^ 1]) + row.head[i + 1 :] for i in (0, 31)
    ]
    return [
        *(replace(row, seq=row.seq + by) for by in (-1, 1)),
        *(replace(row, kind=kind) for kind in Kind if kind is not row.kind),
        *(replace(row, body=compact(b)) for b in changed_values(json.loads(row.body))),
        replace(row, body=row.body + " "),
        *(replace(row, head=head) for head in flips),
    ]


def test_any_change_of_any_field_of_any_row_is_found() -> None:
    rows, _ = whole_life()
    count = 0
    for i, row in enumerate(rows):
        for other in tampered(row):
            assert other != row
            with pytest.raises(IntegrityError):
                replay([*rows[:i], other, *rows[i + 1 :]])
            count += 1
    assert count > 300


def test_a_missing_or_moved_row_is_found() -> None:
    rows, book = whole_life()
    for i in range(len(rows) - 1):
        with pytest.raises(IntegrityError):
            replay([*rows[:i], *rows[i + 1 :]])
        with pytest.raises(IntegrityError):
            replay([*rows[:i], rows[i + 1], rows[i], *rows[i + 2 :]])
        with pytest.raises(IntegrityError):
            replay([*rows[: i + 1], rows[i], *rows[i + 1 :]])
        cut = replay(rows[: i + 1])
        assert (cut.seq, cut.head) != (book.seq, book.head)
    assert len({row.head for row in rows}) == len(rows)


def forged(*steps: tuple[Kind, dict | str]) -> list[Row]:
    """A chain without a broken link, by somebody who knows how links are made."""
    rows, head = [], bytes(32)
    for seq, (kind, body) in enumerate(steps, 1):
        text = body if isinstance(body, str) else compact(body)
        row = Row(seq, kind, text, b"")
        rows.append(replace(row, head=link(head, row)))
        head = rows[-1].head
    return rows


def bodies() -> list[tuple[Kind, dict]]:
    return [(row.kind, json.loads(row.body)) for row in whole_life()[0]]


def test_a_forged_chain_of_legal_rows_is_told_by_its_head_only() -> None:
    steps = bodies()
    assert replay(forged(*steps)) == whole_life()[1]
    kind, body = steps[2]
    other = replay(forged(*steps[:2], (kind, {**body, "digest": "else"}), *steps[3:]))
    assert other.seq == whole_life()[1].seq
    assert other.head != whole_life()[1].head


def bad_rows() -> dict[str, tuple[Kind, dict | str]]:
    """Rows that may not follow the first two of ``whole_life``."""
    (_, cap_body), (_, plan_body) = bodies()[:2]
    again = {**plan_body, "run": "z"}
    (part,) = plan_body["parts"]
    step = {"run": "a", "round": 1, "digest": "d"}
    outsider = part["per_round"]["outsider"]
    record = {who: {**e, "unit": "record"} for who, e in part["per_round"].items()}
    elsewhere = {**part, "per_round": record}

    def with_parts(*parts: dict) -> tuple[Kind, dict]:
        return Kind.RESERVED, {**again, "parts": list(parts)}

    return {
        "not JSON": (Kind.UNMASKING, "{"),
        "a list": (Kind.UNMASKING, "[]"),
        "a number": (Kind.RESERVED, "7"),
        "deep": (Kind.UNMASKING, "[" * 100_000),
        "keys in another order": (Kind.UNMASKING, '{"run":"a","round":1,"digest":"d"}'),
        "spaces": (Kind.UNMASKING, json.dumps(step, sort_keys=True)),
        "one more key": (Kind.UNMASKING, {**step, "more": 0}),
        "a round that is true": (Kind.UNMASKING, {**step, "round": True}),
        "a round that is 1.0": (Kind.UNMASKING, {**step, "round": 1.0}),
        "a digest that is a number": (Kind.UNMASKING, {**step, "digest": 7}),
        "no digest": (Kind.UNMASKING, {**step, "digest": None}),
        "a run that is a list": (Kind.UNMASKING, {**step, "run": []}),
        "a refund that is 1": (Kind.ABORTED, {"run": "a", "round": 1, "refund": 1}),
        "the second round first": (Kind.UNMASKING, {**step, "round": 2}),
        "released only": (Kind.RELEASED, step),
        "another schema": (Kind.OPENED, {**cap_body, "unit": "record", "schema": 2}),
        "an unknown currency": (
            Kind.OPENED,
            {**cap_body, "unit": "record", "currency": "rdp:1"},
        ),
        "a currency in other letters": (
            Kind.OPENED,
            {**cap_body, "unit": "record", "currency": "rdp:016"},
        ),
        "no currency": (
            Kind.OPENED,
            {k: v for k, v in cap_body.items() if k != "currency"} | {"unit": "record"},
        ),
        "a plan with a seed beside one without": (
            Kind.RESERVED,
            {**again, "seeded": True},
        ),
        "a seed that is 0": (Kind.RESERVED, {**again, "seeded": 0}),
        "closed twice over": (Kind.CLOSED, {"run": "a", "round": 1}),
        "closed and unknown": (Kind.CLOSED, {"run": "z"}),
        "the same cap": (Kind.OPENED, cap_body),
        "a cap of nothing": (
            Kind.OPENED,
            {**cap_body, "unit": "record", "epsilon": "0"},
        ),
        "the same run": (Kind.RESERVED, plan_body),
        "no rounds": with_parts({**part, "rounds": 0}),
        "a part of no rounds beside one of some": with_parts(
            part, {**part, "rounds": 0}
        ),
        "fewer rounds than none": with_parts(
            {**part, "rounds": 3}, {**part, "rounds": -1}
        ),
        "infinite rounds": (
            Kind.RESERVED,
            compact({**again, "parts": [{**part, "rounds": float("inf")}]}),
        ),
        "half a round": with_parts({**part, "rounds": 1.5}),
        "rounds that are true": with_parts({**part, "rounds": True}),
        "no parts": with_parts(),
        "parts that are a word": (Kind.RESERVED, {**again, "parts": "part"}),
        "parts that are one part": (Kind.RESERVED, {**again, "parts": part}),
        "no word about parts": (
            Kind.RESERVED,
            {k: v for k, v in again.items() if k != "parts"},
        ),
        "one more key in a part": with_parts({**part, "name": "training"}),
        "a plan of the schema before": (
            Kind.RESERVED,
            {k: v for k, v in again.items() if k != "parts"} | part,
        ),
        "a negative delta": (Kind.RESERVED, {**again, "delta": "-1e-06"}),
        "no delta": (Kind.RESERVED, {**again, "delta": "0.0"}),
        "a delta that is none": (Kind.RESERVED, {**again, "delta": "nan"}),
        "one adversary": with_parts({**part, "per_round": {"outsider": outsider}}),
        "one adversary in the second part": with_parts(
            part, {**part, "per_round": {"outsider": outsider}}
        ),
        "events in a list": with_parts({**part, "per_round": [outsider]}),
        "an event that is a word": with_parts(
            {**part, "per_round": {"outsider": "x", "server": "x"}}
        ),
        "a second part of another unit": with_parts(part, elsewhere),
        "events of another unit": (Kind.RESERVED, {**again, "unit": "record"}),
        "of an unknown unit": (Kind.RESERVED, {**again, "unit": "galaxy"}),
    }


@pytest.mark.parametrize("name", bad_rows())
def test_a_forged_row_that_is_not_legal_is_refused(name) -> None:
    with pytest.raises(IntegrityError, match="row 3"):
        replay(forged(*bodies()[:2], bad_rows()[name]))


def test_numbers_in_rows_are_exact() -> None:
    body = json.loads(ledger.open_cap(Book(), cap(epsilon=0.1, delta=1 / 3)).body)
    assert (float(body["epsilon"]), float(body["delta"])) == (0.1, 1 / 3)
    third = GaussianSum(Unit.USER, ZERO_OUT, 10**30 + 1, Fraction(10**40, 3), 8)
    exact = replace(plan(), parts=(Part(3, dict.fromkeys(Adversary, third)),))
    rows, book = grow(lambda b: ledger.reserve(b, exact), book=opened(cap(epsilon=1e9)))
    assert book.accounts["a"].reservation == exact
    assert all("epsilon" not in json.loads(row.body) for row in rows)


def test_a_legal_plan_of_parts_is_not_refused() -> None:
    """The rows above are refused for what is wrong with them, and only for that."""
    (_, _), (_, body) = bodies()[:2]
    several = {**body, "run": "z", "parts": body["parts"] * 3}
    book = replay(forged(*bodies()[:2], (Kind.RESERVED, several)))
    assert book.accounts["z"].used == (0, 0, 0)
    assert book.accounts["z"].reservation.rounds == 9


def test_numbers_run_through_the_parts_in_their_order() -> None:
    made = plan("a", 3, 1, 2)
    assert (made.rounds, made.firsts) == (6, (1, 4, 5))
    assert [made.position(n) for n in range(1, 7)] == [0, 0, 0, 1, 2, 2]


def test_the_price_of_a_plan_is_that_of_all_its_parts_together() -> None:
    """Gaussians of 3 at z^2 = 64 and 2 at z^2 = 128 are one with mu^2 = 4/64."""
    made = plan("a", 3, 2)
    four = plan("b", 4)
    assert made.epsilon(OUTSIDER) == pytest.approx(four.epsilon(OUTSIDER), rel=1e-9)
    apart = plan("c", 3).epsilon(OUTSIDER) + made.epsilon(OUTSIDER, (0, 2))
    assert made.epsilon(OUTSIDER) < 0.8 * apart
    assert made.epsilon(OUTSIDER, (3, 0)) == plan("c", 3).epsilon(OUTSIDER)
    assert made.epsilon(OUTSIDER, (0, 0)) == 0
    with pytest.raises(ValueError, match="shorter"):
        made.epsilon(OUTSIDER, (3,))


def test_parts_of_different_mechanisms_are_priced_in_one_list() -> None:
    """Against the accountant that is asked for the events one by one."""
    drawn = PoissonGaussianSum(Unit.USER, ZERO_OUT, Fraction(1, 2), 1, Fraction(400), 8)
    other = GaussianSum(Unit.USER, ZERO_OUT, 1, Fraction(400), 36)
    parts = tuple(
        Part(count, dict.fromkeys(Adversary, event))
        for count, event in ((4, drawn), (1, other))
    )
    made = replace(plan(), parts=parts)
    expected = epsilon([drawn] * 4 + [other], made.delta).epsilon
    assert made.epsilon(OUTSIDER) == pytest.approx(expected, rel=1e-12)
    alone = [
        epsilon_of([(e, n)], made.delta).epsilon for n, e in ((4, drawn), (1, other))
    ]
    assert max(alone) < made.epsilon(OUTSIDER) < sum(alone)


def test_a_row_has_one_byte_form() -> None:
    body = {"b": 1, "a": "é"}
    same = {"a": "é", "b": 1}
    first = next_row(0, bytes(32), Kind.OPENED, body)
    assert first == next_row(0, bytes(32), Kind.OPENED, same)
    assert first.body == '{"a":"\\u00e9","b":1}'
