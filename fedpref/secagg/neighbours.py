"""Who shares with whom, and how many shares open a secret.

On the complete graph every device shares with every other one. Above its limit each
device draws some outgoing neighbours itself, and the graph is the union of directions.

Guarantees: thresholds that leave no two survivor lists with enough holders each
(complete graph); neighbours that the server has no part in choosing. Does not give: a
proof for the drawn graph, where colluders could choose whom they draw. No epsilon
against the server is claimed on it.
"""

from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from fedpref.core.entropy import uniform_words
from fedpref.core.types import Float, Integer
from fedpref.errors import PlanError

MOST_COMPLETE = 300  # clients on the complete graph by default
MOST_ON_REQUEST = 3_000  # clients on the complete graph on request
_MOST_DRAWN = MOST_ON_REQUEST // 2  # about as many again draw the device
_SECRECY, _CORRECTNESS = 2.0**-40, 2.0**-30
_RARE = 1e-25  # summands below it are bounded, not summed


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
def drawn(clients: int, colluders: int, dropouts: int) -> tuple[int, int]:
    """Outgoing neighbours h and threshold t where devices draw their own, the least h.

    Each client draws h of the others; its neighbours are those and whoever drew it, so
    ``h + binom(n - 1 - h, h / (n - 1))`` of them. Exact tails and union bounds over all
    clients; *holders* are the client and its neighbours:

    * secrecy: some client has ``holders + colluding holders >= 2 t``, enough for two
      survivor lists with t holders each, with probability at most 2**-40;
    * correctness: some client has fewer than t holders left when ``dropouts`` clients
      are gone, or refuses its ``2 t`` or more holders, with probability at most 2**-30;
    * connectivity: honest clients that stay fall into parts that share nothing, with
      probability at most 2**-40;
    * terms: ``t > h`` and ``t > colluders``, as every descriptor must have them.

    Own calculation, not a proof; no epsilon against the server is claimed. It takes
    colluders to draw as everybody does, and neither them nor the dropouts to be chosen
    by somebody who has seen the graph.

    Args:
        clients: Size n of the cohort.
        colluders: Bad identities allowed for.
        dropouts: Clients that may be lost in the round.

    Returns:
        ``(h, t)``.

    Raises:
        PlanError: No h below ``n - 1`` and 1,500 does.

    >>> drawn(200, 20, 20)
    (101, 104)
    """
    if min(colluders, dropouts) < 0 or colluders + dropouts >= clients:
        raise PlanError(
            f"colluders + dropouts = {colluders} + {dropouts}, must be < clients = "
            f"{clients}"
        )
    for h in range(1, min(clients - 1, _MOST_DRAWN + 1)):
        t = _drawn_threshold(clients, colluders, dropouts, h)
        if t and _split(clients, clients - colluders - dropouts, h) <= _SECRECY:
            return h, t
    raise PlanError(
        f"clients = {clients}, colluders = {colluders}, dropouts = {dropouts}: no "
        f"graph of drawn neighbours holds, up to {_MOST_DRAWN} each; take the complete "
        f"graph (up to {MOST_ON_REQUEST:,} people on request), or allow for fewer"
    )


def draw_neighbours(
    me: int, cohort: Sequence[int], count: int, *, key: bytes
) -> tuple[int, ...]:
    """The devices that ``me`` chooses to share with: uniform, without replacement.

    A graph that follows from public numbers would let a server surround a victim.

    Args:
        me: The device's own number.
        cohort: Distinct numbers, ``me`` among them or not.
        count: How many to draw, h.
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


def _drawn_threshold(clients: int, colluders: int, dropouts: int, h: int) -> int:
    """Least t that keeps secrecy, correctness and terms of :func:`drawn`, or 0.

    Secrecy asks for a high t, correctness for a low one. Whoever refuses for too many
    holders breaks secrecy's bound as well: its chance is in ``_SECRECY``.
    """

    def fails(t: int) -> bool:
        stay = clients - dropouts
        lost = stay * _short(clients, dropouts, h, t - 1)  # holds a share of its own
        if dropouts:
            lost += dropouts * _short(clients, dropouts - 1, h, t)
        return lost > _CORRECTNESS - _SECRECY

    def hides(t: int) -> bool:
        return clients * _surplus(clients, colluders, h, 2 * t - 1) <= _SECRECY

    least = max(h, colluders) + 1
    if fails(least):
        return 0
    end = least + bisect_left(range(least, clients + 1), True, key=fails)
    if not hides(end - 1):
        return 0
    return least + bisect_left(range(least, end - 1), True, key=hides)


def _short(clients: int, gone: int, h: int, least: int) -> float:
    """P[fewer than ``least`` neighbours left], ``gone`` of n - 1 others being gone.

    Whom the client draws is hypergeometric. Each other one that is left draws it by a
    coin of its own.
    """
    from scipy.stats import binom  # slow to import; few plans need it

    left = clients - 1 - gone
    out = np.arange(min(h, left) + 1)
    came = binom.cdf(least - 1 - out, left - out, h / (clients - 1))
    return float(_drawn_of(left, clients - 1, h, out) @ came)


def _surplus(clients: int, colluders: int, h: int, least: int) -> float:
    """P[neighbours + colluding neighbours >= ``least``] of an honest client.

    Over the colluders it draws and those who draw it; what is too rare is bounded.
    """
    from scipy.stats import binom

    others, rate = clients - 1, h / (clients - 1)
    honest = others - colluders
    out = np.arange(max(0, h - honest), min(h, colluders) + 1)
    drew = np.arange(colluders + 1)
    out = out[_drawn_of(colluders, others, h, out) > _RARE]
    drew = drew[binom.pmf(drew, colluders, rate) > _RARE]
    chance = _drawn_of(colluders, others, h, out)
    bad, more = out[:, None], drew[None, :]
    more_chance = binom.pmf(more, colluders - bad, rate)
    needed = least - h - bad - 2 * more  # of honest ones who draw it
    tail = more_chance * binom.sf(needed - 1, honest - h + bad, rate)
    return float(chance @ np.sum(tail, axis=1)) + _RARE * (h + colluders + 2)


def _drawn_of(marked: int, others: int, h: int, out: Integer) -> Float:
    """P[``out`` of h drawn are marked]: hypergeometric; scipy's own is far slower."""
    from scipy.special import gammaln

    def ways(total: int, chosen: Integer) -> Float:
        found = gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1)
        return np.where((chosen >= 0) & (chosen <= total), found, -np.inf)

    every = ways(others, np.array(h))
    return np.exp(ways(marked, out) + ways(others - marked, h - out) - every)


def _split(clients: int, stay: int, h: int) -> float:
    """Bound on P[some of ``stay`` clients have no edge to the others of them].

    Over all sets of up to half of them: nobody inside draws anybody outside, nor the
    other way round.
    """
    from scipy.special import gammaln

    def none_of(targets: Float) -> Float:  # log P[h draws miss all targets]
        room = clients - 1 - targets
        missed = gammaln(room + 1) - gammaln(np.maximum(room - h, 0) + 1)
        every = gammaln(clients) - gammaln(clients - h)
        return np.where(room >= h, missed - every, -np.inf)

    size = np.arange(1, stay // 2 + 1, dtype=np.float64)
    rest = stay - size
    sets = gammaln(stay + 1) - gammaln(size + 1) - gammaln(rest + 1)
    terms = sets + size * none_of(rest) + rest * none_of(size)
    return float(np.exp(terms).sum())
