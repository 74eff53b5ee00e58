"""A predictor in a process of its own: frameworks do not meet, a crash is an error, seconds and memory are its own.

    >>> from converters.isolated import open_isolated
    >>> with open_isolated(artifact) as predictor:
    ...     predictor.size, predictor.usage.memory > 0
    ((320, 320), True)

The two processes talk over a socket in JSON headers and raw arrays; nothing is unpickled. The other one is started as
`python -P -m converters.isolated.worker`, so that it imports nothing out of the current folder, and it opens what
functions of this package open.
"""

from .client import ARTIFACT, LIMIT, IsolatedPredictor, OpenPredictor, Usage, open_isolated

__all__ = ["ARTIFACT", "LIMIT", "IsolatedPredictor", "OpenPredictor", "Usage", "open_isolated"]
