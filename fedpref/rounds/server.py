"""The server's half of a round, straight down.

Guarantees: the round is charged, and the charge durable, before anything is released;
the sum is divided by the plan's constant, so missing people shrink the step and no
private count is used; a round that was charged before a crash is finished with the very
sum that was charged; a release is asked for by numbers of its own stage only.

Does not give: the sum. ``fedpref.rounds.plain`` and ``fedpref.rounds.secure`` do, and
say what the server sees on the way.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from fedpref.core.grid import to_reals
from fedpref.core.rotation import rotate_back
from fedpref.core.types import Float, Integer
from fedpref.errors import PlanError
from fedpref.plan import PrivacyPlan
from fedpref.releases import ROTATED_BITS
from fedpref.rounds.contribution import rotation_seed
from fedpref.rounds.optimisers import Optimiser, State
from fedpref.stages import Stage


class Journal(Protocol):
    """What a server writes down around a release; durable when a call returns."""

    def pending(self, round_: int) -> "Noisy | None":
        """The noisy sum of a round that was charged and not released before a crash."""

    def kept(self, round_: int) -> "tuple[bytes, bytes] | None":
        """The record of a round that was charged and not opened, and its digest."""

    def keep(self, round_: int, record: Callable[[], bytes]) -> None:
        """Keep what a masked sum is opened with after a crash; before the charge.

        ``record`` makes it, 64 bytes for each pair of devices: only if it is of use.
        """

    def charge(self, round_: int, digest: bytes) -> None:
        """Charge the round; raises if it must not be released.

        ``digest`` is of what is about to be released, or unmasked.
        """

    def hold(self, round_: int, noisy: "Noisy", digest: bytes) -> None:
        """Keep the noisy sum, so that a crash cannot make a second one of it."""

    def settle(self, state: "ServerState") -> None:
        """Record the new state and that it is released."""

    def give_up(self, round_: int, *, refund: bool) -> None:
        """Record that the round releases nothing; ``refund`` if nobody can know it."""


Requests = Mapping[int, bytes]
"""What to send, by device."""

Send = Callable[[Requests], Iterable[tuple[int, bytes]]]
"""Delivers requests; yields (device, reply) as they come.

Devices are numbered from 1 to the plan's units, in the order of their enrolment.
"""

Gather = Callable[[int, Float], "Noisy"]
"""Round number and model to the charged, noisy sum of the survivors."""


@dataclass(frozen=True, repr=False)
class Noisy:
    """A sum that is ready to be released, in grid steps, and how many contributed."""

    total: Integer
    survivors: int


@dataclass(frozen=True)
class ServerState:
    """Everything a run needs to go on after a stop; public or released values only.

    ``round`` is the number of the last one that was released, ``steps`` how many were:
    fewer, if some were charged and lost. ``last_sum`` adds up the iterates of the last
    steps for the released average. ``moment`` and ``evaluation`` hold the sums that
    those stages released (``fedpref.rounds.moment``, ``.evaluation``), once there are
    any; ``round`` and ``survivors`` are always those of the last release. ``statistic``
    is what the last round released besides the mean update: an objective may ask for it
    in the next one. Devices get it behind the model.
    """

    round: int
    steps: int
    survivors: int
    model: Float
    optimiser: State
    last_sum: Float
    last_count: int
    evaluation: Float = field(default_factory=lambda: np.zeros(0))
    moment: Float = field(default_factory=lambda: np.zeros(0))
    statistic: Float = field(default_factory=lambda: np.zeros(0))

    @property
    def released(self) -> Float:
        """The model to publish: the mean of the last iterates, once there are any."""
        return self.last_sum / self.last_count if self.last_count else self.model


def start(model: Float, optimiser: Optimiser, *, statistics: int = 0) -> ServerState:
    """State before the first round, in which ``statistics`` numbers are 0."""
    zero, known = np.zeros_like(model), np.zeros(statistics)
    first = optimiser.init(model.size)
    return ServerState(0, 0, 0, model, first, zero, 0, statistic=known)


def run_round(
    number: int,
    state: ServerState,
    *,
    plan: PrivacyPlan,
    optimiser: Optimiser,
    average_last: float,
    gather: Gather,
    journal: Journal,
) -> ServerState:
    """One round of the plan.

    Args:
        number: Of the round, from 1.
        state: From :func:`start` or the round before.
        plan: The sealed plan.
        optimiser: Turns the released mean into a step.
        average_last: Share of the rounds, counted from the end, whose models are
            averaged into the released one; 0 releases the last model.
        gather: Asks the devices, and charges the round before anything is revealed.
        journal: Where the round is written down.

    Raises:
        TooFewSurvivors: Nothing was released.
    """
    noisy = journal.pending(number)
    if noisy is None:
        noisy = gather(number, np.concatenate([state.model, state.statistic]))
    means = reals(noisy.total, plan.training, plan) / plan.divisor
    mean, statistic = np.split(means, [state.model.size])
    step, optimiser_state = optimiser.update(
        mean,
        state.optimiser,
        model=state.model,
        variance=plan.training.noise_variance(noisy.survivors) / plan.divisor**2,
    )
    model = state.model + step
    steps = state.steps + 1
    late = steps > plan.spec.rounds * (1 - average_last)
    done = replace(
        state,
        round=number,
        steps=steps,
        survivors=noisy.survivors,
        model=model,
        optimiser=optimiser_state,
        last_sum=state.last_sum + model * late,
        last_count=state.last_count + int(late),
        statistic=statistic * plan.spec.clip,  # means count in clips
    )
    journal.settle(done)
    return done


def run_after(
    number: int,
    state: ServerState,
    *,
    keep: Callable[[Noisy, ServerState], ServerState],
    gather: Gather,
    journal: Journal,
) -> ServerState:
    """A release about the finished model, which does not move it.

    Args:
        number: Of the release, as the plan numbers it.
        state: After the last round.
        keep: Puts what was released into the state.
        gather: Asks the devices under the same number; charges before anything is
            revealed.
        journal: Where the release is written down.

    Raises:
        TooFewSurvivors: Nothing was released.
    """
    noisy = journal.pending(number)
    if noisy is None:
        noisy = gather(number, np.concatenate([state.released, state.statistic]))
    done = replace(keep(noisy, state), round=number, survivors=noisy.survivors)
    journal.settle(done)
    return done


def asked_stage(plan: PrivacyPlan, number: int, attempt: int) -> Stage:
    """The stage of release ``number`` that is asked for as request ``attempt``.

    Devices go by the number of the request and the ledger by that of the release.
    Within a stage they may differ; across stages something else would be booked than
    what was released.

    Raises:
        PlanError: They are not of one stage.
    """
    stage = plan.stage(number)
    if plan.stage(attempt) is not stage:
        raise PlanError(
            f"request = {attempt} for release {number}: must be a request for "
            f"{stage.purpose}, {stage.first} to {stage.last}"
        )
    return stage


def reals(total: Integer, stage: Stage, plan: PrivacyPlan) -> Float:
    """The sum of a stage in model units, turned back if it was turned."""
    found = to_reals(total, stage.grid)
    if plan.spec.word_bits != ROTATED_BITS or stage.scale is None:
        return found
    seed = rotation_seed(plan)
    return rotate_back(found, coordinates=stage.coordinates, seed=seed)
