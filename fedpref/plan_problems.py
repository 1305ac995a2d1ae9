"""What is wrong with a wish for a privacy plan, all of it at once.

Guarantees: a specification without problems has types and ranges in which the rest of
``fedpref.plan`` is meant to work. Does not give: a plan; the noise may still not fit.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import isfinite
from typing import TYPE_CHECKING

from fedpref.core.types import Adversary, Noise, Participation, Unit
from fedpref.secagg.neighbours import MOST_ON_REQUEST
from fedpref.stages import Moment

if TYPE_CHECKING:
    from fedpref.plan import PrivacySpec

LARGEST_EPSILON = 64.0
STATISTICS = 3  # what a device says about its held-back records


def problems(spec: "PrivacySpec") -> Iterator[str]:
    """Each problem in words, with its value, the bound and the next step."""
    if wrong := _wrong_types(spec):
        yield from wrong
        return
    yield from _sizes(spec)
    yield from _people(spec)
    yield from _target(spec)
    if spec.evaluation:
        yield from _evaluation(spec)
    if spec.moment is not None:
        yield from _moment(spec, spec.moment)
    if spec.noise is Noise.DISTRIBUTED:
        yield from _distributed(spec)
    else:
        yield from _trusted(spec)


def _wrong_types(spec: "PrivacySpec") -> list[str]:
    """A string in place of an enum, say, would slip past every comparison below."""
    wanted = {
        "unit": Unit,
        "noise": Noise,
        "participation": Participation,
        "against": Adversary,
        "rounds": int,
        "spare_rounds": int,
        "units": int,
        "cohort": int,
        "units_per_client": int,
        "sampling_prob": Fraction,
        "coordinates": int,
        "word_bits": int,
        "complete_graph": bool,
        "evaluation": bool,
    }
    found = [
        f"{name} = {getattr(spec, name)!r}, must be of type {kind.__name__}"
        for name, kind in wanted.items()
        if type(getattr(spec, name)) is not kind
    ]
    return found + _wrong_moment(spec.moment)


def _wrong_moment(moment: object) -> list[str]:
    if moment is None:
        return []
    if type(moment) is not Moment:
        return [f"moment = {moment!r}, must be of type Moment"]
    right = type(moment.weights) is int and type(moment.share) is Fraction
    return [] if right else [f"moment = {moment}: weights must be int, share Fraction"]


def _sizes(spec: "PrivacySpec") -> Iterator[str]:
    if not (isfinite(spec.clip) and 2.0**-500 < spec.clip < 2.0**500):
        yield f"clip = {spec.clip}, must be positive and finite"
    if spec.rounds < 1:
        yield f"rounds = {spec.rounds}, must be >= 1"
    if spec.spare_rounds < 0:
        yield f"spare_rounds = {spec.spare_rounds}, must be >= 0"
    if spec.coordinates < 1:
        yield f"coordinates = {spec.coordinates}, must be >= 1: nothing is trained"
    if not 0 < spec.sampling_prob <= 1:
        yield f"sampling_prob = {spec.sampling_prob}, must lie in (0, 1]"
    if spec.units_per_client < 1:
        yield f"units_per_client = {spec.units_per_client}, must be >= 1"
    units = max(1, spec.units * spec.units_per_client)
    if spec.delta is not None and not 0 < spec.delta < 1 / units:
        yield (
            f"delta = {spec.delta:g}, must be > 0 and < 1/units = {1 / units:.3g}, or "
            "one person could be published outright"
        )


def _people(spec: "PrivacySpec") -> Iterator[str]:
    if spec.units < 2:
        yield f"units = {spec.units}, must be >= 2: one person cannot hide in a sum"
    if spec.units * 2**26 > 2**50:
        yield f"units = {spec.units}, must be <= {2**24}: the sum would not fit"
    if not 2 <= spec.cohort <= max(2, spec.units):
        yield f"cohort = {spec.cohort}, must be >= 2 and <= units = {spec.units}"
    everyone = spec.participation in (Participation.ALL, Participation.HIDDEN)
    if everyone and spec.cohort != spec.units:
        yield (
            f"cohort = {spec.cohort} with participation = {spec.participation}: all "
            f"{spec.units} people are asked; use participation = server or fixed"
        )
    if not 0 < spec.min_survivors <= 1:
        yield f"min_survivors = {spec.min_survivors}, must lie in (0, 1]"
    if not 0 <= spec.colluders < 1:
        yield f"colluders = {spec.colluders}, must be >= 0 and < 1"
    own_coin = spec.participation is Participation.HIDDEN or spec.unit is Unit.RECORD
    if spec.sampling_prob != 1 and not own_coin:
        yield (
            f"sampling_prob = {spec.sampling_prob} with participation = "
            f"{spec.participation}: people have coins of their own under "
            "participation = hidden only; records always may"
        )
    if spec.unit is Unit.USER and spec.units_per_client != 1:
        yield f"units_per_client = {spec.units_per_client} with unit = user, must be 1"


def _evaluation(spec: "PrivacySpec") -> Iterator[str]:
    if spec.unit is not Unit.USER:
        yield (
            f"evaluation = true with unit = {spec.unit}: an answer about all held-back "
            "records of a person is bounded per user, not per record; use unit = user "
            "or evaluate.federated = false"
        )
    if spec.coordinates < STATISTICS:
        yield (
            f"coordinates = {spec.coordinates}, must be >= {STATISTICS} with "
            "evaluation = true: its statistics travel in the first of them"
        )


def _moment(spec: "PrivacySpec", moment: Moment) -> Iterator[str]:
    if spec.unit is not Unit.USER:
        yield (
            f"moment with unit = {spec.unit}: an offset is made of all records of a "
            "person and bounded per user; use unit = user or personal.moment = false"
        )
    if not 1 <= moment.weights <= spec.coordinates:
        yield (
            f"moment.weights = {moment.weights}, must be >= 1 and <= coordinates = "
            f"{spec.coordinates}"
        )
    if not (isfinite(moment.norm) and 2.0**-500 < moment.norm < 2.0**500):
        yield f"moment.norm = {moment.norm}, must be positive and finite"
    if not 0 < moment.share < 1:
        yield (
            f"moment.share = {float(moment.share):g}, must be > 0 and < 1: the rest of "
            "the budget trains"
        )


def _target(spec: "PrivacySpec") -> Iterator[str]:
    target = spec.target_epsilon
    if spec.noise is Noise.NONE:
        if target is not None:
            yield (
                f"target_epsilon = {target:g} with noise = none: without noise epsilon "
                "is infinite; remove target_epsilon or choose noise = distributed"
            )
        return
    if target is None:
        yield f"target_epsilon is missing: noise = {spec.noise} is sized from it"
    elif not 0 < target <= LARGEST_EPSILON:
        yield (
            f"target_epsilon = {target:g}, must be > 0 and <= {LARGEST_EPSILON:g}; "
            "beyond that choose noise = none and say so"
        )


def _distributed(spec: "PrivacySpec") -> Iterator[str]:
    if spec.unit not in (Unit.USER, Unit.RECORD):
        yield f"unit = {spec.unit}: distributed noise covers unit = user and record"
    if spec.word_bits not in (16, 24):
        yield f"word_bits = {spec.word_bits}, must be 24 or, with rotation, 16"
    if spec.complete_graph and spec.cohort > MOST_ON_REQUEST:
        yield (
            f"cohort = {spec.cohort}, must be <= {MOST_ON_REQUEST} on the complete "
            "graph; take a smaller cohort, or complete_graph = false with against = "
            "outsider"
        )
    if not spec.complete_graph and spec.against is Adversary.SERVER:
        yield (
            "against = server: on a graph of drawn neighbours nothing is claimed "
            "against the server; use against = outsider or the complete graph"
        )


def _trusted(spec: "PrivacySpec") -> Iterator[str]:
    if spec.unit is not Unit.USER:
        yield f"unit = {spec.unit}: with {spec.noise} noise only unit = user is planned"
    if spec.participation is Participation.HIDDEN:
        yield (
            "participation = hidden: needs noise = distributed; here the server sees "
            "who contributes what"
        )
    if spec.noise is Noise.CENTRAL and spec.against is Adversary.SERVER:
        yield (
            "against = server: with central noise the server sees every update and its "
            "epsilon is infinite; use against = outsider"
        )
