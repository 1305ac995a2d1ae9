"""How people differ from the released model: one noisy second moment.

Each person's device fits an offset to the released head from the person's own answers,
shortens it to the plan's norm c and puts ``b b'`` into the secure sum. The mean over
people is the prior of a new person's offset (empirical Bayes).

Guarantees: the release is one of the plan's, priced together with the rounds that
trained; what comes after it (a symmetric matrix, a projection) is post-processing.

Does not give: a covariance. Noise leaves eigenvalues of either sign, shortened offsets
and missing people make it smaller; ``fedpref.study.prior`` makes a prior of it.
"""

from dataclasses import replace
from math import sqrt

from fedpref.core.types import Float
from fedpref.plan import PrivacyPlan
from fedpref.rounds.contribution import moment_unit
from fedpref.rounds.server import Noisy, ServerState, reals
from fedpref.stages import Moment, Purpose


def keep(noisy: Noisy, state: ServerState, *, plan: PrivacyPlan) -> ServerState:
    """The state with the sums in ``moment``."""
    stage, moment = plan.require(Purpose.MOMENT), _moment(plan)
    found = reals(noisy.total, stage, plan)[: moment.size]
    return replace(state, moment=found / moment_unit(stage.clip, moment))


def mean(released: Float, plan: PrivacyPlan) -> Float:
    """The released sums divided by a constant: the mean ``svec``, ``[D (D + 1) / 2]``.

    The divisor is how many people the plan expects, so each who is missing makes the
    mean smaller. ``fedpref.core.moments.unsvec`` makes a symmetric matrix of it.
    """
    return released / _people(plan)


def noise_stddev(plan: PrivacyPlan) -> float:
    """Least standard deviation of the noise on an entry of :func:`mean`."""
    stage, moment = plan.require(Purpose.MOMENT), _moment(plan)
    steps = sqrt(float(stage.noise_variance_grid))
    unit = moment_unit(stage.clip, moment)
    return steps * stage.grid.step / unit / _people(plan)


def _people(plan: PrivacyPlan) -> float:
    return float(plan.spec.cohort * plan.spec.sampling_prob)


def _moment(plan: PrivacyPlan) -> Moment:
    plan.require(Purpose.MOMENT)
    assert plan.spec.moment is not None  # a stage is made of it
    return plan.spec.moment
