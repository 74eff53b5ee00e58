"""What runs files of a format: which packages it needs, on which devices, and where it can be chosen by its speed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.devices import CPU
from u2net_zoo.errors import ArtifactError, MissingExtraError, OptionError, U2ZooError, one_line

from ..options import Options
from ..predictor import Predictor

if TYPE_CHECKING:
    from ..quantise.mixed_precision import Plan

__all__ = ["ON_CPU", "Runnable"]

ON_CPU: Mapping[str, str] = {CPU: ""}


class Runnable(ABC):
    """The half of a format that runs its files. Attributes: see `Format`."""

    name: ClassVar[str]
    title: ClassVar[str]
    extra: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    running: ClassVar[tuple[str, ...]] = ()
    running_extra: ClassVar[str] = ""
    direct: ClassVar[bool] = False
    steady: ClassVar[bool] = True
    devices: ClassVar[Mapping[str, str]] = ON_CPU

    @abstractmethod
    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> "Plan | None":
        """Writes the artifact to `path`, which does not exist yet; says which layers were rounded, if any."""

    @abstractmethod
    def open(self, path: Path) -> Predictor:
        """What `run` returns. A damaged file may raise anything, but must not end the process or keep it."""

    def open_on(self, path: Path, device: str) -> Predictor:
        """The same on another device of `devices` than the CPU; only where there is one.

        Raises:
            OptionError: the device was not taken. A runtime that quietly takes another one is asked what it took.
        """
        raise OptionError(f"--device {device}: {self.title} runs on {CPU} alone")

    def open_exact(self, path: Path) -> Predictor:
        """`open`, by kernels within float32's own noise; the same, where the runtime has none that are quicker."""
        return self.open(path)

    def evaluated(self) -> bool:
        """Whether files are evaluated here operation by operation, because their own runtime is not on this system."""
        return False

    def lacks(self, device: str) -> str:
        """Why the runtime, which is installed, cannot take a device of `devices` here; empty where it can."""
        return ""

    def run(self, path: Path, device: str = CPU, *, exact: bool = False) -> Predictor:
        """The artifact, ready to run.

        Args:
            device: a name of `u2net_zoo.devices.DEVICES`.
            exact: as it is compared with its weights, see `open_exact`; on the CPU.

        Raises:
            InputError: damaged, or no network that takes pictures.
            OptionError: the runtime has no such device, or not here.
        """
        self.check_device(device)
        try:
            if device != CPU:
                return self.open_on(path, device)
            return self.open_exact(path) if exact else self.open(path)
        except (U2ZooError, OSError, MemoryError, ImportError):
            raise
        except Exception as error:  # a damaged file fails in more ways than its runtime documents
            raise ArtifactError(f"{path}: damaged or not {self.title} ({one_line(error)})") from error

    def check_device(self, device: str) -> None:
        """Raises OptionError: the runtime has no such device, or not here; says what to install."""
        if device not in self.devices:
            raise OptionError(f"--device {device}: {self.title} runs on {', '.join(self.devices)}; choose one of these")
        if device != CPU and (why := self.lacks(device)):
            raise OptionError(f"--device {device}: {why}")

    def write_to_run(self, checkpoint: Checkpoint, path: Path, options: Options) -> None:
        """`write` for a file that is only run on this machine. Where `direct`, by what running needs and no more."""
        self.write(checkpoint, path, options)

    def require_running(self) -> None:
        """Raises MissingExtraError when a package that running needs is not installed."""
        self._require(self.running or self.packages, self.running_extra or self.extra)

    def can_run(self) -> bool:
        """Whether every package that running needs is installed."""
        return all(find_spec(package) for package in self.running or self.packages)

    def _require(self, packages: Sequence[str], extra: str) -> None:
        for package in packages:
            if find_spec(package) is None:
                raise MissingExtraError(f"format {self.name!r}", package, extra)
