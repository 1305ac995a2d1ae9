"""One signature for all shares of a dealer: a Merkle tree over their digests.

Each holder has one leaf, made of the digests of its two shares. Whoever has one share
and the digest of the other one checks it against the dealer's signed root.

    digest = SHA-256(02 || rid || dealer || holder || place || share)
    leaf   = SHA-256(00 || digest of place 0 || digest of place 1)
    inner  = SHA-256(01 || left || right)
    root   = SHA-256(03 || number of leaves || top)

Numbers are little-endian, of 4 bytes, ``place`` of 1. A level of odd length hands its
last node up unchanged. The digests say nothing about the shares, so a dealer may give
them to the server, which then makes the paths: paths need not be encrypted or trusted.

Guarantees: a share, dealer, holder, place, round or number of leaves that the root was
not made of is refused, unless SHA-256 has a collision. Does not give: that the shares
of a dealer lie on one polynomial; that the root is the dealer's, which its signature
says.
"""

from collections.abc import Sequence
from hashlib import sha256
from struct import Struct

from fedpref.errors import IntegrityError

DIGEST_BYTES = 32
_LEAF, _INNER, _SHARE, _ROOT = b"\x00", b"\x01", b"\x02", b"\x03"
_WHERE = Struct("<IIB")


def digest(rid: bytes, dealer: int, holder: int, place: int, share: bytes) -> bytes:
    """Digest of one share, 32 bytes.

    Args:
        rid: The round id, 32 bytes.
        dealer: Who made the share.
        holder: Whom it is for.
        place: Which of the dealer's secrets it is of, from 0.
        share: Its bytes, of a length that the protocol fixes.
    """
    return sha256(_SHARE + rid + _WHERE.pack(dealer, holder, place) + share).digest()


def digests(
    rid: bytes, dealer: int, holder: int, shares: Sequence[bytes]
) -> tuple[bytes, bytes]:
    """Digests of a holder's two shares, in order."""
    first, second = shares
    return digest(rid, dealer, holder, 0, first), digest(rid, dealer, holder, 1, second)


def leaf(first: bytes, second: bytes) -> bytes:
    """The leaf of one holder, from the digests of its two shares."""
    return sha256(_LEAF + first + second).digest()


def tree(leaves: Sequence[bytes]) -> tuple[bytes, list[tuple[bytes, ...]]]:
    """The root over some leaves, and for each leaf the path that :func:`check` takes.

    A path is the siblings from the leaf to the top, 32 bytes each.

    Raises:
        ValueError: There is no leaf.

    >>> one, two, three = (leaf(bytes([i]) * 32, bytes(32)) for i in (1, 2, 3))
    >>> root, paths = tree([one, two, three])
    >>> [len(path) for path in paths]
    [2, 2, 1]
    >>> check(root, two, 1, paths[1], 3)
    """
    if not leaves:
        raise ValueError("leaves = [], must have at least one")
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [
            sha256(_INNER + left + right).digest()
            for left, right in zip(below[::2], below[1::2], strict=False)
        ]
        if len(below) % 2:
            above.append(below[-1])
        levels.append(above)
    paths: list[tuple[bytes, ...]] = [()]
    # From the top: the path of a node is its sibling, then the path of its parent.
    for nodes in levels[-2::-1]:
        paths = [
            (*nodes[place ^ 1 : (place ^ 1) + 1], *paths[place >> 1])
            for place in range(len(nodes))
        ]
    return _root(levels[-1][0], len(leaves)), paths


def check(
    root: bytes, leaf: bytes, index: int, path: Sequence[bytes], count: int
) -> None:
    """Check that ``leaf`` is number ``index`` of the ``count`` leaves under ``root``.

    Args:
        root: The signed root.
        leaf: What :func:`leaf` gives for the shares (or digests) at hand.
        index: Where the holder stands among the dealer's holders, from 0.
        path: What :func:`tree` gives for this leaf; from the network.
        count: How many holders the dealer has.

    Raises:
        IntegrityError: It is not.
    """
    if not 0 <= index < count:
        raise IntegrityError(f"index = {index}, must be >= 0 and < {count} leaves")
    # Else a byte could move from one of two neighbours to the other unnoticed.
    if any(len(part) != DIGEST_BYTES for part in (leaf, *path)):
        raise IntegrityError(
            f"leaf {index}: it or a step of its path is not {DIGEST_BYTES} bytes long"
        )
    node, place, width, used = leaf, index, count, 0
    while width > 1:
        if place ^ 1 < width:
            if used == len(path):
                break
            pair = path[used] + node if place & 1 else node + path[used]
            node = sha256(_INNER + pair).digest()
            used += 1
        place >>= 1
        width = width + 1 >> 1
    if width > 1 or used != len(path):
        raise IntegrityError(
            f"path of leaf {index}: {len(path)} steps are not those of a tree of "
            f"{count} leaves"
        )
    if _root(node, count) != root:
        raise IntegrityError(f"leaf {index} of {count} is not under the signed root")


def _root(top: bytes, count: int) -> bytes:
    return sha256(_ROOT + count.to_bytes(4, "little") + top).digest()
