"""Values of items and the gradient of each, in one forward and one backward.

Guarantees: row t is the gradient of item t's value (a score, a log-probability) with
respect to the vector, and depends on that item and the vector alone; sums are float64.

Does not: hide how long a unit's texts are from whoever can time the device.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.models.items import AnyItem
from fedpref.models.tape import complete, recording
from fedpref.models.trained import Trained

Jacobian = Callable[[Sequence[AnyItem]], tuple[Float, Float]]


def jacobian(model: Trained, items: Sequence[AnyItem]) -> tuple[Float, Float]:
    """Values ``[T]`` and their gradients with respect to the vector, ``[T, size]``.

    One forward and one backward of the summed values (per batch of similar length,
    where there are many items): a value depends on its own item alone, so the gradient
    that the tape records for a row is that of the row's value.
    """
    fixed = model.fixed(items)
    if fixed is not None:
        return fixed
    assert model.adapted is not None
    weights = [parameter for _, parameter in model.trainable]
    out = np.empty((len(items), model.layout.size))
    values = np.empty(len(items))
    for batch in model.batches(items):
        count = len(batch.positions)
        with recording(model.adapted.module, model.trainable, count) as tape:
            found = model.valued(batch)
            # The tape keeps what the backward of each layer sees; the summed gradients
            # that autograd itself would return are not even formed.
            torch.autograd.grad(found.values.sum(), weights, allow_unused=True)
        complete(tape, model.trainable)
        known = {**found.rows, **tape.gradients}
        for block, part in model.layout.parts():
            rows = known[block.name].reshape(count, -1).numpy()
            out[batch.positions, part] = rows.astype(np.float64) * block.scale
        values[batch.positions] = found.values.detach().numpy()
    return values, out


def own_jacobian(model: Trained) -> Jacobian:
    """:func:`jacobian` of ``model``: what a device computes for its own texts."""
    return lambda items: jacobian(model, items)


class SharedJacobian:
    """Rows of J for many simulated clients who answer about the same public texts.

    J depends on the vector and the public catalogue alone, so it is computed once for
    each vector that the model is set to, and a client's rows are looked up: what the
    client would have computed itself, to rounding. In a deployment each device
    computes its own rows.

    Args:
        model: its vector is read at every call.
        texts: the public catalogue.
    """

    def __init__(self, model: Trained, texts: Sequence[AnyItem]) -> None:
        self._model = model
        self._texts = tuple(dict.fromkeys(texts))
        self._place = {text: i for i, text in enumerate(self._texts)}
        self._at: bytes | None = None

    def __call__(self, texts: Sequence[AnyItem]) -> tuple[Float, Float]:
        """Values and rows of ``texts``, in their order.

        Raises:
            InputError: a text is not in the catalogue.
        """
        at = self._model.vector.tobytes()
        if at != self._at:
            self._values, self._rows = jacobian(self._model, self._texts)
            self._at = at
        outside = sum(text not in self._place for text in texts)
        if outside:
            raise InputError(
                f"texts outside the public catalogue = {outside}, must be 0: give the "
                "whole catalogue, or let each client compute its own rows"
            )
        places = [self._place[text] for text in texts]
        return self._values[places], self._rows[places]
