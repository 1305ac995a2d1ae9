"""Scenarios: one TOML file a run, turned once into frozen, checked values.

Guarantees: unknown keys, wrong types and impossible values are refused, all of them at
once, with the nearest valid name; after this file nothing reads a string to decide what
to do. The tables of a scenario are in ``fedpref.sections``.
"""

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator

from fedpref.adapter_sections import ADAPTERS, Section
from fedpref.cohorts import exact
from fedpref.core.types import Adversary, Noise, Objective, Unit
from fedpref.errors import InputError, ObjectiveError, ScenarioError
from fedpref.sections import (
    CohortSection,
    DataSection,
    EvaluateSection,
    LocalSection,
    ModelSection,
    ObjectiveSection,
    OwnBudgetsSection,
    PersonalSection,
    PrivacySection,
    RunSection,
    SecaggSection,
    ServerSection,
)
from fedpref.stages import Moment

EARNS_ITS_BUDGET = 0.75
"""Least total epsilon at which a released prior was seen to beat a public one."""


class Scenario(Section):
    """One run, checked and frozen."""

    run: RunSection
    data: DataSection
    model: ModelSection
    objective: ObjectiveSection
    privacy: PrivacySection
    cohort: CohortSection
    secagg: SecaggSection = SecaggSection()
    server: ServerSection = ServerSection()
    local: LocalSection | None = None
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

    @model_validator(mode="after")
    def _local_steps_are_of_people(self) -> "Scenario":
        if self.local is not None and self.privacy.unit is not Unit.USER:
            raise ValueError(
                'local: steps mix the records of a person; privacy.unit must be "user"'
            )
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
    key = ".".join(part for part in loc if part not in ADAPTERS)
    if problem["type"] == "extra_forbidden":
        known = _fields(loc[:-1])
        close = get_close_matches(loc[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    if problem["type"] == "adapter" and isinstance(value, dict):
        key, value = f"{key}.kind", value.get("kind")
        message = f"must be one of {', '.join(ADAPTERS)}"
    shown = "" if isinstance(value, dict) else f" = {value!r}"
    return f"{key}{shown}: {message}"


def _fields(loc: Iterable[str]) -> list[str]:
    model: Any = Scenario
    for part in loc:
        if part == "adapter":
            continue
        if part in ADAPTERS:  # the kind stands behind the key
            model = ADAPTERS[part]
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
