import json
import re
from importlib import resources

import pytest

from fedpref.report.statement import OWN_LEDGER, SEEDED
from fedpref.report.write import write


def rendered(run):
    return write(run).read_text()


def words(html):
    body = re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S)
    return re.sub(r"[ \t\n]+", " ", body)


def test_nothing_comes_from_outside(run):
    html = rendered(run)
    assert "default-src 'none'" in html
    outside = r"https?:|//|src=|href=|url\(|@import|<script|<link|<img|<iframe"
    assert re.findall(outside, html) == []


def test_says_what_matters(run):
    text = words(rendered(run))
    for sentence in (
        "quickstart",
        "69.4\xa0%",
        "95 % interval 66.3–72.5\xa0%, over people",
        "per person, at delta 1e-5",
        OWN_LEDGER,
        "against it nothing is promised (epsilon = infinite)",
        "epsilon 1.00 at delta 1e-5 per person",
        "does not beat a private linear head",
        "is right at most 73.1\xa0% of the time",
        "Only answers 9 and later of each person",
        "fedpref simulate simulations/quickstart.toml --out runs/quickstart",
        "that look is not booked",
        "noise multiplier and seed kind",
        "dp-accounting 0.6.0",
        "10 of 10 planned",
    ):
        assert sentence in text
    assert SEEDED not in text


def test_calibration_in_words(make_run):
    def bins(confidence, accuracy):
        empty = {"count": 0, "confidence": None, "accuracy": None}
        full = {"count": 9, "confidence": confidence, "accuracy": accuracy}
        ends = {"lower": 0.5, "upper": 1.0}
        return [ends | full, ends | empty]

    expected = {
        (0.9, 0.8): "too sure, by 10.0 points",
        (0.6, 0.65): "too modest, by 5.0 points",
        (0.7, 0.705): "about as sure as it is right",
    }
    for number, ((confidence, accuracy), sentence) in enumerate(expected.items()):
        run = make_run(str(number))
        whole = json.loads((run / "evaluation.json").read_text())
        whole["heldout"]["bins"] = bins(confidence, accuracy)
        (run / "evaluation.json").write_text(json.dumps(whole))
        assert sentence in words(rendered(run))


def test_a_seeded_run_is_marked_everywhere(make_run):
    html = rendered(make_run(plan={"seeded": True}))
    text = words(html)
    assert text.count(SEEDED) == 2  # at the top and in the statement
    assert "seeded and so not private" in text
    assert 'class="tile good"' not in html
    assert 'class="promise good"' not in html
    assert "is right at most" not in text
    assert "With a seed none of it holds." in text


def test_distributed_noise_is_finite_against_the_server_too(make_distributed):
    html = rendered(make_distributed())
    text = words(html)
    assert html.count('class="tile good"') == html.count('class="promise good"') == 2
    assert html.count("is right at most") == 2
    assert "very update" not in text
    assert "infinite from the first round" not in text
    assert "as if run" not in text
    assert "the dashed line is the target, 1.00" in text
    assert "even one that lies and has 30 of the devices on its side" in text
    for name, value in {
        "Secure sum": "run, with masks",
        "Spare rounds, paid for": "2",
        "Bad devices allowed for": "30",
        "Shares that open a secret": "162",
        "Least survivors": "264",
        "One device’s noise, std in grid steps": "61.25",
        "Sensitivity after rounding, against before": "1.0042",
        "Chance to contribute": "1",
        "Epsilon, server": "1.00 (EXACT, by comparison with a Gaussian)",
    }.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in html, name


def test_a_run_without_masks_says_as_if_wherever_it_names_the_server(make_distributed):
    html = rendered(make_distributed(masked=False))
    text = words(html)
    tile = words(html.split("Epsilon against the server")[1].split("</section>")[0])
    assert "as if run with the protocol" in tile
    assert "1.00" in tile
    assert "epsilon 1.00, as if run with the protocol" in text
    assert html.count('class="tile good"') == html.count('class="promise good"') == 1
    assert "Protected by nothing in this run" in text
    assert "not run: no masks" in text
    assert "were it not for the seed" not in text


