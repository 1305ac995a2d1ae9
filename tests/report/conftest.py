import json

import numpy as np
import pytest

EPSILON = {"server": "inf", "outsider": 0.9999}
SPENT = [0.271, 0.398, 0.499, 0.587, 0.666, 0.739, 0.806, 0.869, 0.938, 0.9999]
ACCURACY = [0.639, 0.668, 0.679, 0.687, 0.684, 0.691, 0.693, 0.69, 0.696, 0.6942]

SCENARIO = """\
[run]
name = "quickstart"

[data]
source = "electricity"
heldout = "heldout-v1"
catalogue = "public"

[model]
task = "reward"
base = "minilm"
features = 16
adapter = {kind = "lora", r = 4, layers = "last:1", targets = ["query", "value"], \
scale = 0.1}

[objective]
name = "plackett_luce"

[privacy]
unit = "user"
noise = "central"
target_epsilon = 1.0
against = "outsider"
clip = 8.0

[cohort]
participation = "all"
rounds = 10

[server]
optimiser = "sgd"
lr = 1.0
momentum = 0.9
average_last = 0.5
"""


def plan():
    return {
        "unit": "user",
        "relation": "zero-out",
        "noise": "central",
        "participation": "all",
        "against": "outsider",
        "target_epsilon": 1.0,
        "epsilon": dict(EPSILON),
        "accountant": {"server": None, "outsider": "exact"},
        "delta": 1e-5,
        "clip": 8.0,
        "units": 293,
        "rounds": 10,
        "noise_multiplier": 11.93,
        "noise_stddev_grid": 48864.2,
        "grid_step": 0.001953125,
        "divisor": 293.0,
        "min_survivors": 293,
        "coordinates": 6176,
        "seeded": False,
        "sealed": True,
        "ledger": {
            "own": True,
            "population": "electricity",
            "window": "all",
            "cap": 1.0,
            "cap_delta": 1e-4,
            "currency": "sealed",
        },
        "ledger_file": "ledger.db",
    }


DISTRIBUTED = {
    "noise": "distributed",
    "against": "server",
    "epsilon": {"server": 0.9999, "outsider": 0.9999},
    "accountant": {"server": "comparison+exact", "outsider": "comparison+exact"},
    "rounds": 10,
    "spare_rounds": 2,
    "colluders": 30,
    "min_survivors": 264,
    "threshold": 162,
    "masked": True,
    "grid_step": 0.013,
    "share_stddev_grid": 61.25,
    "inflation": 1.0042,
}
"""What a plan has instead where devices add the noise."""


def metrics():
    return [
        {
            "round": number,
            "epsilon": {"server": "inf", "outsider": SPENT[number - 1]},
            "seconds": 0.21,
            "heldout_accuracy": ACCURACY[number - 1],
            "survivors": 293,
        }
        for number in range(1, 11)
    ]


def bins():
    counts = [512, 441, 397, 338, 271, 214, 152, 74, 27, 4]
    right = [0.53, 0.585, 0.641, 0.667, 0.742, 0.771, 0.799, 0.865, 0.889, 1.0]
    return [
        {
            "lower": round(0.5 + k / 20, 2),
            "upper": round(0.55 + k / 20, 2),
            "count": counts[k],
            "confidence": round(0.524 + k / 20, 4),
            "accuracy": right[k],
        }
        for k in range(10)
    ]


def baseline(accuracy, half, choice, note, private, epsilon, subset=None):
    return {
        "accuracy": accuracy,
        "ci95": [round(accuracy - half, 4), round(accuracy + half, 4)],
        "choice_accuracy": choice,
        "log_loss": 0.57,
        "ece": 0.03,
        "note": note,
        "private": private,
        "epsilon": epsilon,
        "subset": subset,
    }


def evaluation():
    spread = np.random.default_rng(0).beta(7, 3, size=68)
    late = "answers 9 and later"
    return {
        "clients": {"train": 293, "heldout": 68},
        "heldout": {
            "accuracy": 0.6942,
            "ci95": [0.6631, 0.7249],
            "choice_accuracy": 0.4432,
            "log_loss": 0.5712,
            "ece": 0.0214,
            "users": 68,
            "records": 810,
            "pairs": 2430,
            "bins": bins(),
            "per_user": sorted(spread.round(4).tolist()),
        },
        "baselines": {
            "untrained": baseline(
                0.5, 0, 0.25, "every option scores the same", True, 0.0
            ),
            "position": baseline(
                0.5115,
                0.026,
                0.2481,
                "only the place in the list, as often as training people chose it",
                False,
                "inf",
            ),
            "attributes": baseline(
                0.7021,
                0.029,
                0.4556,
                "the survey's attributes instead of text, fitted in one place without "
                "noise",
                False,
                "inf",
            ),
            "non-private central": baseline(
                0.7046,
                0.029,
                0.4531,
                "the same features, a linear head fitted in one place without noise",
                False,
                "inf",
            ),
            "head only (same epsilon)": baseline(
                0.6988,
                0.031,
                0.4481,
                "16 weights, same rounds, clip, noise multiplier and seed kind",
                True,
                0.9999,
            ),
            "own answers only": baseline(
                0.7997,
                0.04,
                0.6316,
                "the same features, a head for each person from their first 8 answers; "
                "nothing is shared",
                True,
                0.0,
                late,
            ),
            "this run, same answers": baseline(
                0.6855, 0.045, 0.4436, "the trained model", True, 0.9999, late
            ),
        },
        "comparisons": [
            {
                "a": "this run",
                "b": "head only (same epsilon)",
                "difference": -0.0046,
                "ci95": [-0.0124, 0.0031],
            }
        ],
        "omitted": {},
        "notes": [
            "own answers only: 1 person has 8 answers or fewer and is left out",
            "clip, learning rate and rounds are public constants, chosen on other "
            "splits of the same people: that look is not booked",
        ],
    }


