"""How good the released model is on records that devices kept back: one more release.

Each device answers with three numbers in [-1, 1] about its own held-back records: how
many more pairs the model orders right than wrong, the same for choices, and 1 if it has
any such records (``fedpref.rounds.contribution.Statistics``). Their sums go through the
path of a training round, with the plan's clip, rounding, noise and charge. An accuracy
is ``(1 + A / H) / 2`` with A the sum of the first and H that of the last. Counted from
the middle like this a statistic has the same bound as a share in [0, 1], and the
accuracy half the noise.

Guarantees: the round is charged before its sums are published; no count is used that
was not noised and booked; the interval covers the true value for the devices that
answered in 95 % of draws of the noise (Fieller 1954, for a ratio), clipped to [0, 1].

Does not give: an interval for other people or other records; it covers the noise alone.
It takes devices at their word: one that lies moves the sums like one that poisons a
round. One that leaves its noise share out makes the interval too wide, not too narrow.
"""

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

from fedpref.core.types import Float, Noise
from fedpref.data.partition import ONE_IN
from fedpref.plan import PrivacyPlan
from fedpref.plan_problems import STATISTICS
from fedpref.rounds.contribution import statistic_unit
from fedpref.rounds.server import Noisy, ServerState, reals
from fedpref.stages import Purpose

_NORMAL = 1.959963984540054  # 97.5 % quantile of the standard normal law
_UNKNOWN = (0.0, 1.0)


@dataclass(frozen=True)
class Share:
    """A share with the standard deviation and 95 % interval that noise gives it.

    ``value`` and ``stddev`` are ``None`` where the noise hides whether anybody had a
    record at all; the interval is then all of [0, 1].
    """

    value: float | None
    stddev: float | None
    ci95: tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """What the evaluation released; all of it is covered by the plan's epsilon.

    Accuracies are means over people: each person's records together count once.
    ``people`` is the noised number of those who had records to evaluate on.
    """

    pairs: Share
    choices: Share
    people: float
    people_stddev: float
    survivors: int

    def to_json(self) -> dict[str, Any]:
        """As the object ``federated`` of ``evaluation.json``."""
        return {
            "accuracy": self.pairs.value,
            "stddev": self.pairs.stddev,
            "ci95": list(self.pairs.ci95),
            "choice_accuracy": self.choices.value,
            "choice_stddev": self.choices.stddev,
            "choice_ci95": list(self.choices.ci95),
            "people": self.people,
            "people_stddev": self.people_stddev,
            "survivors": self.survivors,
            "held_back_one_in": ONE_IN,
        }


def keep(noisy: Noisy, state: ServerState, *, plan: PrivacyPlan) -> ServerState:
    """The state with the sums in ``evaluation``."""
    return replace(state, evaluation=sums(noisy, plan))


def sums(noisy: Noisy, plan: PrivacyPlan) -> Float:
    """The noisy sums of the statistics, float64 ``[3]``, in people.

    Raises:
        PlanError: The plan has no evaluation.
    """
    stage = plan.require(Purpose.EVALUATION)
    found = reals(noisy.total, stage, plan)[:STATISTICS]
    return found / statistic_unit(stage.clip)


def read(released: Float, survivors: int, plan: PrivacyPlan) -> Estimate:
    """The estimate from the released sums ``[3]`` of ``survivors`` devices."""
    pairs, choices, people = (float(value) for value in released)
    noise = noise_stddev(survivors, plan)
    return Estimate(
        pairs=share(pairs, people, noise),
        choices=share(choices, people, noise),
        people=people,
        people_stddev=noise,
        survivors=survivors,
    )


def noise_stddev(survivors: int, plan: PrivacyPlan) -> float:
    """Standard deviation of the noise in each sum, in people.

    With distributed noise every survivor has added a share, and its rounding, of a
    variance of at most a quarter of a squared step.
    """
    stage = plan.require(Purpose.EVALUATION)
    steps = float(stage.noise_variance_grid)
    if plan.spec.noise is Noise.DISTRIBUTED:
        steps = survivors * (stage.share_variance + 0.25)
    return sqrt(steps) * stage.grid.step / statistic_unit(stage.clip)


def share(difference: float, people: float, noise: float) -> Share:
    """``(1 + difference / people) / 2`` from two sums with independent normal noise.

    The interval holds every ratio r with ``(difference - r people)**2 <= z**2 noise**2
    (1 + r**2)`` (Fieller 1954). The standard deviation is that of the first-order
    expansion.

    >>> share(40.0, 100.0, 0.0)
    Share(value=0.7, stddev=0.0, ci95=(0.7, 0.7))
    >>> share(4.0, 10.0, 20.0)
    Share(value=None, stddev=None, ci95=(0.0, 1.0))
    """
    reach = (_NORMAL * noise) ** 2
    curve = people**2 - reach
    if people <= 0 or curve <= 0:
        return Share(None, None, _UNKNOWN)
    ratio = difference / people
    root = sqrt(max(0.0, reach * (difference**2 + people**2 - reach)))
    middle = difference * people
    low, high = (middle - root) / curve, (middle + root) / curve
    deviation = noise * sqrt(1 + ratio**2) / people / 2
    return Share(_within(ratio), deviation, (_within(low), _within(high)))


def _within(ratio: float) -> float:
    return min(1.0, max(0.0, (1 + ratio) / 2))
