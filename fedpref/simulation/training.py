"""The rounds of one run, over whichever road carries the messages."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from fedpref.core.entropy import Entropy
from fedpref.core.types import Adversary, Float
from fedpref.errors import TooFewSurvivors
from fedpref.plan import PrivacyPlan
from fedpref.rounds import evaluation, moment
from fedpref.rounds.client import Contribute
from fedpref.rounds.contribution import Contribution, Turn, contribute
from fedpref.rounds.own import Keeper, Limits
from fedpref.rounds.plain import plain
from fedpref.rounds.secure import Head, secure
from fedpref.rounds.server import (
    Gather,
    Journal,
    Send,
    ServerState,
    run_after,
    run_round,
    start,
)
from fedpref.simulation.drawing import cohort
from fedpref.simulation.dropouts import Unreliable
from fedpref.simulation.enrolment import enrol
from fedpref.simulation.own_budgets import Sent
from fedpref.simulation.setup import (
    Setup,
    client_gradients,
    client_offsets,
    client_statistics,
)
from fedpref.stages import Purpose, Stage
from fedpref.transport.in_process import Carry, Endpoint, SecureDevice, SimulatedDevice


class Diary(Journal, Protocol):
    """A journal that also knows which round comes next."""

    def next_round(self) -> int:
        """From 1; beyond the reserved rounds when nothing is left."""

    def attempts(self) -> int:
        """How often devices have been asked so far."""

    def asked(self) -> Sequence[int]:
        """Numbers of the requests so far, rising."""

    def head(self) -> Head:
        """Where the ledger stands."""


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
    own limits, number and bound of the contributions that count against them.
    """

    state: ServerState
    failures: int
    sent: Mapping[str, Sent] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class _Devices:
    """The simulated devices, the roads to them, and how the server sums."""

    endpoints: Mapping[int, Endpoint]
    failures: Callable[[], int]
    sent: Callable[[], Mapping[str, Sent]]
    gather: Callable[[int, Send], Gather]


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
    current = start(setup.model.initial(), optimiser) if state is None else state
    devices = _devices(setup, entropy, journal)

    def drive(send: Send) -> None:
        nonlocal current
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
            except TooFewSurvivors:
                spare -= 1
                if spare < 0 or not _left(setup, journal):
                    raise
                continue
            on_round(describe(current, setup, time.perf_counter() - begun), current)
        if not whole or not current.steps:
            return
        for stage in setup.plan.stages[1:]:
            if journal.next_round() <= stage.first:
                current = _after(
                    stage, setup, current, devices, send, journal, on_round
                )

    carry(devices.endpoints, drive)
    return Trained(current, devices.failures(), devices.sent())


def _left(setup: Setup, journal: Diary) -> bool:
    """Whether devices may be asked again; they count requests, not releases.

    A round that was charged before a crash has been asked for, and is to be finished.
    """
    limit, round_ = setup.plan.spec.training_rounds, journal.next_round()
    begun = journal.pending(round_) is not None
    return round_ <= limit and journal.attempts() < limit + begun


def _after(
    stage: Stage,
    setup: Setup,
    state: ServerState,
    devices: "_Devices",
    send: Send,
    journal: Diary,
    on_round: Callable[[Round, ServerState], None],
) -> ServerState:
    """The state with what ``stage`` releases, or as it was if too few answered.

    Devices answer no number twice, so there is no second try.
    """
    begun = time.perf_counter()
    keep = moment.keep if stage.purpose is Purpose.MOMENT else evaluation.keep
    try:
        done = run_after(
            stage.first,
            state,
            keep=partial(keep, plan=setup.plan),
            gather=devices.gather(stage.first, send),
            journal=journal,
        )
    except TooFewSurvivors:
        return state
    on_round(describe(done, setup, time.perf_counter() - begun), done)
    return done


def _devices(setup: Setup, entropy: Entropy, journal: Diary) -> _Devices:
    plan = setup.plan
    statistics, offsets = client_statistics(setup), client_offsets(setup)
    own: dict[int, Contribute] = {}
    keepers: dict[str, Keeper] = {}
    for number, (user, gradient) in enumerate(client_gradients(setup).items(), start=1):
        made = partial(
            contribute,
            device=number,
            plan=plan,
            gradient=gradient,
            entropy=entropy,
            statistics=statistics[user],
            offset=offsets.get(user),
        )
        own[number] = made
        if user in setup.limits:
            keeper = _keeper(plan, setup.limits[user], made, journal)
            own[number] = keepers[user] = keeper
    found: Mapping[int, SimulatedDevice | SecureDevice]
    road: Callable[..., Gather]
    if setup.scenario.masked:
        enrolled = enrol(plan, setup.scenario.run.name, journal.head)
        found = {
            number: SecureDevice(
                enrolled.members[number],
                own[number],
                limit=plan.reserved_rounds,
                work=enrolled.work,
            )
            for number in own
        }
        road = partial(secure, coordinator=enrolled.coordinator)
    else:
        answered = journal.attempts()
        found = {i: SimulatedDevice(plan, made, answered) for i, made in own.items()}
        road = partial(plain, entropy=entropy)
    rate = setup.scenario.cohort.dropout
    endpoints: Mapping[int, Endpoint] = found
    if rate:
        endpoints = {
            number: Unreliable(device, number, rate, entropy)
            for number, device in found.items()
        }

    def gather(attempt: int, send: Send) -> Gather:
        asked = cohort(plan, attempt, entropy=entropy)
        return road(plan, asked, attempt=attempt, send=send, journal=journal)

    return _Devices(
        endpoints,
        lambda: sum(device.failures > 0 for device in found.values()),
        lambda: {user: keeper.sent for user, keeper in keepers.items()},
        gather,
    )


def _keeper(
    plan: PrivacyPlan, limits: Limits, made: Callable[..., Contribution], journal: Diary
) -> Keeper:
    """A device with its owner's limits, as far as it had come before a stop.

    Its book is lost with the process. Whether a person speaks follows from the plan,
    the limits and the requests, so it is made again from the requests.
    """

    def make(number: int, model: Float, turn: Turn) -> Contribution:
        return made(number, model, own=turn)

    return Keeper(plan, limits, make, journal.asked())


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
