"""What a run writes down around each release, in an order that survives a crash.

    noisy sum computed     nothing durable: the round is as if it had not been tried
    pending file           the noisy sum, durable, unpublished
    UNMASKING row          charged: from here on the round counts
    checkpoint             the new model, durable, unpublished
    RELEASED row           from here on the model may go out
    pending file deleted

Guarantees: a round that was charged is finished with the very sum that was charged, so
it is released once and paid once; a checkpoint that is behind the ledger is refused.
Does not give: secrecy of the pending file; with central noise this machine is trusted
with far more than that.
"""

from dataclasses import dataclass
from hashlib import sha256

from fedpref.core import ledger as core
from fedpref.core.ledger import Account
from fedpref.errors import IntegrityError
from fedpref.rounds.server import Noisy, ServerState
from fedpref.simulation.folder import RunFolder
from fedpref.store.ledger import Ledger


@dataclass(frozen=True)
class RunJournal:
    """The journal of one run in one ledger."""

    folder: RunFolder
    ledger: Ledger
    run: str
    seal: bytes

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
        if finished and state is not None:
            self._released(state)
        elif account.unmasking is None:
            self.folder.drop_pending()
        return state

    def next_round(self) -> int:
        """The round to run now: one that was charged but not released, or the next."""
        account = self.account
        return account.charged + (account.unmasking is None)

    def pending(self, round_: int) -> Noisy | None:
        """The noisy sum of a round that was charged before a crash."""
        account = self.account
        if account.unmasking is None or account.charged != round_:
            return None
        noisy = self.folder.load_pending(self.seal)
        if _digest(noisy) != account.unmasking:
            raise IntegrityError(
                f"{self.folder.path}: the pending sum of round {round_} is not the one "
                "that was charged; the round stays charged, start a new run"
            )
        return noisy

    def charge(self, round_: int, noisy: Noisy) -> None:
        """Make the sum durable, then the charge. Nothing has been revealed before."""
        self.folder.save_pending(noisy, self.seal)
        digest = _digest(noisy)
        self.ledger.append(lambda book: core.unmask(book, self.run, round_, digest))

    def settle(self, state: ServerState) -> None:
        """Make the new model durable, then say that it is released."""
        self.folder.save_state(state, self.seal)
        self._released(state)

    def give_up(self, round_: int, received: int) -> None:
        """Abort a round. Uploads were readable, so one that got any is not refunded."""
        refund = received == 0
        self.ledger.append(
            lambda book: core.abort(book, self.run, round_, refund=refund)
        )

    def _released(self, state: ServerState) -> None:
        digest = sha256(state.model.tobytes()).hexdigest()
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

    def charge(self, round_: int, noisy: Noisy) -> None:
        """Nothing is released."""

    def settle(self, state: ServerState) -> None:
        """Count the round."""
        self.rounds = state.round

    def give_up(self, round_: int, received: int) -> None:
        """Count the round."""
        self.rounds = round_


def _digest(noisy: Noisy) -> str:
    return sha256(
        noisy.total.astype("<i8").tobytes() + noisy.survivors.to_bytes(8, "little")
    ).hexdigest()
