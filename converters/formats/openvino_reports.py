"""OpenVINO tells its maker when its converter is imported and used, by a package of its own: not from here."""

import contextlib
import sys
import threading
from collections.abc import Iterator

__all__ = ["unreported"]

REPORTER = "openvino_telemetry"
TURN = threading.RLock()  # it is the process's own list of modules that is changed


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Imports and uses of `openvino` inside are not reported: it takes the stand-in that it has for that case."""
    with TURN:
        yield from _without_reporter()


def _without_reporter() -> Iterator[None]:
    reporter = sys.modules.get(REPORTER)
    sys.modules[REPORTER] = None  # type: ignore[assignment]  # for Python: not installed
    try:
        try:
            from openvino.tools.ovc import telemetry_stub, telemetry_utils
        except ImportError:  # no converter, or no OpenVINO: nothing that would report
            yield
            return
        used, telemetry_utils.tm = telemetry_utils.tm, telemetry_stub  # a host may have imported it before
        try:
            yield
        finally:
            telemetry_utils.tm = used
    finally:
        sys.modules.pop(REPORTER, None)
        if reporter is not None:
            sys.modules[REPORTER] = reporter
