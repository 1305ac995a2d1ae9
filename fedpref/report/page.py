"""The report as one HTML page.

Guarantees: nothing outside the file is ever loaded (the page forbids it to the browser,
too), everything from the run folder is escaped, and the same run gives the same bytes.
Does not compute: the numbers are those of ``report.json`` and ``statement.json``.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fedpref.core.types import Noise
from fedpref.report import figures, personal, releases, training, words
from fedpref.report.rendering import render
from fedpref.report.run import Run
from fedpref.report.schema import Bin, Plan
from fedpref.report.statement import (
    SEEDED,
    UNITS,
    ledger_words,
    released,
    unmasked,
)
from fedpref.report.verdict import trains_adapter, verdict
from fedpref.report.wording import OUTSIDER
from fedpref.stages import Purpose

STAGES = {
    Purpose.TRAINING: "round",
    Purpose.MOMENT: "second moment",
    Purpose.EVALUATION: "evaluation",
}


def page(run: Run, statement: dict[str, Any]) -> str:
    """Render the page for ``run`` and its statement."""
    filters: dict[str, Callable[..., str]] = {
        "percent": words.percent,
        "interval": words.interval,
        "accountant": words.accountant_text,
        "epsilon": words.epsilon_text,
        "delta": words.delta_text,
        "plain": words.plain,
        "unbroken": words.unbroken,
        "seconds": words.seconds,
        "points": words.points,
    }
    values = dict(
        run=run,
        plan=run.plan,
        results=run.results,
        heldout=run.results.heldout,
        environment=run.environment,
        statement=statement,
        infinite=math.isinf,
        unit=UNITS[run.plan.unit][0],
        source=Path(str(run.setting("data", "source", "records"))).name,
        model=model_words(run),
        ledger=ledger_words(run.plan),
        unmasked=unmasked(run.plan),
        seeded=SEEDED,
        released=released(run.plan),
        stages=releases.to_json(run),
        stage_names={purpose.value: name for purpose, name in STAGES.items()},
        personal=_personal(run),
        verdict=verdict(run),
        **_figures(run),
        mechanism=mechanism(run),
    )
    return render("report.html.j2", values, filters=filters, escape=True)


def _figures(run: Run) -> dict[str, Any]:
    heldout = run.results.heldout
    x, y, dots = figures.reliability(heldout.bins)
    return {
        "comparisons": figures.comparisons(
            heldout,
            run.results.baselines,
            note=model_words(run),
            seeded=run.plan.seeded,
        ),
        "accuracy_line": accuracy_line(run),
        "epsilon_line": epsilon_line(run),
        "spread": figures.histogram(heldout.per_user, heldout.accuracy),
        "spread_words": spread_words(heldout.per_user),
        "calibration_words": calibration_words(heldout.bins),
        "calibration_x": x,
        "calibration_y": y,
        "calibration": dots,
    }


def _personal(run: Run) -> dict[str, Any] | None:
    """What the section on own answers shows; None in a run that asked for none."""
    curve = run.results.personal
    if curve is None:
        return None
    spoken = personal.spoken_of(curve)
    return {
        "curve": curve,
        "figure": personal.figure(curve),
        "styles": personal.styles(curve),
        "k": spoken,
        "cell": None if spoken is None else curve.cell(curve.best, spoken),
        "heading": personal.heading(curve),
        "detail": personal.detail(curve),
        "behind": personal.behind(curve),
        "about": personal.about(run, curve),
    }


def model_words(run: Run) -> str:
    """What was trained, and under which noise."""
    model = "adapter and head" if trains_adapter(run) else "linear head"
    epsilon = run.plan.epsilon.outsider
    if math.isinf(epsilon):
        return f"{model}, without noise"
    if run.plan.seeded:
        return f"{model}, seeded and so not private"
    return f"{model}, epsilon {words.epsilon_text(epsilon)}"


def accuracy_line(run: Run) -> figures.Line | None:
    """Held-out accuracy by round, where it was measured."""
    seen = [
        (entry.round, entry.heldout_accuracy)
        for entry in run.rounds
        if entry.heldout_accuracy is not None
    ]
    if not seen:
        return None
    labels = [f"round {number}: {words.percent(value)}" for number, value in seen]
    return figures.line(seen, labels, fractions=True, floor=0.5)


def epsilon_line(run: Run) -> figures.Line | None:
    """Epsilon against outsiders by release, where it is finite."""
    seen = [(entry.round, entry.epsilon.outsider) for entry in run.releases]
    if any(math.isinf(value) for _, value in seen):
        return None
    plan = run.plan
    both = plan.epsilon.server == plan.epsilon.outsider
    bound = plan.target_epsilon if plan.against is OUTSIDER or both else None
    target = bound if bound is not None and not math.isinf(bound) else None
    labels = [
        f"{STAGES[entry.purpose]} {entry.round}: "
        f"{words.epsilon_text(entry.epsilon.outsider)}"
        for entry in run.releases
    ]
    return figures.line(seen, labels, fractions=False, floor=0.0, target=target)


def spread_words(per_user: Sequence[float]) -> str:
    """Where the middle half of the people lie, and how many are worse than chance."""
    below = sum(accuracy < 0.5 for accuracy in per_user)
    people = f"{below:,} of {len(per_user):,} people"
    chance = f"For {people} the model is right less often than a coin."
    if len(per_user) < 4:
        return chance
    low, _, high = statistics.quantiles(per_user, n=4, method="inclusive")
    between = f"{100 * low:.0f} and {words.percent(high, 0)}"
    return f"Half of the people lie between {between}. {chance}"


def calibration_words(bins: Sequence[Bin]) -> str:
    """Whether the model is too sure or too modest, on average over pairs."""
    pairs = sum(b.count for b in bins)
    excess = sum(
        b.count * (b.confidence - b.accuracy)
        for b in bins
        if b.confidence is not None and b.accuracy is not None
    )
    gap = excess / pairs if pairs else 0.0
    if abs(gap) < 0.01:
        return "Over all pairs the model is about as sure as it is right."
    side = "too sure" if gap > 0 else "too modest"
    return f"Over all pairs the model is {side}, by {100 * abs(gap):.1f} points."


def mechanism(run: Run) -> list[tuple[str, str]]:
    """The plan's numbers, for the table."""
    plan, heldout = run.plan, run.results.heldout

    return [
        ("Held-out pair accuracy", words.percent(heldout.accuracy, 2)),
        ("95 % interval over people", words.interval(heldout.ci95)),
        ("Best of the menu", words.percent(heldout.choice_accuracy, 2)),
        ("Log-loss (nats a pair)", f"{heldout.log_loss:.4f}"),
        ("Expected calibration error", f"{heldout.ece:.4f}"),
        ("Tested on", f"{heldout.users:,} people, {heldout.records:,} choices, "
                      f"{heldout.pairs:,} pairs"),
        ("Trained on", f"{run.results.clients.train:,} people"),
        *training.rows(run),
        ("Rounds", f"{len(run.rounds):,} of {plan.rounds:,} planned"),
        *_releases(plan),
        ("Numbers in a contribution", f"{plan.coordinates:,}"),
        ("Units in the plan", f"{plan.units:,}"),
        ("Clip (norm of one contribution)", words.plain(plan.clip)),
        ("Noise multiplier (std / sensitivity)", words.plain(plan.noise_multiplier)),
        ("Noise std in grid steps", words.plain(plan.noise_stddev_grid)),
        ("Grid step", words.power_of_two(plan.grid_step)),
        ("Divisor of the sum", words.plain(plan.divisor)),
        ("Least survivors", words.plain(plan.min_survivors)),
        *(_secure(run.plan) if plan.noise is Noise.DISTRIBUTED else []),
        ("Delta", words.delta_text(plan.delta)),
        ("Target epsilon", "none" if plan.target_epsilon is None else
         f"{words.epsilon_text(plan.target_epsilon)} against the {plan.against.value}"),
        ("Epsilon, outsider", _accounted(plan.epsilon.outsider,
                                         plan.accountant.outsider)),
        ("Epsilon, server", _accounted(plan.epsilon.server, plan.accountant.server)),
    ]  # fmt: skip


