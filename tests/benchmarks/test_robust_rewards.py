"""The study of robust rewards: who and what is in which group, and its arithmetic."""

import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
import robust_rewards

from fedpref import config
from fedpref.core.entropy import SeededEntropy
from fedpref.data import arguments, partition
from fedpref.evaluate.metrics import difference, evaluate
from fedpref.simulation.journal import NoJournal
from fedpref.simulation.setup import Setup, calibrate
from fedpref.simulation.training import train
from fedpref.transport import in_process

SHORT, LONG = "w1 w2 w3", "w4 " * 60
SEED = 1


@pytest.fixture
def study():
    """The script as a module."""
    return robust_rewards


@pytest.fixture
def folder(study, tmp_path):
    """Two debates, one of them unseen; three short and two long arguments in each."""
    titles = [f"Debate {i}" for i in range(40)]
    new = next(t for t in titles if study.is_unseen(t, SEED))
    old = next(t for t in titles if not study.is_unseen(t, SEED))
    rows = [
        (topic, f"a{i}", title, "Yes", f"{style}{'w5 ' * i}")
        for topic, title in (("old", old), ("new", new))
        for i, style in enumerate((SHORT, SHORT, SHORT, LONG, LONG))
    ]
    lines = [json.dumps(dict(zip(arguments.FIELDS, row, strict=True))) for row in rows]
    (tmp_path / arguments.TEXTS).write_bytes(gzip.compress("\n".join(lines).encode()))
    votes = [",".join(arguments.HEADER)]
    for user in range(30):
        for topic in ("old", "new"):
            for one, two in ((0, 1), (1, 2), (0, 3), (3, 4)):
                votes.append(f"w{user},{topic},a{one},a{two},a{1 + user % 2}")
    (tmp_path / arguments.VOTES).write_bytes(gzip.compress("\n".join(votes).encode()))
    return tmp_path


def test_trained_is_on_short_arguments_of_the_debates_of_training(
    study, folder, tmp_path
):
    target = tmp_path / "made"
    target.mkdir()
    study.write_training(folder, target, SEED)
    known = arguments.read_arguments(target / arguments.TEXTS)
    assert list(known) == [("old", "a0"), ("old", "a1"), ("old", "a2")]
    records = arguments.read(target).records
    assert len(records) == 60  # two of eight votes of each person
    assert {r.choice for r in records if r.user == "w1"} == {1}
    assert {r.choice for r in records if r.user == "w2"} == {0}


def test_groups_are_apart_and_of_held_out_people(study, folder):
    votes, texts = study.votes_of(folder, SEED), study.texts_of(folder, SEED)
    out = {f"w{i}" for i in range(30) if partition.is_heldout(f"w{i}", "split-1")}
    assert tuple(votes) == tuple(texts) == study.GROUPS
    for group, count in zip(study.GROUPS, (2, 2, 1, 1), strict=True):
        own = votes[group]
        assert set(own.users) == out
        assert len(own.users) == count * len(out)  # a short and a long one: in none
        assert {*own.chosen, *own.other} <= set(texts[group])
    assert sorted(i for own in texts.values() for i in own) == list(range(10))
    first = votes["in-domain"]
    odd = np.array([int(user[1:]) % 2 for user in first.users])
    assert ((first.chosen > first.other) == odd).all()


def test_intervals_are_those_of_the_product(study, people):
    own = partition.by_user(people(3, users=6, options=(2,)))
    texts = list(dict.fromkeys(t for rs in own.values() for r in rs for t in r.texts))
    draw = np.random.default_rng(0)
    one, two = draw.standard_normal((2, len(texts)))
    rows = [
        (r.user, texts.index(r.texts[r.choice]), texts.index(r.texts[1 - r.choice]))
        for records in own.values()
        for r in records
    ]
    users = tuple(user for user, _, _ in rows)
    votes = study.Votes(users, *np.array([row[1:] for row in rows]).T)
    measured = [study.measured(scores, votes) for scores in (one, two)]
    product = [
        evaluate(lambda asked, s=s: s[[texts.index(t) for t in asked]], own)
        for s in (one, two)
    ]
    for ours, theirs in zip(measured, product, strict=True):
        assert ours["right"].mean() == pytest.approx(theirs.accuracy)
        assert ours["loss"].mean() == pytest.approx(theirs.log_loss)
        sure = sum(b.count * b.confidence for b in theirs.bins if b.count)
        sure = sure / len(rows) - theirs.accuracy
        assert ours["over"].mean() == pytest.approx(sure)
    gain = measured[0]["right"] - measured[1]["right"]
    wanted = difference(*product)
    assert gain.mean() == pytest.approx(wanted.difference)
    assert study.interval_of(gain, users) == pytest.approx(wanted.ci95)


def test_one_scale_undoes_another(study):
    draw = np.random.default_rng(1)
    true = draw.standard_normal(200)
    chosen, other = draw.integers(200, size=(2, 4_000))
    fair = draw.random(4_000) < 1 / (1 + np.exp(true[other] - true[chosen]))
    pairs = np.where(fair, [chosen, other], [other, chosen])
    votes = study.Votes(("ada",) * 4_000, *pairs)
    scale = study.best_scale(4 * true, votes)
    assert scale == pytest.approx(0.25, rel=0.15)
    assert study.measured(true, votes)["over"].mean() == pytest.approx(0, abs=0.02)
    assert study.measured(4 * true, votes)["over"].mean() > 0.05


def test_everybody_at_once_is_every_device_by_itself(
    study, build, people, catalogue, monkeypatch
):
    """The shortcut of the script releases what the product releases, noise and all."""
    objective = "bsr_lagged"  # it has the most to get wrong: a released statistic
    model = build(moved=False)
    own = partition.Split(partition.by_user(people(4, users=6, options=(2,))), {})
    monkeypatch.setattr(study, "ROUNDS", 2)
    row = study.Row(objective, lr=2.0)
    read = config.read(study.SCENARIO, study._noise(None))
    data = SimpleNamespace(catalogue=catalogue, texts_public=True)
    plan = calibrate(read, model, read.build_objective(), len(own.train))
    setup = Setup(
        read,
        data,
        own,
        model.base,
        model.features_map,
        model,
        read.build_objective(),
        plan,
    )
    bench = study.Bench(setup, catalogue, SEED)
    released = study.federated(bench, row, study.EPSILON)
    wanted = train(
        study.setup_of(bench, row, study.EPSILON),
        entropy=SeededEntropy(SEED),
        carry=in_process.carry,
        journal=NoJournal(),
    ).state.released
    assert np.linalg.norm(released) > 0.1
    assert released == pytest.approx(wanted, abs=1e-5)
