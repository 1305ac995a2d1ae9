"""Who shares with whom, and how many shares open a secret.

On the complete graph every device shares with every other one. Above its limit each
device draws some outgoing neighbours itself, and the graph is the union of directions.

Guarantees: thresholds that leave no two survivor lists with enough holders each
(complete graph); neighbours that the server has no part in choosing. Does not give: a
proof for the drawn graph. No epsilon against the server is claimed on it.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

from fedpref.core.entropy import uniform_words
from fedpref.errors import PlanError

MOST_COMPLETE = 300  # clients on the complete graph by default
MOST_ON_REQUEST = 3_000  # clients on the complete graph on request
_SECRECY_BITS, _CORRECTNESS_BITS = 40, 30
_MOST_NEIGHBOURS = 400


def least_threshold(clients: int, colluders: int) -> int:
    """Least t with ``2 t > n + C``: no two survivor lists have t holders each.

    >>> least_threshold(100, 10)
    56
    """
    return (clients + colluders) // 2 + 1


def threshold(clients: int, colluders: int) -> int:
    """The default t: over two thirds of the devices, and no less than the least one.

    >>> threshold(100, 10), threshold(100, 50)
    (67, 76)
    """
    return max(2 * clients // 3 + 1, least_threshold(clients, colluders))


@lru_cache(maxsize=64)
def regular(clients: int, colluders: int, dropouts: int) -> tuple[int, int]:
    """Neighbours k and threshold t of a random k-regular graph, the least k that does.

    With tails of the hypergeometric law and union bounds over all clients:

    * secrecy: some client has ``2 t - k - 1`` or more colluding neighbours, enough for
      two survivor lists with t holders each, with probability at most 2**-40;
    * correctness: some client has fewer than t of its ``k + 1`` holders left when
      ``dropouts`` clients are gone, with probability at most 2**-30;
    * connectivity: ``binom(n, 2) q**k <= 2**-40`` with q the share of colluders and
      dropouts: two gaps of ``k / 2`` such nodes that cut the ring.

    Own calculation; not a proof for neighbours that clients draw themselves.

    Args:
        clients: Size n of the cohort.
        colluders: Bad identities allowed for.
        dropouts: Clients that may be lost in the round.

    Returns:
        ``(k, t)``; k is even, each client draws ``k / 2``.

    Raises:
        PlanError: No k below ``n - 1`` and 400 does.

    >>> regular(100, 10, 10)
    (30, 21)
    """
    if min(colluders, dropouts) < 0 or colluders + dropouts >= clients:
        raise PlanError(
            f"colluders + dropouts = {colluders} + {dropouts}, must be < clients = "
            f"{clients}"
        )
    for k in range(8, min(clients - 1, _MOST_NEIGHBOURS), 2):
        t = _regular_threshold(clients, colluders, k)
        if t <= k and _survives(clients, colluders, dropouts, k, t):
            return k, t
    raise PlanError(
        f"clients = {clients}, colluders = {colluders}, dropouts = {dropouts}: no "
        f"graph of fewer than {_MOST_NEIGHBOURS} neighbours holds; allow for fewer, "
        "or take the complete graph"
    )


def draw_neighbours(
    me: int, cohort: Sequence[int], count: int, *, key: bytes
) -> tuple[int, ...]:
    """The devices that ``me`` chooses to share with: uniform, without replacement.

    A graph that follows from public numbers would let a server surround a victim.

    Args:
        me: The device's own number.
        cohort: Distinct numbers, ``me`` among them or not.
        count: How many to draw, half of k.
        key: 32 bytes, used once.

    Returns:
        Their numbers, rising.

    Raises:
        PlanError: The cohort has fewer others than ``count``.

    >>> draw_neighbours(2, [1, 2, 3], 2, key=bytes(32))
    (1, 3)
    """
    others = [device for device in cohort if device != me]
    if not 0 <= count <= len(others):
        raise PlanError(
            f"neighbours = {count}, must be >= 0 and <= {len(others)} other devices"
        )
    tries = 2 * count
    while True:
        picks = _below(
            [len(others) - taken for taken in range(count)],
            uniform_words(tries, key=key).tolist(),
        )
        if len(picks) == count:
            break
        tries = 2 * tries + 1
    for place, pick in enumerate(picks):  # the first steps of a shuffle
        other = place + pick
        others[place], others[other] = others[other], others[place]
    return tuple(sorted(others[:count]))


def _below(bounds: Sequence[int], words: Sequence[int]) -> list[int]:
    """A uniform number below each bound, as far as the 64-bit words reach.

    A word at or above the last multiple of the bound is thrown away: no value is
    likelier than another.
    """
    found: list[int] = []
    for word in words:
        if len(found) == len(bounds):
            break
        bound = bounds[len(found)]
        if word < 2**64 // bound * bound:
            found.append(word % bound)
    return found


def _regular_threshold(clients: int, colluders: int, k: int) -> int:
    """Least t with ``n P[colluding neighbours >= 2 t - k - 1] <= 2**-40``."""
    bad = next(
        count
        for count in range(k + 2)
        if clients * _tail(clients, colluders, k, count) <= 2.0**-_SECRECY_BITS
    )
    return (k + 1 + bad + 1) // 2


def _survives(clients: int, colluders: int, dropouts: int, k: int, t: int) -> bool:
    """Correctness and connectivity, as in :func:`regular`."""
    short = clients * _tail(clients, dropouts, k, k + 2 - t)
    cut = math.comb(clients, 2) * ((colluders + dropouts) / clients) ** k
    return short <= 2.0**-_CORRECTNESS_BITS and cut <= 2.0**-_SECRECY_BITS


def _tail(clients: int, marked: int, k: int, least: int) -> float:
    """P[at least ``least`` of k neighbours are marked], of n - 1 possible ones."""
    from scipy.stats import (
        hypergeom,
    )  # slow to import, and the complete graph needs none

    return float(hypergeom.sf(least - 1, clients - 1, marked, k))
