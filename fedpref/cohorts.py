"""How many people are in a round, how many must stay, how many may be bad.

Guarantees: every count is on the safe side of the share that it comes from, in exact
decimals; the threshold of the secure sum is one that the protocol stands on for every
cohort that a round accepts; a secret draw of people is credited only where the size of
the cohort cannot give it away.

Does not give: proof that people are who they say; C bad identities are an assumption.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from fedpref.errors import PlanError
from fedpref.secagg.neighbours import (
    MOST_ON_REQUEST,
    drawn,
    least_threshold,
    threshold,
)

DROPOUTS = Fraction(1, 10)
"""Of the people whom a server draws, at most so many fail to answer (an assumption)."""

_REVEALED = 2.0**-64  # chance that a cohort's size gives a person's coin away


@dataclass(frozen=True)
class Cohort:
    """The counts of one plan.

    Attributes:
        people: Expected in a round, n.
        largest: Most people with whom a round is held; more than n only where people
            are drawn.
        colluders: Bad identities allowed for among ``largest``, C.
        min_survivors: Fewest contributions with which a round is released, n_min.
        threshold: Shares that open a secret, t; 0 without a secure sum.
        neighbours: Outgoing neighbours that a device draws; 0 on the complete graph.
    """

    people: int
    largest: int
    colluders: int
    min_survivors: int
    threshold: int
    neighbours: int

    @property
    def contributors(self) -> int:
        """Survivors whose shares of noise count, at least."""
        return self.min_survivors - self.colluders


def share_of(share: float | Fraction, people: int) -> int:
    """A share of ``people``, rounded up from its shortest decimal.

    >>> share_of(0.7, 10), share_of(0.1, 293)  # in floats 0.7 of 10 may become 8
    (7, 30)
    """
    return ceil(exact(share) * people)


def exact(share: float | Fraction) -> Fraction:
    """The decimal that was written, not the float next to it."""
    return share if isinstance(share, Fraction) else Fraction(repr(float(share)))


def central(
    people: int, colluders: float | Fraction, min_survivors: float | Fraction
) -> Cohort:
    """Counts where one aggregator adds all noise: there is no threshold."""
    bad, least = share_of(colluders, people), share_of(min_survivors, people)
    return Cohort(people, people, bad, least, 0, 0)


def secure(
    people: int,
    colluders: float | Fraction,
    min_survivors: float | Fraction,
    *,
    drawn_from: int | None,
    complete: bool,
) -> Cohort:
    """Counts under the secure sum: ``n_min >= t``, ``2 t > n + C``, ``t > C``.

    Args:
        people: Expected in a round, n.
        colluders: Share of a cohort that may be bad.
        min_survivors: Share of n with which a round is still released.
        drawn_from: People enrolled, where a cohort is drawn from them by coins; its
            size then varies up to the largest for which a threshold exists.
        complete: Whether everybody shares with everybody. Otherwise neighbours are
            drawn, and nothing is claimed against the server.

    Raises:
        PlanError: No threshold is legal, with the nearest plan that works.

    >>> secure(100, 0.1, 0.9, drawn_from=None, complete=True).threshold
    67
    """
    least = share_of(min_survivors, people)
    largest = people
    if drawn_from is not None:
        sizes = floor(2 * least / (1 + exact(colluders)))
        most = MOST_ON_REQUEST if complete else drawn_from
        largest = max(people, min(drawn_from, sizes, most))
        while largest > people and not _legal(largest, colluders, least):
            largest -= 1
    bad = share_of(colluders, largest)
    if least <= bad:
        raise PlanError(
            f"min_survivors = {least} people with colluders = {bad}: no honest share "
            f"of noise is sure to be in a sum; {_nearest(people, colluders, least)}"
        )
    if not complete:
        neighbours, wanted = drawn(largest, bad, largest - min(least, largest))
        return Cohort(people, largest, bad, least, wanted, neighbours)
    if not _legal(largest, colluders, least):
        raise PlanError(
            f"min_survivors = {least} of {people} people with colluders = {bad}: the "
            f"threshold must be >= {_least(people, bad)}, so that many may be missing "
            f"when secrets are opened; {_nearest(people, colluders, least)}"
        )
    wanted = max(threshold(largest, bad), bad + 1)
    return Cohort(people, largest, bad, least, min(wanted, least), 0)


def draw_is_secret(
    enrolled: int, expected: int, min_survivors: int, largest: int
) -> bool:
    """Whether an accepted cohort hides who was drawn, but for a chance of 2**-64.

    A round is held only with enough people. Where one more or less decides that, the
    round itself tells an outsider whether somebody was drawn (its guarantee page:
    plan). So the chance of such a cohort, ``DROPOUTS`` included, must be nothing.

    Args:
        enrolled: People from whom the server draws.
        expected: Mean size of a cohort.
        min_survivors: Fewest answers of a round that is released.
        largest: Most people with whom a round is held.

    >>> draw_is_secret(1000, 100, 95, 1000), draw_is_secret(100_000, 2000, 1200, 2160)
    (False, True)
    """
    from scipy.stats import binom

    rate = expected / enrolled
    answers = rate * (1 - float(DROPOUTS))
    accepted = binom.cdf(largest, enrolled, rate) - binom.cdf(
        min_survivors - 1, enrolled, answers
    )
    edge = binom.cdf(min_survivors - 1, enrolled - 1, answers)
    return bool(accepted > 0.5 and edge / accepted <= _REVEALED)


def _least(people: int, bad: int) -> int:
    return max(least_threshold(people, bad), bad + 1)


def _legal(people: int, colluders: float | Fraction, least: int) -> bool:
    return _least(people, share_of(colluders, people)) <= least


def _nearest(people: int, colluders: float | Fraction, least: int) -> str:
    """The plans closest to one that was refused, each with one setting changed."""
    found = [*_changes(people, colluders, least)]
    last = f"colluders = 0 with min_survivors = {ceil(50 + 100 / people) / 100:g}"
    return "nearest plans that work: " + ", or ".join(found or [last])


def _changes(people: int, colluders: float | Fraction, least: int) -> Iterator[str]:
    needed = _least(people, share_of(colluders, people))
    if needed <= people:
        yield f"min_survivors = {ceil(100 * Fraction(needed, people)) / 100:g}"
    for hundredth in range(floor(100 * exact(colluders)), -1, -1):
        if _legal(people, hundredth / 100, least):
            yield f"colluders = {hundredth / 100:g}"
            return
