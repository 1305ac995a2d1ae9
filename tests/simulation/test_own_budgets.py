"""Which requests a resumed run takes for answered, from what its ledger says."""

from types import SimpleNamespace

import pytest

from fedpref.simulation.journal import NoJournal, RunJournal


def asked(*, masked, used, refunded=0):
    """Five rounds of training, then two single releases."""
    parts = tuple(SimpleNamespace(rounds=rounds) for rounds in (5, 1, 1))
    plan = SimpleNamespace(parts=parts, firsts=(1, 6, 7))
    account = SimpleNamespace(reservation=plan, used=used, refunded=refunded)
    ledger = SimpleNamespace(book=SimpleNamespace(accounts={"run": account}))
    return RunJournal(None, ledger, "run", b"", masked).asked()


@pytest.mark.parametrize(
    ("masked", "used", "refunded", "expected"),
    [
        (False, (0, 0, 0), 0, ()),
        (False, (3, 0, 0), 0, (1, 2, 3)),
        (False, (3, 1, 0), 0, (1, 2, 3, 6)),  # two spare rounds were not needed
        (False, (3, 0, 1), 2, (1, 2, 3, 7)),  # asked again under the same number
        (True, (3, 1, 0), 1, (1, 2, 3, 4, 6)),  # asked again under a new one
        (True, (5, 1, 1), 1, (1, 2, 3, 4, 5, 6, 7)),
    ],
)
def test_requests_so_far(masked, used, refunded, expected) -> None:
    assert asked(masked=masked, used=used, refunded=refunded) == expected


def test_a_training_that_is_only_compared_with_counts_its_rounds() -> None:
    journal = NoJournal()
    assert list(journal.asked()) == []
    journal.give_up(2, refund=False)
    assert list(journal.asked()) == [1, 2]
