"""What may be said of an exception that nobody foresaw: its type and where it was.

A library's message may repeat what it was working on, which may be what a person wrote.

Guarantees: what :func:`told` gives, and what a :func:`guarded` function raises, holds
type, file, line and function names and nothing of the exception's own words; nothing is
chained to it. Does not give: that whoever runs a debugger sees no more.
"""

import functools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from fedpref.errors import FedprefError

P = ParamSpec("P")
R = TypeVar("R")

_FRAMES = 6


def told(error: BaseException) -> str:
    """Type and place of an exception, innermost frame first.

    >>> try:
    ...     {}["what somebody wrote"]
    ... except KeyError as error:
    ...     told(error).split(" at ")[0]
    'KeyError'
    """
    frames = traceback.extract_tb(error.__traceback__)[::-1][:_FRAMES]
    where = ", ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames)
    return f"{type(error).__name__} at {where}"


def guarded(call: Callable[P, R]) -> Callable[P, R]:
    """``call``, whose unforeseen exceptions become a ``FedprefError`` without words.

    Our own errors come through as they are.

    >>> @guarded
    ... def broken() -> None:
    ...     raise ValueError("what somebody wrote")
    >>> broken()
    Traceback (most recent call last):
    fedpref.errors.FedprefError: a fault of ours: ValueError at ...
    """

    @functools.wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except FedprefError:
            raise
        except Exception as error:
            fault = told(error)
        # Outside of the handler: what is raised within it drags the other one along.
        raise FedprefError(f"a fault of ours: {fault}; please report it")

    return run
