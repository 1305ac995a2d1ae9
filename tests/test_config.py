"""Scenarios: what is refused, and that a resolved one means the same."""

import tomllib

import numpy as np
import pytest

from fedpref import config
from fedpref.core.types import Adversary, Noise, Unit
from fedpref.errors import InputError, ScenarioError

GOOD = """
[data]
source = "electricity"
[model]
adapter = {r = 2, targets = ["query"]}
[objective]
name = "bt"
margin = 0.5
[privacy]
unit = "user"
noise = "central"
target_epsilon = 1
clip = 4.0
[cohort]
participation = "all"
rounds = 10
"""


@pytest.fixture
def write(tmp_path):
    def make(text: str = GOOD, name: str = "first.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def test_values_are_frozen_and_typed(write) -> None:
    scenario = config.read(write())
    assert scenario.run.name == "first"
    assert scenario.run.seed is None
    assert scenario.privacy.unit is Unit.USER
    assert scenario.privacy.noise is Noise.CENTRAL
    assert scenario.against is Adversary.OUTSIDER
    assert scenario.privacy.target_epsilon == 1.0
    assert scenario.model.adapter.targets == ("query",)
    assert scenario.build_objective().name == "bt"
    with pytest.raises(ValueError, match="frozen"):
        scenario.privacy.clip = 100.0


def test_resolved_scenario_reads_back_to_the_same(write) -> None:
    scenario = config.read(write(), ["run.seed=7", "server.optimiser=adam"])
    again = config.parse(tomllib.loads(scenario.to_toml()), source="again")
    assert again == scenario


def test_overrides_take_toml_values_and_bare_words(write) -> None:
    given = ["privacy.clip=2", 'run.name="b"', "server.optimiser=adam", "run.seed = 3"]
    scenario = config.read(write(), given)
    assert scenario.privacy.clip == 2.0
    assert scenario.run.name == "b"
    assert scenario.server.optimiser == "adam"
    assert scenario.run.seed == 3


def test_switching_the_noise_off_by_hand_drops_the_target(write) -> None:
    scenario = config.read(write(), ["privacy.noise=none"])
    assert scenario.privacy.target_epsilon is None
    both = config.read(write(), ["privacy.noise=none", "privacy.target_epsilon=3"])
    assert both.privacy.target_epsilon == 3.0  # the plan refuses the contradiction
    kept = config.read(write(GOOD.replace('"central"', '"none"')))
    assert kept.privacy.target_epsilon == 1.0  # and so it does for a file


def test_a_rate_that_is_absent_is_the_optimisers_own(write) -> None:
    at = {"model": np.ones(1), "variance": 0.0}
    for name, rate in {"sgd": 1.0, "adam": 0.1, "dp_adamw": 0.1}.items():
        made = config.read(write(), [f"server.optimiser={name}"]).server.build()
        step, _ = made.update(np.ones(1), made.init(1), **at)
        assert step == pytest.approx([-rate])


def test_paths_start_at_the_scenario(write, tmp_path) -> None:
    own = 'source = "mine.jsonl"\ncatalogue = "texts.txt"'
    scenario = config.read(write(GOOD.replace('source = "electricity"', own)))
    assert scenario.data.source == str(tmp_path / "mine.jsonl")
    assert scenario.data.catalogue == str(tmp_path / "texts.txt")
    public = config.read(write(), ["data.catalogue=public"])
    assert public.data.catalogue == "public"


@pytest.mark.parametrize(
    ("override", "needle"),
    [
        ("privacy.clipp=1", r"privacy.clipp: unknown key; did you mean clip\?"),
        ("privcy.clip=1", r"privcy: unknown key; did you mean privacy\?"),
        ("model.adapter.rr=1", r"model.adapter.rr: unknown key; did you mean r\?"),
        (
            'model.adapter={kind="dora"}',
            "model.adapter.kind = 'dora': must be one of lora, pblora, repcali",
        ),
        ("model.adapter=lora", "model.adapter = 'lora': must be a table such as"),
        ("model.adapter=3", "model.adapter = 3: must be a table such as"),
        ("model.adapter={targets=[]}", "model.adapter.targets = "),
        (
            'model.adapter={layers="first:1"}',
            "model.adapter.layers = 'first:1': must be \"last:N\" or",
        ),
        (
            'model.adapter={kind="repcali",layer=2}',
            r'model.adapter: layer = 2 belongs to place = "residual", not "output"',
        ),
        ("objective.name=BSR_user", r"did you mean bsr_user\?"),
        (
            'model.adapter={kind="repcali",r=2}',
            r"model\.adapter\.r: unknown key; known",
        ),
        (
            'model.adapter={kind="repcali",place="end"}',
            r"model\.adapter\.place = 'end'",
        ),
        ("run.zzz=1", "run.zzz: unknown key; known: name, seed"),
        ("privacy.unit=people", "privacy.unit = 'people'"),
        ("privacy.clip=-1", "privacy.clip = -1"),
        ("privacy.clip=nan", "privacy.clip"),
        ("privacy.clip=wide", "privacy.clip = 'wide'"),
        ("cohort.rounds=0", "cohort.rounds = 0"),
        ("cohort.rounds=2.5", "cohort.rounds = 2.5"),
        ("run.seed=-1", "run.seed = -1"),
        ("run.name=../up", "run.name = '../up'"),
        ("objective.name=placket_luce", "did you mean plackett_luce"),
        ("objective.beta=1", "objective.beta: unknown; known are margin"),
        ("objective.margin=wide", "must be a float"),
        ("server.beta1=0.9", "beta1 does not belong to sgd"),
        ("server.floor=0.1", "floor does not belong to sgd"),
        ("server.decay=inf", "server.decay = inf"),
        ("server.momentum=1.0", "server.momentum = 1.0"),
        ("evaluate.baselines=['best']", "evaluate.baselines.0 = 'best'"),
        ("model.base=gpt9", "model.base = 'gpt9'"),
    ],
)
def test_refuses(write, override, needle) -> None:
    with pytest.raises(ScenarioError, match=needle):
        config.read(write(), [override])


def test_an_adapter_is_lora_unless_it_says_otherwise(write) -> None:
    found = config.read(write(), ["model.adapter.freeze_a=true"]).model.adapter
    assert (found.kind, found.freeze_a, found.rslora) == ("lora", True, False)
    given = 'model.adapter={kind="repcali",place="residual",layer=2}'
    scenario = config.read(write(), [given])
    assert scenario.model.adapter.layer == 2
    again = config.parse(tomllib.loads(scenario.to_toml()), source="again")
    assert again == scenario


def test_reports_every_problem_at_once(write) -> None:
    wrong = ["privacy.clipp=1", "cohort.rounds=0", "model.base=x", "run.seed=a"]
    with pytest.raises(ScenarioError) as caught:
        config.read(write(), wrong)
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("missing", ["unit", "noise", "clip", "rounds"])
def test_what_affects_privacy_has_no_default(write, missing) -> None:
    kept = [line for line in GOOD.splitlines() if not line.startswith(f"{missing} =")]
    with pytest.raises(ScenarioError, match=f"{missing}: missing"):
        config.read(write("\n".join(kept)))


@pytest.mark.parametrize("override", ["clip=1", "privacy", "=1", ".a=1", "a.=1"])
def test_refuses_an_override_that_names_no_key(write, override) -> None:
    with pytest.raises(InputError, match=r"must be section\.key=value"):
        config.read(write(), [override])


def test_refuses_an_override_into_a_value(write) -> None:
    with pytest.raises(InputError, match="clip is not a section"):
        config.read(write(), ["privacy.clip.x=1"])


def test_refuses_files_that_are_no_scenario(write, tmp_path) -> None:
    with pytest.raises(InputError, match="No such file"):
        config.read(tmp_path / "none.toml")
    with pytest.raises(ScenarioError, match="not TOML"):
        config.read(write("[data\n"))
    (tmp_path / "latin.toml").write_bytes(b'a = "\xff"')
    with pytest.raises(ScenarioError, match="not TOML"):
        config.read(tmp_path / "latin.toml")
    with pytest.raises(ScenarioError, match="data: missing"):
        config.read(write(""))
    with pytest.raises(ScenarioError, match="privacy = 3"):
        config.read(write("privacy = 3"))
