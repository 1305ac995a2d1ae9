"""The rounds of one run, over whichever road carries the messages."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from fedpref.core.entropy import Entropy
from fedpref.core.types import Adversary
from fedpref.errors import TooFewSurvivors
from fedpref.rounds import evaluation, moment
from fedpref.rounds.optimisers import Optimiser
from fedpref.rounds.server import (
    Send,
    ServerState,
    run_after,
    run_round,
    start,
)
from fedpref.simulation.devices import Devices, devices_of
from fedpref.simulation.diary import Diary
from fedpref.simulation.own_budgets import Sent
from fedpref.simulation.setup import Setup
from fedpref.stages import Purpose, Stage
from fedpref.transport.in_process import Carry
from fedpref.transport.sizes import largest_reply, within


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
    """A finished training; what devices noted is simulation only.

    ``failures`` is how many devices' data failed. ``sent`` has, for each person with
    own limits, number and bound of the contributions that count against them. ``lost``
    says of each request that released nothing why, and names devices where it can.
    """

    state: ServerState
    failures: int
    sent: Mapping[str, Sent] = field(default_factory=dict)
    lost: tuple[str, ...] = ()


def train(
    setup: Setup,
    *,
    entropy: Entropy,
    carry: Carry,
    journal: Diary,
    state: ServerState | None = None,
    whole: bool = False,
    on_round: Callable[[Round, ServerState], None] = lambda done, state: None,
) -> Trained:
    """Run the planned rounds that are left after ``state``.

    Args:
        setup: People, model and plan.
        entropy: Source of noise.
        carry: The road.
        journal: Charges each round before it is released; knows which comes next.
        state: Where to go on; ``None`` starts at the beginning.
        whole: Whether to make the plan's releases that come after training. One for
            which too few devices answer is given up, and the state has none of it.
        on_round: Told about each finished release.

    Raises:
        TooFewSurvivors: Rounds had too few contributions, more of them than there are
            spare ones; nothing was released in them.
    """
    optimiser = setup.scenario.server.build()
    current = _begun(setup, optimiser) if state is None else state
    devices = devices_of(setup, entropy, journal, carry)
    lost: list[str] = []

    def drive(send: Send) -> None:
        nonlocal current
        send = within(send, largest_reply(setup.plan))
        spare = setup.plan.spec.spare_rounds
        while current.steps < setup.plan.spec.rounds and _left(setup, journal):
            begun, attempt = time.perf_counter(), journal.attempts() + 1
            try:
                current = run_round(
                    journal.next_round(),
                    current,
                    plan=setup.plan,
                    optimiser=optimiser,
                    average_last=setup.scenario.server.average_last,
                    gather=devices.gather(attempt, send),
                    journal=journal,
                )
            except TooFewSurvivors as error:
                lost.append(str(error))
                spare -= 1
                if spare < 0 or not _left(setup, journal):
                    raise
                continue
            on_round(describe(current, setup, time.perf_counter() - begun), current)
        if not whole or not current.steps:
            return
        for stage in setup.plan.stages[1:]:
            if journal.next_round() <= stage.first:
                try:
                    current = _after(
                        stage, setup, current, devices, send, journal, on_round
                    )
                except TooFewSurvivors as error:
                    lost.append(str(error))  # devices answer no number twice

    carry(devices.endpoints, drive)
    return Trained(current, devices.failures(), devices.sent(), tuple(lost))


def _begun(setup: Setup, optimiser: Optimiser) -> ServerState:
    """The state before the first round."""
    model = setup.model.initial()
    extra = setup.plan.spec.coordinates - model.size
    return start(model, optimiser, statistics=extra)


def _left(setup: Setup, journal: Diary) -> bool:
    """Whether devices may be asked again; they count requests, not releases.

    A round that was charged before a crash has been asked for, and is to be finished.
    """
    limit, round_ = setup.plan.spec.training_rounds, journal.next_round()
    begun = bool(journal.pending(round_) or journal.kept(round_))
    return round_ <= limit and journal.attempts() < limit + begun


def _after(
    stage: Stage,
    setup: Setup,
    state: ServerState,
    devices: Devices,
    send: Send,
    journal: Diary,
    on_round: Callable[[Round, ServerState], None],
) -> ServerState:
    """The state with what ``stage`` releases."""
    begun = time.perf_counter()
    keep = moment.keep if stage.purpose is Purpose.MOMENT else evaluation.keep
    done = run_after(
        stage.first,
        state,
        keep=partial(keep, plan=setup.plan),
        gather=devices.gather(stage.first, send),
        journal=journal,
    )
    on_round(describe(done, setup, time.perf_counter() - begun), done)
    return done


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
