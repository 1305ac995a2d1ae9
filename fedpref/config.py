"""Scenarios: one TOML file a run, turned once into frozen, checked values.

Guarantees: unknown keys, wrong types and impossible values are refused, all of them at
once, with the nearest valid name; after this file nothing reads a string to decide what
to do. Unit, noise, clip, target and rounds have no default.
"""

import json
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from fedpref.cohorts import exact
from fedpref.core.currencies import Currency
from fedpref.core.types import Adversary, Noise, Objective, Participation, Unit
from fedpref.errors import InputError, ObjectiveError, ScenarioError
from fedpref.rounds.optimisers import Optimiser, adam, dp_adamw, sgd
from fedpref.stages import Moment

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunSection(_Section):
    """``[run]``: what the run is called, and whether it is reproducible."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class DataSection(_Section):
    """``[data]``: whose preferences, in which words, and which texts are public.

    ``folder`` is written ``from``, which Python reserves: where a set's files lie.
    """

    model_config = ConfigDict(**_Section.model_config, serialize_by_alias=True)

    source: str
    folder: Annotated[str | None, Field(alias="from")] = None
    catalogue: str | None = None
    split: Literal[
        "heldout-v1", "split-1", "split-2", "split-3", "split-4", "split-5"
    ] = "heldout-v1"
    records_per_person: Annotated[int, Field(ge=1)] | None = None
    templates: dict[str, str] | None = None


class LoraSection(_Section):
    """``model.adapter``: LoRA on the top layers; leave it out for a head alone."""

    kind: Literal["lora"] = "lora"
    r: Annotated[int, Field(ge=1, le=256)] = 4
    alpha: Positive | None = None
    layers: str = "last:1"
    targets: tuple[str, ...] = ("query", "value")
    scale: Positive = 0.1
    init_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    rslora: bool = False
    freeze_a: bool = False


class RepcaliSection(_Section):
    """``model.adapter`` with ``kind = "repcali"``: a calibration of hidden states."""

    kind: Literal["repcali"]
    place: Literal["output", "residual", "head"] = "output"
    layer: Annotated[int, Field(ge=1)] | None = None
    strength: Positive = 1.0
    restore: bool = True
    scale: Positive = 0.1


AdapterSection = LoraSection | RepcaliSection
_ADAPTERS = {"lora": LoraSection, "repcali": RepcaliSection}


def _kind(value: Any) -> str:
    """Of an adapter, ``lora`` unless it says otherwise."""
    found = value.get("kind", "lora") if isinstance(value, dict) else value.kind
    return str(found)


_AnyAdapter = Annotated[
    Annotated[LoraSection, Tag("lora")] | Annotated[RepcaliSection, Tag("repcali")],
    Discriminator(_kind),
]


class ModelSection(_Section):
    """``[model]``: what is trained on which frozen base."""

    task: Literal["reward"] = "reward"
    base: Literal["minilm"] = "minilm"
    features: Annotated[int, Field(ge=1, le=4096)] = 16
    adapter: _AnyAdapter | None = None
    engine: Literal["one_pass", "loop"] = "one_pass"


class ObjectiveSection(BaseModel):
    """``[objective]``: a file of ``fedpref.objectives`` and its keyword arguments."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str


def _currency(text: str) -> str:
    try:
        return str(Currency.parse(text))
    except InputError as error:
        raise ValueError(str(error)) from error


class PrivacySection(_Section):
    """``[privacy]``: what is protected, and how well."""

    unit: Unit
    noise: Noise
    clip: Positive
    target_epsilon: float | None = None
    against: Adversary | None = None
    colluders: Annotated[float, Field(ge=0, lt=1)] = 0.1
    records: Annotated[int, Field(ge=1, le=10_000)] | None = None
    delta: Literal["auto"] | float = "auto"
    population: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    window: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    cap: Positive | None = None
    currency: Annotated[str, AfterValidator(_currency)] = "sealed"


class CohortSection(_Section):
    """``[cohort]``: who takes part, and how often."""

    participation: Participation
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    spare_rounds: Annotated[int, Field(ge=0, le=100_000)] = 0
    q: Annotated[float, Field(gt=0, le=1)] = 1.0
    size: Annotated[int, Field(ge=2)] | None = None
    min_survivors: Annotated[float, Field(gt=0, le=1)] = 0.9
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class SecaggSection(_Section):
    """``[secagg]``: how sums are hidden, where noise is distributed."""

    mode: Literal["protocol", "sum"] = "protocol"
    graph: Literal["auto", "complete"] = "auto"
    word_bits: Literal[16, 24] = 24


_OPTIMISERS: Mapping[str, Callable[..., Optimiser]] = {
    "sgd": sgd,
    "adam": adam,
    "dp_adamw": dp_adamw,
}


