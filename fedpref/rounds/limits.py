"""What a device of a plan insists on in the secure sum, request by request.

Guarantees: the number of a request alone decides what is asked for, so its vector has
the length of that stage and no other; a number that the plan has not is refused. Does
not give: the owner's floor under the plan itself, which ``fedpref.floor`` is.
"""

from fedpref.cohorts import exact
from fedpref.errors import MessageError
from fedpref.plan import PrivacyPlan
from fedpref.secagg.member import Limits


def limits_of(plan: PrivacyPlan, number: int) -> Limits:
    """What a device of this plan insists on in the request with this number.

    Raises:
        MessageError: The plan has no such request.
    """
    if not 1 <= number <= plan.reserved_rounds:
        raise MessageError(f"round = {number}, but the plan has {plan.reserved_rounds}")
    return Limits(
        colluders=exact(plan.spec.colluders),
        contributors=plan.spec.counts.contributors,
        min_survivors=plan.min_survivors,
        coordinates=plan.stage(number).words,
        word_bits=plan.spec.word_bits,
        neighbours=plan.spec.counts.neighbours,
    )
