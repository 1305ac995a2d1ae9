"""Whole rounds in process: what comes out is the plain sum, or nothing."""

from itertools import combinations

import numpy as np
import pytest

from fedpref.core.mask import centred
from fedpref.errors import TooFewSurvivors
from fedpref.secagg import client, server
from fedpref.secagg.crypto import Work
from fedpref.secagg.neighbours import least_threshold

LEGS = ("advertised", "dealt", "uploaded", "agreed", "unmask")


def wrapped(vectors, bits):
    half = 2 ** (bits - 1)
    return (vectors.sum(axis=0) + half) % 2**bits - half


def rows(cohort, survivors):
    return cohort.vectors[[i - 1 for i in survivors]]


def test_a_round_without_dropouts_gives_the_sum(make_cohort) -> None:
    cohort = make_cohort(7, coordinates=50, work=Work())
    total, survivors = cohort.run()
    assert survivors == cohort.ids
    assert np.array_equal(total, cohort.vectors.sum(axis=0))
    assert not cohort.refusals


def legal_rounds():
    for n in range(1, 7):
        for t in range(least_threshold(n, 0), n + 1):
            for least in range(t, n + 1):
                yield n, t, least


def heard(present, enough, everything):
    """The sets of devices whose replies arrive: all, or those around the bound."""
    for size in range(len(present) + 1):
        if everything or size >= enough or size in (0, enough - 1):
            yield from map(set, combinations(sorted(present), size))


def outcomes(cohort, state, requests, devices, present, leg=0):
    """Every dropout pattern from here on: the sum, survivors and devices, or abort."""
    answers = {
        i: client.answer(requests[i], devices[i], cohort.around(i)) for i in present
    }
    after = devices | {i: device for i, (_, device) in answers.items()}
    enough = cohort.min_survivors if leg < 3 else cohort.t
    for some in heard(present, enough, everything=len(devices) < 5):
        replies = [(i, answers[i][0]) for i in some]
        step = getattr(server, LEGS[leg])
        if len(some) < enough:
            with pytest.raises(TooFewSurvivors):
                step(state, replies, cohort.work)
            yield None, leg, after
        elif leg == 4:
            yield step(state, replies, cohort.work)[1], state.survivors, after
        else:
            reached, asked = step(state, replies, cohort.work)
            yield from outcomes(cohort, reached, asked, after, some, leg + 1)


@pytest.mark.parametrize(("n", "t", "least"), list(legal_rounds()))
def test_every_dropout_pattern_at_every_leg(make_cohort, n, t, least) -> None:
    """Every legal threshold; the sum is exact or the round aborts, nothing revealed."""
    cohort = make_cohort(n, coordinates=2, t=t, min_survivors=least)
    state, requests = cohort.invite()
    sums = 0
    for total, what, devices in outcomes(
        cohort, state, requests, cohort.devices, set(cohort.ids)
    ):
        if total is None:
            released = [d.book.rounds[-1].release for d in devices.values()]
            assert what == 4 or released == [None] * n
            continue
        sums += 1
        assert len(what) >= least
        assert np.array_equal(centred(total, 24), rows(cohort, what).sum(axis=0))
    assert sums >= 1 + (n > t)


@pytest.mark.parametrize(("n", "seed"), [(9, 1), (17, 2), (17, 3), (40, 4), (60, 5)])
def test_random_dropouts_at_all_legs(make_cohort, n, seed) -> None:
    rng = np.random.default_rng(seed)
    cohort = make_cohort(n, coordinates=30)
    lost = rng.permutation(cohort.ids)[: n - cohort.t]
    silent = {}
    for device in lost:
        silent.setdefault(int(rng.integers(0, 5)), []).append(int(device))
    total, survivors = cohort.run(silent=silent)
    late = {i for leg in (3, 4) for i in silent.get(leg, ())}
    assert set(survivors) == set(cohort.ids) - {int(i) for i in lost} | late
    assert np.array_equal(total, rows(cohort, survivors).sum(axis=0))


@pytest.mark.slow
def test_two_hundred_devices(make_cohort) -> None:
    cohort = make_cohort(200, coordinates=20, colluders=20)
    silent = {leg: range(1 + 12 * leg, 1 + 12 * (leg + 1)) for leg in range(5)}
    total, survivors = cohort.run(silent=silent)
    assert survivors == tuple(range(37, 201))
    assert np.array_equal(total, rows(cohort, survivors).sum(axis=0))


@pytest.mark.parametrize("leg", range(5))
def test_one_dropout_too_many_aborts(make_cohort, leg) -> None:
    cohort = make_cohort(10)
    lost = range(1, 10 - cohort.t + 2)
    with pytest.raises(TooFewSurvivors, match="nothing was unmasked"):
        cohort.run(silent={leg: lost})
    rounds = [
        entry for device in cohort.devices.values() for entry in device.book.rounds
    ]
    assert rounds
    assert leg == 4 or all(entry.release is None for entry in rounds)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_sums_wrap_at_the_word(make_cohort, bits) -> None:
    cohort = make_cohort(4, coordinates=200, word_bits=bits)
    edge = 2 ** (bits - 1)
    cohort.vectors = np.random.default_rng(bits).integers(-edge, edge, (4, 200))
    cohort.vectors[:, 0] = edge - 1
    cohort.vectors[:, 1] = -edge
    total, survivors = cohort.run(silent={2: [2]})
    assert survivors == (1, 3, 4)
    expected = wrapped(rows(cohort, survivors), bits)
    assert np.array_equal(total, expected)
    assert expected[0] != 3 * (edge - 1)


