"""What a run promises, to whom, and what it does not: for machines and in plain words.

Guarantees: every sentence follows from the sealed plan; a kind of noise that has no
wording here is refused, never described by the nearest one; infinite is said to be
infinite, and a seeded run to be not private. Does not prove anything: the epsilons come
from the plan, and the ledger keeps to them.
"""

import math
from dataclasses import dataclass
from typing import Any

from fedpref.core.types import Adversary, Noise, Unit
from fedpref.errors import InputError
from fedpref.report.run import Run
from fedpref.report.schema import Plan
from fedpref.report.words import delta_text, epsilon_text, number

FORMAT = "fedpref-statement/1"

OWN_LEDGER = (
    "Enforced by a ledger of this run alone: each round was charged before it was "
    "released, but it knows of no other run on the same people."
)
SHARED_LEDGER = (
    "Enforced by a ledger that runs on {population} ({window}) share: together they "
    "may cost epsilon {cap} at delta {delta} per {unit} against the {against}; more "
    "is refused."
)
BARE = (
    "No noise was added: epsilon is infinite against everybody, and the ledger has "
    "booked that."
)
SEEDED = "This run used a seed: it is reproducible and NOT private."


@dataclass(frozen=True)
class Wording:
    """What one kind of noise means, adversary by adversary.

    ``promise`` may contain ``{promise}``: epsilon, delta and unit. ``protects`` is None
    where nothing does.
    """

    sees: dict[Adversary, str]
    protects: dict[Adversary, str | None]
    promise: dict[Adversary, str]
    assumptions: tuple[str, ...]
    trusted: dict[str, str]
    not_protected: tuple[str, ...]


SERVER, OUTSIDER = Adversary.SERVER, Adversary.OUTSIDER
EVERY_UPDATE = "every update of every person in every round"
MODEL = "the released model and this statement"

SIMULATION_ONLY = (
    "the accuracies in the report: simulation only; they are measured on held-out "
    "people without noise, and some baselines are fitted on everybody without noise"
)

WORDS = {
    Noise.CENTRAL: Wording(
        sees={SERVER: EVERY_UPDATE, OUTSIDER: MODEL},
        protects={
            SERVER: None,
            OUTSIDER: "Gaussian noise on the sum of the clipped contributions, added "
            "by the server",
        },
        promise={
            SERVER: "The server sees every update: against it nothing is promised "
            "(epsilon = infinite).",
            OUTSIDER: "Against everybody who sees only the released model: {promise}.",
        },
        assumptions=(
            "the server keeps the updates to itself, clips and sums them as it says, "
            "adds the noise, and draws it from operating-system entropy",
            "one person is one identity, and is in this data once",
            "who is online does not depend on the answers",
            "only the released model and the numbers of the plan are published",
            "noise that is computed in 64-bit floating point counts as exact",
        ),
        trusted={
            "server": "every update in the clear; clipping, summing and the noise",
            "readers of the model": "nothing",
        },
        not_protected=(
            "that a person takes part, and in which rounds, is not hidden; what they "
            "contribute is",
            "people whose answers are nearly the same as somebody else's: what one of "
            "them adds is bounded, what they share is not",
            "the menus, texts and attributes on offer: they count as public",
            "the choice of clip, learning rate and rounds: where these were chosen by "
            "looking at results on these people, that look is not booked in epsilon",
            SIMULATION_ONLY,
            "several runs that do not share a ledger: their epsilons add up unseen",
        ),
    ),
    Noise.NONE: Wording(
        sees={SERVER: EVERY_UPDATE, OUTSIDER: MODEL},
        protects={SERVER: None, OUTSIDER: None},
        promise={
            SERVER: "The server sees every update: against it nothing is promised "
            "(epsilon = infinite).",
            OUTSIDER: "No noise was added: against those who see the released model "
            "nothing is promised either (epsilon = infinite).",
        },
        assumptions=(),
        trusted={
            "server": "every update in the clear",
            "readers of the model": "everything that the model gives away",
        },
        not_protected=(
            "any answer: the model may give away what it was trained on, to anybody",
            SIMULATION_ONLY,
        ),
    ),
}

UNITS = {
    Unit.USER: ("person", "everything that one person contributes"),
    Unit.RECORD: ("record", "one record: a choice with all its pairs"),
}

ONE_RECORD = (
    "a person as a whole: epsilon is for one record, and somebody who contributes many "
    "is protected less"
)
BY_THE_SEED = "anything at all: whoever knows the seed can take the noise away again"


