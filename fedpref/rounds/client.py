"""A device's half of a round whose contributions the server reads.

Under secure aggregation ``fedpref.secagg.client`` takes its place; both send what
``fedpref.rounds.contribution`` makes.

Guarantees: only an invitation of the agreed plan and of a new round is answered; the
same request again gets the same bytes. Does not give: secrecy from the server.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fedpref.core.types import Float
from fedpref.errors import MessageError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.contribution import Contribution
from fedpref.secagg import messages

Contribute = Callable[[int, Float], Contribution]
"""Number of the request and model to this device's contribution; never raises."""


@dataclass(frozen=True)
class ClientState:
    """What a device remembers between messages; no message carries ``failures``."""

    last_round: int = 0
    last_request: bytes = b""
    last_reply: bytes = field(default=b"", repr=False)
    failures: int = 0


def answer(
    request: bytes, state: ClientState, *, plan: PrivacyPlan, contribute: Contribute
) -> tuple[bytes, ClientState]:
    """Reply to ``request``, and what to remember.

    Raises:
        MessageError: The request is malformed, of another plan, beyond the planned
            requests, or a second request for a round that was answered.
    """
    fingerprint = hashlib.sha256(request).digest()
    if fingerprint == state.last_request:
        return state.last_reply, state
    invitation = messages.decode_invitation(
        request, plan=plan.digest, coordinates=plan.spec.coordinates
    )
    _check_round(invitation.round, state, plan)
    made = contribute(invitation.round, invitation.model)
    reply = messages.encode_contribution(
        messages.Contribution(invitation.round, plan.digest, made.update)
    )
    remembered = replace(
        state,
        last_round=invitation.round,
        last_request=fingerprint,
        last_reply=reply,
        failures=state.failures + int(made.failed),
    )
    return reply, remembered


def _check_round(round_: int, state: ClientState, plan: PrivacyPlan) -> None:
    if round_ <= state.last_round:
        raise MessageError(f"round = {round_}: round {state.last_round} was answered")
    if round_ > plan.reserved_rounds:
        raise MessageError(f"round = {round_}, but the plan has {plan.reserved_rounds}")
