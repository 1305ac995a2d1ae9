"""Constant behaviour: own limits change nothing that anybody else can see.

One device of five is, in turn, without limits, with a small clip, spent, spent with
data that fail, and without data. All others stay as they are.
"""

from functools import partial

import numpy as np
import pytest

from fedpref.core.entropy import SeededEntropy
from fedpref.core.rows import GENESIS
from fedpref.core.types import Noise
from fedpref.rounds.contribution import contribute
from fedpref.rounds.optimisers import sgd
from fedpref.rounds.own import Keeper, Limits
from fedpref.rounds.plain import plain
from fedpref.rounds.secure import Head, secure
from fedpref.rounds.server import run_round, start
from fedpref.simulation.enrolment import enrol
from fedpref.transport.in_process import SecureDevice, SimulatedDevice, carry

PLAIN = sgd(lr=1.0, momentum=0.0)
FREE = 1e6
KINDS = {
    "no limits": None,
    "small clip": Limits(FREE, 0.5),
    "spent": Limits(1e-9, 2.0),
    "spent, data fail": Limits(1e-9, 2.0),
    "no data": None,
}


class Diary:
    """What a server writes down: kinds and sizes, in order."""

    def __init__(self):
        self.rows = []

    def pending(self, round_):
        return None

    def kept(self, round_):
        return None

    def keep(self, round_, record):
        self.rows.append(("keep", round_, len(record())))

    def charge(self, round_, digest):
        self.rows.append(("charge", round_, len(digest)))

    def hold(self, round_, noisy, digest):
        self.rows.append(("hold", round_, noisy.survivors, noisy.total.shape))

    def settle(self, state):
        self.rows.append(("settle", state.round, state.survivors))

    def give_up(self, round_, *, refund):
        self.rows.append(("give up", round_, refund))


class Watched:
    """An endpoint with the sizes of what goes in and out."""

    def __init__(self, endpoint):
        self.endpoint, self.sizes = endpoint, []

    def __call__(self, request):
        reply = self.endpoint(request)
        self.sizes.append((request[3], len(request), len(reply)))
        return reply


def device(plan, number, kind, work):
    """The contribution of one device; ``work`` collects what it computes on."""

    def gradient(vector):
        work.append((number, vector.shape))
        if "fail" in kind:
            raise RuntimeError("private")
        return (0.0 if "no data" in kind else 1.0) * np.full((1, 3), float(number))

    made = partial(
        contribute,
        device=number,
        plan=plan,
        gradient=gradient,
        entropy=SeededEntropy(1),
    )
    limits = KINDS[kind]
    if limits is None:
        return made
    return Keeper(plan, limits, lambda n, model, now: made(n, model, own=now))


def seen(plan, kind, *, masked, rounds=3):
    """What everybody else sees, the model, and what the device's ledger says."""
    work, diary, models = [], Diary(), []
    made = {
        i: device(plan, i, kind if i == 2 else "no limits", work) for i in range(1, 6)
    }
    enrolled = enrol(plan, "test", lambda: Head((), GENESIS))
    found = {
        i: SecureDevice(enrolled.members[i], made[i], limit=9, work=enrolled.work)
        if masked
        else SimulatedDevice(plan, made[i])
        for i in made
    }
    endpoints = {i: Watched(each) for i, each in found.items()}
    road = partial(secure, coordinator=enrolled.coordinator)
    if not masked:
        road = partial(plain, entropy=SeededEntropy(1))

    def drive(send):
        state = start(np.zeros(plan.spec.coordinates), PLAIN)
        for number in range(1, rounds + 1):
            state = run_round(
                number,
                state,
                plan=plan,
                optimiser=PLAIN,
                average_last=0.0,
                gather=road(plan, (*made,), attempt=number, send=send, journal=diary),
                journal=diary,
            )
            models.append(state.model)

    carry(endpoints, drive)
    book = None
    if masked:
        rows = found[2]._state.book.rounds
        book = [(r.number, r.counts, r.closed, len(r.upload)) for r in rows]
    outside = {
        "sizes": {i: each.sizes for i, each in endpoints.items()},
        "work": work,
        "server": diary.rows,
        "own ledger": book,
    }
    return outside, models, found[2]


@pytest.fixture(params=[True, False], ids=["protocol", "sum"])
def masked(request):
    return request.param


def test_limits_change_no_size_no_work_and_no_row(make_plan, masked) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, units=5)
    runs = {kind: seen(plan, kind, masked=masked) for kind in KINDS}
    usual, _, _ = runs["no limits"]
    assert len(usual["work"]) == 15  # five devices, three rounds
    assert len(usual["sizes"][2]) == (15 if masked else 3)
    assert [row[0] for row in usual["server"]].count("charge") == 3
    for kind, (outside, _, _) in runs.items():
        assert outside == usual, kind


def test_a_spent_device_is_one_without_data_and_others_are_not(
    make_plan, masked
) -> None:
    """The sums differ exactly where data stopped or were shortened."""
    plan = make_plan(noise=Noise.DISTRIBUTED, units=5)
    models = {
        kind: np.array(seen(plan, kind, masked=masked)[1]).tobytes() for kind in KINDS
    }
    assert models["spent"] == models["spent, data fail"] == models["no data"]
    assert len({models["spent"], models["small clip"], models["no limits"]}) == 3


def test_a_device_notes_what_it_gave(make_plan, masked) -> None:
    plan = make_plan(noise=Noise.DISTRIBUTED, units=5)
    for kind, contributed in {"small clip": 3, "spent": 0, "no limits": 0}.items():
        _, _, found = seen(plan, kind, masked=masked)
        failures, *sent = found.notes
        assert failures == 0
        assert len(sent) == 2 * contributed
        found.notes = (2, *sent)  # as another process would bring them home
        assert found.failures == 2
        assert found.notes == (2, *sent)
