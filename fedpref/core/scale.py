"""Choose the grid of distributed noise: how many steps in a clip, how large a share.

Guarantees: with the returned scale, the shares of the least allowed contributors have
together at least the planned noise multiplier, in exact arithmetic; and a sum of all
clients fits the words of the secure sum (``fits_modulus``). What cannot be met is
refused, with the nearest plans that can.

Does not give: the price of the noise (``fedpref.core.skellam``), or a sum that never
wraps whatever the noise; the page says how likely that is. A wrap costs accuracy only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, inf, isqrt, nextafter, sqrt

from fedpref.core.grid import largest_square
from fedpref.core.rotation import padded_size
from fedpref.errors import PlanError

WORD_BITS = (16, 24, 32)
_INFLATION = Fraction(501, 500)  # wish: rounding adds at most 0.2 % to the sensitivity
_CENTRAL = 4_000  # wish: standard deviation of the planned noise, in steps
_SHARE = 3_000  # bound: standard deviation of one share, in steps
_SPREADS = 8  # standard deviations of noise that the modulus leaves room for
_WORST_INFLATION = Fraction(5, 4)
_LEAST_CENTRAL = 50
_LEAST_SHARE = 4
_LEAST_CLIENTS = 3  # nobody plans a sum of fewer


@dataclass(frozen=True)
class Scale:
    """The public numbers of the grid and of a share, all in grid steps.

    Attributes:
        coordinates: Words in an upload: padded to a power of two if rotated.
        steps: Steps in a clip; the grid's step is the clip over this number.
        limit: Largest squared norm of a rounded unit.
        l1_limit: Largest sum of absolute values of a rounded unit.
        share_variance: Variance of one client's share of noise.
        variance: Variance of the shares of the least allowed contributors.
        active: What fixed ``steps``: "rounding" or "noise" (a wish was just met),
            "share" or "modulus" (a bound came first).
    """

    coordinates: int
    steps: int
    limit: int
    l1_limit: int
    share_variance: int
    variance: int
    active: str

    @property
    def inflation(self) -> float:
        """What rounding multiplies the sensitivity by, rounded up."""
        return nextafter(sqrt(Fraction(self.limit, self.steps**2)), inf)


@dataclass(frozen=True)
class _Ask:
    coordinates: int
    noise_multiplier: Fraction
    clients: int
    contributors: int
    units_per_client: int
    word_bits: int
    rotated: bool

    def __str__(self) -> str:
        multiplier = float(self.noise_multiplier)
        return (
            f"noise_multiplier = {multiplier:.4g}, clients = {self.clients}, "
            f"contributors = {self.contributors}, word_bits = {self.word_bits}"
        )


def choose_scale(
    *,
    coordinates: int,
    noise_multiplier: Fraction,
    clients: int,
    contributors: int,
    units_per_client: int,
    word_bits: int,
    rotated: bool,
) -> Scale:
    """The fewest steps in a clip that keep rounding and summing as good as central.

    Wishes: the sensitivity grows by at most 0.2 % and the planned noise is at least
    4,000 steps. Bounds, which win: a share is at most 3,000 steps and the sum fits.

    Args:
        coordinates: Length of the vector before padding.
        noise_multiplier: Least ratio of effective noise and sensitivity: that of
            sqrt(variance - 1/12) and sqrt(limit), so that accounting may use it.
        clients: Everybody who may add to one sum.
        contributors: Honest survivors whose noise counts, at least (>= 1).
        units_per_client: Most units that one client may add to one sum.
        word_bits: Size of a word of the secure sum: 16, 24 or 32.
        rotated: Whether vectors are spread by ``fedpref.core.rotation`` first.

    Raises:
        PlanError: An argument out of range, or no scale within the bounds that keeps
            inflation <= 25 %, planned noise >= 50 and a share >= 4 steps.

    >>> from fractions import Fraction
    >>> scale = choose_scale(
    ...     coordinates=6161, noise_multiplier=Fraction(2), clients=293,
    ...     contributors=234, units_per_client=1, word_bits=24, rotated=False,
    ... )
    >>> scale.steps, scale.share_variance, scale.active
    (2000, 68438, 'noise')
    """
    ask = _Ask(
        coordinates,
        noise_multiplier,
        clients,
        contributors,
        units_per_client,
        word_bits,
        rotated,
    )
    _check(ask)
    found = _solve(ask)
    if isinstance(found, Scale):
        return found
    raise PlanError(f"{ask}: {found}; {_nearest(ask)}")


def fits_modulus(
    scale: Scale, *, clients: int, units_per_client: int, word_bits: int, rotated: bool
) -> bool:
    """Whether a sum of all clients with their noise fits a word, in exact arithmetic.

    Not rotated: every unit at its largest in one coordinate, plus 8 standard deviations
    of all noise, stay below 2**(word_bits - 1). Rotated: 8 standard deviations of
    signal, rounding and noise together do (Kairouz, Liu and Steinke 2021).
    """
    largest = (1 << (word_bits - 1)) - 1
    units = clients * units_per_client
    noise = clients * scale.share_variance
    if rotated:
        # units^2 B^2 / d of signal, units / 4 of rounding, noise: all times 4 d.
        signal = (2 * units * scale.steps) ** 2
        spread = signal + scale.coordinates * (units + 4 * noise)
        return _SPREADS**2 * spread <= 4 * scale.coordinates * largest**2
    room = largest - units * isqrt(scale.limit)
    return room >= 0 and _SPREADS**2 * noise <= room**2


def _check(ask: _Ask) -> None:
    for name in ("coordinates", "noise_multiplier", "contributors", "units_per_client"):
        if not getattr(ask, name) > 0:
            raise PlanError(f"{name} = {getattr(ask, name)}, must be above 0")
    if ask.contributors > ask.clients:
        raise PlanError(
            f"contributors = {ask.contributors}, must be at most clients "
            f"({ask.clients}); lower min_survivors"
        )
    if ask.word_bits not in WORD_BITS:
        raise PlanError(f"word_bits = {ask.word_bits}, must be one of {WORD_BITS}")


def _solve(ask: _Ask) -> Scale | str:
    """The scale, or what is wrong with the best one."""
    first_broken, bound, weak = _limits(ask)
    if weak:
        return f"the {bound} bound leaves {first_broken - 1} steps in a clip, {weak}"
    fine = _first(lambda steps: _at(ask, steps).limit <= _INFLATION**2 * steps**2)
    loud = _first(lambda steps: _loud(_at(ask, steps)))
    steps = max(fine, loud)
    if steps < first_broken:
        active = "rounding" if fine > loud else "noise"
    else:
        steps, active = first_broken - 1, bound
    return replace(_at(ask, steps), active=active)


def _limits(ask: _Ask) -> tuple[int, str, str]:
    """The fewest steps that break a bound, which one, and why fewer are too few."""
    first = _first(lambda steps: bool(_broken(_at(ask, steps), ask)))
    bound = _broken(_at(ask, first), ask)
    weak = _weakness(_at(ask, first - 1)) if first > 1 else "not even one"
    return first, bound, weak


def _at(ask: _Ask, steps: int) -> Scale:
    """Everything that follows from the number of steps."""
    coordinates = padded_size(ask.coordinates) if ask.rotated else ask.coordinates
    limit = largest_square(steps, coordinates)
    # A rounded Gaussian of variance V is a Gaussian of variance V - 1/12 that was
    # rounded afterwards, so a twelfth of a squared step does not count.
    above, below = (ask.noise_multiplier**2).as_integer_ratio()
    share = -(-(12 * above * limit + below) // (12 * below * ask.contributors))
    l1_limit = min(isqrt(coordinates * limit), limit)
    variance = ask.contributors * share
    return Scale(coordinates, steps, limit, l1_limit, share, variance, "")


def _broken(scale: Scale, ask: _Ask) -> str:
    """The name of a bound that the scale breaks, or nothing."""
    if scale.share_variance > _SHARE**2:
        return "share"
    fits = fits_modulus(
        scale,
        clients=ask.clients,
        units_per_client=ask.units_per_client,
        word_bits=ask.word_bits,
        rotated=ask.rotated,
    )
    return "" if fits else "modulus"


def _loud(scale: Scale) -> bool:
    central, share = scale.variance, scale.share_variance
    return central >= _CENTRAL**2 and share >= _LEAST_SHARE**2


def _weakness(scale: Scale) -> str:
    if scale.limit > _WORST_INFLATION**2 * scale.steps**2:
        return f"rounding would add {scale.inflation - 1:.0%} to the sensitivity"
    if scale.variance < _LEAST_CENTRAL**2:
        return f"the planned noise would be {sqrt(scale.variance):.1f} steps, below 50"
    if scale.share_variance < _LEAST_SHARE**2:
        return f"a share would be {sqrt(scale.share_variance):.1f} steps, below 4"
    return ""


def _first(holds: Callable[[int], bool]) -> int:
    """Least number of steps for which a monotone condition holds."""
    high = 1
    while not holds(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _nearest(ask: _Ask) -> str:
    """The plans closest to one that was refused, each with one setting changed."""
    bits = [bits for bits in WORD_BITS if bits > ask.word_bits]
    units = [n for n in _others(ask.units_per_client) if n < ask.units_per_client]
    cohorts = [
        (n, max(1, n * ask.contributors // ask.clients))
        for n in _others(ask.clients)
        if n >= _LEAST_CLIENTS
    ]
    factors = [Fraction(n, 100) for n in _others(100)]
    plans: dict[str, list[_Ask]] = {
        "word_bits": [replace(ask, word_bits=n) for n in bits],
        "units_per_client": [replace(ask, units_per_client=n) for n in units],
        "clients": [replace(ask, clients=n, contributors=m) for n, m in cohorts],
        "noise_multiplier": [
            replace(ask, noise_multiplier=_short(ask.noise_multiplier * f))
            for f in factors
        ],
    }
    found = []
    for name, asks in plans.items():
        nearest = next((a for a in asks if not _limits(a)[2]), None)
        if nearest is not None:
            value = getattr(nearest, name)
            shown = f"{float(value):.6g}" if isinstance(value, Fraction) else value
            found.append(f"{name} = {shown}")
    if not found:
        return f"no change of {', '.join(plans)} alone helps"
    return "the nearest plans that work: " + ", or ".join(found)


def _short(number: Fraction) -> Fraction:
    """The number of six digits that a message names: what is named is tried."""
    return Fraction(f"{float(number):.6g}")


def _others(number: int) -> list[int]:
    """Numbers around ``number``, nearest first: down to 1 and up to a thousandfold."""
    steps = [Fraction(11, 10) ** distance for distance in range(1, 74)]
    around = [n for f in steps for n in (int(number / f), ceil(number * f))]
    return list(dict.fromkeys(n for n in around if n >= 1))
