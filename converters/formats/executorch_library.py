"""ExecuTorch's runtime: its library, its threads, and a program's method in it."""

import contextlib
import os
import threading
from pathlib import Path
from types import ModuleType

import numpy as np

from u2net_zoo.errors import ArtifactError, one_line
from u2net_zoo.streams import silent_output
from u2net_zoo.system import processors

__all__ = ["LoadedMethod", "executorch_library", "loaded", "threads"]

LOADING = threading.Lock()


class LoadedMethod:
    """A method of a program in the runtime: an array to its answers."""

    def __init__(self, content: bytes, name: str, data: Path | None):
        import torch

        runtime = executorch_library()
        self.torch, self.content = torch, content  # the runtime reads from it as long as it lives
        kind = runtime.Verification.InternalConsistency
        try:
            with LOADING, silent_output(2):  # what is wrong with a file it tells there as well
                self.program = runtime._load_program_from_buffer(content, False, 0, kind, data and str(data))
                self.method = self.program.load_method(name)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ArtifactError(f"ExecuTorch cannot load it ({one_line(error)})") from None

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        try:
            answers = self.method.call([self.torch.from_numpy(np.ascontiguousarray(x))], True)
        except (RuntimeError, ValueError) as error:
            raise ArtifactError(f"ExecuTorch cannot run it ({one_line(error)})") from None
        return [answer.numpy() for answer in answers]


def loaded(content: bytes) -> LoadedMethod:
    """The method of a program that this project wrote."""
    return LoadedMethod(content, "forward", None)


def executorch_library() -> ModuleType:
    """The runtime's own module. `executorch.runtime` is the same behind imports of its exporter, which take seconds."""
    import torch  # noqa: F401 - the library needs Torch's

    with LOADING, silent_output(), silent_output(2):  # it tells of processors that it does not know
        import executorch

        folder = Path(next(iter(executorch.__path__)), "extension", "pybindings")
        add = getattr(os, "add_dll_directory", None)  # Windows alone has it
        with add(str(folder)) if add else contextlib.nullcontext():
            from executorch.extension.pybindings import _C
        if _C._threadpool_get_thread_count() != threads():
            _C._unsafe_reset_threadpool(threads())
    return _C


def threads() -> int:
    """Of one call: the processors, or fewer where `OMP_NUM_THREADS` says so, as Torch takes it."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(processors(), max(1, int(said))) if said.isascii() and said.isdecimal() else processors()
