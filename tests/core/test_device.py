"""A device's own ledger against a list of what may follow what."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedpref.core import device
from fedpref.core.device import DeviceBook, Evidence
from fedpref.errors import BudgetError, IntegrityError

RID, UPLOAD, VIEW, CHOICE = b"rid", b"upload", b"view", b"choice"

STEPS = {
    "spend": lambda book: device.spend(book, RID, UPLOAD),
    "agree": lambda book: device.agree(book, RID, VIEW),
    "release": lambda book: device.release(book, RID, CHOICE),
    "bury": lambda book: device.bury(book, RID),
    "refund": lambda book: device.refund(book, RID, Evidence.TOMBSTONES),
}
OTHER = {
    "spend": lambda book: device.spend(book, RID, b"other"),
    "agree": lambda book: device.agree(book, RID, b"other"),
    "release": lambda book: device.release(book, RID, b"other"),
}


def after(*names, limit=3):
    book = device.reserve(DeviceBook(limit), 1, RID)
    for name in names:
        book = STEPS[name](book)
    return book


def test_a_round_that_goes_well() -> None:
    book = after("spend", "agree", "release")
    (entry,) = book.rounds
    assert (entry.number, entry.rid, entry.upload) == (1, RID, UPLOAD)
    assert (entry.view, entry.release, entry.buried) == (VIEW, CHOICE, False)
    assert entry.closed
    assert entry.counts
    assert book.charged == 1
    assert book.find(RID) == entry


@pytest.mark.parametrize(
    ("names", "charged"),
    [
        ((), 0),
        (("bury",), 0),
        (("spend",), 1),
        (("spend", "bury"), 1),
        (("spend", "agree"), 1),
        (("spend", "agree", "bury"), 1),
        (("spend", "agree", "release"), 1),
        (("spend", "refund"), 0),
        (("spend", "bury", "refund"), 0),
        (("spend", "agree", "refund"), 0),
    ],
)
def test_sent_is_spent_until_refunded(names, charged) -> None:
    assert after(*names).charged == charged


@pytest.mark.parametrize(
    ("names", "then"),
    [
        ((), "agree"),  # nothing was sent
        ((), "release"),
        ((), "refund"),
        (("bury",), "spend"),
        (("bury",), "refund"),
        (("spend",), "release"),  # no list was signed
        (("spend", "bury"), "agree"),
        (("spend", "agree", "bury"), "release"),  # a tombstone excludes a release
        (("spend", "agree", "refund"), "release"),  # and so does a refund
        (("spend", "refund"), "agree"),
        (("spend", "agree", "release"), "bury"),  # a release excludes a tombstone
        (("spend", "agree", "release"), "refund"),
    ],
)
def test_what_may_not_follow(names, then) -> None:
    book = after(*names)
    with pytest.raises(IntegrityError, match="device ledger"):
        STEPS[then](book)


@pytest.mark.parametrize(
    ("names", "then", "needle"),
    [
        (("spend",), "spend", "another upload"),
        (("spend", "agree"), "agree", "another list of survivors"),
        (("spend", "agree", "release"), "release", "another set of shares"),
    ],
)
def test_one_of_each_and_the_same_again_is_free(names, then, needle) -> None:
    book = after(*names)
    with pytest.raises(IntegrityError, match=needle):
        OTHER[then](book)
    if then != "release":
        assert STEPS[then](book) == book
    assert STEPS["release"](after("spend", "agree", "release")) == after(
        "spend", "agree", "release"
    )


@pytest.mark.parametrize("number", [1, 0])
def test_round_numbers_rise(number) -> None:
    with pytest.raises(IntegrityError, match=f"round = {number}, must be > 1"):
        device.reserve(after("bury"), number, b"next")


@pytest.mark.parametrize("names", [(), ("spend",), ("spend", "agree")])
def test_the_round_before_must_be_closed(names) -> None:
    with pytest.raises(IntegrityError, match="round 1 is still open"):
        device.reserve(after(*names), 2, b"next")


def test_the_limit_counts_what_is_charged() -> None:
    book = after("spend", "bury", limit=1)
    with pytest.raises(BudgetError, match="rounds = 2, must be <= 1"):
        device.reserve(book, 2, b"next")
    refunded = device.refund(book, RID, Evidence.AGREED_WITHOUT_ME)
    assert device.reserve(refunded, 2, b"next").last == 2
    with pytest.raises(BudgetError):
        device.reserve(DeviceBook(0), 1, RID)


def test_an_unknown_round_is_refused() -> None:
    with pytest.raises(IntegrityError, match="never reserved"):
        device.spend(DeviceBook(3), RID, UPLOAD)


def test_only_the_named_round_changes() -> None:
    book = device.reserve(after("spend", "bury"), 5, b"next")
    refunded = device.refund(book, RID, Evidence.TOMBSTONES)
    assert refunded.rounds[1] == book.rounds[1]
    assert refunded.rounds[0] == replace(
        book.rounds[0], refund=Evidence.TOMBSTONES, buried=True
    )


@given(st.lists(st.sampled_from([*STEPS, *(f"other {name}" for name in OTHER)])))
def test_no_history_breaks_a_promise(names) -> None:
    """Steps in any order, refused ones left out: the promises hold throughout."""
    book = after()
    seen: dict[str, bytes] = {}
    for name in names:
        step = OTHER[name[6:]] if name.startswith("other ") else STEPS[name]
        try:
            book = step(book)
        except IntegrityError:
            continue
        (entry,) = book.rounds
        assert not (entry.release and entry.buried)
        assert not (entry.release and entry.refund)
        assert not entry.release or entry.view
        assert not entry.view or entry.upload
        assert book.charged == (entry.upload is not None and entry.refund is None)
        for field in ("upload", "view", "release"):
            value = getattr(entry, field)
            assert seen.setdefault(field, value) == value if value else True
