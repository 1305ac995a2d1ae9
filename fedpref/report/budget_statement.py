"""What a ledger promises about a population: for machines, and on one plain page.

Guarantees: every number is derived from the rows; whatever has no wording here is
refused, never described by the nearest thing; infinite is said to be infinite, and
seeded runs to be not private. Does not know of releases that were never booked.
"""

from collections.abc import Iterator, Sequence
from math import isinf
from typing import Any

from fedpref.core.book import Account, Book
from fedpref.core.currencies import Sum
from fedpref.core.events import Event, NonPrivate, PoissonGaussianSum, PoissonSkellamSum
from fedpref.core.rows import Cap
from fedpref.core.types import Adversary, Unit
from fedpref.errors import InputError
from fedpref.report import budget, budget_runs, words
from fedpref.report.budget_plan import LEAVES_OPEN, UNIT_WORDS, strength
from fedpref.report.mechanisms import mechanism
from fedpref.report.rendering import render
from fedpref.report.statement import best_guess
from fedpref.report.wording import EVERY_UPDATE, MASKED_UPDATES, MODEL

FORMAT = "fedpref-ledger-statement/1"

RELATIONS = {
    "zero-out": "one contribution becomes zero, and its owner still takes part",
    "replace-label": "one label becomes another one",
}
NAMES = {
    Adversary.SERVER: "the server that runs the training",
    Adversary.OUTSIDER: "everybody who sees only what was released",
}
TRUSTED_SERVER = (
    "the server clips, sums and adds noise as planned, keeps the updates to itself, "
    "and draws the noise from operating-system entropy",
)
SECURE_SUM = (
    "where noise is distributed: in no round more devices are bad than its plan allows "
    "for, the roster of devices is signed by an authority that is not the server, and "
    "X25519, Ed25519, HKDF-SHA256, AES-256 and SHA-256 hold",
)
ASSUMPTIONS = (
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
EARLY = {
    False: "stopping a plan early returns nothing",
    True: "a plan that is closed early returns only rounds that never happened",
}
ONE_UNIT = "epsilons of different units are never added"
COMPOSITION = {
    Sum.SEALED: "each plan is priced whole: exactly where no round is sampled, "
    "otherwise by the smaller total of two accountants (PLD and RDP); plans add by "
    f"epsilon and delta; {ONE_UNIT}",
    Sum.GAUSSIAN: "squared sensitivity over variance of all releases adds up; the cap "
    "was fixed before the first, so plans may be chosen by what was seen, and the cap "
    f"is the claim; {ONE_UNIT}",
    Sum.RDP: "Rényi divergence of all releases at one order adds up; order and cap "
    "were fixed before the first, so plans may be chosen by what was seen, and the "
    f"cap is the claim; {ONE_UNIT}",
}
ENFORCED = (
    "The server's ledger: it reserves each plan whole before anybody is asked, "
    "charges a round before anything of it is released, and refuses what does not fit "
    "under the cap. Devices keep no ledger of their own yet, so the server is trusted "
    "not to throw this one away."
)


BOOKED = (
    "Nobody limits it: no cap is set. The server's ledger books each plan whole before "
    "anybody is asked, and a round before anything of it is released."
)


def statement(book: Book) -> dict[str, Any]:
    """The machine-readable statement of a whole ledger.

    Raises:
        InputError: The ledger is empty.
    """
    if not book.caps:
        raise InputError("the ledger is empty: no cap was opened, nothing is promised")
    first = next(iter(book.caps.values()))
    seeded = [n for n, account in book.accounts.items() if account.reservation.seeded]
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
        "composition": {
            unit.value: COMPOSITION[cap.currency.sum] for unit, cap in book.caps.items()
        },
        "enforced_by": ENFORCED if _limited(book) else BOOKED,
        "assumptions": [
            *(TRUSTED_SERVER if _readable(book) else ()),
            *(SECURE_SUM if _secure(book) else ()),
            *ASSUMPTIONS,
            *([SECRET_DRAW] if _sampled(book) else []),
        ],
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
            "currency": str(cap.currency),
        },
        "delta": book.delta(unit),
        "adversaries": {who.value: _adversary(book, unit, who) for who in Adversary},
        "mechanisms": sorted(
            {
                mechanism(event)
                for account in book.of(unit)
                for event in _events(account, Adversary.OUTSIDER)
            }
        ),
        "runs": budget_runs.runs(book, unit),
    }


