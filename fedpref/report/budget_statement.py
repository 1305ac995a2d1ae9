"""What a ledger promises about a population: for machines, and on one plain page.

Guarantees: every number is derived from the rows; whatever has no wording here is
refused, never described by the nearest thing; infinite is said to be infinite, and
seeded runs to be not private. Does not know of releases that were never booked.
"""

from collections.abc import Iterator
from math import isinf
from pathlib import Path
from typing import Any

from fedpref.core.events import Event, GaussianSum, NonPrivate, PoissonGaussianSum
from fedpref.core.events import RandomisedResponse as Response
from fedpref.core.ledger import Book
from fedpref.core.rows import Cap
from fedpref.core.types import Adversary, Unit
from fedpref.errors import InputError
from fedpref.report import budget, words
from fedpref.report.budget_plan import LEAVES_OPEN, UNIT_WORDS, strength
from fedpref.report.statement import EVERY_UPDATE, MODEL, best_guess

FORMAT = "fedpref-ledger-statement/1"
HERE = Path(__file__).parent
SEEDED = "seeded-"  # how the name of a run begins that anybody can repeat

RELATIONS = {
    "zero-out": "one contribution becomes zero, and its owner still takes part",
    "replace-label": "one label becomes another one",
}
SEES = {Adversary.SERVER: EVERY_UPDATE, Adversary.OUTSIDER: MODEL}
NAMES = {
    Adversary.SERVER: "the server that runs the training",
    Adversary.OUTSIDER: "everybody who sees only what was released",
}
ASSUMPTIONS = (
    "the server clips, sums and adds noise as planned, keeps the updates to itself, "
    "and draws the noise from operating-system entropy",
    "every release about these people is in this ledger",
    "one person is one identity, and is in this data once",
    "who is online does not depend on the answers",
    "rounds, noise and sampling of each plan were fixed before its first release",
)
SECRET_DRAW = (
    "who was drawn for a sampled round is known to the server and members only"
)
NOT_PROTECTED = (
    "texts, options and attributes on offer: they count as public",
    "clip, learning rate and rounds, where they were chosen by looking at these people",
    "anything that the same people gave to others, or to a run with another ledger",
)
ENFORCED = (
    "The server's ledger: it reserves each plan whole before anybody is asked, "
    "charges a round before anything of it is released, and refuses what does not fit "
    "under the cap. Devices keep no ledger of their own yet, so the server is trusted "
    "not to throw this one away."
)


def statement(book: Book) -> dict[str, Any]:
    """The machine-readable statement of a whole ledger.

    Raises:
        InputError: The ledger is empty.
    """
    if not book.caps:
        raise InputError("the ledger is empty: no cap was opened, nothing is promised")
    first = next(iter(book.caps.values()))
    seeded = [name for name in book.accounts if name.startswith(SEEDED)]
    units = {unit.value: _unit(book, cap) for unit, cap in book.caps.items()}
    return {
        "format": FORMAT,
        "head": budget.head_text(book),
        "population": first.population,
        "window": first.window,
        "summary": list(_summary(book, first, len(seeded))),
        "private": not seeded
        and not any(isinf(book.claimed(u, Adversary.OUTSIDER)) for u in book.caps),
        "seeded_runs": seeded,
        "units": units,
        "duration": duration(first),
        "composition": "each plan is priced whole, by the smaller total of two "
        "accountants (PLD and RDP); plans add by epsilon and delta; epsilons of "
        "different units are never added",
        "enforced_by": ENFORCED,
        "assumptions": [*ASSUMPTIONS, *([SECRET_DRAW] if _sampled(book) else [])],
        "not_protected": list(_open(book, bool(seeded))),
    }


def _unit(book: Book, cap: Cap) -> dict[str, Any]:
    unit = cap.unit
    return {
        "meaning": UNIT_WORDS[unit],
        "relation": cap.relation.value,
        "relation_meaning": f"neighbouring data sets: {RELATIONS[cap.relation.value]}",
        "cap": {
            "epsilon": words.number(cap.epsilon),
            "delta": cap.delta,
            "against": cap.against.value,
        },
        "delta": book.delta(unit),
        "adversaries": {who.value: _adversary(book, unit, who) for who in Adversary},
        "mechanisms": sorted(
            {
                mechanism(account.reservation.per_round[Adversary.OUTSIDER])
                for account in book.of(unit)
            }
        ),
        "runs": budget.runs(book, unit),
    }


def _adversary(book: Book, unit: Unit, who: Adversary) -> dict[str, Any]:
    promised = book.claimed(unit, who)
    seeded = any(a.reservation.run.startswith(SEEDED) for a in book.of(unit))
    holds = not isinf(promised) and not seeded
    delta = book.delta(unit)
    return {
        "who": NAMES[who],
        "sees": SEES[who],
        "reserved": words.number(promised),
        "spent": words.number(book.spent(unit, who)),
        "left": words.number(budget.left(book, unit, who)),
        "delta": delta if holds else None,
        "holds": holds,
        "best_guess": best_guess(promised, delta) if holds else 1.0,
        "in_words": _in_words(promised, delta, unit, seeded),
    }


