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


def test_from_starts_at_the_scenario(read, tmp_path):
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