def test_one_hot_vectors_are_conserved(make_cohort) -> None:
    """Each device adds a basis vector: exactly the survivors are there, once each."""
    cohort = make_cohort(12, coordinates=12)
    cohort.vectors = np.eye(12, dtype=np.int64)
    total, survivors = cohort.run(silent={0: [3], 2: [1], 3: [12]})
    assert set(total.tolist()) == {0, 1}
    assert tuple(np.flatnonzero(total) + 1) == survivors
    assert survivors == (2, *range(4, 13))


def ring(me, cohort, count, *, key):
    """Stands in for the drawn graph: the next ``count`` devices around a ring."""
    place = cohort.index(me)
    return tuple(sorted((cohort * 2)[place + 1 : place + 1 + count]))


@pytest.mark.parametrize("silent", [{}, {0: [1]}, {1: [2]}, {2: [3, 4]}, {3: [5]}])
def test_rounds_on_a_ring(make_cohort, monkeypatch, silent) -> None:
    monkeypatch.setattr(client, "draw_neighbours", ring)
    cohort = make_cohort(20, neighbours=6, t=8, min_survivors=16)
    total, survivors = cohort.run(silent=silent)
    gone = {i for leg in (0, 1, 2) for i in silent.get(leg, ())}
    assert set(cohort.ids) - set(survivors) == gone
    assert np.array_equal(total, rows(cohort, survivors).sum(axis=0))


def test_a_round_on_a_drawn_graph(make_cohort) -> None:
    cohort = make_cohort(60, neighbours=30, t=31, min_survivors=50)
    total, survivors = cohort.run(silent={1: [2], 2: [3], 3: [5]})
    assert survivors == (1, *range(4, 61))
    assert np.array_equal(total, rows(cohort, survivors).sum(axis=0))


def test_a_neighbourhood_that_lost_too_many_aborts_before_a_share_leaves(
    make_cohort, monkeypatch
) -> None:
    monkeypatch.setattr(client, "draw_neighbours", ring)
    cohort = make_cohort(20, neighbours=6, t=8, min_survivors=10)
    state, requests = cohort.reach(3)
    replies = list(cohort.send(requests, silent=range(4, 10)))
    assert len(replies) == 14  # device 3 is left with 7 of its 13 holders
    with pytest.raises(TooFewSurvivors, match="device 3 who agreed = 7, must"):
        server.agreed(state, replies, cohort.work)


def test_a_device_that_too_few_hold_shares_of_sits_out(
    make_cohort, monkeypatch
) -> None:
    monkeypatch.setattr(client, "draw_neighbours", ring)
    cohort = make_cohort(20, neighbours=6, t=8, min_survivors=10)
    _, requests = cohort.reach(1, silent={0: range(4, 10)})
    cohort.refuses(10, requests[10], "7 holders of this device's shares, must be >= 8")
    cohort = make_cohort(20, neighbours=6, t=8, min_survivors=10)
    monkeypatch.setattr(
        client,
        "draw_neighbours",
        lambda me, *_, key: tuple(i for i in range(1, 9) if i != me)[:6],
    )
    _, requests = cohort.reach(1)
    cohort.refuses(1, requests[1], "20 holders of this device's shares, .* < 16")


def test_two_models_in_one_round_sum_to_noise(make_cohort) -> None:
    """Masks of devices that were shown another model do not cancel."""
    cohort = make_cohort(6, coordinates=4000)
    cohort.vectors[:] = 1
    shown, requests = cohort.reach(2)
    uploads = dict(cohort.send(requests))
    cohort.model = cohort.model + 1
    cohort.devices = {i: type(d)(type(d.book)(100)) for i, d in cohort.devices.items()}
    other, requests = cohort.reach(2)
    others = dict(cohort.send(requests))
    assert shown.descriptor.rid != other.descriptor.rid
    rid, theirs = shown.descriptor.rid, other.descriptor.rid
    # the server files one device's upload of the other round under this one
    mixed = [(i, uploads[i]) for i in (1, 2, 3, 4, 5)]
    forged = others[6].replace(theirs, rid)
    state, _ = server.uploaded(shown, [*mixed, (6, forged)], cohort.work)
    assert state.survivors == (1, 2, 3, 4, 5)
    words = np.frombuffer(others[6][-3 * 4000 :], np.uint8).reshape(-1, 3)
    total = state.masked + words @ np.array([1, 2**8, 2**16])
    low = (total % 2**24) / 2**24
    # uniform: mean 1/2 within 6 standard errors, and no bin of 16 is empty
    assert abs(low.mean() - 0.5) < 6 / np.sqrt(12 * 4000)
    assert np.histogram(low, 16)[0].min() > 150


def test_a_second_round_follows_the_first(make_cohort) -> None:
    cohort = make_cohort(5)
    for number in (1, 2, 7):
        total, survivors = cohort.run(number, silent={2: [number % 5 + 1]})
        assert np.array_equal(total, rows(cohort, survivors).sum(axis=0))
    assert not [why for _, why in cohort.refusals if "AGREEMENTS" not in str(why)]


def test_a_late_device_is_summed_again_in_the_next_round(make_cohort) -> None:
    cohort = make_cohort(5)
    cohort.run(1, silent={0: [4]})
    _, survivors = cohort.run(2)
    assert survivors == cohort.ids
