"""What a run promises, to whom, and what it does not: for machines and in plain words.

Guarantees: every sentence follows from the sealed plan; a kind of noise that has no
wording here is refused, never described by the nearest one; infinite is said to be
infinite, and a seeded run to be not private. Does not prove anything: the epsilons come
from the plan, and the ledger keeps to them.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.errors import InputError
from fedpref.report import releases
from fedpref.report.wording import (
    AS_IF,
    AT_HOME,
    OUTSIDER,
    SERVER,
    WORDS,
    Wording,
    without_masks,
)
from fedpref.report.words import delta_text, epsilon_text, number

if TYPE_CHECKING:  # pydantic takes its time, and reading a ledger needs the words only
    from fedpref.report.run import Run
    from fedpref.report.schema import Plan

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
NO_LIMIT = (
    "Booked in a ledger that runs on {population} ({window}) share: it sets no limit, "
    "so more runs may be added without end."
)
BARE = (
    "No noise was added: epsilon is infinite against everybody, and the ledger has "
    "booked that."
)
SEEDED = "This run used a seed: it is reproducible and NOT private."


UNITS = {
    Unit.USER: ("person", "everything that one person contributes"),
    Unit.RECORD: ("record", "one record: a choice with all its pairs"),
    Unit.LABEL: ("label", "the label of one record: which option was chosen"),
}

SAMPLERS = {
    Participation.ALL: "none; everybody contributes in every round, and no "
    "amplification by sampling is claimed",
    Participation.HIDDEN: "each device contributes by its own secret coin and sends a "
    "masked vector either way; the coin is counted against everybody",
    Participation.SERVER: "the server draws people in secret; the draw is counted "
    "against people who are not enrolled only, and only where the size of a cohort "
    "cannot give it away",
    Participation.FIXED: "none; the server names who takes part, and no amplification "
    "by sampling is claimed",
}

ONE_RECORD = (
    "a person as a whole: epsilon is for one record, and somebody who contributes many "
    "is protected less"
)
BY_THE_SEED = "anything at all: whoever knows the seed can take the noise away again"


def statement(run: "Run") -> dict[str, Any]:
    """The machine-readable statement, ``statement.json``."""
    plan = run.plan
    words = wording(plan)
    return {
        "format": FORMAT,
        "scenario": run.name,
        "summary": plain_words(plan),
        "enforced_by_ledger": plan.sealed,
        "ledger": {
            **plan.ledger.model_dump(),
            "file": Path(plan.ledger_file).name,  # where it lies is nobody's business
            "cap": number(plan.ledger.cap),
        },
        "seeded": plan.seeded,
        "private": not plan.seeded and not math.isinf(plan.epsilon.outsider),
        "unit": plan.unit.value,
        "unit_meaning": UNITS[plan.unit][1],
        "relation": plan.relation.value,
        "relation_meaning": "neighbouring data sets differ in one contribution, which "
        "becomes zero while its owner still takes part",
        "noise": plan.noise.value,
        "participation": plan.participation.value,
        "sampler": SAMPLERS[plan.participation],
        "masked": plan.masked,
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
            "spare_rounds": plan.spare_rounds,
            "colluders": plan.colluders,
            "threshold": plan.threshold,
            "sampling_prob": plan.sampling_prob,
            "noise_multiplier": plan.noise_multiplier,
            "noise_stddev_grid": plan.noise_stddev_grid,
            "grid_step": plan.grid_step,
            "divisor": plan.divisor,
            "min_survivors": plan.min_survivors,
        },
        "stages": [
            stage | {"meaning": releases.MEANING[stage["purpose"]]}
            for stage in releases.to_json(run)
        ],
        "assumptions": [line.format(**_counts(plan)) for line in words.assumptions],
        "trusted": {
            who: line.format(**_counts(plan)) for who, line in words.trusted.items()
        },
        "not_protected": [
            *not_protected(plan),
            *([AT_HOME] if "personal" in run.scenario else []),
        ],
        "audit": None,
    }


def plain_words(plan: "Plan") -> list[str]:
    """The statement in a few sentences, the most important first."""
    promise = wording(plan).promise
    lines = [
        promise[who].format(promise=_promise(plan, who), **_counts(plan))
        for who in (SERVER, OUTSIDER)
    ]
    bare = [BARE] if plan.noise is Noise.NONE else []
    seeded = [SEEDED] if plan.seeded else []
    stages = releases.in_words(plan)
    more = [] if stages is None else [stages]
    return [*bare, ledger_words(plan), *seeded, *lines, *more]


def _promise(plan: "Plan", who: Adversary) -> str:
    """Epsilon, delta and unit, against one adversary."""
    epsilon: float = getattr(plan.epsilon, who.value)
    if math.isinf(epsilon):
        return "nothing is promised (epsilon = infinite)"
    promise = (
        f"epsilon {epsilon_text(epsilon)} at delta {delta_text(plan.delta)} per "
        f"{UNITS[plan.unit][0]}"
    )
    if plan.seeded:
        return f"without the seed it would be {promise}; with it, nothing is promised"
    return promise


def _counts(plan: "Plan") -> dict[str, Any]:
    return {
        "colluders": plan.colluders,
        "survivors": plan.min_survivors,
        "released": released(plan),
    }


def released(plan: "Plan") -> str:
    """What outsiders see, in short: the model, or everything where there is more."""
    alone = len(releases.stages(plan)) == 1
    return "the released model" if alone else "what is released"


def ledger_words(plan: "Plan") -> str:
    """What stands behind the numbers."""
    if plan.ledger.own:
        return OWN_LEDGER
    words = NO_LIMIT if math.isinf(plan.ledger.cap) else SHARED_LEDGER
    return words.format(
        population=plan.ledger.population,
        window=plan.ledger.window,
        cap=epsilon_text(plan.ledger.cap),
        delta=delta_text(plan.ledger.cap_delta),
        unit=UNITS[plan.unit][0],
        against=plan.against.value,
    )


def not_protected(plan: "Plan") -> list[str]:
    """What no epsilon of this run covers."""
    noised = plan.noise is not Noise.NONE
    seed = [BY_THE_SEED] if plan.seeded and noised else []
    unit = [ONE_RECORD] if plan.unit is Unit.RECORD and noised else []
    as_if = [AS_IF] if unmasked(plan) else []
    return [*seed, *as_if, *unit, *wording(plan).not_protected]


def unmasked(plan: "Plan") -> bool:
    """Whether noise was made for a secure sum that this run did not do."""
    return plan.noise is Noise.DISTRIBUTED and not plan.masked


def wording(plan: "Plan") -> Wording:
    """The wording of the plan's noise, and of its masks.

    Raises:
        InputError: none is written for it.
    """
    if plan.noise not in WORDS:
        raise InputError(
            f"noise = '{plan.noise}': no statement is written for it; "
            "use a version of fedpref that knows it"
        )
    words = WORDS[plan.noise]
    return without_masks(words) if unmasked(plan) else words


def best_guess(epsilon: float, delta: float) -> float:
    """How often the best attacker is right who starts from even odds.

    The attacker knows everything else and must tell "this contribution was used" from
    "it was zero". Kairouz, Oh and Viswanath (2015), theorem 2.1: the two error rates
    sum to at least ``2 (1 - delta) / (1 + e^epsilon)``.

    >>> round(best_guess(1.0, 0.0), 4), best_guess(0.0, 0.0), best_guess(math.inf, 0.0)
    (0.7311, 0.5, 1.0)
    """
    return 1 - (1 - delta) * math.exp(-epsilon) / (1 + math.exp(-epsilon))


def _adversary(plan: "Plan", who: Adversary) -> dict[str, Any]:
    epsilon: float = getattr(plan.epsilon, who.value)
    bare = who is SERVER and unmasked(plan)
    holds = not plan.seeded and not math.isinf(epsilon) and not bare
    words = wording(plan)
    return {
        "sees": words.server_sees if who is SERVER else releases.names(plan),
        "epsilon": number(epsilon),
        "delta": None if math.isinf(epsilon) else plan.delta,
        "holds": holds,
        "accountant": getattr(plan.accountant, who.value),
        "protects": words.protects[who],
        "best_guess": best_guess(epsilon, plan.delta) if holds else 1.0,
    }
