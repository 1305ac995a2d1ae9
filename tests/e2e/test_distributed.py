"""Runs with noise from the devices: under the protocol, without masks, with losses."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from fedpref.core.accounting import epsilon
from fedpref.core.events import SkellamSum
from fedpref.core.types import Adversary, Relation, Unit
from fedpref.errors import IntegrityError, Interrupted, MessageError, TooFewSurvivors
from fedpref.rounds import contribution
from fedpref.secagg import wire
from fedpref.secagg.wire import Kind
from fedpref.simulation import devices, resume, simulate
from fedpref.simulation import journal as journals
from fedpref.simulation.folder import RunFolder
from fedpref.store.ledger import load
from fedpref.transport import in_process, workers

SUM = "secagg.mode=sum"


def account(run):
    (found,) = load(run / "ledger.db").of(Unit.USER)
    return found


def statement(run):
    return json.loads((run / "statement.json").read_text())


class Stop:
    """Progress that presses Ctrl-C when a round is done."""

    def __init__(self, after):
        self.after = after

    def __call__(self, progress):
        if progress.round is not None and progress.round.number == self.after:
            raise KeyboardInterrupt


# --- the quickstart, without its masks ----------------------------------------------


@pytest.fixture(scope="module")
def quickstart(scenario, tmp_path_factory):
    job = scenario("quickstart", SUM, "run.seed=1", "evaluate.baselines=[]", fast=False)
    return simulate(job, tmp_path_factory.mktemp("quickstart") / "run")


def test_the_quickstart_reaches_its_bar_on_one_seed(quickstart) -> None:
    """68.5 % of pairs at epsilon 1, less .3 points under distributed noise."""
    assert quickstart.report["heldout"]["accuracy"] >= 0.682
    assert quickstart.report["clients"] == {"train": 293, "heldout": 68}
    assert quickstart.report["rounds"] == 5
    assert quickstart.report["masked"] is False


def test_epsilon_is_the_price_of_the_raw_events(quickstart) -> None:
    """Recomputed from the integers in plan.json alone."""
    plan = json.loads((quickstart.folder / "plan.json").read_text())
    exact = plan["exact"]
    counts = exact["counts"]
    # nobody bad, and not the missing, adds to the noise that is counted
    honest = counts["min_survivors"] - counts["colluders"]
    assert (counts["min_survivors"], counts["colluders"]) == (264, 30)
    events = []
    for stage in exact["stages"]:
        scale = stage["scale"]
        event = SkellamSum(
            Unit.USER,
            Relation.ZERO_OUT,
            scale["limit"],
            scale["l1_limit"],
            Fraction(honest * scale["share_variance"]),
            scale["coordinates"],
        )
        events += [event] * stage["rounds"]
    assert len(events) == exact["spec"]["rounds"] + 1  # and the second moment
    spent = epsilon(events, plan["delta"])
    assert plan["epsilon"] == {"server": spent.epsilon, "outsider": spent.epsilon}
    assert 0.99 < spent.epsilon <= 1.0
    rows = (quickstart.folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["epsilon"]["server"] == spent.epsilon


def test_the_same_seed_gives_the_same_bytes_after_a_stop(
    quickstart, scenario, model_bytes, tmp_path
) -> None:
    job = scenario("quickstart", SUM, "run.seed=1", "evaluate.baselines=[]", fast=False)
    with pytest.raises(Interrupted):
        simulate(job, tmp_path / "run", tell=Stop(3))
    again = resume(tmp_path / "run")
    assert model_bytes(again.folder) == model_bytes(quickstart.folder)


# --- the protocol among a few people ------------------------------------------------


@pytest.fixture(scope="module")
def summed(few, tmp_path_factory):
    return simulate(few(SUM), tmp_path_factory.mktemp("summed") / "run")


def _one_thread():
    import torch

    torch.set_num_threads(1)


def _flower():
    from fedpref.transport.flower import apps

    return apps.carry


ROADS = {
    "workers, as by default": lambda: None,
    "three workers": lambda: workers.forked(3, _one_thread),
    "in process": lambda: in_process.carry,
    "flower": _flower,
}


@pytest.mark.parametrize("road", ROADS)
def test_the_protocol_gives_the_bytes_of_the_plain_sum_over_every_road(
    few, summed, model_bytes, tmp_path, road
) -> None:
    masked = simulate(few(), tmp_path / "run", carry=ROADS[road]())
    assert masked.report["masked"] is True
    assert model_bytes(masked.folder) == model_bytes(summed.folder)
    assert (account(masked.folder).charged, account(masked.folder).released) == (3, 3)
    other = few("run.seed=8", SUM)
    assert model_bytes(simulate(other, tmp_path / "b").folder) != model_bytes(
        summed.folder
    )


def unseeded(job):
    return job.model_copy(update={"run": job.run.model_copy(update={"seed": None})})


@pytest.mark.parametrize("masked", [True, False])
def test_the_statement_is_that_of_the_noise_and_of_the_masks(
    few, tmp_path, masked
) -> None:
    job = few(f"secagg.mode={'protocol' if masked else 'sum'}", "cohort.rounds=1")
    run = simulate(unseeded(job), tmp_path / "run", carry=in_process.carry).folder
    found = statement(run)
    server, outsider = found["adversaries"]["server"], found["adversaries"]["outsider"]
    assert 7.5 < server["epsilon"] == outsider["epsilon"] <= 8.0
    assert found["masked"] is masked
    assert (server["holds"], outsider["holds"]) == (masked, True)
    text = " ".join(found["summary"])
    assert "even one that lies and has 1 of the devices on its side" in text
    assert ("as if run with the protocol" in text) is not masked
    page = (run / "report.html").read_text()
    assert "very update" not in page
    assert ("as if run with the protocol" in page) is not masked
    book = load(run / "ledger.db")
    assert book.spent(Unit.USER, Adversary.SERVER) == server["epsilon"]


# --- losses -------------------------------------------------------------------------


def losing(count, kind, *, rounds):
    """A road on which ``count`` devices are lost at one leg, in the first rounds."""
    asked = {}

    class Lossy:
        def __init__(self, number, endpoint):
            self.number, self.endpoint, self.lost = number, endpoint, False

        def __call__(self, request):
            if wire.kind_of(request) is Kind.DESCRIPTOR:
                self.lost = False
                asked[self.number] = asked.get(self.number, 0) + 1
            hit = self.number <= count and asked[self.number] <= rounds
            self.lost |= hit and wire.kind_of(request) is kind
            if self.lost:
                raise MessageError("lost")
            return self.endpoint(request)

    def road(endpoints, drive):
        in_process.carry({n: Lossy(n, e) for n, e in endpoints.items()}, drive)

    return road


BEFORE = [Kind.DESCRIPTOR, Kind.ADVERTS, Kind.DELIVERY, Kind.SURVIVORS]


@pytest.mark.parametrize("kind", BEFORE)
def test_a_round_that_is_lost_before_the_charge_is_refunded_and_tried_again(
    few, tmp_path, kind
) -> None:
    """Six of eight must upload, five must agree."""
    job = few("cohort.spare_rounds=2")
    run = simulate(job, tmp_path / "run", carry=losing(4, kind, rounds=2))
    assert run.report["rounds"] == 3
    found = account(run.folder)
    assert (found.charged, found.released, found.refunded) == (3, 3, 2)


def test_a_round_that_is_lost_after_the_charge_stays_charged(few, tmp_path) -> None:
    job = few("cohort.spare_rounds=1")
    road = losing(4, Kind.AGREEMENTS, rounds=1)
    run = simulate(job, tmp_path / "run", carry=road)
    assert run.report["rounds"] == 3
    found = account(run.folder)
    assert (found.charged, found.refunded) == (4, 0)
    rows = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["round"] for row in rows] == [2, 3, 4]
    notes = json.loads((run.folder / "evaluation.json").read_text())["notes"]
    assert sum("nothing released: round 1: shares of device" in n for n in notes) == 1
    plan = json.loads((run.folder / "plan.json").read_text())
    assert json.loads(rows[-1])["epsilon"]["server"] == plan["epsilon"]["server"]


def test_some_may_be_lost_at_every_leg(few, summed, tmp_path) -> None:
    """Two of eight, at any leg: the sum is that of the others."""
    for place, kind in enumerate([*BEFORE, Kind.AGREEMENTS]):
        job = few("cohort.rounds=1")
        run = simulate(
            job, tmp_path / str(place), carry=losing(2, kind, rounds=1)
        ).folder
        (row,) = (run / "metrics.jsonl").read_text().splitlines()
        uploaded = kind in (Kind.SURVIVORS, Kind.AGREEMENTS)
        assert json.loads(row)["survivors"] == (8 if uploaded else 6), kind


def test_too_many_lost_give_the_round_up_and_release_nothing(few, tmp_path) -> None:
    road = losing(4, Kind.DELIVERY, rounds=9)
    with pytest.raises(TooFewSurvivors, match="uploaded = 4, must be >= 6") as caught:
        simulate(few("cohort.spare_rounds=1"), tmp_path / "run", carry=road)
    assert caught.value.exit_code == 6
    found = account(tmp_path / "run")
    assert (found.charged, found.released, found.refunded) == (0, 0, 2)
    assert not (tmp_path / "run" / "checkpoints" / "state.bin").exists()


def test_a_sum_with_rubbish_is_charged_not_published_and_said(
    few, tmp_path, monkeypatch
) -> None:
    """One device sends uniform words in the first round; masks hide whose they are."""
    honest = contribution.contribute

    def one_lies(number, model, *, device, **known):
        made = honest(number, model, device=device, **known)
        if (number, device) != (1, 3):
            return made
        rng = np.random.default_rng(1)
        return replace(made, update=rng.integers(-(2**23), 2**23, made.update.size))

    monkeypatch.setattr(devices, "contribute", one_lies)
    job = few("cohort.spare_rounds=1")
    run = simulate(job, tmp_path / "run", carry=in_process.carry)
    found = account(run.folder)
    assert (found.charged, found.refunded) == (4, 0)
    rows = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["round"] for row in rows] == [2, 3, 4]
    notes = json.loads((run.folder / "evaluation.json").read_text())["notes"]
    assert any("round 1: the sum of 8 devices is out of range" in n for n in notes)


def test_simulated_dropouts_lose_some_and_the_run_goes_on(few, tmp_path) -> None:
    job = few("cohort.dropout=0.1", "cohort.spare_rounds=3", "run.seed=3")
    run = simulate(job, tmp_path / "run").folder
    rows = [json.loads(r) for r in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert all(6 <= row["survivors"] <= 8 for row in rows)
    again = simulate(job, tmp_path / "again", carry=in_process.carry).folder
    rows_again = (again / "metrics.jsonl").read_text().splitlines()
    survivors = [json.loads(row)["survivors"] for row in rows_again]
    assert survivors == [row["survivors"] for row in rows]  # lost by the seed


# --- crashes ------------------------------------------------------------------------


class PowerCut(BaseException):
    """Nothing in the product catches this."""


def cut(monkeypatch, owner, name, *, call, after):
    """Lose power at the given call of a method, before or after it has worked."""
    real, calls = getattr(owner, name), []

    def crash(self, *args, **named):
        calls.append(1)
        if len(calls) == call and not after:
            raise PowerCut
        result = real(self, *args, **named)
        if len(calls) == call:
            raise PowerCut
        return result

    monkeypatch.setattr(owner, name, crash)


@pytest.fixture
def crashed(few, tmp_path, monkeypatch):
    """A run under the protocol that lost power in its second round."""

    def make(owner, name, *, after, spare=0):
        with monkeypatch.context() as patch:
            cut(patch, owner, name, call=2, after=after)
            job = unseeded(few(f"cohort.spare_rounds={spare}"))
            with pytest.raises(PowerCut):
                simulate(job, tmp_path / "run", carry=in_process.carry)
        return tmp_path / "run"

    return make


def test_a_crash_before_the_charge_repeats_the_round(crashed) -> None:
    run = crashed(journals.RunJournal, "charge", after=False)
    assert account(run).charged == 1
    assert resume(run).report["rounds"] == 3
    found = account(run)
    assert (found.charged, found.released, found.refunded) == (3, 3, 0)


@pytest.mark.parametrize("spare", [0, 1])
def test_a_round_that_was_charged_and_not_unmasked_stays_charged(
    crashed, spare
) -> None:
    """Shares may have been sent, and the devices that could send them again are gone.

    To sum the round a second time would reveal two sums for the price of one.
    """
    run = crashed(journals.RunJournal, "charge", after=True, spare=spare)
    found = account(run)
    assert found.charged == 2
    assert found.unmasking is not None
    assert resume(run).report["rounds"] == 2 + spare
    found = account(run)
    assert (found.charged, found.unmasking, found.refunded) == (3 + spare, None, 0)
    rows = (run / "metrics.jsonl").read_text().splitlines()
    numbers = [json.loads(row)["round"] for row in rows]
    assert numbers == [1, *range(3, 4 + spare)]


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (RunFolder, "save_pending", True),
        (RunFolder, "save_state", False),
        (RunFolder, "save_state", True),
        (journals.RunJournal, "_released", True),
    ],
)
def test_a_crash_after_unmasking_releases_the_sum_that_was_charged(
    crashed, owner, name, after
) -> None:
    run = crashed(owner, name, after=after)
    assert resume(run).report["rounds"] == 3
    found = account(run)
    assert (found.charged, found.released, found.refunded) == (3, 3, 0)
    assert not list((run / "checkpoints").glob("*pending*"))


def test_a_pending_sum_that_was_not_charged_is_refused(crashed) -> None:
    run = crashed(RunFolder, "save_pending", after=True)
    pending = run / "checkpoints" / "pending.bin"
    from fedpref.store.checkpoints import load_checkpoint, save_checkpoint

    tensors = load_checkpoint(pending)
    digest = tensors["digest"].copy()
    digest[0] ^= 1
    save_checkpoint(pending, {**tensors, "digest": np.asarray(digest)})
    with pytest.raises(IntegrityError, match="not the one that was charged"):
        resume(run)
