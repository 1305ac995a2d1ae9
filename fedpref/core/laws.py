"""Integer laws of given variance as tables, drawn from by exact inversion.

Guarantees: a draw has the law that the page names to within ``DISTANCE`` in total
variation, for every variance from 1 to ``MOST_VARIANCE``; the law of a table is exactly
symmetric. Weights are integers in fixed point, thresholds have 128 bits, and a draw
compares as many bits as it takes. Draws are determined by the key.

Does not give: constant time. Table look-ups and the number of refined draws depend on
the noise that is drawn, though never on data. Nor exact laws: see ``DISTANCE``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import asinh, hypot, log

import numpy as np
from numpy.typing import NDArray

from fedpref.core.entropy import uniform_words
from fedpref.core.types import Integer

MOST_VARIANCE = 2**24
DISTANCE = 2.0**-110

Words = NDArray[np.uint64]

_TAIL_BITS = 160  # weights end where less than 2**-160 of the mass lies beyond
_POINT = 256  # bits behind the point of a weight
_BITS = 128  # of a threshold
_HEAD = 16  # bits that the first look-up reads
_UNDECIDED = np.iinfo(np.int32).min


@dataclass(frozen=True, repr=False, eq=False)
class Table:
    """A symmetric integer law by inversion.

    A draw is the number of thresholds that are at most v, less their middle, for v
    uniform below 2**128. ``high`` and ``low`` are the halves of the thresholds, in
    order; ``guide`` has the draw for each head of v, or ``_UNDECIDED`` where later bits
    matter.
    """

    high: Words
    low: Words
    guide: NDArray[np.int32]

    @property
    def largest(self) -> int:
        """The largest draw; the smallest is its negative."""
        return len(self.high) // 2

    def thresholds(self) -> list[int]:
        """The thresholds, below 2**128."""
        return [
            int(high) << 64 | int(low)
            for high, low in zip(self.high, self.low, strict=True)
        ]


@lru_cache(maxsize=4)
def skellam_table(variance: int) -> Table:
    """The difference of two Poisson numbers of mean variance / 2 each.

    Weights are proportional to exp(-v) I_x(v), v the variance, by Miller's backward
    recurrence I_{x-1} = I_{x+1} + (2 x / v) I_x (Abramowitz and Stegun 1964, 9.6.26).

    Args:
        variance: In squared steps, 1 to ``MOST_VARIANCE``.

    Raises:
        ValueError: The variance is out of range.

    >>> skellam_table(4).largest
    40
    """
    _check(variance)
    last = _first_beyond(
        # Chernoff: -ln P(X >= x) is at least x asinh(x/v) - sqrt(x**2 + v**2) + v.
        lambda x: x * asinh(x / variance) - x * x / (hypot(x, variance) + variance)
    )
    weights = [0] * (last + 2)
    weights[last] = 1 << _POINT
    for x in range(last, 0, -1):
        weights[x - 1] = weights[x + 1] + 2 * x * weights[x] // variance
    return _table(weights[: last + 1])


@lru_cache(maxsize=4)
def gaussian_table(variance: int) -> Table:
    """The discrete Gaussian: weights exp(-x**2 / (2 variance)) on the integers.

    Its own variance is at most that parameter (Canonne, Kamath and Steinke 2020).

    Args:
        variance: The parameter, in squared steps, 1 to ``MOST_VARIANCE``.

    Raises:
        ValueError: It is out of range.
    """
    _check(variance)
    last = _first_beyond(lambda x: x * x / (2 * variance))
    ratio = _exp_minus_inverse(2 * variance)  # exp(-(2 x + 1) / (2 v)), x = 0
    square = ratio * ratio >> _POINT
    weights = [1 << _POINT]
    for _ in range(last):
        weights.append(weights[-1] * ratio >> _POINT)
        ratio = ratio * square >> _POINT
    return _table(weights)


def draw(table: Table, count: int, *, key: bytes) -> Integer:
    """Independent draws from a table, int64 ``[count]``.

    Args:
        table: The law.
        count: Number of draws.
        key: 32 bytes, used for these draws only.

    Returns:
        Draws that depend on table, count and key alone.
    """
    words = uniform_words(-(-count * _HEAD // 64), key=key)
    heads = words.view(np.uint16)[:count]
    drawn = table.guide[heads].astype(np.int64)
    (open_ones,) = np.nonzero(drawn == _UNDECIDED)
    drawn[open_ones] = _refined(table, heads[open_ones], key)
    return drawn


def _refined(table: Table, heads: NDArray[np.uint16], key: bytes) -> Integer:
    """Draws whose first 16 bits do not decide: 48 more, and 64 more on a tie."""
    rest = uniform_words(len(heads), key=key, lane=1)
    top = heads.astype(np.uint64) << np.uint64(48) | rest >> np.uint64(16)
    found = np.searchsorted(table.high, top, side="right")
    (ties,) = np.nonzero((found > 0) & (table.high[found - 1] == top))
    for tie, bits in zip(ties, uniform_words(len(ties), key=key, lane=2), strict=True):
        # All thresholds with these top bits: the lower halves are in order among them.
        first = np.searchsorted(table.high, top[tie], side="left")
        lower = table.low[first : found[tie]]
        found[tie] = first + np.searchsorted(lower, bits, side="right")
    return found.astype(np.int64) - table.largest


def _table(weights: list[int]) -> Table:
    """Thresholds of the symmetric law with these weights at 0, 1, 2, ..."""
    total = weights[0] + 2 * sum(weights[1:])
    below, sums = [], 0
    for weight in reversed(weights[1:]):
        sums += weight
        below.append((sums << _BITS) // total)
    # A threshold of zero is passed by every v, and its mirror image by none.
    below = [threshold for threshold in below if threshold > 0]
    above = [(1 << _BITS) - threshold for threshold in reversed(below)]
    packed = b"".join(t.to_bytes(_BITS // 8, "little") for t in below + above)
    low, high = np.frombuffer(packed, "<u8").astype(np.uint64).reshape(-1, 2).T.copy()
    guide = _guide(high, low, len(below))
    for array in (high, low, guide):
        array.flags.writeable = False  # every later draw of this law reads them
    return Table(high, low, guide)


def _guide(high: Words, low: Words, largest: int) -> NDArray[np.int32]:
    """What each head of v leads to, if it leads to one draw only."""
    heads = np.arange(2**_HEAD)
    whole = (high >> np.uint64(64 - _HEAD)).astype(np.int64)
    more = (high << np.uint64(_HEAD) != 0) | (low != 0)
    fewest = np.searchsorted(whole + more, heads, side="right")  # at the head's least v
    most = np.searchsorted(whole, heads, side="right")  # at its largest
    return np.where(fewest == most, fewest - largest, _UNDECIDED).astype(np.int32)


def _first_beyond(exponent: Callable[[int], float]) -> int:
    """Least x at which a tail bound exp(-exponent(x)) is below 2**-_TAIL_BITS."""
    wanted = _TAIL_BITS * log(2) * (1 + 1e-9)
    low, high = 0, 2**17
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if exponent(middle) >= wanted else (middle, high)
    return high


def _exp_minus_inverse(number: int) -> int:
    """exp(-1 / number) in fixed point, by its series."""
    term, total, order = 1 << _POINT, 0, 0
    while term:
        total += term if order % 2 == 0 else -term
        order += 1
        term //= order * number
    return total


def _check(variance: int) -> None:
    if not 1 <= variance <= MOST_VARIANCE:
        raise ValueError(
            f"variance = {variance}, must lie between 1 and {MOST_VARIANCE} squared "
            "steps; take a coarser grid"
        )
