"""``fedpref study curve`` as people type it."""

import json

import pytest


def test_electricity_is_printed_as_a_table_with_prices_and_notes(
    fedpref, main_job, tmp_path
) -> None:
    shown = fedpref(
        *("study", "curve", "electricity", "--epsilon", "1", "--k", "0,4"),
        *("--models", "population,own,eb_public", "--seeds", "1", "--draws", "1"),
        *("--out", tmp_path / "out"),
    )
    assert shown.code == 0
    assert "eb_public" in shown.out
    assert "k = 4" in shown.out
    assert "epsilon 1 per person at delta 1e-05 against the server" in shown.out
    assert "NOT private" in shown.out
    assert "seed 1 of 1: eb_public" in shown.err
    kept = json.loads((tmp_path / "out" / "curve.json").read_text())
    by_k = kept["models"]["eb_public"]["1"]
    assert by_k["4"]["accuracy"] > by_k["0"]["accuracy"] > 0.65
    assert (tmp_path / "out" / "curve.png").stat().st_size > 10_000
    assert kept["set"] == "electricity"


def test_json_is_all_that_is_printed(fedpref, main_job) -> None:
    shown = fedpref(
        *("study", "curve", "electricity", "--epsilon", "inf", "--k", "0,1"),
        *("--models", "own", "--seeds", "1", "--draws", "1", "--json"),
    )
    assert shown.code == 0
    assert set(json.loads(shown.out)["models"]) == {"own"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("electricty",), "did you mean 'electricity'"),
        (("electricity", "--k", "0,-2"), "k = -2"),
        (("electricity", "--k", "0,two"), "k = 'two'"),
        (("electricity", "--epsilon", "0"), "epsilon = 0"),
        (("electricity", "--epsilon", "-1"), "epsilon = -1"),
        (("electricity", "--epsilon", "much"), "epsilon = 'much'"),
        (("electricity", "--models", "eb_momnet"), "did you mean 'eb_moment'"),
        (("electricity", "--seeds", "0"), "seeds = 0"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(fedpref, arguments, said) -> None:
    shown = fedpref("study", "curve", *arguments)
    assert shown.code == 2
    last = [line for line in shown.err.splitlines() if line.startswith("fedpref:")]
    assert len(last) == 1
    assert said in last[0]
    assert not shown.out


def test_a_folder_that_is_not_there_is_bad_input(fedpref, tmp_path) -> None:
    shown = fedpref(
        *("study", "curve", "drone-delivery-privacy-choices"),
        *("--from", tmp_path / "nowhere"),
    )
    assert shown.code == 2
    assert "nowhere" in shown.err
