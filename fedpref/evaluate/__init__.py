"""How well a reward model predicts choices it has not seen, and what that is worth.

Numbers from here are about people directly: nothing is noised. They are for simulations
and for people who evaluate their own answers, never a release.
"""

from fedpref.evaluate.baselines import (
    Baseline,
    OwnAnswers,
    attributes,
    central,
    own_answers,
    position,
    untrained,
)
from fedpref.evaluate.menus import Menus, People, flatten
from fedpref.evaluate.metrics import (
    Bin,
    Difference,
    Evaluation,
    difference,
    evaluate,
    measure,
)
from fedpref.evaluate.newton import fit_choices

__all__ = [
    "Baseline",
    "Bin",
    "Difference",
    "Evaluation",
    "Menus",
    "OwnAnswers",
    "People",
    "attributes",
    "central",
    "difference",
    "evaluate",
    "fit_choices",
    "flatten",
    "measure",
    "own_answers",
    "position",
    "untrained",
]