class ServerSection(_Section):
    """``[server]``: how released sums move the model."""

    optimiser: Literal["sgd", "adam", "dp_adamw"] = "sgd"
    lr: Positive = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta1: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta2: Annotated[float, Field(ge=0, lt=1)] | None = None
    floor: Positive | None = None
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    average_last: Share = 0.5

    @property
    def _given(self) -> dict[str, float]:
        names = ("momentum", "beta1", "beta2", "floor", "decay")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @model_validator(mode="after")
    def _settings_belong_to_the_optimiser(self) -> "ServerSection":
        known = signature(_OPTIMISERS[self.optimiser]).parameters
        if wrong := [name for name in self._given if name not in known]:
            raise ValueError(f"{', '.join(wrong)} does not belong to {self.optimiser}")
        return self

    def build(self) -> Optimiser:
        """The optimiser as a pair of functions."""
        return _OPTIMISERS[self.optimiser](lr=self.lr, **self._given)


Baseline = Literal[
    "untrained",
    "position",
    "attributes",
    "central",
    "own_answers",
    "head_only",
    "adapter_and_head",
]
ALL_BASELINES: tuple[Baseline, ...] = Baseline.__args__  # type: ignore[attr-defined]


class EvaluateSection(_Section):
    """``[evaluate]``: what the report compares with, and how often it looks."""

    baselines: tuple[Baseline, ...] = ALL_BASELINES
    every: Annotated[int, Field(ge=0)] = 1
    federated: bool = False


class PersonalSection(_Section):
    """``[personal]``: how the released model is adapted on a person's own device.

    ``prior`` is the standard deviation of an own weight before any own answer, a public
    constant. ``moment`` says whether people's devices release how they differ from the
    common model, which makes a better prior and takes ``share`` of the budget.
    """

    prior: Positive = 2.5
    moment: Literal["auto"] | bool = "auto"
    share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    norm: Positive | None = None
    k: Annotated[tuple[Annotated[int, Field(ge=0, le=1000)], ...], Field(min_length=1)]
    draws: Annotated[int, Field(ge=1, le=100)] = 3


class OwnBudgetsSection(_Section):
    """``[own_budgets]``: simulation only: who has which own cap and own clip.

    A person gets the limits of one place in the lists, by a hash of the name and the
    public ``salt``. ``clips = "fit"`` gives each cap the largest clip with which the
    whole plan stays within it; absent: the plan's clip.
    """

    caps: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=100)]
    shares: Annotated[tuple[Share, ...], Field(min_length=1)]
    clips: Literal["fit"] | tuple[Positive, ...] | None = None
    salt: Annotated[str, Field(min_length=1, max_length=200)] = "own-budgets"

    @model_validator(mode="after")
    def _lists_belong_together(self) -> "OwnBudgetsSection":
        lengths = {"shares": len(self.shares)}
        if isinstance(self.clips, tuple):
            lengths["clips"] = len(self.clips)
        for name, length in lengths.items():
            if length != len(self.caps):
                raise ValueError(f"{name} has {length} entries, caps {len(self.caps)}")
        if abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares add up to {sum(self.shares):g}, must be 1")
        return self


EARNS_ITS_BUDGET = 0.75
"""Least total epsilon at which a released prior was seen to beat a public one."""


class Scenario(_Section):
    """One run, checked and frozen."""

    run: RunSection
    data: DataSection
    model: ModelSection
    objective: ObjectiveSection
    privacy: PrivacySection
    cohort: CohortSection
    secagg: SecaggSection = SecaggSection()
    server: ServerSection = ServerSection()
    evaluate: EvaluateSection = EvaluateSection()
    personal: PersonalSection | None = None
    own_budgets: OwnBudgetsSection | None = None

    @model_validator(mode="after")
    def _own_clips_are_within_the_clip(self) -> "Scenario":
        own = self.own_budgets
        if own is None:
            return self
        largest = max(own.clips) if isinstance(own.clips, tuple) else 0.0
        if largest > self.privacy.clip:
            raise ValueError(
                f"own_budgets.clips: {largest:g}, must be <= privacy.clip = "
                f"{self.privacy.clip:g}"
            )
        if self.privacy.noise is Noise.NONE:
            raise ValueError("own_budgets: no cap can be kept with privacy.noise none")
        return self

    @property
    def moment(self) -> Moment | None:
        """The release of a prior, if it is asked for or earns its budget."""
        personal, target = self.personal, self.privacy.target_epsilon
        if personal is None or personal.moment is False:
            return None
        small = target is not None and target < EARNS_ITS_BUDGET
        if personal.moment == "auto" and (small or self.privacy.unit is not Unit.USER):
            return None
        weights = self.model.features
        usual = personal.prior * weights**0.5 / 2
        norm = usual if personal.norm is None else personal.norm
        return Moment(weights, norm, exact(personal.share))

    @property
    def against(self) -> Adversary:
        """Whose epsilon the target binds: the server's where it can be finite."""
        if self.privacy.against is not None:
            return self.privacy.against
        distributed = self.privacy.noise is Noise.DISTRIBUTED
        return Adversary.SERVER if distributed else Adversary.OUTSIDER

    @property
    def masked(self) -> bool:
        """Whether contributions travel under secure aggregation."""
        distributed = self.privacy.noise is Noise.DISTRIBUTED
        return distributed and self.secagg.mode == "protocol"

    def build_objective(self) -> Objective:
        """The loss with its hyper-parameters.

        Raises:
            ObjectiveError: It does not exist or cannot be used this way.
        """
        from fedpref import objectives

        hyper = self.objective.model_extra or {}
        private = self.privacy.noise is not Noise.NONE
        return objectives.load(
            self.objective.name, hyper, unit=self.privacy.unit, private=private
        )

    def to_toml(self) -> str:
        """The resolved scenario, complete, as TOML that reads back to the same."""
        values = self.model_dump(mode="json", exclude_none=True)
        return "\n".join(_toml(values))


