"""``model.adapter`` of a scenario, one class a kind, and what every table shares.

Guarantees: frozen values, no key that is not known. Does not: know which layers a base
has; building the adapter does.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of a scenario: frozen, with no key that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LoraSection(Section):
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


class RepcaliSection(Section):
    """``model.adapter`` with ``kind = "repcali"``: a calibration of hidden states."""

    kind: Literal["repcali"]
    place: Literal["output", "residual", "head"] = "output"
    layer: Annotated[int, Field(ge=1)] | None = None
    strength: Positive = 1.0
    restore: bool = True
    scale: Positive = 0.1


class PbloraSection(Section):
    """``model.adapter`` with ``kind = "pblora"``: the adapter of PARM.

    A scenario knows no preference among objectives, so all of them count alike.
    """

    kind: Literal["pblora"]
    shared: Annotated[int, Field(ge=1, le=256)] = 4
    preferred: Annotated[int, Field(ge=1, le=256)] = 4
    objectives: Annotated[int, Field(ge=1, le=100)] = 1
    train: Literal["middle", "all"] = "middle"
    alpha: Positive | None = None
    layers: str = "last:1"
    targets: tuple[str, ...] = ("query", "value")
    scale: Positive = 0.1
    init_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


AdapterSection = LoraSection | PbloraSection | RepcaliSection
ADAPTERS = {"lora": LoraSection, "pblora": PbloraSection, "repcali": RepcaliSection}


def _kind(value: Any) -> str:
    """Of an adapter, ``lora`` unless it says otherwise."""
    found = value.get("kind", "lora") if isinstance(value, dict) else value.kind
    return str(found)


AnyAdapterSection = Annotated[
    Annotated[LoraSection, Tag("lora")]
    | Annotated[PbloraSection, Tag("pblora")]
    | Annotated[RepcaliSection, Tag("repcali")],
    Discriminator(_kind),
]
