"""A plan on paper, in JSON and in words: what it costs and what each assumption buys.

Guarantees: every number comes from ``fedpref.planning``; an epsilon is never written
smaller than it is; infinite is said to be infinite. Does not compute prices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from fedpref.core.types import Adversary, Unit
from fedpref.planning import EPSILONS, Answer
from fedpref.questions import LARGEST_EPSILON, MOST_ROUNDS, Place, Takes
from fedpref.report import budget_secure
from fedpref.report.statement import best_guess
from fedpref.report.words import delta_text, epsilon_text, number, percent

WIDTH = 24

UNIT_WORDS = {
    Unit.USER: "everything that one person contributes, in all rounds together",
    Unit.RECORD: "one record: a choice with all its pairs",
    Unit.LABEL: "the label of one record: which option was chosen",
}

LEAVES_OPEN = {
    Unit.USER: (
        "That a person takes part is not hidden; what they contribute is.",
        "Somebody with two identities has twice the epsilon.",
        "People whose answers are nearly alike are not protected jointly.",
    ),
    Unit.RECORD: (
        "A person as a whole: somebody with many records is protected less, down to "
        "not at all.",
        "That a person takes part, and how many records they have.",
    ),
    Unit.LABEL: (
        "The prompts, the options, the number of records and the fact of answering: "
        "nothing of these is protected.",
        "A person as a whole: somebody with m labels spends m times the epsilon.",
        "Noising the same label anew (a second device, a lost memory) costs epsilon "
        "again.",
    ),
}


@dataclass(frozen=True)
class Line:
    """One line of the table: an epsilon and what it takes, for a reader."""

    epsilon: float
    takes: str
    noise: str
    guess: str
    bar: str


def plan_json(answer: Answer) -> dict[str, Any]:
    """What ``fedpref budget plan --json`` prints."""
    asked = answer.question
    values: dict[str, Any] = {
        "noise_multiplier": _float(answer.multiplier),
        "epsilon": {str(who): number(eps) for who, eps in answer.epsilon.items()},
        "delta": asked.chosen_delta,
        "unit": asked.unit.value,
        "noise": asked.noise.value,
        "participation": asked.participation.value,
        "rounds": answer.rounds,
        "assumptions": list(assumptions(answer)),
    }
    if answer.keep is not None:
        values |= {"keep": float(answer.keep), "options": asked.options or 2}
    return values


def assumptions(answer: Answer) -> Iterator[str]:
    """What has to be true for the epsilons to hold."""
    asked = answer.question
    if asked.noise is Place.LABEL:
        yield "each label is noised on its owner's device and never leaves it as it is"
        yield "the noised label is remembered for ever and never drawn anew"
        yield "options are put in an order that does not depend on the choice"
        return
    if asked.noise is Place.DISTRIBUTED:
        yield from budget_secure.assumptions(answer)
        return
    yield (
        "the server keeps the updates to itself, clips and sums them as planned, adds "
        "all of the noise, and draws it from operating-system entropy"
    )
    yield "one person is one identity, and is in this data once"
    yield "who is online does not depend on the answers"
    yield (
        "rounds, noise and sampling are fixed before the first release, and stopping "
        "early returns nothing"
    )
    if answer.question.amplified:
        yield (
            f"the server draws each person with a fresh coin of probability "
            f"{asked.cohort}/{asked.users}, and keeps the draw secret"
        )
        yield "a round that has too few answers is not repeated with another draw"
    if asked.min_survivors is not None:
        least = asked.count(asked.min_survivors)
        yield f"a round with fewer than {least} of {asked.cohort} answers is given up"
    if asked.colluders is not None:
        yield f"at most {asked.count(asked.colluders)} people collude"


def buys(answer: Answer) -> Iterator[str]:
    """What each assumption is worth, in epsilon."""
    asked = answer.question
    if asked.noise is Place.LABEL:
        yield (
            "Noise on the owner's device: the same epsilon against everybody; nobody "
            "has to be trusted."
        )
        yield (
            "Remembering the noised label: any number of rounds and objectives for "
            "one epsilon; without it every round costs it again."
        )
        return
    if asked.noise is Place.DISTRIBUTED:
        yield from budget_secure.buys(answer)
        return
    price, outside = epsilon_text(answer.price), "against outsiders"
    yield (
        f"Trusting the server with the updates and the noise: epsilon {price} "
        f"{outside}. Against the server itself it buys nothing: infinite."
    )
    yield from _sampling(answer)
    if asked.min_survivors is not None or asked.colluders is not None:
        yield (
            "Least survivors and colluders: nothing here. The server adds all of the "
            "noise, however few answer and whoever colludes."
        )


def _sampling(answer: Answer) -> Iterator[str]:
    asked, price = answer.question, epsilon_text(answer.price)
    if asked.amplified:
        assert answer.unsampled is not None
        yield (
            f"The server's secret draw: epsilon {price} instead of "
            f"{_at_most(answer.unsampled)} against people who are not enrolled. "
            "Against the server and the members, who see the cohort, it buys nothing."
        )
    elif asked.participation is Takes.SERVER:
        why = (
            "everybody is drawn"
            if asked.cohort == asked.users
            else "the other records of a person show whether they were drawn"
        )
        yield f"The server's secret draw: nothing, because {why}."
    elif answer.sampled is not None:
        yield (
            f"--participation {asked.participation}: nothing is gained by sampling. "
            f"With a secret draw of {asked.cohort} of {asked.users} people a round "
            f"(--participation server) the same noise would cost outsiders epsilon "
            f"{epsilon_text(answer.sampled)} instead of {price}."
        )


def strength(epsilon: float, delta: float, unit: Unit) -> str:
    """An epsilon in words, as odds that anybody can picture."""
    secret = {
        Unit.USER: "whether a person's contribution was used",
        Unit.RECORD: "whether a record was used",
        Unit.LABEL: "which of two options was chosen",
    }[unit]
    odds = (
        f"somebody who knows everything else, and guesses at even odds {secret}, is "
        f"right at most {guess(epsilon, delta)} of the time"
    )
    if epsilon > 8:
        return f"Epsilon above 8 protects little: {odds}."
    if epsilon > 3:
        return f"Some protection, to be backed by other measures: {odds}."
    return f"Meaningful protection: {odds}."


def guess(epsilon: float, delta: float) -> str:
    """How often the best attacker is right, rounded up.

    >>> guess(1.0, 0.0)
    '73.2\\xa0%'
    """
    return percent(min(1.0, ceil(1000 * best_guess(epsilon, delta)) / 1000))


def warnings(answer: Answer) -> Iterator[str]:
    """What a number hides."""
    asked = answer.question
    if answer.rounds == MOST_ROUNDS and asked.rounds is None:
        yield f"Rounds: not counted beyond {MOST_ROUNDS}; more would fit."
    distributed = asked.noise is Place.DISTRIBUTED
    if not distributed and answer.epsilon[Adversary.SERVER] == float("inf"):
        yield "Against the server nothing is protected: it sees every update."
    noise = answer.noise_on_average
    if noise is not None and noise > 1:
        yield (
            f"The noise is {noise:.3g} times what one person may contribute to the "
            "average, in each coordinate: little can be learned."
        )
    if asked.participation is Takes.ALL and asked.cohort < asked.users:
        yield (
            f"cohort = {asked.cohort} of {asked.users}: with --participation all this "
            "is how many are expected; it changes no epsilon."
        )


def lines(answer: Answer, rows: Sequence[Answer]) -> list[Line]:
    """The table over epsilons, with a bar for what each of them takes."""
    labels, by_rounds = answer.keep is not None, answer.question.rounds is None
    sizes = [_size(row, by_rounds) for row in rows]
    bars = bar_chart(sizes, width=16)
    found = []
    for row, bar in zip(rows, bars, strict=True):
        asked = row.question.epsilon
        assert asked is not None
        takes = f"{_size(row, by_rounds):.4g}"
        if by_rounds and not labels:
            takes = f"{row.rounds:,}"
        found.append(
            Line(
                asked,
                takes,
                "" if row.noise_on_average is None else f"{row.noise_on_average:.3g}",
                guess(asked, row.question.chosen_delta),
                bar,
            )
        )
    return found


def taken(answer: Answer) -> str:
    """Name of what the table computes for each epsilon."""
    if answer.keep is not None:
        return "chance to keep a label"
    return "rounds" if answer.question.rounds is None else "noise multiplier"


def missing(rows: Sequence[Answer]) -> list[float]:
    """Epsilons of the table that cannot be kept."""
    kept = {row.question.epsilon for row in rows}
    return [epsilon for epsilon in EPSILONS if epsilon not in kept]


def bar_chart(sizes: Sequence[float], width: int = WIDTH) -> list[str]:
    """A bar a number, the largest ``width`` long.

    >>> bar_chart([1.0, 2.0, 0.0], width=4)
    ['██', '████', '']
    """
    largest = max(sizes, default=0.0) or 1.0
    return ["█" * round(width * size / largest) for size in sizes]


def headline(answer: Answer) -> list[tuple[str, str]]:
    """The plan in a few lines."""
    asked = answer.question
    rounds = "any number" if answer.rounds is None else f"{answer.rounds:,}"
    rows = [
        ("people", f"{asked.users:,}, {asked.cohort:,} expected in a round"),
        ("protected", UNIT_WORDS[asked.unit]),
        ("rounds", rounds),
    ]
    if answer.multiplier is not None:
        rows.append(("noise multiplier", f"{float(answer.multiplier):.6g}"))
    if answer.keep is not None:
        kept = (
            f"kept with chance {float(answer.keep):.4g}, {asked.options or 2} options"
        )
        rows.append(("label", kept))
    rows += [
        (f"epsilon, {who}", epsilon_text(epsilon))
        for who, epsilon in answer.epsilon.items()
    ]
    return [*rows, ("delta", delta_text(asked.chosen_delta))]


def _at_most(epsilon: float) -> str:
    """Beyond what a plan may have, the number has no meaning."""
    if epsilon > LARGEST_EPSILON:
        return f"more than {LARGEST_EPSILON:g}"
    return epsilon_text(epsilon)


def _size(answer: Answer, by_rounds: bool) -> float:
    if answer.keep is not None:
        return float(answer.keep)
    return float((answer.rounds if by_rounds else answer.multiplier) or 0)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
