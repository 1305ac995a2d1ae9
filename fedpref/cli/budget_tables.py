"""How ``fedpref budget`` shows plans and ledgers on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from fedpref.core.book import Book
from fedpref.core.rows import Cap, Row
from fedpref.core.types import Adversary, Unit
from fedpref.planning import Answer
from fedpref.report import budget, budget_plan, budget_runs
from fedpref.report.budget_statement import epsilon, left
from fedpref.report.words import delta_text

if TYPE_CHECKING:
    from fedpref.report.cross_check import Opinion


def show_plan(answer: Answer, rows: Sequence[Answer]) -> None:
    """A plan: its numbers, the table over epsilons, what buys what, in words."""
    console, asked = _console(), answer.question
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in budget_plan.headline(answer):
        table.add_row(name, value)
    console.print(table)
    console.print()
    strength = budget_plan.strength(answer.price, asked.chosen_delta, asked.unit)
    console.print(f"Against outsiders. {strength}")
    _list(console, "", budget_plan.warnings(answer))
    _epsilons(console, answer, rows)
    _list(console, "What each assumption buys", budget_plan.buys(answer))
    _list(console, "Assumed", budget_plan.assumptions(answer))
    _list(console, "Left open", budget_plan.LEAVES_OPEN[asked.unit])


def _epsilons(console: Console, answer: Answer, rows: Sequence[Answer]) -> None:
    taken = budget_plan.taken(answer)
    table = Table(title=f"{taken} by epsilon", title_justify="left")
    table.add_column("epsilon", justify="right")
    table.add_column(taken, justify="right")
    summed = answer.multiplier is not None
    if summed:
        table.add_column("noise on average, clips", justify="right")
    table.add_column("best guess", justify="right")
    table.add_column("")
    for line in budget_plan.lines(answer, rows):
        noise = [line.noise] if summed else []
        table.add_row(f"{line.epsilon:g}", line.takes, *noise, line.guess, line.bar)
    console.print()
    console.print(table)
    if missing := budget_plan.missing(rows):
        out = ", ".join(f"{value:g}" for value in missing)
        console.print(f"Not reachable: epsilon {out}.")


def show_book(book: Book, found: dict[str, Any]) -> None:
    """A ledger: totals by unit and adversary, runs, burn-down."""
    console = _console()
    if not book.caps:
        console.print("The ledger is empty: no cap was opened, nothing was reserved.")
    for unit, cap in book.caps.items():
        console.print(
            f"{cap.population}, {cap.window}: at most epsilon {epsilon(cap.epsilon)} "
            f"per {unit} against the {cap.against}, delta {delta_text(cap.delta)} "
            f"({cap.relation}; plans add up: {cap.currency})"
        )
        _totals(console, found["units"][unit.value])
        _claim(console, cap)
        _runs(console, book, unit)
        _burn_down(console, book, unit)
    if "next_run" in found:
        console.print(budget.next_run_words(found["next_run"]))
    console.print(f"head {found['head']}", soft_wrap=True)
    console.print("Note the head elsewhere: verify --head finds what was taken out.")


def _claim(console: Console, cap: Cap) -> None:
    if cap.currency.adaptive:
        console.print(
            "Plans may be chosen by earlier results, so what is promised is the cap; "
            "left is what one more plan may cost at its delta."
        )


def _totals(console: Console, values: dict[str, Any]) -> None:
    table = Table()
    for column in ("against", "spent", "reserved, spent included", "left"):
        table.add_column(column, justify="left" if column == "against" else "right")
    for who in Adversary:
        cells = (epsilon(values[name][who]) for name in ("spent", "reserved"))
        table.add_row(str(who), *cells, left(values["left"][who.value]))
    console.print(table)
    console.print(
        f"{values['rounds']} rounds charged; delta {delta_text(values['delta'])} "
        "reserved"
    )


def _runs(console: Console, book: Book, unit: Unit) -> None:
    runs = budget_runs.runs(book, unit)
    if not runs:
        return
    table = Table(title="runs", title_justify="left")
    table.add_column("run", no_wrap=True)
    for name in ("rounds", "released", "refunded", "spent", "reserved"):
        table.add_column(name, justify="right")
    table.add_column("")
    against = book.caps[unit].against.value
    for run in runs:
        table.add_row(
            _short(run["run"]),
            budget_runs.rounds_text(run).replace(" + ", "\n"),
            str(run["rounds_released"]),
            str(run["refunded"]),
            epsilon(run["spent"][against]),
            epsilon(run["reserved"][against]),
            run["state"],
        )
    console.print(table)
    _parts(console, [run for run in runs if len(run["parts"]) > 1], against)


def _parts(console: Console, runs: Sequence[dict[str, Any]], against: str) -> None:
    """What the rounds of each part release, for plans with several kinds."""
    if not runs:
        return
    title = f"parts: what one round releases to the {against}"
    table = Table(title=title, title_justify="left")
    table.add_column("run")
    for column in ("number", "charged", "reserved"):
        table.add_column(column, justify="right")
    table.add_column("one round")
    for run in runs:
        for part in run["parts"]:
            counts = (str(part[name]) for name in ("rounds_charged", "rounds_held"))
            numbers = budget_runs.numbers_text(part)
            what = part["releases"][against]
            table.add_row(_short(run["run"]), numbers, *counts, what)
    console.print(table)


def _burn_down(console: Console, book: Book, unit: Unit) -> None:
    points = budget.burn_down(book, unit)
    if not points:
        return
    cap = book.caps[unit]
    table = Table(title="burn-down: what is unspent of the cap", title_justify="left")
    table.add_column("run")
    for column in ("round", "spent by then", "unspent"):
        table.add_column(column, justify="right")
    table.add_column("")
    unspent = [cap.epsilon, *(point.left for point in points)]
    bars = budget_plan.bar_chart([max(0.0, value) for value in unspent])
    table.add_row("", "", "0", budget.left_text(cap.epsilon), bars[0])
    for point, bar in zip(points, bars[1:], strict=True):
        cells = (str(point.number), epsilon(point.spent), budget.left_text(point.left))
        table.add_row(_short(point.run), *cells, bar)
    console.print(table)


def show_verified(
    book: Book,
    rows: Sequence[Row],
    opinions: "Sequence[Opinion] | None",
    *,
    noted: bool,
) -> None:
    """What was checked, and every epsilon as it was recomputed."""
    console = _console()
    console.print(f"The chain of {len(rows)} rows is whole and every step is legal.")
    console.print(f"head {budget.head_text(book)}", soft_wrap=True)
    if not noted:
        console.print(
            "An export alone does not show whether rows were cut off at its end: "
            "compare with a head that was noted elsewhere (--head SEQ:HASH)."
        )
    table = Table(title="epsilon, recomputed from the rows", title_justify="left")
    table.add_column("run")
    for column in ("unit", "rounds", "server", "outsider", "delta"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for unit in book.caps:
        for run in budget_runs.runs(book, unit):
            table.add_row(
                _short(run["run"]),
                str(unit),
                budget_runs.planned_text(run),
                epsilon(run["reserved"]["server"]),
                epsilon(run["reserved"]["outsider"]),
                delta_text(run["delta"]),
            )
    console.print(table)
    if opinions is not None:
        _opinions(console, opinions)


def _opinions(console: Console, opinions: "Sequence[Opinion]") -> None:
    if not opinions:
        console.print("Cross-check: no plan with a finite epsilon from noisy sums.")
        return
    table = Table(title="cross-check", title_justify="left")
    table.add_column("run")
    table.add_column("against")
    for column in ("PRV, low", "PRV, high", "fedpref", "Opacus RDP"):
        table.add_column(column, justify="right")
    for one in opinions:
        bracket = ("–" if v is None else f"{v:.5g}" for v in (one.low, one.high))
        numbers = (f"{one.ours:.5g}", f"{one.rdp:.5g}")
        table.add_row(_short(one.run), str(one.adversary), *bracket, *numbers)
    console.print(table)
    console.print("No epsilon is below what can be true.")


def _short(run: str) -> str:
    """Enough of a run's random name to tell it from the others; JSON has all of it."""
    return run[:12]


def _list(console: Console, title: str, lines: Any) -> None:
    found = list(lines)
    if title and found:
        console.print(f"\n{title}")
    for line in found:
        console.print(f"* {line}")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False, markup=False, emoji=False)
