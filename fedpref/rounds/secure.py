"""The sum under secure aggregation: five legs, straight down.

Guarantees: the charge is durable before the first request for shares leaves, and what
is charged is the very list of survivors and masked sum that is then unmasked; a round
that aborts before is refunded in the server's ledger (a device keeps its own); one that
aborts after stays charged. Does not give: more than the devices themselves check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from fedpref.core.mask import centred
from fedpref.errors import IntegrityError, TooFewSurvivors
from fedpref.plan import PrivacyPlan
from fedpref.rounds.server import Gather, Journal, Noisy, Send, asked_stage
from fedpref.secagg import server
from fedpref.secagg.crypto import Signer, Work
from fedpref.secagg.descriptor import Descriptor, Terms
from fedpref.secagg.roster import Roster


@dataclass(frozen=True)
class Head:
    """Where the server's ledger stands, and the hashes of all its rows."""

    row_hashes: tuple[bytes, ...]
    head: bytes


@dataclass(frozen=True, repr=False)
class Coordinator:
    """Who the server is in the protocol, and whom it talks to.

    ``head`` reads the ledger; ``expiry`` is when descriptors end, seconds since 1970.
    """

    signer: Signer
    roster: Roster
    task: bytes
    expiry: int
    head: Callable[[], Head]
    work: Work


def secure(
    plan: PrivacyPlan,
    cohort: Sequence[int],
    *,
    attempt: int,
    coordinator: Coordinator,
    send: Send,
    journal: Journal,
) -> Gather:
    """The way to sum what nobody can read alone; arguments as for ``plain``."""
    work = coordinator.work

    def gather(number: int, model: np.ndarray) -> Noisy:
        asked_stage(plan, number, attempt)
        if len(cohort) < plan.min_survivors:
            journal.give_up(number, refund=True)
            raise TooFewSurvivors(
                f"round {number}: people drawn = {len(cohort)}, must be >= "
                f"{plan.min_survivors}; nobody was asked"
            )
        state, requests = _invite(plan, cohort, attempt, coordinator, model)
        try:
            state, requests = server.advertised(state, send(requests), work)
            for certificate in server.tombstones(state, work).values():
                list(send(dict.fromkeys(cohort, certificate)))
            state, requests = server.dealt(state, send(requests), work)
            state, requests = server.uploaded(state, send(requests), work)
            state, requests = server.agreed(state, send(requests), work)
        except TooFewSurvivors as error:
            journal.give_up(number, refund=True)
            raise TooFewSurvivors(f"round {number}: {error}") from None
        assert state.masked is not None  # leg 3 came before
        content = state.view.content + state.masked.astype("<u4").tobytes()
        digest = sha256(state.descriptor.rid + content).digest()
        journal.charge(number, digest)
        try:
            _, words = server.unmask(state, send(requests), work)
        except (TooFewSurvivors, IntegrityError) as error:
            journal.give_up(number, refund=False)
            raise TooFewSurvivors(f"round {number}: {error}") from None
        noisy = Noisy(centred(words, plan.spec.word_bits), len(state.survivors))
        journal.hold(number, noisy, digest)
        return noisy

    return gather


def _invite(
    plan: PrivacyPlan,
    cohort: Sequence[int],
    attempt: int,
    coordinator: Coordinator,
    model: np.ndarray,
) -> tuple[server.Round, server.Requests]:
    ledger = coordinator.head()
    padded = np.pad(model, (0, plan.stage(attempt).words - model.size))
    content = np.ascontiguousarray(padded, "<f8").tobytes()
    descriptor = Descriptor(
        task=coordinator.task,
        round=attempt,
        model=bytes(32),
        plan=plan.digest,
        roster=coordinator.roster.digest,
        server=coordinator.signer.public,
        ledger_seq=len(ledger.row_hashes),
        ledger_head=ledger.head,
        expiry=coordinator.expiry,
        terms=terms_of(plan, attempt),
        cohort=tuple(sorted(cohort)),
    ).for_model(content)
    return server.invite(
        descriptor,
        coordinator.roster,
        content,
        signer=coordinator.signer,
        since=0,
        row_hashes=ledger.row_hashes,
    )


def terms_of(plan: PrivacyPlan, number: int) -> Terms:
    """The protocol's numbers of a plan, for the request with this number."""
    return Terms(
        threshold=plan.threshold,
        min_survivors=plan.min_survivors,
        colluders=plan.colluders,
        coordinates=plan.stage(number).words,
        word_bits=plan.spec.word_bits,
        neighbours=plan.spec.counts.neighbours,
    )
