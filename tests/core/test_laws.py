"""Tables against high precision, inversion against integers, draws against laws."""

from bisect import bisect_right
from itertools import pairwise
from math import sqrt

import mpmath
import numpy as np
import pytest
from scipy import stats

from fedpref.core import laws
from fedpref.core.entropy import SeededEntropy
from fedpref.core.laws import (
    DISTANCE,
    MOST_VARIANCE,
    Table,
    draw,
    gaussian_table,
    skellam_table,
)

KEY = SeededEntropy(29).key("test")


def skellam_mass(x: int, variance: int) -> mpmath.mpf:
    if variance <= 1000:
        return mpmath.exp(-variance) * mpmath.besseli(x, variance)
    return skellam_by_angles(x, variance)


def skellam_by_angles(x: int, variance: int) -> mpmath.mpf:
    """From the characteristic function exp(-v (1 - cos t)): a sum over N angles.

    The sum is the mass at x and at x + k N; N is so large that the others are nothing.
    """
    size = 40 * (int(sqrt(variance)) + 8)
    total, step = mpmath.mpf(1), 2 * mpmath.pi / size
    for angle in range(1, size // 2):
        weight = mpmath.exp(-2 * variance * mpmath.sin(angle * step / 2) ** 2)
        if weight < mpmath.mpf(2) ** -180:
            break
        total += 2 * weight * mpmath.cos(angle * step * x)
    return total / size


def gaussian_mass(x: int, variance: int) -> mpmath.mpf:
    """The sum of all weights by Poisson's summation formula."""
    waves = mpmath.fsum(
        mpmath.exp(-2 * mpmath.pi**2 * variance * k * k) for k in range(-4, 5)
    )
    total = mpmath.sqrt(2 * mpmath.pi * variance) * waves
    return mpmath.exp(-mpmath.mpf(x * x) / (2 * variance)) / total


def test_both_oracles_agree() -> None:
    with mpmath.workdps(60):
        for x in (0, 1, 150, 390):
            difference = skellam_mass(x, 900) - skellam_by_angles(x, 900)
            assert abs(difference) < mpmath.mpf(2) ** -150


LAWS = [(skellam_table, skellam_mass), (gaussian_table, gaussian_mass)]


def masses(table: Table) -> dict[int, int]:
    """Chance of each draw, in units of 2**-128, from the thresholds alone."""
    edges = [0, *table.thresholds(), 2**128]
    return {
        draw - table.largest: above - below
        for draw, (below, above) in enumerate(pairwise(edges))
    }


@pytest.mark.parametrize(("law", "mass"), LAWS)
@pytest.mark.parametrize("variance", [1, 2, 37, 225])
def test_every_threshold_is_the_law_to_128_bits(law, mass, variance) -> None:
    table = law(variance)
    with mpmath.workdps(80):
        # What lies below the table is a small part of 2**-128 (test_the_distance).
        below = mpmath.mpf(0)
        for x, threshold in zip(
            range(-table.largest, table.largest), table.thresholds(), strict=True
        ):
            below += mass(abs(x), variance)
            assert abs(threshold - below * 2**128) <= 2


@pytest.mark.parametrize(("law", "mass"), LAWS)
@pytest.mark.parametrize("variance", [1, 16, 225])
def test_the_distance_holds(law, mass, variance) -> None:
    """Half the sum of absolute differences, with all that lies beyond the table."""
    found = masses(law(variance))
    with mpmath.workdps(80):
        ideal = {x: mass(abs(x), variance) for x in found}
        beyond = 1 - mpmath.fsum(ideal.values())
        apart = mpmath.fsum(
            abs(ideal[x] - mpmath.mpf(found[x]) / 2**128) for x in found
        )
        assert (apart + beyond) / 2 <= DISTANCE


@pytest.mark.parametrize(("law", "mass"), LAWS)
@pytest.mark.parametrize("variance", [10**4, 3000**2, MOST_VARIANCE])
def test_large_tables_are_right_where_they_are_checked(law, mass, variance) -> None:
    table = law(variance)
    found = masses(table)
    stddev = sqrt(variance)
    with mpmath.workdps(60):
        for x in [0, 1, int(stddev), int(4 * stddev), int(9 * stddev), table.largest]:
            ideal = mass(x, variance) * 2**128
            assert abs(found[x] - ideal) <= 2
    # What the distance is proved from: the number of thresholds, and the tail.
    assert 2 * table.largest <= 2**17
    assert table.largest >= 13 * stddev


@pytest.mark.parametrize("law", [skellam_table, gaussian_table])
@pytest.mark.parametrize("variance", [1, 10**4, 9 * 10**6])
def test_laws_are_exactly_symmetric(law, variance) -> None:
    found = masses(law(variance))
    assert all(found[x] == found[-x] for x in found)
    assert sum(found.values()) == 2**128
    assert all(chance >= 0 for chance in found.values())


@pytest.mark.parametrize("law", [skellam_table, gaussian_table])
@pytest.mark.parametrize("variance", [1, 77, 10**4, 10**6])
def test_the_guide_decides_only_what_is_decided(law, variance) -> None:
    """For each head: the draws at its least and its largest v, by plain bisection."""
    table = law(variance)
    thresholds = table.thresholds()
    for head, guided in enumerate(table.guide.tolist()):
        least = bisect_right(thresholds, head << 112) - table.largest
        most = bisect_right(thresholds, ((head + 1) << 112) - 1) - table.largest
        expected = least if least == most else np.iinfo(np.int32).min
        assert guided == expected


def test_the_guide_counts_a_threshold_on_its_edge() -> None:
    """v = 5 2**112 passes a threshold of that number, not one that is larger by 1."""
    for threshold, decided in [(5 << 112, True), ((5 << 112) + 1, False)]:
        low, high = threshold % 2**64, threshold >> 64
        guide = laws._guide(np.array([high], "u8"), np.array([low], "u8"), 0)
        assert guide[4] == 0
        assert guide[6] == 1
        assert (guide[5] == 1) == decided


def crafted(monkeypatch, table: Table, numbers: list[int]) -> list[int]:
    """Draws from a keystream that spells out these 128-bit numbers."""
    heads = np.array([n >> 112 for n in numbers], np.uint16)
    undecided = [
        n for n, h in zip(numbers, heads, strict=True) if table.guide[h] < -(2**30)
    ]
    tops = set(table.high.tolist())
    # Sixteen bits of the second word are not used: fill them with ones.
    second = [((n >> 64) % 2**48 << 16) | 0xFFFF for n in undecided]
    third = [n % 2**64 for n in undecided if n >> 64 in tops]

    def words(count, *, key, lane=0):
        if lane == 0:
            padded = np.zeros(4 * count, np.uint16)
            padded[: len(heads)] = heads
            return padded.view(np.uint64)
        stream = {1: second, 2: third}[lane]
        assert count == len(stream)
        return np.array(stream, np.uint64)

    monkeypatch.setattr(laws, "uniform_words", words)
    return draw(table, len(numbers), key=KEY).tolist()


@pytest.mark.parametrize("variance", [1, 50, 10**4])
def test_ties_are_decided_by_all_128_bits(monkeypatch, variance) -> None:
    """At every threshold, one below it and one above, and around ties of the top."""
    table = skellam_table(variance)
    thresholds = table.thresholds()
    near = [t + by for t in thresholds for by in (-1, 0, 1)]
    edges = [t >> 64 << 64 for t in thresholds] + [t | 2**64 - 1 for t in thresholds]
    numbers = [n for n in near + edges if 0 <= n < 2**128]
    expected = [bisect_right(thresholds, n) - table.largest for n in numbers]
    assert crafted(monkeypatch, table, numbers) == expected


def test_any_number_is_inverted(monkeypatch) -> None:
    table = skellam_table(2500)
    generator = np.random.default_rng(3)
    numbers = [int.from_bytes(generator.bytes(16), "big") for _ in range(5000)]
    numbers += [0, 2**128 - 1, 2**127, 2**127 - 1]
    thresholds = table.thresholds()
    expected = [bisect_right(thresholds, n) - table.largest for n in numbers]
    assert crafted(monkeypatch, table, numbers) == expected


def counts_fit(drawn: np.ndarray, mass: np.ndarray, first: int) -> bool:
    """Chi-square of the counts, everything rare put together at either end."""
    expected = mass * len(drawn)
    common = np.nonzero(expected > 25)[0]
    low, high = common[0], common[-1] + 1
    counted = np.bincount(drawn - first, minlength=len(mass))
    observed = [counted[:low].sum(), *counted[low:high], counted[high:].sum()]
    ends = 1 - mass[low:high].sum()
    wanted = np.array([ends / 2, *mass[low:high], ends / 2]) * len(drawn)
    return bool(stats.chisquare(observed, wanted).pvalue > 1e-6)


def ideal(law, variance: int, reach: int) -> np.ndarray:
    x = np.arange(-reach, reach + 1)
    if law is skellam_table:
        return stats.skellam.pmf(x, variance / 2, variance / 2)
    weights = np.exp(-(x**2.0) / (2 * variance))
    return weights / weights.sum()


@pytest.mark.parametrize("law", [skellam_table, gaussian_table])
@pytest.mark.parametrize("stddev", [1, 4, 100, 600])
def test_draws_follow_the_law(law, stddev) -> None:
    variance, count = stddev**2, 500_000
    table = law(variance)
    drawn = draw(table, count, key=KEY)
    assert drawn.dtype == np.int64
    reach = table.largest
    mass = ideal(law, variance, reach)
    assert counts_fit(drawn, mass, -reach)
    # The same check sees a standard deviation that is off by one part in thirty.
    wrong = ideal(law, round(variance * 1.06) + (variance == 1), reach)
    assert not counts_fit(drawn, wrong, -reach)


@pytest.mark.parametrize("variance", [16, 10**4, 9 * 10**6, MOST_VARIANCE])
def test_moments_of_skellam(variance) -> None:
    """Mean 0, variance v, third moment 0, fourth 3 v**2 + v."""
    count = 1_000_000
    scaled = draw(skellam_table(variance), count, key=KEY) / sqrt(variance)
    kurtosis = 3 + 1 / variance
    assert abs(scaled.mean()) < 5 / sqrt(count)
    assert abs((scaled**2).mean() - 1) < 5 * sqrt((kurtosis - 1) / count)
    assert abs((scaled**3).mean()) < 5 * sqrt(20 / count)
    assert abs((scaled**4).mean() - kurtosis) < 5 * sqrt(120 / count)


def test_draws_are_independent_and_set_by_the_key() -> None:
    table = skellam_table(10**6)
    drawn = draw(table, 200_000, key=KEY)
    assert np.array_equal(drawn, draw(table, 200_000, key=KEY))
    other = draw(table, 200_000, key=bytes(32))
    pairs = [(drawn, other), (drawn[1:], drawn[:-1]), (drawn[4:], drawn[:-4])]
    for one, two in pairs:
        assert abs(np.corrcoef(one, two)[0, 1]) < 5 / sqrt(len(one))
    assert draw(table, 0, key=KEY).tolist() == []
    assert draw(table, 3, key=KEY).shape == (3,)


@pytest.mark.parametrize("law", [skellam_table, gaussian_table])
@pytest.mark.parametrize("variance", [0, -4, MOST_VARIANCE + 1])
def test_refuses_other_variances(law, variance) -> None:
    with pytest.raises(ValueError, match="must lie between 1 and"):
        law(variance)


def test_tables_are_made_once_and_do_not_print() -> None:
    table = skellam_table(50)
    assert table is skellam_table(50)
    for array in (table.high, table.low, table.guide):  # shared by all later draws
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert len(repr(skellam_table(50))) < 80
