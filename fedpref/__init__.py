"""Federated preference learning with a stated, proved and enforced privacy bound.

>>> import fedpref
>>> sorted(set(fedpref.__all__) - {"__version__"})
['FedprefError', 'Record', 'load_reward', 'simulate']
"""

from typing import TYPE_CHECKING, Any

from fedpref.core.types import Record
from fedpref.errors import FedprefError

if TYPE_CHECKING:
    from fedpref.simulation import load_reward, simulate

__version__ = "0.1.0"
__all__ = ["FedprefError", "Record", "__version__", "load_reward", "simulate"]


def __getattr__(name: str) -> Any:
    """Import the parts that load torch only when they are asked for."""
    if name in {"load_reward", "simulate"}:
        from fedpref import simulation

        return getattr(simulation, name)
    raise AttributeError(f"module 'fedpref' has no attribute {name!r}")
