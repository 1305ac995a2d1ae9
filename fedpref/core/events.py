"""What was released, as exact values; what it costs is derived elsewhere.

An event records integers and fractions only, so that anybody can recompute its price.
Guarantees: an event that makes no sense cannot be made; its JSON form is exact, and
nothing but that form is read back. Does not give: a price, or proof that the release
was made as described.

An event is never changed in meaning; a new mechanism gets a new class.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from math import inf, isqrt, log, log1p, nextafter, sqrt
from typing import Any

from fedpref.core.types import Relation, Unit
from fedpref.errors import UnsupportedEvent

_LONGEST_BITS = 4096
_LARGEST_RATIO = 2**128


@dataclass(frozen=True)
class GaussianSum:
    """One release of a sum with (rounded) Gaussian noise.

    ``sensitivity_squared`` and ``variance`` are in squared grid steps.
    """

    unit: Unit
    relation: Relation
    sensitivity_squared: int
    variance: Fraction
    coordinates: int

    def __post_init__(self) -> None:
        _refuse(self, [*_sum_problems(self), *_noise_problems(self)])

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation over sensitivity, rounded towards less noise."""
        return _multiplier(self.variance, self.sensitivity_squared)


@dataclass(frozen=True)
class PoissonGaussianSum:
    """A Gaussian sum in which each unit takes part by a secret coin of its own.

    ``sampling_prob`` is the chance that a unit's contribution is in the sum; it is zero
    otherwise. The coins are fresh, independent and unknown to the adversary.
    """

    unit: Unit
    relation: Relation
    sampling_prob: Fraction
    sensitivity_squared: int
    variance: Fraction
    coordinates: int

    def __post_init__(self) -> None:
        problems = [*_sum_problems(self), *_noise_problems(self)]
        _refuse(self, [*problems, *_sampling_problems(self)])

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation over sensitivity, rounded towards less noise."""
        return _multiplier(self.variance, self.sensitivity_squared)

    @property
    def sampling_rate(self) -> float:
        """``sampling_prob``, rounded towards taking part more often."""
        return _rounded_up(self.sampling_prob)


@dataclass(frozen=True)
class SkellamSum:
    """One release of an integer sum with Skellam noise, added in shares by devices.

    ``sensitivity_squared`` is floor(D2**2) and ``sensitivity_l1`` D1: bounds on the
    squared Euclidean norm and on the sum of absolute values of one unit's integer
    vector. ``variance`` is that of the shares of the least allowed contributors
    together: survivors without the colluders. All in grid steps.
    """

    unit: Unit
    relation: Relation
    sensitivity_squared: int
    sensitivity_l1: int
    variance: Fraction
    coordinates: int

    def __post_init__(self) -> None:
        _refuse(self, [*_sum_problems(self), *_skellam_problems(self)])


@dataclass(frozen=True)
class PoissonSkellamSum:
    """A Skellam sum in which each unit takes part by a secret coin of its own.

    ``sampling_prob`` as for :class:`PoissonGaussianSum`. A unit whose coin says no
    contributes the exact zero vector; the noise shares are there all the same.
    """

    unit: Unit
    relation: Relation
    sampling_prob: Fraction
    sensitivity_squared: int
    sensitivity_l1: int
    variance: Fraction
    coordinates: int

    def __post_init__(self) -> None:
        problems = [*_sum_problems(self), *_skellam_problems(self)]
        _refuse(self, [*problems, *_sampling_problems(self)])

    @property
    def sampling_rate(self) -> float:
        """``sampling_prob``, rounded towards taking part more often."""
        return _rounded_up(self.sampling_prob)


@dataclass(frozen=True)
class RandomisedResponse:
    """One answer among ``options``, kept with probability ``keep``.

    Otherwise one of the other options is reported, each with the same probability.
    """

    unit: Unit
    relation: Relation
    options: int
    keep: Fraction

    def __post_init__(self) -> None:
        problems = []
        if (self.unit, self.relation) != (Unit.LABEL, Relation.REPLACE_LABEL):
            problems.append("unit and relation must be label and replace-label")
        if type(self.options) is not int or not 2 <= self.options < 2**31:
            problems.append(f"options = {_shown(self.options)}, must be >= 2")
        elif type(self.keep) is not Fraction or not (
            Fraction(1, self.options) <= self.keep < 1
        ):
            problems.append(
                f"keep = {_shown(self.keep)}, must be a Fraction in [1/options, 1)"
            )
        _refuse(self, problems)

    @property
    def uniform(self) -> float:
        """Chance that the answer is replaced by a uniform one of all, rounded down."""
        exact = (1 - self.keep) * self.options / (self.options - 1)
        near = float(exact)
        return near if Fraction(near) <= exact else nextafter(near, 0)

    @property
    def epsilon(self) -> float:
        """ln(keep (options - 1) / (1 - keep)), rounded up; it holds at delta 0.

        Warner (1965); for more options than two Kairouz, Bonawitz and Ramage (2016).

        >>> three = Fraction(3, 5)  # keep 3/5, each of two others 1/5: ln 3
        >>> one = RandomisedResponse(Unit.LABEL, Relation.REPLACE_LABEL, 3, three)
        >>> round(one.epsilon, 6)
        1.098612
        """
        odds = self.keep * (self.options - 1) / (1 - self.keep)
        if odds < 2:
            return log1p(float(odds - 1)) * (1 + 2.0**-50)
        above, below = log(odds.numerator), log(odds.denominator)
        return above - below + (above + below) * 2.0**-50


@dataclass(frozen=True)
class NonPrivate:
    """A release that carries no noise: its epsilon is infinite."""

    unit: Unit
    relation: Relation
    coordinates: int

    def __post_init__(self) -> None:
        _refuse(self, [*_sum_problems(self, any_unit=True)])


Event = (
    GaussianSum
    | PoissonGaussianSum
    | SkellamSum
    | PoissonSkellamSum
    | RandomisedResponse
    | NonPrivate
)

MECHANISMS: Mapping[str, type[Event]] = {
    "gaussian": GaussianSum,
    "poisson-gaussian": PoissonGaussianSum,
    "skellam": SkellamSum,
    "poisson-skellam": PoissonSkellamSum,
    "randomised-response": RandomisedResponse,
    "none": NonPrivate,
}
"""The name of each event in JSON."""


def to_json(event: Event) -> dict[str, Any]:
    """``event`` as JSON types; rationals are strings, exact.

    >>> to_json(NonPrivate(Unit.USER, Relation.ZERO_OUT, 16))["mechanism"]
    'none'
    """
    (name,) = (n for n, kind in MECHANISMS.items() if kind is type(event))
    content = {f.name: getattr(event, f.name) for f in fields(event)}
    return {"mechanism": name} | {
        key: value if key in _COUNTS else str(value) for key, value in content.items()
    }


def from_json(value: Mapping[str, Any]) -> Event:
    """The event in ``value``, which must be exactly what :func:`to_json` writes.

    Raises:
        UnsupportedEvent: An unknown mechanism, fields that are missing, unknown or of
            the wrong type, or an event that makes no sense.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("mechanism"), str):
        raise UnsupportedEvent("an event must be an object with a mechanism")
    name = value["mechanism"]
    if name not in MECHANISMS:
        raise UnsupportedEvent(
            f"mechanism = {name[:40]!r}: no bound is known; one of "
            f"{', '.join(MECHANISMS)}"
        )
    kind = MECHANISMS[name]
    wanted = {f.name for f in fields(kind)}
    if set(value) != wanted | {"mechanism"}:
        raise UnsupportedEvent(f"mechanism = {name}: must have {', '.join(wanted)}")
    try:
        event = kind(**{key: _READERS[key](value[key]) for key in wanted})
    except (TypeError, ValueError) as error:
        raise UnsupportedEvent(f"mechanism = {name}: a field is malformed") from error
    if to_json(event) != dict(value):
        raise UnsupportedEvent(f"mechanism = {name}: a number is not in lowest terms")
    return event


