"""What a format is: how a checkpoint is written in it, how a file in it is run, and how close it has to come."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from u2net_zoo.arch import Architecture
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import MissingExtraError, OptionError, OutputError, UnknownNameError
from u2net_zoo.preprocessing import PROFILES

from .baking import Baking, baking_of
from .quantise import photographs

if TYPE_CHECKING:
    from .proof import Report
    from .quantise.plan import Plan

__all__ = [
    "DEFAULT_SIZE",
    "DYNAMIC",
    "Format",
    "MaskBound",
    "Options",
    "Predictor",
    "describe",
    "output_names",
]

DYNAMIC = 0  # a batch of any size
DEFAULT_SIZE = (320, 320)  # what the authors feed
UNLISTED = ("size", "sizes", "span", "profile", "stretch", "calibration")  # options that have rules instead of choices
LARGEST_SIDE = 2048  # the float64 reference of u2net takes 11 GB there, in 64 channels at full size
LARGEST_BATCH = 64


@dataclass(frozen=True)
class Options:
    """What can be asked of a format. None: not asked, the format's own default.

    Attributes:
        size: (H, W) of the input; of a flexible one its default.
        sizes: every (H, W) that it takes, `size` among them; empty: `size` alone, or a `span`.
        span: lowest and highest (H, W); sides are the network's multiples (32; IS-Net 64) in between.
        batch: batch size; DYNAMIC for any.
        precision: `fp32`, `fp16`, `int8`, `palette8`, `palette6` or `palette4`.
        outputs: `mask` (d0 alone) or `all` (`mask, side1, …`).
        io: `tensor`: the normalised tensor goes in, d0 comes out; `image`: pixels 0..255 go in, grey levels come out.
        profile: whose preparation and ending an `image` artifact has in its graph.
        stretch: min-max in an `image` artifact's graph; None: as the profile does.
        target: lowest iOS of a Core ML package, `iOS15` to `iOS18`.
        opset: of ONNX.
        via: `native`, or another exporter's name.
        calibration: folder of photographs on which reduced precision is measured; None: those of scikit-image.
    """

    size: tuple[int, int] | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    span: tuple[tuple[int, int], tuple[int, int]] | None = None
    batch: int | None = None
    precision: str | None = None
    outputs: str | None = None
    io: str | None = None
    profile: str | None = None
    stretch: bool | None = None
    target: str | None = None
    opset: int | None = None
    via: str | None = None
    calibration: Path | None = None


@dataclass(frozen=True)
class MaskBound:
    """How far the masks of photographs may be from the float32 masks at a reduced precision."""

    iou: float  # at least, mean over the photographs, at 0.5
    mae: float  # at most, mean, of 1
    worst: float = 0.0  # IoU of each single photograph at least


def output_names(arch: Architecture, options: Options) -> tuple[str, ...]:
    """Names of what an artifact with these settled options returns, in order."""
    return arch.outputs if options.outputs == "all" else arch.outputs[:1]


class Predictor(ABC):
    """A model that is ready to run, of whatever format. Channels first outside, whatever it is inside.

    Attributes:
        size: (H, W) that it takes, None for any.
        baking: the profile that is in its graph. It then takes pixels, uint8 (N, 3, H, W) in RGB order, and answers
            `mask`, uint8 (N, 1, H, W): grey levels, or each pixel's class.
        default: (H, W) that it is described with, when it takes several.
        multiple: of which both sides have to be one, where it takes several sizes.
        batch: batch size that it takes, None for any.
        outputs: names of what it returns, in order.
        precision: the reduced precision that the file says it has; None where it says none.
    """

    precision: str | None = None
    multiple: int = 1
    size: tuple[int, int] | None = None
    default: tuple[int, int] | None = None
    batch: int | None = None
    outputs: tuple[str, ...] = ()
    baking: Baking | None = None
    scratch: object = None  # a temporary folder that has to live as long as the predictor

    @abstractmethod
    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """x: (N, C, H, W) float32. Returns name -> (N, out_ch, H, W) float32. See `baking` for models of pixels."""

    def share(self, lanes: int) -> int:
        """Prepares for calls from several threads at once, `lanes` at most; returns how many it allows."""
        return 1

    def taps(self, x: np.ndarray, arch: Architecture) -> Iterator[tuple[str, np.ndarray]]:
        """(unit path, activation (N, C, h, w)) for the units that can be looked at, in execution order."""
        return iter(())


class Format(ABC):
    """One file format. A subclass states the attributes and writes `write`, `run` and `read`.

    Attributes:
        name: what people type.
        title: what people read.
        suffix: what is appended to the checkpoint's name.
        also: other endings of files that can be read and run.
        is_folder: whether an artifact is a folder; `marker` is then the file by which it is known.
        extra: the extra in pyproject.toml that brings `packages`.
        packages: importable names that writing and running need.
        choices: values that each option may have; the first one is the default. An option that is missing here is one
            that the format cannot honour.
        multiple: sides are multiples of this; others would not stay within the bounds.
        flexible: whether one artifact can take several sizes.
        prepares: whether it prepares photographs itself, outside of the graph, and so has a profile with `--io tensor`.
        downloads: whether writing it may need a network; `all` leaves it out then.
        bounds: for each reduced precision; float32 is held to the noise floor.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    suffix: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()
    is_folder: ClassVar[bool] = False
    marker: ClassVar[str] = ""
    extra: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    choices: ClassVar[Mapping[str, tuple[object, ...]]]
    bounds: ClassVar[Mapping[str, MaskBound]] = {}
    multiple: ClassVar[int] = 1
    flexible: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    downloads: ClassVar[bool] = False

    @abstractmethod
    def write(self, checkpoint: Checkpoint, path: Path, options: Options) -> "Plan | None":
        """Writes the artifact to `path`, which does not exist yet; says which layers were rounded, if any."""

    @abstractmethod
    def run(self, path: Path) -> Predictor:
        """The artifact, ready to run. Raises ArtifactError."""

    def proofs(self, path: Path) -> Iterator[Predictor]:
        """Every way to run the artifact that has to stay within the bounds."""
        yield self.run(path)

    @abstractmethod
    def read(self, path: Path) -> Checkpoint:
        """The weights in a file of this format, whoever made it. Nothing in it is run. Raises InputError."""

    def files(self, path: Path) -> list[Path]:
        """Every file of the artifact, for its checksum."""
        return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())

    def target(self, folder: Path, stem: str) -> Path:
        return folder / f"{stem}{self.suffix}"

    def accepts(self, path: Path) -> bool:
        """Whether `path` looks like an artifact of this format."""
        if path.is_dir():
            return self.is_folder and (path / self.marker).exists()
        return path.name.lower().endswith(self.also if self.is_folder else (self.suffix, *self.also))

    def require(self) -> None:
        """Raises MissingExtraError when a package is not installed."""
        for package in self.packages:
            if find_spec(package) is None:
                raise MissingExtraError(f"format {self.name!r}", package, self.extra)

    def check_target(self, path: Path) -> None:
        """Raises OutputError when `path` holds something that this format did not make."""
        if path.is_dir() and any(path.iterdir()) and not (self.is_folder and self.accepts(path)):
            raise OutputError(f"{path}: a folder that is no {self.title} is in the way; move it or name another -o")

    def settle(self, asked: Options) -> Options:
        """The options in force.

        Raises:
            OptionError: the format cannot honour one. InputError: the calibration folder holds no photographs.
        """
        size = asked.size or DEFAULT_SIZE
        for each in (size, *asked.sizes, *(asked.span or ())):
            if any(not 1 <= side <= LARGEST_SIDE for side in each):
                raise OptionError(f"size {describe(each)}: sides are whole numbers from 1 to {LARGEST_SIDE}")
            if any(side % self.multiple for side in each):
                raise OptionError(
                    f"format {self.name!r} cannot honour --size {describe(each)}: multiples of {self.multiple}"
                )
        if (asked.sizes or asked.span) and not self.flexible:
            raise OptionError(f"format {self.name!r} cannot honour --size with several sizes; one file takes one size")
        settled: dict[str, Any] = {"size": size}
        for option in (f.name for f in fields(Options) if f.name not in UNLISTED):
            settled[option] = self._settle_one(option, getattr(asked, option))
        if settled["io"] == "image" and asked.io is None and asked.outputs == "all":
            settled["io"] = "tensor"  # a picture is d0 alone
        if asked.calibration is not None:
            photographs.check(asked.calibration, settled["precision"])
        return self._settle_image(replace(asked, **settled))

    def _settle_image(self, chosen: Options) -> Options:
        if chosen.io == "image" and self.choices.get("batch") == (1,) and chosen.batch != 1:
            raise OptionError(f"format {self.name!r} cannot honour --batch {chosen.batch} with --io image: one picture")
        if chosen.io == "image" and chosen.via == "onnx2tf":
            raise OptionError("--io image goes with --via native, not with onnx2tf")
        if chosen.io == "image" and chosen.outputs == "all":
            raise OptionError("--io image answers the mask alone; --outputs all goes with --io tensor")
        profile = None if self.prepares else chosen.profile
        if chosen.io != "image" and (profile is not None or chosen.stretch is not None):
            option = "profile" if profile is not None else "minmax"
            raise OptionError(
                f"format {self.name!r} cannot honour --{option} with --io {chosen.io}; it goes with image"
            )
        if chosen.profile is not None and chosen.profile not in PROFILES:
            raise UnknownNameError("profile", chosen.profile, PROFILES)
        return chosen

    def check(self, checkpoint: Checkpoint, options: Options) -> None:
        """Raises OptionError when the network itself cannot be written with these settled options."""
        baking_of(checkpoint.arch, options)
        stride = checkpoint.arch.stride
        sizes = (*options.sizes, *(options.span or ()))
        for size in sizes:
            if any(side % stride for side in size):
                raise OptionError(
                    f"size {describe(size)}: sizes of one file are multiples of {stride} for this network"
                )

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: "Report") -> None:
        """Last touches to an artifact that was proved; nothing that it computes may change."""
        return

    def companions(self, target: Path, checkpoint: Checkpoint, options: Options) -> dict[Path, str]:
        """Text files that are written beside the artifact."""
        return {}

    def _settle_one(self, option: str, value: object) -> object:
        allowed = self.choices.get(option, ())
        if value is None:
            return allowed[0] if allowed else None
        if option == "batch" and isinstance(value, int) and value != DYNAMIC and allowed:
            if not 1 <= value <= LARGEST_BATCH:
                raise OptionError(f"batch {value}: allowed are dynamic and whole numbers from 1 to {LARGEST_BATCH}")
            return value
        if value not in allowed:
            can = ", ".join(describe(v, option) for v in allowed) if allowed else "nothing to choose"
            raise OptionError(f"format {self.name!r} cannot honour --{option} {describe(value, option)}; it has: {can}")
        return value


def describe(value: object, option: str = "") -> str:
    """An option's value as people type it."""
    if isinstance(value, tuple):
        return "x".join(str(side) for side in value)
    return "dynamic" if option == "batch" and value == DYNAMIC else str(value)
