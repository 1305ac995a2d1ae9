"""Shamir's secret sharing over the field of 2**521 - 1, in exact integers.

A secret of 32 bytes is the constant term of a random polynomial of degree t - 1; the
shares of holders 1, 2, 3, 4, ... are its values at 1, -1, 2, -2, ... Any t of them give
the secret back.

Guarantees: fewer than t shares are consistent with every secret; coefficients are
uniform in the field; whatever is not the one encoding of a field element is refused.
Does not give: a check that shares lie on one polynomial. ``fedpref.core.commitments``
binds each share to its dealer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from math import prod
from operator import mul

import numpy as np

from fedpref.core.entropy import uniform_words
from fedpref.errors import IntegrityError

SECRET_BYTES = 32
SHARE_BYTES = 66
_BITS = 521
_PRIME = 2**_BITS - 1  # a Mersenne prime: reducing is a shift and a mask
_WORDS = -(-_BITS // 64)
_MOST_HOLDER = 2**32 - 1
_GROWTH_BITS = 256  # how far a value may outgrow the field before it is reduced


def split(
    secrets: Sequence[bytes], holders: Sequence[int], threshold: int, *, key: bytes
) -> dict[int, tuple[bytes, ...]]:
    """One share of every secret for every holder.

    Args:
        secrets: At least one, each 32 bytes; their polynomials are independent.
        holders: Distinct numbers from 1 to ``2**32 - 1``.
        threshold: Shares that open a secret, from 1 to ``len(holders)``.
        key: 32 bytes; the coefficients are its AES-256-CTR keystream. Used once.

    Returns:
        For each holder, one share of 66 bytes (little-endian) a secret, in order.

    Raises:
        ValueError: An argument is not as above.

    >>> shares = split([bytes([7] * 32)], [1, 2, 5], 2, key=bytes(32))
    >>> join({i: shares[i][0] for i in (5, 2)}, 2) == bytes([7] * 32)
    True
    """
    _check_holders(holders)
    if not 1 <= threshold <= len(holders):
        raise ValueError(f"threshold = {threshold}, must be >= 1, <= {len(holders)}")
    if not secrets:
        raise ValueError("there is no secret to share")
    if any(len(secret) != SECRET_BYTES for secret in secrets):
        raise ValueError(f"a secret is not {SECRET_BYTES} bytes long")
    drawn = _field_elements(len(secrets) * (threshold - 1), key=key)
    polynomials = [
        [int.from_bytes(secret, "little"), *drawn[place :: len(secrets)]]
        for place, secret in enumerate(secrets)
    ]
    values = _evaluate(polynomials, holders)
    return {
        holder: tuple(value.to_bytes(SHARE_BYTES, "little") for value in values[holder])
        for holder in holders
    }


def join(shares: Mapping[int, bytes], threshold: int) -> bytes:
    """The secret behind the shares of at least ``threshold`` holders.

    The holders with the smallest numbers are used, so that the same survivors give the
    same weights for every secret.

    Args:
        shares: A share of 66 bytes for each holder.
        threshold: Shares that open a secret.

    Returns:
        32 bytes. They are the dealer's secret only if the shares are the dealer's.

    Raises:
        IntegrityError: There are too few shares, one is not the encoding of a field
            element, a holder has no legal number, or the value is no 32 bytes.
    """
    if threshold < 1 or len(shares) < threshold:
        raise IntegrityError(
            f"{len(shares)} shares, must be >= threshold = {threshold}, which is >= 1"
        )
    holders = tuple(islice(sorted(shares), threshold))
    elements = [_element(shares[holder]) for holder in holders]
    try:
        factors = weights(holders)
    except ValueError as error:
        raise IntegrityError(str(error)) from None
    secret: int = sum(map(mul, factors, elements)) % _PRIME
    if secret.bit_length() > 8 * SECRET_BYTES:
        raise IntegrityError(
            f"the shares of {threshold} holders open to no secret of {SECRET_BYTES} "
            "bytes; one of them is wrong"
        )
    return secret.to_bytes(SECRET_BYTES, "little")


@lru_cache(maxsize=128)
def weights(holders: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange's weights at 0: the secret is their inner product with the shares.

    ``w_i = prod_{j != i} x_j / (x_j - x_i)``. One modular inverse serves all: that of
    the product of the denominators, from which each one's own is unrolled.

    Raises:
        ValueError: A holder is given twice or is not from 1 to ``2**32 - 1``.

    >>> weights((1, 3)) == (2, 2**521 - 2)
    True
    """
    _check_holders(holders)
    points = [_point(holder) for holder in holders]
    denominators = [
        point * product % _PRIME
        for point, product in zip(points, _differences(points), strict=True)
    ]
    before = [1]
    for value in denominators:
        before.append(before[-1] * value % _PRIME)
    inverse = pow(before[-1], -1, _PRIME)
    numerator = prod(points) % _PRIME  # of w_i: this over x_i, which is below it
    found = []
    for place in range(len(holders) - 1, -1, -1):
        found.append(inverse * before[place] % _PRIME * numerator % _PRIME)
        inverse = inverse * denominators[place] % _PRIME
    return tuple(reversed(found))


