"""Chatbot vignettes: ratings, pairs made of them, and the notice that goes along."""

from collections import Counter

import pytest

from fedpref.data import chatbot, sources
from fedpref.errors import RecordError

LEVELS = {name: levels[0] for name, levels in chatbot.FACTORS.items()}


def row(user="p1", vignette=0, score=50, **levels):
    return [user, vignette, *(LEVELS | levels).values(), score, 100 - score]


ROWS = [
    row(),
    row(vignette=1, score=60, location="the US"),
    row(vignette=2, score=59, location="the European Union"),
    row("p2", score=7),
    row("p2", 1, score=8, location="the US"),
]


def person(user):
    return [user, *("1" for _ in chatbot.USERS_HEADER[1:-3]), "Daily", "2024", "Free"]


@pytest.fixture
def load(tmp_path, write_table):
    write_table(
        tmp_path / chatbot.USERS, chatbot.USERS_HEADER, [person("p1"), person("p2")]
    )

    def load(rows=ROWS, **options):
        write_table(tmp_path / chatbot.FILE, chatbot.HEADER, rows)
        return sources.load(chatbot.NAME, base=None, folder=tmp_path, **options)

    return load


def test_every_rating_is_kept_and_pairs_have_the_margin(load):
    data = load()
    assert [rating.score for rating in data.ratings] == [50, 60, 59, 7, 8]
    assert {rating.text for rating in data.ratings} == set(data.catalogue)
    (record,) = data.records
    assert " based in the US " in record.options[record.choice]
    assert " based in China " in record.options[1 - record.choice]
    assert data.dropped == {"pairs of ratings less than 10 points apart": 3}
    assert data.people["p1"] == {"usage": "Daily", "account": "Free"}
    assert data.catalogue[0] == (
        "Your ChatGPT conversations were shared with a big tech company based in China "
        "for the purpose of assessing mental health. All of your conversations with "
        "ChatGPT were shared. You were asked for consent in advance of the data being "
        "collected. Your conversations were anonymized before being shared. Personally "
        "identifying information from your conversations was automatically removed."
    )
    assert data.attributes[data.catalogue[0]] == LEVELS


def test_the_notice_is_the_first_note(load):
    notes = load().notes
    assert notes[0] == chatbot.NOTICE
    assert "inferred from the data" in notes[0]
    assert "not a statement by the authors" in notes[0]
    assert any("cite, do not republish" in note for note in notes)
    assert any("1 people rate so evenly" in note for note in notes)
    assert any('only unit = "user" protects a rating' in note for note in notes)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(score=101), "`appropriate_score` must be a whole number from 0 to 100"),
        (row(vignette=30), "`vignette` must be"),
        (row(role="a spy"), "`role` must be one of"),
        (row(score=5), "the same person and `vignette` as line 2"),
    ],
)
def test_rows_that_do_not_fit(load, bad, reason):
    with pytest.raises(RecordError) as caught:
        load([*ROWS, bad])
    assert [line for line, _ in caught.value.problems] == [7]
    assert reason in str(caught.value)
    assert "spy" not in str(caught.value)


def test_a_cap_counts_ratings_and_makes_the_pairs_again(load):
    data = load(records_per_person=2)
    assert Counter(rating.user for rating in data.ratings) == {"p1": 2, "p2": 2}
    assert data.dropped["answers beyond 2 of a person"] == 1
    texts = {rating.text for rating in data.ratings if rating.user == "p1"}
    assert all(set(r.options) <= texts for r in data.records if r.user == "p1")


def test_the_real_folder(real_set):
    data = real_set(chatbot.NAME)
    assert len({rating.user for rating in data.ratings}) == 242
    assert len(data.ratings) == 7260
    # The folder's README counts 67,634: with the pairs of a text with itself.
    assert len(data.records) == 67_565
    assert len({record.user for record in data.records}) == 240
    assert len(data.people) == 242
    assert any(note.startswith("2 people rate so evenly") for note in data.notes)
