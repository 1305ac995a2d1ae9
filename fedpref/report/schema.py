"""The files of a run folder, as far as a report reads them.

Guarantees: values are of the stated type and range, and an infinite epsilon is written
"inf". Does not check one file against another. Fields of newer versions are ignored.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from fedpref.core.types import Adversary, Noise, Participation, Relation, Unit
from fedpref.report.words import number
from fedpref.stages import Purpose


def _infinite(value: Any) -> Any:
    return math.inf if value == "inf" else value


Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Epsilon = Annotated[float, Field(ge=0), BeforeValidator(_infinite)]
Interval = tuple[Finite, Finite]
Priced = Literal["exact", "pld", "rdp", "pure"]
Compared = Literal["comparison+exact", "comparison+pld", "comparison+rdp"]
Accountant = Priced | Compared | None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Epsilons(_Frozen):
    """One epsilon an adversary; infinite where nothing is promised."""

    server: Epsilon
    outsider: Epsilon

    def to_json(self) -> dict[str, float | str | None]:
        """Finite numbers as they are, infinite ones as the string "inf"."""
        return {"server": number(self.server), "outsider": number(self.outsider)}


class Accountants(_Frozen):
    """Which accountant gave the smaller total, an adversary; null where infinite."""

    server: Accountant = None
    outsider: Accountant = None


class LedgerUse(_Frozen):
    """The ledger in which the plan is reserved; ``own``: no other run is in it."""

    own: bool
    population: str
    window: str
    cap: Epsilon
    cap_delta: Annotated[float, Field(gt=0, lt=1)]
    currency: str


class MomentRelease(_Frozen):
    """The release of how much people differ: from offsets of at most this norm."""

    weights: Annotated[int, Field(ge=1)]
    norm: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    share: Fraction


class StagePlan(_Frozen):
    """Releases of one kind, numbered from ``first``."""

    purpose: Purpose
    first: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    coordinates: Annotated[int, Field(ge=1)]
    noise_multiplier: Finite | None = None
    noise_stddev_grid: Finite | None = None


class Plan(_Frozen):
    """The sealed plan of the run, as ``plan.json`` has it."""

    unit: Unit
    relation: Relation
    noise: Noise
    participation: Participation
    against: Adversary
    target_epsilon: Epsilon | None
    epsilon: Epsilons
    accountant: Accountants = Accountants()
    delta: Annotated[float, Field(ge=0, lt=1)]
    clip: Finite | None = None
    units: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)]
    noise_multiplier: Finite | None = None
    noise_stddev_grid: Finite | None = None
    grid_step: Finite | None = None
    divisor: Finite | None = None
    min_survivors: Annotated[int, Field(ge=0)] | None = None
    spare_rounds: Annotated[int, Field(ge=0)] = 0
    evaluation: bool = False
    moment: MomentRelease | None = None
    stages: tuple[StagePlan, ...] = ()
    cohort: Annotated[int, Field(ge=1)] | None = None
    units_per_client: Annotated[int, Field(ge=1)] = 1
    sampling_prob: Annotated[float, Field(gt=0, le=1)] = 1.0
    colluders: Annotated[int, Field(ge=0)] = 0
    threshold: Annotated[int, Field(ge=0)] = 0
    masked: bool = False
    share_stddev_grid: Finite | None = None
    inflation: Finite | None = None
    scale_active: str | None = None
    coordinates: Annotated[int, Field(ge=1)]
    seeded: bool
    sealed: bool
    ledger: LedgerUse
    ledger_file: str


class Round(_Frozen):
    """One line of ``metrics.jsonl``: what is known after a round."""

    round: Annotated[int, Field(ge=1)]
    epsilon: Epsilons
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    heldout_accuracy: Fraction | None = None
    survivors: Annotated[int, Field(ge=0)] | None = None
    purpose: Purpose = Purpose.TRAINING
    federated_accuracy: Fraction | None = None

    @model_validator(mode="before")
    @classmethod
    def _older(cls, line: Any) -> Any:
        """Before there was ``purpose``, ``evaluation`` marked the last line."""
        if isinstance(line, dict) and "purpose" not in line and line.get("evaluation"):
            return line | {"purpose": Purpose.EVALUATION}
        return line


class Bin(_Frozen):
    """Pairs of about the same confidence."""

    lower: Fraction
    upper: Fraction
    count: Annotated[int, Field(ge=0)]
    confidence: Fraction | None
    accuracy: Fraction | None


class Heldout(_Frozen):
    """The evaluation of the run on all held-out people."""

    accuracy: Fraction
    ci95: Interval
    choice_accuracy: Fraction
    log_loss: Finite
    ece: Fraction
    users: Annotated[int, Field(ge=1)]
    records: Annotated[int, Field(ge=1)]
    pairs: Annotated[int, Field(ge=1)]
    bins: tuple[Bin, ...]
    per_user: tuple[Fraction, ...]


class Baseline(_Frozen):
    """Something to compare with; ``subset`` names the answers it was tested on."""

    accuracy: Fraction
    ci95: Interval
    choice_accuracy: Fraction | None = None
    log_loss: Finite | None = None
    ece: Fraction | None = None
    note: str = ""
    private: bool
    epsilon: Epsilon | None
    subset: str | None = None


class Comparison(_Frozen):
    """Accuracy of ``a`` minus that of ``b``, over the same people."""

    a: str
    b: str
    difference: Finite
    ci95: Interval


class Federated(_Frozen):
    """What devices released about records that they kept back: noised and booked."""

    accuracy: Fraction | None
    stddev: Finite | None
    ci95: Interval
    choice_accuracy: Fraction | None
    choice_stddev: Finite | None
    choice_ci95: Interval
    people: Finite
    people_stddev: Finite
    survivors: Annotated[int, Field(ge=0)]
    held_back_one_in: Annotated[int, Field(ge=2)]


class Clients(_Frozen):
    """How many people there were."""

    train: Annotated[int, Field(ge=0)]
    heldout: Annotated[int, Field(ge=0)]


class PersonalCell(_Frozen):
    """What one personal model reaches after ``k`` own answers."""

    accuracy: Fraction
    ci95: Interval
    choice_accuracy: Fraction | None
    macro_f1: Fraction
    log_loss: Finite
    ece: Fraction


class PersonalGain(_Frozen):
    """Accuracy of the best personal model minus another's, same people and answers."""

    value: Finite
    ci95: Interval


