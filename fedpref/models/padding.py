"""Rows of different length as one rectangle, and rows of similar length together.

Guarantees: padding is on the right, after every real token; every row is in one batch.

Does not: hide how long rows are from whoever can time the device.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack rows of different length; the mask is True where a row has a token."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
    return nn.utils.rnn.pad_sequence(list(rows), batch_first=True), mask


def batches(lengths: Sequence[int], tokens: int = 16384) -> Iterator[list[int]]:
    """Positions of rows of similar length, at most ``tokens`` padded tokens a batch.

    >>> list(batches([5, 1, 4, 1], tokens=10))
    [[1, 3], [2, 0]]
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[position] > tokens:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
