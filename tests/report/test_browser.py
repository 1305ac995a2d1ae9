"""The report in a real browser: nothing overflows or overlaps, and dark is dark.

The page sits in a frame of the wanted width, because headless windows have a smallest
one. A script in a copy of the page (without its content security policy, which would
forbid it) measures and reports to the frame's parent.
"""

import html
import json
import re
import shutil
import subprocess

import pytest

from fedpref.report.write import write

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((path for name in NAMES if (path := shutil.which(name))), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason="no Chromium found: the report was not looked at in a browser "
    "(install chromium)",
)

PROBE = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const root = document.documentElement, clash = [], outside = [];
  for (const svg of document.querySelectorAll("svg")) {
    const boxes = [...svg.querySelectorAll(":scope > text")]
      .map(t => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([label, a], i) => {
      if (a.left < 0 || a.right > innerWidth) outside.push(label);
      for (const [other, b] of boxes.slice(i + 1))
        if (a.left < b.right && b.left < a.right
            && a.top < b.bottom && b.top < a.bottom)
          clash.push(label + " / " + other);
    });
  }
  const sizes = [...document.querySelectorAll("main *, header *, footer *")]
    .filter(e => e.textContent.trim())
    .map(e => parseFloat(getComputedStyle(e).fontSize));
  parent.postMessage(JSON.stringify({
    width: innerWidth, scroll: root.scrollWidth, clash, outside,
    texts: document.querySelectorAll("svg text").length,
    smallest: Math.min(...sizes),
    ground: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.body).color,
  }), "*");
});
</script>"""

FRAME = """<!doctype html><iframe src="copy.html"
style="width:{width}px;height:900px;border:0"></iframe><script>
addEventListener("message", e => document.body.textContent = e.data);
</script>"""


def browse(folder, page, *flags):
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        *flags,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


def measure(report, folder, width, *, dark, change=lambda page: page):
    page = re.sub(r"<meta http-equiv=.*?>", "", report.read_text())
    copy = change(page).replace("</body>", PROBE + "</body>")
    (folder / "copy.html").write_text(copy)
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=width))
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    window = f"--window-size={width + 100},1000"
    dom = browse(folder, frame, scheme, window, "--dump-dom", "--timeout=20000")
    found = re.search(r"<body>(\{.*\})", dom, flags=re.S)
    assert found, "the page did not report back"
    return json.loads(html.unescape(found[1]))


def brightness(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / (3 * 255)


def long_run(make_run):
    """Many rounds, long names, small menus: what strains the layout."""
    rounds = [
        {
            "round": k,
            "epsilon": {"server": "inf", "outsider": 0.3 + k / 100},
            "seconds": 123.4,
            "heldout_accuracy": 0.48 + k / 1000,
            "survivors": 123456,
        }
        for k in range(1, 201)
    ]
    name = "a_rather_long_scenario_name_without_any_space_" * 3
    baseline = {
        "accuracy": 0.3,
        "ci95": [0.01, 0.99],
        "private": False,
        "epsilon": "inf",
        "note": "what was done, at some length, " * 4,
    }
    return make_run(
        "long",
        rounds=rounds,
        scenario=f'[run]\nname = "{name}"\n',
        plan={"rounds": 200, "target_epsilon": 2.5, "units": 123456789},
        evaluation={"baselines": {f"baseline {i} {name}": baseline for i in range(3)}},
        environment={"command": f"fedpref simulate {name}.toml " * 3},
    )


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["usual", "long", "personal"])
def test_nothing_overflows_or_overlaps(make_run, make_personal, tmp_path, width, kind):
    makers = {"usual": make_run, "personal": make_personal}
    report = write(makers[kind]() if kind in makers else long_run(make_run))
    found = measure(report, tmp_path, width, dark=False)
    assert found["width"] == width
    assert found["scroll"] <= width
    assert found["clash"] == []
    assert found["outside"] == []
    assert found["texts"] > 40
    assert found["smallest"] >= 12


def test_the_probe_sees_what_is_wrong(run, tmp_path):
    def spoil(page):
        wide = '<p style="width:500px">too wide</p>'
        texts = '<svg><text x="9" y="9">one</text><text x="9" y="9">two</text></svg>'
        return page.replace("<main>", "<main>" + wide + texts)

    found = measure(write(run), tmp_path, 390, dark=False, change=spoil)
    assert found["scroll"] > 390
    assert found["clash"] == ["one / two"]


def test_light_and_dark_follow_the_reader(run, tmp_path):
    report = write(run)
    light = measure(report, tmp_path, 390, dark=False)
    dark = measure(report, tmp_path, 390, dark=True)
    assert brightness(light["ground"]) > 0.9 > 0.2 > brightness(light["ink"])
    assert brightness(dark["ground"]) < 0.2 < 0.8 < brightness(dark["ink"])


def test_the_page_itself_draws(run, tmp_path):
    """The unchanged file, content security policy and all, in both themes."""
    report, shots = write(run), []
    for scheme in (0, 1):
        shot = tmp_path / f"{scheme}.png"
        flags = (f"--screenshot={shot}", "--window-size=1280,1600", "--hide-scrollbars")
        browse(
            tmp_path, report, f"--blink-settings=preferredColorScheme={scheme}", *flags
        )
        shots.append(shot.read_bytes())
    assert shots[0] != shots[1]
    assert min(map(len, shots)) > 50_000  # an empty page is a few kilobytes
