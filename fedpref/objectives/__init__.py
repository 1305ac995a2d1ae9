"""Objectives: one file, one public function ``loss``, one number a record.

``load("plackett_luce")`` imports ``fedpref.objectives.plackett_luce`` and nothing
outside this package. Hyper-parameters are the keyword-only arguments of ``loss`` that
have a default; what it needs is asked for by reserved names:

    scores [records, K]            rewards of the options; an absent option scores -inf
    policy, reference [records, K] log-probabilities, policy and frozen base
    lengths [records, K]           response tokens
    choice [records]               index of the chosen option
    label [records]                thumbs up (1) or down (0)
    labels [records, objectives]   one label an objective
    mismatched [records]           log-ratio with another response of the user
    group [records]                index of the record's user
    previous                       a statistic released in the round before
    preference [records, objectives]   weights of the objectives

Guarantee under test (tests/contracts): the loss of record i depends on record i alone.
One that asks for ``group`` may couple records of one user and is refused where the
protected unit is the record.
"""

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from fedpref.core.types import Objective, Unit
from fedpref.errors import ObjectiveError

RESERVED = frozenset(
    [
        *("scores", "policy", "reference", "lengths", "choice", "label", "labels"),
        *("mismatched", "group", "previous", "preference"),
    ]
)


def names() -> tuple[str, ...]:
    """Every objective, in alphabetical order.

    >>> names()
    ('bt', 'plackett_luce')
    """
    return tuple(sorted(module.name for module in iter_modules(__path__)))


def load(name: str, hyper: Mapping[str, Any], *, unit: Unit) -> Objective:
    """The objective ``name`` with its hyper-parameters bound.

    Args:
        name: A file of this package.
        hyper: Values for its keyword-only arguments.
        unit: The protected unit; decides whether records may be coupled.

    Raises:
        ObjectiveError: No such objective, unknown hyper-parameters, values of another
            type than the default, or records coupled where a record is the unit.

    >>> sorted(load("bt", {"margin": 0.5}, unit=Unit.USER).needs)
    ['choice', 'scores']
    """
    if name not in names():
        raise ObjectiveError(f"objective.name = {name!r}: {_nearest(name, names())}")
    loss = import_module(f"{__name__}.{name}").loss
    parameters = inspect.signature(loss).parameters.values()
    needs = frozenset(p.name for p in parameters if p.name in RESERVED)
    defaults = {p.name: p.default for p in parameters if p.name not in RESERVED}
    for key, value in hyper.items():
        if key not in defaults:
            raise ObjectiveError(f"objective.{key}: {_nearest(key, tuple(defaults))}")
        if not _same_kind(value, defaults[key]):
            kind = type(defaults[key]).__name__
            raise ObjectiveError(f"objective.{key} = {value!r}, must be a {kind}")
    if "group" in needs and unit is not Unit.USER:
        raise ObjectiveError(
            f"objective {name} couples the records of a user, so a single record is "
            "not bounded; use privacy.unit = user or another objective"
        )
    return Objective(name, partial(loss, **hyper), needs)


def _nearest(given: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(given, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"unknown; known are {', '.join(known) or 'none'}{hint}"


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))
