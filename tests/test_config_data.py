"""``[data]`` of a scenario: where a set lies, how it is worded, who is held out."""

import tomllib
from pathlib import Path

import pytest

from fedpref import config
from fedpref.data import partition
from fedpref.errors import ScenarioError

SCENARIO = Path(__file__).parents[1] / "simulations" / "linear_head.toml"


@pytest.fixture
def read(tmp_path):
    path = tmp_path / "one.toml"
    path.write_text(SCENARIO.read_text(encoding="utf-8"), encoding="utf-8")
    return lambda *overrides: config.read(path, overrides)


def test_from_by_hand_starts_at_the_current_folder(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read().data.folder is None
    assert read("data.from=sets/drone").data.folder == str(tmp_path / "sets/drone")
    assert read("data.from=/sets/drone").data.folder == "/sets/drone"


def test_a_resolved_scenario_with_a_folder_reads_back_to_the_same(read):
    words = 'data.templates={drone = "{fee} \\"for\\" – {wait} 🚁"}'
    scenario = read("data.from=/sets/drone", words, "data.records_per_person=5")
    text = scenario.to_toml()
    assert 'from = "/sets/drone"' in text
    assert "folder" not in text
    again = config.parse(tomllib.loads(text), source="again")
    assert again == scenario
    assert again.data.templates == {"drone": '{fee} "for" – {wait} 🚁'}


@pytest.mark.parametrize(
    ("override", "needle"),
    [
        ("data.form=x", "data.form: unknown key; did you mean from"),
        ("data.folder=x", "data.folder: unknown key"),
        ("data.from=3", "data.from = 3"),
        ("data.split=split-9", "data.split = 'split-9'"),
        ("data.records_per_person=0", "data.records_per_person = 0"),
        ("data.templates={drone = 3}", "data.templates.drone = 3"),
    ],
)
def test_refuses(read, override, needle):
    with pytest.raises(ScenarioError) as caught:
        read(override)
    assert needle in str(caught.value)


def test_the_splits_are_those_that_exist(read):
    for salt in partition.SALTS:
        assert read(f"data.split={salt}").data.split == salt
    assert read().data.split == partition.SALT


def test_a_path_given_by_hand_starts_where_it_is_given(tmp_path, monkeypatch) -> None:
    """In the file it starts at the file's folder, wherever the command runs."""
    (tmp_path / "here").mkdir()
    path = tmp_path / "there.toml"
    text = (
        '[data]\nsource = "own.jsonl"\ncatalogue = "texts.txt"\n'
        '[model]\n[objective]\nname = "bt"\n'
        '[privacy]\nunit = "user"\nnoise = "none"\nclip = 1.0\n'
        '[cohort]\nparticipation = "all"\nrounds = 1\n'
    )
    path.write_text(text)
    monkeypatch.chdir(tmp_path / "here")
    read = config.read(path, ["data.source=mine.jsonl"])
    assert read.data.source == str(tmp_path / "here" / "mine.jsonl")
    assert read.data.catalogue == str(tmp_path / "texts.txt")