def test_a_seed_takes_the_figure_against_the_server_away(make_distributed):
    for masked in (True, False):
        html = rendered(make_distributed(str(masked), masked=masked, seeded=True))
        tile = words(html.split("Epsilon against the server")[1].split("</section>")[0])
        assert "infinite" in tile
        assert "because of the seed" in tile
        assert ("and with the protocol" in tile) is not masked
        assert 'class="tile good"' not in html
        assert 'class="promise good"' not in html


def test_central_noise_has_no_table_of_a_secure_sum(run):
    assert "Secure sum" not in rendered(run)


def test_no_noise_is_infinite(make_run):
    infinite = {"server": "inf", "outsider": "inf"}
    plan = {"noise": "none", "epsilon": infinite, "target_epsilon": None}
    rounds = [{"round": 1, "epsilon": infinite, "seconds": 0.2}]
    html = rendered(make_run(plan=plan, rounds=rounds))
    text = words(html)
    assert "No noise was added" in text
    assert text.count("epsilon infinite") == 2
    assert "Not measured by round in this run." in text
    assert 'class="tile good"' not in html


def test_values_of_the_run_are_escaped(make_run):
    evil = "<script>alert(1)</script>"
    run = make_run(
        scenario=f'[run]\nname = "{evil}"\n[data]\nsource = "{evil}"\n',
        evaluation={
            "notes": [evil],
            "omitted": {evil: evil},
            "baselines": {
                evil: {
                    "accuracy": 0.5,
                    "ci95": [0.4, 0.6],
                    "private": True,
                    "epsilon": 0,
                    "note": evil,
                    "subset": evil,
                }
            },
        },
        environment={"command": evil, "versions": {evil: evil}},
    )
    html = rendered(run)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 8


def test_a_source_shows_its_name_and_not_where_it_lies(make_run):
    scenario = '[data]\nsource = "/home/somebody/answers.jsonl"\n'
    text = words(rendered(make_run(scenario=scenario)).split("<main>")[0])
    assert "answers.jsonl" in text
    assert "somebody" not in text


def test_every_figure_has_a_name_and_a_table(run):
    html = rendered(run)
    for drawing in re.findall(r"<svg role=\"img\"[^>]*>", html):
        name = re.search(r'aria-labelledby="([^"]+)"', drawing)[1]
        assert f'<title id="{name}">' in html
    assert html.count('<svg role="img"') == html.count("<figure>") == 4
    # a table for each figure, one for the baselines, one for their differences and
    # one for the versions; the comparisons themselves are tables as well
    assert html.count('<table class="data">') == 4 + 3
    assert html.count('<table class="forest"') == 2
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def themes():
    css = resources.files("fedpref.report").joinpath("report.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks)
    return {"light": light, "dark": dark}


def contrast(one, two):
    """WCAG 2.2, relative luminance and contrast ratio."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_marks_stand_out(theme):
    colour = themes()[theme]
    text = [(ink, back) for ink in ("ink", "muted") for back in ("card", "ground")]
    text += [(ink, back) for ink in ("good", "bad") for back in ("card", "ground")]
    text += [("run", "card"), ("ink", "run-soft")]
    text += [("warn", "warn-soft"), ("bad", "bad-soft")]
    marks = [
        (mark, "card") for mark in ("run", "other", "bar", "good", "third", "warn")
    ]
    for pairs, least in ((text, 4.5), (marks, 3.0)):
        for one, two in pairs:
            assert contrast(colour[one], colour[two]) >= least, (one, two)


def test_both_themes_name_the_same_colours():
    light, dark = themes().values()
    assert light.keys() == dark.keys()
    css = resources.files("fedpref.report").joinpath("report.css").read_text()
    assert set(re.findall(r"var\(--([\w-]+)\)", css)) == set(light)
