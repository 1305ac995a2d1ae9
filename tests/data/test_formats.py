"""The record reader: one record a line, or a reason; never a person's words."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedpref.data import formats
from fedpref.errors import InputError, RecordError

PAIR = {"user": "ada", "prompt": "Q", "chosen": "yes", "rejected": "no"}
THUMB = {"user": "ada", "prompt": "", "completion": "yes", "label": True}
MENU = {"user": "ada", "prompt": "Q", "options": ["a", "b", "c"], "choice": 2}
MENU3 = {**MENU, "choice": 3}


@pytest.fixture
def read(tmp_path):
    """Read rows (dicts, or lines as text or bytes) written to a file."""

    def run(*rows):
        lines = [json.dumps(row) if isinstance(row, dict) else row for row in rows]
        raw = [line.encode() if isinstance(line, str) else line for line in lines]
        path = tmp_path / "records.jsonl"
        path.write_bytes(b"\n".join(raw) + b"\n")
        return formats.read_records(path)

    return run


@pytest.fixture
def problems(read):
    def run(*rows):
        with pytest.raises(RecordError) as caught:
            read(*rows)
        assert caught.value.exit_code == 2
        return dict(caught.value.problems)

    return run


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


# --- what is read -------------------------------------------------------------------


def test_the_three_forms(read):
    pair, thumb, menu = read(PAIR, THUMB, MENU)
    assert set(pair.options) == {"yes", "no"}
    assert pair.options[pair.choice] == "yes"
    assert pair.label is None
    assert (thumb.options, thumb.label, thumb.choice) == (("yes",), True, None)
    assert (menu.options, menu.choice, menu.label) == (("a", "b", "c"), 2, None)
    assert menu.texts == ("Q\na", "Q\nb", "Q\nc")
    assert thumb.texts == ("yes",)


def test_optional_fields(read):
    row = {**MENU, "options": ["a", "b"], "choice": 1}
    row |= {"labels": {"price": 0, "privacy": 1}, "weight": 2, "id": "x-1"}
    (record,) = read(row)
    assert record.labels == {"price": 0, "privacy": 1}
    assert (record.weight, record.id) == (2.0, "x-1")
    assert type(record.weight) is float
    (plain,) = read(THUMB)
    assert (plain.labels, plain.weight, plain.id) == ({}, 1.0, "")


def test_chat_messages_become_lines(read):
    chat = [{"role": "user", "content": "Hi"}, {"role": "bot", "content": "What?"}]
    good, bad = [{"role": "bot", "content": c} for c in ("Well.", "No.")]
    (record,) = read({"user": "u", "prompt": chat, "chosen": [good], "rejected": [bad]})
    assert record.prompt == "user: Hi\nbot: What?"
    assert record.options[record.choice] == "bot: Well."


def test_blank_lines_carriage_returns_and_a_byte_order_mark(read):
    rows = read("\ufeff" + json.dumps(PAIR) + "\r", "", "   \r", json.dumps(THUMB))
    assert len(rows) == 2


def test_repr_shows_no_contents(read):
    for record in read(PAIR, THUMB, MENU):
        assert "ada" not in repr(record)
        assert "yes" not in repr(record)


def test_the_order_of_a_pair_says_nothing_about_the_choice(read):
    rows = [
        {"user": f"u{n}", "prompt": "p", "chosen": "good", "rejected": "bad"}
        for n in range(400)
    ]
    mirrored = [{**row, "chosen": "bad", "rejected": "good"} for row in rows]
    first, second = read(*rows), read(*mirrored)
    for a, b in zip(first, second, strict=True):
        assert a.options == b.options  # the same order whichever was chosen
        assert a.choice == 1 - b.choice
    # A fair coin leaves [160, 240] of 400 with probability 6e-5; the hash is fixed.
    assert 160 < sum(record.choice for record in first) < 240


def test_the_labels_of_a_pair_follow_its_order(read):
    rows = [
        {
            "user": f"u{n}",
            "prompt": "",
            "chosen": "c",
            "rejected": "r",
            "labels": {"price": 1, "privacy": 0},
        }
        for n in range(40)
    ]
    records = read(*rows)
    assert {record.choice for record in records} == {0, 1}  # both orders occur
    for record in records:
        assert record.options[record.labels["price"]] == "r"
        assert record.options[record.labels["privacy"]] == "c"


# --- what is refused ----------------------------------------------------------------

CHAT = [{"role": "user", "content": "x"}]
BAD = [
    ("{", "invalid JSON at column 2"),
    ("nope", "invalid JSON at column 1"),
    (json.dumps(PAIR) + " {}", "invalid JSON"),
    ("[1]", "must be a JSON object, not a list"),
    ('"text"', "must be a JSON object, not a string"),
    ("null", "must be a JSON object, not null"),
    (b'{"user": "\xff\xfe"}', "not UTF-8 at byte 11"),
    ("[" * 200_000, "nested too deeply"),
    ('{"weight": NaN}', "NaN and Infinity are not JSON"),
    ('{"weight": -Infinity}', "NaN and Infinity are not JSON"),
    ('{"weight": ' + "9" * 5000 + "}", "too many digits"),
    ('{"user": "a", "user": "b"}', "`user` is given twice"),
    ({}, "`user` is missing; `prompt` is missing"),
    (without(PAIR, "user"), "`user` is missing"),
    (without(PAIR, "prompt"), '`prompt` is missing (write "" where there is none)'),
    (without(PAIR, "rejected"), "`rejected` is missing"),
    (without(PAIR, "chosen"), "`chosen` is missing"),
    (without(THUMB, "label"), "`label` is missing"),
    (without(THUMB, "completion"), "`completion` is missing"),
    (without(MENU, "choice"), "`choice` is missing"),
    (without(MENU, "options"), "`options` is missing"),
    (without(PAIR, "chosen", "rejected"), "no answer: give one of `chosen` and"),
    ({**PAIR, "label": True}, "`chosen` and `rejected` and `label` belong to"),
    ({**MENU, "chosen": "a"}, "`chosen` and `options` and `choice` belong to"),
    ({**PAIR, "wieght": 1}, "unknown field `wieght` (did you mean `weight`?)"),
    ({**PAIR, "zzzz": 1}, "unknown field `zzzz`"),
    ({**PAIR, "user": ""}, "`user` is empty"),
    ({**PAIR, "user": " \t"}, "`user` is empty"),
    ({**PAIR, "user": 7}, "`user` must be a string, not a number"),
    ({**PAIR, "user": True}, "`user` must be a string, not true or false"),
    ({**PAIR, "user": "\ud800"}, "`user` holds half of a surrogate pair"),
    ({**PAIR, "prompt": "\udfff"}, "`prompt` holds half of a surrogate pair"),
    ({**PAIR, "prompt": None}, "`prompt` must be a string or chat messages, not null"),
    ({**PAIR, "prompt": []}, "`prompt` is an empty list of messages"),
    ({**PAIR, "prompt": ["x"]}, "`prompt[0]` must be a message (an object)"),
    ({**PAIR, "prompt": [{"role": "user"}]}, "`prompt[0].content` is missing"),
    ({**PAIR, "prompt": [{"content": "x"}]}, "`prompt[0].role` is missing"),
    (
        {**PAIR, "prompt": [*CHAT, {"role": "user", "content": 3}]},
        "`prompt[1].content` must be a string, not a number",
    ),
    (
        {**PAIR, "prompt": [{"role": "a", "content": "x", "name": "b"}]},
        "`prompt[0]` has unknown fields: `name`",
    ),
    ({**PAIR, "chosen": {"a": 1}}, "`chosen` must be a string or chat messages"),
    ({**PAIR, "chosen": ""}, "`chosen` is empty"),
    ({**PAIR, "chosen": "no"}, "`chosen` and `rejected` are the same text"),
    ({**PAIR, "user": "", "chosen": "no"}, "empty; `chosen` and `rejected` are the"),
    ({**THUMB, "completion": 1}, "`completion` must be a string"),
    ({**THUMB, "label": 1}, "`label` must be true or false, not a number"),
    ({**THUMB, "label": "up"}, "`label` must be true or false, not a string"),
    ({**MENU, "options": "abc"}, "`options` must be a list, not a string"),
    ({**MENU, "options": [], "choice": 0}, "`options` has 0, at least 2"),
    ({**MENU, "options": ["a"], "choice": 0}, "`options` has 1, at least 2"),
    ({**MENU, "options": ["a", 2, "c"]}, "`options[1]` must be a string or chat"),
    ({**MENU, "options": ["a", "b", "a"]}, "`options[0]` and `options[2]` are the"),
    (
        {**MENU, "options": ["user: x", CHAT, "c"]},  # the same once flattened
        "`options[0]` and `options[1]` are the same text",
    ),
    (MENU3, "`choice` is out of range: 3 options count from 0"),
    ({**MENU, "choice": -1}, "`choice` is out of range"),
    ({**MENU, "choice": True}, "`choice` must be a whole number, not true or false"),
    ({**MENU, "choice": 1.0}, "`choice` must be a whole number, not a fraction"),
    ({**MENU, "choice": "a"}, "`choice` must be a whole number, not a string"),
    ({**PAIR, "weight": 0}, "`weight` must be finite and above 0"),
    ({**PAIR, "weight": -1.5}, "`weight` must be finite and above 0"),
    ('{"weight": 1e999}', "`weight` must be finite and above 0"),
    ('{"weight": 1' + "0" * 400 + "}", "`weight` must be finite and above 0"),
    ({**PAIR, "weight": "2"}, "`weight` must be a number, not a string"),
    ({**PAIR, "weight": True}, "`weight` must be a number, not true or false"),
    ({**PAIR, "labels": [0, 1]}, "`labels` must be an object, not a list"),
    ({**PAIR, "labels": {"price": 2}}, "`labels` must be 0 or 1, not what `price`"),
    ({**PAIR, "labels": {"price": True}}, "`labels` must be 0 or 1"),
    ({**PAIR, "labels": {"price": 1.0}}, "`labels` must be 0 or 1"),
    ({**PAIR, "labels": {"my secret": 1}}, "a name that is not an identifier"),
    ({**MENU, "labels": {"price": 1}}, "`labels` needs two options"),
    ({**PAIR, "id": ""}, "`id` is empty"),
    ({**PAIR, "id": 5}, "`id` must be a string, not a number"),
]


@pytest.mark.parametrize(("row", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_line_is_reported_with_its_reason(problems, row, reason):
    found = problems(PAIR, row, THUMB)
    assert set(found) == {2}
    assert reason in found[2]


def test_every_bad_line_and_every_reason_is_reported(problems):
    found = problems("{", PAIR, "", {**PAIR, "user": "", "weight": 0}, "[]")
    assert set(found) == {1, 4, 5}
    assert found[4] == "`user` is empty; `weight` must be finite and above 0"


def test_the_message_counts_and_numbers_the_lines(read):
    with pytest.raises(RecordError, match=r"2 bad lines\n  line 1: .*\n  line 3: "):
        read("{", PAIR, "{")


def test_a_repeated_id_names_the_first_line_not_the_id(problems):
    rows = [{**PAIR, "id": "secret-1"}, PAIR, {**THUMB, "id": "secret-1"}]
    assert problems(*rows) == {3: "`id` is that of line 1"}


def test_messages_never_show_what_people_wrote(problems):
    secret = "xyzzy"
    rows = [
        {**PAIR, "user": secret, "weight": secret},
        {**PAIR, "chosen": secret, "rejected": secret},
        {**MENU, "options": [secret, secret], "choice": secret},
        {**PAIR, f"I {secret} think": 1, "labels": {f"my {secret}": secret}},
        {**PAIR, "prompt": [{secret + " ?": secret}], "id": [secret]},
        '{"user": "' + secret,
        '{"I am ' + secret + '": 1, "I am ' + secret + '": 2}',
    ]
    found = problems(*rows)
    assert set(found) == set(range(1, 8))
    assert secret not in "".join(found.values())


def test_line_length_is_capped_and_reading_goes_on(read, problems):
    room = formats.MAX_LINE_BYTES - len(json.dumps({**PAIR, "prompt": ""}))
    fits = json.dumps({**PAIR, "prompt": "x" * room})
    assert len(fits) == formats.MAX_LINE_BYTES
    assert len(read(fits, THUMB)) == 2
    longer = fits.replace("xx", "xxx", 1)
    found = problems(longer, THUMB, "x" * (3 * formats.MAX_LINE_BYTES), "{")
    assert found[1] == found[3] == f"longer than {formats.MAX_LINE_BYTES} bytes"
    assert set(found) == {1, 3, 4}


def test_many_reasons_are_cut_but_counted(problems):
    row = {**PAIR, **{f"zz{n}": 1 for n in range(50_000)}}
    (why,) = problems(row).values()
    assert "unknown field `zz0`" in why
    assert "and 1 more" in why
    assert len(why) < 1000
    twice = "{" + ", ".join(f'"k{n % 50_000}": 0' for n in range(50_001)) + "}"
    assert problems(twice) == {1: "`k0` is given twice in one object"}


@pytest.mark.parametrize("content", [b"", b"\n\n  \n", b"\xef\xbb\xbf"])
def test_a_file_without_records_is_an_error(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError, match="no record; write one JSON object a line"):
        formats.read_records(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        formats.read_records(tmp_path / "absent.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        formats.read_records(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        formats.read_records(tmp_path / "nul\0.jsonl")


def test_the_page_on_formats_shows_what_is_true(read, problems):
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
    examples = page.split("```json\n")[1].split("```")[0].splitlines()
    assert len(read(*examples)) == len(formats.FORMS)
    for name in formats.FIELDS:
        assert f"`{name}`" in page
    chosn = {("chosn" if k == "chosen" else k): v for k, v in PAIR.items()}
    for number, why in problems(*[THUMB] * 2, chosn, *[THUMB] * 4, MENU3).items():
        assert f"  line {number}: {why}\n" in page


# --- any bytes ----------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content"]) | st.text(max_size=4), inner
        )
    ),
    max_leaves=6,
)
NEARLY = st.dictionaries(st.sampled_from(formats.FIELDS), ANY_JSON).map(json.dumps)
LINES = st.lists(st.binary(max_size=40) | NEARLY.map(str.encode), max_size=6)


@given(lines=LINES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_bytes_give_records_or_an_input_error(tmp_path, lines):
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        records = formats.read_records(path)
    except InputError:
        return
    filled = path.read_bytes().removeprefix(formats.BOM).split(b"\n")
    assert len(records) == sum(bool(line.strip()) for line in filled)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
COMMON = {"user": WORDS, "prompt": st.just("") | WORDS}
OPTIONAL = {"weight": st.floats(1e-3, 1e3), "id": st.just("only")}
GOOD = st.one_of(
    st.fixed_dictionaries(
        {**COMMON, "chosen": WORDS, "rejected": WORDS}, optional=OPTIONAL
    ).filter(lambda row: row["chosen"] != row["rejected"]),
    st.fixed_dictionaries(
        {**COMMON, "completion": WORDS, "label": st.booleans()}, optional=OPTIONAL
    ),
    st.lists(WORDS, min_size=2, max_size=5, unique=True).flatmap(
        lambda texts: st.fixed_dictionaries(
            {
                **COMMON,
                "options": st.just(texts),
                "choice": st.integers(0, len(texts) - 1),
            },
            optional=OPTIONAL,
        )
    ),
)


@given(row=GOOD)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_written_is_what_is_read(tmp_path, row):
    path = tmp_path / "good.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    (record,) = formats.read_records(path)
    assert (record.user, record.prompt) == (row["user"], row["prompt"])
    assert (record.weight, record.id) == (row.get("weight", 1.0), row.get("id", ""))
    if "label" in row:
        assert (record.options, record.label) == ((row["completion"],), row["label"])
    elif "choice" in row:
        assert (list(record.options), record.choice) == (row["options"], row["choice"])
    else:
        assert record.options[record.choice] == row["chosen"]
        assert record.options[1 - record.choice] == row["rejected"]
