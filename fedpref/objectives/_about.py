"""What an objective says about itself, next to its loss.

Guarantees: plain frozen values without torch. ``bound`` is an expression in the
objective's own keyword arguments, so that the page which shows it and the test which
holds gradients against it read the same words.

Does not give: the bound itself. That is tests/contracts/test_objectives.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite


class Takes(StrEnum):
    """The records that an objective learns from."""

    CHOICE = "choice"  # one of two or more options
    PAIR = "pair"  # one of exactly two
    THUMB = "thumb"  # one text, up or down
    LABELS = "labels"  # two options and a winner for each of several objectives


class Trains(StrEnum):
    """What it trains: a model that scores texts, or one that writes them."""

    REWARD = "reward"
    POLICY = "policy"


class Coupling(StrEnum):
    """On what, besides its own record, the loss of a record depends."""

    NONE = "none"
    USER = "user"  # on the other records of the same person
    RELEASED = "released"  # on what the round before has released
    BATCH = "batch"  # on everybody's: no bound on one person's effect


@dataclass(frozen=True)
class Range:
    """The values that a keyword argument may take, all of them finite."""

    words: str
    holds: Callable[[float], bool]

    def __contains__(self, value: float) -> bool:
        return isfinite(value) and self.holds(value)


ANY = Range("between -1e6 and 1e6", lambda x: abs(x) <= 1e6)
NOT_NEGATIVE = Range("0 or more", lambda x: x >= 0)
POSITIVE = Range("above 0", lambda x: x > 0)
EXPONENT = Range("50 or less", lambda x: x <= 50)  # e^x stays far from overflow
DISTANCE = Range("1e-6 or more", lambda x: x >= 1e-6)  # from a pole, of a clamp
SHARE = Range("above 0 and below 1", lambda x: 0 < x < 1)
BELOW_HALF = Range("0 or more and below 0.5", lambda x: 0 <= x < 0.5)


@dataclass(frozen=True)
class About:
    """One objective in words.

    Attributes:
        takes: the records it learns from.
        trains: a reward model or a policy.
        source: a short citation, or "reconstruction of ...".
        ranges: what each keyword argument may be; it names all of them.
        bound: largest absolute derivative of a record's loss with respect to one
            reward or one log-probability, for two options and weight 1, as an
            expression in the keyword arguments. Of one that couples a user's records,
            the derivative of their sum. Empty where there is none.
        coupling: on what else the loss of a record depends.
        safe: objectives for the same purpose where this one is refused.
        pairs: whether a record is read together with another one of its person, so
            that one record has no effect of its own, whatever the coupling.
    """

    takes: Takes
    trains: Trains
    source: str
    ranges: Mapping[str, Range] = field(default_factory=dict)
    bound: str = ""
    coupling: Coupling = Coupling.NONE
    safe: tuple[str, ...] = ()
    pairs: bool = False

    @property
    def bounded(self) -> bool:
        """Whether the derivatives of a record's loss have a bound."""
        return bool(self.bound)

    @property
    def private(self) -> str:
        """Where it may be used with noise: ``any unit``, ``unit = user`` or ``no``."""
        if self.coupling is Coupling.BATCH:
            return "no"
        own = self.pairs or self.coupling is Coupling.USER
        return "unit = user" if own else "any unit"
