"""The objectives that there are: every file of this package without an underscore."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from fedpref.errors import ObjectiveError
from fedpref.objectives._about import About

_HERE = Path(__file__).parent

RESERVED = frozenset(
    [
        *("scores", "policy", "reference", "lengths", "choice", "label", "labels"),
        *("mismatched", "group", "previous", "preference"),
    ]
)


def names() -> tuple[str, ...]:
    """Every objective, in alphabetical order.

    >>> names()[:3]
    ('bco', 'bsr_batch', 'bsr_lagged')
    """
    found = (module.name for module in iter_modules([str(_HERE)]))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def about(name: str) -> About:
    """What the objective ``name`` says about itself.

    Raises:
        ObjectiveError: there is no such objective.

    >>> about("kto_batch").safe
    ('kto_user', 'kto_lagged', 'kto_zero')
    """
    said: About = module(name).ABOUT
    return said


def hyper_parameters(name: str) -> dict[str, Any]:
    """The keyword arguments of an objective with their defaults.

    >>> hyper_parameters("bt")
    {'margin': 0.0, 'smoothing': 0.0}
    """
    return {
        parameter.name: parameter.default
        for function in functions(module(name))
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in RESERVED
    }


def module(name: str) -> ModuleType:
    """The file of an objective; nothing outside this package is ever imported."""
    if name not in names():
        raise ObjectiveError(f"objective.name = {name!r}: {nearest(name, names())}")
    return import_module(f"fedpref.objectives.{name}")


def functions(found: ModuleType) -> list[Callable[..., Any]]:
    """``loss``, and ``statistic`` where there is one."""
    return [vars(found)[name] for name in ("loss", "statistic") if name in vars(found)]


def nearest(given: str, known: tuple[str, ...]) -> str:
    """The end of a message about a name that does not exist."""
    close = get_close_matches(given.lower(), known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    listed = f"known are {', '.join(known)}" if known else "there are none"
    return f"unknown; {listed}{hint}"
