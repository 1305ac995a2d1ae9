"""What a reader of a curve has to be told: who was left out, and what was released.

Guarantees: counts and prices, never a name or an answer.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from math import isinf
from typing import Any

from fedpref.errors import InputError
from fedpref.study.answers import disagreements
from fedpref.study.cases import FIXED_SPLIT, Case, Material
from fedpref.study.contenders import ALONE, UNFIT, WORDS, Learned


def possible(
    models: tuple[str, ...], epsilons: Sequence[float], source: Material
) -> tuple[list[str], list[str]]:
    """The models that can be had at all, and why others cannot."""
    names, notes = list(models), []
    if "attributes" in names and source.attributes is None:
        names.remove("attributes")
        notes.append("attributes: this set has none beside its texts")
    if "boosting" in names and not any(isinf(epsilon) for epsilon in epsilons):
        names.remove("boosting")
        notes.append(UNFIT)
    if "boosting" in names and models == tuple(WORDS) and not find_spec("sklearn"):
        names.remove("boosting")
        notes.append("boosting: scikit-learn is not installed (fedpref[study])")
    if not names:
        raise InputError(f"models = {', '.join(models)}: {'; '.join(notes)}")
    return names, notes


def about(
    case: Case, source: Material, names: Sequence[str], ks: tuple[int, ...], short: int
) -> Iterator[str]:
    """What a reader should know of who is predicted and from what."""
    predicted = case.test.words
    if source.test is not None:
        yield (
            "split: everybody of the first folder learns, everybody of the second is "
            "predicted; a seed varies noise and draws"
        )
    elif case.name in FIXED_SPLIT:
        yield "split: the rule heldout-v1 for every seed; a seed varies noise and draws"
    else:
        yield "split: seed s holds out the people of the rule split-s"
    if short:
        yield (
            f"{short} of {len(predicted.people)} people of seed 1 have no more than "
            f"{max(ks)} answers and are not predicted at any k"
        )
    unsure = int((disagreements(predicted) > 0).sum())
    if unsure:
        yield (
            f"{unsure} people of seed 1 answered a question in two ways; both answers "
            "are kept"
        )
    if "majority" in names:
        yield f"majority: {WORDS['majority']}"
    if "boosting" in names:
        yield UNFIT


def released(
    learned: Learned, names: Sequence[str], epsilons: Sequence[float]
) -> dict[str, Any]:
    """By model and epsilon: what was released of the training people, at what price."""
    found: dict[str, Any] = {}
    for name in names:
        for epsilon in epsilons:
            population = learned.population(name, epsilon)
            if population is not None:
                lines = [*population.lines(), *population.notes]
                found.setdefault(name, {})[f"{epsilon:g}"] = lines
            elif name in ALONE:
                central = name == "majority" and isinf(epsilon)
                line = "counted in one place, no noise" if central else "nothing"
                found.setdefault(name, {})[f"{epsilon:g}"] = [line]
    return found