def _adversary(book: Book, unit: Unit, who: Adversary) -> dict[str, Any]:
    promised = book.promised(unit, who)
    seeded = any(a.reservation.seeded for a in book.of(unit))
    unmasked = who is Adversary.SERVER and _unmasked(book.of(unit)) > 0
    holds = not isinf(promised) and not seeded and not unmasked
    delta = book.delta(unit)
    return {
        "who": NAMES[who],
        "sees": _sees(book, unit, who),
        "promised": words.number(promised),
        "reserved": words.number(book.claimed(unit, who)),
        "spent": words.number(book.spent(unit, who)),
        "left": words.number(budget.left(book, unit, who)),
        "delta": delta if holds else None,
        "holds": holds,
        "best_guess": best_guess(promised, delta) if holds else 1.0,
        "in_words": _in_words(promised, delta, unit, seeded, unmasked),
    }


def _sees(book: Book, unit: Unit, who: Adversary) -> str:
    if who is Adversary.OUTSIDER:
        return MODEL
    plans = book.of(unit)
    plain = any(map(_bare, plans)) or _unmasked(plans) > 0
    return EVERY_UPDATE if plain else MASKED_UPDATES


def _unmasked(plans: Sequence[Account]) -> int:
    """How many of them left the masks out."""
    return sum(account.reservation.unmasked for account in plans)


def _bare(account: Account) -> bool:
    """Whether the server of this plan reads contributions, in any part of it."""
    seen = _events(account, Adversary.SERVER)
    return any(isinstance(event, NonPrivate) for event in seen)


def _events(account: Account, who: Adversary) -> list[Event]:
    """What ``who`` sees in each part of a plan."""
    return [event for event, _ in account.reservation.counts(who)]


def _readable(book: Book) -> bool:
    return any(_bare(account) for account in book.accounts.values())


def _secure(book: Book) -> bool:
    return any(
        not isinstance(event, NonPrivate)
        for account in book.accounts.values()
        for event in _events(account, Adversary.SERVER)
    )


def _in_words(
    promised: float, delta: float, unit: Unit, seeded: bool, unmasked: bool
) -> str:
    if isinf(promised):
        return "Nothing is promised: epsilon is infinite."
    if seeded:
        return "Nothing is promised: some run used a seed, which takes its noise away."
    if promised == 0:
        return "Nothing was released so far."
    if unmasked:
        return (
            "Nothing is promised: some run summed without masks. The same plans cost "
            f"epsilon {promised:.3g} under the protocol."
        )
    return strength(promised, delta, unit)


def duration(cap: Cap) -> str:
    """For how long the numbers hold."""
    return (
        f"For data of {cap.window}, and for good: what was spent on these people does "
        f"not come back, and {EARLY[cap.currency.adaptive]}. Only data of a new "
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
    if unmasked := _unmasked(list(book.accounts.values())):
        yield (
            f"{unmasked} of {len(book.accounts)} runs summed without masks: nothing is "
            "promised against their server."
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
    promised = book.promised(unit, who)
    if isinf(promised):
        return f"Against {NAMES[who]}: nothing (epsilon is infinite)."
    spent = words.epsilon_text(book.spent(unit, who))
    adaptive = book.caps[unit].currency.adaptive
    open_sums = who is Adversary.SERVER and _unmasked(book.of(unit)) > 0
    said = " as if run with the protocol" if open_sums else ""
    return (
        f"Against {NAMES[who]}{said}: epsilon {words.epsilon_text(promised)} at delta "
        f"{words.delta_text(book.delta(unit))} per {unit}, "
        + (
            f"which is the cap; {spent} so far."
            if adaptive
            else f"of which {spent} is spent."
        )
    )


def _open(book: Book, seeded: bool) -> Iterator[str]:
    if seeded:
        yield (
            "anybody, in the runs with a seed: whoever knows it can take the noise away"
        )
    for unit in book.caps:
        yield from (text.rstrip(".") for text in LEAVES_OPEN[unit])
    yield from NOT_PROTECTED


def _limited(book: Book) -> bool:
    return not any(isinf(cap.epsilon) for cap in book.caps.values())


def _sampled(book: Book) -> bool:
    return any(
        isinstance(event, PoissonGaussianSum | PoissonSkellamSum)
        for account in book.accounts.values()
        for who in Adversary
        for event in _events(account, who)
    )


def markdown(found: dict[str, Any]) -> str:
    """The statement on one page of Markdown."""
    return _render("budget.md.j2", found, escape=False)


def html(found: dict[str, Any]) -> str:
    """The statement as one HTML page that needs no network."""
    return _render("budget.html.j2", found, escape=True)


def _render(template: str, found: dict[str, Any], *, escape: bool) -> str:
    filters = {"epsilon": epsilon, "delta": words.delta_text, "left": left}
    values = {
        "found": found,
        "cap": _cap,
        "plain": _plain,
        "numbers": budget_runs.numbers_text,
    }
    page = render(template, values, filters=filters, escape=escape)
    return page.rstrip() + "\n"


def _cap(cap: dict[str, Any]) -> str:
    if cap["epsilon"] == "inf":
        return "no cap is set: more runs may be added without end"
    return f"the cap is epsilon {epsilon(cap['epsilon'])} against the {cap['against']}"


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
