from hashlib import sha256

import pytest

from fedpref.core.commitments import check, digest, digests, leaf, tree
from fedpref.errors import IntegrityError

RID = bytes(range(32))
SIZES = range(1, 21)


def leaves(count: int) -> list[bytes]:
    return [sha256(bytes([i])).digest() for i in range(count)]


def rfc_6962(nodes: list[bytes]) -> bytes:
    """Independent oracle: RFC 6962, section 2.1, split at the largest power of two."""
    if len(nodes) == 1:
        return nodes[0]
    half = 1
    while 2 * half < len(nodes):
        half *= 2
    left, right = rfc_6962(nodes[:half]), rfc_6962(nodes[half:])
    return sha256(b"\1" + left + right).digest()


@pytest.mark.parametrize("count", SIZES)
def test_every_leaf_is_under_the_root(count) -> None:
    own = leaves(count)
    root, paths = tree(own)
    assert root == sha256(b"\3" + count.to_bytes(4, "little") + rfc_6962(own)).digest()
    assert len(paths) == count
    for index, path in enumerate(paths):
        assert len(path) <= (count - 1).bit_length()
        check(root, own[index], index, path, count)


@pytest.mark.parametrize("count", SIZES)
def test_no_leaf_is_at_another_place_or_in_another_tree(count) -> None:
    own = leaves(count)
    root, paths = tree(own)
    for index, path in enumerate(paths):
        for other in range(-1, 22):
            if other != index:
                with pytest.raises(IntegrityError):
                    check(root, own[index], other, path, count)
                if 0 <= other < count:
                    with pytest.raises(IntegrityError):
                        check(root, own[other], index, path, count)
                    with pytest.raises(IntegrityError):
                        check(root, own[index], index, paths[other], count)
        for size in range(24):
            if size != count:
                with pytest.raises(IntegrityError):
                    check(root, own[index], index, path, size)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8])
def test_any_flipped_bit_is_refused(count) -> None:
    own = leaves(count)
    root, paths = tree(own)
    for index, path in enumerate(paths):
        parts = [root, own[index], *path]
        for part in range(len(parts)):
            for bit in range(256):
                bent = list(parts)
                bent[part] = flip(bent[part], bit)
                with pytest.raises(IntegrityError, match="not under the signed root"):
                    check(bent[0], bent[1], index, bent[2:], count)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("count", SIZES)
def test_a_path_too_short_or_too_long_is_refused(count) -> None:
    own = leaves(count)
    root, paths = tree(own)
    for index, path in enumerate(paths):
        wrong = [(*path, bytes(32)), (bytes(32), *path), (*path, b"")]
        if path:
            wrong += [path[:-1], path[1:], (), (path[0][:31], *path[1:])]
        for bent in wrong:
            with pytest.raises(IntegrityError):
                check(root, own[index], index, bent, count)


def test_no_byte_moves_from_a_leaf_to_its_sibling() -> None:
    """31 bytes and 33 make the same text as the 32 and 32 that were hashed."""
    own = leaves(4)
    root, paths = tree(own)
    near, far = paths[0]
    with pytest.raises(IntegrityError, match="not 32 bytes"):
        check(root, own[0][:31], 0, (own[0][31:] + near, far), 4)
    upper = sha256(b"\1" + own[0] + near).digest()
    with pytest.raises(IntegrityError, match="not 32 bytes"):
        check(root, upper + far[:1], 0, (far[1:],), 2)


def test_an_inner_node_does_not_pass_as_a_leaf() -> None:
    """A second pre-image over a tree of half the depth, as without the prefixes."""
    own = leaves(4)
    root, paths = tree(own)
    inner = sha256(b"\1" + own[0] + own[1]).digest()
    with pytest.raises(IntegrityError):
        check(root, inner, 0, paths[0][1:], 2)
    assert leaf(own[0], own[1]) != inner
    first = digest(RID, 1, 2, 0, b"s" * 66)
    assert first != sha256(b"\0" + RID).digest()


def test_a_digest_names_everything_it_is_about() -> None:
    base = (RID, 1, 2, 0, b"s" * 66)
    changed = [
        (flip(RID, 0), *base[1:]),
        (RID, 2, 1, 0, base[4]),
        (RID, 3, 2, 0, base[4]),
        (RID, 1, 3, 0, base[4]),
        (RID, 1, 2, 1, base[4]),
        (*base[:4], flip(base[4], 527)),
    ]
    assert digest(*base) not in {digest(*other) for other in changed}
    assert len({digest(*other) for other in changed}) == len(changed)
    by_hand = b"\2" + RID + bytes([1, 0, 0, 0, 2, 0, 0, 0, 0]) + b"s" * 66
    assert digest(*base) == sha256(by_hand).digest()


def test_one_share_is_checked_with_the_digest_of_the_other() -> None:
    """Leg 4: the server sees one of a holder's two shares, and never the other."""
    held = {
        holder: (bytes([holder]) * 66, bytes([99 + holder]) * 66) for holder in (4, 7)
    }
    own = {holder: digests(RID, 3, holder, pair) for holder, pair in held.items()}
    root, paths = tree([leaf(*pair) for pair in own.values()])
    seed, key = held[7]
    check(root, leaf(digest(RID, 3, 7, 0, seed), own[7][1]), 1, paths[1], 2)
    check(root, leaf(own[7][0], digest(RID, 3, 7, 1, key)), 1, paths[1], 2)
    for wrong in (
        leaf(digest(RID, 3, 7, 0, key), own[7][1]),  # the other kind of share
        leaf(digest(RID, 3, 7, 0, held[4][0]), own[7][1]),  # another holder's
        leaf(own[7][1], own[7][0]),
    ):
        with pytest.raises(IntegrityError):
            check(root, wrong, 1, paths[1], 2)


def test_a_tree_without_leaves_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        tree([])
    with pytest.raises(IntegrityError):
        check(bytes(32), bytes(32), 0, (), 0)
