"""What runs weights when nothing is said: the fastest of the installed runtimes, tried once and remembered.

>>> from converters.engines import Weights, open_engine
>>> from u2net_zoo.preprocessing import PROFILES
>>> weights = Weights(checkpoint.digest, lambda: checkpoint)
>>> predictor, choice = open_engine(weights, PROFILES["paper"], (320, 320))
>>> predictor.outputs[0], choice.device
('mask', 'cpu')
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .asked_for import open_asked
    from .choice import VARIABLE, Choice, Weights, open_engine
    from .named_models import computes_its_weights
    from .runtimes import Candidate, candidate, candidates, runtime_named

__all__ = [
    "VARIABLE",
    "Candidate",
    "Choice",
    "Weights",
    "candidate",
    "candidates",
    "computes_its_weights",
    "open_asked",
    "open_engine",
    "runtime_named",
]


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: formats begin with this package too, and candidates with the formats."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    places = {"computes_its_weights": ".named_models", "open_asked": ".asked_for"} | dict.fromkeys(
        ("Candidate", "candidate", "candidates", "runtime_named"), ".runtimes"
    )
    return getattr(import_module(places.get(name, ".choice"), __name__), name)
