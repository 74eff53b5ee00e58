"""onnxruntime's execution providers: which device is which, whether it is here, and whether it was really taken."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from u2net_zoo.devices import CPU
from u2net_zoo.errors import OptionError

from .onnx_reports import unreported_onnxruntime

__all__ = ["PROVIDERS", "Provider", "check_taken", "lacking", "preload"]


@dataclass(frozen=True)
class Provider:
    """A device of onnxruntime.

    Attributes:
        names: onnxruntime's, the preferred one first: they changed between its releases.
        remedy: how to get it. Its package takes the place of any other onnxruntime: of two, one is used.
        options: for each session.
        library: what its file in onnxruntime's folder is called, where it is one of its own.
        mend: what to do where that file cannot be loaded.
    """

    names: tuple[str, ...]
    remedy: str
    options: tuple[tuple[str, Any], ...] = ()
    library: str = ""
    mend: str = "look at its driver and libraries"

    @property
    def here(self) -> str | None:
        """The first of the names that this onnxruntime was built with."""
        onnxruntime = unreported_onnxruntime()
        return next((name for name in self.names if name in onnxruntime.get_available_providers()), None)


NVIDIA = "look at its driver; pip install 'onnxruntime-gpu[cuda,cudnn]' brings the libraries"
INSTEAD = "pip uninstall onnxruntime, then pip install {}"
# TF32, which CUDA's provider takes by itself, rounds products to 10 bits. Core ML's newer model kind has Resize.
PROVIDERS = {
    "cuda": Provider(
        ("CUDAExecutionProvider",), INSTEAD.format("onnxruntime-gpu"), (("use_tf32", 0),), "providers_cuda", NVIDIA
    ),
    "rocm": Provider(
        ("MIGraphXExecutionProvider", "ROCMExecutionProvider"),
        INSTEAD.format("onnxruntime-rocm"),
        (),
        "providers_[mr]*",
    ),
    "coreml": Provider(
        ("CoreMLExecutionProvider",), "onnxruntime has it on macOS alone", (("ModelFormat", "MLProgram"),)
    ),
    "directml": Provider(("DmlExecutionProvider",), INSTEAD.format("onnxruntime-directml")),
}


def lacking(device: str) -> str:
    """Why onnxruntime has no such device; empty where it was built with it."""
    onnxruntime = unreported_onnxruntime()
    provider = PROVIDERS[device]
    if provider.here:
        return ""
    found = ", ".join(onnxruntime.get_available_providers())
    return f"onnxruntime was built without {provider.names[0]}; it has: {found}; {provider.remedy}"


def preload() -> None:
    """CUDA's libraries may lie in Torch's or NVIDIA's packages, where onnxruntime does not look by itself."""
    onnxruntime = unreported_onnxruntime()
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()


def check_taken(session: Any, device: str, name: str) -> None:
    """Raises OptionError: onnxruntime could not load the provider and has silently taken another one."""
    taken: Sequence[str] = session.get_providers()
    if name in taken:
        return
    why = _why(PROVIDERS[device].library) or "its driver or its libraries are missing"
    raise OptionError(
        f"--device {device}: onnxruntime has {name} but cannot load it ({why}) and would run on {taken[0]}; "
        f"{PROVIDERS[device].mend}, or take --device {CPU}"
    )


def _why(library: str) -> str:
    """What the system says of the provider's own library: usually which other one it does not find."""
    onnxruntime = unreported_onnxruntime()
    folder = Path(str(onnxruntime.__file__)).parent / "capi"
    for file in sorted(folder.glob(f"*{library}.*")) if library else ():
        try:
            for each in (*folder.glob("*providers_shared.*"), file):
                ctypes.CDLL(str(each), mode=getattr(ctypes, "RTLD_GLOBAL", 0))
        except OSError as error:
            return " ".join(str(error).split())
    return ""
