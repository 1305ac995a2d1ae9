"""``fedpref study curve --leakage``: attacks beside the curve, and their refusal."""

import json
from dataclasses import replace

import pytest

ARGUMENTS = (
    *("study", "curve", "electricity", "--k", "0", "--seeds", "1", "--draws", "1"),
    *("--models", "own,population,eb_public", "--leakage-people", "120"),
)


def test_attacks_stand_beside_the_curve(fedpref, main_job) -> None:
    shown = fedpref(*ARGUMENTS, "--epsilon", "inf,1", "--leakage", "8", "--json")
    assert shown.code == 0
    found = json.loads(shown.out)["leakage"]
    assert set(found) == {"population", "eb_public"}  # own releases nothing
    bare, private = (found["population"][epsilon] for epsilon in ("inf", "1"))
    assert found["eb_public"]["inf"] == bare
    assert bare["people"] == 120
    assert bare["models"] == 8
    assert bare["allowed"]["auc"] == 1
    assert bare["auc"] > private["auc"]
    assert bare["ci95"][0] > 0.5
    assert 0.5 < private["allowed"]["auc"] < 0.6
    assert private["ci95"][0] < private["allowed"]["auc"]
    assert set(bare["other_attacks"]) == {"projection", "likelihood", "loss"}


def test_the_table_shows_a_release_once(fedpref, main_job) -> None:
    shown = fedpref(*ARGUMENTS, "--epsilon", "inf", "--leakage", "8")
    assert shown.code == 0
    assert "membership of a person" in shown.out
    assert shown.out.count("1.000") == 1


def test_an_attack_above_the_claim_is_exit_code_5(
    fedpref, main_job, monkeypatch
) -> None:
    """A population that forgets its noise, under a plan that claims epsilon 1."""
    from fedpref.study import noisy, population

    def forgetful(rows, stage, *, entropy, purpose):
        bare = replace(stage.release, scale=None)
        return noisy.noisy_sum(
            rows, replace(stage, release=bare), entropy=entropy, purpose=purpose
        )

    monkeypatch.setattr(population, "noisy_sum", forgetful)
    shown = fedpref(*ARGUMENTS, "--epsilon", "1", "--leakage", "16")
    assert shown.code == 5
    assert "the claim of epsilon 1" in shown.err
    assert not shown.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--leakage", "7"), "models = 7, must be even"),
        (("--leakage", "-2"), "models = -2, must be even"),
        (("--leakage", "8", "--leakage-people", "-1"), "people = -1"),
    ],
)
def test_nonsense_is_refused(fedpref, main_job, arguments, said) -> None:
    shown = fedpref(*ARGUMENTS, "--epsilon", "inf", *arguments)
    assert shown.code == 2
    assert said in shown.err
