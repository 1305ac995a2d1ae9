import copy
import json
import re

import pytest

from fedpref.errors import InputError
from fedpref.report import personal
from fedpref.report.run import read
from fedpref.report.schema import PersonalCurve
from fedpref.report.write import write
from tests.report import conftest
from tests.report.conftest import OWN, PUBLIC, RELEASED
from tests.report.test_page import rendered, words

NBSP = "\xa0"


def curve(**change):
    return PersonalCurve.model_validate(conftest.personal() | change)


def section(html):
    return html.split('aria-labelledby="h-personal"')[1].split("</section>")[0]


def table(html):
    """Cells of the section's table by row, intervals apart."""
    found = {}
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", section(html), flags=re.S):
        name = re.search(r"<th scope=\"row\">(.*?)</th>", row)
        cells = re.findall(r'<td class="num">(.*?)</td>', row)
        if name:
            found[name[1]] = [
                tuple(re.sub(r"<[^>]+>", "|", cell).strip("|").split("|"))
                for cell in cells
            ]
    return found


def test_the_table_is_that_of_the_file(make_personal):
    rows = table(rendered(make_personal()))
    assert list(rows) == [
        *conftest.CURVES,
        "against own answers alone, points",
        "against the common model, points",
        "best of the menu",
        "log-loss (nats a pair)",
        "expected calibration error",
    ]
    assert rows[OWN][0] == (f"50.0{NBSP}%", f"47.2–52.5{NBSP}%")
    assert rows[RELEASED][2] == (f"81.1{NBSP}%", f"78.4–83.7{NBSP}%")
    assert rows["against own answers alone, points"][2] == ("+5.1", "+2.5 to +5.1")
    assert rows["best of the menu"][2] == (f"59.6{NBSP}%",)
    assert rows["log-loss (nats a pair)"][0] == ("0.4349",)
    assert rows["expected calibration error"][0] == ("0.0457",)
    assert all(len(cells) == 4 for cells in rows.values())


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        (("models", OWN, "2", "accuracy"), 0.61239, f"61.2{NBSP}%"),
        (("models", PUBLIC, "8", "ci95"), [0.8177, 0.86251], f"81.8–86.3{NBSP}%"),
        (("models", RELEASED, "4", "choice_accuracy"), 0.58049, f"58.0{NBSP}%"),
        (("models", RELEASED, "4", "log_loss"), 0.51236, "0.5124"),
        (("models", RELEASED, "4", "ece"), 0.00996, "0.0100"),
        (("gain_over_own", "8", "value"), -0.0179, "\u22121.8"),
        (("gain_over_common", "2", "ci95"), [-0.0314, 0.0628], "\u22123.1 to +6.3"),
        (("users",), 1234, "1,234 held-out people"),
        (("draws",), 17, "in 17 random orders"),
    ],
)
def test_a_changed_number_changes_the_page(make_personal, path, value, shown):
    entry = conftest.personal()
    assert shown not in section(rendered(make_personal("before")))
    *way, last = path
    inner = entry
    for name in way:
        inner = inner[name]
    inner[last] = value
    assert shown in section(rendered(make_personal("after", personal=entry)))


def test_gains_are_said_with_their_intervals(make_personal):
    html = rendered(make_personal())
    text = words(html)
    for sentence in (
        "With 4 own answers the adapted model beats own answers alone and the common "
        "model. It ranks 81.1\xa0% of pairs right: +5.1 points (95\xa0% interval over "
        "people +2.5 to +5.1) against own answers alone and +10.2 points (95\xa0% "
        "interval over people +7.6 to +10.2) against the common model.",
        "It is behind “this run + own answers” at k\xa0=\xa04 and 8, by 0.6 points at",
        "Not in the curve is 1 held-out person with 8 answers or fewer.",
        "which is part of the total epsilon",
        "Simulation only: the answers of held-out people were read directly",
        "Adapted at home with 4 own answers: 81.1\xa0%.",
    ):
        assert sentence in text


@pytest.mark.parametrize(
    ("own", "common", "told"),
    [
        ((0.01, 0.02), (0.01, 0.02), "beats own answers alone and the common model"),
        (
            (-0.04, -0.01),
            (0.01, 0.02),
            "loses to own answers alone and beats the common model",
        ),
        (
            (-0.01, 0.02),
            (-0.02, -0.01),
            "does not clearly beat own answers alone and loses to the common model",
        ),
    ],
)
def test_who_loses_is_said_to_lose(own, common, told):
    changed = copy.deepcopy(conftest.personal())
    for part, ends in (("gain_over_own", own), ("gain_over_common", common)):
        changed[part]["4"] = {"value": sum(ends) / 2, "ci95": list(ends)}
    found = PersonalCurve.model_validate(changed)
    assert personal.heading(found) == f"With 4 own answers the adapted model {told}."


