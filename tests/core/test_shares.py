from contextlib import suppress
from itertools import combinations
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedpref.core import shares as module
from fedpref.core.entropy import uniform_words
from fedpref.core.shares import join, split, weights
from fedpref.errors import IntegrityError

P = 2**521 - 1
KEY = bytes(range(32))
ONE, TWO = bytes([1]) * 32, bytes(range(100, 132))


def point(holder: int) -> int:
    """1, -1, 2, -2, ... written out."""
    return [None, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5][holder]


def only(shares, place, holders):
    return {holder: shares[holder][place] for holder in holders}


def coefficients(threshold: int, secrets: int, key: bytes) -> list[list[int]]:
    """The polynomials without their constants, read from the keystream by hand."""
    words = uniform_words(9 * (threshold - 1) * secrets, key=key).tolist()
    values = [
        sum(word << 64 * place for place, word in enumerate(words[i : i + 9])) % 2**521
        for i in range(0, len(words), 9)
    ]
    return [values[place::secrets] for place in range(secrets)]


@pytest.mark.parametrize("n", range(1, 8))
def test_any_t_shares_and_no_fewer_open_each_secret(n) -> None:
    holders = range(1, n + 1)
    for t in holders:
        dealt = split([ONE, TWO], holders, t, key=KEY)
        for size in range(1, n + 1):
            for some in combinations(holders, size):
                for place, secret in enumerate([ONE, TWO]):
                    held = only(dealt, place, some)
                    if size >= t:
                        assert join(held, t) == secret
                    else:
                        with pytest.raises(
                            IntegrityError, match="must be >= threshold"
                        ):
                            join(held, t)


