"""What a run writes down around each release, in an order that survives a crash.

    readable contributions    secure aggregation
    noisy sum computed        masked sum computed    as if it had not been tried
    pending file              record file            what the sum is finished from
    UNMASKING row             UNMASKING row          charged: the round counts
                              shares asked for
                              pending file           the noisy sum, unpublished
    checkpoint                checkpoint             the new model, unpublished
    RELEASED row              RELEASED row           the model may go out
    pending file deleted      both files deleted

Guarantees: a round that was charged is finished with the very sum that was charged, so
it is released once and paid once; one that was charged and not unmasked is unmasked
from its record, or stays charged where its devices are gone; a checkpoint that is
behind the ledger, or is not the one that was released, is refused.
Does not give: secrecy of the pending file; with central noise this machine is trusted
with far more than that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from fedpref.core import ledger as core
from fedpref.core.book import Account
from fedpref.core.rows import GENESIS, row_hash
from fedpref.errors import IntegrityError
from fedpref.rounds.secure import Head
from fedpref.rounds.server import Noisy, ServerState
from fedpref.simulation.folder import RunFolder
from fedpref.store.ledger import Ledger, read_rows


@dataclass(frozen=True)
class RunJournal:
    """The journal of one run in one ledger.

    ``lasting`` says whether the devices outlive this process, and answer again what
    they have answered. Simulated ones do not: of a round that waits for their shares no
    record is kept, and after a crash it stays charged.
    """

    folder: RunFolder
    ledger: Ledger
    run: str
    seal: bytes
    masked: bool
    lasting: bool = False

    @property
    def account(self) -> Account:
        """How far the run's reservation has been used."""
        return self.ledger.book.accounts[self.run]

    def recover(self) -> ServerState | None:
        """The state to go on from, brought in line with the ledger.

        Raises:
            IntegrityError: Checkpoint and ledger do not tell of the same rounds.
        """
        state = self.folder.load_state(self.seal)
        reached = 0 if state is None else state.round
        account = self.account
        finished = account.unmasking is not None and reached == account.charged
        if reached != account.released and not finished:
            raise IntegrityError(
                f"{self.folder.path}: its checkpoint is at round {reached}, but the "
                f"ledger says that round {account.released} was released; an old copy "
                "of one of them was put back, start a new run"
            )
        if state is not None and state.round == account.released:
            self._check(state)
        if finished and state is not None:
            self._released(state)
        elif account.unmasking is None:
            self.folder.drop_pending()
        elif self.masked and not self.folder.has_pending and not self.lasting:
            self.give_up(account.charged, refund=False)  # charged, never unmasked
        return state

    def next_round(self) -> int:
        """The round to run now: one that was charged but not released, or the next.

        As the ledger numbers them; beyond the last one when nothing is left. What is
        left of a part may be skipped, by going on at the first number of a later one.
        """
        account = self.account
        return account.charged + (account.unmasking is None)

    def pending(self, round_: int) -> Noisy | None:
        """The noisy sum of a round that was charged before a crash."""
        account = self.account
        if account.unmasking is None or account.charged != round_:
            return None
        if self.folder.has_record and not self.folder.has_pending:
            return None  # still to be unmasked
        noisy, digest = self.folder.load_pending(self.seal)
        if digest.hex() != account.unmasking:
            raise IntegrityError(
                f"{self.folder.path}: the pending sum of round {round_} is not the one "
                "that was charged; the round stays charged, start a new run"
            )
        return noisy

    def kept(self, round_: int) -> tuple[bytes, bytes] | None:
        """The record of a round that was charged and not unmasked before a crash."""
        account = self.account
        waiting = account.unmasking is not None and account.charged == round_
        if not self.lasting or not waiting or account.unmasking is None:
            return None
        return self.folder.load_record(self.seal), bytes.fromhex(account.unmasking)

    def keep(self, round_: int, record: Callable[[], bytes]) -> None:
        """Make the record durable, before the charge that it explains."""
        if self.lasting:
            self.folder.save_record(record(), self.seal)

    def charge(self, round_: int, digest: bytes) -> None:
        """Make the charge durable. Nothing has been revealed before."""
        charged = digest.hex()
        self.ledger.append(lambda book: core.unmask(book, self.run, round_, charged))

    def hold(self, round_: int, noisy: Noisy, digest: bytes) -> None:
        """Make the sum durable, with the digest that its charge carries."""
        self.folder.save_pending(noisy, digest, self.seal)

    def attempts(self) -> int:
        """How often devices have been asked for a round that has come to an end.

        Without masks a round is refunded only if nobody answered, so it may be asked
        for under the same number. With masks every request has a new number; the first
        one of a later part is that of the ledger, whatever was skipped before.
        """
        account = self.account
        if not self.masked:
            return account.charged
        return max(account.charged, sum(account.used) + account.refunded)

    def asked(self) -> tuple[int, ...]:
        """Numbers of the requests that :meth:`attempts` counts, rising.

        With masks a refunded round has been asked for, and it is not known of which
        part it was: it is taken for one of the first, which trains.
        """
        plan, numbers = self.account.reservation, list[int]()
        more = self.account.refunded if self.masked else 0
        for first, part, used in zip(
            plan.firsts, plan.parts, self.account.used, strict=True
        ):
            numbers.extend(range(first, first + min(part.rounds, used + more)))
            more = 0
        return tuple(numbers)

    def head(self) -> Head:
        """Where the ledger stands."""
        rows = list(read_rows(self.ledger.path))
        return Head(tuple(row_hash(row) for row in rows), self.ledger.book.head)

    def settle(self, state: ServerState) -> None:
        """Make the new model durable, then say that it is released."""
        self.folder.save_state(state, self.seal)
        self._released(state)

    def give_up(self, round_: int, *, refund: bool) -> None:
        """Abort a round."""
        self.ledger.append(
            lambda book: core.abort(book, self.run, round_, refund=refund)
        )
        self.folder.drop_pending()

    def _check(self, state: ServerState) -> None:
        """The state is the one that was released, and not another one of its round."""
        if _digest_of(state) != self.account.output:
            raise IntegrityError(
                f"{self.folder.path}: its checkpoint of round {state.round} is not the "
                "one that the ledger says was released; it was changed or put back, "
                "start a new run"
            )

    def _released(self, state: ServerState) -> None:
        digest = _digest_of(state)
        self.ledger.append(
            lambda book: core.release(book, self.run, state.round, digest)
        )
        self.folder.drop_pending()


