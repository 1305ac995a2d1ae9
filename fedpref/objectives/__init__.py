"""Objectives: one file, one public function ``loss``, one number a record.

``load("plackett_luce", ...)`` imports ``fedpref.objectives.plackett_luce`` and nothing
outside this package. Beside ``loss`` a file has ``ABOUT``, what it says about itself.
Hyper-parameters are the keyword-only arguments of ``loss`` that have a default; what it
needs is asked for by reserved names:

    scores [records, K]            rewards of the options; an absent option is -inf
    policy, reference [records, K] log-probabilities summed over response tokens, of the
                                   policy and of the frozen base; an absent option is
                                   -inf in ``policy``; K = 1 where records are thumbs
    lengths [records, K]           response tokens, at least 1
    choice [records]               index of the chosen option
    label [records]                thumbs up (1) or down (0)
    labels [records, objectives]   index of each objective's winner; -1: no answer
    mismatched [records]           log-ratio with another response of the same user; 0
                                   where there is none
    group [records]                number of the record's user
    previous [1]                   what the round before has released of ``statistic``,
                                   the mean over units of each one's mean over its
                                   records; 0 in the first round. People who are
                                   away or have fewer records than the plan allows
                                   for count as zeros in it, as in the update
    preference [records, objectives]   weights of the objectives, each row sums to 1

A file that asks for ``previous`` has a second function, ``statistic``: one number a
record, which goes into the unit's contribution as one more coordinate.

Guarantee under test (tests/contracts): the loss of record i depends on record i alone.
One that asks for ``group`` or ``mismatched`` may couple records of one user and is
refused where the protected unit is the record. One that couples the batch is refused
where there is noise. What stands in for them is named.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fedpref.core.types import Objective, Unit
from fedpref.errors import ObjectiveError
from fedpref.objectives._about import About, Coupling, Range, Takes, Trains
from fedpref.objectives._catalogue import (
    RESERVED,
    about,
    functions,
    hyper_parameters,
    module,
    names,
    nearest,
)
from fedpref.objectives._records import check_records

__all__ = [
    "RESERVED",
    "About",
    "Coupling",
    "Range",
    "Takes",
    "Trains",
    "about",
    "check_records",
    "hyper_parameters",
    "load",
    "names",
]


def load(
    name: str, hyper: Mapping[str, Any], *, unit: Unit, private: bool = True
) -> Objective:
    """The objective ``name`` with its hyper-parameters bound.

    Args:
        name: a file of this package.
        hyper: values for its keyword-only arguments.
        unit: the protected unit; decides whether records may be coupled.
        private: whether there is noise to be added; only without it may a loss couple
            the whole batch.

    Raises:
        ObjectiveError: no such objective, unknown hyper-parameters, values of another
            type than the default or out of range, or records coupled in a way that
            leaves a unit unbounded.

    >>> sorted(load("bt", {"margin": 0.5}, unit=Unit.USER).needs)
    ['choice', 'scores']
    """
    both = functions(module(name))
    said, values = about(name), hyper_parameters(name)
    for key, value in hyper.items():
        if key not in values:
            raise ObjectiveError(f"objective.{key}: {nearest(key, tuple(values))}")
        if not _same_kind(value, values[key]):
            kind = type(values[key]).__name__
            raise ObjectiveError(f"objective.{key} = {value!r}, must be a {kind}")
        if value not in said.ranges[key]:
            must = said.ranges[key].words
            raise ObjectiveError(f"objective.{key} = {value!r}, must be {must}")
    values |= hyper
    read = [RESERVED.intersection(inspect.signature(f).parameters) for f in both]
    needs, asked = frozenset(read[0]), frozenset().union(*read)
    _refuse_coupling(name, said, asked, unit=unit, private=private)
    bound = [_bind(function, values) for function in both]
    return Objective(name, bound[0], needs, values, bound[1] if bound[1:] else None)


def _refuse_coupling(
    name: str, said: About, asked: frozenset[str], *, unit: Unit, private: bool
) -> None:
    instead = f"use {', '.join(said.safe)}, or " if said.safe else "use "
    if {"group", "mismatched"} & asked and unit is not Unit.USER:
        raise ObjectiveError(
            f"objective {name} couples the records of a user, so a single record is "
            f"not bounded; {instead}privacy.unit = user"
        )
    if said.coupling is Coupling.BATCH and private:
        raise ObjectiveError(
            f"objective {name} couples everybody's records in a batch, so nobody's "
            f"effect is bounded by a clip; use {', '.join(said.safe)}"
        )


def _bind(function: Callable[..., Any], values: Mapping[str, Any]) -> partial[Any]:
    own = inspect.signature(function).parameters
    return partial(function, **{key: values[key] for key in values if key in own})


def _same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, type(default))
