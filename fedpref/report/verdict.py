"""Does the adapter beat a private linear head? Read off the run's own numbers.

Guarantees: the sentence follows from the accuracies and, where there is one, from the
paired interval over people; "beats" needs an interval above zero. Does not generalise:
it is about this data, one split and one draw of the noise.
"""

import math
from dataclasses import dataclass

from fedpref.report.run import Run
from fedpref.report.schema import Comparison
from fedpref.report.words import percent, points

THIS_RUN = "this run"
HEAD_ONLY = "head only (same epsilon)"
ADAPTER_AND_HEAD = "adapter + head (same epsilon)"


@dataclass(frozen=True)
class Verdict:
    """A heading, a sentence with the numbers, and whether the adapter is ahead."""

    heading: str
    detail: str
    adapter_wins: bool


def trains_adapter(run: Run) -> bool:
    """Whether the run itself trains an adapter beside its head."""
    adapter = run.setting("model", "adapter")
    return isinstance(adapter, dict) and adapter.get("kind", "none") != "none"


def verdict(run: Run) -> Verdict | None:
    """Compare adapter + head with head only; None where one of them was not run."""
    baselines = run.results.baselines
    accuracy = {
        name: baselines[name].accuracy
        for name in (ADAPTER_AND_HEAD, HEAD_ONLY)
        if name in baselines
    }
    mine = ADAPTER_AND_HEAD if trains_adapter(run) else HEAD_ONLY
    accuracy[mine] = run.results.heldout.accuracy
    if len(accuracy) < 2:
        return None
    paired = _paired(run.results.comparisons, mine)
    gap = accuracy[ADAPTER_AND_HEAD] - accuracy[HEAD_ONLY]
    wins = paired.ci95[0] > 0 if paired else gap > 0
    noised = not math.isinf(run.plan.epsilon.outsider)
    verb = "beats" if wins else "does not beat"
    head = "a private linear head" if noised else "a linear head"
    heading = f"Here the LoRA adapter {verb} {head}."
    detail = (
        f"{'At the same epsilon' if noised else 'Both without noise'}: adapter and "
        f"head {percent(accuracy[ADAPTER_AND_HEAD])}, head only "
        f"{percent(accuracy[HEAD_ONLY])}. "
    )
    if paired is None:
        return Verdict(
            heading,
            f"{detail}Difference {points(gap)} points; no paired interval was "
            "computed, so treat it as no more than an indication.",
            wins,
        )
    low, high = paired.ci95
    return Verdict(
        heading,
        f"{detail}Paired difference {points(paired.difference)} points, 95 % interval "
        f"over people {points(low)} to {points(high)}.",
        wins,
    )


def _paired(comparisons: tuple[Comparison, ...], mine: str) -> Comparison | None:
    """The comparison of the two, as adapter minus head whichever way it was made."""

    def role(name: str) -> str:
        return mine if name == THIS_RUN else name

    for entry in comparisons:
        sides = (role(entry.a), role(entry.b))
        if sides == (ADAPTER_AND_HEAD, HEAD_ONLY):
            return entry
        if sides == (HEAD_ONLY, ADAPTER_AND_HEAD):
            low, high = entry.ci95
            return Comparison(
                a=entry.b, b=entry.a, difference=-entry.difference, ci95=(-high, -low)
            )
    return None