@pytest.mark.parametrize("secrets", [1, 2, 3])
@pytest.mark.parametrize("threshold", [1, 2, 3, 5, 17, 18, 33, 100])
def test_shares_are_the_polynomials_values(secrets, threshold) -> None:
    """Against naive evaluation, for holders of every size, alone and in pairs."""
    near = [*range(1, threshold + 8), 500, 501, 1000]
    for holders in (near, [*near, 2**32 - 2, 2**32 - 1, 70_000]):
        values = [bytes([3 + place]) * 32 for place in range(secrets)]
        dealt = split(values, holders, threshold, key=KEY)
        assert list(dealt) == holders
        drawn = coefficients(threshold, secrets, KEY)
        for place, value in enumerate(values):
            f = [int.from_bytes(value, "little"), *drawn[place]]
            for holder in holders:
                x = (holder + 1) // 2 * (1 if holder % 2 else -1)
                expected = sum(c * pow(x, i, P) for i, c in enumerate(f)) % P
                assert dealt[holder][place] == expected.to_bytes(66, "little")


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 15, 17, 24, 51, 62, 63])
def test_no_lane_overflows_with_the_largest_coefficients(bits) -> None:
    """All of them p - 1: a carry would reach the next polynomial."""
    point = 2**bits - 1
    for size in (1, 2, 3, 256 // bits, 256 // bits + 1, 600 // bits + 2):
        wide = module._Wide.pack([[P - 1] * size, [0] * size, [P - 1]], point)
        first, nothing, last = wide.at(point)
        assert first % P == -sum(pow(point, i, P) for i in range(size)) % P
        assert (nothing, last % P) == (0, P - 1)
        assert max(first, last) < 2**522


def test_a_share_less_is_consistent_with_every_secret() -> None:
    """For t - 1 shares and any secret there is exactly one polynomial."""
    t, held = 4, (2, 3, 6)
    dealt = only(split([ONE], range(1, 8), t, key=KEY), 0, held)
    for guess in (0, 1, 2**256 - 1, int.from_bytes(ONE, "little")):
        points = [(0, guess)] + [
            (point(i) % P, int.from_bytes(share, "little"))
            for i, share in dealt.items()
        ]
        f = interpolate(points)
        assert len(f) == t
        for x, y in points:
            assert sum(c * pow(x, i, P) for i, c in enumerate(f)) % P == y


def interpolate(points):
    """Coefficients of the polynomial through the points, by Lagrange's basis."""
    total = [0] * len(points)
    for x, y in points:
        basis, scale = [1], 1
        for other, _ in points:
            if other != x:
                shifted = [0, *basis]
                lower = [*(-other * c for c in basis), 0]
                basis = [(a + b) % P for a, b in zip(shifted, lower, strict=True)]
                scale = scale * (x - other) % P
        factor = y * pow(scale, -1, P)
        total = [(a + b * factor) % P for a, b in zip(total, basis, strict=True)]
    return total


def test_one_share_of_two_is_uniform() -> None:
    """Leading bits over many keys: the share says nothing, the secret being fixed."""
    counts = [0] * 16
    for i in range(1600):
        dealt = split([ONE], [1, 2], 2, key=i.to_bytes(32, "little"))
        counts[int.from_bytes(dealt[2][0], "little") >> 517] += 1
    assert 40 < min(counts) <= max(counts) < 160  # 100 expected, six deviations


def test_polynomials_of_two_secrets_differ() -> None:
    dealt = split([ONE, ONE], [1, 2, 3], 2, key=KEY)
    assert all(first != second for first, second in dealt.values())


def test_the_value_that_is_no_element_is_thrown_away() -> None:
    """521 bits that are all set mean P, which would be a second zero."""
    size = 72
    stream = b"".join(
        value.to_bytes(size, "little")
        for value in (5, P, 2**576 - 1, P - 1, 2**521 + 7)  # bits above are cut off
    )
    assert module._below_prime(stream) == [5, P - 1, 7]


def test_enough_elements_are_drawn_after_a_refusal(monkeypatch) -> None:
    lengths = []
    honest = module._below_prime

    def refusing(stream):
        lengths.append(len(stream))
        return honest(stream)[1:]

    monkeypatch.setattr(module, "_below_prime", refusing)
    assert len(module._field_elements(3, key=KEY)) == 3
    assert lengths == [3 * 72, 7 * 72]


@given(st.sets(st.integers(1, 10), min_size=1))
def test_weights_are_lagranges(holders) -> None:
    ids = tuple(sorted(holders))
    for i, weight in zip(ids, weights(ids), strict=True):
        expected = 1
        for j in ids:
            if j != i:
                expected = expected * point(j) * pow(point(j) - point(i), -1, P) % P
        assert weight == expected


def test_weights_of_far_holders() -> None:
    ids = (1, 2, 3_000, 2**31, 2**32 - 2, 2**32 - 1)
    dealt = split([ONE], ids, 6, key=KEY)
    assert join(only(dealt, 0, ids), 6) == ONE
    assert sum(weights(ids)) % P == 1  # the constant polynomial


@pytest.mark.parametrize("bits", range(4, 33))
def test_products_of_differences_fit_where_they_are_made(bits) -> None:
    """Points at one end first, then those at the other: the largest differences."""
    last = 2**bits - 1
    ids = (*range(last, last - 14, -2), *range(last - 1, last - 15, -2))
    points = [(i + 1) // 2 * (1 if i % 2 else -1) for i in ids]
    for i, weight in enumerate(weights(ids)):
        others = [x for j, x in enumerate(points) if j != i]
        over = prod(x - points[i] for x in others)
        assert weight == prod(others) * pow(over, -1, P) % P


def test_more_shares_than_needed_use_the_same_weights() -> None:
    dealt = split([ONE], range(1, 9), 3, key=KEY)
    weights.cache_clear()
    for some in ([8, 3, 1, 2], [2, 1, 3], [1, 2, 3, 4, 5, 6, 7, 8]):
        assert join(only(dealt, 0, some), 3) == ONE
    assert weights.cache_info().misses == 1


@pytest.mark.parametrize(
    "holders", [(0, 1), (1, 1), (1, 2, 1), (-1, 2), (2**32,), (2, 2**32 + 2)]
)
def test_illegal_holders_are_refused(holders) -> None:
    with pytest.raises(ValueError, match=r"twice|must be >= 1"):
        split([ONE], holders, 1, key=KEY)
    with pytest.raises(ValueError, match=r"twice|must be >= 1"):
        weights(holders)
    if len(set(holders)) == len(holders):
        with pytest.raises(IntegrityError, match="must be >= 1"):
            join(dict.fromkeys(holders, bytes(66)), len(holders))


@pytest.mark.parametrize(
    "share",
    [
        P.to_bytes(66, "little"),  # zero, written a second way
        (P + 1).to_bytes(66, "little"),
        b"\xff" * 66,
        bytes(65),
        bytes(67),
        b"",
    ],
)
def test_a_share_that_is_not_canonical_is_refused(share) -> None:
    dealt = only(split([ONE], range(1, 4), 2, key=KEY), 0, (1, 3))
    with pytest.raises(IntegrityError, match="not the encoding"):
        join(dealt | {1: share}, 2)


@given(st.integers(0, 65), st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_a_wrong_share_never_opens_the_secret(byte, bit) -> None:
    dealt = only(split([ONE], range(1, 5), 3, key=KEY), 0, (1, 2, 4))
    wrong = bytearray(dealt[2])
    wrong[byte] ^= 1 << bit
    with suppress(IntegrityError):
        assert join(dealt | {2: bytes(wrong)}, 3) != ONE


def test_a_value_of_more_than_32_bytes_is_refused() -> None:
    exactly = (2**256 - 1).to_bytes(66, "little")
    assert join({1: exactly}, 1) == b"\xff" * 32
    with pytest.raises(IntegrityError, match="no secret of 32 bytes"):
        join({1: (2**256).to_bytes(66, "little")}, 1)


@pytest.mark.parametrize("threshold", [0, -1, 4])
def test_thresholds_out_of_range_are_refused(threshold) -> None:
    with pytest.raises(ValueError, match=f"threshold = {threshold}"):
        split([ONE], [1, 2, 3], threshold, key=KEY)
    with pytest.raises(IntegrityError, match=f"threshold = {threshold}"):
        join(dict.fromkeys([1, 2, 3], bytes(66)), threshold)


def test_bad_secrets_and_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        split([bytes(31)], [1, 2], 2, key=KEY)
    with pytest.raises(ValueError, match="32 bytes"):
        split([ONE], [1, 2], 2, key=bytes(16))
    with pytest.raises(ValueError, match="no secret"):
        split([], [1, 2], 2, key=KEY)
