"""The loop on a small made-up set: who is predicted, from what, and what is said."""

import json
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from fedpref.core.types import Record
from fedpref.data import partition
from fedpref.data.dataset import Dataset, Rating
from fedpref.errors import InputError
from fedpref.study import cases, contenders, curves, plots
from fedpref.study.curves import Ask, curve
from fedpref.study.settings import DEFAULT, Learning

QUICK = replace(
    DEFAULT,
    directions=4,
    weights=Learning(4, 1.0, 4.0),
    basis=Learning(2, 1.0, 4.0),
    prototypes=Learning(2, 1.0, 4.0),
    rank=2,
    clusters=2,
    ks=(0, 2, 4),
    draws=2,
)
LEVELS = [(f, w, c) for f in range(4) for w in range(3) for c in range(2)]
TEXTS = {f"offer {f} {w} {c}": np.array([f, w, c]) for f, w, c in LEVELS}
MODELS = ("majority", "population", "own", "eb_public", "eb_moment", "attributes")


def _dataset(name="made-up", people=80, prefix="u", *, rated=False) -> Dataset:
    rng = np.random.default_rng(people)
    names = list(TEXTS)
    records, ratings = [], []
    for number in range(people):
        own = np.array([-1.0, 0.5, 1.0]) + rng.standard_normal(3)
        for _ in range(3 if number % 10 == 9 else 8):
            menu = tuple(str(t) for t in rng.choice(names, 3, replace=False))
            scores = [TEXTS[t] @ own + rng.gumbel() for t in menu]
            user, best = f"{prefix}{number}", int(np.argmax(scores))
            records.append(Record(user, "", menu, choice=best))
            score = float(np.clip(50 + 20 * scores[0], 0, 100))
            ratings.append(Rating(user, menu[0], score))
    return Dataset(
        name=name,
        records=tuple(records),
        catalogue=tuple(names),
        attributes={
            t: dict(zip("fwc", map(str, v), strict=True)) for t, v in TEXTS.items()
        },
        notes=("made up",),
        texts_public=True,
        people={f"{prefix}{n}": {"sex": "fm"[n % 2]} for n in range(people)},
        ratings=tuple(ratings) if rated else (),
        dropped={"made-up losses": 3},
    )


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(curves, "settings_of", lambda name: QUICK)

    def embeddings(texts, *, cache=None):
        rng = np.random.default_rng(1)
        table = np.array([TEXTS[t] for t in texts], float)
        return table @ rng.standard_normal((3, 8)) + np.sin(table @ np.ones((3, 8)))

    monkeypatch.setattr("fedpref.study.features.embeddings", embeddings)


@pytest.fixture(scope="module")
def found():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "settings_of", lambda name: QUICK)
        patch.setattr(
            "fedpref.study.features.embeddings",
            lambda texts, *, cache=None: np.array([TEXTS[t] for t in texts], float),
        )
        return curve(_dataset(), Ask(models=MODELS, seeds=2))


def test_the_result_is_json_with_every_model_epsilon_and_k(found) -> None:
    assert json.loads(json.dumps(found)) == found
    assert set(found["models"]) == set(MODELS)
    for by_epsilon in found["models"].values():
        assert list(by_epsilon) == ["inf", "1"]
        for entries in by_epsilon.values():
            assert list(entries) == ["0", "2", "4"]
    entry = found["models"]["eb_moment"]["1"]["4"]
    wanted = {"accuracy", "ci95", "choice_accuracy", "macro_f1", "log_loss", "ece"}
    assert wanted | {"spread", "worst_decile", "groups"} <= set(entry)
    low, high = entry["ci95"]
    assert low <= entry["accuracy"] <= high
    assert set(entry["groups"]["sex"]) == {"f", "m"}


def test_own_answers_help_and_the_pooled_row_is_flat(found) -> None:
    models = found["models"]
    flat = {entry["accuracy"] for entry in models["population"]["inf"].values()}
    assert len(flat) == 1
    start = models["eb_public"]["inf"]["0"]["accuracy"]
    assert start == pytest.approx(flat.pop())
    assert models["eb_public"]["inf"]["4"]["accuracy"] > start
    assert models["own"]["inf"] == models["own"]["1"]
    assert models["own"]["inf"]["0"]["accuracy"] == 0.5


def test_gains_are_over_the_pooled_weights_at_the_same_epsilon(found) -> None:
    gained = found["gain_over_population"]["eb_public"]["1"]["4"]
    models = found["models"]
    ours = models["eb_public"]["1"]["4"]["accuracy"]
    theirs = models["population"]["1"]["4"]["accuracy"]
    assert gained["value"] == pytest.approx(ours - theirs)
    assert set(found["words_minus_attributes"]) == {"inf", "1"}


def test_what_was_released_at_what_price_is_said(found) -> None:
    released = found["released"]
    assert released["own"]["1"] == ["nothing"]
    assert "moment" in released["eb_moment"]["1"][1]
    assert "epsilon 1 per person" in released["eb_moment"]["1"][2]
    assert "epsilon infinite" in released["eb_moment"]["inf"][-1]
    assert "NOT private" in found["notes"][-1]


