"""Numbers as people read them.

Guarantees: an epsilon or a delta is never printed smaller than it is. Does not round
anything that machines read.
"""

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

NBSP = "\u00a0"
MINUS = "\u2212"


def number(value: float | None) -> float | str | None:
    """``value`` for JSON, which has no infinity.

    >>> number(math.inf), number(1.0)
    ('inf', 1.0)
    """
    return "inf" if value is not None and math.isinf(value) else value


def epsilon_text(value: float, infinite: str = "infinite") -> str:
    """Three digits, rounded up.

    >>> epsilon_text(0.99991), epsilon_text(1.0001), epsilon_text(12.34)
    ('1.00', '1.01', '12.4')
    >>> epsilon_text(0.25), epsilon_text(0.0), epsilon_text(math.inf)
    ('0.250', '0', 'infinite')
    """
    if math.isinf(value):
        return infinite
    if value == 0:
        return "0"
    up = _up(value, 3)
    return f"{up:.{max(0, 2 - math.floor(math.log10(up)))}f}"


def delta_text(value: float) -> str:
    """Two digits, rounded up.

    >>> delta_text(1e-5), delta_text(3.4129e-4), delta_text(0.0)
    ('1e-5', '3.5e-4', '0')
    """
    if value == 0:
        return "0"
    mantissa, exponent = f"{_up(value, 2):.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def unbroken(text: str) -> "Markup":
    """``text`` for HTML, escaped, in which no number as 1e-5 is torn at its hyphen.

    >>> print(unbroken("1 < 2 at delta 1e-5."))
    1 &lt; 2 at delta <span class="nowrap">1e-5</span>.
    """
    from markupsafe import Markup, escape

    kept = r'<span class="nowrap">\1</span>'
    return Markup(re.sub(r"\b(\d[\d.]*e-\d+)", kept, str(escape(text))))


def accountant_text(name: str) -> str:
    """Which accountant a price is from.

    >>> accountant_text("pld"), accountant_text("comparison+exact")
    ('PLD', 'EXACT, by comparison with a Gaussian')
    """
    base = name.removeprefix("comparison+")
    return base.upper() + ", by comparison with a Gaussian" * (base != name)


def percent(value: float, digits: int = 1) -> str:
    """A fraction in percent, on one line.

    >>> percent(0.69402)
    '69.4\\xa0%'
    """
    return f"{100 * value:.{digits}f}{NBSP}%"


def interval(ends: tuple[float, float]) -> str:
    """An interval of fractions in percent.

    >>> interval((0.664, 0.7251))
    '66.4–72.5\\xa0%'
    """
    return f"{100 * ends[0]:.1f}–{percent(ends[1])}"


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign.

    >>> points(-0.0034), points(0.0121), points(0.0001)
    ('−0.3', '+1.2', '0.0')
    """
    rounded = round(100 * value, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else ""
    return f"{sign}{abs(rounded):.1f}"


def plain(value: float | None) -> str:
    """A setting of the plan.

    >>> plain(None), plain(8.0), plain(11.7972941), plain(197925744.0)
    ('–', '8', '11.7973', '197,925,744')
    """
    if value is None:
        return "–"
    whole = float(value).is_integer() or abs(value) >= 1e5
    return f"{value:,.0f}" if whole else f"{value:,.6g}"


def power_of_two(value: float | None) -> str:
    """A grid step, exactly.

    >>> power_of_two(2.0**-22), power_of_two(0.3), power_of_two(None)
    ('2^−22', '0.3', '–')
    """
    if value is None or value <= 0 or math.frexp(value)[0] != 0.5:
        return plain(value)
    return f"2^{math.frexp(value)[1] - 1}".replace("-", MINUS)


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(3.14), seconds(75)
    ('3.1\\xa0s', '1\\xa0min 15\\xa0s')
    """
    if value < 60:
        return f"{value:.1f}{NBSP}s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}{NBSP}min {rest}{NBSP}s"


def _up(value: float, digits: int) -> float:
    """``value`` rounded up to so many significant digits (float dust aside)."""
    scale = digits - 1 - math.floor(math.log10(value))
    # a power with a negative exponent is not exact: divide by the positive one instead
    if scale >= 0:
        return float(math.ceil(value * 10**scale * (1 - 1e-12)) / 10**scale)
    return float(math.ceil(value / 10**-scale * (1 - 1e-12)) * 10**-scale)
