"""The sealed plan of what a study learns together.

Guarantees: user level, zero-out, everybody in every round, noise from the devices; one
total for training and what comes after. Nothing in it depends on an answer.

Does not give: a reservation in a ledger. A study books nothing.
"""

from fractions import Fraction
from functools import lru_cache
from math import isinf

from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.secagg.neighbours import MOST_ON_REQUEST
from fedpref.stages import Moment
from fedpref.study.settings import COLLUDERS, MIN_SURVIVORS, Learning


@lru_cache(maxsize=256)
def plan_of(
    people: int,
    coordinates: int,
    learning: Learning,
    epsilon: float,
    moment: Moment | None = None,
) -> PrivacyPlan:
    """The sealed plan: everybody in every round, noise from the devices.

    Against the server; for more people than the complete graph has room for, against
    outsiders.

    Raises:
        PlanError: No plan keeps this epsilon.
    """
    bare = isinf(epsilon)
    complete = people <= MOST_ON_REQUEST
    server = complete and not bare
    return PrivacySpec(
        unit=Unit.USER,
        noise=Noise.NONE if bare else Noise.DISTRIBUTED,
        participation=Participation.ALL,
        against=Adversary.SERVER if server else Adversary.OUTSIDER,
        target_epsilon=None if bare else epsilon,
        delta=None,
        clip=learning.clip,
        rounds=learning.rounds,
        spare_rounds=0,
        units=people,
        cohort=people,
        units_per_client=1,
        sampling_prob=Fraction(1),
        coordinates=coordinates,
        min_survivors=MIN_SURVIVORS,
        colluders=COLLUDERS,
        word_bits=24,
        complete_graph=complete,
        moment=moment,
    ).calibrate()
