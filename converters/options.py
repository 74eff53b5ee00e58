"""What can be asked of a format: sizes, batch, precision, outputs, input and output kinds."""

from dataclasses import dataclass
from pathlib import Path

from u2net_zoo.arch import Architecture

__all__ = [
    "DEFAULT_SIZE",
    "DYNAMIC",
    "LARGEST_BATCH",
    "LARGEST_SIDE",
    "UNLISTED",
    "W8A8",
    "Options",
    "describe",
    "output_names",
]

W8A8 = "w8a8"  # a precision: weights and feature maps are integers, and so is what is computed
DYNAMIC = 0  # a batch of any size
DEFAULT_SIZE = (320, 320)  # the authors' input size
UNLISTED = (
    "size",
    "sizes",
    "span",
    "profile",
    "colours",
    "stretch",
    "calibration",
)  # options that have rules instead of choices
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
        precision: `fp32`, `fp16`, `int8`, `w8a8`, `palette8`, `palette6` or `palette4`.
        outputs: `mask` (d0 alone) or `all` (`mask, side1, …`).
        io: `tensor`: the normalised tensor goes in, d0 comes out; `image`: pixels 0..255 go in, grey levels come out.
        profile: whose preparation and ending an `image` artifact has in its graph.
        colours: of the classes that the weights tell apart, in place of the profile's; the weights say it, nobody asks.
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
    colours: tuple[tuple[int, int, int], ...] = ()
    stretch: bool | None = None
    target: str | None = None
    opset: int | None = None
    via: str | None = None
    calibration: Path | None = None


def output_names(arch: Architecture, options: Options) -> tuple[str, ...]:
    """Names of what an artifact with these settled options returns, in order."""
    return arch.outputs if options.outputs == "all" else arch.outputs[:1]


def describe(value: object, option: str = "") -> str:
    """An option's value as people type it."""
    if isinstance(value, tuple):
        return "x".join(str(side) for side in value)
    return "dynamic" if option == "batch" and value == DYNAMIC else str(value)