def _in_words(promised: float, delta: float, unit: Unit, seeded: bool) -> str:
    if isinf(promised):
        return "Nothing is promised: epsilon is infinite."
    if seeded:
        return "Nothing is promised: some run used a seed, which takes its noise away."
    if promised == 0:
        return "Nothing was released so far."
    return strength(promised, delta, unit)


def mechanism(event: Event) -> str:
    """What one round releases to outsiders, in words."""
    if isinstance(event, NonPrivate):
        return "sums without noise"
    if isinstance(event, GaussianSum):
        return f"sums with Gaussian noise, multiplier {event.noise_multiplier:.4g}"
    if isinstance(event, PoissonGaussianSum):
        return (
            f"sums with Gaussian noise, multiplier {event.noise_multiplier:.4g}, over "
            f"people drawn in secret, each with chance {float(event.sampling_prob):.4g}"
        )
    if isinstance(event, Response):
        kept = f"kept with chance {float(event.keep):.4g}"
        return f"labels of {event.options} options, {kept}"
    raise InputError(
        f"event = {type(event).__name__}: no statement is written for it; use a "
        "version of fedpref that knows it"
    )


def duration(cap: Cap) -> str:
    """For how long the numbers hold."""
    return (
        f"For data of {cap.window}, and for good: what was spent on these people does "
        "not come back, and stopping a plan early returns nothing. Only data of a new "
        "window can have a budget of its own, and a person who is in both has both."
    )


def _summary(book: Book, cap: Cap, seeded: int) -> Iterator[str]:
    for unit in book.caps:
        if isinf(book.claimed(unit, Adversary.OUTSIDER)):
            yield "Without noise: epsilon is infinite against everybody, and is booked."
            break
    if seeded:
        yield (
            f"{seeded} of {len(book.accounts)} runs used a seed: they can be repeated "
            "and are NOT private."
        )
    yield (
        f"This is about the people of {cap.population}, and their data of {cap.window}."
    )
    for unit, limit in book.caps.items():
        for who in (Adversary.OUTSIDER, Adversary.SERVER):
            yield _promise(book, unit, who)
        if isinf(limit.epsilon):
            yield f"No limit is set per {unit}: more runs may be added without end."
        else:
            yield (
                f"All runs together may never cost more than epsilon "
                f"{words.epsilon_text(limit.epsilon)} per {unit} against the "
                f"{limit.against}; a run beyond that is refused."
            )


def _promise(book: Book, unit: Unit, who: Adversary) -> str:
    promised = book.claimed(unit, who)
    if isinf(promised):
        return f"Against {NAMES[who]}: nothing (epsilon is infinite)."
    return (
        f"Against {NAMES[who]}: epsilon {words.epsilon_text(promised)} at delta "
        f"{words.delta_text(book.delta(unit))} per {unit}, of which "
        f"{words.epsilon_text(book.spent(unit, who))} is spent."
    )


def _open(book: Book, seeded: bool) -> Iterator[str]:
    if seeded:
        yield (
            "anybody, in the runs with a seed: whoever knows it can take the noise away"
        )
    for unit in book.caps:
        yield from (text.rstrip(".") for text in LEAVES_OPEN[unit])
    yield from NOT_PROTECTED


def _sampled(book: Book) -> bool:
    return any(
        isinstance(event, PoissonGaussianSum)
        for account in book.accounts.values()
        for event in account.reservation.per_round.values()
    )


def markdown(found: dict[str, Any]) -> str:
    """The statement on one page of Markdown."""
    return _render("budget.md.j2", found, escape=False)


def html(found: dict[str, Any]) -> str:
    """The statement as one HTML page that needs no network."""
    return _render("budget.html.j2", found, escape=True)


def _render(template: str, found: dict[str, Any], *, escape: bool) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "epsilon": epsilon,
        "delta": words.delta_text,
        "left": left,
    }
    css = (HERE / "report.css").read_text(encoding="utf-8")
    page = environment.get_template(template).render(
        found=found, css=Markup(css), names=NAMES, plain=_plain
    )
    return page.rstrip() + "\n"


def epsilon(value: float | str | None) -> str:
    """An epsilon of the JSON for readers.

    >>> epsilon("inf"), epsilon(None), epsilon(1.0001)
    ('infinite', '–', '1.01')
    """
    return "–" if value is None else words.epsilon_text(float(value))


def left(value: float | str | None) -> str:
    """What is left, for readers; never more than there is.

    >>> left(None), left(1.0099)
    ('no cap', '1.00')
    """
    return "no cap" if value is None else budget.left_text(value)


def _plain(text: str) -> str:
    """Text from the ledger, with nothing that Markdown would act on."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|" else c for c in text)