_COUNTS = ("coordinates", "options")
_RATIONAL = re.compile(r"[1-9][0-9]*(/[1-9][0-9]*)?")


def _as_it_is(value: Any) -> Any:
    """The event itself refuses what is no integer."""
    return value


def _rational(value: Any) -> Fraction:
    """An exact fraction; no exponents, which would let a short text fill memory."""
    if not isinstance(value, str) or not _RATIONAL.fullmatch(value):
        raise ValueError
    return Fraction(value)


def _integer(value: Any) -> int:
    whole = _rational(value)
    if whole.denominator != 1:
        raise ValueError
    return whole.numerator


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "unit": Unit,
    "relation": Relation,
    "coordinates": _as_it_is,
    "options": _as_it_is,
    "sensitivity_squared": _integer,
    "sensitivity_l1": _integer,
    "variance": _rational,
    "sampling_prob": _rational,
    "keep": _rational,
}


def _multiplier(variance: Fraction, sensitivity_squared: int) -> float:
    return sqrt(variance / sensitivity_squared) * (1 - 2.0**-50)


def _rounded_up(exact: Fraction) -> float:
    near = float(exact)
    return near if Fraction(near) >= exact else nextafter(near, inf)


def _sum_problems(event: Any, *, any_unit: bool = False) -> Iterator[str]:
    unit, relation = event.unit, event.relation
    label = (unit is Unit.LABEL, relation is Relation.REPLACE_LABEL)
    if type(unit) is not Unit or type(relation) is not Relation:
        yield "unit and relation must be a Unit and a Relation"
    elif label[0] != label[1] or (label[0] and not any_unit):
        yield f"unit = {unit} with relation = {relation}"
    if type(event.coordinates) is not int or event.coordinates < 1:
        yield f"coordinates = {_shown(event.coordinates)}, must be >= 1"


