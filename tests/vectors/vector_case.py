"""One case: where it lies, what it is, what goes in, and what must come out."""

from dataclasses import dataclass, field

BOTH = ("product", "plain")


@dataclass
class Case:
    """``expect`` may name only what is refused; the rest is what the package gives."""

    path: str
    type: str
    what: str
    origin: str
    input: dict
    expect: dict = field(default_factory=dict)
    checked_by: tuple = BOTH


def refused(reason, needle, *, error="MessageError", device=None, leg=None):
    """What a refusal must be: the reason in one word, and the package's own error."""
    found = {"reason": reason, "error": error, "needle": needle}
    if device is not None:
        found["device"] = device
    if leg is not None:
        found["leg"] = leg
    return {"refused": found}


def left_out(device, reason, needle):
    """A reply that a server leaves out."""
    return {"device": device, "reason": reason, "needle": needle}
