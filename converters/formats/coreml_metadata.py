"""What an app developer expects a Core ML package to say of itself; written after the proof, with its figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from u2net_zoo import __version__
from u2net_zoo.catalog import classes_with
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import OptionError
from u2net_zoo.preprocessing import PROFILES
from u2net_zoo.weight_words import classes_of

from ..format import Format
from ..mil.package import root_model
from ..options import Options, describe
from ..parity_report import PixelReport, Report, TensorReport
from .coreml_reader import specification
from .swift import class_name, hides

__all__ = ["AUTHORS", "CoreMLWords", "describe_package", "labels_of", "parity_words", "purpose"]

AUTHORS = "U²-Net: X. Qin, Z. Zhang, C. Huang, M. Dehghan, O. Zaiane, M. Jagersand (2020)"
PREVIEW = "com.apple.coreml.model.preview"


class CoreMLWords(Format):
    """A format whose files have Core ML's description, and a class in Swift that Xcode makes of their name."""

    def check_target(self, path: Path) -> None:
        """As every format.

        Raises:
            OptionError: the class would hide one that it needs itself.
        """
        super().check_target(path)
        stem = path.name.removesuffix(self.suffix)
        if hides(stem):
            raise OptionError(
                f"{path}: Xcode would call its class {class_name(stem)}, which hides Swift's own; choose another --name"
            )

    def words_in(self, path: Path) -> Mapping[str, str]:
        return dict(specification(path).description.metadata.userDefined)


def describe_package(path: Path, checkpoint: Checkpoint, options: Options, report: Report) -> None:
    """Adds author, licence, version, descriptions, parity figures and Xcode's preview to the package or `.mlmodel`."""
    spec = specification(path)
    words = spec.description.metadata
    meta = checkpoint.meta
    words.author = f"{AUTHORS}; converted by u2net-zoo {__version__}"
    words.license = meta.get("licence", "unknown: that of the weights")
    words.versionString = __version__
    words.shortDescription = purpose(checkpoint, options)
    words.userDefined.update(parity_words(report))
    if options.io == "image":
        words.userDefined.update(_preview(checkpoint, options))
    for feature in spec.description.input:
        feature.shortDescription = _input(options)
    for feature in spec.description.output:
        feature.shortDescription = _output(feature.name, checkpoint, options)
    model = path if path.is_file() else root_model(path)
    model.write_bytes(spec.SerializeToString())


def purpose(checkpoint: Checkpoint, options: Options) -> str:
    """What goes in and comes out, in one line."""
    result = "its mask" if checkpoint.arch.out_ch == 1 else "the class of each pixel"
    end = f"a photograph in, {result} out" if options.io == "image" else "the normalised tensor in, probabilities out"
    return f"{checkpoint.arch.name}: {end}"


def parity_words(report: Report) -> dict[str, str]:
    """The figures of the proof, as words of an artifact's metadata."""
    figures: dict[str, Any] = {}
    if isinstance(report, PixelReport):
        figures = {"within_1_grey_level": report.pixels.near, "iou": report.pixels.iou}
    elif isinstance(report, TensorReport):
        figures = {output.name: {"max_abs": output.max_abs, "noise": output.noise} for output in report.outputs}
    return {"u2zoo.parity": report.summary(), "u2zoo.parity.json": json.dumps(figures), "u2zoo.version": __version__}


def _preview(checkpoint: Checkpoint, options: Options) -> dict[str, str]:
    """What Xcode's preview of image segmenters reads."""
    palette = options.colours or PROFILES[options.profile or "paper"].palette or ((0, 0, 0), (255, 255, 255))
    colours = ["#{:02X}{:02X}{:02X}".format(*colour) for colour in palette]
    params = {"labels": labels_of(checkpoint, options), "colors": colours}
    return {f"{PREVIEW}.type": "imageSegmenter", f"{PREVIEW}.params": json.dumps(params)}


def labels_of(checkpoint: Checkpoint, options: Options) -> list[str]:
    """Names of the classes, where the weights or the catalog tell: of these, or of those that have this profile."""
    count = checkpoint.arch.out_ch
    if count == 1:
        return ["background", "object"]
    own = classes_of(checkpoint.meta)
    named = own.names if own else classes_with(options.profile or "paper")
    return list(named) if len(named) == count else [f"class {n}" for n in range(count)]


def _input(options: Options) -> str:
    size = " or ".join(describe(size) for size in options.sizes) or describe(options.size)
    if options.span:
        size = " to ".join(describe(size) for size in options.span)
    if options.io == "image":
        return f"The photograph, scaled to {size} (height x width); nothing is to be normalised: the model does that."
    return f"The photograph at {size} (height x width), RGB, normalised as the weights' profile says."


def _output(name: str, checkpoint: Checkpoint, options: Options) -> str:
    classes = checkpoint.arch.out_ch
    if options.io != "image":
        return f"{'d0, the mask' if name == 'mask' else f'side output {name}'}: (N, {classes}, H, W)"
    if classes > 1:
        return (
            f"Each pixel's class: {', '.join(f'{n} {label}' for n, label in enumerate(labels_of(checkpoint, options)))}"
        )
    kind = (
        "a multi-array (iOS 15 has no grey pictures as outputs)" if options.target == "iOS15" else "a greyscale image"
    )
    white = "paper" if PROFILES[options.profile or "paper"].invert else "object"
    return f"The mask, {kind}, 0 to 255: white is the {white}."
