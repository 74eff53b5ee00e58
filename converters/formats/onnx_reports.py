"""onnxruntime tells its maker which models are run and how, on Linux too from release 1.29 on: not from here."""

import os
from types import ModuleType

__all__ = ["SWITCH", "unreported_onnxruntime"]

SWITCH = "ORT_DISABLE_TELEMETRY"  # read once, when the library is loaded; what it starts then opens connections


def unreported_onnxruntime() -> ModuleType:
    """The package, imported so that it reports nothing; the one way in which it is imported here.

    Where a host program has imported it before, it is told to end its reports.
    """
    os.environ[SWITCH] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