def test_people_with_too_few_answers_are_counted_and_said(found) -> None:
    assert any(found["people"]["short"])
    assert [sum(counts) for counts in zip(*found["people"].values(), strict=True)] == [
        found["users"]
    ] * found["seeds"]
    said = " ".join(found["notes"])
    assert f"{found['people']['short'][0]} of " in said
    assert "made up" in said
    assert found["dropped"] == {"made-up losses": 3}


def test_seeds_hold_out_other_people_by_the_rule_and_nobody_is_on_both_sides() -> None:
    source = cases.material(_dataset(), None, 4)
    seen = []
    for case in cases.cases(source, 3):
        train = set(case.train.words.people)
        test = set(case.test.words.people)
        assert not train & test
        assert test == {
            f"u{n}"
            for n in range(80)
            if partition.is_heldout(f"u{n}", f"split-{case.seed}")
        }
        seen.append(frozenset(test))
    assert len(set(seen)) == 3
    fixed = cases.material(_dataset("electricity"), None, 4)
    sides = {frozenset(case.test.words.people) for case in cases.cases(fixed, 3)}
    assert len(sides) == 1
    assert len({case.entropy.seed for case in cases.cases(fixed, 3)}) == 3


def test_another_folder_is_predicted_from_everybody_of_the_first() -> None:
    other = _dataset(people=30, prefix="v")
    found = curve(_dataset(), Ask(models=("own",), seeds=1), test=other)
    assert found["people"]["train"] == [80]
    assert found["people"]["predicted"][0] + found["people"]["short"][0] == 30
    assert any("second" in note for note in found["notes"])
    with pytest.raises(InputError, match="80 people are in the training folder too"):
        curve(_dataset(), Ask(models=("own",), seeds=1), test=_dataset())


def test_ratings_are_measured_as_approving_with_pairs_beside_it() -> None:
    ask = Ask(models=("majority", "eb_moment"), epsilons=(inf,), seeds=1)
    found = curve(_dataset(rated=True), ask)
    entry = found["models"]["eb_moment"]["inf"]["4"]
    assert entry["choice_accuracy"] is None
    assert 0.5 < entry["pair_accuracy"] <= 1
    assert found["measure"].startswith("approve")


def test_every_model_runs_and_boosting_stands_under_no_noise_alone() -> None:
    pytest.importorskip("sklearn")
    ask = Ask(epsilons=(1.0, inf), seeds=1, draws=1, ks=(0, 2))
    found = curve(_dataset(people=40), ask)
    assert set(found["models"]) == set(contenders.WORDS)
    assert set(found["models"]["boosting"]) == {"inf"}
    assert contenders.UNFIT in found["notes"]
    with pytest.raises(InputError, match="boosting is central"):
        curve(_dataset(people=40), Ask(models=("boosting",), epsilons=(1.0,)))


def test_models_that_a_set_cannot_have_are_left_out_and_said() -> None:
    bare = replace(_dataset(), attributes={})
    ask = Ask(models=("own", "attributes"), seeds=1)
    found = curve(bare, ask)
    assert set(found["models"]) == {"own"}
    assert any(note.startswith("attributes:") for note in found["notes"])
    with pytest.raises(InputError, match="attributes"):
        curve(bare, Ask(models=("attributes",), seeds=1))


def test_private_texts_are_refused() -> None:
    with pytest.raises(InputError, match="not declared public"):
        curve(replace(_dataset(), texts_public=False), Ask(models=("own",)))


def test_the_same_question_twice_gives_the_same_answer() -> None:
    ask = Ask(models=("eb_public",), epsilons=(1.0,), seeds=1)
    assert curve(_dataset(), ask) == curve(_dataset(), ask)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"models": ("eb_publik",)}, "did you mean 'eb_public'"),
        ({"epsilons": (0.0,)}, "epsilon = 0, must be above 0"),
        ({"epsilons": (float("nan"),)}, "epsilon = nan"),
        ({"ks": (0, -1)}, "k = -1"),
        ({"seeds": 0}, "seeds = 0"),
        ({"models": ()}, "at least one"),
    ],
)
def test_senseless_questions_are_refused(values, said) -> None:
    with pytest.raises(InputError, match=said):
        Ask(**values)


def test_a_k_that_nobody_has_answers_for_is_refused() -> None:
    with pytest.raises(InputError, match="nobody has more than 8"):
        curve(_dataset(), Ask(models=("own",), ks=(8,), seeds=1))


def test_a_basis_is_shortened_and_keeps_its_directions() -> None:
    basis = np.diag([5.0, 1.0])[:, ::-1] @ np.array([[0.6, -0.8], [0.8, 0.6]])
    found = contenders.capped(basis, 2.0)
    assert np.allclose(np.linalg.svd(found)[1], [2.0, 1.0])
    assert np.allclose(found @ found.T, np.diag([4.0, 1.0]))


def test_pictures_show_the_curve_and_each_grouping(found, tmp_path) -> None:
    paths = plots.draw(found, tmp_path / "new")
    assert {path.name for path in paths} == {
        "curve.png",
        "curve.svg",
        "group-sex.png",
        "group-sex.svg",
    }
    first = (tmp_path / "new" / "curve.svg").read_bytes()
    plots.draw(found, tmp_path / "new")
    assert (tmp_path / "new" / "curve.svg").read_bytes() == first
    assert first.lstrip().startswith(b"<?xml")
