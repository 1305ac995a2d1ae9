"""When an outcome is the one that a vector expects.

An outcome has the form of ``expect``. Where something is refused, the product gives the
class of its error and the message, the plain implementation a reason in one word.
"""

from hashlib import sha256


def compare(outcome, expect):
    """Raises AssertionError where they differ."""
    if "replies_sha256" in expect:
        replies = [bytes.fromhex(reply) for reply in outcome["replies"]]
        digests = [sha256(reply).hexdigest() for reply in replies]
        outcome = {k: v for k, v in outcome.items() if k != "replies"}
        outcome["replies_sha256"] = digests
    assert set(outcome) == set(expect), (sorted(outcome), sorted(expect))
    for name, wanted in expect.items():
        found = outcome[name]
        if name == "refused":
            same_refusal(found, wanted)
        elif name == "left_out":
            same_left_out(found, wanted)
        else:
            assert found == wanted, (name, found, wanted)


def same_refusal(found, wanted):
    assert found.get("leg") == wanted.get("leg"), (found, wanted)
    if "message" in found:
        assert found["error"] == wanted["error"], (found, wanted)
        assert wanted["needle"] in found["message"], (found, wanted)
        if wanted.get("device") is not None:
            assert f"device {wanted['device']}" in found["message"], (found, wanted)
    else:
        assert found["reason"] == wanted["reason"], (found, wanted)
        assert found.get("device") == wanted.get("device"), (found, wanted)


def same_left_out(found, wanted):
    assert len(found) == len(wanted), (found, wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        ours = sorted(ours, key=lambda entry: entry["device"])
        assert [e["device"] for e in ours] == [e["device"] for e in theirs], (
            ours,
            theirs,
        )
        for one, two in zip(ours, theirs, strict=True):
            if "message" in one:
                assert two["needle"] in one["message"], (one, two)
            else:
                assert one["reason"] == two["reason"], (one, two)
