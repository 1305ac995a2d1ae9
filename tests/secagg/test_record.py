"""What a charged round is finished from after a crash: the same bytes, or nothing."""

from dataclasses import replace

import numpy as np
import pytest

from fedpref.core.mask import centred
from fedpref.errors import IntegrityError
from fedpref.secagg import client, record, server
from fedpref.secagg.crypto import SharedWork, Work


def begun(make_cohort, n=4, silent=None, **change):
    """A cohort whose server has just charged the round, and what it has kept."""
    if "t" in change:
        change.setdefault("min_survivors", change["t"])
    cohort = make_cohort(n, coordinates=6, **change)
    state, requests = cohort.reach(4, silent=silent or {2: [1]})
    return cohort, state, requests, record.write(state)


def read(data, state, cohort, **change):
    values = {"charged": record.digest(state), "roster": cohort.roster, "work": Work()}
    return record.read(data, **(values | change))


@pytest.mark.parametrize(
    "change",
    [
        {"n": 3, "silent": {3: [2]}, "t": 2},
        {"n": 5, "silent": {0: [5], 1: [4]}, "word_bits": 16, "t": 3},
        {"n": 7, "silent": {2: [1], 3: [3]}, "word_bits": 32, "colluders": 1, "t": 5},
        {"n": 12, "silent": {2: []}, "neighbours": 6, "t": 7, "min_survivors": 10},
    ],
)
def test_the_same_requests_and_the_same_sum(make_cohort, change) -> None:
    cohort, state, requests, kept = begun(make_cohort, **change)
    again = read(kept, state, cohort)
    assert again == replace(
        state,
        dealings={i: replace(d, sealed=()) for i, d in state.dealings.items()},
        masked=again.masked,
        missing={},
        refused=(),
    )
    assert np.array_equal(again.masked, state.masked)
    assert server.ask_for_shares(again) == requests
    assert record.write(again) == kept
    replies = list(cohort.send(requests))
    _, total = server.unmask(again, replies, Work())
    rows = [i - 1 for i in state.survivors]
    assert np.array_equal(
        centred(total, cohort.word_bits), cohort.vectors[rows].sum(axis=0)
    )


def test_devices_that_have_answered_answer_the_same(make_cohort) -> None:
    """Some were asked before the crash; nobody contributes or reveals anything new."""
    cohort, state, requests, kept = begun(make_cohort)
    before = {i: cohort.accepts(i, requests[i]) for i in (2, 3)}
    books = {i: cohort.devices[i].book for i in (2, 3)}
    cohort.vectors = cohort.vectors + 1000  # what a second contribution would be
    again = server.ask_for_shares(read(kept, state, cohort))
    after = {i: cohort.accepts(i, again[i]) for i in state.survivors}
    assert {i: after[i] for i in before} == before
    assert {i: cohort.devices[i].book for i in books} == books
    first, rest = list(after.items())[:1], list(after.items())[1:]
    sums = [
        server.unmask(read(kept, state, cohort), replies, Work())[1].tolist()
        for replies in (first + rest, rest + first)
    ]
    rows = [i - 1 for i in state.survivors]
    expected = cohort.vectors[rows].sum(axis=0) - 1000 * len(rows)
    assert sums[0] == sums[1]
    assert centred(np.array(sums[0], np.uint32), 24).tolist() == expected.tolist()


def test_a_changed_bit_anywhere_is_refused(make_cohort, flip) -> None:
    """One bit of every third byte; every field is longer."""
    cohort, state, _, kept = begun(make_cohort, n=3, silent={2: [1]}, t=2)
    rng, work = np.random.default_rng(1), SharedWork()  # failures are not remembered
    for place in range(0, len(kept), 3):
        changed = flip(kept, 8 * place + int(rng.integers(8)))
        with pytest.raises(IntegrityError):
            read(changed, state, cohort, work=work)


def test_a_cut_or_longer_record_is_refused(make_cohort) -> None:
    cohort, state, _, kept = begun(make_cohort, n=3, silent={2: [1]}, t=2)
    for size in (0, 1, 16, 200, len(kept) // 2, len(kept) - 1):
        with pytest.raises(IntegrityError, match=r"damaged.*stays charged"):
            read(kept[:size], state, cohort)
    with pytest.raises(IntegrityError, match="1 bytes too many"):
        read(kept + b"\0", state, cohort)


def test_a_record_of_another_round_or_roster_is_refused(make_cohort) -> None:
    cohort, state, _, kept = begun(make_cohort)
    with pytest.raises(IntegrityError, match="not what was charged"):
        read(kept, state, cohort, charged=bytes(32))
    roster = replace(cohort.roster, expiry=cohort.roster.expiry + 1)
    with pytest.raises(IntegrityError, match="another roster"):
        read(kept, state, cohort, roster=roster)
    for i in cohort.ids:  # nobody is left in an open round
        _, cohort.devices[i] = client.close(
            cohort.devices[i], cohort.member(i), lambda device: None
        )
    later, _ = cohort.reach(4, round_=2)
    with pytest.raises(IntegrityError, match="not what was charged"):
        read(kept, later, cohort)
    with pytest.raises(IntegrityError, match="not one of this version"):
        read(b"x" + kept[1:], state, cohort)


def test_a_swapped_dealing_is_refused(make_cohort) -> None:
    """Under its own signature it would open to another dealer's secret."""
    cohort, state, _, _ = begun(make_cohort)
    first, second, *rest = state.dealings
    swapped = dict(state.dealings)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    with pytest.raises(IntegrityError, match="signature of shares"):
        read(record.write(replace(state, dealings=swapped)), state, cohort)
    fewer = {i: state.dealings[i] for i in (first, second, *rest[:-1])}
    with pytest.raises(IntegrityError, match="signature of view"):
        read(record.write(replace(state, dealings=fewer)), state, cohort)
    digests = state.dealings[first].digests
    short = {first: replace(state.dealings[first], digests=digests[:-1])}
    data = record.write(replace(state, dealings={**state.dealings, **short}))
    with pytest.raises(IntegrityError, match="not one pair of digests"):
        read(data, state, cohort)
    stranger = {i: a for i, a in state.adverts.items() if i != first}
    data = record.write(replace(state, adverts=stranger))
    with pytest.raises(IntegrityError, match="has not advertised"):
        read(data, state, cohort)


def test_a_forged_vote_is_refused(make_cohort) -> None:
    cohort, state, _, _ = begun(make_cohort)
    (who, _), *rest = state.signatures
    forged = ((who, bytes(64)), *rest)
    with pytest.raises(IntegrityError, match="signature of view"):
        read(record.write(replace(state, signatures=forged)), state, cohort)