def statement(run: Run) -> dict[str, Any]:
    """The machine-readable statement, ``statement.json``."""
    plan = run.plan
    words = wording(plan)
    return {
        "format": FORMAT,
        "scenario": run.name,
        "summary": plain_words(plan),
        "enforced_by_ledger": True,
        "ledger": plan.ledger.model_dump() | {"cap": number(plan.ledger.cap)},
        "seeded": plan.seeded,
        "private": not plan.seeded and not math.isinf(plan.epsilon.outsider),
        "unit": plan.unit.value,
        "unit_meaning": UNITS[plan.unit][1],
        "relation": plan.relation.value,
        "relation_meaning": "neighbouring data sets differ in one contribution, which "
        "becomes zero while its owner still takes part",
        "noise": plan.noise.value,
        "participation": plan.participation.value,
        "sampler": "none; everybody contributes in every round, and no amplification "
        "by sampling is claimed",
        "against": plan.against.value,
        "target_epsilon": number(plan.target_epsilon),
        "delta": plan.delta,
        "adversaries": {who.value: _adversary(plan, who) for who in (SERVER, OUTSIDER)},
        "mechanism": {
            "sealed": plan.sealed,
            "rounds_planned": plan.rounds,
            "rounds_run": len(run.rounds),
            "units": plan.units,
            "coordinates": plan.coordinates,
            "clip": plan.clip,
            "noise_multiplier": plan.noise_multiplier,
            "noise_stddev_grid": plan.noise_stddev_grid,
            "grid_step": plan.grid_step,
            "divisor": plan.divisor,
            "min_survivors": plan.min_survivors,
        },
        "assumptions": list(words.assumptions),
        "trusted": words.trusted,
        "not_protected": not_protected(plan),
        "audit": None,
    }


def plain_words(plan: Plan) -> list[str]:
    """The statement in a few sentences, the most important first."""
    promise = (
        f"epsilon {epsilon_text(plan.epsilon.outsider)} at delta "
        f"{delta_text(plan.delta)} per {UNITS[plan.unit][0]}"
    )
    if plan.seeded:
        promise = (
            f"without the seed it would be {promise}; with it, nothing is promised"
        )
    lines = [wording(plan).promise[who] for who in (SERVER, OUTSIDER)]
    bare = [BARE] if plan.noise is Noise.NONE else []
    seeded = [SEEDED] if plan.seeded else []
    promises = [line.format(promise=promise) for line in lines]
    return [*bare, ledger_words(plan), *seeded, *promises]


def ledger_words(plan: Plan) -> str:
    """What stands behind the numbers."""
    if plan.ledger.own:
        return OWN_LEDGER
    return SHARED_LEDGER.format(
        population=plan.ledger.population,
        window=plan.ledger.window,
        cap=epsilon_text(plan.ledger.cap),
        delta=delta_text(plan.ledger.cap_delta),
        unit=UNITS[plan.unit][0],
        against=plan.against.value,
    )


def not_protected(plan: Plan) -> list[str]:
    """What no epsilon of this run covers."""
    noised = plan.noise is not Noise.NONE
    seed = [BY_THE_SEED] if plan.seeded and noised else []
    unit = [ONE_RECORD] if plan.unit is Unit.RECORD and noised else []
    return [*seed, *unit, *wording(plan).not_protected]


def wording(plan: Plan) -> Wording:
    """The wording of the plan's noise.

    Raises:
        InputError: none is written for it.
    """
    if plan.noise not in WORDS:
        raise InputError(
            f"noise = '{plan.noise}': no statement is written for it; "
            "use a version of fedpref that knows it"
        )
    return WORDS[plan.noise]


def best_guess(epsilon: float, delta: float) -> float:
    """How often the best attacker is right who starts from even odds.

    The attacker knows everything else and must tell "this contribution was used" from
    "it was zero". Kairouz, Oh and Viswanath (2015), theorem 2.1: the two error rates
    sum to at least ``2 (1 - delta) / (1 + e^epsilon)``.

    >>> round(best_guess(1.0, 0.0), 4), best_guess(0.0, 0.0), best_guess(math.inf, 0.0)
    (0.7311, 0.5, 1.0)
    """
    return 1 - (1 - delta) * math.exp(-epsilon) / (1 + math.exp(-epsilon))


def _adversary(plan: Plan, who: Adversary) -> dict[str, Any]:
    epsilon: float = getattr(plan.epsilon, who.value)
    holds = not plan.seeded and not math.isinf(epsilon)
    words = wording(plan)
    return {
        "sees": words.sees[who],
        "epsilon": number(epsilon),
        "delta": None if math.isinf(epsilon) else plan.delta,
        "holds": holds,
        "accountant": getattr(plan.accountant, who.value),
        "protects": words.protects[who],
        "best_guess": best_guess(epsilon, plan.delta) if holds else 1.0,
    }