def _releases(plan: Plan) -> list[tuple[str, str]]:
    """Every stage with its noise, where there is more than training."""
    planned = releases.stages(plan)
    if len(planned) < 2:
        return []
    rows = [("Releases in the plan", releases.counted(plan))]
    for stage in planned[1:]:
        told = f"{releases.numbers(plan, stage)}, {releases.noise(plan, stage)}"
        rows.append((STAGES[stage.purpose].capitalize(), told))
    return rows


def _secure(plan: Plan) -> list[tuple[str, str]]:
    """What noise from the devices, and the sum that hides it, are made of."""
    return [
        ("Secure sum", "run, with masks" if plan.masked else "not run: no masks"),
        ("Spare rounds, paid for", words.plain(plan.spare_rounds)),
        ("Bad devices allowed for", words.plain(plan.colluders)),
        ("Shares that open a secret", words.plain(plan.threshold)),
        ("One device’s noise, std in grid steps", words.plain(plan.share_stddev_grid)),
        ("Sensitivity after rounding, against before", words.plain(plan.inflation)),
        ("Chance to contribute", words.plain(plan.sampling_prob)),
    ]  # fmt: skip


def _accounted(epsilon: float, accountant: str | None) -> str:
    name = f" ({words.accountant_text(accountant)})" if accountant else ""
    return words.epsilon_text(epsilon) + name