def read(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario in ``path``.

    Args:
        path: A TOML file.
        overrides: ``section.key=value``, the value in TOML; a bare word is a string.
            ``privacy.noise=none`` drops the file's target, which it makes void.

    Raises:
        InputError: The file cannot be read.
        ScenarioError: Everything that is wrong with it, at once.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"scenario {path}: {error.strerror}") from error
    except RecursionError:
        raise ScenarioError(str(path), ["not TOML: nested too deeply"]) from None
    except ValueError as error:  # TOML's and UTF-8's own, and numbers without end
        raise ScenarioError(str(path), [f"not TOML: {error}"]) from error
    keys = [_override(raw, override) for override in overrides]
    _drop_target(raw, keys)
    raw.setdefault("run", {})
    if isinstance(raw["run"], dict):
        raw["run"].setdefault("name", path.stem)
    if isinstance(raw.get("data"), dict):
        by_hand = {key.removeprefix("data.") for key in keys}
        _anchor(raw["data"], path.resolve().parent, by_hand)
    return parse(raw, source=str(path))


def parse(raw: Mapping[str, Any], *, source: str) -> Scenario:
    """The scenario in ``raw``; errors as for :func:`read`."""
    try:
        # Through JSON: strict mode then takes lists for tuples and names for enums.
        scenario = Scenario.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        problems = [_explain(dict(p)) for p in error.errors(include_url=False)]
        raise ScenarioError(source, problems) from error
    try:
        scenario.build_objective()
    except ObjectiveError as error:
        raise ScenarioError(source, [str(error)]) from error
    return scenario


def _anchor(data: dict[str, Any], folder: Path, by_hand: Collection[str]) -> None:
    """Make paths absolute, so that the resolved scenario means the same anywhere.

    A path in the file starts at the file's folder; one given by hand where it is given.
    """
    source, catalogue = data.get("source"), data.get("catalogue")
    is_path = {
        "from": isinstance(data.get("from"), str),
        "source": isinstance(source, str) and source.endswith(".jsonl"),
        "catalogue": isinstance(catalogue, str)
        and catalogue not in ("public", "shipped"),
    }
    for key in (key for key, is_one in is_path.items() if is_one):
        data[key] = str((Path.cwd() if key in by_hand else folder) / data[key])


def _drop_target(raw: dict[str, Any], overridden: Sequence[str]) -> None:
    """Who switches the noise off by hand does not mean to keep the file's target."""
    privacy = raw.get("privacy")
    by_hand = "privacy.noise" in overridden
    if by_hand and "privacy.target_epsilon" not in overridden:
        assert isinstance(privacy, dict)  # the override has made it one
        if privacy["noise"] == Noise.NONE:
            privacy.pop("target_epsilon", None)


def _override(raw: dict[str, Any], override: str) -> str:
    """Put one ``section.key=value`` into ``raw``; returns the key."""
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise InputError(f"--set {override}: must be section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text.strip()
    target = raw
    for part in parts[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise InputError(f"--set {override}: {part} is not a section")
    target[parts[-1]] = value
    return ".".join(parts)


def _explain(problem: dict[str, Any]) -> str:
    """One line: the key, what is wrong, and the nearest valid name if it is unknown."""
    loc = [str(part) for part in problem["loc"]]
    key = ".".join(part for part in loc if part not in _ADAPTERS)
    if problem["type"] == "extra_forbidden":
        known = _fields(loc[:-1])
        close = get_close_matches(loc[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = "" if isinstance(value, dict) else f" = {value!r}"
    return f"{key}{shown}: {message}"


def _fields(loc: Iterable[str]) -> list[str]:
    model: Any = Scenario
    for part in loc:
        if part == "adapter":
            continue
        if part in _ADAPTERS:  # the kind stands behind the key
            model = _ADAPTERS[part]
            continue
        annotation = model.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        models = [
            o for o in options if isinstance(o, type) and issubclass(o, BaseModel)
        ]
        model = models[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _toml(values: Mapping[str, Any]) -> Iterable[str]:
    for section, table in values.items():
        yield f"[{section}]"
        for key, value in table.items():
            yield f"{key} = {_value(value)}"
        yield ""


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    # TOML has no surrogate pairs, and JSON leaves the one character DEL as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
