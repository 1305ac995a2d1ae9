"""The sum under secure aggregation: five legs, straight down.

Guarantees: the charge is durable before the first request for shares leaves, and what
is charged is the very list of survivors and masked sum that is then unmasked, after a
crash as well; a round that aborts before is refunded in the server's ledger (a device
keeps its own); one that aborts after stays charged. Does not give: more than the
devices themselves check.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fedpref.core.mask import centred
from fedpref.errors import IntegrityError, TooFewSurvivors
from fedpref.plan import PrivacyPlan
from fedpref.rounds.ranges import in_range
from fedpref.rounds.server import Gather, Journal, Noisy, Send, asked_stage
from fedpref.secagg import record, server
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

    def gather(number: int, model: np.ndarray) -> Noisy:
        kept, work = journal.kept(number), coordinator.work
        if kept is None:
            asked_stage(plan, number, attempt)
            try:
                state = _summed(plan, cohort, attempt, coordinator, send, model)
            except TooFewSurvivors as error:
                journal.give_up(number, refund=True)
                raise TooFewSurvivors(f"round {number}: {error}") from None
            digest = record.digest(state)
            journal.keep(number, partial(record.write, state))
            journal.charge(number, digest)
        else:  # charged before a crash: only leg 4 is left
            content, digest = kept
            roster = coordinator.roster
            state = record.read(content, charged=digest, roster=roster, work=work)
        try:
            noisy = _opened(plan, number, state, send, work)
        except (TooFewSurvivors, IntegrityError) as error:
            journal.give_up(number, refund=False)
            raise TooFewSurvivors(f"round {number}: {error}") from None
        journal.hold(number, noisy, digest)
        return noisy

    return gather


def _summed(
    plan: PrivacyPlan,
    cohort: Sequence[int],
    attempt: int,
    coordinator: Coordinator,
    send: Send,
    model: np.ndarray,
) -> server.Round:
    """Legs 0 to 3: a sum under masks, and who agreed that it is to be opened.

    Raises:
        TooFewSurvivors: Nothing was unmasked.
    """
    if len(cohort) < plan.min_survivors:
        raise TooFewSurvivors(
            f"people drawn = {len(cohort)}, must be >= {plan.min_survivors}; nobody "
            "was asked"
        )
    work = coordinator.work
    state, requests = _invite(plan, cohort, attempt, coordinator, model)
    state, requests = server.advertised(state, send(requests), work)
    for certificate in server.tombstones(state, work).values():
        list(send(dict.fromkeys(cohort, certificate)))
    state, requests = server.dealt(state, send(requests), work)
    state, requests = server.uploaded(state, send(requests), work)
    state, _ = server.agreed(state, send(requests), work)
    return state


def _opened(
    plan: PrivacyPlan, number: int, state: server.Round, send: Send, work: Work
) -> Noisy:
    """Leg 4: the sum without its masks.

    Raises:
        TooFewSurvivors: Too few shares came.
        IntegrityError: A dealer's shares are bad, or the sum is out of range.
    """
    replies = send(server.ask_for_shares(state))
    _, words = server.unmask(state, replies, work)
    total = centred(words, plan.spec.word_bits)
    survivors = len(state.survivors)
    return Noisy(in_range(total, plan, number, survivors), survivors)


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
