"""A device's half of a round, straight down: invitation in, contribution out.

Guarantees: only an invitation of the agreed plan and of a new round is answered; the
contribution has integer norm within the plan's bound whatever the data; the same
request again gets the same bytes; whatever goes wrong *in the data* (exceptions, NaN,
infinite rows) becomes a zero contribution of the same size, never a missing one.

Does not give: secrecy from the server with central noise. It reads the contribution.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from fedpref.core.clip import clip_units
from fedpref.core.grid import sum_on_grid
from fedpref.core.types import Float
from fedpref.errors import MessageError
from fedpref.plan import PrivacyPlan
from fedpref.secagg.messages import (
    Contribution,
    Invitation,
    decode_invitation,
    encode_contribution,
)

Gradient = Callable[[Float], Float]
"""Model vector ``[coordinates]`` -> one row a unit ``[units, coordinates]``."""


@dataclass(frozen=True)
class ClientState:
    """What a device remembers between messages; no message carries ``failures``."""

    last_round: int = 0
    last_request: bytes = b""
    last_reply: bytes = field(default=b"", repr=False)
    failures: int = 0


def answer(
    request: bytes, state: ClientState, *, plan: PrivacyPlan, gradient: Gradient
) -> tuple[bytes, ClientState]:
    """Reply to ``request``, and what to remember.

    Raises:
        MessageError: The request is malformed, of another plan, beyond the planned
            rounds, or a second request for a round that was answered.
    """
    fingerprint = hashlib.sha256(request).digest()
    if fingerprint == state.last_request:
        return state.last_reply, state
    invitation = decode_invitation(
        request, plan=plan.digest, coordinates=plan.spec.coordinates
    )
    _check_round(invitation.round, state, plan)
    rows, failed = _rows(gradient, invitation, plan)
    clipped = clip_units(rows, plan.spec.clip)
    update = sum_on_grid(clipped, plan.grid).total
    reply = encode_contribution(Contribution(invitation.round, plan.digest, update))
    remembered = replace(
        state,
        last_round=invitation.round,
        last_request=fingerprint,
        last_reply=reply,
        failures=state.failures + int(failed or clipped.zeroed > 0),
    )
    return reply, remembered


def _check_round(round_: int, state: ClientState, plan: PrivacyPlan) -> None:
    if round_ <= state.last_round:
        raise MessageError(f"round = {round_}: round {state.last_round} was answered")
    if round_ > plan.spec.rounds:
        raise MessageError(f"round = {round_}, but the plan has {plan.spec.rounds}")


def _rows(
    gradient: Gradient, invitation: Invitation, plan: PrivacyPlan
) -> tuple[Float, bool]:
    """The person's gradient, or zeros: a visible failure would tell about the data."""
    nothing = np.zeros((1, plan.spec.coordinates))
    try:
        rows = np.asarray(gradient(invitation.model), dtype=np.float64)
    except Exception:
        return nothing, True
    return (rows, False) if rows.shape == nothing.shape else (nothing, True)