def _noise_problems(event: Any) -> Iterator[str]:
    square, variance = event.sensitivity_squared, event.variance
    if type(square) is not int or square < 1:
        yield f"sensitivity_squared = {_shown(square)}, must be an integer >= 1"
    elif type(variance) is not Fraction or not (
        square <= variance * _LARGEST_RATIO and variance <= square * _LARGEST_RATIO
    ):
        yield (
            f"variance = {_shown(variance)}, must be a Fraction within a factor of "
            "2**128 of sensitivity_squared"
        )


def _skellam_problems(event: Any) -> Iterator[str]:
    square, most = event.sensitivity_squared, event.sensitivity_l1
    if problems := list(_noise_problems(event)):
        yield from problems
    elif event.variance < 1:
        yield f"variance = {_shown(event.variance)}, must be >= 1 squared step"
    # no integer vector has a smaller sum of absolute values than Euclidean norm
    elif type(most) is not int or most < isqrt(square):
        yield (
            f"sensitivity_l1 = {_shown(most)}, must be an integer >= "
            f"{_shown(isqrt(square))}, the root of sensitivity_squared"
        )


def _sampling_problems(event: Any) -> Iterator[str]:
    q = event.sampling_prob
    if type(q) is not Fraction or not 0 < q <= 1:
        yield f"sampling_prob = {_shown(q)}, must be a Fraction in (0, 1]"


def _refuse(event: Any, problems: list[str]) -> None:
    numbers = [getattr(event, f.name) for f in fields(event)]
    for number in numbers:
        if isinstance(number, int | Fraction):
            bits = max(number.numerator.bit_length(), number.denominator.bit_length())
            if bits > _LONGEST_BITS:
                problems.append(f"a number of {bits} bits, must be <= {_LONGEST_BITS}")
    if problems:
        name = type(event).__name__
        raise UnsupportedEvent(f"event = {name}: " + "; ".join(problems))


def _shown(value: Any) -> str:
    """Short enough for a message."""
    if not isinstance(value, int | float | Fraction):
        return type(value).__name__
    return str(value) if -1e12 < value < 1e12 else "a very large number"
