"""The server's half of a round, straight down.

Guarantees: a contribution beyond the plan's bound, a second one of a device, or one of
a device that is not enrolled is not added; fewer than
``min_survivors`` of them abort the round and release nothing; the round is charged, and
the charge durable, before anything is released; the sum is divided by
the plan's constant, so missing people shrink the step and no private count is used.

Does not give: protection from this server with central noise, and none at all without
noise; ``PrivacyPlan.epsilons`` says so.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from fedpref.core.entropy import Entropy
from fedpref.core.grid import squared_norm, to_reals
from fedpref.core.noise import add_gaussian
from fedpref.core.types import BoundedSum, Float, Integer
from fedpref.errors import MessageError, TooFewSurvivors
from fedpref.plan import PrivacyPlan
from fedpref.rounds.optimisers import Optimiser, State
from fedpref.secagg.messages import (
    Contribution,
    Invitation,
    decode_contribution,
    encode_invitation,
)


class Journal(Protocol):
    """What a server writes down around a release; durable when a call returns."""

    def pending(self, round_: int) -> "Noisy | None":
        """The noisy sum of a round that was charged and not released before a crash."""

    def charge(self, round_: int, noisy: "Noisy") -> None:
        """Charge the round; raises if it must not be released."""

    def settle(self, state: "ServerState") -> None:
        """Record the new state and that it is released."""

    def give_up(self, round_: int, received: int) -> None:
        """Record that the round releases nothing, though so many replies came."""


Send = Callable[[bytes], Iterable[tuple[int, bytes]]]
"""Delivers a request to every enrolled device; yields (device, reply) as they come.

Devices are numbered from 1 to the plan's units, in the order of their enrolment.
"""


@dataclass(frozen=True, repr=False)
class Noisy:
    """A sum that is ready to be released, in grid steps, and who contributed."""

    total: Integer
    survivors: int


@dataclass(frozen=True)
class ServerState:
    """Everything a run needs to go on after a stop; public or released values only.

    ``round`` is the last one that was released. ``last_sum`` adds up the iterates of
    the last rounds for the released average.
    """

    round: int
    survivors: int
    model: Float
    optimiser: State
    last_sum: Float
    last_count: int

    @property
    def released(self) -> Float:
        """The model to publish: the mean of the last iterates, once there are any."""
        return self.last_sum / self.last_count if self.last_count else self.model


def start(model: Float, optimiser: Optimiser) -> ServerState:
    """State before the first round."""
    zero = np.zeros_like(model)
    return ServerState(0, 0, model, optimiser.init(model.size), zero, 0)


def run_round(
    number: int,
    state: ServerState,
    *,
    plan: PrivacyPlan,
    optimiser: Optimiser,
    average_last: float,
    entropy: Entropy,
    send: Send,
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
        entropy: Source of this round's noise.
        send: The only way out to the devices.
        journal: Charges the round before anything can be revealed.

    Raises:
        TooFewSurvivors: Nothing was released.
    """
    noisy = journal.pending(number)
    if noisy is None:
        invitation = encode_invitation(Invitation(number, plan.digest, state.model))
        total, survivors, received = _sum(send(invitation), number, plan)
        if survivors < plan.min_survivors:
            journal.give_up(number, received)
            raise TooFewSurvivors(
                f"round {number}: survivors = {survivors}, must be >= "
                f"{plan.min_survivors}; nothing was released"
            )
        noisy = Noisy(_release(total, plan, entropy, number), survivors)
        journal.charge(number, noisy)
    mean = to_reals(noisy.total, plan.grid) / plan.divisor
    step, optimiser_state = optimiser.update(mean, state.optimiser)
    model = state.model + step
    late = number > plan.spec.rounds * (1 - average_last)
    done = replace(
        state,
        round=number,
        survivors=noisy.survivors,
        model=model,
        optimiser=optimiser_state,
        last_sum=state.last_sum + model * late,
        last_count=state.last_count + int(late),
    )
    journal.settle(done)
    return done


def _sum(
    replies: Iterable[tuple[int, bytes]], number: int, plan: PrivacyPlan
) -> tuple[BoundedSum, int, int]:
    """Exact sum of the well-formed contributions within the bound, one a device.

    With it, how many were added and how many replies came at all.
    """
    limit = plan.sensitivity_squared
    total, heard = np.zeros(plan.spec.coordinates, np.int64), set[int]()
    received = 0
    for device, reply in replies:
        received += 1
        try:
            contribution = decode_contribution(
                reply, plan=plan.digest, coordinates=plan.spec.coordinates
            )
        except MessageError:
            continue
        enrolled = 1 <= device <= plan.spec.units and device not in heard
        if enrolled and _acceptable(contribution, number, limit):
            total += contribution.update
            heard.add(device)
    return BoundedSum(total, limit, plan.grid), len(heard), received


def _acceptable(contribution: Contribution, number: int, limit: int) -> bool:
    return contribution.round == number and squared_norm(contribution.update) <= limit


def _release(
    total: BoundedSum, plan: PrivacyPlan, entropy: Entropy, number: int
) -> Integer:
    if plan.noise_multiplier is None:
        return total.total
    key = entropy.key(f"noise/{plan.digest.hex()}/{number}")
    return add_gaussian(total, plan.noise_multiplier, key=key)
