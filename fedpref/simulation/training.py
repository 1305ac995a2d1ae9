"""The rounds of one run, over whichever road carries the messages."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fedpref.core.entropy import Entropy
from fedpref.core.types import Adversary
from fedpref.rounds.server import Journal, Send, ServerState, run_round, start
from fedpref.simulation.setup import Setup, client_gradients
from fedpref.transport.in_process import Carry, SimulatedDevice


class Diary(Journal, Protocol):
    """A journal that also knows which round comes next."""

    def next_round(self) -> int:
        """From 1; beyond the planned rounds when the run is over."""


@dataclass(frozen=True)
class Round:
    """What is public about a finished round."""

    number: int
    planned: int
    epsilon: Mapping[Adversary, float]
    survivors: int
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A finished training: the server's state, and how many devices' data failed."""

    state: ServerState
    failures: int


def train(
    setup: Setup,
    *,
    entropy: Entropy,
    carry: Carry,
    journal: Diary,
    state: ServerState | None = None,
    on_round: Callable[[Round, ServerState], None] = lambda done, state: None,
) -> Trained:
    """Run the planned rounds that are left after ``state``.

    Args:
        setup: People, model and plan.
        entropy: Source of noise.
        carry: The road.
        journal: Charges each round before it is released; knows which comes next.
        state: Where to go on; ``None`` starts at the beginning.
        on_round: Told about each finished round.

    Raises:
        TooFewSurvivors: A round had too few contributions; nothing was released in it.
    """
    optimiser = setup.scenario.server.build()
    current = start(setup.model.initial(), optimiser) if state is None else state
    devices = {
        number: SimulatedDevice(setup.plan, gradient, journal.next_round() - 1)
        for number, gradient in enumerate(client_gradients(setup).values(), start=1)
    }

    def drive(send: Send) -> None:
        nonlocal current
        while (number := journal.next_round()) <= setup.plan.spec.rounds:
            begun = time.perf_counter()
            current = run_round(
                number,
                current,
                plan=setup.plan,
                optimiser=optimiser,
                average_last=setup.scenario.server.average_last,
                entropy=entropy,
                send=send,
                journal=journal,
            )
            on_round(describe(current, setup, time.perf_counter() - begun), current)

    carry(devices, drive)
    return Trained(current, sum(device.failures > 0 for device in devices.values()))


def describe(state: ServerState, setup: Setup, seconds: float) -> Round:
    """What is public about the round that led to ``state``."""
    spent = setup.plan.epsilons(state.round)
    return Round(
        number=state.round,
        planned=setup.plan.spec.rounds,
        epsilon={who: spent[who].epsilon for who in Adversary},
        survivors=state.survivors,
        seconds=seconds,
    )
