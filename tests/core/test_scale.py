"""The scale: exact requirements, the smallest grid, honest refusals."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import isqrt, sqrt

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.core import scale as module
from fedpref.core.grid import largest_square
from fedpref.core.scale import Scale, choose_scale, fits_modulus
from fedpref.errors import PlanError

MAIN = {
    "coordinates": 6161,
    "noise_multiplier": Fraction(2),
    "clients": 293,
    "contributors": 234,
    "units_per_client": 1,
    "word_bits": 24,
    "rotated": False,
}


@st.composite
def asks(draw):
    clients = draw(st.integers(2, 3000))
    return {
        "coordinates": draw(st.integers(1, 2**24)),
        "noise_multiplier": draw(st.fractions(Fraction(1, 3), 40, max_denominator=999)),
        "clients": clients,
        "contributors": draw(st.integers(1, clients)),
        "units_per_client": draw(st.sampled_from([1, 1, 1, 5, 100])),
        "word_bits": draw(st.sampled_from([16, 24, 32])),
        "rotated": draw(st.booleans()),
    }


def scale_or_none(ask) -> Scale | None:
    try:
        return choose_scale(**ask)
    except PlanError:
        return None


def with_steps(scale: Scale, ask, steps: int) -> Scale:
    """The same plan on another grid, from the formulas and not from the module."""
    d = scale.coordinates
    limit = steps**2 + steps + int(Fraction(d + isqrt(4 * d), 4))
    need = (ask["noise_multiplier"] ** 2 * limit + Fraction(1, 12)) / ask[
        "contributors"
    ]
    share = -(-need.numerator // need.denominator)
    total = share * ask["contributors"]
    return replace(
        scale, steps=steps, limit=limit, share_variance=share, variance=total
    )


def fits(scale: Scale, ask) -> bool:
    """The modulus bound in high precision floats."""
    with mpmath.workdps(50):
        n, units = ask["clients"], ask["clients"] * ask["units_per_client"]
        noise = n * mpmath.mpf(scale.share_variance)
        room = mpmath.mpf(2) ** (ask["word_bits"] - 1) - 1
        if ask["rotated"]:
            signal = mpmath.mpf(units * scale.steps) ** 2 / scale.coordinates
            return bool(8 * mpmath.sqrt(signal + noise + mpmath.mpf(units) / 4) <= room)
        largest = units * mpmath.floor(mpmath.sqrt(scale.limit))
        return bool(largest + 8 * mpmath.sqrt(noise) <= room)


def meets_wishes(scale: Scale) -> tuple[bool, bool]:
    return (
        Fraction(scale.limit) <= (Fraction(1002, 1000) * scale.steps) ** 2,
        scale.variance >= 4000**2 and scale.share_variance >= 4**2,
    )


@given(asks())
def test_least_contributors_carry_the_planned_noise(ask) -> None:
    """sqrt(V - 1/12) / sqrt(limit) >= z exactly, and not with one step less a share."""
    scale = scale_or_none(ask)
    if scale is None:
        return
    square = ask["noise_multiplier"] ** 2 * scale.limit + Fraction(1, 12)
    assert scale.variance == ask["contributors"] * scale.share_variance >= square
    assert ask["contributors"] * (scale.share_variance - 1) < square
    assert scale.limit == largest_square(scale.steps, scale.coordinates)


@given(asks())
def test_every_scale_keeps_every_bound(ask) -> None:
    scale = scale_or_none(ask)
    if scale is None:
        return
    assert fits(scale, ask)
    assert 4**2 <= scale.share_variance <= 3000**2
    assert scale.variance >= 50**2
    assert sqrt(scale.limit) / scale.steps <= scale.inflation <= 1.25 + 1e-12
    if scale.active in ("rounding", "noise"):
        assert meets_wishes(scale) == (True, True)


@given(asks())
def test_the_grid_is_the_coarsest_and_says_why(ask) -> None:
    """One step less breaks the wish that is named; one more, the bound that is."""
    scale = scale_or_none(ask)
    if scale is None:
        return
    less = with_steps(scale, ask, scale.steps - 1)
    more = with_steps(scale, ask, scale.steps + 1)
    assert scale == with_steps(scale, ask, scale.steps)
    if scale.active == "rounding":
        assert not meets_wishes(less)[0]
    elif scale.active == "noise":
        assert meets_wishes(less) == (True, False)
    elif scale.active == "share":
        assert more.share_variance > 3000**2
        assert meets_wishes(scale) != (True, True)
    else:
        assert scale.active == "modulus"
        assert not fits(more, ask)
        assert meets_wishes(scale) != (True, True)


@pytest.mark.parametrize(
    ("change", "steps", "active"),
    [
        # 2 sqrt(limit) reaches 4,000 at 2,000 steps; at 1,999 it lacks .07 of a step.
        ({}, 2000, "noise"),
        # 1001 B^2 - 250000 B - 250000 k >= 0 with k = 250500, by the quadratic formula
        ({"coordinates": 10**6, "noise_multiplier": Fraction(1)}, 8036, "rounding"),
        ({"clients": 2, "contributors": 1}, 1498, "share"),
        ({"units_per_client": 100}, 283, "modulus"),
    ],
)
def test_scales_by_hand(change, steps, active) -> None:
    scale = choose_scale(**(MAIN | change))
    assert (scale.steps, scale.active) == (steps, active)


@pytest.mark.parametrize(
    ("clients", "bits", "rotated", "overhead"),
    [(100, 24, False, 1.002), (1000, 24, False, 1.002), (100, 16, True, 1.011)],
)
def test_a_million_coordinates_cost_little(clients, bits, rotated, overhead) -> None:
    scale = choose_scale(
        coordinates=2**20,
        noise_multiplier=Fraction(1),
        clients=clients,
        contributors=clients * 8 // 10,
        units_per_client=1,
        word_bits=bits,
        rotated=rotated,
    )
    assert scale.inflation <= overhead


def test_rotation_pads_and_gains_room() -> None:
    compact = MAIN | {"word_bits": 16, "rotated": True}
    scale = choose_scale(**compact)
    assert scale.coordinates == 8192
    assert choose_scale(**(compact | {"coordinates": 8192})) == scale
    plain = choose_scale(**(compact | {"rotated": False}))
    assert plain.coordinates == 6161
    assert plain.steps < scale.steps / 5


def test_sums_of_the_worst_case_do_not_wrap() -> None:
    """Every unit at its largest in one coordinate, with real shares of noise."""
    from fedpref.core.noise import skellam

    ask = MAIN | {"units_per_client": 100}
    scale = choose_scale(**ask)
    total = np.full(20_000, 293 * 100 * isqrt(scale.limit), np.int64)
    for client in range(293):
        total += skellam(
            20_000, scale.share_variance, key=client.to_bytes(32, "little")
        )
    assert total.max() < 2**23
    assert total.max() > 0.99 * 2**23 - 8 * sqrt(293 * scale.share_variance)


def test_the_modulus_is_checked_to_the_last_step() -> None:
    """16 bits hold 32767 on either side."""
    scale = Scale(4, 3000, 3000**2, 6000, 1, 1, "")
    ask = {"clients": 4, "units_per_client": 1, "word_bits": 16, "rotated": False}
    # Four clients leave 32767 - 12000 = 20767; (20767 / 8)^2 / 4 = 1684641.75...
    assert fits_modulus(replace(scale, share_variance=1684641), **ask)
    assert not fits_modulus(replace(scale, share_variance=1684642), **ask)
    # No room for the signal alone, although the square of the lack is large.
    assert not fits_modulus(replace(scale, share_variance=1), **(ask | {"clients": 11}))
    # Rotated: (32767 / 8)^2 = 16776192.02 = 12000^2 / 16 + 1 + 4 * 1944047.75...
    spread = replace(scale, coordinates=16)
    assert fits_modulus(
        replace(spread, share_variance=1944047), **(ask | {"rotated": True})
    )
    assert not fits_modulus(
        replace(spread, share_variance=1944048), **(ask | {"rotated": True})
    )


@pytest.mark.parametrize(("size", "steps"), [(1, 3), (2, 2), (3, 2), (5, 1)])
def test_no_unit_has_a_larger_sum_of_absolute_values(size, steps) -> None:
    """Exhaustive: all integer vectors within the limit."""
    limit = largest_square(steps, size)
    side = range(isqrt(limit) + 1)
    largest = max(
        sum(v) for v in product(side, repeat=size) if sum(x * x for x in v) <= limit
    )
    scale = scale_of(size, steps)
    assert scale.limit == limit
    assert largest <= scale.l1_limit <= largest + 1


def scale_of(size: int, steps: int) -> Scale:
    """A scale of so few steps as no plan would have, and few enough to enumerate."""
    ask = module._Ask(size, Fraction(1), 3, 1, 1, 24, False)
    return module._at(ask, steps)


@pytest.mark.parametrize(
    ("change", "reason", "offered"),
    [
        (
            {"noise_multiplier": Fraction(1, 10), "word_bits": 16},
            "planned noise would be 15.3 steps",
            {"word_bits", "clients", "noise_multiplier"},
        ),
        (
            {"units_per_client": 100_000},
            "not even one",
            {"word_bits", "units_per_client"},
        ),
        ({"noise_multiplier": Fraction(10**4)}, "share bound", {"noise_multiplier"}),
        (
            {"coordinates": 2**31, "noise_multiplier": Fraction(1)},
            "81% to the sensitivity",
            {"word_bits"},
        ),
    ],
)
def test_a_refusal_names_plans_that_work(change, reason, offered) -> None:
    ask = MAIN | change
    with pytest.raises(PlanError, match=reason) as refusal:
        choose_scale(**ask)
    head, _, _ = str(refusal.value).partition("the nearest plans that work: ")
    assert f"word_bits = {ask['word_bits']}" in head
    plans = named(refusal.value, ask)
    assert offered <= set(plans)
    for plan in plans.values():
        assert choose_scale(**plan).steps >= 1


def named(refusal: Exception, ask) -> dict[str, dict]:
    """The plans in a refusal, exactly as they are printed."""
    _, _, tail = str(refusal).partition("the nearest plans that work: ")
    plans = {}
    for part in filter(None, tail.split(", or ")):
        name, value = part.split(" = ")
        kind = Fraction if name == "noise_multiplier" else int
        plans[name] = ask | {name: kind(value)}
        if name == "clients":
            kept = ask["contributors"] * int(value) // ask["clients"]
            plans[name]["contributors"] = max(1, kept)
    return plans


@given(asks(), st.sampled_from([Fraction(1, 997), Fraction(1, 50), Fraction(997)]))
@settings(max_examples=15, deadline=None)
def test_whatever_a_refusal_names_works(ask, factor) -> None:
    ask["noise_multiplier"] *= factor
    try:
        choose_scale(**ask)
    except PlanError as refusal:
        for plan in named(refusal, ask).values():
            assert choose_scale(**plan).steps >= 1


def test_a_refusal_prints_whole_numbers_whole() -> None:
    """Not 1.05148e+07."""
    ask = MAIN | {"clients": 3, "contributors": 3, "word_bits": 32}
    with pytest.raises(PlanError, match=r"units_per_client = 10514816$"):
        choose_scale(**(ask | {"units_per_client": 30_000_000}))


def test_a_multiplier_is_tried_as_it_is_printed() -> None:
    """The largest that works is 680.4108...; its six digits 680.411 do not work."""
    low, high = Fraction(1), Fraction(10**4)
    while high - low > Fraction(1, 10**6):
        middle = (low + high) / 2
        weak = module._limits(module._Ask(**(MAIN | {"noise_multiplier": middle})))[2]
        low, high = (low, middle) if weak else (middle, high)
    assert f"{float(low):.6g}" == "680.411"
    ask = MAIN | {"noise_multiplier": low / Fraction(9, 10)}  # nine tenths are tried
    with pytest.raises(PlanError) as refusal:
        choose_scale(**ask)
    named_one = named(refusal.value, ask)["noise_multiplier"]
    assert choose_scale(**named_one).steps >= 1


def test_a_share_of_a_few_steps_is_refused() -> None:
    """60,000 clients with 100 steps of noise: .4 steps each."""
    ask = MAIN | {
        "coordinates": 16,
        "clients": 60_000,
        "contributors": 60_000,
        "noise_multiplier": Fraction(1),
    }
    with pytest.raises(PlanError, match=r"a share would be \S+ steps, below 4"):
        choose_scale(**ask)


def test_says_so_if_nothing_helps() -> None:
    with pytest.raises(PlanError, match="alone helps"):
        choose_scale(**(MAIN | {"noise_multiplier": Fraction(10**9)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coordinates": 0}, "coordinates = 0, must be above 0"),
        ({"noise_multiplier": Fraction(0)}, "noise_multiplier = 0"),
        ({"contributors": 0}, "contributors = 0"),
        ({"units_per_client": -1}, "units_per_client = -1"),
        ({"contributors": 294}, "must be at most clients"),
        ({"word_bits": 20}, "must be one of"),
    ],
)
def test_refuses_arguments_out_of_range(change, message) -> None:
    with pytest.raises(PlanError, match=message):
        choose_scale(**(MAIN | change))
