"""The sum of contributions that the server can read, one by one.

With central noise it adds the noise itself. With distributed noise every contribution
carries its share already: this is ``secagg.mode = "sum"``, the same integers as under
the protocol, for simulations that do not test the masks.

Guarantees: a malformed contribution, one beyond the plan's bound, a second one of a
device, or one of a device that is not asked is not added; fewer than ``min_survivors``
abort the round and release nothing, and so does a sum that honest devices cannot have
made (``fedpref.rounds.ranges``); the round is charged before it is released. Does not
give: protection from this server.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from fedpref.core.entropy import Entropy
from fedpref.core.grid import squared_norm
from fedpref.core.mask import centred, to_words
from fedpref.core.noise import add_gaussian
from fedpref.core.types import BoundedSum, Integer, Noise
from fedpref.errors import IntegrityError, MessageError, TooFewSurvivors
from fedpref.plan import PrivacyPlan
from fedpref.rounds.ranges import in_range
from fedpref.rounds.server import Gather, Journal, Noisy, Send, asked_stage
from fedpref.secagg.messages import (
    Contribution,
    Invitation,
    decode_contribution,
    encode_invitation,
)
from fedpref.stages import Stage


def plain(
    plan: PrivacyPlan,
    cohort: Iterable[int],
    *,
    attempt: int,
    entropy: Entropy,
    send: Send,
    journal: Journal,
) -> Gather:
    """The way to sum readable contributions of ``cohort``.

    Args:
        plan: The sealed plan.
        cohort: Devices to ask.
        attempt: Number of the request, which devices see rise; a round that was given
            up is tried again under a higher one.
        entropy: Source of central noise.
        send: The only way out to the devices.
        journal: Charges the round.
    """

    def gather(number: int, model: np.ndarray) -> Noisy:
        stage = asked_stage(plan, number, attempt)
        invitation = encode_invitation(Invitation(attempt, plan.digest, model))
        requests = dict.fromkeys(cohort, invitation)
        found = _sum(send(requests), set(requests), attempt, plan)
        if found.survivors < plan.min_survivors:
            journal.give_up(number, refund=found.received == 0)
            raise TooFewSurvivors(
                f"round {number}: survivors = {found.survivors}, must be >= "
                f"{plan.min_survivors}; nothing was released"
            )
        total = _noised(found.total, stage, plan, entropy, number)
        try:
            total = in_range(total, plan, number, found.survivors)
        except IntegrityError as error:
            journal.give_up(number, refund=False)
            raise TooFewSurvivors(f"round {number}: {error}") from None
        noisy = Noisy(total, found.survivors)
        digest = digest_of(noisy)
        journal.hold(number, noisy, digest)
        journal.charge(number, digest)
        return noisy

    return gather


def digest_of(noisy: Noisy) -> bytes:
    """SHA-256 of a sum and its survivors."""
    content = noisy.total.astype("<i8").tobytes()
    return sha256(content + noisy.survivors.to_bytes(8, "little")).digest()


@dataclass(frozen=True)
class _Found:
    """The sum, how many were added, and how many replies came at all."""

    total: Integer
    survivors: int
    received: int


def _sum(
    replies: Iterable[tuple[int, bytes]],
    asked: set[int],
    attempt: int,
    plan: PrivacyPlan,
) -> _Found:
    stage = plan.stage(attempt)
    total, heard = np.zeros(stage.words, np.int64), set[int]()
    received = 0
    for device, reply in replies:
        received += 1
        try:
            contribution = decode_contribution(
                reply, plan=plan.digest, coordinates=stage.words
            )
        except MessageError:
            continue
        fresh = device in asked and device not in heard
        if fresh and _acceptable(contribution, attempt, plan):
            total += contribution.update
            heard.add(device)
    return _Found(total, len(heard), received)


def _acceptable(message: Contribution, attempt: int, plan: PrivacyPlan) -> bool:
    """Whether a contribution is of this request and, where it is bare, in its bound."""
    if message.round != attempt:
        return False
    if plan.spec.noise is Noise.DISTRIBUTED:
        half = 1 << (plan.spec.word_bits - 1)
        # Not abs(): in int64 the absolute value of -2**63 is itself.
        low, high = int(message.update.min()), int(message.update.max())
        return -half < low and high < half
    return squared_norm(message.update) <= plan.stage(attempt).sensitivity_squared


def _noised(
    total: Integer, stage: Stage, plan: PrivacyPlan, entropy: Entropy, number: int
) -> Integer:
    if plan.spec.noise is Noise.DISTRIBUTED:
        bits = plan.spec.word_bits  # wraps as it would under masks
        return centred(to_words(total, bits), bits)
    if stage.multiplier is None:
        return total
    key = entropy.key(f"noise/{plan.digest.hex()}/{number}")
    bounded = BoundedSum(total, stage.sensitivity_squared, stage.grid)
    return add_gaussian(bounded, stage.multiplier, key=key)
