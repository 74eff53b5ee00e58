"""What can run weights: the formats that are engines, and Torch. How each is given a network, and opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.devices import AUTO, CPU
from u2net_zoo.errors import ExportError, OptionError, U2ZooError, UnknownNameError, one_line
from u2net_zoo.reading import read_checkpoint

from ..format import Format
from ..options import Options
from ..predictor import Predictor
from ..registry import ENGINES, FORMATS
from ..torch_predictor import TorchPredictor
from . import torch_device

__all__ = ["TORCH", "Candidate", "candidate", "candidates", "read_network", "runtime_named", "write_network"]

TORCH = "torch"
FINAL = "final"


@dataclass(frozen=True)
class Candidate:
    """A runtime that may be chosen.

    Attributes:
        name: what people type after `--runtime`.
        fmt: whose files it runs; None: Torch.
    """

    name: str
    fmt: Format | None = None

    @property
    def runtime(self) -> str:
        """The package that computes, as people know it: `onnxruntime`."""
        if self.fmt is None:
            return TORCH
        return self.fmt.running[0].lower() if self.fmt.name in ENGINES and self.fmt.running else self.fmt.name

    @property
    def devices(self) -> Mapping[str, str]:
        return self.fmt.devices if self.fmt else torch_device.DEVICES

    @property
    def installed(self) -> bool:
        """Whether it can run weights here, on the CPU at least."""
        if self.fmt is None:
            return find_spec(TORCH) is not None
        return self.fmt.can_run() and (self.fmt.direct or all(find_spec(package) for package in self.fmt.packages))

    def lacks(self, device: str) -> str:
        """Why it cannot take a device of `devices` here; empty where it can."""
        if device == CPU:
            return ""
        return self.fmt.lacks(device) if self.fmt else torch_device.lacking(device)

    def check(self, device: str) -> None:
        """Raises OptionError: it has no such device, or not here; says what to install."""
        if self.fmt:
            self.fmt.check_device(device)
        elif device not in self.devices:
            raise OptionError(f"--device {device}: Torch runs on {', '.join(self.devices)}; choose one of these")
        elif self.installed and (why := self.lacks(device)):
            raise OptionError(f"--device {device}: {why}")

    def file(self, folder: Path) -> Path:
        """Where in `folder` its file of the network stands."""
        return self.fmt.target(folder, "network") if self.fmt else folder / "network.safetensors"

    def write(self, checkpoint: Checkpoint, path: Path, size: tuple[int, int]) -> None:
        """The network as it runs it, for photographs of one size. Raises U2ZooError."""
        try:
            self._write(checkpoint, path, size)
        except (U2ZooError, OSError, MemoryError):
            raise
        except Exception as error:  # exporters raise anything
            raise ExportError(f"{self.name}: the exporter failed: {one_line(error)}") from error

    def _write(self, checkpoint: Checkpoint, path: Path, size: tuple[int, int]) -> None:
        if self.fmt is None:
            write_network(checkpoint, path)
            return
        options = self.fmt.settle(Options(size=size, io="tensor" if "tensor" in self.fmt.choices["io"] else None))
        self.fmt.check(checkpoint, options)
        self.fmt.write_to_run(checkpoint, path, options)

    def open(self, path: Path, device: str) -> Predictor:
        """What `write` wrote, ready to run. Raises U2ZooError."""
        if self.fmt:
            return self.fmt.run(path, device)
        return self.of(read_network(path), device)

    def of(self, checkpoint: Checkpoint, device: str) -> Predictor:
        """Torch's alone: the network without a file."""
        if device == CPU:
            return TorchPredictor(checkpoint, fold=True)
        return torch_device.TorchOnDevice(checkpoint, device)


def runtime_named(name: str) -> str:
    """What people type after `--runtime`: a format, `torch`, `auto`, or an engine's package, `onnxruntime`.

    Raises UnknownNameError.
    """
    allowed = (AUTO, TORCH, *FORMATS)
    if name in allowed:
        return name
    packages = {candidate(engine).runtime: engine for engine in ENGINES}
    if name not in packages:
        raise UnknownNameError("runtime", name, list(allowed))
    return packages[name]


def candidate(name: str) -> Candidate:
    """By what people type. Raises UnknownNameError."""
    if name == TORCH:
        return Candidate(TORCH)
    if name not in FORMATS:
        raise UnknownNameError("runtime", name, ["auto", TORCH, *FORMATS])
    return Candidate(name, FORMATS[name])


def candidates(device: str) -> list[Candidate]:
    """All that are installed and have the device, Torch last: it takes longest to start.

    Raises:
        MissingExtraError: none is installed. OptionError: none has the device; says of each what it lacks.
    """
    every = [candidate(name) for name in (*ENGINES, TORCH)]
    installed = [each for each in every if each.installed]
    able = [each for each in installed if device in each.devices]
    lacks = {each: each.lacks(device) for each in able}
    found = [each for each in able if not lacks[each]]
    if found:
        return found
    if device == CPU:
        next(each.fmt for each in every if each.fmt).require_running()
    missing = [f"{each.runtime} is not installed" for each in every if device in each.devices and each not in able]
    raise OptionError(f"--device {device}: nothing here can take it: {'; '.join([*lacks.values(), *missing])}")


def write_network(checkpoint: Checkpoint, path: Path) -> None:
    """The folded network and all that its file has to say, to be read without Torch."""
    from safetensors.numpy import save

    from u2net_zoo.dilation import BLOCKS, kinds_of

    folded = checkpoint.fold()
    path.write_bytes(save(folded.full_state(), {BLOCKS: kinds_of(folded.arch), FINAL: folded.arch.final}))


def read_network(path: Path) -> Checkpoint:
    """What `write_network` wrote."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        final = (file.metadata() or {}).get(FINAL, "")
    found = read_checkpoint(path)
    return found.with_final(final) if final else found
