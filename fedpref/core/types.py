"""Values that everything above shares: plain, frozen, free of torch and I/O."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import frexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Integer = NDArray[np.int64]


class Unit(StrEnum):
    """Whose contribution is bounded, and therefore what an epsilon is about."""

    USER = "user"
    RECORD = "record"
    LABEL = "label"  # one answer; the question and that it was answered stay open


class Relation(StrEnum):
    """What two neighbouring data sets differ in."""

    ZERO_OUT = "zero-out"  # one contribution becomes zero; its owner still takes part
    REPLACE_LABEL = "replace-label"  # one answer becomes another one


class Noise(StrEnum):
    """Where the noise comes from."""

    DISTRIBUTED = "distributed"  # every device adds a share, under secure aggregation
    CENTRAL = "central"  # one trusted aggregator adds it
    NONE = "none"


class Participation(StrEnum):
    """Who contributes in a round."""

    ALL = "all"  # everyone, in every round
    HIDDEN = "hidden"  # everyone answers; whose answer counts is each one's own secret
    SERVER = "server"  # whom the server draws in secret
    FIXED = "fixed"  # whom the server names


class Adversary(StrEnum):
    """Against whom an epsilon holds."""

    SERVER = "server"
    OUTSIDER = "outsider"


@dataclass(frozen=True, repr=False)
class Record:
    """One preference of one person: a choice among ``options``, or a thumb on one.

    Exactly one of ``choice`` (an index into ``options``) and ``label`` (thumbs up or
    down, with a single option) is set. ``repr`` shows sizes only: records are private.
    """

    user: str
    prompt: str
    options: tuple[str, ...]
    choice: int | None = None
    label: bool | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    weight: float = 1.0
    id: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """What a reward model reads of each option: the prompt, then the option."""
        head = f"{self.prompt}\n" if self.prompt else ""
        return tuple(head + option for option in self.options)

    def __repr__(self) -> str:
        return f"Record(options={len(self.options)}, contents hidden)"


@dataclass(frozen=True)
class Objective:
    """A loss over records with its hyper-parameters bound.

    ``loss`` takes the reserved arguments named in ``needs`` as keywords and returns one
    number a record (``fedpref.objectives`` lists the names and shapes). ``hyper`` holds
    all its hyper-parameters. One that needs ``previous`` has a ``statistic``: of the
    reserved arguments in its signature, one bounded number a record, already times
    ``hyper["statistic_scale"]``; a unit's is the weighted mean over its records.
    """

    name: str
    loss: Callable[..., Any]
    needs: frozenset[str]
    hyper: Mapping[str, Any] = field(default_factory=dict)
    statistic: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Block:
    """A named block of trained parameters.

    ``scale`` multiplies the block's coordinates on their way into the model, and so its
    gradient on the way out: a scale below 1 leaves more of the shared clip to the
    other blocks.
    """

    name: str
    shape: tuple[int, ...]
    scale: float = 1.0

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Layout:
    """The order in which blocks of parameters lie in one flat float64 vector.

    >>> layout = Layout((Block("a", (2, 2), scale=0.5), Block("b", (1,))))
    >>> layout.size
    5
    >>> {k: v.tolist() for k, v in layout.split(np.arange(5.0)).items()}
    {'a': [[0.0, 1.0], [2.0, 3.0]], 'b': [4.0]}
    """

    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """Number of coordinates of the whole vector."""
        return sum(block.size for block in self.blocks)

    @property
    def scales(self) -> Float:
        """Scale of each coordinate, ``[size]``."""
        return np.concatenate([np.full(b.size, b.scale) for b in self.blocks])

    def parts(self) -> Iterator[tuple[Block, slice]]:
        """Each block with the slice it occupies."""
        start = 0
        for block in self.blocks:
            yield block, slice(start, start + block.size)
            start += block.size

    def split(self, vector: Float) -> dict[str, Float]:
        """Blocks of ``vector`` by name, in their shapes (views, unscaled)."""
        if vector.shape != (self.size,):
            raise ValueError(f"vector has shape {vector.shape}, not ({self.size},)")
        return {b.name: vector[part].reshape(b.shape) for b, part in self.parts()}


@dataclass(frozen=True)
class BoundedRows:
    """One row a unit, each of Euclidean norm at most ``bound``.

    Made by :func:`fedpref.core.clip.clip_units`. ``zeroed`` counts rows that were not
    finite; it is private and stays on the device.
    """

    rows: Float
    bound: float
    zeroed: int


@dataclass(frozen=True)
class Grid:
    """The public grid of all multiples of ``step``, in model units.

    >>> Grid.for_clip(8.0).step == 2.0**-21
    True
    >>> Grid.for_clip(8.0).sensitivity_squared(8.0) == (2**24) ** 2
    True
    """

    step: float

    @classmethod
    def for_clip(cls, clip: float) -> "Grid":
        """A grid with 2**24 to 2**25 steps in ``clip``; the step is a power of two."""
        return cls(float(2.0 ** (frexp(clip)[1] - 1 - 24)))

    def sensitivity_squared(self, clip: float) -> int:
        """Largest squared integer norm of a vector of norm ``clip``, in steps."""
        steps = Fraction(clip) / Fraction(self.step)
        return int(steps * steps)


@dataclass(frozen=True)
class BoundedSum:
    """An integer sum over units with the bound on what one unit adds to it.

    ``total`` counts steps of ``grid``, int64 ``[coordinates]``. Replacing one unit by
    zero moves it by a vector of squared norm at most ``sensitivity_squared``.
    """

    total: Integer
    sensitivity_squared: int
    grid: Grid
