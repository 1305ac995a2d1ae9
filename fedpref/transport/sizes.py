"""The plan's cap on replies, on whichever road they come.

Guarantees: of a reply that is longer than any legal one of the plan's rounds no more is
handed on than that it came, whoever sent it. Does not give: a bound on what a road
holds before it hands a reply on; Flower's messages arrive whole.
"""

from collections.abc import Iterator

from fedpref.plan import PrivacyPlan
from fedpref.rounds.secure import terms_of
from fedpref.rounds.server import Requests, Send
from fedpref.secagg import sizes
from fedpref.secagg.messages import size_of
from fedpref.secagg.wire import Kind

_UPWARD = (Kind.ADVERT, Kind.SHARES, Kind.UPLOAD, Kind.AGREEMENT, Kind.REVEAL)


def largest_reply(plan: PrivacyPlan) -> int:
    """The most bytes that a legal reply has in any round of the plan."""
    clients = plan.spec.units  # a cohort that is drawn may be all of them
    lengths = [
        sizes.largest(kind, terms_of(plan, stage.first), clients)
        for stage in plan.stages
        for kind in _UPWARD
    ]
    readable = size_of(max(stage.words for stage in plan.stages))
    return max(*lengths, readable)


def within(send: Send, most: int) -> Send:
    """``send``, with an empty reply in place of one longer than ``most`` bytes.

    No leg takes an empty one. That it came counts: a round in which something was
    received is not refunded where contributions can be read.
    """

    def capped(requests: Requests) -> Iterator[tuple[int, bytes]]:
        for device, reply in send(requests):
            yield device, reply if len(reply) <= most else b""

    return capped
