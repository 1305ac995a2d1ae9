"""Records that an objective cannot use are named, line by line, with what would fit."""

import json

import pytest

from fedpref import objectives
from fedpref.core.types import Record
from fedpref.data import sources
from fedpref.errors import InputError, ObjectiveError, RecordError
from fedpref.objectives import Takes, check_records

PAIR = Record("a", "", ("yes", "no"), choice=0)
MENU = Record("a", "", ("tea", "coffee", "water"), choice=2)
UP = Record("a", "", ("well done",), label=True)
BOTH = Record("a", "", ("yes", "no"), choice=0, labels={"price": 0, "privacy": 1})
ONE = Record("a", "", ("yes", "no"), choice=0, labels={"price": 0})
EMPTY = Record("a", "", ("yes", " \n"), choice=0)
NO_TEXT = Record("a", "", ("",), label=True)

FITS = {
    Takes.CHOICE: {"pair", "menu", "both", "one"},
    Takes.PAIR: {"pair", "both", "one"},
    Takes.THUMB: {"up"},
    Takes.LABELS: {"both"},
}
KINDS = {
    "pair": PAIR,
    "menu": MENU,
    "up": UP,
    "both": BOTH,
    "one": ONE,
    "empty": EMPTY,
    "no text": NO_TEXT,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", objectives.names())
def test_takes_what_it_says_and_nothing_else(name, kind) -> None:
    fits = kind in FITS[objectives.about(name).takes]
    if fits:
        check_records([KINDS[kind]], name, source="x.jsonl", lines=[4])
    else:
        with pytest.raises(RecordError, match=r"x\.jsonl: 1 bad line\n  line 4: "):
            check_records([KINDS[kind]], name, source="x.jsonl", lines=[4])


@pytest.mark.parametrize(
    ("record", "name", "needle"),
    [
        (UP, "dpo", "a thumb; dpo needs a choice among two or more texts; what fits:"),
        (UP, "bt", "no reward objective takes them; with a policy: bco, ddro, kto_"),
        (PAIR, "kto_user", "a choice; kto_user needs `completion` and `label`"),
        (MENU, "robust_dpo", "options = 3; robust_dpo needs a choice between two"),
        (PAIR, "parm", "no `labels`; parm needs two texts with `labels` for two or"),
        (ONE, "parm", "`labels` of one objective in the whole data; parm needs"),
        (MENU, "parm", "options = 3; parm needs"),
        (EMPTY, "dpo", "an empty completion; dpo needs"),
        (NO_TEXT, "bco", "an empty completion; bco needs"),
    ],
)
def test_says_what_is_wrong_and_what_would_fit(record, name, needle) -> None:
    with pytest.raises(RecordError) as caught:
        check_records([record], name, source="x", lines=[1])
    assert needle in str(caught.value)


@pytest.mark.parametrize("name", objectives.names())
@pytest.mark.parametrize("record", [PAIR, MENU, UP], ids=["pair", "menu", "up"])
def test_what_is_suggested_fits_and_is_not_refused_with_noise(record, name) -> None:
    try:
        check_records([record], name, source="x", lines=[1])
    except RecordError as error:
        names = str(error).rpartition(": ")[2].split(", ")
        assert names
        for other in names:
            check_records([record], other, source="x", lines=[1])
            assert objectives.about(other).private != "no"


def test_nearest_ones_come_first() -> None:
    with pytest.raises(RecordError) as caught:
        check_records([MENU], "robust_dpo", source="x", lines=[1])
    assert "what fits: dpo, " in str(caught.value)


def test_every_line_that_does_not_fit_is_named() -> None:
    records = [PAIR, UP, PAIR, UP]
    with pytest.raises(RecordError) as caught:
        check_records(records, "dpo", source="x", lines=[1, 2, 5, 9])
    assert [line for line, _ in caught.value.problems] == [2, 9]


def test_a_missing_label_is_no_error_where_others_have_it() -> None:
    check_records([BOTH, ONE], "parm", source="x", lines=[1, 2])


def test_without_lines_the_first_one_is_described() -> None:
    with pytest.raises(InputError, match="set: 2 of 3 records do not fit; record 2: a"):
        check_records([PAIR, UP, UP], "dpo", source="set")


def test_no_message_shows_what_somebody_wrote() -> None:
    secret = Record("zelda", "my ailment", ("it hurts",), label=True)
    with pytest.raises(RecordError) as caught:
        check_records([secret], "dpo", source="x", lines=[1])
    shown = str(caught.value)
    assert not any(word in shown for word in ("zelda", "ailment", "hurts"))


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(ObjectiveError, match="did you mean dpo"):
        check_records([PAIR], "dpoo", source="x")


# --- lines of a file ----------------------------------------------------------------


def written(path, rows):
    path.write_text("\n".join(json.dumps(row) if row else "" for row in rows))
    return path


def row(user, **more):
    return {"user": user, "prompt": "", **more}


def test_lines_are_those_of_the_file(tmp_path) -> None:
    pairs = [row("a", chosen=f"yes {i}", rejected="no") for i in range(3)]
    file = written(tmp_path / "x.jsonl", [pairs[0], None, pairs[1], None, pairs[2]])
    data = sources.load(str(file), base=None)
    assert data.lines == (1, 3, 5)


def test_lines_follow_the_records_that_a_cap_keeps(tmp_path) -> None:
    rows = [row("ab"[i % 2], chosen=f"yes {i}", rejected="no") for i in range(12)]
    file = written(tmp_path / "x.jsonl", rows)
    whole = sources.load(str(file), base=None)
    few = sources.load(str(file), base=None, records_per_person=2)
    assert len(few.lines) == len(few.records) == 4
    at = dict(zip(whole.lines, whole.records, strict=True))
    for line, record in zip(few.lines, few.records, strict=True):
        assert at[line] == record
