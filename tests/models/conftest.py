"""Small objectives of the tests' own, and one of each kind that must be refused."""

import pytest
import torch
from torch.nn import functional as F

from fedpref.core.types import Objective, Unit
from fedpref.objectives import Coupling, about, load, names


def softmax_choice(*, scores, choice):
    return F.cross_entropy(scores, choice, reduction="none")


def sum_of_pairs(*, scores, choice):
    chosen = scores.gather(1, choice[:, None])
    others = torch.ones_like(scores).scatter(1, choice[:, None], 0.0)
    return (others * F.softplus(scores - chosen)).sum(1)


def spread_in_group(*, scores, choice, group):
    """Couples the records of one user: distance of each from the user's mean."""
    value = -softmax_choice(scores=scores, choice=choice)
    count = torch.bincount(group).to(value.dtype)
    mean = torch.zeros_like(count).index_add(0, group, value) / count
    return (value - mean[group]) ** 2 - value


OBJECTIVES = {
    function.__name__: Objective(function.__name__, function, frozenset(needs))
    for function, needs in (
        (softmax_choice, ("scores", "choice")),
        (sum_of_pairs, ("scores", "choice")),
        (spread_in_group, ("scores", "choice", "group")),
    )
}


@pytest.fixture(params=sorted(OBJECTIVES))
def objective(request) -> Objective:
    """Each of the tests' own objectives."""
    return OBJECTIVES[request.param]


@pytest.fixture(scope="session")
def softmax() -> Objective:
    """The softmax choice objective."""
    return OBJECTIVES["softmax_choice"]


@pytest.fixture(scope="session")
def grouped() -> Objective:
    """The objective that couples records of one user."""
    return OBJECTIVES["spread_in_group"]


@pytest.fixture(scope="session")
def every_objective() -> list[Objective]:
    """The tests' own and every shipped one that a reward model can serve."""
    shipped = [
        load(name, {}, unit=Unit.USER)
        for name in names()
        if about(name).coupling is not Coupling.BATCH
    ]
    served = {"scores", "choice", "group"}
    usable = [objective for objective in shipped if objective.needs <= served]
    assert usable
    return [*OBJECTIVES.values(), *usable]
