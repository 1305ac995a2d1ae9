"""What a training needs of a journal beyond what a round does."""

from collections.abc import Sequence
from typing import Protocol

from fedpref.rounds.secure import Head
from fedpref.rounds.server import Journal


class Diary(Journal, Protocol):
    """A journal that also knows which round comes next."""

    def next_round(self) -> int:
        """From 1; beyond the reserved rounds when nothing is left."""

    def attempts(self) -> int:
        """How often devices have been asked so far."""

    def asked(self) -> Sequence[int]:
        """Numbers of the requests so far, rising."""

    def head(self) -> Head:
        """Where the ledger stands."""
