"""The tables of a scenario, one class each.

Guarantees: unit, noise, clip, target and rounds have no default. Does not: look at more
than one table; ``fedpref.config.Scenario`` does.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from fedpref.adapter_sections import AnyAdapterSection, Positive, Section
from fedpref.core.currencies import Currency
from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.errors import InputError
from fedpref.rounds.optimisers import Optimiser, adam, dp_adamw, sgd

Share = Annotated[float, Field(ge=0, le=1)]


class RunSection(Section):
    """``[run]``: what the run is called, and whether it is reproducible."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class DataSection(Section):
    """``[data]``: whose preferences, in which words, and which texts are public.

    ``folder`` is written ``from``, which Python reserves: where a set's files lie.
    """

    model_config = ConfigDict(**Section.model_config, serialize_by_alias=True)

    source: str
    folder: Annotated[str | None, Field(alias="from")] = None
    catalogue: str | None = None
    split: Literal[
        "heldout-v1", "split-1", "split-2", "split-3", "split-4", "split-5"
    ] = "heldout-v1"
    records_per_person: Annotated[int, Field(ge=1)] | None = None
    templates: dict[str, str] | None = None


class ModelSection(Section):
    """``[model]``: what is trained on which frozen base."""

    task: Literal["reward"] = "reward"
    base: Literal["minilm"] = "minilm"
    features: Annotated[int, Field(ge=1, le=4096)] = 16
    adapter: AnyAdapterSection | None = None
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


class PrivacySection(Section):
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


class CohortSection(Section):
    """``[cohort]``: who takes part, and how often."""

    participation: Participation
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    spare_rounds: Annotated[int, Field(ge=0, le=100_000)] = 0
    q: Annotated[float, Field(gt=0, le=1)] = 1.0
    size: Annotated[int, Field(ge=2)] | None = None
    min_survivors: Annotated[float, Field(gt=0, le=1)] = 0.9
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class SecaggSection(Section):
    """``[secagg]``: how sums are hidden, where noise is distributed."""

    mode: Literal["protocol", "sum"] = "protocol"
    graph: Literal["auto", "complete"] = "auto"
    word_bits: Literal[16, 24] = 24


_OPTIMISERS: Mapping[str, Callable[..., Optimiser]] = {
    "sgd": sgd,
    "adam": adam,
    "dp_adamw": dp_adamw,
}


class _OptimiserSection(Section):
    """An optimiser and its settings; what is absent is the optimiser's own default."""

    optimiser: Literal["sgd", "adam", "dp_adamw"] = "sgd"
    lr: Positive | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta1: Annotated[float, Field(ge=0, lt=1)] | None = None
    beta2: Annotated[float, Field(ge=0, lt=1)] | None = None
    floor: Positive | None = None
    decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None

    @property
    def _given(self) -> dict[str, float]:
        names = ("lr", "momentum", "beta1", "beta2", "floor", "decay")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @model_validator(mode="after")
    def _settings_belong_to_the_optimiser(self) -> Self:
        known = signature(_OPTIMISERS[self.optimiser]).parameters
        if wrong := [name for name in self._given if name not in known]:
            raise ValueError(f"{', '.join(wrong)} does not belong to {self.optimiser}")
        return self

    def build(self) -> Optimiser:
        """The optimiser as a pair of functions."""
        return _OPTIMISERS[self.optimiser](**self._given)


class ServerSection(_OptimiserSection):
    """``[server]``: how released sums move the model."""

    average_last: Share = 0.5


class LocalSection(_OptimiserSection):
    """``[local]``: steps that a device takes before it answers; absent: a gradient."""

    steps: Annotated[int, Field(ge=1, le=1000)]


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


class EvaluateSection(Section):
    """``[evaluate]``: what the report compares with, and how often it looks."""

    baselines: tuple[Baseline, ...] = ALL_BASELINES
    every: Annotated[int, Field(ge=0)] = 1
    federated: bool = False


class PersonalSection(Section):
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


class OwnBudgetsSection(Section):
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
