"""Vectors of shares and of what commits to them."""

from vector_case import Case, refused
from vector_cohort import made

from fedpref.core import commitments, shares

RID = made("rid")
P25519, P521 = 2**255 - 19, 2**521 - 1


def cases():
    yield from sharing()
    yield from trees()


# --- shares ---------------------------------------------------------------------------


def polynomial(points):
    """Coefficients through some values, from the constant up, by Lagrange."""
    found = [0] * len(points)
    for x, y in points:
        basis, bottom = [1], 1
        for other, _ in points:
            if other != x:
                shifted, scaled = [0, *basis], [*(-other * c for c in basis), 0]
                basis = [a + b for a, b in zip(shifted, scaled, strict=True)]
                bottom = bottom * (x - other) % P521
        factor = y * pow(bottom, -1, P521)
        found = [(a + factor * b) % P521 for a, b in zip(found, basis, strict=True)]
    return found


def point(holder):
    return (holder + 1) // 2 if holder % 2 else -(holder // 2)


def sharing():
    page = "docs/guarantees/shares.md; docs/protocol.md, leg 1"
    secrets = [made("secret", 0), made("secret", 1)]
    key = made("coefficients")
    for name, holders, t in (
        ("split_three_of_five", [1, 2, 3, 4, 5], 3),
        ("split_far_holders", [1, 2**31, 2**32 - 2, 2**32 - 1], 2),
    ):
        dealt = shares.split(secrets, holders, t, key=key)
        rows = []
        for place in range(2):
            used = holders[:t]
            values = [int.from_bytes(dealt[i][place], "little") for i in used]
            row = polynomial(list(zip(map(point, used), values, strict=True)))
            rows.append([hex(c)[2:] for c in row[1:]])
        yield Case(
            f"shares/{name}",
            "split",
            "Two secrets and their shares; coefficients are there for who draws others",
            page,
            {
                "secrets": [s.hex() for s in secrets],
                "holders": holders,
                "threshold": t,
                "key": key.hex(),
                "coefficients": rows,
            },
        )
    dealt = shares.split(secrets, [1, 2, 3, 4, 5], 3, key=key)
    first = {i: dealt[i][0] for i in dealt}
    yield from joining(first, page)
    where = {"rid": RID.hex(), "dealer": 4, "holder": 9}
    yield Case(
        "shares/digests",
        "digest",
        "What a dealer commits to for one holder",
        "docs/guarantees/commitments.md",
        where | {"shares": [share.hex() for share in dealt[2]]},
    )


def joining(first, page):
    def case(name, what, found, t, expect, origin=page):
        given = {str(i): share.hex() for i, share in found.items()}
        given = {"shares": given, "threshold": t}
        return Case(f"shares/{name}", "join", what, origin, given, expect)

    secret = {"secret": made("secret", 0).hex()}
    some = {i: first[i] for i in (5, 2, 4)}
    yield case("join_three", "Any three of five, in any order", some, 3, secret)
    yield case("join_more", "More than t: the smallest numbers", first, 3, secret)
    two = {i: first[i] for i in (1, 2)}
    integrity = {"error": "IntegrityError"}
    yield case(
        *("bad_few", "Fewer shares than t", two, 3),
        refused("few", "2 shares, must be >= threshold = 3", **integrity),
    )
    yield case(
        *("bad_threshold_zero", "A threshold of none", two, 0),
        refused("few", "must be >= threshold = 0, which is >= 1", **integrity),
    )
    needle = "is not the encoding of a field element"
    wrong = {
        "prime": P521.to_bytes(66, "little"),
        "above": b"\xff" * 66,
        "short": first[2][:65],
        "long": first[2] + b"\0",
    }
    plus = int.from_bytes(first[2], "little") + P521
    wrong["second_form"] = plus.to_bytes(66, "little")
    for name, share in wrong.items():
        yield case(
            *(f"bad_field_{name}", "A share that is no field element's one encoding"),
            *({**two, 2: share, 3: first[3]}, 3),
            refused("field", needle, **integrity),
            "docs/guarantees/shares.md, postcondition 4",
        )
    for name, holder in (("zero", 0), ("beyond", 2**32)):
        yield case(
            *(f"bad_holder_{name}", "A share of a holder with no legal number"),
            *({holder: first[1], 2: first[2], 3: first[3]}, 3),
            refused("holder", "must be >= 1, < 2**32", **integrity),
            "docs/guarantees/shares.md: at holder 0 a share would be the secret",
        )
    yield case(
        *("bad_swapped", "The shares of two holders under each other's numbers"),
        *({1: first[2], 2: first[1], 3: first[3]}, 3),
        refused("secret", "open to no secret of 32 bytes", **integrity),
        "docs/guarantees/shares.md, postcondition 4",
    )


# --- trees ----------------------------------------------------------------------------


def trees():
    page = "docs/guarantees/commitments.md"
    leaves = [made("leaf", i) for i in range(8)]
    for count in (1, 2, 3, 5, 8):
        yield Case(
            f"trees/leaves_{count}",
            "tree",
            f"Root and paths of {count} leaves",
            page,
            {"leaves": [leaf.hex() for leaf in leaves[:count]]},
        )
    root, paths = commitments.tree(leaves[:5])
    good = {"root": root, "leaf": leaves[3], "index": 3, "path": paths[3], "count": 5}

    def case(name, what, expect=None, **change):
        given = good | change
        given = given | {
            "root": given["root"].hex(),
            "leaf": given["leaf"].hex(),
            "path": [step.hex() for step in given["path"]],
        }
        origin = f"{page}, postcondition 1"
        return Case(f"trees/{name}", "path", what, origin, given, expect or {})

    integrity = {"error": "IntegrityError"}
    not_under = refused("path", "is not under the signed root", **integrity)
    steps = refused("path", "steps are not those of a tree", **integrity)
    length = refused("path", "is not 32 bytes long", **integrity)
    one, two, three = paths[3]
    moved = leaves[3] + two[:1], (one, two[1:], three)
    yield case("path", "Leaf 3 of 5")
    yield case("bad_leaf", "Another leaf", not_under, leaf=leaves[2])
    yield case("bad_index", "Another holder's place", not_under, index=2)
    yield case("bad_count", "Another number of leaves", not_under, count=6)
    yield case("bad_root", "Another root", not_under, root=made("root"))
    yield case("bad_order", "Steps in another order", not_under, path=(two, one, three))
    yield case("bad_short", "A step too few", steps, path=(one, two))
    yield case("bad_long", "A step too many", steps, path=(one, two, three, one))
    outside = refused("path", "index = 5, must be >= 0 and < 5", **integrity)
    yield case("bad_outside", "A place that no leaf has", outside, index=5)
    yield case(
        *("bad_moved_byte", "A byte moved from a step to the leaf", length),
        leaf=moved[0],
        path=moved[1],
    )
