"""The devices of a run: what each contributes, and how the server sums.

Usually all of them are simulated in this process. With ``Elsewhere`` as the road they
are other processes, which hold the keys that were issued before, and this one has none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from fedpref.core.entropy import Entropy
from fedpref.core.types import Float
from fedpref.errors import SetupError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.client import Contribute
from fedpref.rounds.contribution import Contribution, Turn, contribute
from fedpref.rounds.own import Keeper, Limits
from fedpref.rounds.plain import plain
from fedpref.rounds.secure import secure
from fedpref.rounds.server import Gather, Send
from fedpref.simulation.device_work import (
    client_gradients,
    client_offsets,
    client_statistics,
)
from fedpref.simulation.diary import Diary
from fedpref.simulation.drawing import cohort
from fedpref.simulation.dropouts import Unreliable
from fedpref.simulation.elsewhere import Elsewhere
from fedpref.simulation.enrolment import enrol
from fedpref.simulation.own_budgets import Sent
from fedpref.simulation.setup import Setup
from fedpref.transport.in_process import Carry, Endpoint, SecureDevice, SimulatedDevice


@dataclass(frozen=True, repr=False)
class Devices:
    """The simulated devices, the roads to them, and how the server sums."""

    endpoints: Mapping[int, Endpoint]
    failures: Callable[[], int]
    sent: Callable[[], Mapping[str, Sent]]
    gather: Callable[[int, Send], Gather]


def contributions(
    setup: Setup, entropy: Entropy
) -> dict[str, Callable[..., Contribution]]:
    """What each enrolled person's device computes and adds noise to, in their order.

    Each takes number of the request and model, as ``fedpref.rounds.contribution`` says.
    """
    statistics, offsets = client_statistics(setup), client_offsets(setup)
    return {
        user: partial(
            contribute,
            device=number,
            plan=setup.plan,
            gradient=gradient,
            entropy=entropy,
            statistics=statistics[user],
            offset=offsets.get(user),
        )
        for number, (user, gradient) in enumerate(
            client_gradients(setup).items(), start=1
        )
    }


def devices_of(setup: Setup, entropy: Entropy, journal: Diary, carry: Carry) -> Devices:
    """The devices of a run over the road ``carry``.

    Raises:
        SetupError: They are elsewhere, and the scenario cannot be run with them.
    """
    if isinstance(carry, Elsewhere):
        return _elsewhere(setup, entropy, journal, carry)
    plan = setup.plan
    own: dict[int, Contribute] = {}
    keepers: dict[str, Keeper] = {}
    for number, (user, made) in enumerate(contributions(setup, entropy).items(), 1):
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
    return Devices(
        endpoints,
        lambda: sum(device.failures > 0 for device in found.values()),
        lambda: {user: keeper.sent for user, keeper in keepers.items()},
        _summed(plan, entropy, journal, road),
    )


def _elsewhere(
    setup: Setup, entropy: Entropy, journal: Diary, carry: Elsewhere
) -> Devices:
    if not setup.scenario.masked or setup.limits:
        raise SetupError(
            "devices elsewhere take part under secagg.mode = protocol, and their "
            "owners' limits are not for the server to set; change the scenario"
        )
    task = setup.scenario.run.name
    coordinator = carry.coordinator(setup.plan, task, journal.head)
    road = partial(secure, coordinator=coordinator)
    return Devices({}, lambda: 0, dict, _summed(setup.plan, entropy, journal, road))


def _summed(
    plan: PrivacyPlan, entropy: Entropy, journal: Diary, road: Callable[..., Gather]
) -> Callable[[int, Send], Gather]:
    def gather(attempt: int, send: Send) -> Gather:
        asked = cohort(plan, attempt, entropy=entropy)
        return road(plan, asked, attempt=attempt, send=send, journal=journal)

    return gather


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
