"""``model.adapter`` of a scenario, one class a kind, and what every table shares.

Guarantees: frozen values, no key that is not known. Does not: know which layers a base
has; building the adapter does.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rank = Annotated[int, Field(ge=1, le=256)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Section(BaseModel):
    """A table of a scenario: frozen, with no key that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _LowRankSection(Section):
    """Where a low-rank update goes, and how large it may be."""

    alpha: Positive | None = None
    layers: str = "last:1"
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("query", "value")
    scale: Positive = 0.1
    init_seed: Seed = 0

    @field_validator("layers")
    @classmethod
    def _says_which_layers(cls, value: str) -> str:
        if value != "all" and not re.fullmatch(r"last:[1-9]\d{0,2}", value):
            raise ValueError('must be "last:N" or "all", such as "last:1"')
        return value


class LoraSection(_LowRankSection):
    """``model.adapter``: LoRA on the top layers; leave it out for a head alone."""

    kind: Literal["lora"] = "lora"
    r: Rank = 4
    rslora: bool = False
    freeze_a: bool = False


class RepcaliSection(Section):
    """``model.adapter`` with ``kind = "repcali"``: a calibration of hidden states."""

    kind: Literal["repcali"]
    place: Literal["output", "residual", "head"] = "output"
    layer: Annotated[int, Field(ge=1)] | None = None
    strength: Positive = 1.0
    restore: bool = True
    scale: Positive = 0.1

    @model_validator(mode="after")
    def _layer_is_of_the_stream(self) -> Self:
        if self.layer is not None and self.place != "residual":
            raise ValueError(
                f'layer = {self.layer} belongs to place = "residual", not '
                f'"{self.place}"; leave it out'
            )
        return self


class PbloraSection(_LowRankSection):
    """``model.adapter`` with ``kind = "pblora"``: the adapter of PARM.

    A scenario knows no preference among objectives, so there is one objective.
    """

    kind: Literal["pblora"]
    shared: Rank = 4
    preferred: Rank = 4
    train: Literal["middle", "all"] = "middle"


AdapterSection = LoraSection | PbloraSection | RepcaliSection
ADAPTERS = {"lora": LoraSection, "pblora": PbloraSection, "repcali": RepcaliSection}


def _kind(value: Any) -> str | None:
    """Of an adapter, ``lora`` unless it says otherwise; ``None`` if it is none."""
    if isinstance(value, Section):
        return str(getattr(value, "kind", None))
    return str(value.get("kind", "lora")) if isinstance(value, dict) else None


AnyAdapterSection = Annotated[
    Annotated[LoraSection, Tag("lora")]
    | Annotated[PbloraSection, Tag("pblora")]
    | Annotated[RepcaliSection, Tag("repcali")],
    Discriminator(
        _kind,
        custom_error_type="adapter",
        custom_error_message='must be a table such as {kind = "lora"}; kinds: '
        + ", ".join(ADAPTERS),
    ),
]
