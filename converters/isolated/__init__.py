"""A predictor in a process of its own: frameworks do not meet, a crash is an error, seconds and memory are its own.

    >>> from converters.isolated import open_isolated
    >>> with open_isolated(artifact) as predictor:
    ...     predictor.size, predictor.usage.memory > 0
    ((320, 320), True)

The two processes talk over a socket in JSON headers and raw arrays; nothing is unpickled. The other one is started as
`python -P -m converters.isolated.worker`, so that it imports nothing out of the current folder, and it opens what
functions of this package open. `IsolatedProcess` is the same for any Python and any function: `bootstrap.py` runs the
worker under an interpreter that is not to see what is installed here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import LIMIT, IsolatedProcess
    from .predictors import ARTIFACT, IsolatedPredictor, OpenPredictor, Usage, open_isolated

__all__ = ["ARTIFACT", "LIMIT", "IsolatedPredictor", "IsolatedProcess", "OpenPredictor", "Usage", "open_isolated"]


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: the other process begins with this package too, and needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = ".client" if name in ("LIMIT", "IsolatedProcess") else ".predictors"
    return getattr(import_module(module, __name__), name)
