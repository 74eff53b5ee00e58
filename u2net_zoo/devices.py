"""What a network can be run on. Which of them a runtime can take, its format says; see `converters.Format.devices`."""

from .errors import UnknownNameError

__all__ = ["AUTO", "BY_PREFERENCE", "CPU", "DEVICES", "get_device"]

CPU = "cpu"
AUTO = "auto"  # the first of `BY_PREFERENCE` that is here
DEVICES = (CPU, "cuda", "rocm", "coreml", "directml", "openvino:GPU")
BY_PREFERENCE = (*DEVICES[1:], CPU)


def get_device(name: str) -> str:
    """A name of `DEVICES`, or `auto`, however its letters are written. Raises UnknownNameError."""
    known = {each.lower(): each for each in (*DEVICES, AUTO)}
    if name.strip().lower() not in known:
        raise UnknownNameError("device", name, known.values())
    return known[name.strip().lower()]
