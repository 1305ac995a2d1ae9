"""RepCali: one learned offset and a layer norm on hidden states, for all inputs alike.

    p = h + strength * offset;   calibrated = gain * norm(p) + bias

with ``norm`` the layer norm over the width, at each token. Three places: the base's
output, the residual stream after one layer, or the pooled vector before the head.

Source: reconstruction of RepCali (arXiv 2505.08463), whose code was not found and of
which only the abstract and second-hand equations were readable. Departures: the seed
of the learned embedding is ``[1, width]``, as one of ``[batch, width]`` would make the
parameters depend on the size of a batch; with ``restore`` the mean and spread that h
had are put back after the norm, so that the calibrated base starts as the frozen one,
also in the residual stream of a decoder, which a bare norm would rescale.

Guarantees: the output of a row depends on that row alone; 3 * width numbers are
trained; the offset enters before the norm and is averaged as such.

Does not: depend on the input's content; it cannot tell two texts apart that the frozen
base does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fedpref.errors import InputError
from fedpref.models.bases import Base, upper
from fedpref.models.placement import Adapted, RowWise, check_positive, check_whole

WEIGHTS = ("repcali_offset", "repcali_gain", "repcali_bias")
EPS = 1e-5  # torch's own for a layer norm
PLACES = ("output", "residual", "head")


@dataclass(frozen=True)
class RepCali:
    """Settings of a calibration.

    Args:
        place: ``"output"``: every token of the base's output; ``"residual"``: every
            token after layer ``layer``; ``"head"``: the pooled vector alone (for a
            policy, whose head reads every token, the same as ``"output"``).
        layer: counted from 1; the last one by default. Only for ``"residual"``.
        strength: the factor of the offset, lambda in the paper; not trained.
        restore: put mean and spread back after the norm; see above.
        scale: of the blocks in the trained vector (``core.types.Block``).

    The start is public without a seed: offset and bias zero, gain one.
    """

    place: Literal["output", "residual", "head"] = "output"
    layer: int | None = None
    strength: float = 1.0
    restore: bool = True
    scale: float = 0.1

    def __post_init__(self) -> None:
        if self.place not in PLACES:
            raise InputError(
                f"adapter.place = {self.place!r}, must be one of {', '.join(PLACES)}"
            )
        check_positive("strength", self.strength)
        check_positive("scale", self.scale)
        if self.layer is not None:
            check_whole("layer", self.layer)
            if self.place != "residual":
                raise InputError(
                    f'adapter.layer = {self.layer} belongs to place = "residual"; '
                    "leave it out"
                )


class Calibration(RowWise):
    """The calibration as a layer."""

    names = WEIGHTS

    def __init__(self, width: int, settings: RepCali) -> None:
        super().__init__()
        self.repcali_offset = nn.Parameter(torch.zeros(width))
        self.repcali_gain = nn.Parameter(torch.ones(width))
        self.repcali_bias = nn.Parameter(torch.zeros(width))
        self._strength, self._restore = settings.strength, settings.restore

    def through(self, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Calibrated hidden states, ``[rows, tokens, width]``."""
        offset, gain, bias = (weights[name][:, None, :] for name in WEIGHTS)
        moved = x + self._strength * offset
        centred = moved - moved.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
        calibrated = gain * normed + bias
        if not self._restore:
            return calibrated
        mean = x.mean(-1, keepdim=True)
        spread = ((x - mean).square().mean(-1, keepdim=True) + EPS).sqrt()
        return mean + spread * calibrated


def adapt_repcali(base: Base, settings: RepCali) -> Adapted:
    """Put the calibration on ``base``, in which nothing has to be replaced."""
    depth = base.depth if settings.layer is None else settings.layer
    if depth > base.depth:
        raise InputError(
            f"adapter.layer = {settings.layer}: the base has {base.depth} layers; "
            f"set 1 to {base.depth}"
        )
    calibration = Calibration(base.hidden, settings).to(base.dtype)
    named = tuple(calibration.named_parameters())
    values = {name: p.detach().double().numpy().copy() for name, p in named}

    def residual(hidden: Tensor, mask: Tensor, _: Tensor | None) -> Tensor:
        return upper(base, calibration(hidden), mask, depth)

    def output(hidden: Tensor, mask: Tensor, _: Tensor | None) -> Tensor:
        out: Tensor = calibration(upper(base, hidden, mask, depth))
        return out

    def untouched(hidden: Tensor, mask: Tensor, _: Tensor | None) -> Tensor:
        return upper(base, hidden, mask, depth)

    def pooled(rows: Tensor) -> Tensor:
        out: Tensor = calibration(rows[:, None, :])
        return out[:, 0]

    ways = {"residual": residual, "output": output, "head": untouched}
    return Adapted(
        base=base,
        module=calibration,
        parameters=named,
        start=values,
        depth=depth,
        top=ways[settings.place],
        pooled=pooled if settings.place == "head" else lambda rows: rows,
    )