@dataclass
class NoJournal:
    """For trainings that are compared with and never published; charges nothing."""

    rounds: int = 0

    def next_round(self) -> int:
        """The round to run now."""
        return self.rounds + 1

    def pending(self, round_: int) -> Noisy | None:
        """Nothing outlives such a training."""
        return None

    def kept(self, round_: int) -> tuple[bytes, bytes] | None:
        """Nothing outlives such a training."""
        return None

    def keep(self, round_: int, record: Callable[[], bytes]) -> None:
        """Nothing outlives such a training."""

    def charge(self, round_: int, digest: bytes) -> None:
        """Nothing is released."""

    def hold(self, round_: int, noisy: Noisy, digest: bytes) -> None:
        """Nothing outlives such a training."""

    def attempts(self) -> int:
        """How often devices have been asked."""
        return self.rounds

    def asked(self) -> range:
        """Numbers of the requests so far."""
        return range(1, 1 + self.rounds)

    def head(self) -> Head:
        """There is no ledger."""
        return Head((), GENESIS)

    def settle(self, state: ServerState) -> None:
        """Count the round."""
        self.rounds = state.round

    def give_up(self, round_: int, *, refund: bool) -> None:
        """Count the round."""
        self.rounds = round_


def _digest_of(state: ServerState) -> str:
    """Of everything that a state leads to: the model, its average, what comes next."""
    counts = np.array(
        [state.round, state.steps, state.survivors, state.last_count], "<i8"
    )
    named = {**state.optimiser, "model": state.model, "last_sum": state.last_sum}
    named |= {"evaluation": state.evaluation, "moment": state.moment}
    named |= {"statistic": state.statistic}
    digest = sha256(counts.tobytes())
    for name, value in sorted(named.items()):
        digest.update(f"{name}:{value.size}:".encode())
        digest.update(value.astype("<f8").tobytes())
    return digest.hexdigest()
