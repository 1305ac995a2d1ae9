"""What a few own answers add to the released model, for people who did not train it.

Guarantees: who is predicted had no part in the training; an offset is fitted to a
person's own revealed answers alone; the prior is the released second moment or a public
constant, so nothing here costs further epsilon. For every k the same answers are asked.

Does not give: privacy to the held-out people, whose answers are read directly:
simulation only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedpref.core.types import Float
from fedpref.errors import InputError
from fedpref.rounds import moment
from fedpref.rounds.server import ServerState
from fedpref.sections import PersonalSection
from fedpref.simulation.setup import Setup
from fedpref.study import result
from fedpref.study.answers import from_records, reveal
from fedpref.study.measure import measure
from fedpref.study.models import Model, Personal, Shared, own_only
from fedpref.study.prior import covariance, isotropic
from fedpref.study.settings import MOMENT_FACTOR, MOMENT_FLOOR

OWN, COMMON = "own answers only", "this run"
PUBLIC, RELEASED = "this run + own answers", "this run + own answers, released prior"


@dataclass(frozen=True, eq=False)
class Prior:
    """Prior covariance of an offset ``[D, D]``, whether it was released, and why."""

    covariance: Float
    released: bool
    why: str


def prior_of(setup: Setup, state: ServerState, section: PersonalSection) -> Prior:
    """The released prior, or the public one where there is none."""
    spread = section.prior
    public = isotropic(setup.scenario.model.features, spread)
    if setup.plan.spec.moment is None:
        return Prior(public, False, "no prior was released: the public one is used")
    if not state.moment.size:
        why = "too few devices answered: the public prior is used"
        return Prior(public, False, why)
    released = moment.mean(state.moment, setup.plan)
    try:
        found = covariance(
            released, floor=MOMENT_FLOOR * spread**2, inflation=MOMENT_FACTOR
        )
    except InputError as error:
        return Prior(public, False, f"{error}; here the public prior is used")
    why = "the prior is the released second moment of people's offsets"
    return Prior(found, True, why)


def curve(
    setup: Setup, state: ServerState, section: PersonalSection, prior: Prior
) -> tuple[dict[str, Any], Sequence[str]]:
    """The entry ``personal`` of ``evaluation.json``, and notes.

    Raises:
        InputError: No held-out person has more answers than the largest k.
    """
    model, vector = setup.model, state.released
    model.set(vector)
    answers = from_records(setup.split.heldout, model.features)
    head: Float = model.head.numpy()
    public = isotropic(len(head), section.prior)
    models: dict[str, Model] = {
        OWN: own_only(len(head), section.prior),
        COMMON: Shared(head),
        PUBLIC: Personal(head, public),
    }
    if prior.released:
        models[RELEASED] = Personal(head, prior.covariance)
    found: dict[tuple[str, int], list[tuple[int, Any]]] = {}
    short = 0
    for draw in range(section.draws):
        shown = reveal(answers, section.k, rng=np.random.default_rng(draw))
        short = shown.short
        for name, one in models.items():
            for k in section.k:
                predicted = one.predict(shown[k], shown.asked)
                measured = measure(shown.asked, predicted)
                found.setdefault((name, k), []).append((0, measured))
    groups = setup.dataset.people
    rows = {
        name: {str(k): result.cell(found[name, k], groups) for k in section.k}
        for name in models
    }
    best = RELEASED if prior.released else PUBLIC
    against_public = {
        str(k): result.gain(found[best, k], found[PUBLIC, k]) for k in section.k
    }
    entry = {
        "k": list(section.k),
        "draws": section.draws,
        "users": rows[COMMON][str(section.k[0])]["users"],
        "short": short,
        "released_prior": prior.released,
        "best": best,
        "models": rows,
        "gain_over_own": {
            str(k): result.gain(found[best, k], found[OWN, k]) for k in section.k
        },
        "gain_over_public": against_public if prior.released else None,
        "gain_over_common": {
            str(k): result.gain(found[best, k], found[COMMON, k]) for k in section.k
        },
    }
    notes = [f"own answers: {prior.why}"]
    if short:
        notes.append(
            f"own answers: held-out people with no more than {max(section.k)} answers "
            f"are not in this curve: {short}"
        )
    return entry, notes
