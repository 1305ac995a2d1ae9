import pytest

from fedpref.report.run import read
from fedpref.report.verdict import ADAPTER_AND_HEAD, HEAD_ONLY, THIS_RUN, verdict


def change(make_run, *, comparisons, head=0.6988, scenario=None, **plan):
    from_conftest = make_run("plain")
    text = (from_conftest / "scenario.toml").read_text()
    baselines = {
        HEAD_ONLY: {
            "accuracy": head,
            "ci95": [head, head],
            "private": True,
            "epsilon": 1.0,
        }
    }
    evaluation = {"baselines": baselines, "comparisons": comparisons}
    made = make_run(
        "changed", scenario=scenario or text, evaluation=evaluation, plan=plan
    )
    return verdict(read(made))


def paired(difference, low, high, a=THIS_RUN, b=HEAD_ONLY):
    return [{"a": a, "b": b, "difference": difference, "ci95": [low, high]}]


def test_the_adapter_does_not_win(make_run):
    found = change(make_run, comparisons=paired(-0.0046, -0.0124, 0.0031))
    assert found.heading == "Here the LoRA adapter does not beat a private linear head."
    assert "adapter and head 69.4" in found.detail
    assert "head only 69.9" in found.detail
    assert "−0.5 points, 95 % interval over people −1.2 to +0.3" in found.detail


@pytest.mark.parametrize(
    ("low", "wins"), [(0.001, True), (0.0, False), (-0.001, False)]
)
def test_it_wins_only_with_an_interval_above_zero(make_run, low, wins):
    found = change(make_run, head=0.68, comparisons=paired(0.0142, low, 0.03))
    assert found.adapter_wins == wins
    assert ("does not beat" in found.heading) != wins


def test_a_comparison_the_other_way_round_is_turned(make_run):
    turned = paired(0.0046, -0.0031, 0.0124, a=HEAD_ONLY, b=THIS_RUN)
    found = change(make_run, comparisons=turned)
    assert "−0.5 points, 95 % interval over people −1.2 to +0.3" in found.detail


def test_without_an_interval_it_says_so(make_run):
    found = change(make_run, head=0.68, comparisons=[])
    assert found.adapter_wins
    assert "no paired interval" in found.detail


def test_a_run_of_the_head_alone(make_run):
    scenario = '[run]\nname = "linear_head"\n'
    assert change(make_run, comparisons=[], scenario=scenario) is None
    evaluation = {
        "baselines": {
            ADAPTER_AND_HEAD: {
                "accuracy": 0.71,
                "ci95": [0.7, 0.72],
                "private": True,
                "epsilon": 1.0,
            }
        },
        "comparisons": paired(-0.0158, -0.03, -0.001, b=ADAPTER_AND_HEAD),
    }
    made = make_run("head", scenario=scenario, evaluation=evaluation)
    found = verdict(read(made))
    assert found.adapter_wins  # this run minus the adapter lies below zero
    assert "head only 69.4" in found.detail


def test_without_noise_no_head_is_called_private(make_run):
    infinite = {"server": "inf", "outsider": "inf"}
    found = change(make_run, comparisons=[], noise="none", epsilon=infinite)
    assert found.heading == "Here the LoRA adapter does not beat a linear head."
    assert found.detail.startswith("Both without noise")
