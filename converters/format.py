"""What a format is: how a checkpoint is written in it, how a file in it is run, and how close it has to come."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.containers import Signature
from u2net_zoo.errors import (
    OptionError,
    OutputError,
    UnknownNameError,
)
from u2net_zoo.files import shown_in
from u2net_zoo.preprocessing import KNOWN_PROFILES

from .embedded import embedded_of
from .engines.runnable import Runnable
from .mask_errors import EIGHT_BITS, ROUNDED, MaskBound
from .options import DEFAULT_SIZE, DYNAMIC, LARGEST_BATCH, LARGEST_SIDE, UNLISTED, Options, describe
from .predictor import Predictor
from .quantise.rounding import MEASURED

if TYPE_CHECKING:
    from .parity_report import Report

__all__ = ["Format", "Lane"]


@dataclass(frozen=True)
class Lane:
    """One way to time an artifact of a format in `bench`.

    Attributes:
        name: for people.
        device: `cpu` or `cuda`.
        opener, arguments: see `isolated.IsolatedPredictor`; empty: as every artifact of the format is run.
        dtype: what products are computed in: Torch's name, or `tf32`.
        artifacts: whether files that people bring are run so on this device, and not only weights.
    """

    name: str
    device: str = "cpu"
    opener: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    artifacts: bool = False


class Format(Runnable):
    """One file format. A subclass states the attributes and writes `write`, `open` and `read`.

    Attributes:
        name: what people type.
        title: what people read.
        suffix: what is appended to the checkpoint's name.
        also: other endings of files that can be read and run.
        signature: by what a file is known whatever it is called; None: by its ending alone.
        is_folder: whether an artifact is a folder; `marker` is then the file by which it is known.
        parts: endings of files that are no model without another one, and what that one is.
        companion: ending of the text files that may stand beside an artifact.
        own_notes: what metadata starts with that is about a file of this format, and not about the weights in it.
        extra: the extra in pyproject.toml that brings `packages`.
        packages: importable names that writing needs.
        running: those that running needs; the same, where a subclass says nothing.
        reading: those that reading weights needs, of a format whose files another runtime runs.
        running_extra: the extra that brings these and little else; `extra`, where a subclass says nothing.
        direct: whether its runtime takes weights without Torch; see `write_to_run`.
        steady: whether its threads keep their speed where other programs use the processors.
        devices: what its runtime can run on -> how to get it where it is missing.
        has_graph: whether a file holds the network and not only its weights; Torch runs those of the latter.
        inner_values: whether its runtime lets one look at units, so that the first that differs can be named.
        legacy: name of the older format that `--legacy` writes in its place.
        lanes: the rows of `bench` that run weights in it; none: it has no runtime of its own that is worth timing.
        choices: values that each option may have; the first one is the default. An option that is missing here is one
            that the format cannot honour.
        multiple: sides are multiples of this; others would not stay within the bounds.
        by_stride: sides are multiples of the network's own stride, too.
        flexible: whether one artifact can take several sizes.
        prepares: whether it prepares photographs itself, outside of the graph, or says how (see `profile_in`), and so
            has a profile with `--io tensor`.
        downloads: whether writing it may need a network; `all` leaves it out then.
        bounds: for each reduced precision; float32 is held to the noise floor.
        unit_bytes: what a file holds beside its weights (names, shapes, the graph), by units of the network; measured.
        writing_seconds: rough time of writing a network of 119 units, its framework's start included; measured.
    """

    suffix: ClassVar[str]
    also: ClassVar[tuple[str, ...]] = ()
    signature: ClassVar[Signature | None] = None
    is_folder: ClassVar[bool] = False
    marker: ClassVar[str] = ""
    parts: ClassVar[Mapping[str, str]] = {}
    companion: ClassVar[str] = ""
    own_notes: ClassVar[tuple[str, ...]] = ()
    reading: ClassVar[tuple[str, ...]] = ()
    has_graph: ClassVar[bool] = True
    inner_values: ClassVar[bool] = True
    legacy: ClassVar[str] = ""
    lanes: ClassVar[tuple[Lane, ...]] = ()
    choices: ClassVar[Mapping[str, tuple[object, ...]]]
    bounds: ClassVar[Mapping[str, MaskBound]] = {}
    unit_bytes: ClassVar[int] = 1000
    writing_seconds: ClassVar[float] = 5
    multiple: ClassVar[int] = 1
    by_stride: ClassVar[bool] = False
    flexible: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    downloads: ClassVar[bool] = False

    def proofs(self, path: Path) -> Iterator[Predictor]:
        """Every way to run the artifact that has to stay within the bounds."""
        yield self.run(path)

    def forgo_fast(self, path: Path) -> bool:
        """Makes the artifact one that `open` runs by plain kernels; False where it cannot say so."""
        return False

    @abstractmethod
    def read(self, path: Path) -> Checkpoint:
        """The weights in a file of this format, whoever made it. Nothing in it is run. Raises InputError."""

    def read_as(self, path: Path, key: str | None, blocks: str | None) -> Checkpoint:
        """`read`, for a file that leaves something open; a format says here what its files may leave.

        Args:
            key: which network is meant where a file holds several.
            blocks: which blocks are dilated; see `dilation.decided`.

        Raises:
            OptionError: files of this format say it themselves.
        """
        if key is not None:
            raise OptionError(f"{path}: {self.title} holds one network; --key names one of several in a file of Torch")
        if blocks is not None:
            raise OptionError(f"{path}: {self.title} says itself which blocks are dilated; leave --arch out")
        return self.read(path)

    def profile_in(self, path: Path) -> str:
        """Whose preparation the file asks for, outside of its graph; empty where it names none."""
        return ""

    def words_in(self, path: Path) -> Mapping[str, str]:
        """What the file says beside its graph and its weights, theirs among it; empty where the format has no place."""
        return {}

    def files(self, path: Path) -> list[Path]:
        """Every file of the artifact, for its checksum; without hidden ones, which some system has put there."""
        return [path] if path.is_file() else sorted(file for file in shown_in(path) if file.is_file())

    def target(self, folder: Path, stem: str) -> Path:
        return folder / f"{stem}{self.suffix}"

    def accepts(self, path: Path) -> bool:
        """Whether `path` looks like an artifact of this format."""
        if path.is_dir():
            return self.is_folder and (path / self.marker).exists()
        return path.name.lower().endswith(self.also if self.is_folder else (self.suffix, *self.also))

    def in_all(self) -> bool:
        """Whether `all` stands for it too: it needs no network, and its packages are made for this system."""
        return not self.downloads

    def require(self) -> None:
        """Raises MissingExtraError when a package that writing needs is not installed."""
        self._require(self.packages, self.extra)

    def check_target(self, path: Path) -> None:
        """Raises OutputError when `path` holds something that this format did not make."""
        if path.is_dir() and any(path.iterdir()) and not (self.is_folder and self.accepts(path)):
            raise OutputError(f"{path}: a folder that is no {self.title} is in the way; move it or name another -o")

    def settle(self, asked: Options) -> Options:
        """The options in force. Looks at nothing but `asked`: no file, no folder.

        Raises:
            OptionError: the format cannot honour one.
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
        precision = settled["precision"]
        if asked.calibration is not None and precision not in MEASURED:
            measured = ", ".join(MEASURED)
            raise OptionError(f"--calibration goes with a precision that is measured: {measured}; not {precision}")
        return self._settle_image(replace(asked, **settled))

    def _settle_image(self, chosen: Options) -> Options:
        if chosen.io == "image":
            self.check_image(chosen)
        if chosen.io == "image" and chosen.outputs == "all":
            raise OptionError("--io image answers the mask alone; --outputs all goes with --io tensor")
        profile = None if self.prepares else chosen.profile
        if chosen.io != "image" and (profile is not None or chosen.stretch is not None):
            option = "profile" if profile is not None else "minmax"
            raise OptionError(
                f"format {self.name!r} cannot honour --{option} with --io {chosen.io}; it goes with image"
            )
        if chosen.profile is not None and chosen.profile not in KNOWN_PROFILES:
            raise UnknownNameError("profile", chosen.profile, KNOWN_PROFILES)
        return chosen

    def check_image(self, chosen: Options) -> None:
        """Raises OptionError for what does not go with `io="image"`. A subclass adds rules of its own."""
        if self.choices.get("batch") == (1,) and chosen.batch != 1:
            raise OptionError(f"format {self.name!r} cannot honour --batch {chosen.batch} with --io image: one picture")

    def check(self, checkpoint: Checkpoint, options: Options) -> None:
        """Raises OptionError when the network itself cannot be written with these settled options."""
        embedded_of(checkpoint.arch, options)
        stride = checkpoint.arch.stride
        if self.by_stride and any(side % stride for side in options.size or ()):
            raise OptionError(
                f"format {self.name!r} cannot honour --size {describe(options.size)}: multiples of {stride} for this"
                " network"
            )
        sizes = (*options.sizes, *(options.span or ()))
        for size in sizes:
            if any(side % stride for side in size):
                raise OptionError(
                    f"size {describe(size)}: sizes of one file are multiples of {stride} for this network"
                )

    def expected_bytes(self, weights: int, units: int) -> int:
        """Size of an artifact.

        Args:
            weights: bytes of the weights.
            units: of the network.
        """
        return weights + units * self.unit_bytes

    def prepare(self) -> None:
        """Fetches what writing needs beside its packages: nothing, unless `downloads`. Raises DownloadError."""
        return

    def bound(self, precision: str) -> MaskBound | None:
        """How near a file of this precision has to come; None: as near as float32."""
        return ROUNDED if precision == EIGHT_BITS else self.bounds.get(precision)

    def finish(self, path: Path, checkpoint: Checkpoint, options: Options, report: "Report") -> None:
        """Last touches to an artifact that was proved; nothing that it computes may change."""
        return

    def companions(self, target: Path, checkpoint: Checkpoint, options: Options) -> dict[Path, str]:
        """Text files that are written beside the artifact; their names end in `companion`."""
        return {}

    def remarks(self, options: Options) -> list[str]:
        """What somebody who takes the artifact into a program has to know of it; a sentence each."""
        return []

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