def test_nobody_is_ahead_of_the_best():
    changed = conftest.personal()
    changed["models"][PUBLIC] = changed["models"][RELEASED]
    assert personal.behind(PersonalCurve.model_validate(changed)) == []


@pytest.mark.parametrize(
    ("ks", "spoken"), [((0, 1, 4, 9), 4), ((0, 3, 5), 3), ((9, 12), 9), ((0,), None)]
)
def test_four_own_answers_or_the_nearest(ks, spoken):
    cell = conftest.personal()["models"][OWN]["0"]
    gain = conftest.personal()["gain_over_own"]["0"]
    found = curve(
        k=list(ks),
        models={name: {str(k): cell for k in ks} for name in (OWN, RELEASED)},
        gain_over_own={str(k): gain for k in ks},
        gain_over_common={str(k): gain for k in ks},
    )
    assert personal.spoken_of(found) == spoken
    assert (personal.heading(found) is None) is (spoken is None)
    assert (personal.detail(found) is None) is (spoken is None)
    assert personal.figure(found).series


def test_the_prior_is_told_from_the_plan_and_the_curve(make_personal):
    public = conftest.personal() | {"released_prior": False, "best": PUBLIC}
    del public["models"][RELEASED]
    none = make_personal("none", personal=public, moment=None)
    unused = make_personal("unused", personal=public)
    assert "this run released none" in words(section(rendered(none)))
    assert "this run could not use a released one" in words(section(rendered(unused)))


def test_nobody_is_left_out(make_personal):
    html = rendered(make_personal(personal=conftest.personal() | {"short": 0}))
    assert "Not in the curve" not in html


def test_a_curve_that_could_not_be_measured(make_personal):
    html = rendered(make_personal(personal=None))
    assert "Not measured in this run; the notes below say why." in section(html)
    assert "Adapted at home" not in html


def test_a_run_without_own_answers_has_no_such_section(run):
    html = rendered(run)
    assert "h-personal" not in html
    assert "adapt at home" not in html


def test_names_of_models_are_escaped(make_personal):
    evil = "<script>alert(1)</script>"
    entry = conftest.personal()
    entry["models"] = {
        evil if name == RELEASED else name: row for name, row in entry["models"].items()
    }
    html = rendered(make_personal(personal=entry | {"best": evil}))
    assert "<script" not in html
    assert section(html).count("&lt;script&gt;") >= 4


@pytest.mark.parametrize(
    "change",
    [
        {"best": "another"},
        {"k": [0, 2, 4]},
        {"k": [8, 4, 2, 0]},
        {"k": []},
        {"gain_over_own": {}},
    ],
)
def test_a_curve_with_holes_is_refused(make_personal, change):
    run = make_personal(personal=conftest.personal() | change)
    with pytest.raises(InputError, match=r"evaluation\.json: personal"):
        read(run)


def test_the_drawing_puts_values_where_they_are():
    found = personal.figure(curve())
    assert [series.style for series in found.series][-1] == "best"
    assert len({series.style for series in found.series}) == 4
    asides = sorted(series.aside for series in found.series)
    assert asides == [-7.5, -2.5, 2.5, 7.5]
    for series in found.series:
        cells = conftest.personal()["models"][series.name]
        assert [point.x for point in series.points] == sorted(
            point.x for point in series.points
        )
        for point, cell in zip(series.points, cells.values(), strict=True):
            assert 0 < point.x < 100
            assert 0 <= point.high < point.y < point.low <= 100
            assert point.y == pytest.approx(100 - found.y.at(cell["accuracy"]))
            assert point.low == pytest.approx(100 - found.y.at(cell["ci95"][0]))
        assert series.path.count("L") == len(cells) - 1
    assert [label for _, label in found.x.ticks] == ["0", "2", "4", "8"]


def test_the_figure_has_a_name_and_every_id_is_its_own(make_personal):
    html = rendered(make_personal())
    assert '<title id="f-personal">' in html
    assert html.count('<svg role="img"') == html.count("<figure>") == 5
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    outside = r"https?:|//|src=|href=|url\(|@import|<script|<link|<img|<iframe"
    assert re.findall(outside, html) == []


def test_report_json_has_the_curve(make_personal):
    run = make_personal()
    write(run)
    found = json.loads((run / "report.json").read_text())["personal"]
    whole = json.loads((run / "evaluation.json").read_text())["personal"]
    for name, row in found.pop("models").items():
        for k, cell in row.items():
            assert cell == {key: whole["models"][name][k][key] for key in cell}
            assert {"accuracy", "ci95", "log_loss", "ece"} <= set(cell)
    assert found == {key: whole[key] for key in found}
    assert set(whole) - set(found) == {"models"}
