"""Own caps and clips in a simulation: who gets which, and a check afterwards.

Guarantees: who gets which limits depends on the person's name and a public salt alone;
the check prices what every device noted by itself, with the bound that its contribution
really had, and does not ask the code that decided.

Does not give: limits that people chose (they are assigned here), or anything that a
deployment may print: sums over groups of limits are simulation only.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import accumulate
from math import isqrt
from typing import Any

from fedpref.core.accounting import epsilon
from fedpref.core.events import Event
from fedpref.errors import IntegrityError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.own import Limits, fitting, opened
from fedpref.sections import OwnBudgetsSection

Sent = Sequence[tuple[int, int]]
"""Request number and enforced squared bound of each contribution that counts."""


def assigned(
    section: OwnBudgetsSection | None, plan: PrivacyPlan, people: Iterable[str]
) -> dict[str, Limits]:
    """Each person's limits; empty where the scenario has none.

    Raises:
        PlanError: The plan has no room for own limits, or for these.
    """
    if section is None:
        return {}
    kinds = [Limits(cap, clip) for cap, clip in _kinds(section, plan)]
    for limits in kinds:
        opened(plan, limits)  # refuses before anything begins
    return {user: kinds[_place(user, section)] for user in people}


def verified(
    plan: PrivacyPlan, limits: Mapping[str, Limits], sent: Mapping[str, Sent]
) -> dict[str, Any]:
    """The entry ``own_budgets`` of ``evaluation.json``: sums over people, no person.

    Args:
        plan: The sealed plan.
        limits: By person.
        sent: What each person's device noted.

    Raises:
        IntegrityError: Somebody's cap was passed; it does not say whose.
    """
    groups: dict[tuple[float, float], list[Sent]] = {}
    passed = 0
    for user, own in limits.items():
        passed += _spent(plan, tuple(sent[user])) > own.cap
        groups.setdefault((own.cap, own.clip), []).append(sent[user])
    if passed:
        raise IntegrityError(
            f"own budgets: {passed} people passed their own cap, must be 0; nothing of "
            "this run may be published"
        )
    return {
        "people": len(limits),
        "releases": plan.reserved_rounds,
        "passed": passed,
        "groups": [
            {
                "cap": cap,
                "clip": clip,
                "people": len(people),
                "mean_contributed": sum(map(len, people)) / len(people),
            }
            for (cap, clip), people in sorted(groups.items())
        ],
    }


def note(entry: Mapping[str, Any]) -> str:
    """One sentence about :func:`verified`."""
    groups = "; ".join(
        f"cap {g['cap']:g}, clip {g['clip']:.3g}: {g['people']} people, contributed "
        f"{g['mean_contributed']:.1f} times of {entry['releases']}"
        for g in entry["groups"]
    )
    return (
        f"simulation only: own caps passed: {entry['passed']} of {entry['people']}, "
        f"recomputed from the devices' own notes ({groups})"
    )


def _kinds(
    section: OwnBudgetsSection, plan: PrivacyPlan
) -> Iterator[tuple[float, float]]:
    """Cap and clip of each place in the lists."""
    for place, cap in enumerate(section.caps):
        if section.clips is None:
            yield cap, plan.spec.clip
        elif section.clips == "fit":
            yield cap, fitting(plan, cap)
        else:
            yield cap, section.clips[place]


def _place(user: str, section: OwnBudgetsSection) -> int:
    """Position of a person's limits: a uniform number of the name and the salt."""
    digest = sha256(f"{section.salt}:{user}".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big") / 2**64
    return sum(drawn >= border for border in list(accumulate(section.shares))[:-1])


def _spent(plan: PrivacyPlan, sent: Sent) -> float:
    """Price of what a device noted, built anew from the plan's stages."""
    events: list[Event] = []
    for number, square in sent:
        event: Any = plan.stage(number).events[plan.spec.against]
        changed = {"sensitivity_squared": square}
        if hasattr(event, "sensitivity_l1"):
            changed["sensitivity_l1"] = min(isqrt(event.coordinates * square), square)
        events.append(replace(event, **changed))
    return epsilon(events, plan.delta).epsilon