def _differences(points: Sequence[int]) -> list[int]:
    """For each i the product over j != i of ``x_j - x_i``, exactly.

    As many factors as fit into 62 bits are multiplied by numpy first.
    """
    places = np.array(points, np.int64)
    factors = places[None, :] - places[:, None]
    np.fill_diagonal(factors, 1)
    group = max(1, 62 // int(np.abs(factors).max()).bit_length())
    padding = -len(points) % group
    padded = np.pad(factors, ((0, 0), (0, padding)), constant_values=1)
    grouped = padded.reshape(len(points), -1, group).prod(axis=2)
    return [prod(row) for row in grouped.tolist()]


def _evaluate(
    polynomials: Sequence[Sequence[int]], holders: Sequence[int]
) -> dict[int, tuple[int, ...]]:
    """For each holder the value of every polynomial at the holder's point.

    Holders come in pairs with opposite points x and -x. With E the even and O the odd
    coefficients, ``f(x) = E(x**2) + x O(x**2)`` and ``f(-x)`` has a minus: one pass
    over half as many coefficients serves two holders.
    """
    halves = [half for f in polynomials for half in (f[0::2], f[1::2])]
    pairs = {(holder + 1) // 2: holder for holder in holders}
    wide = _Wide.pack(halves, max(pairs) ** 2)
    found = {}
    for point in pairs:
        even_odd = wide.at(point * point)
        plus, minus = [], []
        for even, odd in zip(even_odd[0::2], even_odd[1::2], strict=True):
            odd *= point
            plus.append((even + odd) % _PRIME)
            minus.append((even - odd) % _PRIME)
        found[2 * point - 1] = tuple(plus)
        found[2 * point] = tuple(minus)
    return found


@dataclass(frozen=True, repr=False)
class _Wide:
    """Some polynomials in wide integers, to be evaluated at small points all at once.

    Coefficients are cut into blocks; a wide integer has a lane for one coefficient of
    every block of every polynomial. Horner's rule inside the blocks multiplies all
    lanes by the point in one operation, and no lane overflows: a block's value is
    below ``2**521 * x**block``. Horner's rule in ``x**block`` then joins the blocks,
    all polynomials side by side, reducing each lane by a shift and a mask.
    """

    columns: tuple[int, ...]  # one a place in the block, the highest power first
    block: int
    blocks: int
    lane: int  # bytes
    polynomials: int

    @classmethod
    def pack(cls, polynomials: Sequence[Sequence[int]], largest: int) -> "_Wide":
        """Wide integers for points up to ``largest``."""
        size = max(len(polynomial) for polynomial in polynomials)
        block = min(size, max(1, _GROWTH_BITS // largest.bit_length()))
        blocks = -(-size // block)
        lane = -(-(_BITS + largest.bit_length() * block + 2) // 8)
        padded = [[*f, *[0] * (blocks * block - len(f))] for f in polynomials]
        columns = tuple(
            int.from_bytes(
                b"".join(
                    f[place].to_bytes(lane, "little")
                    for place in range(power, blocks * block, block)
                    for f in padded
                ),
                "little",
            )
            for power in reversed(range(block))
        )
        return cls(columns, block, blocks, lane, len(polynomials))

    @cached_property
    def masks(self) -> tuple[int, int]:
        """Of each lane in a row: the low 521 bits, and as many as may lie above."""
        ones = sum(1 << 8 * self.lane * place for place in range(self.polynomials))
        return ones * _PRIME, ones * ((1 << 8 * self.lane - _BITS) - 1)

    def at(self, point: int) -> list[int]:
        """Every polynomial's value, below ``2**522`` and not fully reduced."""
        wide = 0
        for column in self.columns:
            wide = wide * point + column
        row = self.lane * self.polynomials
        lanes = wide.to_bytes(self.blocks * row, "little")
        low, high = self.masks
        step = point**self.block
        value = 0
        for place in range((self.blocks - 1) * row, -1, -row):
            value = value * step + int.from_bytes(lanes[place : place + row], "little")
            value = (value & low) + (value >> _BITS & high)
        packed = value.to_bytes(row, "little")
        return [
            int.from_bytes(packed[place : place + self.lane], "little")
            for place in range(0, row, self.lane)
        ]


def _point(holder: int) -> int:
    """Where the polynomial of a holder is read: 1, -1, 2, -2, 3, ..."""
    half = (holder + 1) // 2
    return half if holder % 2 else -half


def _field_elements(count: int, *, key: bytes) -> list[int]:
    """Uniform elements of the field from the keystream of ``key``."""
    words = count
    while True:
        stream = uniform_words(_WORDS * words, key=key).astype("<u8").tobytes()
        found = _below_prime(stream)
        if len(found) >= count:
            return found[:count]
        words = 2 * words + 1  # not expected in the life of the universe


def _below_prime(stream: bytes) -> list[int]:
    """The low 521 bits of every 72 bytes; the one value too many is left out."""
    size = 8 * _WORDS
    drawn = (
        int.from_bytes(stream[start : start + size], "little") & _PRIME
        for start in range(0, len(stream), size)
    )
    return [value for value in drawn if value != _PRIME]


def _element(share: bytes) -> int:
    value = int.from_bytes(share, "little")
    if len(share) != SHARE_BYTES or value >= _PRIME:
        raise IntegrityError(
            f"a share of {len(share)} bytes is not the encoding of a field element in "
            f"{SHARE_BYTES} bytes"
        )
    return value


def _check_holders(holders: Sequence[int]) -> None:
    if len(set(holders)) != len(holders):
        raise ValueError("a holder is given twice")
    if holders and not (min(holders) >= 1 and max(holders) <= _MOST_HOLDER):
        raise ValueError(
            f"holders from {min(holders)} to {max(holders)}, must be >= 1, < 2**32"
        )