def environment():
    return {
        "versions": {
            "fedpref": "0.1.0",
            "torch": "2.13.0",
            "transformers": "5.23.0",
            "peft": "0.21.2",
            "dp-accounting": "0.6.0",
        },
        "python": "3.11.9",
        "threads": 2,
        "timing": {"setup_s": 9.8, "train_s": 2.9, "total_s": 16.4},
        "command": "fedpref simulate simulations/quickstart.toml --out runs/quickstart",
        "created": "2025-06-01T12:00:00+00:00",
    }


@pytest.fixture
def make_run(tmp_path):
    """Write a run folder; keywords replace whole files or change top-level keys."""

    def make(name="quickstart", *, scenario=SCENARIO, rounds=None, **changes):
        run = tmp_path / name
        run.mkdir()
        (run / "scenario.toml").write_text(scenario)
        lines = metrics() if rounds is None else rounds
        text = "".join(json.dumps(entry) + "\n" for entry in lines)
        (run / "metrics.jsonl").write_text(text)
        files = {"plan": plan, "evaluation": evaluation, "environment": environment}
        for file, content in files.items():
            value = content() | changes.get(file, {})
            (run / f"{file}.json").write_text(json.dumps(value))
        return run

    return make


@pytest.fixture
def make_distributed(make_run):
    """A run whose devices added the noise; keywords change its plan."""

    def make(name="distributed", **change):
        rounds = [
            line | {"epsilon": dict.fromkeys(("server", "outsider"), spent)}
            for line, spent in zip(metrics(), SPENT, strict=True)
        ]
        return make_run(name, plan=DISTRIBUTED | change, rounds=rounds)

    return make


OWN, COMMON = "own answers only", "this run"
PUBLIC, RELEASED = "this run + own answers", "this run + own answers, released prior"
CURVES = {
    OWN: [0.5, 0.6997, 0.7598, 0.8221],
    COMMON: [0.7097, 0.7097, 0.7097, 0.7097],
    PUBLIC: [0.7097, 0.7703, 0.8124, 0.8512],
    RELEASED: [0.7097, 0.7754, 0.8112, 0.8454],
}


def personal():
    """The curve of own answers of a run, as ``evaluation.json`` has it."""
    ks = ("0", "2", "4", "8")

    def cell(accuracy):
        return {
            "accuracy": accuracy,
            "ci95": [round(accuracy - 0.0276, 4), round(accuracy + 0.0255, 4)],
            "choice_accuracy": round(accuracy - 0.2153, 4),
            "pair_accuracy": accuracy,
            "macro_f1": 0.5959,
            "log_loss": 0.43493,
            "ece": 0.04567,
            "spread": {"sd": 0.1, "p10": 0.6, "p50": 0.8, "p90": 1.0},
            "worst_decile": 0.5,
            "sd_over_seeds": None,
            "users": 67,
            "groups": {},
        }

    def gains(base):
        return {
            k: {
                "value": round(ours - theirs, 4),
                "ci95": [round(ours - theirs - 0.0259, 4), round(ours - theirs, 4)],
            }
            for k, ours, theirs in zip(ks, CURVES[RELEASED], CURVES[base], strict=True)
        }

    return {
        "k": [int(k) for k in ks],
        "draws": 3,
        "users": 67,
        "short": 1,
        "released_prior": True,
        "best": RELEASED,
        "models": {
            name: dict(zip(ks, map(cell, row), strict=True))
            for name, row in CURVES.items()
        },
        "gain_over_own": gains(OWN),
        "gain_over_common": gains(COMMON),
    }


def stage(purpose, first, rounds, coordinates, multiplier, stddev):
    return {
        "purpose": purpose,
        "first": first,
        "rounds": rounds,
        "coordinates": coordinates,
        "noise_multiplier": multiplier,
        "noise_stddev_grid": stddev,
    }


STAGES = [
    stage("training", 1, 10, 16, 17.501, 4489),
    stage("moment", 11, 1, 136, 5.2769, 4002),
    stage("evaluation", 12, 1, 16, 17.501, 4489),
]
STAGED = DISTRIBUTED | {
    "spare_rounds": 0,
    "evaluation": True,
    "moment": {"weights": 16, "norm": 5.0, "share": 0.5},
    "stages": STAGES,
}
"""What a plan has that releases more than a model."""


@pytest.fixture
def make_personal(make_run):
    """A run of three stages with a curve of own answers."""

    curve = personal()
    both, who = dict.fromkeys, ("server", "outsider")

    def make(name="personal", *, personal=curve, scenario=SCENARIO, **change):
        rounds = [
            line | {"epsilon": both(who, line["round"] / 20)} for line in metrics()
        ]
        for number, purpose, spent in (
            (11, "moment", 0.9748),
            (12, "evaluation", 0.9999),
        ):
            line = {"round": number, "epsilon": both(who, spent), "seconds": 1.5}
            rounds.append(line | {"survivors": 293, "purpose": purpose})
        return make_run(
            name,
            scenario=scenario + "\n[personal]\nk = [0, 2, 4, 8]\n",
            rounds=rounds,
            plan=STAGED | change,
            evaluation={"personal": personal},
        )

    return make


@pytest.fixture
def run(make_run):
    return make_run()
