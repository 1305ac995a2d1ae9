"""Templates: plain named fields, refused when they are not, and tables that follow."""

import pytest

from fedpref.data.surveys import SURVEYS
from fedpref.data.wording import MAX_TEMPLATE, Template, changed, tabulate
from fedpref.errors import InputError

FIELDS = ("mode", "price")
DEFAULTS = {"offer": Template("{mode} for {price}.", FIELDS)}


def test_fields_are_filled_and_doubled_braces_are_braces():
    template = Template("{{{mode}}}: {price}, {mode}", FIELDS)
    assert template.fill({"mode": "a {price}", "price": "2"}) == (
        "{a {price}}: 2, a {price}"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{moed}", "did you mean {mode}"),
        ("{xyz}", "known: {mode}, {price}"),
        ("{}", "plain name"),
        ("{0}", "plain name"),
        ("{mode.upper}", "plain name"),
        ("{mode[0]}", "plain name"),
        ("{mode!r}", "plain name"),
        ("{price:>9999999}", "plain name"),
        ("{mode", "for plain braces"),
        ("mode}", "for plain braces"),
        ("", "length = 0"),
        (" \n", "not all blank"),
        ("x" * (MAX_TEMPLATE + 1), f"length = {MAX_TEMPLATE + 1}"),
    ],
)
def test_what_a_template_refuses(text, reason):
    with pytest.raises(InputError) as caught:
        Template(text, FIELDS)
    assert reason in str(caught.value)


def test_a_template_without_fields_has_none():
    assert Template("Nothing.", ()).fill({}) == "Nothing."
    with pytest.raises(InputError, match="known: none"):
        Template("{price}", ())


def test_templates_are_changed_by_name():
    assert changed(DEFAULTS, None) == DEFAULTS
    other = changed(DEFAULTS, {"offer": "{price}"})
    assert other["offer"].fill({"mode": "m", "price": "2"}) == "2"
    with pytest.raises(InputError, match=r"templates.ofer: .* did you mean 'offer'"):
        changed(DEFAULTS, {"ofer": "{price}"})
    with pytest.raises(InputError, match="is no field"):
        changed(DEFAULTS, {"offer": "{cost}"})


def test_the_table_has_a_row_for_each_text_in_order():
    rows, note = tabulate([("b", {"x": "1"}), ("a", {"x": "2"}), ("b", {"x": "1"})])
    assert (list(rows), note) == (["b", "a"], "")
    assert rows["b"] == {"x": "1"}


def test_a_column_that_the_texts_do_not_show_leaves_the_table():
    offers = [("t", {"x": "1", "y": "5"}), ("u", {"x": "2", "y": "5"})]
    rows, note = tabulate([*offers, ("t", {"x": "3", "y": "5"})])
    assert rows == {"t": {"y": "5"}, "u": {"y": "5"}}
    assert "do not show x" in note


@pytest.mark.parametrize("survey", SURVEYS, ids=lambda survey: survey.name)
def test_the_templates_of_a_set_show_all_their_fields(survey):
    for template in survey.templates.values():
        assert all(f"{{{name}}}" in template.text for name in template.fields)
