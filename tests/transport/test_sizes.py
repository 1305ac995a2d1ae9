"""The plan's cap on replies is that of its longest legal one, on every road."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from fedpref.core.entropy import SeededEntropy
from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.errors import TooFewSurvivors
from fedpref.plan import PrivacyPlan, PrivacySpec
from fedpref.rounds.plain import plain
from fedpref.secagg import legs, wire
from fedpref.secagg.messages import Contribution, encode_contribution
from fedpref.sections import ServerSection
from fedpref.simulation import training
from fedpref.simulation.journal import NoJournal
from fedpref.transport.sizes import largest_reply, within

RID = bytes(32)


@pytest.fixture
def make_plan():
    def make(units, coordinates):
        spec = PrivacySpec(
            unit=Unit.USER,
            noise=Noise.DISTRIBUTED,
            participation=Participation.ALL,
            against=Adversary.SERVER,
            target_epsilon=1.0,
            delta=1e-5,
            clip=2.0,
            rounds=1,
            spare_rounds=0,
            units=units,
            cohort=units,
            units_per_client=1,
            sampling_prob=Fraction(1),
            coordinates=coordinates,
            min_survivors=0.9,
            colluders=0.1,
            word_bits=24,
            complete_graph=True,
        )
        return PrivacyPlan(spec, Fraction(40))

    return make


@pytest.mark.parametrize(("units", "coordinates"), [(5, 4000), (40, 8)])
def test_the_longest_legal_reply_fits_and_one_byte_more_does_not(
    make_plan, units, coordinates
) -> None:
    """With many words it is a readable contribution, with many people the shares."""
    plan = make_plan(units, coordinates)
    update = np.zeros(plan.training.words, np.int64)
    readable = len(encode_contribution(Contribution(1, plan.digest, update)))
    holders = min(units, 2 * plan.threshold - 1)
    pairs = ((bytes(32), bytes(32)),) * holders
    sealed = (bytes(legs.SEALED),) * (holders - 1)
    shares = len(legs.Dealing(RID, bytes(64), pairs, sealed).encode(RID))
    words = memoryview(bytes(3 * plan.training.words))
    upload = legs.Upload(bytes(32), tuple(range(1, holders)), words, bytes(64))
    most = largest_reply(plan)
    assert most == max(readable, shares, len(upload.encode(RID)))
    assert (most == shares) is (units == 40)
    sent = {1: bytes(most), 2: bytes(most + 1), 3: b""}
    capped = within(lambda requests: sent.items(), most)
    assert list(capped({})) == [(1, bytes(most)), (2, b""), (3, b"")]


def test_what_is_too_long_was_received_and_is_not_refunded(make_plan) -> None:
    """Nothing is read of it, but a device has sent something."""
    plan = make_plan(5, 8)
    given_up = []
    journal = SimpleNamespace(
        give_up=lambda number, *, refund: given_up.append((number, refund))
    )
    too_long = bytes(largest_reply(plan) + 1)
    for sent in ({2: too_long}, {}):
        gather = plain(
            plan,
            range(1, 6),
            attempt=1,
            entropy=SeededEntropy(1),
            send=within(lambda requests, sent=sent: sent.items(), len(too_long) - 1),
            journal=journal,
        )
        with pytest.raises(TooFewSurvivors):
            gather(1, np.zeros(8))
    assert given_up == [(1, False), (1, True)]


def test_a_training_takes_no_longer_reply_from_any_road(make_plan, monkeypatch) -> None:
    plan, heard = make_plan(5, 8), []

    def gather(attempt, send):
        def ask(number, model):
            heard.extend(send({1: b"request"}))
            raise TooFewSurvivors("that was enough")

        return ask

    devices = SimpleNamespace(endpoints={}, gather=gather)
    monkeypatch.setattr(training, "devices_of", lambda *known: devices)
    setup = SimpleNamespace(
        plan=plan,
        model=SimpleNamespace(initial=lambda: np.zeros(8)),
        scenario=SimpleNamespace(server=ServerSection()),
    )
    too_long = bytes(largest_reply(plan) + 1)
    with pytest.raises(TooFewSurvivors):
        training.train(
            setup,
            entropy=SeededEntropy(1),
            carry=lambda endpoints, drive: drive(lambda asked: [(1, too_long)]),
            journal=NoJournal(),
        )
    assert heard == [(1, b"")]


def test_replies_pass_one_by_one() -> None:
    """The server adds them up as they come and keeps none."""
    taken = []

    def send(requests):
        for device in requests:
            taken.append(device)
            yield device, b"reply"

    request = wire.message(wire.Kind.SURVIVORS, RID)
    replies = iter(within(send, 5)({1: request, 2: request}))
    assert next(replies) == (1, b"reply")
    assert taken == [1]