class PersonalCurve(_Frozen):
    """What a few own answers add, for people who did not train the model."""

    k: tuple[Annotated[int, Field(ge=0)], ...]
    draws: Annotated[int, Field(ge=1)]
    users: Annotated[int, Field(ge=1)]
    short: Annotated[int, Field(ge=0)]
    released_prior: bool
    best: str
    models: dict[str, dict[str, PersonalCell]]
    gain_over_own: dict[str, PersonalGain]
    gain_over_common: dict[str, PersonalGain]

    @model_validator(mode="after")
    def _whole(self) -> "PersonalCurve":
        if not self.k or list(self.k) != sorted(set(self.k)):
            raise ValueError(f"k = {list(self.k)}, must count up")
        if self.best not in self.models:
            raise ValueError(f"best = {self.best!r}, must be one of the models")
        wanted = {str(k) for k in self.k}
        rows = [set(row) for row in self.models.values()]
        for row in (*rows, set(self.gain_over_own), set(self.gain_over_common)):
            if row != wanted:
                raise ValueError("a model or gain lacks one of k, or has another one")
        return self

    def cell(self, model: str, k: int) -> PersonalCell:
        """What ``model`` reaches after ``k`` own answers."""
        return self.models[model][str(k)]


class Results(_Frozen):
    """``evaluation.json``: the run and what it is compared with."""

    clients: Clients
    heldout: Heldout
    baselines: dict[str, Baseline]
    comparisons: tuple[Comparison, ...] = ()
    omitted: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    federated: Federated | None = None
    personal: PersonalCurve | None = None


class Timing(_Frozen):
    """Seconds spent."""

    setup_s: Finite
    train_s: Finite
    total_s: Finite


class Environment(_Frozen):
    """``environment.json``: where and how the run was made."""

    versions: dict[str, str]
    python: str
    threads: int | None = None
    timing: Timing
    command: str
    created: str
