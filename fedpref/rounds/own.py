"""A person's own limits in a plan: what they bound, and when they are spent.

Guarantees: a person's bound in each stage is the plan's rule applied to their own clip
(whole steps rounded down, rounded limits of those steps); whether they speak depends on
the plan, their own limits and which requests they answered, never on what their data
say; what is charged is the bound that the contribution really had.

Does not give: durability. ``Keeper`` holds the book in memory, for simulations.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fedpref.core import own
from fedpref.core.events import Event, GaussianSum, SkellamSum
from fedpref.core.grid import largest_square
from fedpref.core.own import OwnBook
from fedpref.core.types import Float, Noise, Participation, Unit
from fedpref.errors import PlanError
from fedpref.plan import PrivacyPlan
from fedpref.rounds.contribution import Contribution, Turn
from fedpref.stages import Stage

_FIT_STEPS = 1024


@dataclass(frozen=True, repr=False)
class Limits:
    """A person's own cap (epsilon of everything they give) and clip (model units)."""

    cap: float
    clip: float

    def __repr__(self) -> str:
        return "Limits(contents hidden)"


def bound(stage: Stage, clip: float) -> tuple[float, int]:
    """Own clip of a stage in model units, and the largest squared norm in its steps.

    Raises:
        PlanError: The clip is above the plan's, or below one step of its grid.
    """
    if stage.scale is None:
        if not 0 < clip <= stage.clip:
            raise PlanError("own clip: must be above 0 and at most the plan's")
        return clip, stage.grid.sensitivity_squared(clip)
    steps = own.own_steps(clip, clip=stage.clip, steps=stage.scale.steps)
    length = stage.clip if steps == stage.scale.steps else steps * stage.grid.step
    return length, largest_square(steps, stage.words)


def event_of(plan: PrivacyPlan, stage: Stage, square: int) -> Event:
    """What one release of ``stage`` costs somebody with this bound.

    Raises:
        PlanError: The plan has no noise, is not about people, or counts on a draw that
            devices do not see.
    """
    if plan.spec.unit is not Unit.USER:
        raise PlanError(
            f"own budgets: unit = {plan.spec.unit}: a cap is a person's, and this plan "
            f"prices each {plan.spec.unit} by itself; use unit = user"
        )
    if plan.spec.noise is Noise.NONE:
        raise PlanError("own budgets: noise = none has no price, so no cap can be kept")
    event = stage.events[plan.spec.against]
    drawn = plan.spec.participation is Participation.SERVER
    if drawn and not isinstance(event, GaussianSum | SkellamSum):
        raise PlanError(
            "own budgets: participation = server amplifies by a draw that a device "
            "does not see, so it cannot count; set participation to all or hidden"
        )
    return own.own_event(event, square)


def opened(plan: PrivacyPlan, limits: Limits) -> OwnBook:
    """The book of a person before the first request of ``plan``.

    Raises:
        PlanError: The limits do not fit the plan.
    """
    offered = []
    for stage in plan.stages:
        _, square = bound(stage, limits.clip)
        offered.append((event_of(plan, stage, square), stage.rounds))
    return own.open_book(offered, cap=limits.cap, delta=plan.delta)


def fitting(plan: PrivacyPlan, cap: float) -> float:
    """The largest clip (a multiple of clip/1024) that keeps the whole plan in ``cap``.

    With it a person is never spent. Decided by the plan and the cap alone. Where even
    the smallest, of one step of the grid, does not fit, the smallest.
    """
    low, high = _least(plan), _FIT_STEPS + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _whole(plan, cap, middle) else (low, middle)
    return plan.spec.clip * low / _FIT_STEPS


def turn(plan: PrivacyPlan, limits: Limits, book: OwnBook, number: int) -> Turn:
    """The person's bound in request ``number``, and whether they speak."""
    stage = plan.stage(number)
    length, square = bound(stage, limits.clip)
    speaks = own.affords(book, event_of(plan, stage, square))
    return Turn(length, square, speaks)


class Keeper:
    """A device's contributions under its owner's limits; the book is in memory.

    Args:
        plan: The sealed plan.
        limits: The owner's.
        make: Makes the contribution of one turn.
        answered: Requests that were answered before, as far as anybody can know: each
            counts as if it had been.
    """

    def __init__(
        self,
        plan: PrivacyPlan,
        limits: Limits,
        make: Callable[[int, Float, Turn], Contribution],
        answered: Iterable[int] = (),
    ):
        self._plan, self._limits, self._make = plan, limits, make
        self._book = opened(plan, limits)
        self.sent: tuple[tuple[int, int], ...] = ()
        for number in answered:
            now = turn(plan, limits, self._book, number)
            self._charge(number, now.square if now.speaks else 0)

    def __call__(self, number: int, model: Float) -> Contribution:
        """The contribution; it is charged when this returns, and sent later."""
        now = turn(self._plan, self._limits, self._book, number)
        made = self._make(number, model, now)
        self._charge(number, made.bound)
        return made

    def refund(self, number: int) -> None:
        """Give a request back, on evidence that was checked."""
        self._book = own.refund(self._book, number)
        self.sent = tuple(one for one in self.sent if one[0] != number)

    def _charge(self, number: int, square: int) -> None:
        """``square`` is the bound that was enforced; 0 for a turn without data."""
        if not square:
            return
        event = event_of(self._plan, self._plan.stage(number), square)
        self._book = own.charge(self._book, number, event)
        self.sent = (*self.sent, (number, square))


def _least(plan: PrivacyPlan) -> int:
    """The smallest part of the clip that is at least a step in every stage."""
    steps = [stage.scale.steps for stage in plan.stages if stage.scale is not None]
    return max((-(-_FIT_STEPS // number) for number in steps), default=1)


def _whole(plan: PrivacyPlan, cap: float, part: int) -> bool:
    """Whether the plan's releases all fit with this part of its clip."""
    book = opened(plan, Limits(cap, plan.spec.clip * part / _FIT_STEPS))
    return sum(count for _, count in book.allowed) == plan.reserved_rounds
