"""What a run releases, stage by stage, in words.

Guarantees: every stage of the sealed plan is named with its noise. Does not price them:
the plan's epsilon is that of all stages together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedpref.core.types import Noise
from fedpref.stages import Purpose

if TYPE_CHECKING:  # pydantic takes its time, and reading a ledger needs the words only
    from fedpref.report.run import Run
    from fedpref.report.schema import Plan, StagePlan

MEANING = {
    Purpose.TRAINING: "sums that move the model",
    Purpose.MOMENT: "how much people's own offsets differ from the common model; "
    "the prior with which a device adapts it",
    Purpose.EVALUATION: "how well the released model does on records that devices "
    "kept back",
}

NAMES = {
    Purpose.TRAINING: ("round", "rounds"),
    Purpose.MOMENT: ("second moment", "second moments"),
    Purpose.EVALUATION: ("evaluation", "evaluations"),
}

ANSWERS = 3  # numbers of an evaluation: pairs, choices, people (docs/evaluation.md)
TOTAL = "Every epsilon here is the total of all of them."


def stages(plan: "Plan") -> "tuple[StagePlan, ...]":
    """The plan's stages; those of an older run are told from its other numbers."""
    from fedpref.report.schema import StagePlan

    if plan.stages:
        return plan.stages
    training = StagePlan(
        purpose=Purpose.TRAINING,
        first=1,
        rounds=plan.rounds + plan.spare_rounds,
        coordinates=plan.coordinates,
        noise_multiplier=plan.noise_multiplier,
        noise_stddev_grid=plan.noise_stddev_grid,
    )
    if not plan.evaluation:
        return (training,)
    last = {"purpose": Purpose.EVALUATION, "first": training.rounds + 1, "rounds": 1}
    return training, training.model_copy(update=last)


def count(purpose: Purpose, number: int) -> str:
    """So many releases of one kind.

    >>> count(Purpose.TRAINING, 1200), count(Purpose.MOMENT, 1)
    ('1,200 rounds', '1 second moment')
    """
    return f"{number:,} {NAMES[purpose][number != 1]}"


def counted(plan: "Plan") -> str:
    """Every stage with its number of releases, as "10 rounds, 1 second moment"."""
    return ", ".join(_count(plan, stage) for stage in stages(plan))


def _count(plan: "Plan", stage: "StagePlan") -> str:
    spare = plan.spare_rounds if stage.purpose is Purpose.TRAINING else 0
    return count(stage.purpose, stage.rounds) + f" ({spare:,} of them spare)" * (
        spare > 0
    )


def in_words(plan: "Plan") -> str | None:
    """Every stage with its noise, and what the total covers; None of training alone."""
    planned = stages(plan)
    if len(planned) < 2:
        return None
    parts = [
        f"{_count(plan, s)}: {numbers(plan, s)}, {noise(plan, s)}" for s in planned
    ]
    return f"What is released: {'; '.join(parts)}. {TOTAL}"


def numbers(plan: "Plan", stage: "StagePlan") -> str:
    """How many numbers one release has, and in how long a vector they travel."""
    used = stage.coordinates
    if stage.purpose is Purpose.EVALUATION:
        used = ANSWERS
    elif stage.purpose is Purpose.MOMENT and plan.moment is not None:
        used = plan.moment.weights * (plan.moment.weights + 1) // 2
    each = " each" * (stage.rounds > 1)
    told = f"{used:,} number{'s' * (used > 1)}{each}"
    if used == stage.coordinates:
        return told
    return f"{told} in a vector of {stage.coordinates:,}"


def noise(plan: "Plan", stage: "StagePlan") -> str:
    """The noise of one release."""
    if plan.noise is Noise.NONE:
        return "without noise"
    if stage.noise_multiplier is None:
        return "noise not recorded"
    return f"noise multiplier {stage.noise_multiplier:.4g}"


def names(plan: "Plan") -> str:
    """What everybody may see of the run, and whose price every epsilon is."""
    more = {stage.purpose for stage in stages(plan)}
    seen = ["the released model"]
    if Purpose.MOMENT in more:
        seen.append("the released second moment of people's offsets")
    if Purpose.EVALUATION in more:
        seen.append("the released evaluation")
    return ", ".join(seen) + " and this statement"


def to_json(run: "Run") -> list[dict[str, Any]]:
    """Every stage as a JSON object, with how much of it was released."""
    return [
        stage.model_dump(mode="json")
        | {"rounds_run": len(of(run.releases, stage.purpose))}
        for stage in stages(run.plan)
    ]


def of(releases: Sequence[Any], purpose: Purpose) -> list[Any]:
    """The releases of one kind."""
    return [entry for entry in releases if entry.purpose is purpose]
